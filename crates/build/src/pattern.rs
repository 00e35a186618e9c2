//! Patterns of paths: those of Go's `filepath.Match`, for sources of COPY, and those of Docker's `patternmatcher`, for
//! `.dockerignore` and `--exclude`, which have `**` too.

/// What one place of a pattern takes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sign {
    Letter(char),
    /// `?`: any but a slash.
    One,
    /// `*`: any number of those.
    Star,
    /// `**` at the end: any number of anything.
    All,
    /// `**/`: nothing, or what ends in a slash. The second half of it.
    Directories,
    Inside,
    /// `[a-z]`.
    Class {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A compiled pattern. Matching takes time by the product of both lengths at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Sign>);

impl Pattern {
    /// Go's: `*` and `?` match no slash, `**` is `*`.
    pub(crate) fn go(text: &str) -> Result<Self, String> {
        Self::compile(text, false)
    }

    /// Docker's: `**` matches any number of directories too.
    pub(crate) fn docker(text: &str) -> Result<Self, String> {
        Self::compile(text, true)
    }

    fn compile(text: &str, deep: bool) -> Result<Self, String> {
        let wrong = || format!("`{}` is no pattern: a [ has no ]", text.escape_debug());
        let (mut all, mut rest) = (Vec::new(), text.chars().peekable());
        while let Some(c) = rest.next() {
            match c {
                '*' if deep && rest.next_if_eq(&'*').is_some() => {
                    rest.next_if_eq(&'/');
                    match rest.peek() {
                        None => all.push(Sign::All),
                        Some(_) => all.extend([Sign::Directories, Sign::Inside]),
                    }
                }
                '*' => all.push(Sign::Star),
                '?' => all.push(Sign::One),
                '\\' => match rest.next() {
                    Some(next) => all.push(Sign::Letter(next)),
                    None => return Err(format!("`{}` ends in a \\", text.escape_debug())),
                },
                '[' => {
                    let not = rest.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    loop {
                        let low = match rest.next().ok_or_else(wrong)? {
                            ']' if !ranges.is_empty() => break,
                            '\\' => rest.next().ok_or_else(wrong)?,
                            c => c,
                        };
                        let high = match rest.next_if_eq(&'-') {
                            None => low,
                            Some(_) => match rest.next().ok_or_else(wrong)? {
                                '\\' => rest.next().ok_or_else(wrong)?,
                                c => c,
                            },
                        };
                        ranges.push((low, high));
                    }
                    all.push(Sign::Class { not, ranges });
                }
                c => all.push(Sign::Letter(c)),
            }
        }
        Ok(Self(all))
    }

    /// Whether all of `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let signs = &self.0;
        let mut states = vec![false; signs.len() + 1];
        states[0] = true;
        self.close(&mut states);
        for c in text.chars() {
            let mut next = vec![false; signs.len() + 1];
            for (at, sign) in signs.iter().enumerate().filter(|(at, _)| states[*at]) {
                match sign {
                    Sign::Letter(letter) => next[at + 1] |= *letter == c,
                    Sign::One => next[at + 1] |= c != '/',
                    Sign::Star => next[at] |= c != '/',
                    Sign::All => next[at] = true,
                    Sign::Directories => {}
                    Sign::Inside => {
                        next[at] = true;
                        next[at + 1] |= c == '/';
                    }
                    Sign::Class { not, ranges } => {
                        let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                        next[at + 1] |= within != *not && c != '/';
                    }
                }
            }
            self.close(&mut next);
            states = next;
        }
        states[signs.len()]
    }

    /// States that are reached without a letter.
    fn close(&self, states: &mut [bool]) {
        for (at, sign) in self.0.iter().enumerate() {
            if !states[at] {
                continue;
            }
            match sign {
                Sign::Star | Sign::All => states[at + 1] = true,
                Sign::Directories => {
                    states[at + 1] = true;
                    states[at + 2] = true;
                }
                _ => {}
            }
        }
    }
}

/// Whether a source of COPY is a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}
