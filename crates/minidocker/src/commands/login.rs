//! `login` and `logout`: credentials of registries, where Docker keeps them.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use engine::Settings;
use engine::ops::login;

use super::Command;
use crate::options::{Group, Typed, Words, flag, one};
use crate::problem::Problem;
use crate::terminal::{io_reason, plain, print, report_warning};

pub(crate) const COMMAND: Command = Command {
    name: "login",
    long_names: &[],
    summary: "Log in to a registry",
    usage: &["login [OPTIONS] [REGISTRY]"],
    about: "Check a name and a password with a registry and keep them where Docker keeps them: with the credential\n\
            helper that config.json names, else in config.json. Docker Hub where no registry is named.",
    examples: &[("pass show registry | minidocker login -u me --password-stdin localhost:5000", "")],
    groups: &[Group {
        title: "Options",
        options: &[
            one("username", "NAME", "Asked for where absent").short('u'),
            one("password", "PASSWORD", "Others can see it in the list of processes").short('p'),
            flag("password-stdin", "Read the password from standard input"),
        ],
    }],
    words: Words::Between,
    failed: 1,
    exec,
};

pub(crate) const LOGOUT: Command = Command {
    name: "logout",
    long_names: &[],
    summary: "Forget the login of a registry",
    usage: &["logout [REGISTRY]"],
    about: "Forget name and password for a registry; Docker Hub where none is named.",
    examples: &[],
    groups: &[],
    words: Words::Between,
    failed: 1,
    exec: exec_logout,
};

fn registry(typed: &Typed) -> Result<String, Problem> {
    match typed.words.as_slice() {
        [] => Ok(oci::DOCKER_HUB.to_owned()),
        [name] => {
            let name = name.trim_start_matches("https://").trim_start_matches("http://");
            Ok(name.split('/').next().unwrap_or_default().to_owned())
        }
        _ => Err(Problem::new("one registry at a time").hint("for example: minidocker login localhost:5000")),
    }
}

fn exec(typed: Typed, _settings: &Settings) -> Result<u8, Problem> {
    let registry = registry(&typed)?;
    let from_stdin = typed.flag("password-stdin")?.unwrap_or(false);
    let user = typed.one("username").map(str::to_owned);
    let password = match typed.one("password") {
        Some(_) if from_stdin => {
            return Err(Problem::new("--password and --password-stdin contradict each other"));
        }
        Some(password) => {
            let hint = "use --password-stdin";
            report_warning("a password on the command line can be seen in the list of processes", Some(hint));
            password.to_owned()
        }
        None if from_stdin => {
            if user.is_none() {
                return Err(Problem::new("--password-stdin needs --username"));
            }
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => String::new(),
    };
    let user = match user {
        Some(user) => user,
        None => ask("Username: ", false)?,
    };
    let password = if password.is_empty() && !from_stdin { ask("Password: ", true)? } else { password };
    if user.is_empty() || password.is_empty() {
        return Err(Problem::new("a login needs a name and a password"));
    }
    if let Some(path) = login::login(&registry, &user, &password)? {
        report_warning(
            &format!("the password is kept unencrypted in {}", path.display()),
            Some("name a credential helper there: credsStore"),
        );
    }
    print("Login Succeeded\n").map(|()| 0)
}

fn exec_logout(typed: Typed, _settings: &Settings) -> Result<u8, Problem> {
    let registry = registry(&typed)?;
    match login::logout(&registry)? {
        true => print(&format!("Removing login credentials for {}\n", plain(&registry))).map(|()| 0),
        false => print(&format!("Not logged in to {}\n", plain(&registry))).map(|()| 0),
    }
}

fn unreadable(error: std::io::Error) -> Problem {
    Problem::new(format!("cannot read standard input: {}", io_reason(&error)))
}

/// Asks the user; without an echo for a secret.
fn ask(question: &str, secret: bool) -> Result<String, Problem> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Problem::new("there is no terminal to ask on")
            .hint("minidocker login -u NAME --password-stdin REGISTRY"));
    }
    print(question)?;
    let _ = std::io::stdout().flush();
    let old = if secret { Some(no_echo()?) } else { None };
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(old) = old {
        let _ = rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, &old);
        print("\n")?;
    }
    read.map_err(unreadable)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn no_echo() -> Result<rustix::termios::Termios, Problem> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let failed = |errno: rustix::io::Errno| Problem::new(format!("cannot hide what is typed: {errno}"));
    let old = tcgetattr(&stdin).map_err(failed)?;
    let mut new = old.clone();
    new.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &new).map_err(failed)?;
    Ok(old)
}
