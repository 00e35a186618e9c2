//! What the program does inside of an environment: it takes jobs, and tests what it was given. Reached by a hidden
//! command, so that the one static file that measures is the one that is measured with.
//!
//! ```text
//! minidocker __lab agent EXCHANGE              takes jobs until the host says end
//! minidocker __lab join FILE… -- COMMAND…      joins control groups, then becomes the command
//! minidocker __lab starts COUNT PARALLEL PAUSE -- COMMAND…   starts it again and again, prints the times as JSON
//! minidocker __lab spin THREADS SECONDS EXCHANGE
//! minidocker __lab touch BYTES EXCHANGE
//! minidocker __lab write DIRECTORY BYTES SECONDS EXCHANGE
//! minidocker __lab cold                        drops this kernel's caches: for a virtual machine
//! ```

use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::exchange::{self, Done, Job};

/// The hidden command's name.
pub const NAME: &str = "__lab";

/// How often the agent looks for a job. Between jobs only: while one runs the agent waits for it in the kernel.
const LOOK: Duration = Duration::from_millis(5);

/// Which start it is, from 0, in the words of a command of `starts`.
pub(crate) const NUMBER: &str = "{start}";

/// What `starts` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// Seconds of each start, in the order in which they ended.
    pub(crate) seconds: Vec<f64>,
    /// Seconds of all of them, pauses left out.
    pub(crate) total: f64,
}

/// What `write` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Seconds, the last fdatasync(2) included.
    pub(crate) seconds: f64,
    /// Past the page cache.
    pub(crate) direct: bool,
}

/// Does what the words say; gives the exit code.
pub fn main(words: &[String]) -> u8 {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["agent", exchange] => agent(Path::new(exchange)),
        ["join", ref rest @ ..] => split(rest).and_then(|(files, command)| join(files, command)),
        ["starts", count, parallel, pause, "--", ref command @ ..] => starts(count, parallel, pause, command),
        ["spin", threads, seconds, exchange] => spin(threads, seconds, Path::new(exchange)),
        ["touch", bytes, exchange] => touch(bytes, Path::new(exchange)),
        ["write", directory, bytes, seconds, exchange] => {
            write(Path::new(directory), bytes, seconds, Path::new(exchange))
        }
        ["cold"] => cold(),
        _ => Err(io::Error::other("this command is the lab's own: see 'minidocker bench --help'")),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", step::words(&error));
            125
        }
    }
}

/// The words before and after `--`.
fn split<'a, 'b>(words: &'b [&'a str]) -> io::Result<(&'b [&'a str], &'b [&'a str])> {
    let place = words.iter().position(|word| *word == "--");
    place.map(|place| (&words[..place], &words[place + 1..])).ok_or_else(|| io::Error::other("no -- in it"))
}

fn parse<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| io::Error::other(format!("{text} is no number")))
}

/// Takes jobs one after the other.
fn agent(exchange: &Path) -> io::Result<u8> {
    exchange::put_bytes(&exchange.join("mark-inside"), b"")?;
    let mut number = 1;
    loop {
        if let Some(job) = exchange::get::<Job>(&exchange::job(exchange, number))? {
            let done = work(&job, exchange, number);
            exchange::put(&exchange::done(exchange, number), &done)?;
            number += 1;
        } else if exchange::end(exchange).exists() {
            return Ok(0);
        } else {
            std::thread::sleep(LOOK);
        }
    }
}

fn work(job: &Job, exchange: &Path, number: u32) -> Done {
    let begun = Instant::now();
    let ended = (|| {
        let [out, err] = exchange::output(exchange, number);
        let (out, err) = (std::fs::File::create(out)?, std::fs::File::create(err)?);
        std::fs::create_dir_all(&job.directory)?;
        let Some((program, arguments)) = job.argv.split_first() else {
            return Err(io::Error::other("no command"));
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&job.directory).stdin(Stdio::null()).stdout(out).stderr(err);
        command.status()
    })();
    let seconds = begun.elapsed().as_secs_f64();
    match ended {
        Ok(status) => Done { code: code(status), seconds, problem: String::new() },
        Err(error) => {
            let program = job.argv.first().map_or("", String::as_str);
            Done { code: 127, seconds, problem: format!("{program}: {}", step::words(&error)) }
        }
    }
}

/// A shell's exit code.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Joins the groups, then becomes the command: no process of ours stays between.
fn join(files: &[&str], command: &[&str]) -> io::Result<u8> {
    for file in files {
        std::fs::write(file, "0")
            .map_err(|cause| io::Error::other(format!("{file}: {}", step::words(&cause))))?;
    }
    // Whoever started us blocks signals, to wait for them; the command is not to inherit that.
    sys::signal::reset_dispositions();
    sys::signal::Signals::none().block()?;
    // It ends with the lab, however that ends.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("no command"))?;
    let cause = Command::new(program).args(arguments).exec();
    Err(io::Error::other(format!("{program}: {}", step::words(&cause))))
}

