use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// Settings with a run root of their own.
fn settings() -> Settings {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let run_root = std::env::temp_dir().join(format!("minidocker-events-{}-{number}", std::process::id()));
    Settings { run_root, ..Settings::default() }
}

fn ids(follower: &mut Follower) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(event) = follower.next(Some(UNIX_EPOCH)).unwrap() {
        ids.push(event.id);
    }
    ids
}

#[test]
fn lines_are_short_whatever_they_tell() {
    let label = |number: u32| (format!("label{number}"), "x".repeat(500));
    let attributes = [("name".to_owned(), "web".to_owned())].into_iter().chain((0..20).map(label)).collect();
    let event = Event { at: 7, of: Of::Container, action: "start".into(), id: "a".repeat(64), attributes };
    let bytes = line(event.clone());
    assert!(bytes.len() <= LONGEST && bytes.ends_with(b"\n") && bytes.len() > LONGEST - 600);
    let read = read_line(&bytes).unwrap();
    assert_eq!((read.at, &read.action, &read.id), (7, &event.action, &event.id));
    assert_eq!(read.attributes[0], ("name".to_owned(), "web".to_owned()));
    let long = Event { action: "\u{1}".repeat(9000), id: "\u{1}".repeat(9000), ..event };
    assert!(line(long).len() <= LONGEST);
}

#[test]
fn a_line_after_one_that_was_cut_short_counts() {
    let event = Event { at: 7, of: Of::Image, action: "tag".into(), id: "x".into(), attributes: Vec::new() };
    let whole = line(event.clone());
    let torn = [&whole[..whole.len() / 2], &whole[..]].concat();
    assert_eq!(read_line(&torn), Some(event));
    assert_eq!(read_line(b"nonsense\n"), None);
    assert_eq!(read_line(b"\n"), None);
}

#[test]
fn no_line_is_missed_or_repeated_through_renamings() {
    const WRITERS: usize = 4;
    const LINES: usize = 2000;
    let settings = settings();
    let mut follower = Follower::new(&settings, false).unwrap();
    let write = |writer: usize| {
        // With so much text that four files are begun.
        let name = "n".repeat(450);
        for number in 0..LINES {
            image(&settings, "pull", &format!("{writer}:{number}"), &name);
        }
    };
    let mut seen = Vec::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || write(writer));
        }
        let soon = || Some(SystemTime::now() + Duration::from_secs(60));
        while seen.len() < WRITERS * LINES {
            seen.push(follower.next(soon()).unwrap().expect("one more event").id);
        }
    });
    assert!(ids(&mut follower).is_empty(), "nothing comes twice");
    for writer in 0..WRITERS {
        let own: Vec<&String> = seen.iter().filter(|id| id.starts_with(&format!("{writer}:"))).collect();
        let wanted: Vec<String> = (0..LINES).map(|number| format!("{writer}:{number}")).collect();
        assert!(own.iter().map(|id| id.as_str()).eq(wanted.iter().map(String::as_str)), "{writer}");
    }
    let log = Log::new(&settings.run_root);
    assert!(log.path(1).exists(), "it was renamed on the way");
    let past = ids(&mut Follower::new(&settings, true).unwrap());
    assert!(seen.ends_with(&past) && !past.is_empty(), "what is kept is the end of what there was");
    std::fs::remove_dir_all(&settings.run_root).unwrap();
}

#[test]
fn what_cannot_be_written_is_no_failure() {
    let settings = settings();
    std::fs::create_dir_all(&settings.run_root).unwrap();
    std::fs::write(settings.run_root.join("events"), "in the way").unwrap();
    image(&settings, "pull", "x", "x");
    assert!(Follower::new(&settings, true).is_err());
    std::fs::remove_dir_all(&settings.run_root).unwrap();
}
