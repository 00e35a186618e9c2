//! What leads outside of a container is put together anew by whoever restores it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use criu::{
    CgroupMode, CgroupRoot, Criu, Descriptors, DumpOptions, External, Inherit, NamespaceKind, RestoreOptions,
};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::machine::with_criu;
use crate::world::{
    COUNT, Container, Noting, Start, World, count, name_of, need, read_line, there_and_back, wait_until,
};

#[test]
fn a_pipe_is_replaced_by_another() {
    with_criu(|criu| {
        let world = World::new("pipe");
        let (first, theirs) = io::pipe().unwrap();
        let theirs = OwnedFd::from(theirs);
        let name = name_of(&theirs);
        let start = Start {
            script: "i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done",
            streams: Some("</empty 2>/out"),
            output: Some(theirs),
            ..Start::default()
        };
        let container = world.start(&start);
        drop(start);
        let mut first = File::from(OwnedFd::from(first));
        assert_eq!([read_line(&mut first), read_line(&mut first)], ["1\n", "2\n"]);
        let streams = Descriptors::of(container.init).unwrap();
        assert_eq!(streams.pipes().collect::<Vec<_>>(), [(1, name.as_str())]);

        let dump = world.dump_options(&container);
        let (second, theirs) = io::pipe().unwrap();
        let key = streams.pipes().next().unwrap().1.to_owned();
        let inherit = vec![Inherit { key, descriptor: theirs.as_fd() }];
        let restore = RestoreOptions { inherit, ..world.restore_options() };
        let (_container, _) = there_and_back(&criu, container, &dump, &restore);
        streams.write(&world.path("images")).unwrap();
        assert_eq!(Descriptors::read(&world.path("images")).unwrap(), streams);
        drop(restore);
        drop(theirs);
        // What was in the old pipe came out of it; the new one goes on.
        let mut rest = String::new();
        io::Read::read_to_string(&mut first, &mut rest).unwrap();
        let last: u64 = rest.lines().last().unwrap_or("2").parse().unwrap();
        let mut second = File::from(OwnedFd::from(second));
        assert_eq!(read_line(&mut second), format!("{}\n", last + 1));
    });
}

#[test]
fn the_master_of_a_terminal_is_handed_over() {
    with_criu(|criu| {
        let world = World::new("terminal");
        fs::create_dir(world.rootfs.join("dev/pts")).unwrap();
        // Process 1 leads its session: the terminal that it opens first becomes the session's own.
        let start = Start {
            setup: "mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts",
            script: "echo >/ready; while ! [ -e /go ]; do usleep 10000; done; \
                     exec sh -c \"while read line; do echo got \\$line; done\" \
                     </dev/pts/0 >/dev/pts/0 2>&1",
            ..Start::default()
        };
        let container = world.start(&start);
        // Until then its root is the host's.
        wait_until("the container's root", || world.rootfs.join("ready").exists());
        let ptmx = format!("/proc/{}/root/dev/pts/ptmx", container.init.as_raw_nonzero());
        let mut first = File::options().read(true).write(true).open(&ptmx).unwrap();
        rustix::pty::unlockpt(&first).unwrap();
        fs::write(world.rootfs.join("go"), "").unwrap();
        assert_eq!(exchange(&mut first, "one"), "got one");

        let dump = world.dump_options(&container);
        let (container, mut noting) = there_and_back(&criu, container, &dump, &world.restore_options());
        let mut second = File::from(noting.terminals.pop().expect("a terminal's master"));
        assert!(noting.terminals.is_empty());
        assert_eq!(exchange(&mut second, "two"), "got two");
        drop((first, container));
    });
}

/// A terminal of the host: its master, and the slave for somebody else.
fn terminal() -> (File, OwnedFd) {
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let master = rustix::pty::openpt(flags | rustix::pty::OpenptFlags::CLOEXEC).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    (master.into(), slave)
}

