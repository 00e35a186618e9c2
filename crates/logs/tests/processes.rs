//! Logs beside each other in processes: killed writers, readers that follow, compression, a full disk.
//!
//! Without libtest: its threads forbid forks. `cargo test -p minidocker-logs --test processes -- NAME` runs those with NAME
//! in their names; `--release … -- throughput` measures, and is run by hand alone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use minidocker_logs::{Options, Origin, Piece, Reader, Settings, Stream, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions};
use step::Failure;
use sys::process::Fork;

const TESTS: [(&str, fn()); 13] = [
    ("what_is_written_is_read_however_it_is_cut", what_is_written_is_read_however_it_is_cut),
    ("a_killed_writer_leaves_whole_frames", a_killed_writer_leaves_whole_frames),
    ("torn_tails_of_every_length_are_cut_off", torn_tails_of_every_length_are_cut_off),
    ("what_is_sound_around_damage_is_read", what_is_sound_around_damage_is_read),
    ("a_reader_that_follows_sees_all_once", a_reader_that_follows_sees_all_once),
    ("tails_are_found_across_compressed_files", tails_are_found_across_compressed_files),
    ("the_bound_is_kept", the_bound_is_kept),
    ("a_full_disk_loses_bytes_and_says_how_many", a_full_disk_loses_bytes_and_says_how_many),
    ("half_done_compressions_are_done_again", half_done_compressions_are_done_again),
    ("json_files_are_dockers", json_files_are_dockers),
    ("times_and_streams_are_chosen", times_and_streams_are_chosen),
    ("zstd_and_gzip_read_compressed_files", zstd_and_gzip_read_compressed_files),
    ("an_empty_log_is_empty", an_empty_log_is_empty),
];

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    if wanted == "throughput" {
        return throughput();
    }
    let chosen: Vec<_> = TESTS.iter().filter(|(name, _)| name.contains(&wanted)).collect();
    println!("\nrunning {} tests", chosen.len());
    for (name, test) in &chosen {
        test();
        println!("test {name} ... ok");
    }
    println!("\ntest result: ok. {} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n", chosen.len());
}

/// A directory that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("minidocker-logs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The same numbers for the same seed (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

const BOTH: [&str; 2] = ["local", "json-file"];

fn settings(driver: &str, options: &[(&str, &str)]) -> Settings {
    let options: Vec<_> = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Settings::parse(Some(driver), &options).unwrap()
}

fn origin() -> Origin {
    Origin { id: "0123456789abcdef".into(), name: "web".into(), ..Origin::default() }
}

fn writer(dir: &Path, settings: &Settings) -> Writer {
    Writer::open(dir, settings, &origin()).unwrap()
}

fn reader(dir: &Path, settings: &Settings, options: &Options) -> Reader {
    Reader::open(dir, &origin().id, settings, options).unwrap()
}

/// An error of the test's own closures: there is none.
#[derive(Debug)]
struct Never;

impl From<Failure> for Never {
    fn from(failure: Failure) -> Self {
        panic!("{failure}")
    }
}

