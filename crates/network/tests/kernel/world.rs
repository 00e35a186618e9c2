//! A "host" for each test: a thread in a new network namespace, with containers that are threads in theirs. What it
//! looks like inside is read from /proc, not by the code under test.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use network::{Attachment, BridgeRequest, Error, LinkRequest, Mode, Settings};
use rustix::thread::UnshareFlags;
use step::{Context, Steps};

use crate::network;

fn new_netns() {
    // Only a thread's own network: no memory or descriptors are concerned.
    #[allow(deprecated)]
    rustix::thread::unshare(UnshareFlags::NEWNET).unwrap();
}

/// Runs `test` on a host of its own, which dies with the thread.
pub(crate) fn on_a_host(name: &str, test: impl FnOnce(Settings) + Send + 'static) {
    let run_dir = std::env::temp_dir().join(format!("minidocker-net-{}-{name}", std::process::id()));
    let networks = run_dir.join("networks");
    let settings = Settings { run_dir: run_dir.clone(), networks, ..Settings::default() };
    let result = std::thread::spawn(move || {
        new_netns();
        let mut context = Context::default();
        take(&network::plan(&Mode::None, None).loopback, &mut context);
        test(settings);
    })
    .join();
    let _ = std::fs::remove_dir_all(run_dir);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) fn take(steps: &Steps, context: &mut Context) {
    for step in steps {
        step.perform(context).unwrap_or_else(|failure| panic!("{failure}, hint {:?}", failure.hint));
    }
}

pub(crate) fn id(n: usize) -> String {
    // The first digits differ, as those of random ids do.
    format!("{n:08x}{:056x}", n * 7919)
}

pub(crate) fn bridge(ip: &str) -> Mode {
    let ip = (!ip.is_empty()).then(|| ip.parse().unwrap());
    let link = LinkRequest { ip, ..LinkRequest::default() };
    Mode::Bridge(BridgeRequest { links: vec![link], ..BridgeRequest::default() })
}

pub(crate) fn plan_of(settings: &Settings, to: &Attachment) -> network::Plan {
    network::plan(&bridge(""), Some((settings, std::slice::from_ref(to))))
}

pub(crate) fn reserve(settings: &Settings, n: usize, ip: &str) -> Result<Attachment, Error> {
    network::reserve(settings, &id(n), &format!("c{n}"), &bridge(ip), &|_| true)
        .map(|mut places| places.remove(0))
}

pub(crate) fn refused(settings: &Settings, n: usize, ip: &str) -> String {
    let error = reserve(settings, n, ip).unwrap_err();
    assert!(error.hint().is_some_and(|hint| !hint.is_empty() && !hint.contains('\n')), "{error}");
    error.to_string()
}

type Job = Box<dyn FnOnce(&mut Context) + Send>;

/// A container: a thread that does what it is told in its own network namespace.
pub(crate) struct Container {
    pub(crate) tid: i32,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Container {
    pub(crate) fn new() -> Self {
        let (jobs, orders) = channel::<Job>();
        let (told, tid) = channel();
        let thread = std::thread::spawn(move || {
            new_netns();
            told.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let mut context = Context::default();
            orders.into_iter().for_each(|job| job(&mut context));
        });
        Self { tid: tid.recv().unwrap(), jobs: Some(jobs), thread: Some(thread) }
    }

    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut Context) -> T + Send + 'static) -> T {
        let (told, result) = channel();
        let job: Job = Box::new(move |context| told.send(job(context)).unwrap());
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().unwrap()
    }

    /// Takes all steps, as the monitor and init do.
    pub(crate) fn start(settings: &Settings, to: &Attachment) -> Self {
        let container = Self::new();
        let mut monitor = Context { init: Some(container.tid), ..Context::default() };
        let plan = plan_of(settings, to);
        take(&plan.host, &mut monitor);
        take(&plan.beside, &mut monitor);
        let (settings, to) = (settings.clone(), to.clone());
        container.run(move |context| {
            let plan = plan_of(&settings, &to);
            take(&plan.loopback, context);
            take(&plan.inside, context);
        });
        take(&plan.settled, &mut monitor);
        container
    }

    /// Answers one connection with what it was sent.
    pub(crate) fn listen(&self, address: Ipv4Addr) -> SocketAddr {
        self.run(move |_| echo(address))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Listens in the caller's namespace.
pub(crate) fn echo(address: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(format!("{} {}", String::from_utf8_lossy(&word), peer.ip()).as_bytes()).unwrap();
    });
    there
}

/// Says hello, returns the answer: the word and the caller's address as the other side saw it.
pub(crate) fn hello(to: SocketAddr) -> String {
    // A lost first packet would show as a second of waiting.
    let before = Instant::now();
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        before.elapsed() < Duration::from_millis(900),
        "the first connection took {:?}",
        before.elapsed()
    );
    answer
}

/// The links of the caller's namespace.
pub(crate) fn links() -> HashSet<String> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    text.lines().skip(2).map(|line| line.split(':').next().unwrap().trim().to_owned()).collect()
}

/// The routes of the caller's namespace: link, destination, gateway, mask, as the kernel prints them.
pub(crate) fn routes() -> Vec<(String, Ipv4Addr, Ipv4Addr, u32)> {
    let text = std::fs::read_to_string("/proc/thread-self/net/route").unwrap();
    let address = |hex: &str| Ipv4Addr::from(u32::from_str_radix(hex, 16).unwrap().to_ne_bytes());
    text.lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|f| (f[0].to_owned(), address(f[1]), address(f[2]), address(f[7]).to_bits().count_ones()))
        .collect()
}

pub(crate) fn ip(arguments: &str) {
    let status = std::process::Command::new("ip").args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}
