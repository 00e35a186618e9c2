//! What the screen shows: containers with what they used lately, which one is chosen, what is asked.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use engine::ops::list::State;
use engine::ops::processes::Process;
use engine::ops::stats::{Seen, Usage};

/// How many looks are remembered: as many as the widest terminal shows.
const REMEMBERED: usize = 300;

/// What is to be done.
pub(super) enum Wish {
    None,
    Leave,
    /// A command, the container's id and its name.
    Do(&'static str, String, String),
    /// What needs the terminal, and the container's id.
    Outside(&'static str, String),
}

/// What waits for an answer.
pub(super) enum Asking {
    Help,
    /// Whether to do this to the container of this id and name.
    Sure(&'static str, String, String),
    /// What to filter by; what it was before.
    Filter(String),
}

/// The order of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Newest,
    Name,
    Processor,
    Memory,
    Network,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Newest => Self::Name,
            Self::Name => Self::Processor,
            Self::Processor => Self::Memory,
            Self::Memory => Self::Network,
            Self::Network => Self::Newest,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Name => "name",
            Self::Processor => "cpu",
            Self::Memory => "memory",
            Self::Network => "network",
        }
    }
}

/// What a container used lately, the oldest first. Processor time in hundredths of a percent; the others in bytes, and
/// in bytes a second.
#[derive(Debug, Default)]
pub(super) struct History {
    last: Option<Usage>,
    pub(super) cpu: VecDeque<u64>,
    pub(super) memory: VecDeque<u64>,
    pub(super) received: VecDeque<u64>,
    pub(super) sent: VecDeque<u64>,
    pub(super) disk: VecDeque<u64>,
}

impl History {
    fn take(&mut self, usage: &Usage) {
        let mut rates = [0; 4];
        if let Some(last) = &self.last {
            let seconds = usage.at.saturating_duration_since(last.at).as_secs_f64();
            let rate = |now: u64, before: u64| {
                if seconds > 0.0 { (now.saturating_sub(before) as f64 / seconds) as u64 } else { 0 }
            };
            rates = [
                (usage.cpu_percent(last) * 100.0) as u64,
                rate(usage.network.0, last.network.0),
                rate(usage.network.1, last.network.1),
                rate(usage.disk.0 + usage.disk.1, last.disk.0 + last.disk.1),
            ];
        }
        let [cpu, received, sent, disk] = rates;
        let all = [
            (&mut self.cpu, cpu),
            (&mut self.memory, usage.memory),
            (&mut self.received, received),
            (&mut self.sent, sent),
            (&mut self.disk, disk),
        ];
        for (list, value) in all {
            list.push_back(value);
            if list.len() > REMEMBERED {
                list.pop_front();
            }
        }
        self.last = Some(usage.clone());
    }

    /// The latest values: processor in hundredths of a percent, received, sent, disk.
    pub(super) fn now(&self) -> (u64, u64, u64, u64) {
        let last = |list: &VecDeque<u64>| list.back().copied().unwrap_or(0);
        (last(&self.cpu), last(&self.received), last(&self.sent), last(&self.disk))
    }
}

/// A process, and its share of a processor in percent.
pub(super) type Shown = (Process, f64);

/// Everything.
#[derive(Default)]
pub(super) struct View {
    all: Vec<Seen>,
    histories: HashMap<String, History>,
    /// The id of the chosen one, so that it stays chosen when others come and go.
    chosen: Option<String>,
    processes: Vec<Shown>,
    /// Ticks of processes at the last look.
    ticks: HashMap<i32, (u64, Instant)>,
    pub(super) sort: Sort,
    pub(super) filter: String,
    pub(super) only_running: bool,
    pub(super) asking: Option<Asking>,
    pub(super) note: Option<String>,
}

impl View {
    /// Takes in a look.
    pub(super) fn take(&mut self, all: Vec<Seen>) {
        self.histories.retain(|id, _| all.iter().any(|one| one.summary.id == *id && one.usage.is_some()));
        for one in &all {
            if let Some(usage) = &one.usage {
                self.histories.entry(one.summary.id.clone()).or_default().take(usage);
            }
        }
        self.all = all;
    }

