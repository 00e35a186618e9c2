//! Variables in words, as BuildKit has them (its `frontend/dockerfile/shell`): a shell's expansions without commands
//! and arithmetic.

use std::iter::Peekable;
use std::str::Chars;

/// What a variable is; none if it is not set.
pub type Lookup<'l> = &'l dyn Fn(&str) -> Option<String>;

/// How deep a value may stand in a value.
const DEEPEST: usize = 64;

/// Expands the variables of a word, and takes its quotes and escapes away.
///
/// # Errors
/// A quote or brace without its end, a substitution that does not exist, a variable that must be set: in words.
pub fn expand(word: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expander = Expander { input: word.chars().peekable(), escape, lookup, depth: 0, raw: false };
    expander.until(None)
}

/// Expands the variables of a heredoc's content, whose quotes are letters.
///
/// # Errors
/// As [`expand`]'s.
pub fn expand_text(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expander = Expander { input: text.chars().peekable(), escape, lookup, depth: 0, raw: true };
    expander.until(None)
}

struct Expander<'w> {
    input: Peekable<Chars<'w>>,
    escape: char,
    lookup: Lookup<'w>,
    depth: usize,
    /// Quotes are letters, and only `$` is escaped.
    raw: bool,
}

impl Expander<'_> {
    /// All up to `stop`, which is taken.
    fn until(&mut self, stop: Option<char>) -> Result<String, String> {
        let mut all = String::new();
        while let Some(c) = self.input.next() {
            if Some(c) == stop {
                return Ok(all);
            }
            match c {
                '\'' if !self.raw => self.single(&mut all)?,
                '"' if !self.raw => self.double(&mut all)?,
                '$' => all.push_str(&self.dollar()?),
                c if c == self.escape => match self.input.next() {
                    Some(next) => {
                        if self.raw && next != '$' && next != self.escape {
                            all.push(c);
                        }
                        all.push(next);
                    }
                    None if self.raw => all.push(c),
                    None => {}
                },
                c => all.push(c),
            }
        }
        match stop {
            None => Ok(all),
            Some(stop) => Err(format!("a {stop} is missing")),
        }
    }

    fn single(&mut self, all: &mut String) -> Result<(), String> {
        loop {
            match self.input.next() {
                Some('\'') => return Ok(()),
                Some(c) => all.push(c),
                None => return Err("a single quote has no end".to_owned()),
            }
        }
    }

    fn double(&mut self, all: &mut String) -> Result<(), String> {
        loop {
            match self.input.next() {
                Some('"') => return Ok(()),
                Some('$') => all.push_str(&self.dollar()?),
                Some(c) if c == self.escape => {
                    if !self.input.peek().is_some_and(|next| matches!(next, '"' | '$') || *next == c) {
                        all.push(c);
                    }
                    all.extend(self.input.next());
                }
                Some(c) => all.push(c),
                None => return Err("a double quote has no end".to_owned()),
            }
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.input.peek().copied() {
            Some(c) if c.is_ascii_digit() => {
                while let Some(c) = self.input.next_if(char::is_ascii_digit) {
                    name.push(c);
                }
            }
            // A shell's own variables, of which none is set here.
            Some(c @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                self.input.next();
                name.push(c);
            }
            _ => {
                while let Some(c) = self.input.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }

    /// What follows a `$`.
    fn dollar(&mut self) -> Result<String, String> {
        if self.input.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() {
                "$".to_owned()
            } else {
                (self.lookup)(&name).unwrap_or_default()
            });
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("values stand too deep in each other".to_owned());
        }
        let name = self.name();
        if name.is_empty() {
            return Err("`${` needs a name".to_owned());
        }
        let value = self.braced(&name)?;
        self.depth -= 1;
        Ok(value)
    }

    /// What follows `${name`.
    fn braced(&mut self, name: &str) -> Result<String, String> {
        let value = (self.lookup)(name);
        match self.input.next() {
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => {
                let value = value.filter(|value| !value.is_empty());
                match self.input.next() {
                    Some(sign @ ('+' | '-' | '?')) => {
                        self.alternative(sign, name, value, "is not set, or empty")
                    }
                    Some(other) => Err(format!("`${{{name}:{other}` is no substitution")),
                    None => Err(format!("`${{{name}` has no }}")),
                }
            }
            Some(sign @ ('+' | '-' | '?')) => self.alternative(sign, name, value, "is not set"),
            Some(sign @ ('#' | '%')) => {
                let greedy = self.input.next_if_eq(&sign).is_some();
                let pattern = self.pattern('}')?;
                let value: Vec<char> = value.unwrap_or_default().chars().collect();
                Ok(trimmed(&value, &pattern, sign == '#', greedy))
            }
            Some('/') => {
                let all = self.input.next_if_eq(&'/').is_some();
                let pattern = self.pattern('/')?;
                let replacement = self.until(Some('}'))?;
                let value: Vec<char> = value.unwrap_or_default().chars().collect();
                Ok(replaced(&value, &pattern, &replacement, all))
            }
            Some(other) => Err(format!("`${{{name}{other}` is no substitution")),
            None => Err(format!("`${{{name}` has no }}")),
        }
    }

    fn alternative(
        &mut self,
        sign: char,
        name: &str,
        value: Option<String>,
        unset: &str,
    ) -> Result<String, String> {
        let word = self.until(Some('}'))?;
        match (sign, value) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            _ if word.is_empty() => Err(format!("{name} {unset}")),
            _ => Err(format!("{name}: {word}")),
        }
    }

    fn pattern(&mut self, stop: char) -> Result<Vec<Sign>, String> {
        let mut all = Vec::new();
        while let Some(c) = self.input.next() {
            match c {
                c if c == stop => return Ok(all),
                '*' => all.push(Sign::Any),
                '?' => all.push(Sign::One),
                '$' => all.extend(self.dollar()?.chars().map(Sign::Letter)),
                c if c == self.escape => all.extend(self.input.next().map(Sign::Letter)),
                c => all.push(Sign::Letter(c)),
            }
        }
        Err(format!("a {stop} is missing"))
    }
}

