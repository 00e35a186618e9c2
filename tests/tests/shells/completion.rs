//! Real shells complete: keys are typed on a terminal, TAB among them, and a program in minidocker's place tells which
//! words it was called with in the end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use minidocker_tests::{Pty, World};

/// A shell with our completion, where some containers, an image and a volume are.
struct Shell {
    world: World,
    pty: Pty,
    /// The short id of the container without a start.
    made: String,
}

/// Lines as they are typed, `\t` for TAB, and the words that the program is called with. `DIR` is the world's directory.
const LINES: [(&str, &str); 19] = [
    ("unp\t halt\t", "unpause|halted"),
    // One alone has not been started.
    ("start \t", "start|made"),
    ("pause aliv\t", "pause|alive"),
    // What is paused cannot be paused.
    ("pause halt\t", "pause|halt"),
    ("rm -f halt\t aliv\t", "rm|-f|halted|alive"),
    ("rm MADE\t", "rm|MADE_ID"),
    ("run --rm --pull=ne\t ours/im\t", "run|--rm|--pull=never|ours/image:1"),
    ("run --network container:aliv\t x", "run|--network|container:alive|x"),
    ("run --network=container:aliv\t x", "run|--network=container:alive|x"),
    ("volume inspect da\t", "volume|inspect|data"),
    ("run -v da\t/data x", "run|-v|data:/data|x"),
    ("kill -s TER\t aliv\t", "kill|-s|TERM|alive"),
    ("ps --filter status=pau\t", "ps|--filter|status=paused"),
    ("run --mount type=tm\tdst=/t x", "run|--mount|type=tmpfs,dst=/t|x"),
    ("run --cap-add NET_ADM\t x", "run|--cap-add|NET_ADMIN|x"),
    ("container ls --no-tr\t", "container|ls|--no-trunc"),
    ("run --env-file DIR/spac\t x", "run|--env-file|DIR/spaced name|x"),
    ("cp halt\t/etc/passwd x", "cp|halted:/etc/passwd|x"),
    ("inspect ours/im\t", "inspect|ours/image:1"),
];

