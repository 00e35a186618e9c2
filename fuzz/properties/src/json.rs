//! JSON changed as a tree: random bytes seldom make a text that is read to its end. libFuzzer asks for a change by
//! this where a target takes JSON, and changes bytes where it is none.

use serde_json::{Map, Value};

/// What inputs of a kind are made of.
pub struct Grammar {
    /// A place, a key there, and what may stand under it. A `*` in a place stands for any element of an array.
    pub fragments: &'static [(&'static str, &'static str, &'static str)],
    /// Words that mean something somewhere.
    pub words: &'static [&'static str],
}

/// Numbers at edges.
const NUMBERS: [i64; 22] = [
    0,
    1,
    -1,
    2,
    -2,
    3,
    7,
    100,
    1000,
    4095,
    4096,
    65_535,
    65_536,
    1_000_000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX - 1,
    i64::MAX,
    i64::MIN,
    -0x8000_0000,
];

/// What text is spoilt with.
const PIECES: [&str; 20] = [
    "",
    " ",
    "/",
    ".",
    "..",
    "/..",
    "/../",
    "//",
    ":",
    "=",
    ",",
    "-",
    "\0",
    "\n",
    "\t",
    "'",
    "\"",
    "\\",
    "é",
    "\u{1b}[31m",
];

/// Nodes that one change looks at.
const MOST_NODES: usize = 4000;

/// Another text like `data`, at most `longest` bytes; none where `data` is no JSON or the other is too long. The same
/// seed makes the same change.
pub fn mutate(data: &[u8], longest: usize, seed: u32, grammar: &Grammar) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(data).ok()?;
    let mut random = Random(u64::from(seed) << 1 | 0x9e37_79b9_7f4a_7c15);
    for _ in 0..=random.below(3) {
        match random.below(4) {
            0 if !grammar.fragments.is_empty() => add_fragment(&mut value, &mut random, grammar),
            _ => change_node(&mut value, &mut random, grammar),
        }
    }
    let text = serde_json::to_vec(&value).ok()?;
    (text.len() <= longest).then_some(text)
}

/// The changed input for libFuzzer in place, or none to let it change bytes.
pub fn mutate_in_place(
    data: &mut [u8],
    size: usize,
    longest: usize,
    seed: u32,
    grammar: &Grammar,
) -> Option<usize> {
    let longest = longest.min(data.len());
    let text = mutate(data.get(..size)?, longest, seed, grammar)?;
    data.get_mut(..text.len())?.copy_from_slice(&text);
    Some(text.len())
}

/// Puts something to its place.
fn add_fragment(value: &mut Value, random: &mut Random, grammar: &Grammar) {
    let (place, key, text) = *random.pick(grammar.fragments);
    let mut at = value;
    for part in place.split('/').filter(|part| !part.is_empty()) {
        at = match at {
            Value::Array(all) if part == "*" => {
                let chosen = random.below(all.len());
                match all.get_mut(chosen) {
                    Some(one) => one,
                    None => return,
                }
            }
            Value::Object(map) if part != "*" => map.entry(part).or_insert_with(|| Value::Object(Map::new())),
            _ => return,
        };
    }
    let (Ok(new), Value::Object(map)) = (serde_json::from_str::<Value>(text), at) else { return };
    match (map.get_mut(key), new) {
        (Some(Value::Array(old)), Value::Array(new)) if random.below(3) > 0 => old.extend(new),
        (_, new) => drop(map.insert(key.to_owned(), new)),
    }
}

fn change_node(value: &mut Value, random: &mut Random, grammar: &Grammar) {
    let count = count(value).min(MOST_NODES);
    // Something from elsewhere in the same text.
    let mut other = random.below(count);
    let other = nth(value, &mut other).cloned().unwrap_or_default();
    let mut at = random.below(count);
    let Some(node) = nth(value, &mut at) else { return };
    match random.below(10) {
        0 => *node = other,
        1 => *node = scalar(random, grammar),
        _ => match node {
            Value::Null => *node = scalar(random, grammar),
            Value::Bool(yes) => *yes = !*yes,
            Value::Number(number) => *node = number_near(number.as_i64().unwrap_or(0), random),
            Value::String(text) => change_text(text, random, grammar),
            Value::Array(all) => change_list(all, other, random),
            Value::Object(map) => change_map(map, other, random, grammar),
        },
    }
}

