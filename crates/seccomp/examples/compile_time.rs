//! Prints how long it takes to make the default filter, first in this process and then as a median:
//! `cargo run --release -p minidocker-seccomp --example compile_time`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use minidocker_seccomp::{Arch, compile, default_profile, default_program, from_docker_json};
use oci::spec::{Capability, LinuxSeccomp};

const CAPABILITIES: [Capability; 3] = [Capability::Chown, Capability::SysChroot, Capability::AuditWrite];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kernel = (6, 18);
    report("default_program", || default_program(Arch::NATIVE, &CAPABILITIES, kernel).is_ok());
    report("default_profile + compile", || {
        compile(&default_profile(Arch::NATIVE, &CAPABILITIES, kernel)).is_ok()
    });
    let profile = default_profile(Arch::NATIVE, &CAPABILITIES, kernel);
    report("compile alone", || compile(&profile).is_ok());
    let text = serde_json::to_string(&profile)?;
    report("the profile from JSON", || serde_json::from_str::<LinuxSeccomp>(&text).is_ok());
    report("the same as Docker's JSON", || {
        from_docker_json(&text, Arch::NATIVE, &CAPABILITIES, kernel).is_ok()
    });
    let program = compile(&profile)?;
    println!("{} instructions, {} bytes stored", program.instructions().len(), program.to_bytes().len());
    // A filter without TSYNC is its thread's alone, and ends with it.
    let install = || {
        let before = Instant::now();
        let installed = sys::seccomp::install(program.instructions(), program.flags());
        installed.map(|_| before.elapsed())
    };
    let thread = || std::thread::scope(|scope| scope.spawn(install).join());
    let mut times: Vec<Duration> = (0..51).filter_map(|_| thread().ok()?.ok()).collect();
    times.sort_unstable();
    match times.get(times.len() / 2) {
        Some(median) => println!("{:28} median {median:>9.1?}", "the kernel's part (install)"),
        None => println!("the kernel's part: only root can say"),
    }
    Ok(())
}

fn report(what: &str, mut work: impl FnMut() -> bool) {
    let mut timed = || {
        let before = Instant::now();
        black_box(work());
        before.elapsed()
    };
    let first = timed();
    let mut times: Vec<Duration> = (0..501).map(|_| timed()).collect();
    times.sort_unstable();
    println!("{what:28} first {first:>9.1?}  median {:>9.1?}", times[250]);
}
