//! Why the figures are as they are, in sentences. Each is made of figures that the run has and carries them along; where
//! one of them is missing there is no sentence.

mod shared;
mod steps;

use crate::analysis::{Analysis, Verdict};
use crate::quantity::{percent, ratio, words};
use crate::read::{Results, is_emulated};
use crate::record::{Better, Case, Cost, Environment, Kind, Measurement, Metric, Size};
use crate::statistics::{mean, median};
use shared::SHARED;
use steps::largest_step;
pub(crate) use steps::steps;

/// One sentence, and what it stands on.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The environment that it tells of; empty where it tells of several.
    pub environment: String,
    /// The sentence.
    pub text: String,
    /// The figures, at least one.
    pub figures: Vec<Figure>,
}

/// A figure below a sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Which case, of which size.
    pub place: String,
    /// What it is.
    pub what: &'static str,
    /// In `unit`; a share where the unit is `%`.
    pub value: f64,
    /// As [`crate::record::Metric::unit`], or `%` for a share.
    pub unit: &'static str,
}

impl Figure {
    /// The value with its unit.
    pub fn words(&self) -> String {
        match self.unit {
            "%" => percent(self.value),
            "times" => format!("{} times", ratio(self.value)),
            unit => words(self.value, unit),
        }
    }
}

/// A share from which on it is worth a sentence: of processor time that is throttled or stolen.
const NOTABLE: f64 = 0.01;

/// All sentences that the run carries, environment by environment.
pub fn explain(analysis: &Analysis) -> Vec<Explanation> {
    let run = &analysis.results.run;
    let mut all = Vec::new();
    for environment in &run.environments {
        let of = Of { analysis, environment };
        let sentences = [
            of.comparisons(),
            of.extra_time(true),
            of.extra_time(false),
            of.by_hardware(),
            of.memory(),
            of.steps(),
            of.throttled(),
            of.out_of_memory(),
            of.kept_in_memory(),
        ];
        all.extend(sentences.into_iter().flatten());
    }
    all.extend(SHARED.iter().filter_map(|rule| rule.explanation(analysis)));
    all
}

/// "native, container and vm".
pub(crate) fn listed(names: &[&str]) -> String {
    match names {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        names => names.concat(),
    }
}

/// What a sentence is made of.
struct Of<'a> {
    analysis: &'a Analysis<'a>,
    environment: &'a Environment,
}