fn number_near(number: i64, random: &mut Random) -> Value {
    match random.below(8) {
        0 => number.wrapping_add(1).into(),
        1 => number.wrapping_sub(1).into(),
        2 => number.wrapping_neg().into(),
        3 => number.wrapping_mul(2).into(),
        4 => u64::MAX.into(),
        5 => (number as f64 + 0.5).into(),
        _ => (*random.pick(&NUMBERS)).into(),
    }
}

fn change_text(text: &mut String, random: &mut Random, grammar: &Grammar) {
    let edge = |text: &str, random: &mut Random| {
        let at = random.below(text.len() + 1);
        (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
    };
    match random.below(6) {
        0 => {
            let at = edge(text, random);
            text.insert_str(at, random.pick::<&str>(&PIECES));
        }
        1 => {
            let at = edge(text, random);
            text.truncate(at);
        }
        2 => {
            let at = edge(text, random);
            *text = text.split_off(at);
        }
        3 => text.push_str(&random.pick(&NUMBERS).to_string()),
        4 if !grammar.words.is_empty() => text.push_str(random.pick::<&str>(grammar.words)),
        _ if !grammar.words.is_empty() => *text = (*random.pick(grammar.words)).to_owned(),
        _ => {}
    }
}

fn change_list(all: &mut Vec<Value>, other: Value, random: &mut Random) {
    if all.is_empty() {
        all.push(other);
        return;
    }
    let at = random.below(all.len());
    match random.below(4) {
        0 => drop(all.remove(at)),
        1 => all.insert(at, other),
        2 => all.push(all[at].clone()),
        _ => {
            let with = random.below(all.len());
            all.swap(at, with);
        }
    }
}

fn change_map(map: &mut Map<String, Value>, other: Value, random: &mut Random, grammar: &Grammar) {
    let at = random.below(map.len().max(1));
    let key = map.keys().nth(at).cloned().unwrap_or_default();
    match random.below(5) {
        0 => drop(map.remove(&key)),
        1 => {
            let (_, key, _) = *random.pick(grammar.fragments);
            map.insert(key.to_owned(), other);
        }
        2 => {
            let (Some(value), Some(name)) = (map.remove(&key), grammar.words.first()) else { return };
            let name = if random.below(2) == 0 { *random.pick(grammar.words) } else { *name };
            map.insert(name.to_owned(), value);
        }
        3 => drop(map.insert(key, other)),
        _ => drop(map.insert(key, Value::Null)),
    }
}

fn scalar(random: &mut Random, grammar: &Grammar) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => Value::Bool(true),
        2 => Value::Array(Vec::new()),
        3 => Value::Object(Map::new()),
        4 | 5 => (*random.pick(&NUMBERS)).into(),
        6 if !grammar.words.is_empty() => (*random.pick(grammar.words)).into(),
        _ => (*random.pick(&PIECES)).into(),
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// The node of that number, the top being the first.
fn nth<'v>(value: &'v mut Value, number: &mut usize) -> Option<&'v mut Value> {
    if *number == 0 {
        return Some(value);
    }
    *number -= 1;
    match value {
        Value::Array(all) => all.iter_mut().find_map(|one| nth(one, number)),
        Value::Object(map) => map.values_mut().find_map(|one| nth(one, number)),
        _ => None,
    }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAMMAR: Grammar =
        Grammar { fragments: &[("/a/*", "k", "[1]"), ("/b", "k", "\"x\"")], words: &["w", "v"] };

    #[test]
    fn changes_are_json_and_the_same_for_one_seed() {
        let text = br#"{"a":[{"k":[2]},"text",null,true,3.5],"b":{}}"#;
        let mut different = 0;
        for seed in 0..2000 {
            let changed = mutate(text, 1000, seed, &GRAMMAR).unwrap();
            assert!(serde_json::from_slice::<Value>(&changed).is_ok());
            assert_eq!(mutate(text, 1000, seed, &GRAMMAR), Some(changed.clone()));
            different += usize::from(changed != text);
        }
        assert!(different > 1500, "{different}");
        assert_eq!(mutate(b"{", 1000, 1, &GRAMMAR), None);
        assert_eq!(mutate(text, 2, 1, &GRAMMAR), None);
    }

    #[test]
    fn fragments_come_to_their_place() {
        let grown = (0..200).filter_map(|seed| mutate(b"{}", 1000, seed, &GRAMMAR));
        assert!(grown.into_iter().any(|text| text == br#"{"b":{"k":"x"}}"#));
    }
}
