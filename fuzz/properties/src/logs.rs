//! Logs that somebody else wrote, or that were torn: whatever is in the files, every way to read them gives the same, and a
//! new writer goes on behind it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use logs::{Options, Origin, Reader, Settings, Stream, Writer};
use step::Failure;

/// The first byte chooses the driver and the form, the rest is a file.
pub fn logs(data: &[u8]) {
    let Some((choice, file)) = data.split_first() else { return };
    let place = Place::new();
    let (driver, name) = match choice % 3 {
        0 => ("local", "00000000.log"),
        1 => ("local", "00000000.log.zst"),
        _ => ("json-file", "x-json.log"),
    };
    let options = [("compress".to_owned(), "false".to_owned())];
    let Ok(settings) = Settings::parse(Some(driver), &options) else { panic!("settings are refused") };
    fs::write(place.0.join(name), file).expect("write");
    let all = read(&place.0, &settings, &Options::default());
    for lines in [false, true] {
        let tail = Options { tail: Some(u64::MAX), lines, ..Options::default() };
        assert_eq!(read(&place.0, &settings, &tail), all, "a tail of everything, lines {lines}");
    }
    for lines in [0, 1, 3] {
        let tail = read(&place.0, &settings, &Options { tail: Some(lines), ..Options::default() });
        for (tail, all) in tail.iter().zip(&all) {
            assert!(all.ends_with(tail), "a tail of {lines} is no end");
        }
    }
    let origin = Origin { id: "x".into(), ..Origin::default() };
    let mut writer = Writer::open(&place.0, &settings, &origin).expect("a writer goes on behind anything");
    writer.write(Stream::Stdout, UNIX_EPOCH, b"more\n");
    drop(writer);
    let after = read(&place.0, &settings, &Options::default());
    let [stdout, stderr] = all;
    assert_eq!(after, [[&stdout[..], b"more\n"].concat(), stderr], "what was read before, and more");
}

fn read(dir: &Path, settings: &Settings, options: &Options) -> [Vec<u8>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    // What cannot be read (a table that promises more than there is) is an error; what came before it counts.
    let _ = Reader::open(dir, "x", settings, options).and_then(|mut reader| {
        reader.read::<Failure>(|piece| {
            all[piece.stream as usize].extend_from_slice(piece.bytes);
            Ok(())
        })
    });
    all
}

/// A directory of this thread.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("minidocker-fuzz-logs-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("make a directory");
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