impl<'a> Of<'a> {
    fn results(&self) -> &'a Results {
        self.analysis.results
    }

    /// The environment to compare to; none for that itself.
    fn base(&self) -> Option<&'a Environment> {
        self.results().baseline().filter(|base| base.name != self.environment.name)
    }

    /// What `figure` makes of every case and size; those of which it makes nothing are left out.
    fn each(
        &self,
        figure: impl Fn(&'a Case, &'a Size) -> Option<f64>,
        what: &'static str,
        unit: &'static str,
    ) -> Vec<Figure> {
        let run = &self.results().run;
        let all = run.cases.iter().flat_map(|case| run.sizes.iter().map(move |size| (case, size)));
        all.filter_map(|(case, size)| {
            let value = figure(case, size).filter(|value| value.is_finite())?;
            Some(Figure { place: format!("{}, {}", case.name, size.name), what, value, unit })
        })
        .collect()
    }

    /// The median of what `read` makes of the measurements of a case.
    fn typical(
        &self,
        environment: &Environment,
        case: &Case,
        size: &Size,
        read: impl Fn(&Measurement) -> Option<f64>,
    ) -> Option<f64> {
        let all = self.results().of(&case.name, &environment.name, &size.name);
        median(&all.into_iter().filter_map(read).collect::<Vec<f64>>())
    }

    /// The same of the costs.
    fn cost(&self, case: &Case, size: &Size, read: impl Fn(&Cost) -> Option<f64>) -> Option<f64> {
        self.typical(self.environment, case, size, |one| read(&one.cost))
    }

    fn sentence(&self, figures: Vec<Figure>, text: impl Fn(&str) -> String) -> Option<Explanation> {
        let range = range(&figures)?;
        Some(Explanation { environment: self.environment.name.clone(), text: text(&range), figures })
    }

    /// How its headlines compare, in sum.
    fn comparisons(&self) -> Option<Explanation> {
        let base = self.base()?;
        let own = || self.analysis.headlines().filter(|cell| cell.environment.name == self.environment.name);
        let figures: Vec<Figure> = own()
            .filter_map(|cell| {
                let (cost, _) = cell.against?.cost()?;
                let place = format!("{}, {}", cell.case.name, cell.size.name);
                Some(Figure { place, what: "cost against the baseline", value: cost, unit: "times" })
            })
            .collect();
        let count =
            |verdict| own().filter(|cell| cell.against.is_some_and(|one| one.verdict() == verdict)).count();
        let counts: Vec<String> =
            [Verdict::Worse, Verdict::Better, Verdict::Differs, Verdict::Alike, Verdict::TooFew]
                .into_iter()
                .filter(|&verdict| count(verdict) > 0)
                .map(|verdict| format!("{} in {}", verdict.words(), count(verdict)))
                .collect();
        let name = &self.environment.name;
        let of = if figures.len() == 1 {
            "1 comparison".to_owned()
        } else {
            format!("{} comparisons", figures.len())
        };
        self.sentence(figures, |range| {
            format!(
                "{name} against {}, {of}: {}; it costs {range} what {} does.",
                base.name,
                counts.join(", "),
                base.name
            )
        })
    }

    /// Of which kind the processor time is that a unit of work takes more than on the baseline.
    fn extra_time(&self, user: bool) -> Option<Explanation> {
        let base = self.base()?;
        let figures = self.each(
            |case, size| {
                let cell =
                    self.analysis.cell(&case.name, &case.headline, &self.environment.name, &size.name)?;
                // Where it costs no more, nothing is to be explained.
                cell.against?.cost().filter(|(cost, _)| *cost >= 1.1)?;
                let part = |environment, kernel: bool| {
                    self.typical(environment, case, size, |one| {
                        let time = if kernel { one.cost.system? } else { one.cost.user? };
                        Some(time / work(case, one)?)
                    })
                };
                let users = part(self.environment, false)? - part(base, false)?;
                let kernels = part(self.environment, true)? - part(base, true)?;
                let (least, all) = (part(base, false)? + part(base, true)?, users + kernels);
                let share = (if user { users } else { kernels }) / all;
                (all > 0.1 * least && share > 0.5).then(|| share.min(1.0))
            },
            if user {
                "user time in the extra processor time"
            } else {
                "kernel time in the extra processor time"
            },
            "%",
        );
        let whose = match (user, self.environment.kind) {
            (true, Kind::Vm) if is_emulated(self.environment) => {
                "user time of the emulator: without KVM each guest instruction is translated before it runs"
            }
            (true, Kind::Vm) => "user time of the machine\u{2019}s process",
            (true, _) => "user time",
            (false, Kind::Vm) => "time of the host\u{2019}s kernel, on behalf of the machine",
            (false, _) => "kernel time, of system calls and faults",
        };
        let name = &self.environment.name;
        self.sentence(figures, |range| {
            format!(
                "{range} of the processor time that {name} takes more than {} for the same work is {whose}.",
                base.name
            )
        })
    }

    fn by_hardware(&self) -> Option<Explanation> {
        let figures = self.each(
            |case, size| {
                self.cost(case, size, |cost| {
                    let guest = cost.guest?;
                    let all = guest + cost.user? + cost.system?;
                    (guest > 0.0).then_some(guest / all)
                })
            },
            "guest time in the processor time",
            "%",
        );
        let name = &self.environment.name;
        self.sentence(figures, |range| format!("{range} of {name}'s processor time is the guest's own, run by the hardware; the rest is the price of the machine around it."))
    }

    fn memory(&self) -> Option<Explanation> {
        let base = self.base()?;
        let peak = |cost: &Cost| cost.memory_peak.map(|bytes| bytes as f64);
        let figures = self.each(
            |case, size| {
                let own = self.cost(case, size, peak)?;
                let other = self.typical(base, case, size, |one| peak(&one.cost))?;
                Some(own / other).filter(|ratio| *ratio >= 1.5)
            },
            "memory at its most, against the baseline",
            "times",
        );
        let name = &self.environment.name;
        let more = if self.environment.kind == Kind::Vm {
            ": its kernel, its page cache and the machine itself are in it"
        } else {
            ""
        };
        self.sentence(figures, |range| {
            format!("At its most {name} takes {range} the memory of {}{more}.", base.name)
        })
    }

    /// The largest step on the way to the first command.
    fn steps(&self) -> Option<Explanation> {
        let run = &self.results().run;
        let largest = |case, size| largest_step(self.results(), case, self.environment, size);
        let mut places = run.cases.iter().flat_map(|case| run.sizes.iter().map(move |size| (case, size)));
        let (step, time, all) = places.find_map(|(case, size)| largest(case, size))?;
        let figures = self.each(
            |case, size| {
                let (name, time, all) = largest(case, size)?;
                (name == step && all > 0.0).then_some(time / all)
            },
            "the largest step's share of the way to the first command",
            "%",
        );
        let name = &self.environment.name;
        self.sentence(figures, |range| {
            format!(
                "The largest step on the way to the first command in {name} is \u{201c}{step}\u{201d}: {range} of the time of \
                 all steps ({} of {} at the first size).",
                words(time, "s"),
                words(all, "s")
            )
        })
    }

    fn throttled(&self) -> Option<Explanation> {
        let figures = self.each(
            |case, size| {
                self.cost(case, size, |cost| Some(cost.throttled? / cost.wall))
                    .filter(|share| *share >= NOTABLE)
            },
            "time throttled, as a share of the run",
            "%",
        );
        let name = &self.environment.name;
        self.sentence(figures, |range| format!("{name} was throttled for {range} of the run: it wanted more processor time than its limit gives."))
    }

    /// Caches were dropped, and still the device read nothing.
    fn out_of_memory(&self) -> Option<Explanation> {
        let figures = self.each(
            |case, size| {
                let rates = case.metrics.iter().filter(|metric| is_rate_of(metric, &["read", "reads"]));
                let rates: Vec<&str> = rates.map(|metric| metric.name.as_str()).collect();
                let reads = |one: &Measurement| {
                    rates.iter().any(|name| one.metrics.get(*name).is_some_and(|rate| *rate > 0.0))
                };
                self.typical(self.environment, case, size, |one| {
                    let is_cold = one.phases.iter().any(|phase| phase.name == "cold");
                    one.cost.disk_read.filter(|_| is_cold && reads(one)).map(|bytes| bytes as f64)
                })
                .filter(|bytes| *bytes < 1_048_576.0)
            },
            "read by the device",
            "B",
        );
        let name = &self.environment.name;
        self.sentence(figures, |range| format!("Caches were dropped before {name} ran, and yet the device read only {range}: what was read came out of memory, and the figures tell of a page cache, not of the disk."))
    }

    /// What was written had not reached the device when the run ended.
    fn kept_in_memory(&self) -> Option<Explanation> {
        let share = |environment: &Environment, case: &Case, size: &Size| {
            let is_written =
                |metric: &&Metric| metric.unit == "B/s" && is_rate_of(metric, &["write", "written"]);
            let name = &case.metrics.iter().find(is_written)?.name;
            self.typical(environment, case, size, |one| {
                let claimed = one.metrics.get(name)? * one.cost.wall;
                (claimed > 1e6).then_some(one.cost.disk_written? as f64 / claimed)
            })
        };
        let figures = self.each(
            |case, size| share(self.environment, case, size).filter(|share| *share < 0.5),
            "reached the device, of what was written",
            "%",
        );
        let run = &self.results().run;
        let kept = |case: &'a Case| {
            run.sizes.iter().any(|size| share(self.environment, case, size).is_some_and(|share| share < 0.5))
        };
        let others = self.base().map(|base| {
            let cases = run.cases.iter().filter(|case| kept(case));
            let all: Vec<f64> = cases
                .flat_map(|case| run.sizes.iter().filter_map(move |size| share(base, case, size)))
                .collect();
            (base, median(&all))
        });
        let beside = match others {
            Some((base, Some(share))) if share >= 0.5 => format!(
                ", while of what {} wrote {} had: the two did not do the same work, as where fsync(2) is left out",
                base.name,
                percent(share.min(1.0))
            ),
            _ => ": the rest was still in memory".to_owned(),
        };
        let name = &self.environment.name;
        self.sentence(figures, |range| {
            format!("Of what {name} wrote, {range} had reached the device when the run ended{beside}.")
        })
    }

    fn busy_device(&self) -> Vec<Figure> {
        self.each(
            |case, size| self.seen(case, size, "disk.busy").filter(|share| *share >= 0.8),
            "time in which the device was busy",
            "%",
        )
    }

    fn waiting(&self) -> Vec<Figure> {
        let cpus = f64::from(self.results().run.host.cpus.max(1));
        self.each(
            |case, size| {
                let waiting = self.seen(case, size, "cpu.iowait")?;
                Some(waiting / cpus).filter(|share| *share >= 0.1)
            },
            "the processors' time spent waiting for the disk",
            "%",
        )
    }

    fn stolen(&self) -> Vec<Figure> {
        let cpus = f64::from(self.results().run.host.cpus.max(1));
        self.each(
            |case, size| {
                let share = self.cost(case, size, |cost| Some(cost.steal? / cost.wall / cpus));
                share.filter(|share| *share >= NOTABLE)
            },
            "the processors' time stolen by the hypervisor",
            "%",
        )
    }

    fn spread(&self) -> Vec<Figure> {
        self.each(
            |case, size| {
                let cell =
                    self.analysis.cell(&case.name, &case.headline, &self.environment.name, &size.name)?;
                cell.summary.variation().filter(|share| *share >= 0.05)
            },
            "deviation of the repetitions, as a share of their mean",
            "%",
        )
    }

    /// The mean of a curve within the phase `run`, of the repetitions' means the median.
    fn seen(&self, case: &Case, size: &Size, curve: &str) -> Option<f64> {
        self.typical(self.environment, case, size, |one| {
            let series = self.results().series.get(&one.slot.number)?;
            let run = one.phases.iter().find(|phase| phase.name == "run")?;
            let values = &series.curves.iter().find(|known| known.name == curve)?.values;
            let within = |at: f64| at > run.start && at <= run.end;
            let seen: Vec<f64> = series
                .at
                .iter()
                .zip(values)
                .filter(|(at, _)| within(**at))
                .filter_map(|(_, value)| *value)
                .collect();
            (!seen.is_empty()).then(|| mean(&seen))
        })
    }
}

