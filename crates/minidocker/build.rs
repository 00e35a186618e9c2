//! Hands the linker the order of the functions in `order.txt`, decision 0014, for release builds on x86_64: the names
//! are those of such a build. A linker that does not know the option goes without it; names that are no longer there
//! are ignored.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=order.txt");
    let Some(order) = order() else { return };
    let options = ["-Wl,--no-warn-symbol-ordering".to_owned(), format!("-Wl,--symbol-ordering-file={order}")];
    if links(&options) {
        options.iter().for_each(|option| println!("cargo::rustc-link-arg-bins={option}"));
    }
}

/// The order, if this build is to have one. A comma would end the linker's option.
fn order() -> Option<String> {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|is| is == value);
    let file = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?).join("order.txt");
    let file = file.to_str().filter(|name| !name.contains(','))?;
    let meant = is("PROFILE", "release") && is("TARGET", "x86_64-unknown-linux-gnu");
    (meant && Path::new(file).exists()).then(|| file.to_owned())
}

/// Whether a program of nothing can be linked with these options, by the compiler and the flags of this build.
fn links(options: &[String]) -> bool {
    let Some(place) = env::var_os("OUT_DIR").map(PathBuf::from) else { return false };
    let source = place.join("nothing.rs");
    if std::fs::write(&source, "fn main() {}").is_err() {
        return false;
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg("--target").arg(env::var_os("TARGET").unwrap_or_default()).arg("-o").arg(place.join("nothing"));
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={}", linker.to_string_lossy()));
    }
    rustc.args(options.iter().map(|option| format!("-Clink-arg={option}"))).arg(source);
    rustc.output().is_ok_and(|output| output.status.success())
}
