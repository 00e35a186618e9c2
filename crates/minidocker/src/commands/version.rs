//! `version`: what runs here. Asks nothing but uname(2).

use engine::Settings;

use super::Command;
use crate::options::{Group, Typed, Words, one};
use crate::problem::Problem;
use crate::template;
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "version",
    long_names: &[],
    summary: "Print the versions of minidocker and of the kernel",
    usage: &["version [OPTIONS]"],
    about: "Print the versions of minidocker and of the kernel.",
    examples: &[],
    groups: &[Group { title: "Options", options: &[one("format", "json", "Print JSON").short('f')] }],
    words: Words::None,
    failed: 1,
    exec,
};

/// minidocker's own version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `minidocker --version`.
pub(crate) fn short() -> Result<(), Problem> {
    print(&format!("minidocker version {VERSION}\n"))
}

/// Docker's name of this processor architecture, which is Go's.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn exec(typed: Typed, _settings: &Settings) -> Result<u8, Problem> {
    let json = typed.read("format", template::only_json)?.is_some();
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy();
    let text = if json {
        let facts = serde_json::json!({
            "Version": VERSION, "Os": "linux", "Arch": architecture(), "KernelVersion": kernel,
        });
        format!("{facts}\n")
    } else {
        format!(
            "minidocker\n Version:  {VERSION}\n OS/Arch:  linux/{}\n Kernel:   {}\n",
            architecture(),
            plain(&kernel)
        )
    };
    print(&text).map(|()| 0)
}
