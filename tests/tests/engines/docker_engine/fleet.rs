//! Many containers at once.

use std::time::Duration;

use minidocker_tests::emulated;

use super::{Docker, IMAGE};
use crate::lines;

#[test]
fn twenty_start_at_the_same_moment_and_leave_nothing() {
    let docker = Docker::new();
    let count = if emulated() { 4 } else { 20 };
    let start = |number: usize| {
        let words = ["run", "-d", "--label", &format!("number={number}"), IMAGE, "/inside", "pause"];
        docker.call(words).patience(Duration::from_secs(120)).spawn()
    };
    let all: Vec<_> = (0..count).map(start).collect();
    let ids: Vec<String> = all.into_iter().map(|running| running.wait().text()).collect();
    let listed = docker.docker(["ps", "--quiet", "--filter", "status=running"]).text();
    assert_eq!(lines(&listed).len(), count, "{listed}");
    for id in &ids {
        docker.docker(["exec", id, "true"]).ok();
        let processes = docker.group(id).processes();
        assert_eq!(processes.len(), 1, "of {id}: {processes:?}");
    }
    let words: Vec<&str> = ["rm", "--force"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    docker.call(words).patience(Duration::from_secs(120)).run().ok();
    for id in &ids {
        assert_eq!(docker.group(id).directories(), [""; 0].map(std::path::PathBuf::from));
    }
    docker.expect_nothing_left();
}
