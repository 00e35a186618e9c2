//! `cargo xtask bench`: minidocker against the bare floor, what its containers cost, its runtime against other
//! runtimes, its images, its daily commands and its networks against other engines. docs/benchmarks.md is the reader's page. No result fails a run: machines differ, so each table says whether the target is met, and no more.

mod dns;
mod engine;
mod engines;
mod images;
mod memory;
mod network;
mod parallel;
mod peers;
mod place;
pub(crate) mod runtime;
mod small;
mod start;
mod statistics;
mod works;
mod world;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::process;
use world::World;

/// More busy processes than this before a benchmark, and its reader is warned.
const LOUD: f64 = 0.3;

/// A benchmark that has its options, and builds what it needs: with the program to measure, or without one ours.
type Benchmark = Box<dyn FnOnce(Option<PathBuf>) -> Result<Ready>>;

/// A benchmark that has all that it needs.
type Ready = Box<dyn FnOnce() -> Result<Value>>;

/// What there is.
const NAMES: &str = "start, memory, parallel, runtime, images, engine, network or dns";

/// `cargo xtask bench start|memory|parallel|runtime|images|engine|network|dns`.
pub(crate) fn bench(mut arguments: Arguments) -> Result<()> {
    let Some(name) = arguments.positional() else { bail!("bench takes {NAMES}") };
    let file = arguments.value("-o")?;
    // Without it the release build of this tree.
    let program = arguments.value("--minidocker")?.map(PathBuf::from);
    let benchmark: Benchmark = match name.as_str() {
        "start" => {
            let plan = start::Plan {
                runs: arguments.value_or("--runs", 50)?,
                spacing_ms: arguments.value_or("--spacing-ms", 250)?,
                peers: arguments.flag("--peers"),
            };
            let plan =
                if arguments.flag("--no-spacing") { start::Plan { spacing_ms: 0, ..plan } } else { plan };
            if plan.runs == 0 {
                bail!("--runs 0 measures nothing");
            }
            in_world(move |world| start::start(&plan, world))
        }
        "memory" => {
            let count = count(arguments.value_or("--count", 20)?)?;
            in_world(move |world| memory::memory(count, world))
        }
        "parallel" => {
            let count = count(arguments.value_or("--count", 100)?)?;
            in_world(move |world| parallel::parallel(count, world))
        }
        "runtime" => {
            let plan = runtime::Plan::read(&mut arguments)?;
            Box::new(move |program| runtime::prepare(plan, program))
        }
        "images" => {
            let plan = images::Plan::read(&mut arguments)?;
            Box::new(move |program| images::prepare(plan, program))
        }
        "engine" => {
            let plan = engine::Plan::read(&mut arguments)?;
            Box::new(move |program| engine::prepare(plan, program))
        }
        "dns" => {
            let plan = dns::Plan::read(&mut arguments)?;
            Box::new(move |program| dns::prepare(plan, program))
        }
        "network" => {
            let plan = network::Plan::read(&mut arguments)?;
            Box::new(move |program| network::prepare(plan, program))
        }
        _ => bail!("bench takes {NAMES}, not `{name}`"),
    };
    arguments.finish()?;
    process::need_root("the benchmark")?;
    let ready = benchmark(program)?;
    let load = load();
    let results = ready()?;
    if load > LOUD {
        println!(
            "warning: {load:.1} processes were busy before the first run, the times are too long and too wide"
        );
    }
    if let Some(file) = file {
        let text =
            json!({ "benchmark": name, "machine": machine(), "load_before": load, "results": results });
        fs::write(&file, format!("{text:#}\n")).with_context(|| format!("write {file}"))?;
    }
    Ok(())
}

/// A benchmark that is measured in a world of its own.
fn in_world(measure: impl FnOnce(&World) -> Result<Value> + 'static) -> Benchmark {
    Box::new(move |program| {
        let world = World::new(program)?;
        Ok(Box::new(move || measure(&world)))
    })
}

fn count(count: usize) -> Result<usize> {
    if count == 0 { bail!("--count 0 measures nothing") } else { Ok(count) }
}

/// How many processes wanted a CPU just now: /proc/loadavg, proc_loadavg(5), without this one and over a second,
/// because the averages there still remember the build.
fn load() -> f64 {
    let samples = 20;
    let running = |_| {
        std::thread::sleep(Duration::from_millis(50));
        let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let field = text.split_whitespace().nth(3).and_then(|field| field.split('/').next());
        field.and_then(|running| running.parse::<f64>().ok()).map_or(0.0, |running| running - 1.0)
    };
    (0..samples).map(running).sum::<f64>() / f64::from(samples)
}

/// What a reader must know of the machine before comparing numbers.
fn machine() -> Value {
    let line = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.map(|rest| rest.trim_start_matches([':', '\t', ' ', '=']).trim_matches('"').to_owned())
    };
    let kernel = rustix::system::uname();
    json!({
        "kernel": kernel.release().to_string_lossy(),
        "architecture": kernel.machine().to_string_lossy(),
        "system": line("/etc/os-release", "PRETTY_NAME"),
        "cpu": line("/proc/cpuinfo", "model name"),
        "cpus": std::thread::available_parallelism().map(usize::from).ok(),
        "memory": line("/proc/meminfo", "MemTotal"),
    })
}
