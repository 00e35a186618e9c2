//! Hostile programs that run inside of containers: this very test binary, which is static, bound into them.
//!
//! - `swap DIRECTORY`: `one` and `other` in it are exchanged, again and again.
//! - `steal`: opens /proc/PID/exe of whoever arrives and, again and again, tries to open for writing what it has.
//! - `look`: tells of whoever arrives, as long as it is not a program of the container, what it can see of him.
//!
//! They go on until they are killed.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use minidocker_tests::bundle::{Bundle, PATH};
use rustix::fs::{CWD, RenameFlags, renameat_with};

const VARIABLE: &str = "MINIDOCKER_TEST_INNER";

/// The words that make this binary the inner program.
pub(crate) const WORDS: [&str; 5] = ["/inner", "--ignored", "--exact", "inner::program", "--nocapture"];

/// With a hostile program as its own.
pub(crate) fn hostile<'r>(bundle: Bundle<'r>, deed: &str) -> Bundle<'r> {
    let own = std::env::current_exe().expect("the path of this test");
    let env = [PATH.to_owned(), format!("{VARIABLE}={deed}")];
    let bundle = bundle.bind(own.to_str().expect("text"), "/inner", &["ro"]);
    bundle.args(WORDS).with("/process/env", env.to_vec())
}

#[test]
#[ignore = "a program for containers, no test"]
fn program() {
    let Ok(deed) = std::env::var(VARIABLE) else { return };
    say("ready");
    match deed.split(' ').collect::<Vec<_>>().as_slice() {
        ["swap", directory] => swap(Path::new(directory)),
        ["steal"] => steal(),
        ["look"] => look(),
        _ => panic!("no such deed: {deed}"),
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody listens any more: the end is near.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Exchanges `one` and `other` for ever.
pub(crate) fn swap(directory: &Path) -> ! {
    let (one, other) = (directory.join("one"), directory.join("other"));
    loop {
        let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
    }
}

/// The processes that are there now, without the first, this one and those that were seen before.
fn arrived(known: &mut BTreeSet<u32>) -> Vec<u32> {
    let own = std::process::id();
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: BTreeSet<u32> = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    known.retain(|pid| all.contains(pid));
    all.into_iter().filter(|pid| *pid != 1 && *pid != own && !known.contains(pid)).collect()
}

/// The sizes of the container's own programs: what is of another size is not one of them.
fn is_foreign(exe: &File) -> bool {
    let own = ["/inner", "/inside", "/bin/busybox"];
    let size = |path: &str| fs::metadata(path).map(|file| file.len()).ok();
    exe.metadata().is_ok_and(|found| !own.iter().any(|path| size(path) == Some(found.len())))
}

fn steal() -> ! {
    let (mut known, mut stolen, mut said) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    loop {
        for pid in arrived(&mut known) {
            let Ok(exe) = File::open(format!("/proc/{pid}/exe")) else { continue };
            if is_foreign(&exe) {
                stolen.push(exe);
                say(&format!("stole {}", stolen.len()));
                stolen.truncate(16);
            } else {
                known.insert(pid);
            }
        }
        for exe in &stolen {
            let path = format!("/proc/self/fd/{}", exe.as_raw_fd());
            for options in [OpenOptions::new().write(true), OpenOptions::new().read(true).write(true)] {
                let word = match options.open(&path) {
                    Ok(mut file) => {
                        let _ = file.write_all(b"#!/overwritten\n");
                        "WRITTEN".to_owned()
                    }
                    Err(error) => format!("refused {}", error.raw_os_error().unwrap_or(0)),
                };
                if said.insert(word.clone()) {
                    say(&word);
                }
            }
        }
    }
}

fn look() -> ! {
    let (mut known, mut said) = (BTreeSet::new(), BTreeSet::new());
    loop {
        for pid in arrived(&mut known) {
            let mut seen = BTreeSet::new();
            look_into(&format!("/proc/{pid}"), &mut seen);
            let still_foreign = match File::open(format!("/proc/{pid}/exe")) {
                Ok(exe) => is_foreign(&exe),
                Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
            };
            if !still_foreign {
                // A program of the container by now, or gone: no telling of whom that was, but for what is the host's.
                seen.retain(|line| line.contains("REACHES"));
            }
            for line in seen {
                if said.insert(line.clone()) {
                    say(&line);
                }
            }
        }
    }
}

/// What is seen of a process, and whether a directory that is not the container's root can be read through it.
fn look_into(place: &str, seen: &mut BTreeSet<String>) {
    let mut tell = |name: &str, path: &Path| {
        let Ok(target) = fs::read_link(path) else { return };
        // Kept by a descriptor: the process may end meanwhile.
        let reaches = File::open(path).is_ok_and(|opened| {
            let names = fs::read_dir(format!("/proc/self/fd/{}", opened.as_raw_fd()));
            names.is_ok_and(|names| !names.flatten().any(|name| name.file_name() == MARKER))
        });
        seen.insert(format!("saw {name} {}{}", target.display(), if reaches { " REACHES" } else { "" }));
    };
    for name in ["cwd", "root", "exe"] {
        tell(name, &Path::new(place).join(name));
    }
    for entry in fs::read_dir(format!("{place}/fd")).into_iter().flatten().flatten() {
        tell("fd", &entry.path());
    }
    if fs::read(format!("{place}/environ")).is_ok_and(|text| !text.is_empty()) {
        seen.insert("saw environ".to_owned());
    }
}

/// In the container's root, and nowhere else.
pub(crate) const MARKER: &str = "marker-of-the-root";