#[test]
fn a_shell_job_gets_the_terminal_of_its_restore() {
    with_criu(|criu| {
        let world = World::new("shelljob");
        let (mut first, slave) = terminal();
        // The shell leads the terminal's session, and its job is dumped. In a pid namespace of its own the job would
        // have no leader at all, and CRIU refuses that.
        let file = world.path("job");
        let script = format!(
            "busybox sh -c 'while read line <&1; do echo got $line; done' & \
             echo $! >'{0}.new'; mv '{0}.new' '{0}'; wait",
            file.display()
        );
        let [stdin, stdout, stderr] = std::array::from_fn(|_| slave.try_clone().unwrap());
        let mut command = Command::new(need("setsid"));
        command.args(["--ctty", "busybox", "sh", "-c", &script]).current_dir("/");
        let mut shell = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
        drop((command, slave));
        assert_eq!(exchange(&mut first, "one"), "got one");
        wait_until("the job's number", || file.exists());
        let job = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let mut dump = DumpOptions::new(Pid::from_raw(job).unwrap(), world.path("images"));
        dump.common.shell_job = true;
        assert!(criu.dump(&dump, &mut ()).unwrap().complaints.is_empty());
        shell.wait().unwrap();

        // Who restores it leads a session of the other terminal: a process of its own, which ends by the hangup.
        let (mut second, slave) = terminal();
        let mut restorer = Command::new(need("setsid"));
        restorer.arg("--ctty").arg(std::env::current_exe().unwrap());
        restorer.args(["--ignored", "--exact", "outside::part_of_the_shell_job"]);
        restorer.env(IMAGES, world.path("images")).env("MINIDOCKER_CRIU", criu.program());
        restorer.stdin(slave).stdout(Stdio::null()).stderr(File::create(world.path("restorer")).unwrap());
        let mut restorer = restorer.spawn().unwrap();
        assert_eq!(exchange(&mut second, "two"), "got two");
        drop(second);
        restorer.wait().unwrap();
    });
}

/// The images of the shell job.
const IMAGES: &str = "MINIDOCKER_CRIU_SHELL_JOB";

#[test]
#[ignore = "the second half of another test"]
fn part_of_the_shell_job() {
    let images = std::env::var_os(IMAGES).expect("to be started by the test of the shell job");
    let criu = Criu::find(std::env::var_os("MINIDOCKER_CRIU").as_deref().map(Path::new)).unwrap();
    let terminal = io::stdin();
    let mut options = RestoreOptions::new(images);
    options.common.shell_job = true;
    options.terminal = Some(terminal.as_fd());
    let job = Container::restored(criu.restore(&options, &mut ()).unwrap());
    let _ = waitpid(Some(job.init), WaitOptions::empty());
}

/// Writes a line and gives the first that begins with `got`: the terminal echoes before.
fn exchange(terminal: &mut File, line: &str) -> String {
    terminal.write_all(format!("{line}\n").as_bytes()).unwrap();
    loop {
        let answer = read_line(terminal);
        if answer.starts_with("got") {
            return answer.trim_end().to_owned();
        }
    }
}

#[test]
fn a_bind_mount_leads_to_another_directory() {
    with_criu(|criu| {
        let world = World::new("mount");
        let [first, second] = ["first", "second"].map(|name| world.path(name));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        let setup = format!("mount --bind '{}' data", first.display());
        let script =
            "i=0; while :; do i=$((i+1)); echo $i >/data/new; mv /data/new /data/count; usleep 20000; done";
        let container = world.start(&Start { script, setup: &setup, ..Start::default() });
        wait_until("the count", || count(&first.join("count")) >= 3);
        let mut dump = world.dump_options(&container);
        dump.common.external = vec![External::mount_point("/data")];
        let mut restore = world.restore_options();
        restore.common.external =
            vec![External::Mount { id: "/data".into(), value: second.to_str().unwrap().into() }];
        let (_container, _) = there_and_back(&criu, container, &dump, &restore);
        let counted = count(&first.join("count"));
        wait_until("the count", || count(&second.join("count")) >= counted + 3);
        assert_eq!(count(&first.join("count")), counted);
    });
}

/// A network namespace with a name, as a file in the world's directory.
struct Network(PathBuf);

