//! The inputs that are kept in `fuzz/corpus`, and small changes of each, by the functions that the fuzzer calls.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use fuzz_properties::{CONFIG_GRAMMAR, SECCOMP_GRAMMAR, TARGETS, json};

/// Bytes that all inputs may have together: the repository keeps what is worth keeping.
const MOST: u64 = 300_000;
/// Changed inputs that are made of each.
const CHANGES: u32 = 24;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

/// The inputs of a target, by their names.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = corpus().join(target);
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(read).collect();
    all.sort();
    all
}

#[test]
fn every_target_has_inputs_and_they_are_few() {
    let folders: BTreeSet<String> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let programs = fs::read_dir(corpus().join("../fuzz_targets")).unwrap();
    let programs: BTreeSet<String> = programs
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(".rs").to_owned())
        .collect();
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, names);
    assert_eq!(programs, names);
    let mut bytes = 0;
    for (name, _) in TARGETS {
        let inputs = inputs(name);
        assert!(inputs.len() >= 10, "{name} has {} inputs", inputs.len());
        bytes += inputs.iter().map(|(_, input)| input.len() as u64).sum::<u64>();
    }
    assert!(bytes <= MOST, "the inputs have {bytes} bytes: minimise them by `cargo xtask fuzz --minimise`");
}

/// One test a target, so that they run beside each other and a failure names its own.
macro_rules! replay {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let (_, target) = TARGETS.iter().find(|(name, _)| *name == stringify!($name)).unwrap();
            for (name, input) in inputs(stringify!($name)) {
                // Said before: a failure's own words are about what is wrong, not about where.
                println!("fuzz/corpus/{}/{name}", stringify!($name));
                target(&input);
                for seed in 0..CHANGES {
                    let changed = changed(stringify!($name), &input, seed);
                    println!("change {seed}: {:?}", String::from_utf8_lossy(&changed));
                    target(&changed);
                }
            }
        }
    )*};
}

replay! {
    addresses bus_message cgroup_files config devices dockerfile image_archives image_names layer mount_options
    names registry_answers seccomp_json seccomp_rules systemd_text
}

/// The input with something small changed: the same for one seed.
fn changed(target: &str, input: &[u8], seed: u32) -> Vec<u8> {
    let grammar = match target {
        "config" => Some(&CONFIG_GRAMMAR),
        "seccomp_json" => Some(&SECCOMP_GRAMMAR),
        _ => None,
    };
    let tree = grammar
        .filter(|_| !seed.is_multiple_of(4))
        .and_then(|grammar| json::mutate(input, 1 << 14, seed, grammar));
    tree.unwrap_or_else(|| {
        let mut bytes = input.to_vec();
        let at = (seed as usize).wrapping_mul(0x9e37_79b1) % (bytes.len() + 1);
        match seed % 5 {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, (seed * 37) as u8),
            3 => bytes.extend_from_within(at / 2..at),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (seed % 8)),
        }
        bytes
    })
}
