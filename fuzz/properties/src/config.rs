//! config.json: read, checked, prepared and planned for hosts of each kind, without touching one.

use std::collections::VecDeque;

use runtime::{Entry, Plan, Point};
use step::Actor;

use crate::hosts;
use crate::json::Grammar;
use crate::script::{self, BAIT};

/// The input as a bundle's config.json.
pub fn config(data: &[u8]) {
    for host in [hosts::unified(), hosts::hybrid(), hosts::bare()] {
        match bundle::plan_config(data, &host) {
            Ok(plan) => {
                meet(&plan);
                told(&plan);
                // A map has no order; the same specification must give the same plan.
                let again = bundle::plan_config(data, &host).expect("it was planned before");
                assert_eq!(lines(&plan), lines(&again));
            }
            Err(error) => {
                assert!(!error.message.is_empty());
                assert!(error.hint.is_none_or(|hint| !hint.is_empty()));
            }
        }
    }
}

/// Both lists to their ends: each side waits for what the other says, the monitor in the order in which it is said, and
/// nothing is said that nobody waits for.
fn meet(plan: &Plan) {
    let mut sides = [(&plan.monitor, 0, VecDeque::new()), (&plan.init, 0, VecDeque::new())];
    loop {
        let mut moved = false;
        for at in 0..2 {
            while let Some(entry) = sides[at].0.get(sides[at].1) {
                match entry {
                    Entry::Do(_) => {}
                    Entry::Tell(point) => sides[1 - at].2.push_back(*point),
                    // Said by the launch itself, when init's list is done.
                    Entry::Await(Point::Ready) if at == 0 => {
                        if sides[1].1 < plan.init.len() {
                            break;
                        }
                    }
                    // Init keeps what it is told before it waits for it.
                    Entry::Await(point) if at == 1 => {
                        match sides[1].2.iter().position(|said| said == point) {
                            Some(found) => drop(sides[1].2.remove(found)),
                            None => break,
                        }
                    }
                    Entry::Await(point) => match sides[at].2.pop_front() {
                        Some(said) => assert_eq!(said, *point, "{:?}", meetings(plan)),
                        None => break,
                    },
                }
                sides[at].1 += 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    for (list, at, said) in sides {
        assert_eq!(at, list.len(), "both wait: {:?}", meetings(plan));
        assert!(said.is_empty(), "nobody waits for {said:?}: {:?}", meetings(plan));
    }
}

/// Where both lists meet, for a failure's words.
fn meetings(plan: &Plan) -> [Vec<String>; 2] {
    [&plan.monitor, &plan.init].map(|list| {
        let words = list.iter().map(|entry| match entry {
            Entry::Do(step) => step.id().to_owned(),
            Entry::Tell(point) => format!("tell {}", point.name()),
            Entry::Await(point) => format!("await {}", point.name()),
        });
        words.collect()
    })
}

/// Every step has words, and the whole has a script.
fn told(plan: &Plan) {
    let records = plan.records();
    let steps = |list: &[Entry]| list.iter().filter(|entry| matches!(entry, Entry::Do(_))).count();
    let count = plan.before.len() + steps(&plan.monitor) + steps(&plan.init) + plan.late.len() + 2;
    assert_eq!(records.len(), count, "each step once");
    for record in &records {
        assert!(!record.step.is_empty() && !record.call.is_empty(), "{record:?}");
        assert!(!record.why.contains('\n'), "a reason is one line: {record:?}");
        assert!(matches!(record.process, Actor::Monitor | Actor::Init), "{record:?}");
        if record.step.starts_with("cgroup.") {
            below_its_top(&record.call);
        }
    }
    script::check(&runtime::script(plan, &[], &[]));
}

/// Files of control groups are below the hierarchies, whatever names them.
fn below_its_top(call: &str) {
    for word in call.split(['"', ' ', '<']).filter(|word| word.starts_with(hosts::TOP)) {
        assert!(!word.split('/').any(|part| part == ".."), "{call}");
    }
}

fn lines(plan: &Plan) -> Vec<[String; 3]> {
    plan.records().into_iter().map(|record| [record.step, record.call, record.why]).collect()
}

/// What a config.json is made of.
pub const GRAMMAR: Grammar = Grammar {
    fragments: &[
        ("/", "ociVersion", r#""1.2.1""#),
        ("/", "hostname", r#""box""#),
        ("/", "domainname", r#""example""#),
        ("/", "root", r#"{"path":"rootfs","readonly":true}"#),
        ("/", "annotations", r#"{"org.systemd.property.TasksMax":"uint64 5","a":"b"}"#),
        (
            "/",
            "hooks",
            r#"{"prestart":[{"path":"/bin/true","args":["true","x"],"env":["A=1"],"timeout":5}]}"#,
        ),
        ("/hooks", "createRuntime", r#"[{"path":"/bin/true"}]"#),
        ("/hooks", "createContainer", r#"[{"path":"/bin/true","timeout":0}]"#),
        ("/hooks", "startContainer", r#"[{"path":"true","env":[]}]"#),
        ("/hooks", "poststart", r#"[{"path":"/bin/true"}]"#),
        ("/hooks", "poststop", r#"[{"path":"/bin/true"}]"#),
        ("/", "mounts", r#"[{"destination":"/proc","type":"proc","source":"proc"}]"#),
        (
            "/",
            "mounts",
            r#"[{"destination":"/dev","type":"tmpfs","options":["nosuid","mode=755","size=65536k"]}]"#,
        ),
        ("/", "mounts", r#"[{"destination":"/dev/pts","type":"devpts","options":["newinstance","gid=5"]}]"#),
        (
            "/",
            "mounts",
            r#"[{"destination":"/sys/fs/cgroup","type":"cgroup","options":["ro","nsdelegate"]}]"#,
        ),
        (
            "/",
            "mounts",
            r#"[{"destination":"/data","type":"bind","source":"/srv","options":["rbind","rro","rslave"]}]"#,
        ),
        ("/", "mounts", r#"[{"destination":"/n","source":"/proc/self/fd/9","options":["bind","idmap"]}]"#),
        ("/mounts/*", "uidMappings", r#"[{"containerID":0,"hostID":1000,"size":10}]"#),
        ("/mounts/*", "gidMappings", r#"[{"containerID":0,"hostID":1000,"size":10}]"#),
        ("/mounts/*", "options", r#"["remount","ro","tmpcopyup","ridmap","shared"]"#),
        ("/mounts/*", "type", r#""cgroup2""#),
        ("/", "process", r#"{"cwd":"/","args":["sh","-c","true"],"env":["PATH=/bin","A=1","A=2"]}"#),
        ("/process", "terminal", "true"),
        ("/process", "consoleSize", r#"{"height":25,"width":80}"#),
        ("/process", "user", r#"{"uid":1,"gid":1,"umask":18,"additionalGids":[5,6]}"#),
        ("/process", "cwd", r#""/work""#),
        (
            "/process",
            "capabilities",
            r#"{"bounding":["CAP_CHOWN","CAP_SYS_ADMIN"],"permitted":["CAP_CHOWN"],"effective":["CAP_CHOWN"],"inheritable":["CAP_CHOWN"],"ambient":["CAP_CHOWN","CAP_KILL"]}"#,
        ),
        ("/process", "rlimits", r#"[{"type":"RLIMIT_NOFILE","soft":1024,"hard":4096}]"#),
        ("/process", "noNewPrivileges", "true"),
        ("/process", "oomScoreAdj", "-500"),
        ("/process", "apparmorProfile", r#""docker-default""#),
        ("/process", "selinuxLabel", r#""system_u:system_r:svirt_lxc_net_t:s0""#),
        ("/process", "ioPriority", r#"{"class":"IOPRIO_CLASS_BE","priority":4}"#),
        (
            "/process",
            "scheduler",
            r#"{"policy":"SCHED_DEADLINE","nice":0,"priority":0,"flags":["SCHED_FLAG_RESET_ON_FORK"],"runtime":2000,"deadline":3000,"period":4000}"#,
        ),
        ("/process", "execCPUAffinity", r#"{"initial":"0-1","final":"1"}"#),
        (
            "/linux",
            "namespaces",
            r#"[{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},{"type":"cgroup"}]"#,
        ),
        ("/linux", "namespaces", r#"[{"type":"user"},{"type":"mount"},{"type":"network"},{"type":"time"}]"#),
        ("/linux", "namespaces", r#"[{"type":"network","path":"/var/run/netns/x"},{"type":"mount"}]"#),
        ("/linux/namespaces/*", "path", r#""/proc/1/ns/net""#),
        ("/linux", "uidMappings", r#"[{"containerID":0,"hostID":100000,"size":65536}]"#),
        ("/linux", "gidMappings", r#"[{"containerID":0,"hostID":100000,"size":65536}]"#),
        ("/linux", "timeOffsets", r#"{"monotonic":{"secs":5,"nanosecs":7},"boottime":{"secs":-1}}"#),
        (
            "/linux",
            "devices",
            r#"[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":438,"uid":0,"gid":0}]"#,
        ),
        ("/linux", "cgroupsPath", r#""/a/b""#),
        ("/linux", "cgroupsPath", r#""system.slice:runc:id""#),
        ("/linux", "rootfsPropagation", r#""rslave""#),
        ("/linux", "maskedPaths", r#"["/proc/kcore","/sys/firmware"]"#),
        ("/linux", "readonlyPaths", r#"["/proc/sys"]"#),
        ("/linux", "mountLabel", r#""system_u:object_r:svirt_sandbox_file_t:s0""#),
        (
            "/linux",
            "sysctl",
            r#"{"net.core.somaxconn":"256","kernel.shmmax":"5","net/ipv4/conf/eth0.5/x":"1"}"#,
        ),
        ("/linux", "personality", r#"{"domain":"LINUX32","flags":[]}"#),
        ("/linux", "intelRdt", r#"{"closID":"x","l3CacheSchema":"L3:0=f"}"#),
        ("/linux", "memoryPolicy", r#"{"mode":"MPOL_BIND","nodes":"0-1","flags":["MPOL_F_STATIC_NODES"]}"#),
        ("/linux", "netDevices", r#"{"eth7":{"name":"eth0"},"eth8":{"name":"lan%d"},"wlan0":{}}"#),
        (
            "/linux/resources",
            "memory",
            r#"{"limit":536870912,"reservation":1048576,"swap":-1,"kernelTCP":5,"swappiness":10,"disableOOMKiller":true,"useHierarchy":true,"checkBeforeUpdate":true}"#,
        ),
        (
            "/linux/resources",
            "cpu",
            r#"{"shares":512,"quota":50000,"burst":5,"period":100000,"realtimeRuntime":950000,"realtimePeriod":1000000,"cpus":"0-1","mems":"0","idle":0}"#,
        ),
        ("/linux/resources", "pids", r#"{"limit":64}"#),
        (
            "/linux/resources",
            "devices",
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]"#,
        ),
        (
            "/linux/resources",
            "blockIO",
            r#"{"weight":10,"leafWeight":10,"weightDevice":[{"major":8,"minor":0,"weight":500,"leafWeight":300}],"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],"throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":300}]}"#,
        ),
        ("/linux/resources", "hugepageLimits", r#"[{"pageSize":"2MB","limit":9223372036854775807}]"#),
        (
            "/linux/resources",
            "network",
            r#"{"classID":1048577,"priorities":[{"name":"eth0","priority":500}]}"#,
        ),
        ("/linux/resources", "rdma", r#"{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000}}"#),
        (
            "/linux/resources",
            "unified",
            r#"{"memory.high":"1000","io.weight":"default 5","cgroup.max.depth":"3"}"#,
        ),
        (
            "/linux",
            "seccomp",
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"],"flags":["SECCOMP_FILTER_FLAG_LOG"],"listenerPath":"/run/x.sock","listenerMetadata":"m","syscalls":[{"names":["getcwd","write"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":5,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"}]},{"names":["chmod"],"action":"SCMP_ACT_NOTIFY"}]}"#,
        ),
    ],
    words: &[
        "pid",
        "network",
        "mount",
        "ipc",
        "uts",
        "user",
        "cgroup",
        "time",
        "bind",
        "rbind",
        "ro",
        "rw",
        "rro",
        "remount",
        "idmap",
        "ridmap",
        "tmpcopyup",
        "shared",
        "rshared",
        "slave",
        "private",
        "unbindable",
        "noatime",
        "strictatime",
        "tmpfs",
        "proc",
        "sysfs",
        "cgroup2",
        "devpts",
        "mqueue",
        "overlay",
        "none",
        "/",
        "/dev",
        "/proc",
        "/sys/fs/cgroup",
        "/proc/self/ns/net",
        "/proc/no-such-host/bundle/rootfs/x",
        "b",
        "c",
        "u",
        "p",
        "a",
        "rwm",
        "memory.max",
        "cpuset.cpus",
        "cgroup.procs",
        "../memory.max",
        "net.x",
        "kernel.domainname",
        "fs.mqueue.x",
        "user.x",
        "SCHED_OTHER",
        "SCHED_FIFO",
        "SCHED_FLAG_KEEP_ALL",
        "IOPRIO_CLASS_RT",
        "MPOL_LOCAL",
        "MPOL_PREFERRED",
        "MPOL_F_RELATIVE_NODES",
        "RLIMIT_CORE",
        "CAP_NET_ADMIN",
        "CAP_FUTURE",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_NOTIFY",
        "SCMP_ARCH_AARCH64",
        "SCMP_CMP_NE",
        "1GB",
        "0-3,7",
        "0-65536",
        "LINUX",
        "eth%d",
        "lo",
        "a.slice:b:c",
        "1.0.0",
        BAIT,
        "A=$(BAIT)",
        "$(BAIT)=a",
        "a'$(BAIT)",
        "x\n$(BAIT)\n",
        "A=\nINIT\n",
        "a b",
    ],
};