/// A sign of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Letter(char),
    One,
    Any,
}

/// How many of the first letters match the pattern as a whole: all such numbers, rising.
fn lengths(text: impl Iterator<Item = char>, pattern: impl Iterator<Item = Sign>) -> Vec<usize> {
    let pattern: Vec<Sign> = pattern.collect();
    let mut states = vec![false; pattern.len() + 1];
    states[0] = true;
    let close = |states: &mut [bool]| {
        for (at, sign) in pattern.iter().enumerate() {
            if states[at] && *sign == Sign::Any {
                states[at + 1] = true;
            }
        }
    };
    close(&mut states);
    let mut all = Vec::new();
    if states[pattern.len()] {
        all.push(0);
    }
    for (index, c) in text.enumerate() {
        let mut next = vec![false; pattern.len() + 1];
        for (at, sign) in pattern.iter().enumerate().filter(|(at, _)| states[*at]) {
            match sign {
                Sign::Any => next[at] = true,
                Sign::One => next[at + 1] = true,
                Sign::Letter(letter) => next[at + 1] |= *letter == c,
            }
        }
        close(&mut next);
        states = next;
        if states[pattern.len()] {
            all.push(index + 1);
        }
        if !states.contains(&true) {
            break;
        }
    }
    all
}

fn trimmed(value: &[char], pattern: &[Sign], front: bool, greedy: bool) -> String {
    let all = match front {
        true => lengths(value.iter().copied(), pattern.iter().copied()),
        false => lengths(value.iter().rev().copied(), pattern.iter().rev().copied()),
    };
    let length = if greedy { all.last() } else { all.first() }.copied().unwrap_or(0);
    match front {
        true => value[length..].iter().collect(),
        false => value[..value.len() - length].iter().collect(),
    }
}

fn replaced(value: &[char], pattern: &[Sign], replacement: &str, all: bool) -> String {
    let (mut result, mut at) = (String::new(), 0);
    while at < value.len() {
        let matched = lengths(value[at..].iter().copied(), pattern.iter().copied());
        match matched.last().copied().filter(|length| *length > 0) {
            Some(length) => {
                result.push_str(replacement);
                at += length;
                if !all {
                    break;
                }
            }
            None => {
                result.push(value[at]);
                at += 1;
            }
        }
    }
    result.extend(&value[at..]);
    result
}