impl Drop for Network {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

fn network(world: &World, name: &str) -> Network {
    let file = world.path(name);
    fs::write(&file, "").unwrap();
    let status =
        Command::new(need("unshare")).arg(format!("--net={}", file.display())).arg("/bin/true").status();
    assert!(status.unwrap().success());
    Network(file)
}

#[test]
fn an_external_network_is_exchanged() {
    with_criu(|criu| {
        let world = World::new("external");
        let [first, second] = ["net1", "net2"].map(|name| network(&world, name));
        let enter = format!("--net={}", first.0.display());
        // unshare(1) is itself started inside.
        let container = world.start_in(&enter, &Start { script: COUNT, ..Start::default() });
        world.wait_for_count(3);
        let kind = NamespaceKind::Network;
        let mut dump = world.dump_options(&container);
        dump.common.external = vec![External::namespace(kind, &first.0).unwrap()];
        let file = File::open(&second.0).unwrap();
        let inherit = vec![Inherit { key: kind.key().into(), descriptor: file.as_fd() }];
        let restore = RestoreOptions { inherit, ..world.restore_options() };
        let (container, _) = there_and_back(&criu, container, &dump, &restore);
        let joined = External::namespace(
            kind,
            Path::new(&format!("/proc/{}/ns/net", container.init.as_raw_nonzero())),
        );
        assert_eq!(joined.unwrap(), External::namespace(kind, &second.0).unwrap());
    });
}

/// A control group that goes with the test.
struct Group(PathBuf);

impl Group {
    /// In the freezer's hierarchy with version 1, in the only one with version 2.
    fn new(name: &str) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchy =
            if root.join("cgroup.controllers").exists() { root.to_owned() } else { root.join("freezer") };
        let group = hierarchy.join(format!("minidocker-criu-{}-{name}", std::process::id()));
        fs::create_dir(&group).unwrap();
        Self(group)
    }

    /// As /proc/PID/cgroup has it.
    fn root(&self) -> CgroupRoot {
        let path = Path::new("/").join(self.0.file_name().unwrap());
        let controller = if self.0.join("freezer.state").exists() { "freezer" } else { "" };
        CgroupRoot { controller: Some(controller.into()), path }
    }

    fn processes(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    fn has(&self, pid: Pid) -> bool {
        let pids = fs::read_to_string(self.processes()).unwrap();
        pids.lines().any(|line| line == pid.as_raw_nonzero().to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have been killed, and are gone from it in a moment.
        wait_until("the group's end", || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn a_frozen_container_is_restored_into_another_group() {
    with_criu(|criu| {
        let world = World::new("group");
        let (first, second) = (Group::new("first"), Group::new("second"));
        let container = world.start_counting();
        fs::write(first.processes(), container.init.as_raw_nonzero().to_string()).unwrap();
        let mut dump = DumpOptions { freeze_cgroup: Some(first.0.clone()), ..world.dump_options(&container) };
        dump.common.cgroup_mode = CgroupMode::Ignore;
        assert!(criu.dump(&dump, &mut ()).unwrap().complaints.is_empty());
        container.wait_until_gone();
        let log = fs::read_to_string(world.path("images/dump.log")).unwrap();
        assert!(log.contains("freezer.state=") || log.contains("cgroup.freeze="), "not frozen by its group");

        let counted = world.count();
        let mut restore = world.restore_options();
        restore.common.cgroup_mode = CgroupMode::Ignore;
        let mut noting = Noting { group: Some(second.processes()), ..Noting::default() };
        let restored = criu.restore(&restore, &mut noting).unwrap();
        let container = Container::restored(restored);
        assert!(second.has(container.init));
        world.wait_for_count(counted + 3);
    });
}

#[test]
fn a_dumped_group_is_made_anew_under_another_root() {
    with_criu(|criu| {
        let world = World::new("regroup");
        let (first, second) = (Group::new("old"), Group::new("new"));
        // It is in the group before its control group namespace is made, whose root the group so becomes.
        let start = Start { script: COUNT, unshare: &["--cgroup"], ..Start::default() };
        let container = world.start_in_group(&first.processes(), &start);
        world.wait_for_count(3);
        assert!(criu.dump(&world.dump_options(&container), &mut ()).unwrap().complaints.is_empty());
        container.wait_until_gone();
        drop(first);

        let own = fs::read_link("/proc/self/ns/cgroup").unwrap();
        let mut restore = RestoreOptions { cgroup_roots: vec![second.root()], ..world.restore_options() };
        let mut noting = Noting { group: Some(second.processes()), ..Noting::default() };
        let container = Container::restored(criu.restore(&restore, &mut noting).unwrap());
        assert!(second.has(container.init));
        assert_ne!(container.link("ns/cgroup"), own.to_str().unwrap());
        container.end();

        // Without CRIU's care for groups the namespace is CRIU's too.
        restore.common.cgroup_mode = CgroupMode::Ignore;
        let container = Container::restored(criu.restore(&restore, &mut noting).unwrap());
        assert!(second.has(container.init));
        assert_eq!(container.link("ns/cgroup"), own.to_str().unwrap());
    });
}
