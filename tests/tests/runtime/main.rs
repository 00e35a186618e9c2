//! The contract of `minidocker-runtime`: the OCI runtime specification and, where that is silent, runc's command line.
//!
//! `MINIDOCKER_TEST_RUNTIME=/usr/sbin/runc` runs the same on another runtime: most of it holds there too, and what does
//! not says whether the test or the runtime is wrong. Names with `limits` in them run on both versions of control
//! groups.

mod binary;
mod crashes;
mod crowd;
mod descriptors;
mod devices;
mod entering;
mod filters;
mod hooks;
mod host_paths;
mod identity;
mod inner;
mod lifecycle;
mod limits;
mod links;
mod masks;
mod mounts;
mod namespaces;
mod racers;
mod runs;
mod scheduling;
mod settings;

use minidocker_tests::bundle::Runtime;
use minidocker_tests::{Output, Rootfs};
use serde_json::Value;

/// Asserts this exit code, and each of `words` among what was said.
#[track_caller]
fn refused(output: Output, code: i32, words: &[&str]) -> Output {
    let output = output.exits(code);
    let said = output.err();
    for word in words {
        assert!(said.contains(word), "`{word}` is not among the words of {output:?}");
    }
    output
}

/// A shell script in the root as a program that anybody may run; its path inside.
fn script(root: &Rootfs, name: &str, text: &str) -> String {
    root.script(name, format!("#!/bin/sh\n{text}\n"));
    format!("/{name}")
}

/// Gives the root's files to the id that is root's in a user namespace.
fn owned_by(runtime: &Runtime, root: &Rootfs, id: u32) {
    runtime.world().program(["chown", "-R", &format!("{id}:{id}"), &root.plain()]).run().ok();
}

/// The words of a JSON list.
#[track_caller]
fn words(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    list.iter().map(|word| word.as_str().unwrap_or_else(|| panic!("{word} is no text"))).collect()
}