    /// The processes of the chosen one.
    pub(super) fn take_processes(&mut self, processes: Vec<Process>) {
        let now = Instant::now();
        let before = std::mem::take(&mut self.ticks);
        let mut shown: Vec<Shown> = Vec::new();
        for process in processes {
            let (ticks, then) = before.get(&process.pid).copied().unwrap_or((process.ticks, now));
            let seconds = now.saturating_duration_since(then).as_secs_f64();
            // Drawn more often than ticks are counted: then the share of before holds.
            let (share, kept) = if seconds < 0.5 {
                let old = self.processes.iter().find(|(old, _)| old.pid == process.pid);
                (old.map_or(0.0, |(_, share)| *share), (ticks, then))
            } else {
                // A tick is 10 ms: USER_HZ is 100 on every machine that this runs on.
                ((process.ticks.saturating_sub(ticks)) as f64 / seconds, (process.ticks, now))
            };
            self.ticks.insert(process.pid, kept);
            shown.push((process, share));
        }
        self.processes = shown;
    }

    pub(super) fn processes(&self) -> &[Shown] {
        &self.processes
    }

    pub(super) fn history(&self, one: &Seen) -> Option<&History> {
        self.histories.get(&one.summary.id)
    }

    /// Those that are shown, in order.
    pub(super) fn shown(&self) -> Vec<&Seen> {
        let wanted = |one: &&Seen| {
            let text = self.filter.to_lowercase();
            let has = |field: &str| field.to_lowercase().contains(&text);
            let summary = &one.summary;
            (!self.only_running || one.usage.is_some() || matches!(summary.state, State::Restarting(..)))
                && (text.is_empty()
                    || has(&summary.name)
                    || has(&summary.image)
                    || summary.id.starts_with(&text))
        };
        let mut shown: Vec<&Seen> = self.all.iter().filter(wanted).collect();
        let now = |one: &Seen| self.history(one).map(History::now).unwrap_or_default();
        // Sorting is stable: what is alike stays the newest first.
        match self.sort {
            Sort::Newest => {}
            Sort::Name => shown.sort_by(|a, b| a.summary.name.cmp(&b.summary.name)),
            Sort::Processor => shown.sort_by_key(|one| std::cmp::Reverse(now(one).0)),
            Sort::Memory => {
                shown
                    .sort_by_key(|one| std::cmp::Reverse(one.usage.as_ref().map_or(0, |usage| usage.memory)));
            }
            Sort::Network => shown.sort_by_key(|one| std::cmp::Reverse(now(one).1 + now(one).2)),
        }
        shown
    }

