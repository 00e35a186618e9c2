#![no_main]

use fuzz_properties::{CONFIG_GRAMMAR, json};

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_properties::config(data));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // Now and then bytes, for what is no JSON.
    let tree = if seed % 8 == 0 { None } else { json::mutate_in_place(data, size, max_size, seed, &CONFIG_GRAMMAR) };
    tree.unwrap_or_else(|| libfuzzer_sys::fuzzer_mutate(data, size, max_size))
});