/// Whether a metric is a rate with one of these words in its name: `threads` reads nothing.
fn is_rate_of(metric: &Metric, words: &[&str]) -> bool {
    let named = metric.name.split('_').any(|word| words.contains(&word));
    named && matches!(metric.unit.as_str(), "B/s" | "1/s")
}

/// How much a measurement did: operations or bytes where its headline is a rate, 1 where it is a time.
fn work(case: &Case, one: &Measurement) -> Option<f64> {
    let metric = case.metrics.iter().find(|metric| metric.name == case.headline)?;
    let value = *one.metrics.get(&metric.name)?;
    match (metric.better, metric.unit.as_str()) {
        (Better::Higher, "1/s" | "B/s") => Some(value * one.cost.wall).filter(|work| *work > 0.0),
        (Better::Lower, "s") => Some(1.0),
        _ => None,
    }
}

/// From the smallest to the largest of the figures, in words; `None` of none.
fn range(figures: &[Figure]) -> Option<String> {
    let least = figures.iter().min_by(|one, other| one.value.total_cmp(&other.value))?;
    let most = figures.iter().max_by(|one, other| one.value.total_cmp(&other.value))?;
    let (low, high) = (least.words(), most.words());
    if low == high {
        return Some(low);
    }
    let number = match least.unit {
        "%" | "times" => low.rsplit_once(' ').map_or(low.clone(), |(number, _)| number.to_owned()),
        _ => low,
    };
    Some(format!("{number} to {high}"))
}

#[cfg(test)]
mod tests;
