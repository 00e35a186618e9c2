//! Ids, and names for containers that got none.

use rustix::rand::{GetRandomFlags, getrandom};

const FIRST: [&str; 64] = [
    "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "crisp", "deft", "eager",
    "early", "fair", "fast", "fine", "firm", "fond", "free", "fresh", "gentle", "glad", "golden", "grand",
    "green", "happy", "hardy", "honest", "humble", "jolly", "keen", "kind", "light", "lively", "loyal",
    "lucid", "mellow", "merry", "mild", "neat", "nimble", "noble", "patient", "plain", "proud", "quick",
    "quiet", "ready", "rosy", "sharp", "silent", "silver", "smart", "smooth", "snug", "solid", "steady",
    "sunny", "swift", "tidy", "vivid", "warm", "wise", "witty",
];

const SECOND: [&str; 64] = [
    "ant", "badger", "bear", "beaver", "bee", "bison", "cat", "cod", "crab", "crane", "crow", "deer", "dove",
    "duck", "eagle", "eel", "elk", "falcon", "finch", "fox", "frog", "gecko", "goat", "goose", "hare",
    "hawk", "heron", "horse", "ibis", "jay", "koala", "lark", "lemur", "lion", "llama", "lynx", "mole",
    "moose", "moth", "mouse", "newt", "orca", "otter", "owl", "ox", "panda", "parrot", "pike", "puffin",
    "rabbit", "raven", "robin", "salmon", "seal", "shark", "snail", "spider", "stork", "swan", "tiger",
    "toad", "trout", "whale", "wolf",
];

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        // It cannot fail but for a signal, getrandom(2).
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes
}

/// A new id: 64 hex digits. The first twelve are never all decimal, so that a short id is no number to anybody.
pub(crate) fn id() -> String {
    loop {
        let id: String = random::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
        if id[..12].bytes().any(|digit| digit.is_ascii_alphabetic()) {
            return id;
        }
    }
}

/// A readable name; from the second try on with a number, so that a crowded host finds one.
pub(crate) fn name(tries: u32) -> String {
    let [a, b, c] = random::<3>();
    let pair = format!("{}_{}", FIRST[usize::from(a % 64)], SECOND[usize::from(b % 64)]);
    if tries == 0 { pair } else { format!("{pair}{c}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_long_and_differ() {
        let (a, b) = (id(), id());
        assert!(a != b && a.len() == 64 && a.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }

    #[test]
    fn names_are_two_words() {
        for tries in 0..2 {
            let name = name(tries);
            let (first, second) = name.split_once('_').unwrap();
            assert!(
                FIRST.contains(&first)
                    && SECOND.contains(&second.trim_end_matches(|c: char| c.is_ascii_digit()))
            );
        }
    }
}
