//! What `--explain` and `--dry-run` print, that they do no more than that, and that it is true.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use minidocker_tests::World;
use serde_json::Value;

use crate::calls::{performed, promised, traced};

/// Every path below a directory, with the content of small files.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.insert(path.clone(), Vec::new());
            all.extend(tree(&path));
        } else {
            let link = fs::read_link(&path).map(|target| target.to_string_lossy().into_owned().into_bytes());
            all.insert(path.clone(), link.unwrap_or_else(|_| fs::read(&path).unwrap_or_default()));
        }
    }
    all
}

#[test]
fn text_goes_to_standard_error_and_the_programs_output_is_untouched() {
    let world = World::new();
    let root = world.rootfs_busybox();
    for format in ["--explain", "--explain=text", "--explain=json"] {
        let words = [
            "run",
            "--rm",
            format,
            "--rootfs",
            &root.overlay(),
            "sh",
            "-c",
            "echo out; echo err >&2; exit 3",
        ];
        let output = world.minidocker(words).exits(3);
        assert_eq!(output.out(), "out\n", "{format}");
        let text = output.err();
        for word in ["clone", "unshare(CLONE_NEWNET)", "mount.proc", "sethostname", "cgroup.remove", "err\n"]
        {
            assert!(text.contains(word), "no `{word}` with {format}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "no colours where nobody looks");
    }
    // Without the flag nothing is said.
    world.minidocker(["run", "--rm", "--rootfs", &root.overlay(), "true"]).prints("");
}

#[test]
fn each_line_of_json_is_a_step() {
    let world = World::new();
    let root = world.rootfs_inside();
    let words =
        ["run", "--rm", "--explain=json", "-m", "64m", "--rootfs", &root.overlay(), "/inside", "true"];
    let output = world.minidocker(words).ok();
    let mut actors = BTreeMap::new();
    for (index, line) in output.err().lines().enumerate() {
        let step: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(step["seq"], index + 1, "{line}");
        for name in ["process", "step", "call", "why"] {
            assert!(step[name].as_str().is_some_and(|text| !text.is_empty()), "{name} of {line}");
        }
        assert!(step["took_us"].as_f64().is_some_and(|took| (0.0..10e6).contains(&took)), "{line}");
        assert_eq!(step["failure"], Value::Null, "{line}");
        *actors.entry(step["process"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(actors.keys().collect::<Vec<_>>(), ["command", "init", "monitor"]);
    assert!(actors["init"] > 30 && actors["monitor"] > 10, "{actors:?}");
}

#[test]
fn a_failure_is_the_last_step_of_the_way_up() {
    let world = World::new();
    let root = world.rootfs_inside();
    root.link("proc", "/etc");
    let words = [
        "run",
        "--rm",
        "--explain=json",
        "--network",
        "none",
        "--rootfs",
        &root.overlay(),
        "/inside",
        "true",
    ];
    let output = world.minidocker(words);
    assert_eq!(output.code, 125, "{output:?}");
    let text = output.err();
    let steps: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(steps.iter().any(|step| step["step"] == "cgroup.remove"), "it is taken down again: {text}");
    assert!(steps.iter().all(|step| step["step"] != "mount.pivot"), "nothing after the failure: {text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("hint: ")), "{text}");
}

#[test]
fn a_dry_run_touches_nothing() {
    let world = World::new();
    let root = world.rootfs_busybox();
    // The engine's own directories and the bridge are there from now on.
    world.facts([""; 0]);
    world.expect_nothing_left();
    let looks = |world: &World| {
        let network = world.program(["ip", "-4", "-o", "addr"]).run().text();
        (tree(&world.root()), tree(&world.run_root()), network, world.leaks(), tree(root.path()).len())
    };
    let before = looks(&world);
    let missing = world.directory().join("not-made");
    let volume = format!("{}:/m", missing.display());
    let options = ["--dry-run", "--name", "web", "--ip", "10.0.0.1", "-m", "64m", "-v", &volume, "--rm"];
    for source in [root.plain(), root.overlay()] {
        for more in [&[][..], &["--explain=json"], &["--explain=shell"]] {
            let words = ["run"].into_iter().chain(options).chain(more.iter().copied());
            let output = world.minidocker(words.chain(["--rootfs", &source, "touch", "/touched"])).ok();
            let text = output.out() + &output.err();
            assert!(text.contains("mount.proc") || text.contains("/proc"), "{text}");
            let after = looks(&world);
            let changed: Vec<_> = [(&before.0, &after.0), (&before.1, &after.1)]
                .into_iter()
                .flat_map(|(a, b)| a.keys().chain(b.keys()).filter(|path| a.get(*path) != b.get(*path)))
                .collect();
            assert!(changed.is_empty(), "changed by {more:?}: {changed:?}");
            assert_eq!(
                (&after.2, &after.3, after.4),
                (&before.2, &before.3, before.4),
                "changed by {more:?}"
            );
            assert!(!missing.exists() && !root.path().join("touched").exists());
        }
    }
    let host = ["run", "--dry-run", "--rm", "host", "true"];
    world.minidocker(host).ok();
    assert!(looks(&world) == before);
    // Bad options are refused all the same.
    world.minidocker(["run", "--dry-run", "-m", "10x", "host", "true"]).refuses(125, &["10x"]);
}

/// What a plan tells beforehand is what is told afterwards.
#[test]
fn the_plan_is_what_happens() {
    let world = World::new();
    let root = world.rootfs_inside();
    let overlay = root.overlay();
    let words = |dry: &'static [&'static str]| {
        let all = ["run", "--rm", "--hostname", "same", "-m", "64m", "--explain=json"].into_iter();
        all.chain(dry.iter().copied()).chain(["--rootfs", &overlay, "/inside", "true"])
    };
    let plan = world.minidocker(words(&["--dry-run"])).ok();
    let done = world.minidocker(words(&[])).ok();
    let ids = |text: &str, process: &str| -> Vec<String> {
        let steps = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let own = steps.filter(|step| step["process"] == process);
        own.map(|step| step["step"].as_str().unwrap().to_owned()).collect()
    };
    let (planned, told) = (plan.out() + &plan.err(), done.err());
    for process in ["command", "monitor", "init"] {
        assert!(!ids(&told, process).is_empty());
        assert_eq!(ids(&planned, process), ids(&told, process), "{process}");
    }
}

#[test]
fn the_calls_are_those_that_are_made() {
    let world = World::new();
    let busybox = world.rootfs_busybox();
    let volume = format!("{}:/v", busybox.path().join("tmp").display());
    let (overlay, plain) = (busybox.overlay(), busybox.plain());
    let inside = format!("{}:/inside", world.inside_path().display());
    let all: [&[&str]; 11] = [
        &["-v", "named:/root", "-v", "/etc", "--rootfs", &overlay, "/inside", "true"],
        &[
            "--mount",
            "src=memory,dst=/m,volume-opt=type=tmpfs,volume-opt=device=tmpfs",
            "--mount",
            "src=named,dst=/n,volume-subpath=made",
            "--userns",
            "private",
            "--rootfs",
            &overlay,
            "/inside",
            "true",
        ],
        &["--storage-opt", "size=32m", "--rootfs", &overlay, "/inside", "true"],
        &["--storage-opt", "size=32m", "--userns", "private", "--rootfs", &overlay, "/inside", "true"],
        &["--rootfs-kind", "loop", "--rootfs", &overlay, "/inside", "true"],
        &["--rootfs-kind", "copy", "--rootfs", &overlay, "/inside", "true"],
        &[
            "--hostname",
            "h",
            "-m",
            "64m",
            "--cpus",
            "0.5",
            "-v",
            &volume,
            "--tmpfs",
            "/t:size=1m",
            "--rootfs",
            &overlay,
            "/inside",
            "true",
        ],
        &[
            "--rootfs",
            &plain,
            "--read-only",
            "--ip",
            "10.0.0.1",
            "-u",
            "1000",
            "-w",
            "/var",
            "/inside",
            "true",
        ],
        &[
            "-v",
            &inside,
            "--network",
            "none",
            "--security-opt",
            "no-new-privileges",
            "host",
            "/inside",
            "true",
        ],
        &["--userns", "private", "--rootfs", &overlay, "/inside", "true"],
        &[
            "--network",
            "host",
            "--ipc",
            "host",
            "--time",
            "private:boottime=5",
            "--ulimit",
            "nofile=100",
            "--rootfs",
            &overlay,
            "/inside",
            "true",
        ],
    ];
    busybox.directory("root/made");
    let mut untrue = Vec::new();
    for options in all {
        let (steps, calls) = traced(&world, options);
        assert!(steps.len() > 40, "{} steps", steps.len());
        assert!(promised(&steps) > 80, "the texts name their calls");
        let wrong = performed(&steps, &calls).into_iter().filter_map(Result::err);
        untrue.extend(wrong.map(|text| format!("{options:?}: {text}")));
    }
    assert!(untrue.is_empty(), "told and not done:\n  {}", untrue.join("\n  "));
}
