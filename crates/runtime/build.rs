//! Compiles the sealed stub (stub/stub.rs) for the target, by rustc and its linker alone; src/stub.rs embeds it.
//! Cargo cannot do it: a binary of the workspace would be built with the workspace's flags, and after this crate.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const SOURCE: &str = "stub/stub.rs";

/// No runtime, no libc, no position independence, no unwinding: what is left is the code and its ELF header.
const CODEGEN: &[&str] = &[
    "panic=abort",
    "opt-level=s",
    "debuginfo=0",
    "debug-assertions=off",
    "overflow-checks=off",
    "codegen-units=1",
    "relocation-model=static",
    "target-feature=+crt-static",
    "force-unwind-tables=no",
    "strip=symbols",
    "default-linker-libraries=no",
];

/// For the linker, by way of the C compiler that drives it. Both GNU ld and lld know all of them. One page for
/// headers and code together; no build id, no notes, no executable stack.
const LINK: &[&str] = &[
    "-nostartfiles",
    "-nostdlib",
    "-static",
    "-no-pie",
    "-Wl,--build-id=none",
    "-Wl,-z,noseparate-code",
    "-Wl,-z,max-page-size=4096",
    "-Wl,-z,noexecstack",
    "-Wl,-z,norelro",
    "-Wl,--gc-sections",
    "-Wl,--no-eh-frame-hdr",
];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("cargo::error=the init stub ({SOURCE}) was not built: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<(), String> {
    let variable = |name: &str| env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"));
    let target = variable("TARGET")?;
    let mut rustc = Command::new(variable("RUSTC")?);
    rustc.args(["--edition", "2024", "--crate-type", "bin", "--crate-name", "stub", "--target"]);
    rustc.arg(&target);
    rustc.args(CODEGEN.iter().flat_map(|option| ["-C", option]));
    rustc.args(LINK.iter().flat_map(|option| ["-C".to_owned(), format!("link-arg={option}")]));
    // The linker that cargo's configuration names for the target, for cross builds.
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    // musl targets bring start files of their own, which -nostartfiles does not stop.
    if target.to_string_lossy().contains("musl") {
        rustc.args(["-C", "link-self-contained=no"]);
    }
    rustc.arg("-o").arg(PathBuf::from(variable("OUT_DIR")?).join("stub")).arg(SOURCE);

    let output = rustc.output().map_err(|error| format!("{rustc:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    // One line of `cargo::error` each, for cargo cuts at the line's end.
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        println!("cargo::error={line}");
    }
    Err(format!("rustc ended with {}", output.status))
}
