//! Every command there is, asked of the program itself, with whatever may be typed wrongly: one `error:` line a name, the
//! command's exit code, never a panic.

use std::collections::BTreeSet;
use std::time::Duration;

use minidocker_tests::{Output, World};

/// A command, as it is typed, and its options: `("volume ls", ["--filter", …])`.
struct Known {
    name: String,
    /// Each with whether it takes a value.
    options: Vec<(String, bool)>,
}

/// The words that completion offers behind these.
fn offered(world: &World, words: &[&str]) -> Vec<String> {
    let text = world.minidocker([&["__complete", "words"], words].concat()).ok().out();
    text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// All commands by all their names.
fn commands(world: &World) -> Vec<Known> {
    let mut names = Vec::new();
    for name in offered(world, &[""]) {
        let below = offered(world, &[&name, ""]);
        let is_group = world
            .minidocker([&name, "--help"])
            .ok()
            .out()
            .starts_with(&format!("Usage: minidocker {name} COMMAND\n"));
        if is_group && name != "help" {
            names.extend(below.iter().map(|second| format!("{name} {second}")));
        } else if name != "help" {
            names.push(name);
        }
    }
    assert!(names.len() > 60 && names.iter().any(|name| name == "volume ls"), "{names:?}");
    names.into_iter().map(|name| known(world, name)).collect()
}

fn known(world: &World, name: String) -> Known {
    let words: Vec<&str> = name.split(' ').collect();
    let help = world.minidocker([&words[..], &["--help"]].concat()).ok().out();
    let takes = |option: &str| {
        let rows = help.lines().filter(|line| line.trim_start().starts_with('-'));
        let row = rows.filter_map(|line| Some(line.split_once(&format!("{option} "))?.1)).next();
        // A value stands one blank behind the option, a description further away or on the next line.
        row.is_some_and(|rest| !rest.starts_with(' ') && !rest.is_empty())
    };
    let all = offered(world, &[&words[..], &["--"]].concat());
    // One that may have a value behind `=` is of neither kind.
    let plain = |option: &String| option != "--help" && !help.contains(&format!("{option}[="));
    let options = all.into_iter().filter(plain).map(|option| {
        let takes = takes(&option);
        (option, takes)
    });
    Known { options: options.collect(), name }
}

impl Known {
    fn words(&self) -> Vec<&str> {
        self.name.split(' ').collect()
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|(known, _)| known == option)
    }

    /// Its last name, which says what it does: `rm` of `container rm`.
    fn short(&self) -> &str {
        self.name.rsplit(' ').next().unwrap_or_default()
    }

    /// What keeps it from going on for ever, from asking, and from the network.
    fn bounds(&self) -> Vec<&'static str> {
        let all = [("--no-stream", "--no-stream"), ("--pull", "--pull=never"), ("--force", "--force=true")];
        let mut words: Vec<_> =
            all.iter().filter(|(option, _)| self.has(option)).map(|(_, word)| *word).collect();
        if self.name == "build" {
            words.clear();
        }
        if self.short() == "events" {
            words.push("--until=0s");
        }
        words
    }

    /// A thing that is not there, as this command names it.
    fn nobody(&self) -> &'static [&'static str] {
        match self.short() {
            "cp" => &["nobody:/x", "/nonexistent/x"],
            "exec" => &["nobody", "true"],
            "rename" | "tag" => &["nobody", "x"],
            // What can be a name would be one from then on.
            "create" if ["network create", "pod create"].contains(&self.name.as_str()) => &["no/body"],
            "pull" | "push" | "login" | "logout" => &["localhost:1/nobody"],
            "inspect" if self.name.starts_with("manifest") => &["localhost:1/nobody"],
            "build" | "man" | "import" => &["/proc/nonexistent"],
            _ => &["nobody"],
        }
    }

    /// Its exit code where it fails.
    fn failed(&self) -> &'static [i32] {
        match self.short() {
            // Of a container or a machine: else it is the command's own code.
            "run" if self.name != "bench run" => &[125],
            // An option that there is not, or without its value, is 125 for all, as in Docker.
            _ => &[1, 125],
        }
    }
}

/// Asserts an answer that is one: a code that the command has, lines that a user should get.
#[track_caller]
fn sound(known: &Known, output: &Output, names: usize) {
    let text = output.err();
    for word in ["panicked", "internal:", "RUST_BACKTRACE", "(os error", "\x1b"] {
        assert!(!text.contains(word), "`{word}` reached the user: {output:?}");
    }
    if output.code == 0 {
        return;
    }
    assert!(known.failed().contains(&output.code), "exit code {} of {output:?}", output.code);
    if known.short() == "exists" && output.code == 1 {
        assert_eq!(text, "", "its code is all that it says: {output:?}");
        return;
    }
    let errors = text.lines().filter(|line| line.starts_with("error: ")).count();
    assert!((1..=names.max(1)).contains(&errors), "{errors} error lines from {output:?}");
    let known_line =
        |line: &str| ["error: ", "hint: ", "warning: "].iter().any(|start| line.starts_with(start));
    // A build shows the place in its Dockerfile.
    let others: Vec<&str> =
        text.lines().filter(|line| !known_line(line) && known.short() != "build").collect();
    assert!(others.is_empty(), "more than error, hint and warning: {others:?} from {output:?}");
}

