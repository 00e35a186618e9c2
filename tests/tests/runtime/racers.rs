//! Neighbours who change a shared directory as fast as they can.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Exchanges two names until it is dropped.
pub(crate) struct Racer {
    end: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Racer {
    /// Between these two; they are as they were at its end, or the other way round.
    pub(crate) fn between(one: &Path, other: &Path) -> Self {
        Self::among(vec![(one.to_owned(), other.to_owned())])
    }

    /// Between the two of each pair.
    pub(crate) fn among(pairs: Vec<(PathBuf, PathBuf)>) -> Self {
        let (end, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ends, counts) = (Arc::clone(&end), Arc::clone(&rounds));
        let race = move || {
            while !ends.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
                }
                counts.fetch_add(1, Ordering::Relaxed);
            }
        };
        Self { end, rounds, thread: Some(std::thread::spawn(race)) }
    }

    /// How often it went through all of them so far.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
