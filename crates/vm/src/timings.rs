//! The way to the first command, taken apart: `--timings`.
//!
//! The guest's clock begins when its kernel has one; the host's is the command's own. Each mark leaves the guest at once
//! and carries the guest's time, so that host time less guest time is, for each mark, the offset between the clocks and
//! the time that it was under way. The least of these is taken as the offset; how far the others lie above it tells how
//! well both are known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the guest reports: that it has come to a point, and when by its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which.
    pub point: Point,
    /// CLOCK_BOOTTIME, as /proc/uptime has it, in nanoseconds.
    pub guest: u64,
    /// CLOCK_BOOTTIME when it was sent: later where the port was not there yet.
    pub sent: u64,
}

/// A point on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Init has begun.
    Init,
    /// The modules are loaded and the port is open.
    Modules,
    /// The root and what is mounted in it are there.
    Root,
    /// execve(2) of the command has succeeded.
    Command,
    /// The command has ended.
    Ended,
}

/// A piece of the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// `image`, `prepare`, `qemu`, `firmware`, `kernel`, `modules`, `root`, `command`, `output`, `run`, `power-off`.
    pub name: String,
    /// Seconds since the command began.
    pub start: f64,
    /// Seconds since the command began.
    pub end: f64,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// 1.
    pub format: u32,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// The guest's kernel release.
    pub kernel: String,
    /// Processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// In the order of time. `output` begins with `run` and ends at the command's first output, where there was any.
    pub steps: Vec<Step>,
    /// Seconds from the beginning to the command's first instruction.
    pub to_command: Option<f64>,
    /// The guest's own clock at each point, in seconds.
    pub guest: BTreeMap<String, f64>,
    /// Where the guest's clock began, in seconds since the command began.
    pub guest_zero: Option<f64>,
    /// How far the marks disagree about that, in seconds.
    pub clock_spread: f64,
}

/// What happened when, by the host's clock: seconds since the command began.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notes {
    /// The image's files are ready.
    pub image: f64,
    /// QEMU is started.
    pub spawned: f64,
    /// QEMU has made the machine: its monitor greets.
    pub greeted: Option<f64>,
    /// Marks, each with when it came.
    pub marks: Vec<(Mark, f64)>,
    /// The command's first output has come.
    pub output: Option<f64>,
    /// QEMU has ended.
    pub ended: Option<f64>,
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

