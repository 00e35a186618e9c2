//! `update`: other limits for a container that runs.

use std::fs::File;
use std::io::Read;

use bundle::ops::{self, UpdateRequest};
use oci::spec::{
    LinuxBlockIoBuilder, LinuxCpu, LinuxCpuBuilder, LinuxMemory, LinuxMemoryBuilder, LinuxPidsBuilder,
    LinuxResources,
};

use super::super::Context;
use super::super::arguments::Typed;
use super::super::log;
use super::Command;
use crate::options::one;
use crate::problem::Problem;
use crate::terminal::io_reason;
use crate::values::sizes;

pub(super) const COMMAND: Command = Command {
    about: "Changes the limits of a container; those that are not named stay. With --resources all others are ignored.\n\
            Sizes are numbers of bytes, or such with k, m, g; -1 stands for no limit.",
    options: &[
        one("resources", "FILE", "Read the specification's resources as JSON; - is standard input")
            .short('r'),
        one("blkio-weight", "WEIGHT", "Share of block I/O, 10 to 1000"),
        one(
            "cpu-period",
            "MICROSECONDS",
            "Period that --cpu-quota is counted in; 0 for the system's default",
        ),
        one("cpu-quota", "MICROSECONDS", "Processor time in each period; -1 for no limit"),
        one("cpu-burst", "MICROSECONDS", "Unused quota that may be saved up"),
        one("cpu-share", "SHARES", "Share of processor time"),
        one("cpu-rt-period", "MICROSECONDS", "Period that --cpu-rt-runtime is counted in"),
        one("cpu-rt-runtime", "MICROSECONDS", "Real-time processor time in each period"),
        one("cpuset-cpus", "LIST", "Processors to run on: 0-2,4"),
        one("cpuset-mems", "LIST", "Memory nodes to use"),
        one("kernel-memory", "SIZE", "Ignored: kernels have it no more"),
        one("kernel-memory-tcp", "SIZE", "Ignored: kernels have it no more"),
        one("memory", "SIZE", "Memory"),
        one("cpu-idle", "NUMBER", "1: run only when nothing else wants to (SCHED_IDLE); 0: as usual"),
        one("memory-reservation", "SIZE", "Memory that is left to it when memory is scarce"),
        one("memory-swap", "SIZE", "Memory and swap together"),
        one("pids-limit", "NUMBER", "Processes and threads"),
        one("l3-cache-schema", "SCHEMA", "Intel RDT: schema of the L3 cache"),
        one("mem-bw-schema", "SCHEMA", "Intel RDT: schema of the memory bandwidth"),
    ],
    ..Command::new("update", "Change the limits of a container", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    Ok(ops::update(&context.settings, &request(typed)?).map(|()| 0)?)
}

fn request(typed: &Typed) -> Result<UpdateRequest, Problem> {
    let resources = match typed.text("resources") {
        Some(file) => from_file(file)?,
        None => from_options(typed)?,
    };
    let memory = resources.memory().unwrap_or_default();
    #[allow(deprecated, reason = "engines still send it, and it is told that it is ignored")]
    let kernel = memory.kernel().is_some() || memory.kernel_tcp().is_some();
    if kernel {
        log::warn("Kernel memory settings are ignored and will be removed");
    }
    Ok(UpdateRequest {
        id: typed.id().to_owned(),
        resources,
        l3_cache_schema: typed.owned("l3-cache-schema"),
        mem_bw_schema: typed.owned("mem-bw-schema"),
    })
}

fn from_file(file: &str) -> Result<LinuxResources, Problem> {
    let mut text = Vec::new();
    let read = match file {
        "-" => std::io::stdin().read_to_end(&mut text),
        file => File::open(file).and_then(|mut opened| opened.read_to_end(&mut text)),
    };
    read.map_err(|error| Problem::new(format!("read {file}: {}", io_reason(&error))))?;
    bundle::parse_resources(&text).map_err(|error| {
        Problem::new(format!("{file}: {error}")).hint("it is linux.resources of config.json, as JSON")
    })
}

fn from_options(typed: &Typed) -> Result<LinuxResources, Problem> {
    let mut resources = LinuxResources::default();
    resources.set_cpu(cpu(typed)?);
    resources.set_memory(memory(typed)?);
    if let Some(weight) = typed.number::<u16>("blkio-weight")?.filter(|weight| *weight != 0) {
        // None of the builders here has a field that must be given.
        resources.set_block_io(LinuxBlockIoBuilder::default().weight(weight).build().ok());
    }
    if let Some(limit) = typed.number::<i64>("pids-limit")? {
        resources.set_pids(LinuxPidsBuilder::default().limit(limit).build().ok());
    }
    Ok(resources)
}

/// None where no option is about processors.
fn cpu(typed: &Typed) -> Result<Option<LinuxCpu>, Problem> {
    let mut cpu = LinuxCpuBuilder::default();
    if let Some(shares) = number::<u64>(typed, "cpu-share")? {
        cpu = cpu.shares(shares);
    }
    if let Some(period) = number::<u64>(typed, "cpu-period")? {
        cpu = cpu.period(period);
    }
    if let Some(quota) = number::<i64>(typed, "cpu-quota")? {
        cpu = cpu.quota(quota);
    }
    if let Some(burst) = number::<u64>(typed, "cpu-burst")? {
        cpu = cpu.burst(burst);
    }
    if let Some(period) = number::<u64>(typed, "cpu-rt-period")? {
        cpu = cpu.realtime_period(period);
    }
    if let Some(runtime) = number::<i64>(typed, "cpu-rt-runtime")? {
        cpu = cpu.realtime_runtime(runtime);
    }
    if let Some(idle) = number::<i64>(typed, "cpu-idle")? {
        cpu = cpu.idle(idle);
    }
    if let Some(cpus) = typed.text("cpuset-cpus") {
        cpu = cpu.cpus(cpus);
    }
    if let Some(nodes) = typed.text("cpuset-mems") {
        cpu = cpu.mems(nodes);
    }
    Ok(cpu.build().ok().filter(|cpu| *cpu != LinuxCpu::default()))
}

/// None where no option is about memory.
fn memory(typed: &Typed) -> Result<Option<LinuxMemory>, Problem> {
    let mut memory = LinuxMemoryBuilder::default();
    if let Some(limit) = size(typed, "memory")? {
        memory = memory.limit(limit);
    }
    if let Some(limit) = size(typed, "memory-reservation")? {
        memory = memory.reservation(limit);
    }
    if let Some(limit) = size(typed, "memory-swap")? {
        memory = memory.swap(limit);
    }
    #[allow(deprecated, reason = "engines still send it, and it is told that it is ignored")]
    {
        if let Some(limit) = size(typed, "kernel-memory")? {
            memory = memory.kernel(limit);
        }
        if let Some(limit) = size(typed, "kernel-memory-tcp")? {
            memory = memory.kernel_tcp(limit);
        }
    }
    Ok(memory.build().ok().filter(|memory| *memory != LinuxMemory::default()))
}

/// A number; an empty text is none.
fn number<T: std::str::FromStr>(typed: &Typed, long: &str) -> Result<Option<T>, Problem> {
    let wrong = |text: &str| Problem::new(format!("invalid value for {long}: {text:?} is no such number"));
    typed.text(long).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
}

fn size(typed: &Typed, long: &str) -> Result<Option<i64>, Problem> {
    let wrong = |why: String| Problem::new(format!("invalid value for {long}: {why}"));
    typed.text(long).map(|text| sizes::parse_or_unlimited(text).map_err(wrong)).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::typed;
    use super::*;

    fn resources(line: &str) -> Value {
        serde_json::to_value(request(&typed(&COMMAND, line)).unwrap().resources).unwrap()
    }

    #[test]
    fn every_option_reaches_its_limit() {
        let line = "c1 --blkio-weight 500 --cpu-period 100000 --cpu-quota -1 --cpu-burst 9 --cpu-share 200 \
                    --cpu-rt-period 8 --cpu-rt-runtime 7 --cpuset-cpus 0-1 --cpuset-mems 0 --memory 50m \
                    --memory-reservation 1k --memory-swap -1 --pids-limit 10 --cpu-idle 1 \
                    --l3-cache-schema L3:0=f --mem-bw-schema MB:0=10";
        let all = json!({
            "blockIO": { "weight": 500 },
            "cpu": {
                "shares": 200, "quota": -1, "idle": 1, "burst": 9, "period": 100_000, "realtimeRuntime": 7,
                "realtimePeriod": 8, "cpus": "0-1", "mems": "0",
            },
            "memory": { "limit": 52_428_800, "reservation": 1024, "swap": -1 },
            "pids": { "limit": 10 },
        });
        let read = request(&typed(&COMMAND, line)).unwrap();
        assert_eq!((read.id.as_str(), serde_json::to_value(read.resources).unwrap()), ("c1", all));
        assert_eq!(read.l3_cache_schema.as_deref(), Some("L3:0=f"));
        assert_eq!(read.mem_bw_schema.as_deref(), Some("MB:0=10"));
    }

    #[test]
    fn what_is_not_named_is_not_there() {
        assert_eq!(resources("c1"), json!({}));
        assert_eq!(resources("c1 --memory= --cpu-share= --blkio-weight 0"), json!({}));
        assert_eq!(resources("c1 --pids-limit 0"), json!({ "pids": { "limit": 0 } }));
        assert_eq!(resources("c1 --cpu-period 0"), json!({ "cpu": { "period": 0 } }));
    }

    #[test]
    fn a_file_takes_the_place_of_options() {
        let file = std::env::temp_dir().join(format!("minidocker-update-{}", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            request(&typed(&COMMAND, &format!("c1 -r {} --memory 1m", file.display())))
        };
        let good =
            read(r#"{"memory": {"limit": 7, "checkBeforeUpdate": true}, "unified": {"a": "b"}}"#).unwrap();
        let bad = read(r#"{"memory": 7}"#).unwrap_err().message;
        std::fs::remove_file(&file).unwrap();
        let missing = request(&typed(&COMMAND, &format!("c1 --resources={}", file.display()))).unwrap_err();
        let limits = json!({ "memory": { "limit": 7, "checkBeforeUpdate": true }, "unified": { "a": "b" } });
        assert_eq!(serde_json::to_value(good.resources).unwrap(), limits);
        assert!(bad.starts_with(&format!("{}: ", file.display())), "{bad}");
        assert_eq!(missing.message, format!("read {}: no such file or directory", file.display()));
    }

    #[test]
    fn refuses_in_runcs_words() {
        let told = |line| request(&typed(&COMMAND, line)).unwrap_err().message;
        assert_eq!(
            told("c --memory x"),
            "invalid value for memory: not a number with a unit; write it as 512k, 10m or 1.5g"
        );
        assert_eq!(told("c --cpu-share -1"), "invalid value for cpu-share: \"-1\" is no such number");
        assert_eq!(told("c --pids-limit x"), "invalid value \"x\" for flag -pids-limit: a number is wanted");
    }
}