/// Starts the command again and again and waits for each.
fn starts(count: &str, parallel: &str, pause: &str, command: &[&str]) -> io::Result<u8> {
    let (count, parallel): (usize, usize) = (parse(count)?, parse(parallel)?);
    let pause = Duration::try_from_secs_f64(parse(pause)?).map_err(io::Error::other)?;
    let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("no command"))?;
    // Engines that know things by names want another one for each.
    let next = std::sync::atomic::AtomicUsize::new(0);
    let one = || -> io::Result<f64> {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let arguments = arguments.iter().map(|word| word.replace(NUMBER, &number));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let begun = Instant::now();
        let output = command.output()?;
        let seconds = begun.elapsed().as_secs_f64();
        if output.status.success() {
            return Ok(seconds);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().next_back().unwrap_or_default();
        Err(io::Error::other(format!("a start ended with {}: {last}", code(output.status))))
    };
    let (mut seconds, mut total) = (Vec::with_capacity(count), 0.0);
    while seconds.len() < count {
        let number = parallel.min(count - seconds.len());
        let begun = Instant::now();
        let results: Vec<io::Result<f64>> = if number == 1 {
            vec![one()]
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..number).map(|_| scope.spawn(one)).collect();
                let joined = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread was lost")))
                };
                threads.into_iter().map(joined).collect()
            })
        };
        total += begun.elapsed().as_secs_f64();
        for result in results {
            seconds.push(result?);
        }
        if seconds.len() < count {
            std::thread::sleep(pause);
        }
    }
    print(&Started { seconds, total })
}

/// Keeps threads busy, and marks when it begins and ends.
fn spin(threads: &str, seconds: &str, exchange: &Path) -> io::Result<u8> {
    let (threads, seconds): (usize, f64) = (parse(threads)?, parse(seconds)?);
    let time = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
    let barrier = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                barrier.wait();
                // A little longer than what is looked at, on both sides.
                let end = Instant::now() + time + Duration::from_millis(400);
                while Instant::now() < end {
                    for number in 0..5_000_u64 {
                        std::hint::black_box(number);
                    }
                }
            });
        }
        barrier.wait();
        std::thread::sleep(Duration::from_millis(200));
        exchange::put_bytes(&exchange.join("mark-begin"), b"")?;
        std::thread::sleep(time);
        exchange::put_bytes(&exchange.join("mark-end"), b"")
    })?;
    Ok(0)
}

/// Takes memory page by page, and tells every 4 MiB how far it came: out of memory, the kernel kills the largest, which is
/// this process and not the agent.
fn touch(bytes: &str, exchange: &Path) -> io::Result<u8> {
    const PIECE: usize = 4 << 20;
    const PAGE: usize = 4096;
    let bytes: usize = parse(bytes)?;
    let file = std::fs::File::create(exchange.join("touched"))?;
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut touched = 0;
    while touched < bytes {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(PIECE).is_err() {
            let words = format!("{{\"refused\":{touched}}}\n");
            io::stdout().write_all(words.as_bytes())?;
            return Ok(3);
        }
        // Not zeros, which calloc(3) gets of the kernel without a page, and which same-page merging would fold.
        piece.resize(PIECE, 0);
        for (number, start) in (0..PIECE).step_by(PAGE).enumerate() {
            piece[start] = (number as u8).wrapping_add(touched as u8) | 1;
        }
        touched += PIECE;
        pieces.push(piece);
        std::os::unix::fs::FileExt::write_all_at(&file, format!("{touched:>20}\n").as_bytes(), 0)?;
    }
    std::hint::black_box(&pieces);
    Ok(0)
}

/// Writes to new files until the bytes or the seconds are up: by turns past the page cache, where the file system lets it,
/// and through it with fdatasync(2). What leaves out the one or the other has half of it on its disk.
fn write(directory: &Path, bytes: &str, seconds: &str, exchange: &Path) -> io::Result<u8> {
    use std::os::unix::fs::OpenOptionsExt as _;
    const PIECE: usize = 1 << 20;
    let (bytes, seconds): (u64, f64) = (parse(bytes)?, parse(seconds)?);
    let paths = ["direct", "synced"].map(|name| directory.join(format!("minidocker-lab-{name}")));
    let open = |path: &Path, flags: rustix::fs::OFlags| {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).custom_flags(flags.bits() as i32).open(path)
    };
    let mut direct = open(&paths[0], rustix::fs::OFlags::DIRECT).ok();
    let mut synced = open(&paths[1], rustix::fs::OFlags::empty())?;
    // O_DIRECT wants an address that is a multiple of the block size (open(2)).
    let buffer = vec![0xa5_u8; PIECE + 4096];
    let skip = buffer.as_ptr().align_offset(4096).min(4096);
    let piece = &buffer[skip..skip + PIECE];
    exchange::put_bytes(&exchange.join("mark-begin"), b"")?;
    let (begun, mut written) = (Instant::now(), 0);
    while written < bytes && (written == 0 || begun.elapsed().as_secs_f64() < seconds) {
        match direct.as_mut().filter(|_| (written / PIECE as u64).is_multiple_of(2)) {
            Some(direct) => direct.write_all(piece)?,
            None => {
                synced.write_all(piece)?;
                synced.sync_data()?;
            }
        }
        written += PIECE as u64;
    }
    direct.iter().try_for_each(std::fs::File::sync_data)?;
    let seconds = begun.elapsed().as_secs_f64();
    exchange::put_bytes(&exchange.join("mark-end"), b"")?;
    for path in &paths {
        match std::fs::remove_file(path) {
            // Not every file system lets one write past its cache.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    print(&Written { bytes: written, seconds, direct: direct.is_some() })
}

/// Drops the caches of the kernel that this runs on.
pub(crate) fn cold() -> io::Result<u8> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    Ok(0)
}

fn print(value: &impl Serialize) -> io::Result<u8> {
    let mut text = serde_json::to_string(value).map_err(io::Error::other)?;
    text.push('\n');
    io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}
