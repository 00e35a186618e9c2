//! The lab: what it measures is compared with what others say of the same, and what is wrong on purpose is caught.

mod bad_input_lab;
mod course_lab;
mod engines_lab;
mod limits_lab;
mod network_lab;
mod parity_lab;
mod resume_lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use minidocker_tests::{Call, Output, World, need};
use serde_json::Value;

/// How long a run of a suite may take.
const PATIENCE: Duration = Duration::from_secs(400);

/// One at a time: two would measure each other, and the program refuses it.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory of results.
struct Results(PathBuf);

impl Results {
    fn of(world: &World) -> Self {
        need("sysbench");
        Self(world.directory().join("results"))
    }

    /// `bench run` with these words, into it.
    fn bench<'a>(&self, world: &'a World, words: &[&str]) -> Call<'a> {
        let directory = self.0.to_str().expect("text").to_owned();
        let head = ["bench", "run"].into_iter().chain(words.iter().copied());
        let words: Vec<&str> = head.chain(["-o", &directory]).collect();
        world.call(words).patience(PATIENCE)
    }

    fn read(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Numbers of the measurements that are there.
    fn made(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.0.join("measurements")).into_iter().flatten().flatten();
        let name = |path: PathBuf| path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok();
        let mut made: Vec<u64> = entries.filter_map(|entry| name(entry.path())).collect();
        made.sort_unstable();
        made
    }

    /// Waits until so many are there.
    #[track_caller]
    fn until_made(&self, number: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.made().len() < number {
            assert!(Instant::now() < deadline, "waited in vain for {number} measurements");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Each measurement with what was printed.
    fn measurements(&self) -> Vec<(Value, String)> {
        let one = |number: u64| {
            let text = fs::read_to_string(self.0.join(format!("measurements/{number:05}.txt")));
            (self.read(&format!("measurements/{number:05}.json")), text.expect("the output"))
        };
        self.made().into_iter().map(one).collect()
    }

    /// The verdict and the finding of a check.
    fn check(&self, file: &str, what: &str) -> (String, String) {
        let parity = self.read(&format!("parity/{file}.json"));
        let checks = parity["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["what"] == what).expect("the check");
        let text = |key: &str| check[key].as_str().expect("text").to_owned();
        (text("verdict"), text("found"))
    }

    /// Only results are there: what measuring needed is gone.
    #[track_caller]
    fn expect_nothing_else(&self, world: &World) {
        let names = |path: &Path| {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(&self.0), ["measurements", "parity", "run.json", "series"]);
        assert!(!Path::new("/run/minidocker-lab").exists(), "{:?}", names(Path::new("/run/minidocker-lab")));
        world.expect_nothing_left();
    }
}

/// Asserts exit code 0, and shows all where it is another.
#[track_caller]
fn fine(output: Output) -> Output {
    output.ok()
}
