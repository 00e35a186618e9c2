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

/// For the linker; both GNU ld and lld know all of them. One page for headers and code together; no build id, no
/// notes, no executable stack.
const LINK: &[&str] = &[
    "-static",
    "--build-id=none",
    "-znoseparate-code",
    "-zmax-page-size=4096",
    "-znoexecstack",
    "-znorelro",
    "--gc-sections",
    "--no-eh-frame-hdr",
];

/// For the C compiler, where it drives the linker.
const DRIVER: &[&str] = &["-nostartfiles", "-nostdlib", "-no-pie"];

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
    let mut link = |option: String| {
        rustc.arg("-C").arg(format!("link-arg={option}"));
    };
    // The linker that cargo's configuration names for the target; else the C compiler, which knows its own machine
    // alone: for another one the linker that comes with rustc, which this program without libraries does not miss.
    let linker = env::var_os("RUSTC_LINKER");
    if linker.is_none() && target != variable("HOST")? {
        LINK.iter().for_each(|option| link((*option).to_owned()));
        rustc.args(["-C", "linker-flavor=ld.lld", "-C", "linker=rust-lld"]);
    } else {
        DRIVER.iter().for_each(|option| link((*option).to_owned()));
        LINK.iter().for_each(|option| link(format!("-Wl,{option}")));
    }
    if let Some(linker) = linker {
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
