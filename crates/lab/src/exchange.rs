//! How the host and what runs inside of an environment speak with each other: files in a directory that both see, as
//! that is what a process, a container and a virtual machine all can have.
//!
//! ```text
//! host      job-1.json            one command and where it runs
//! inside    out-1.txt, err-1.txt  what it prints
//!           mark-begin, mark-end  moments that the command itself tells
//!           done-1.json           its exit code and how long it took by the clock inside
//! host      job-2.json … end      the agent ends
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One command for the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// Where it runs; made if it is missing.
    pub(crate) directory: String,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Its exit code; 128 and the signal's number where one ended it.
    pub(crate) code: i32,
    /// By the clock inside.
    pub(crate) seconds: f64,
    /// Why it did not start; empty where it did.
    pub(crate) problem: String,
}

pub(crate) fn job(exchange: &Path, number: u32) -> PathBuf {
    exchange.join(format!("job-{number}.json"))
}

pub(crate) fn done(exchange: &Path, number: u32) -> PathBuf {
    exchange.join(format!("done-{number}.json"))
}

pub(crate) fn output(exchange: &Path, number: u32) -> [PathBuf; 2] {
    [exchange.join(format!("out-{number}.txt")), exchange.join(format!("err-{number}.txt"))]
}

pub(crate) fn end(exchange: &Path) -> PathBuf {
    exchange.join("end")
}

/// Writes a value to a file that is there whole or not at all.
pub(crate) fn put(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
    put_bytes(path, &text)
}

/// The same for bytes.
pub(crate) fn put_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    std::fs::write(&name, bytes)?;
    std::fs::rename(&name, path)
}

/// Reads a value; none where the file is not there.
pub(crate) fn get<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
