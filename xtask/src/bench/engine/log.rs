//! What a container prints: written while it prints as fast as it can, and read by `logs`.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::super::world::{compile, time};
use super::{Engine, Field, OURS, Plan, Series, on_small, owned, report};

const NAME: &str = "bench-log";

/// Of bench/lines.c.
const LINE: u64 = 100;

/// At least so many times as fast as Docker, of which the json-file driver is the default.
const TARGET: f64 = 1.0 / 5.0;

/// So many of each.
const ROUNDS: usize = 3;

/// Each engine with its default driver, without its bounds.
pub(super) fn log(plan: &Plan, field: &Field) -> Result<Value> {
    let program = field.place.path("lines");
    compile("lines.c", program.as_ref())?;
    let lines = plan.log * 1024 * 1024 / LINE;
    let (mut written, mut read, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (index, engine) in field.engines.iter().enumerate() {
            let (took, peak) = write(field, engine, &program, lines)?;
            add(&mut written, index, engine, took);
            peaks.push((engine.name, peak));
            let (took, whole) = field.place.inside(|| read_back(field, engine))?;
            if whole != lines {
                bail!("{} printed {lines} lines, and its logs have {whole} of them in order", engine.name);
            }
            add(&mut read, index, engine, took);
            field.place.run(&engine.command(&[&owned(["rm", "-f", NAME])]))?;
        }
    }
    let series = |all: Vec<(&'static str, Vec<Duration>)>| -> Vec<(&'static str, Series)> {
        all.into_iter().filter_map(|(name, times)| Some((name, Series::new(times)?))).collect()
    };
    println!("until the container has ended; {lines} lines, none of them lost");
    let written = report("writing", &series(written), TARGET);
    for (name, peak) in peaks.iter().take(field.engines.len()) {
        println!(
            "{name:<22} {:>10.1} MiB resident at most in the process that takes the output",
            *peak as f64 / 1024.0
        );
    }
    println!("and logs");
    let read = report("logs", &series(read), TARGET);
    Ok(json!({"lines": lines, "write": written, "read": read, "resident_kib": peaks}))
}

fn add(all: &mut Vec<(&'static str, Vec<Duration>)>, index: usize, engine: &Engine, took: Duration) {
    if all.len() <= index {
        all.push((engine.name, Vec::new()));
    }
    all[index].1.push(took);
}

/// From the start of the container to its end, and the most memory of who takes what it prints, in KiB.
fn write(field: &Field, engine: &Engine, program: &str, lines: u64) -> Result<(Duration, u64)> {
    let (volume, lines) = (format!("{program}:/lines:ro"), lines.to_string());
    let mut options = vec!["run", "-d", "--name", NAME, "--network", "none", "-v", &volume];
    if engine.name == OURS {
        options.extend(["--log-opt", "max-size=64g"]);
    }
    let start = engine.command(&[&on_small(&options, &["/lines", &lines])]);
    let wait = engine.command(&[&owned(["wait", NAME])]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                // Ours has one process for the container; of Docker's the daemon, which reads the shim's pipe.
                let all = field.place.processes(&engine.programs()).unwrap_or_default();
                peak = all.into_iter().map(resident).fold(peak, u64::max);
                std::thread::sleep(Duration::from_millis(100));
            }
            peak
        });
        let took = field.place.inside(|| {
            let begin = Instant::now();
            time(&mut field.place.bare(&start))?;
            time(&mut field.place.bare(&wait))?;
            Ok(begin.elapsed())
        });
        over.store(true, Ordering::Relaxed);
        let peak = watcher.join().map_err(|_| anyhow::anyhow!("the thread panicked"))?;
        Ok((took?, peak))
    })
}

/// VmRSS of proc_pid_status(5), in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// How long `logs` takes, and how many lines from the first on are all there.
fn read_back(field: &Field, engine: &Engine) -> Result<(Duration, u64)> {
    let mut command = field.place.bare(&engine.command(&[&owned(["logs", NAME])]));
    let begin = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut output = child.stdout.take().context("a pipe")?;
    let mut buffer = vec![0; 1024 * 1024 / LINE as usize * LINE as usize];
    let (mut held, mut next) = (0, 0);
    loop {
        let read = output.read(&mut buffer[held..])?;
        held += read;
        let whole = held / LINE as usize * LINE as usize;
        // One look a line: its number.
        for line in buffer[..whole].chunks_exact(LINE as usize) {
            let number =
                line[..12].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit.wrapping_sub(b'0')));
            if number == next && line[LINE as usize - 1] == b'\n' {
                next += 1;
            }
        }
        buffer.copy_within(whole..held, 0);
        held -= whole;
        if read == 0 {
            break;
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{} logs ended with {status}", engine.name);
    }
    Ok((begin.elapsed(), next))
}