impl Shell {
    /// `words` start the shell; `setup` is typed first.
    fn new(words: &[&str], setup: &str) -> Self {
        let world = World::new();
        let root = world.rootfs_busybox();
        let archive = world.directory().join("root.tar").display().to_string();
        world.program(["tar", "-C", &root.plain(), "-cf", &archive, "."]).run().ok();
        world.minidocker(["import", &archive, "ours/image:1"]).ok();
        let root = root.overlay();
        let made = world.minidocker(["create", "--name", "made", "--rootfs", &root, "sleep", "1000"]).text();
        for name in ["alive", "halted"] {
            world.detached(["--name", name, "--rootfs", &root, "sleep", "1000"]);
        }
        world.minidocker(["pause", "halted"]).ok();
        world.minidocker(["volume", "create", "data"]).ok();
        fs::write(world.directory().join("spaced name"), "").expect("our own file");
        let program = world.directory().join("bin");
        fs::create_dir(&program).expect("our own directory");
        let script = format!(
            "#!/bin/sh\ncase $1 in __complete|completion) exec {} \"$@\";; esac\nIFS='|'\necho \"<<$*>>\"\n",
            world.minidocker_path().display()
        );
        fs::write(program.join("minidocker"), script).expect("our own file");
        fs::set_permissions(program.join("minidocker"), fs::Permissions::from_mode(0o755))
            .expect("our own file");
        let text = |path: std::path::PathBuf| path.display().to_string();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").expect("a path"));
        let home = text(world.directory().join("home"));
        fs::create_dir(&home).expect("our own directory");
        let variables = [
            ("MINIDOCKER_ROOT", text(world.root())),
            ("MINIDOCKER_RUN_ROOT", text(world.run_root())),
            ("MINIDOCKER_CGROUP_PARENT", world.cgroup_parent()),
            ("PATH", path),
            ("HOME", home.clone()),
            ("ZDOTDIR", home),
            ("INPUTRC", "/dev/null".to_owned()),
            ("TERM", "xterm".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
        ];
        let call = world.program(words).patience(Duration::from_secs(60));
        let call = variables.iter().fold(call, |call, (name, value)| call.env(name, value));
        let mut pty = call.without_env("HISTFILE").pty(50, 200);
        pty.type_in(&format!("{setup}; echo rea''dy\r"));
        pty.until("ready\r\n");
        Self { world, pty, made: made[..12].to_owned() }
    }

    /// Types a line and waits for what the program says that it was called with.
    #[track_caller]
    fn types(&mut self, line: &str, words: &str) {
        let directory = self.world.directory().display().to_string();
        let line = line.replace("DIR", &directory).replace("MADE", &self.made[..5]);
        let words = words.replace("DIR", &directory).replace("MADE_ID", &self.made);
        self.pty.type_in(&format!("minidocker {line}\r"));
        let said = self.pty.until(">>\r\n");
        let said = said.rsplit_once("<<").map_or("", |(_, said)| said);
        assert_eq!(said.trim_end_matches(">>\r\n"), words, "for {line:?}");
    }

    /// Types the beginning of a line and waits until all of this is on the terminal, in this order. The line stays.
    #[track_caller]
    fn shows(&mut self, line: &str, texts: &[&str]) {
        self.pty.type_in(&format!("minidocker {line}"));
        for text in texts {
            self.pty.until(text);
        }
    }

    fn all_lines(&mut self) {
        for (line, words) in LINES {
            self.types(line, words);
        }
    }

    fn end(mut self) {
        // Whatever is half-typed there.
        self.pty.running().signal(9);
        self.pty.wait();
        self.world.minidocker(["rm", "-f", "made", "alive", "halted"]).ok();
        self.world.finish();
    }
}

#[test]
fn bash_completes() {
    let mut shell =
        Shell::new(&["bash", "--norc", "--noprofile", "-i"], "source <(minidocker completion bash)");
    shell.all_lines();
    shell.shows("volume \t\t", &["create", "inspect", "prune"]);
    shell.end();
}

#[test]
fn bash_completes_with_the_package_that_distributions_have() {
    let setup = "source /usr/share/bash-completion/bash_completion; mkdir -p ~/.local/share/bash-completion/completions; \
                 minidocker completion bash > ~/.local/share/bash-completion/completions/minidocker";
    let mut shell = Shell::new(&["bash", "--norc", "--noprofile", "-i"], setup);
    shell.all_lines();
    shell.end();
}

#[test]
fn zsh_completes() {
    let setup = "autoload -Uz compinit; compinit -u -D; source <(minidocker completion zsh)";
    let mut shell = Shell::new(&["zsh", "-f", "-i"], setup);
    shell.all_lines();
    shell.shows("u\t\t", &["unpause", "Let paused containers run on"]);
    shell.end();
}

#[test]
fn zsh_completes_with_a_file_in_its_path() {
    let setup = "mkdir ~/functions; minidocker completion zsh > ~/functions/_minidocker; fpath=(~/functions $fpath); \
                 autoload -Uz compinit; compinit -u -D";
    let mut shell = Shell::new(&["zsh", "-f", "-i"], setup);
    shell.all_lines();
    shell.end();
}

#[test]
fn fish_completes() {
    let mut shell = Shell::new(&["fish", "--no-config", "-i"], "minidocker completion fish | source");
    shell.all_lines();
    shell.shows("volume \t", &["create", "Make a volume"]);
    shell.end();
}

#[test]
fn what_no_shell_asks_for_is_told() {
    let world = World::new();
    world.minidocker(["completion"]).refuses(1, &["bash, zsh or fish"]).hints("minidocker completion bash");
    world.minidocker(["completion", "tcsh"]).refuses(1, &["tcsh", "bash, zsh and fish"]);
    world.minidocker(["__complete"]).prints("");
    world.minidocker(["__complete", "words"]).prints("");
    world.minidocker(["__complete", "bash", "", ""]).prints("nosort\n");
}