/// One that opens a screen, and needs a terminal before anything else.
fn is_screen(known: &Known) -> bool {
    known.name == "ui"
}

#[test]
fn what_no_command_takes() {
    let world = World::new();
    for known in commands(&world) {
        let words = known.words();
        let call = |more: &[&str]| world.minidocker([&words[..], more].concat());
        call(&["--no-such-option"]).refuses(125, &["--no-such-option"]);
        call(&["--no-such-option=x"]).refuses(125, &["--no-such-option"]);
        for (option, takes) in &known.options {
            match takes {
                true => call(&[option]).refuses(125, &[option, "value"]),
                false => call(&[&format!("{option}=perhaps")]).refuses(125, &[option, "perhaps"]),
            };
        }
        // Not UTF-8: what a program prints, and names, are text.
        let script = "exec \"$@\" \"$(printf '\\377\\376')\"";
        let output = world.call(&words).through(&["sh", "-c", script, "sh"]).run();
        output.refuses(125, &["not UTF-8"]);
    }
}

#[test]
fn words_too_many_too_few_and_of_things_that_are_not_there() {
    let world = World::new();
    for known in commands(&world).iter().filter(|known| !is_screen(known)) {
        let words = [known.words(), known.bounds()].concat();
        let run = |more: &[&str]| {
            let call = world.call([&words[..], more].concat()).stdin_closed();
            call.directory(world.directory()).patience(Duration::from_secs(20)).run()
        };
        sound(known, &run(&[]), 1);
        let nobody = run(known.nobody());
        sound(known, &nobody, 1);
        let many = ["nobody"; 12];
        sound(known, &run(&many), many.len());
        for odd in ["", " ", "a/b", "../..", "a\nb", "\x1b[31mred", "-", ".", "%s", &"x".repeat(5000)] {
            let last = known.nobody().len() - 1;
            let mut words = known.nobody().to_vec();
            words[0] = odd;
            let output = run(&words);
            sound(known, &output, 1);
            let file = ["save", "load", "man", "import", "build", "export"].contains(&known.short());
            assert!(last > 0 || file || !output.out().contains('\x1b'), "{output:?}");
        }
    }
    // Nothing was made by any of them but what has a name that can be one, and a pod that needs none.
    world.minidocker(["pod", "rm", "--all"]).ok();
    world.expect_nothing_left();
}

#[test]
fn values_that_no_option_takes() {
    let world = World::new();
    let mut seen = BTreeSet::new();
    for known in commands(&world).iter().filter(|known| !is_screen(known)) {
        // Further names of a command have the same options.
        let options: Vec<&str> =
            known.options.iter().filter(|(_, takes)| *takes).map(|(option, _)| option.as_str()).collect();
        if !seen.insert((known.short().to_owned(), options.join(" "))) {
            continue;
        }
        for option in options {
            for value in ["", "\n", "-1", "99999999999999999999999999", "=,:", "\x1b[31mä"] {
                let mut words = [known.words(), known.bounds()].concat();
                let given = format!("{option}={value}");
                words.push(&given);
                words.extend(known.nobody());
                let call = world.call(words).stdin_closed().directory(world.directory());
                sound(known, &call.patience(Duration::from_secs(20)).run(), 2);
            }
        }
    }
}

#[test]
fn ids_that_several_begin_with_and_states_that_forbid() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    // Sixteen first digits: among seventeen ids two begin with the same.
    let ids: Vec<String> =
        (0..17).map(|_| world.minidocker(["create", "--rootfs", &root, "/inside", "pause"]).text()).collect();
    let first = ids.iter().map(|id| &id[..1]);
    let twice =
        first.clone().find(|one| first.clone().filter(|other| other == one).count() > 1).expect("two");
    for command in
        ["start", "stop", "kill", "rm", "logs", "inspect", "pause", "wait", "top", "attach", "diff", "port"]
    {
        world.minidocker([command, twice]).refuses(1, &[twice]).hints("more");
    }
    world.minidocker(["rename", twice, "another"]).refuses(1, &[twice]).hints("more");
    world.minidocker(["exec", twice, "true"]).refuses(1, &[twice]).hints("more");
    let one = &ids[0];
    for (words, word) in [
        (&["kill", one][..], "not running"),
        (&["pause", one], "not running"),
        (&["unpause", one], "not"),
        (&["exec", one, "true"], "not running"),
        (&["top", one], "not running"),
        (&["attach", one], "not running"),
    ] {
        world.minidocker(words).refuses(1, &[&one[..12], word]).hints("minidocker");
    }
    world.minidocker(["start", one]).ok();
    world.minidocker(["rm", one]).refuses(1, &[&one[..12], "running"]).hints("rm -f");
    world.minidocker(["unpause", one]).refuses(1, &[&one[..12], "not paused"]);
    world.minidocker(["pause", one]).ok();
    world.minidocker(["pause", one]).refuses(1, &[&one[..12], "already paused"]).hints("unpause");
    world.minidocker(["exec", one, "true"]).refuses(1, &[&one[..12], "paused"]).hints("unpause");
    let all: Vec<&str> = ["rm", "-f"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    world.minidocker(all).ok();
    world.expect_nothing_left();
}
