//! The trace: what was done, by whom, how long it took. Off, it costs one branch a step; on, two clock reads.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{Context, Failure, Step};

/// The process that takes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// `minidocker run`, until it has handed over.
    Command,
    /// The one process that stays with the container.
    Monitor,
    /// The container's first process, before it becomes the user's program.
    Init,
}

impl Actor {
    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Monitor => "monitor",
            Self::Init => "init",
        }
    }
}

/// One step that was taken.
///
/// Durations, not times of day: a time namespace shifts the clock of the container's init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who took it.
    pub process: Actor,
    /// [`Step::id`].
    pub step: String,
    /// [`Step::call`].
    pub call: String,
    /// [`Step::why`].
    pub why: String,
    /// How long it took; none where it was planned and not taken.
    pub took: Option<Duration>,
    /// Why it failed; none where it did not.
    pub failure: Option<String>,
}

impl Record {
    /// The record of `step` before it is taken.
    pub fn planned(process: Actor, step: &dyn Step) -> Self {
        Self {
            process,
            step: step.id().to_owned(),
            call: step.call(),
            why: step.why().into_owned(),
            took: None,
            failure: None,
        }
    }
}

/// The records of one process, in order.
#[derive(Debug)]
pub struct Trace {
    actor: Actor,
    records: Option<Vec<Record>>,
}

impl Trace {
    /// A trace that keeps records if `on`.
    pub fn new(actor: Actor, on: bool) -> Self {
        Self { actor, records: on.then(Vec::new) }
    }

    /// Whether records are kept.
    pub fn is_on(&self) -> bool {
        self.records.is_some()
    }

    /// The same trace, going on in another process after a fork.
    pub fn hand_to(&mut self, actor: Actor) {
        self.actor = actor;
    }

    /// Takes one step.
    pub fn perform(&mut self, step: &dyn Step, context: &mut Context) -> Result<(), Failure> {
        let Some(records) = &mut self.records else { return step.perform(context) };
        let before = Instant::now();
        let result = step.perform(context);
        let took = before.elapsed();
        records.push(Record {
            took: Some(took),
            failure: result.as_ref().err().map(ToString::to_string),
            ..Record::planned(self.actor, step)
        });
        result
    }

    /// Takes steps until one fails.
    pub fn perform_all(&mut self, steps: &[Box<dyn Step>], context: &mut Context) -> Result<(), Failure> {
        steps.iter().try_for_each(|step| self.perform(step.as_ref(), context))
    }

    /// Adds a record that another process made.
    pub fn push(&mut self, record: Record) {
        if let Some(records) = &mut self.records {
            records.push(record);
        }
    }

    /// The records so far, taken out.
    pub fn take(&mut self) -> Vec<Record> {
        self.records.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