impl From<Infallible> for Never {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn read_on(reader: &mut Reader, mut each: impl FnMut(Piece<'_>)) {
    reader
        .read::<Never>(|piece| {
            each(piece);
            Ok(())
        })
        .unwrap();
}

/// All of both streams.
fn read(dir: &Path, settings: &Settings, options: &Options) -> [Vec<u8>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    read_on(&mut reader(dir, settings, options), |piece| {
        all[piece.stream as usize].extend_from_slice(piece.bytes);
    });
    all
}

/// Says where they differ, not all of them.
fn same(found: &[Vec<u8>; 2], expected: &[Vec<u8>; 2], of: &str) {
    for (found, expected) in found.iter().zip(expected) {
        let same = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
        assert_eq!((same, found.len()), (expected.len(), expected.len()), "{of}: they differ from there on");
    }
}

fn at(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

/// Numbered lines of several lengths, without an end.
fn line(number: usize) -> Vec<u8> {
    let mut line = format!("line {number} ").into_bytes();
    line.resize(line.len() + number * 7919 % 150, b'a' + (number % 26) as u8);
    line.push(b'\n');
    line
}

fn lines(size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0.. {
        if bytes.len() >= size {
            break;
        }
        bytes.extend_from_slice(&line(number));
    }
    bytes
}

/// Waits until no older file waits for compression.
fn compressed(writer: &mut Writer, dir: &Path, at_least: usize) {
    let begun = Instant::now();
    loop {
        writer.tend();
        let packed = names(dir).iter().filter(|name| name.ends_with(".zst") || name.ends_with(".gz")).count();
        if packed >= at_least {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{packed} are compressed: {:?}", names(dir));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs `work` in a child.
fn child(work: impl FnOnce()) -> std::os::fd::OwnedFd {
    match sys::process::fork().unwrap() {
        Fork::Parent(_, pidfd) => pidfd,
        Fork::Child => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            sys::process::exit_now(i32::from(done.is_err()));
        }
    }
}

/// How a child ended: its code, or none where it was killed.
fn ended(pidfd: &std::os::fd::OwnedFd) -> Option<i32> {
    use std::os::fd::AsFd as _;
    rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        .unwrap()
        .unwrap()
        .exit_status()
}

fn what_is_written_is_read_however_it_is_cut() {
    for driver in BOTH {
        for seed in 1..8 {
            let place = Place::new("cut");
            let settings = settings(driver, &[("max-size", "20k"), ("max-file", "1000")]);
            let mut random = Random(seed);
            let mut expected = [Vec::new(), Vec::new()];
            let mut open = writer(&place.log(), &settings);
            for time in 0..400 {
                let stream = [Stream::Stdout, Stream::Stderr][random.below(2)];
                let size = 1 + random.below(2000);
                let feeds = 1 + random.below(200);
                let letters = (0..size)
                    .map(|_| if random.below(feeds) == 0 { b'\n' } else { b' ' + random.below(90) as u8 });
                let bytes: Vec<u8> = letters.collect();
                open.write(stream, at(time), &bytes);
                expected[stream as usize].extend_from_slice(&bytes);
            }
            compressed(&mut open, &place.log(), 3);
            open.end(Stream::Stdout, at(400));
            open.end(Stream::Stderr, at(400));
            assert_eq!(open.lost(), 0);
            for lines in [false, true] {
                let options = Options { lines, ..Options::default() };
                same(
                    &read(&place.log(), &settings, &options),
                    &expected,
                    &format!("{driver}, seed {seed}, lines {lines}"),
                );
            }
            drop(open);
            let again = writer(&place.log(), &settings);
            let found = read(&place.log(), &settings, &Options::default());
            same(&found, &expected, &format!("{driver}, seed {seed}, again"));
            drop(again);
        }
    }
}

fn a_killed_writer_leaves_whole_frames() {
    for driver in BOTH {
        let place = Place::new("killed");
        let settings = settings(driver, &[("max-size", "60k"), ("max-file", "100000")]);
        let expected = lines(60_000_000);
        let mut random = Random(77);
        let mut before = 0;
        for _ in 0..60 {
            let child = child(|| {
                let mut random = Random(before as u64 + 1);
                let mut open = writer(&place.log(), &settings);
                let mut rest = &expected[before..];
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(rest.len().min(1 + random.below(9000)));
                    open.write(Stream::Stdout, at(before as u64), now);
                    rest = later;
                }
            });
            std::thread::sleep(Duration::from_micros(500 + random.below(12_000) as u64));
            rustix::process::pidfd_send_signal(&child, Signal::KILL).unwrap();
            ended(&child);
            let options = Options::default();
            let found = &read(&place.log(), &settings, &options)[0];
            assert!(
                found.len() >= before && expected.starts_with(found),
                "{driver}: {before} {}",
                found.len()
            );
            let tail = &read(&place.log(), &settings, &Options { tail: Some(3), ..options })[0];
            assert!(found.ends_with(tail), "{driver}: the tail is none");
            before = found.len();
        }
        assert!(before > 100_000, "{driver}: only {before} bytes in all");
        drop(writer(&place.log(), &settings));
        let left = names(&place.log());
        assert!(!left.iter().any(|name| name.ends_with(".new")), "{left:?}");
    }
}

fn torn_tails_of_every_length_are_cut_off() {
    for (driver, file) in [("local", "00000000.log"), ("json-file", "0123456789abcdef-json.log")] {
        let place = Place::new("torn");
        let settings = settings(driver, &[]);
        let mut open = writer(&place.log(), &settings);
        open.write(Stream::Stdout, at(1), b"one\n");
        open.write(Stream::Stderr, at(2), b"two\n");
        drop(open);
        let path = place.log().join(file);
        let short = fs::read(&path).unwrap();
        let mut open = writer(&place.log(), &settings);
        open.write(Stream::Stdout, at(3), b"the third and last line\n");
        drop(open);
        let whole = fs::read(&path).unwrap();
        for size in short.len()..whole.len() {
            for end in
                [&b""[..], b"\0\0\0\0\0\0\0\0\0", b"garbage of some length, longer than a frame's head"]
            {
                let torn = [&whole[..size], end].concat();
                // The last bytes of a length are zeros, too.
                if torn.starts_with(&whole) {
                    continue;
                }
                fs::write(&path, torn).unwrap();
                let torn = read(&place.log(), &settings, &Options::default());
                assert_eq!(torn, [b"one\n".to_vec(), b"two\n".to_vec()], "{driver}: cut to {size} bytes");
                let mut open = writer(&place.log(), &settings);
                open.write(Stream::Stdout, at(4), b"more\n");
                let found = read(&place.log(), &settings, &Options::default());
                assert_eq!(
                    found,
                    [b"one\nmore\n".to_vec(), b"two\n".to_vec()],
                    "{driver}: cut to {size} bytes"
                );
            }
        }
    }
}

fn what_is_sound_around_damage_is_read() {
    for of_this_boot in [true, false] {
        let place = Place::new("damage");
        let settings = settings("local", &[]);
        let mut open = writer(&place.log(), &settings);
        for line in [&b"one\n"[..], b"two\n", b"three\n"] {
            open.write(Stream::Stdout, at(1), line);
        }
        drop(open);
        let path = place.log().join("00000000.log");
        let mut bytes = fs::read(&path).unwrap();
        let two = bytes.windows(4).position(|bytes| bytes == b"two\n").unwrap();
        bytes[two..two + 4].fill(0);
        fs::write(&path, bytes).unwrap();
        if !of_this_boot {
            fs::File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
        }
        let expected = b"one\nthree\nmore\n";
        let mut open = writer(&place.log(), &settings);
        open.write(Stream::Stdout, at(2), b"more\n");
        assert_eq!(read(&place.log(), &settings, &Options::default())[0], expected);
        let tail =
            |lines| read(&place.log(), &settings, &Options { tail: Some(lines), ..Options::default() });
        assert_eq!((&tail(3)[0][..], &tail(2)[0][..]), (&expected[..], &b"three\nmore\n"[..]));
        // The older one is on its way to be compressed: a number may have two names for a moment.
        let mut numbers: Vec<String> =
            names(&place.log()).iter().map(|name| name.chars().take(8).collect()).collect();
        numbers.sort();
        numbers.dedup();
        assert_eq!(numbers.len(), if of_this_boot { 1 } else { 2 }, "{numbers:?}");
    }
}

fn a_reader_that_follows_sees_all_once() {
    for driver in BOTH {
        let place = Place::new("follow");
        let settings = settings(driver, &[("max-size", "30k"), ("max-file", "100000")]);
        let expected = lines(3_000_000);
        fs::create_dir_all(place.log()).unwrap();
        let options = Options { follow: true, ..Options::default() };
        let mut reading = reader(&place.log(), &settings, &options);
        let child = child(|| {
            let mut random = Random(5);
            let mut open = writer(&place.log(), &settings);
            let mut rest = &expected[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(1 + random.below(5000)));
                open.write(Stream::Stdout, at(1), now);
                rest = later;
            }
            open.end(Stream::Stdout, at(1));
        });
        let mut found = Vec::new();
        let mut is_over = false;
        while !is_over {
            let descriptor = reading.descriptor().unwrap();
            let mut polled =
                [PollFd::from_borrowed_fd(descriptor, PollFlags::IN), PollFd::new(&child, PollFlags::IN)];
            let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
            assert!(poll(&mut polled, Some(&patience)).unwrap() > 0, "{driver}: nothing happens");
            is_over = !polled[1].revents().is_empty();
            read_on(&mut reading, |piece| found.extend_from_slice(piece.bytes));
            assert!(expected.starts_with(&found), "{driver}: after {} bytes", found.len());
        }
        assert_eq!(ended(&child), Some(0));
        assert_eq!(found.len(), expected.len(), "{driver}");
    }
}

fn tails_are_found_across_compressed_files() {
    for driver in BOTH {
        let place = Place::new("tail");
        let settings = settings(driver, &[("max-size", "30k"), ("max-file", "1000")]);
        let mut open = writer(&place.log(), &settings);
        let mut order = Vec::new();
        for number in 0..3000 {
            let stream = if number % 7 == 3 { Stream::Stderr } else { Stream::Stdout };
            // Two writes a line, so that lines lie across frames.
            let line = line(number);
            let (start, end) = line.split_at(line.len() / 2);
            open.write(stream, at(number as u64), start);
            open.write(stream, at(number as u64), end);
            order.push((stream, line));
        }
        compressed(&mut open, &place.log(), 3);
        for count in [0, 1, 2, 7, 100, 500, 2999, 3000, 5000] {
            for (stdout, stderr) in [(true, true), (false, true), (true, false)] {
                let wanted = |stream: Stream| if stream == Stream::Stdout { stdout } else { stderr };
                let of: Vec<_> = order.iter().filter(|(stream, _)| wanted(*stream)).collect();
                let mut expected = [Vec::new(), Vec::new()];
                for (stream, line) in &of[of.len().saturating_sub(count)..] {
                    expected[*stream as usize].extend_from_slice(line);
                }
                let options = Options { tail: Some(count as u64), stdout, stderr, ..Options::default() };
                assert!(
                    read(&place.log(), &settings, &options) == expected,
                    "{driver}: {count} {stdout} {stderr}"
                );
            }
        }
        // What has no end yet is a line too.
        open.write(Stream::Stdout, at(9999), b"prompt> ");
        open.end(Stream::Stdout, at(9999));
        let found = read(&place.log(), &settings, &Options { tail: Some(2), ..Options::default() });
        assert_eq!(found, [b"prompt> ".to_vec(), line(2999)], "{driver}");
    }
}

fn the_bound_is_kept() {
    for driver in BOTH {
        let place = Place::new("bound");
        let settings = settings(driver, &[("max-size", "50k"), ("max-file", "3")]);
        let mut open = writer(&place.log(), &settings);
        let expected = lines(2_000_000);
        for chunk in expected.chunks(4096) {
            open.write(Stream::Stdout, at(1), chunk);
            let files: Vec<_> =
                names(&place.log()).into_iter().filter(|name| !name.ends_with(".new")).collect();
            assert!(files.len() <= 3, "{driver}: {files:?}");
            for name in files {
                let size = fs::metadata(place.log().join(&name)).map_or(0, |file| file.len());
                assert!(size < 51_000, "{driver}: {name} has {size} bytes");
            }
        }
        open.end(Stream::Stdout, at(1));
        compressed(&mut open, &place.log(), 2);
        let found = &read(&place.log(), &settings, &Options::default())[0];
        assert!(expected.ends_with(found) && found.len() > 60_000, "{driver}: {}", found.len());
        // Files begin with a line's beginning.
        assert!(found.starts_with(b"line "), "{driver}");
    }
}

/// In a mount namespace of its own, with a small disk.
fn a_full_disk_loses_bytes_and_says_how_many() {
    for driver in BOTH {
        let place = Place::new("full");
        let child = child(|| {
            sys::process::unshare(sys::process::CloneFlags(sys::process::CloneFlags::NEWNS)).unwrap();
            let private =
                rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", &place.0, "tmpfs", flags, Some(c"size=1m")).unwrap();
            fill(driver, &place);
        });
        assert_eq!(ended(&child), Some(0), "{driver}");
    }
}

fn fill(driver: &str, place: &Place) {
    let settings = settings(driver, &[("max-size", "-1")]);
    let mut open = writer(&place.log(), &settings);
    let filler = place.0.join("filler");
    fs::write(&filler, vec![1; 700_000]).unwrap();
    let text = lines(1_000_000);
    let mut written = 0;
    for chunk in text.split_inclusive(|byte| *byte == b'\n').take(8000) {
        open.write(Stream::Stdout, at(1), chunk);
        written += chunk.len();
    }
    let lost = open.lost();
    assert!(lost > 0, "{driver}: the disk is not full");
    fs::remove_file(&filler).unwrap();
    open.write(Stream::Stdout, at(2), b"after\n");
    assert_eq!(open.lost(), 0);
    let [stdout, stderr] = read(&place.log(), &settings, &Options::default());
    let told = String::from_utf8(stderr).unwrap();
    let last = format!("minidocker: {lost} bytes of output were lost: no space left on device\n");
    assert!(told.ends_with(&last), "{driver}: {told}");
    let all: u64 = told.lines().map(|line| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(stdout.len() as u64 + all, (written + b"after\n".len()) as u64, "{driver}");
    assert!(stdout.ends_with(b"\nafter\n"), "{driver}");
}

fn half_done_compressions_are_done_again() {
    for (driver, half) in
        [("local", "00000000.log.zst.new"), ("json-file", "0123456789abcdef-json.log.gz.new")]
    {
        let place = Place::new("half");
        let plain = settings(driver, &[("max-size", "30k"), ("max-file", "50"), ("compress", "false")]);
        let mut open = writer(&place.log(), &plain);
        let expected = lines(100_000);
        open.write(Stream::Stdout, at(1), &expected);
        open.end(Stream::Stdout, at(1));
        drop(open);
        let older = names(&place.log()).len() - 1;
        fs::write(place.log().join(half), b"half").unwrap();
        let packing = settings(driver, &[("max-size", "30k"), ("max-file", "50")]);
        let mut open = writer(&place.log(), &packing);
        compressed(&mut open, &place.log(), older);
        assert!(read(&place.log(), &packing, &Options::default())[0] == expected, "{driver}");
        assert!(!names(&place.log()).contains(&half.to_owned()), "{driver}");
        drop(open);
        // Killed between a compressed file's name and the removal of the plain one: it counts once.
        let (packed, plain) = match driver {
            "local" => ("00000001.log.zst", "00000001.log"),
            _ => ("0123456789abcdef-json.log.2.gz", "0123456789abcdef-json.log.2"),
        };
        let unpacked = match driver {
            "local" => zstd::stream::decode_all(fs::File::open(place.log().join(packed)).unwrap()).unwrap(),
            _ => {
                let mut bytes = Vec::new();
                let packed = fs::File::open(place.log().join(packed)).unwrap();
                std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut bytes).unwrap();
                bytes
            }
        };
        fs::write(place.log().join(plain), unpacked).unwrap();
        assert!(read(&place.log(), &packing, &Options::default())[0] == expected, "{driver}");
        drop(writer(&place.log(), &packing));
        assert!(!place.log().join(plain).exists(), "{driver}");
        assert!(read(&place.log(), &packing, &Options::default())[0] == expected, "{driver}");
    }
}

fn json_files_are_dockers() {
    let place = Place::new("json");
    let settings = settings("json-file", &[("labels", "team"), ("tag", "{{.Name}}")]);
    let labels: BTreeMap<String, String> = [("team".into(), "a&b".into())].into();
    let mut open = Writer::open(&place.log(), &settings, &Origin { labels, ..origin() }).unwrap();
    let time = at(1_795_293_694_120_000_000);
    open.write(Stream::Stdout, time, b"tab\there <b>\"q\"\\ \r\n\n\xe2\x80\xa8\xff\xe2\x82 \x01\x7f\n");
    open.write(Stream::Stderr, at(1_000_000_000), &[&[b'x'; 16_384][..], b"yz\nend"].concat());
    open.end(Stream::Stderr, time);
    let found = fs::read_to_string(place.log().join("0123456789abcdef-json.log")).unwrap();
    let attributes = r#""attrs":{"tag":"web","team":"a\u0026b"}"#;
    let stdout = format!(r#""stream":"stdout",{attributes},"time":"2026-11-21T20:41:34.12Z"}}"#);
    let stderr = format!(r#""stream":"stderr",{attributes},"time":"1970-01-01T00:00:01Z"}}"#);
    let late = stderr.replace("1970-01-01T00:00:01Z", "2026-11-21T20:41:34.12Z");
    let x = "x".repeat(16_384);
    let expected = [
        format!(r#"{{"log":"tab\u0009here \u003cb\u003e\"q\"\\ \r\n",{stdout}"#),
        format!(r#"{{"log":"\n",{stdout}"#),
        format!("{{\"log\":\"\\u2028\\ufffd\\ufffd\\ufffd \\u0001\x7f\\n\",{stdout}"),
        format!(r#"{{"log":"{x}",{stderr}"#),
        format!(r#"{{"log":"yz\n",{stderr}"#),
        format!(r#"{{"log":"end",{late}"#),
    ];
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    assert!(found.ends_with('\n'));
    let mut pieces = Vec::new();
    read_on(&mut reader(&place.log(), &settings, &Options { lines: true, ..Options::default() }), |piece| {
        pieces.push((piece.stream, piece.bytes.len(), piece.begins));
        assert_eq!(piece.attributes, r#"{"tag":"web","team":"a\u0026b"}"#.replace("\\u0026", "&"));
    });
    let out = |size| (Stream::Stdout, size, true);
    let err = |size, begins| (Stream::Stderr, size, begins);
    assert_eq!(pieces, [out(19), out(1), out(16), err(16_384, true), err(3, false), err(3, true)]);
}

fn times_and_streams_are_chosen() {
    for driver in BOTH {
        let place = Place::new("times");
        let settings = settings(driver, &[]);
        let mut open = writer(&place.log(), &settings);
        for number in 0..10 {
            open.write(Stream::Stdout, at(number * 1000), format!("{number}\n").as_bytes());
        }
        let of = |since: Option<u64>, until: Option<u64>, tail| {
            let options = Options { since: since.map(at), until: until.map(at), tail, ..Options::default() };
            String::from_utf8(read(&place.log(), &settings, &options)[0].clone()).unwrap()
        };
        assert_eq!(of(Some(7000), None, None), "7\n8\n9\n", "{driver}");
        assert_eq!(of(Some(7001), None, None), "8\n9\n", "{driver}");
        assert_eq!(of(None, Some(2000), None), "0\n1\n2\n", "{driver}");
        assert_eq!(of(Some(3000), Some(4999), None), "3\n4\n", "{driver}");
        assert_eq!(of(None, Some(8000), Some(3)), "7\n8\n", "{driver}");
        let mut times = Vec::new();
        read_on(&mut reader(&place.log(), &settings, &Options::default()), |piece| times.push(piece.time()));
        assert_eq!(times, (0..10).map(|number| at(number * 1000)).collect::<Vec<_>>(), "{driver}");
    }
}

/// Other programs read what they are made for.
fn zstd_and_gzip_read_compressed_files() {
    for (driver, program) in [("local", "zstd"), ("json-file", "gzip")] {
        let place = Place::new("others");
        let compressing = settings(driver, &[("max-size", "100k")]);
        let mut open = writer(&place.log(), &compressing);
        open.write(Stream::Stdout, at(1), &lines(120_000));
        compressed(&mut open, &place.log(), 1);
        let packed =
            names(&place.log()).into_iter().find(|name| name.ends_with("st") || name.ends_with("gz"));
        let output =
            std::process::Command::new(program).args(["-dc"]).arg(place.log().join(packed.unwrap())).output();
        let output = match output {
            Ok(output) => output,
            Err(error) if program == "zstd" && error.kind() == std::io::ErrorKind::NotFound => {
                println!("note: zstd(1) is not installed");
                continue;
            }
            Err(error) => panic!("{program}: {error}"),
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.len() > 90_000, "{program}: {} bytes", output.stdout.len());
    }
}

fn an_empty_log_is_empty() {
    for driver in BOTH {
        let place = Place::new("empty");
        let settings = settings(driver, &[]);
        for tail in [None, Some(5)] {
            let options = Options { tail, ..Options::default() };
            assert_eq!(read(&place.log(), &settings, &options), [Vec::<u8>::new(), Vec::new()]);
        }
        drop(writer(&place.log(), &settings));
        assert_eq!(read(&place.log(), &settings, &Options::default()), [Vec::<u8>::new(), Vec::new()]);
    }
    let none = settings("none", &[]);
    let failure = Reader::open(Path::new("/"), "x", &none, &Options::default()).unwrap_err();
    assert!(failure.to_string().contains("configured logging driver does not support reading"));
}

/// The processor's time that this process took: what a busy machine does not change.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Figures, by hand: a pipe that another process fills as fast as it can, and reading it all back.
fn throughput() {
    let total = 1_000_000_000_usize;
    for (kind, chunk) in [("lines of 100 bytes", [vec![b'x'; 99], vec![b'\n']].concat().repeat(655))] {
        for driver in ["none", "local", "json-file"] {
            for options in [&[("max-size", "-1")][..], &[], &[("compress", "false")]] {
                // The pipe alone, to compare with.
                let options = if driver == "none" { &[] } else { options };
                let place = Place::new("throughput");
                let settings = settings(driver, options);
                let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
                let child = child(|| {
                    let mut left = total;
                    while left > 0 {
                        left -= rustix::io::write(&to, &chunk[..chunk.len().min(left)]).unwrap();
                    }
                });
                drop(to);
                let mut open = writer(&place.log(), &settings);
                let mut space = vec![0; 65_536];
                let (begun, spent) = (Instant::now(), cpu());
                loop {
                    let size = rustix::io::read(&from, &mut space).unwrap();
                    if size == 0 {
                        break;
                    }
                    open.write(Stream::Stdout, SystemTime::now(), &space[..size]);
                }
                let speed = total as f64 / begun.elapsed().as_secs_f64() / 1e6;
                let alone = total as f64 / (cpu() - spent).as_secs_f64() / 1e6;
                ended(&child);
                println!(
                    "{driver} {options:?} {kind}: written at {speed:.0} MB/s, {alone:.0} by its own time"
                );
                if options == [("max-size", "-1")] {
                    for lines in [false, true] {
                        let (begun, spent) = (Instant::now(), cpu());
                        let mut size = 0;
                        let options = Options { lines, ..Options::default() };
                        read_on(&mut reader(&place.log(), &settings, &options), |piece| {
                            size += piece.bytes.len()
                        });
                        let speed = size as f64 / begun.elapsed().as_secs_f64() / 1e6;
                        let alone = size as f64 / (cpu() - spent).as_secs_f64() / 1e6;
                        println!(
                            "{driver}, lines {lines}: {size} read at {speed:.0} MB/s, {alone:.0} by its own time"
                        );
                    }
                    let begun = Instant::now();
                    let options = Options { tail: Some(10), ..Options::default() };
                    read(&place.log(), &settings, &options);
                    println!("{driver}: tail of 10 in {:?}", begun.elapsed());
                }
            }
        }
    }
}