    /// Running, paused, and other containers.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let count = |test: fn(&State) -> bool| self.all.iter().filter(|one| test(&one.summary.state)).count();
        let running = count(|state| matches!(state, State::Running(..)));
        let paused = count(|state| matches!(state, State::Paused(..)));
        (running, paused, self.all.len() - running - paused)
    }

    /// The processor time of all, in hundredths of a percent, and their memory in bytes.
    pub(super) fn sums(&self) -> (u64, u64) {
        let cpu = self.histories.values().map(|history| history.now().0).sum();
        (cpu, self.all.iter().filter_map(|one| one.usage.as_ref()).map(|usage| usage.memory).sum())
    }

    /// Where the chosen one stands among those that are shown.
    pub(super) fn place(&self) -> usize {
        let shown = self.shown();
        shown.iter().position(|one| Some(&one.summary.id) == self.chosen.as_ref()).unwrap_or(0)
    }

    pub(super) fn chosen(&self) -> Option<&Seen> {
        self.shown().get(self.place()).copied()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.chosen().is_some_and(|one| matches!(one.summary.state, State::Paused(..)))
    }

    /// Chooses another one, so many places further.
    pub(super) fn choose(&mut self, by: isize) {
        let shown = self.shown();
        let last = shown.len().saturating_sub(1);
        let place = self.place().saturating_add_signed(by).min(last);
        self.chosen = shown.get(place).map(|one| one.summary.id.clone());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    use engine::ops::list::Summary;

    use super::*;

    pub(in super::super) fn seen(name: &str, usage: Option<Usage>) -> Seen {
        let running = usage.is_some();
        let summary = Summary {
            id: format!("{name:0<64}"),
            name: name.to_owned(),
            image: "alpine:3".to_owned(),
            command: vec!["sleep".to_owned(), "1000".to_owned()],
            created: SystemTime::UNIX_EPOCH,
            state: match running {
                true => State::Running(SystemTime::UNIX_EPOCH, 7),
                false => State::Exited(SystemTime::UNIX_EPOCH, 3),
            },
            labels: BTreeMap::new(),
            addresses: vec!["172.30.0.2/16".to_owned()],
            image_id: None,
            mounts: Vec::new(),
            volumes: 0,
            networks: Vec::new(),
            ports: Vec::new(),
            exposed: Vec::new(),
            to_publish: Vec::new(),
            health: None,
            pod: None,
        };
        Seen { summary, usage }
    }

    pub(in super::super) fn usage(at: Instant, cpu: u64, memory: u64) -> Usage {
        Usage {
            at,
            cpu,
            memory,
            memory_limit: 64 << 20,
            memory_peak: None,
            swap: None,
            periods: None,
            throttled_periods: None,
            throttled: None,
            oom_kills: None,
            pids: 1,
            pids_limit: None,
            disk: (0, 0),
            network: (cpu / 1000, 0),
            pressure: [None; 3],
            rates: Default::default(),
        }
    }

    /// Three containers after a second: `a` is busy, `b` is large, `c` has ended.
    pub(in super::super) fn view() -> View {
        let mut view = View::default();
        let start = Instant::now();
        for second in 0..2 {
            let at = start + Duration::from_secs(second);
            let a = seen("a", Some(usage(at, second * 500_000_000, 1 << 20)));
            let b = seen("b", Some(usage(at, 0, 32 << 20)));
            view.take(vec![seen("c", None), b, a]);
        }
        view
    }

    fn names(view: &View) -> String {
        view.shown().iter().map(|one| one.summary.name.as_str()).collect()
    }

    #[test]
    fn orders_and_filters() {
        let mut view = view();
        let orders = std::iter::successors(Some(Sort::Newest), |sort| Some(sort.next())).take(5);
        let orders: Vec<String> = orders
            .map(|sort| {
                view.sort = sort;
                format!("{} {}", sort.name(), names(&view))
            })
            .collect();
        assert_eq!(orders, ["newest cba", "name abc", "cpu acb", "memory bac", "network acb"]);
        view.sort = Sort::Name;
        view.only_running = true;
        assert_eq!(names(&view), "ab");
        view.filter = "B".to_owned();
        assert_eq!(names(&view), "b");
        assert_eq!(view.counts(), (2, 0, 1));
    }

    #[test]
    fn the_chosen_one_stays_chosen() {
        let mut view = view();
        view.choose(1);
        assert_eq!(view.chosen().map(|one| one.summary.name.as_str()), Some("b"));
        view.sort = Sort::Memory;
        assert_eq!((view.place(), view.chosen().unwrap().summary.name.as_str()), (0, "b"));
        view.choose(isize::MAX);
        assert_eq!(view.chosen().unwrap().summary.name, "c");
        view.take(Vec::new());
        assert!(view.chosen().is_none());
        view.choose(-1);
    }

    #[test]
    fn rates_follow_from_two_looks() {
        let view = view();
        let busy = view.shown()[2];
        let (cpu, received, sent, disk) = view.history(busy).unwrap().now();
        assert_eq!((cpu, received, sent, disk), (5000, 500_000, 0, 0));
        assert_eq!(view.sums(), (5000, 33 << 20));
    }
}