impl Notes {
    /// The offset of the guest's clock, and how far the marks disagree about it.
    fn offset(&self) -> Option<(f64, f64)> {
        let offsets = self.marks.iter().map(|(mark, came)| came - seconds(mark.sent));
        let (least, most) = offsets.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), offset| {
            (least.min(offset), most.max(offset))
        });
        least.is_finite().then_some((least, most - least))
    }

    fn guest(&self, point: Point) -> Option<f64> {
        self.marks.iter().find(|(mark, _)| mark.point == point).map(|(mark, _)| seconds(mark.guest))
    }

    /// The steps: those of which both ends are known.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let offset = self.offset().map(|(offset, _)| offset);
        let at = |point| Some(offset? + self.guest(point)?);
        let mut steps = Vec::new();
        let mut add = |name: &str, start: Option<f64>, end: Option<f64>| {
            if let (Some(start), Some(end)) = (start, end) {
                // Clocks are known to a fraction of a millisecond: no step ends before it begins.
                steps.push(Step { name: name.to_owned(), start, end: end.max(start) });
            }
        };
        let command = at(Point::Command);
        // The greeting is noted when it is read, and whoever reads it may get no processor while the guest boots already.
        let greeted = self.greeted.map(|read| read.min(offset.unwrap_or(read).max(self.spawned)));
        add("image", Some(0.0), Some(self.image));
        add("prepare", Some(self.image), Some(self.spawned));
        add("qemu", Some(self.spawned), greeted);
        add("firmware", greeted, offset);
        add("kernel", offset, at(Point::Init));
        add("modules", at(Point::Init), at(Point::Modules));
        add("root", at(Point::Modules), at(Point::Root));
        add("command", at(Point::Root), command);
        add("output", command, self.output);
        add("run", command, at(Point::Ended));
        add("power-off", at(Point::Ended), self.ended);
        steps
    }

    /// The file's content.
    #[must_use]
    pub fn timings(&self, accelerator: &str, kernel: &str, cpus: u32, memory: u64) -> Timings {
        let offset = self.offset();
        let points = [Point::Init, Point::Modules, Point::Root, Point::Command, Point::Ended];
        let names = ["init", "modules", "root", "command", "ended"];
        let guest = points.into_iter().zip(names);
        Timings {
            format: 1,
            accelerator: accelerator.to_owned(),
            kernel: kernel.to_owned(),
            cpus,
            memory,
            steps: self.steps(),
            to_command: offset.and_then(|(offset, _)| Some(offset + self.guest(Point::Command)?)),
            guest: guest.filter_map(|(point, name)| Some((name.to_owned(), self.guest(point)?))).collect(),
            guest_zero: offset.map(|(offset, _)| offset),
            clock_spread: offset.map_or(0.0, |(_, spread)| spread),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(point: Point, guest: f64, sent: f64, came: f64) -> (Mark, f64) {
        let nanoseconds = |seconds: f64| (seconds * 1e9) as u64;
        (Mark { point, guest: nanoseconds(guest), sent: nanoseconds(sent) }, came)
    }

    #[test]
    fn two_clocks_become_one_way() {
        let notes = Notes {
            image: 0.1,
            spawned: 0.2,
            greeted: Some(0.3),
            marks: vec![
                // Sent when the port was there.
                mark(Point::Init, 1.0, 1.5, 2.53),
                mark(Point::Modules, 1.5, 1.5, 2.53),
                mark(Point::Root, 2.0, 2.0, 3.02),
                mark(Point::Command, 2.25, 2.25, 3.26),
                mark(Point::Ended, 3.0, 3.0, 4.02),
            ],
            output: Some(3.5),
            ended: Some(5.0),
        };
        let timings = notes.timings("tcg", "6.1", 1, 1 << 30);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert!(near(timings.guest_zero.unwrap(), 1.01), "{timings:?}");
        assert!(near(timings.clock_spread, 0.02), "{timings:?}");
        assert!(near(timings.to_command.unwrap(), 3.26), "{timings:?}");
        let names: Vec<&str> = timings.steps.iter().map(|step| step.name.as_str()).collect();
        let all =
            ["image", "prepare", "qemu", "firmware", "kernel", "modules", "root", "command", "output", "run"];
        assert_eq!(names[..10], all);
        let kernel = &timings.steps[4];
        assert!(near(kernel.start, 1.01) && near(kernel.end, 2.01), "{kernel:?}");
        assert!(near(timings.guest["init"], 1.0));
        let before = timings.steps.windows(2).take(7).all(|pair| near(pair[0].end, pair[1].start));
        assert!(before, "{timings:?}");
    }

    #[test]
    fn a_greeting_that_was_read_late_is_not_later_than_what_followed_it() {
        let notes = Notes {
            image: 0.1,
            spawned: 0.2,
            greeted: Some(9.0),
            marks: vec![mark(Point::Init, 1.0, 1.0, 2.0), mark(Point::Command, 2.0, 2.0, 3.1)],
            output: None,
            ended: None,
        };
        let steps = notes.steps();
        assert_eq!(
            steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>()[2..],
            ["qemu", "firmware", "kernel"]
        );
        assert!(steps.is_sorted_by(|one, next| one.end <= next.end), "{steps:?}");
        assert!((steps[4].start - 1.0).abs() < 1e-6, "{steps:?}");
    }

    #[test]
    fn a_machine_that_never_spoke_has_the_hosts_steps() {
        let notes = Notes { image: 0.1, spawned: 0.2, greeted: Some(0.4), ..Notes::default() };
        let names: Vec<String> = notes.steps().into_iter().map(|step| step.name).collect();
        assert_eq!(names, ["image", "prepare", "qemu"]);
        assert_eq!(notes.timings("kvm", "6.1", 1, 1).to_command, None);
    }
}
