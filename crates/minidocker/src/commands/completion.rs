//! `completion`: the script that makes a shell complete minidocker's command line. The scripts ask `complete` for
//! everything, so one that was installed once knows later commands too.

use engine::Settings;

use super::Command;
use crate::options::{Typed, Words};
use crate::problem::Problem;
use crate::terminal::print;

pub(crate) const COMMAND: Command = Command {
    name: "completion",
    long_names: &[],
    summary: "Print a script for a shell's completion",
    usage: &["completion SHELL"],
    about: "Print a script that makes a shell complete commands, options, their values, and the names of containers,\n\
            images and volumes. SHELL is bash, zsh or fish.",
    examples: &[
        ("source <(minidocker completion bash)", "in ~/.bashrc"),
        ("minidocker completion bash > /usr/share/bash-completion/completions/minidocker", "for all users"),
        ("source <(minidocker completion zsh)", "in ~/.zshrc, behind compinit"),
        ("minidocker completion zsh > /usr/local/share/zsh/site-functions/_minidocker", "for all users"),
        ("minidocker completion fish > ~/.config/fish/completions/minidocker.fish", ""),
    ],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec,
};

/// Each shell and its script.
const SCRIPTS: [(&str, &str); 3] = [
    ("bash", include_str!("completion/minidocker.bash")),
    ("zsh", include_str!("completion/minidocker.zsh")),
    ("fish", include_str!("completion/minidocker.fish")),
];

fn exec(typed: Typed, _settings: &Settings) -> Result<u8, Problem> {
    let hint = "for example: minidocker completion bash";
    let [shell] = typed.words.as_slice() else {
        return Err(Problem::new("completion needs one shell: bash, zsh or fish").hint(hint));
    };
    let found = SCRIPTS.iter().find(|(name, _)| name == shell);
    let (_, script) = found.ok_or_else(|| {
        let named = step::quote(shell);
        Problem::new(format!("completion: no script for {named}, there are bash, zsh and fish")).hint(hint)
    })?;
    print(script).map(|()| 0)
}
