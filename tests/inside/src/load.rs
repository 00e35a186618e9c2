//! Deeds that use up memory and CPU.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::{Outcome, parse, processes};

/// Takes `bytes` of memory step by step and writes to every page of it.
pub(crate) fn hog(bytes: &str, options: &[&str]) -> Outcome {
    let size = |text: &str| parse::size(text).ok_or_else(|| format!("`{text}` is not a size"));
    let total = size(bytes)?;
    let (mut step, mut hold) = (1 << 20, true);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "--step" => step = size(options.next().ok_or("--step needs a size")?)?.max(1),
            "--exit" => hold = false,
            other => return Err(format!("hog knows no `{other}`")),
        }
    }
    let mut taken: Vec<Vec<u8>> = Vec::new();
    let mut touched = 0;
    while touched < total {
        let size = step.min(total - touched);
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(size).map_err(|error| format!("{touched} bytes taken, then: {error}"))?;
        chunk.resize(size, 1);
        taken.push(std::hint::black_box(chunk));
        touched += size;
        println!("{touched} touched");
    }
    if hold { processes::pause() } else { Ok(0) }
}

/// Keeps one CPU busy for so many seconds of wall time and says how much CPU time it got.
pub(crate) fn spin(seconds: f64) -> Outcome {
    let length = Duration::try_from_secs_f64(seconds).map_err(|error| format!("spin {seconds}: {error}"))?;
    let start = Instant::now();
    let mut turns = 0_u64;
    while start.elapsed() < length {
        for _ in 0..10_000 {
            turns = std::hint::black_box(turns + 1);
        }
    }
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    println!("{}", json!({ "wall": start.elapsed().as_secs_f64(), "cpu": cpu }));
    Ok(0)
}
