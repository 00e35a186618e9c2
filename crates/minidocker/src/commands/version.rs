//! `version`: what runs here. Asks nothing but uname(2).

use engine::Settings;
use serde_json::json;

use super::Command;
use crate::options::{Group, Typed, Words, one};
use crate::path_template;
use crate::problem::Problem;
use crate::terminal::{plain, print};

pub(crate) const COMMAND: Command = Command {
    name: "version",
    long_names: &[],
    summary: "Print the versions of minidocker and of the kernel",
    usage: &["version [OPTIONS]"],
    about: "Print the versions of minidocker and of the kernel.",
    examples: &[],
    groups: &[Group {
        title: "Options",
        options: &[one("format", "FORMAT", "json, or a template such as '{{.Server.Version}}'").short('f')],
    }],
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
    let template = typed.read("format", path_template::parse)?;
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy();
    let text = match template {
        Some(template) => {
            // Docker's client asks a daemon; here the command is both.
            let own = json!({
                "Arch": architecture(),
                "Context": "default",
                "Os": "linux",
                "Platform": {"Name": "minidocker"},
                "Version": VERSION,
            });
            let mut server = own.clone();
            server["KernelVersion"] = json!(kernel);
            let details = json!({"Arch": architecture(), "KernelVersion": kernel, "Os": "linux"});
            server["Components"] = json!([{"Details": details, "Name": "Engine", "Version": VERSION}]);
            if let Some(server) = server.as_object_mut() {
                server.remove("Context");
            }
            let all = json!({"Client": own, "Server": server});
            template.render(&all).map_err(Problem::new)? + "\n"
        }
        None => format!(
            "minidocker\n Version:  {VERSION}\n OS/Arch:  linux/{}\n Kernel:   {}\n",
            architecture(),
            plain(&kernel)
        ),
    };
    print(&text).map(|()| 0)
}
