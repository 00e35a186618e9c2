//! The manual: each name of a command has its page, and two formatters have nothing to say against any.

use std::fs;
use std::path::PathBuf;

use minidocker_tests::World;

/// The pages below a directory of the world's own.
fn pages(world: &World) -> Vec<PathBuf> {
    let directory = world.directory().display().to_string();
    world.minidocker(["man", &directory]).ok();
    let all = fs::read_dir(world.directory().join("man1")).expect("the pages");
    let mut all: Vec<PathBuf> = all.map(|entry| entry.expect("an entry").path()).collect();
    all.sort();
    all
}

fn leads_elsewhere(page: &PathBuf) -> bool {
    fs::read_to_string(page).expect("a page").starts_with(".so ")
}

#[test]
fn every_command_has_its_page() {
    let world = World::new();
    let pages = pages(&world);
    let has = |title: &str| {
        let file = world.directory().join("man1").join(format!("{title}.1"));
        assert!(pages.contains(&file), "no page {title}");
    };
    has("minidocker");
    let names = |words: &[&str]| -> Vec<String> {
        let text = world.minidocker([&["__complete", "words"], words].concat()).ok().out();
        text.lines().filter_map(|line| Some(line.split_once('\t')?.0.to_owned())).collect()
    };
    let mut count = 1;
    for name in names(&[""]).iter().filter(|name| *name != "help") {
        let is_group = world
            .minidocker([name, "--help"])
            .ok()
            .out()
            .starts_with(&format!("Usage: minidocker {name} COMMAND\n"));
        let below = if is_group { names(&[name, ""]) } else { Vec::new() };
        let all = if is_group {
            below.iter().map(|second| format!("-{second}")).collect()
        } else {
            vec![String::new()]
        };
        for second in all {
            has(&format!("minidocker-{name}{second}"));
            count += 1;
        }
    }
    assert_eq!(pages.len(), count, "a page is of no command");
    for page in pages.iter().filter(|page| leads_elsewhere(page)) {
        let text = fs::read_to_string(page).expect("a page");
        let target = text.trim().strip_prefix(".so ").expect("a way");
        assert!(world.directory().join(target).is_file(), "{} leads to no page {target}", page.display());
    }
}

#[test]
fn formatters_have_nothing_against_them() {
    let world = World::new();
    let pages: Vec<PathBuf> = pages(&world).into_iter().filter(|page| !leads_elsewhere(page)).collect();
    let text: Vec<&str> = pages.iter().map(|page| page.to_str().expect("text")).collect();
    world.program([&["mandoc", "-T", "lint", "-W", "warning"], &text[..]].concat()).run().prints("");
    for page in text {
        let output =
            world.program(["man", "--warnings", "-E", "UTF-8", "-l", page]).env("MANWIDTH", "80").run().ok();
        assert_eq!(output.err(), "", "{output:?}");
        assert!(output.out().contains("SEE ALSO"), "{output:?}");
    }
}

#[test]
fn the_same_source_gives_the_same_bytes() {
    let world = World::new();
    let read = |name: &str| {
        let directory = world.directory().join(name);
        let words = ["man", directory.to_str().expect("text")];
        world.call(words).env("SOURCE_DATE_EPOCH", "86400").run().ok();
        fs::read_to_string(directory.join("man1/minidocker-run.1")).expect("a page")
    };
    let page = read("one");
    assert!(page.contains(" 1970-01-02 "), "{page}");
    assert_eq!(page, read("two"));
}

#[test]
fn a_place_that_cannot_be_written_is_told() {
    let world = World::new();
    world.minidocker(["man"]).refuses(1, &["directory"]);
    world.minidocker(["man", "/proc/nowhere"]).refuses(1, &["/proc/nowhere"]).hints("directory");
}
