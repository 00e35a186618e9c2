//! The options of `run`, by heading: Docker's names, short forms and meanings wherever Docker has one. A flat
//! catalogue, and the only place that names an option for the parser and the help.

use crate::options::{Group, Opt, flag, many, maybe, one};

/// What `run` accepts.
pub(crate) const GROUPS: &[Group] =
    &[CONTAINER, ATTACHED, SEE, HEALTH, PROCESS, NETWORK, FILES, MEMORY, CPU, DEVICES, NAMESPACES, SECURITY];

/// What `create` accepts.
pub(crate) const CREATE: &[Group] =
    &[CONTAINER, STREAMS, HEALTH, PROCESS, NETWORK, FILES, MEMORY, CPU, DEVICES, NAMESPACES, SECURITY];

const CONTAINER: Group = Group {
    title: "Container",
    options: &[
        flag("interactive", "Keep standard input open").short('i'),
        flag("tty", "Give the container a terminal").short('t'),
        flag("rm", "Remove the container when it has ended"),
        one("name", "NAME", "Name of the container; made up where absent"),
        one(
            "rootfs",
            "DIR[:overlay]",
            "Use this directory as root, in the place of IMAGE; it changes,\nunless :overlay keeps it as it is",
        ),
        one("pull", "WHEN", "Bring the image: missing (default), always or never"),
        one("platform", "OS/ARCH[/VARIANT]", "The image for this platform"),
        flag("quiet", "Do not tell of a pull").short('q'),
        one("entrypoint", "COMMAND", "Goes before the words of COMMAND"),
        one("pod", "POD", "Be in this pod, and share what it shares; new:NAME makes it"),
        many("label", "KEY[=VALUE]", "Attach a label").short('l'),
        many("label-file", "FILE", "Attach labels from a file, one a line"),
        one("cidfile", "FILE", "Write the container's id to this new file"),
        one("restart", "POLICY", "no (default), on-failure[:TIMES], always or unless-stopped"),
        one("log-driver", "DRIVER", "Who keeps what it prints: local (default), json-file, journald or none"),
        many("log-opt", "NAME=VALUE", "Such as max-size=20m and max-file=5, the defaults"),
        one("stop-signal", "SIGNAL", "The signal that asks the container to stop (default TERM)"),
        one("stop-timeout", "SECONDS", "Until a stop kills it (default 10); -1 for never"),
    ],
};

const ATTACHED: Group = Group {
    title: "Foreground and background",
    options: &[
        flag("detach", "Run on in the background and print the container's id").short('d'),
        many("attach", "STREAM", "Attach to STDIN, STDOUT or STDERR").short('a'),
        flag("sig-proxy", "Forward signals to the command (default true)"),
        one("detach-keys", "KEYS", "Keys that leave the container running (default ctrl-p,ctrl-q)"),
    ],
};

const STREAMS: Group = Group {
    title: "When it is started",
    options: &[many("attach", "STREAM", "Attach to STDIN, STDOUT or STDERR").short('a')],
};

const SEE: Group = Group {
    title: "See what happens",
    options: &[
        maybe(
            "explain",
            "FORMAT",
            "text",
            "Tell every kernel step, its time and its reason: text, json, or\nshell, which prints a script of plain commands and runs nothing",
        ),
        flag("dry-run", "Print the plan and run nothing"),
    ],
};

const HEALTH: Group = Group {
    title: "Health",
    options: &[
        one("health-cmd", "COMMAND", "A line for the container's shell: 0 is healthy"),
        one("health-tcp", "[ADDRESS:]PORT", "Healthy is who accepts connections there (default 127.0.0.1)"),
        one(
            "health-http",
            "URL",
            "Healthy is who answers a GET by 2xx or 3xx: :8080/up,\nhttp://127.0.0.1:8080/up; no program is needed in the container",
        ),
        one("health-interval", "DURATION", "From one check to the next (default 30s)"),
        one("health-timeout", "DURATION", "How long one may take (default 30s)"),
        one("health-retries", "NUMBER", "How many failures in a row make it unhealthy (default 3)"),
        one("health-start-period", "DURATION", "How long failures do not count at the beginning"),
        one("health-start-interval", "DURATION", "From one check to the next in that time (default 5s)"),
        flag("no-healthcheck", "No check, not the image's either"),
    ],
};

const PROCESS: Group = Group {
    title: "Process",
    options: &[
        many("env", "NAME[=VALUE]", "Set a variable; NAME alone hands yours on").short('e'),
        many("env-file", "FILE", "Set variables from a file, one a line"),
        one("workdir", "DIR", "Working directory in the container").short('w'),
        one("user", "USER[:GROUP]", "Names or numbers").short('u'),
        many("group-add", "GROUP", "Join a further group"),
        flag("init", "Run a small init as PID 1: it reaps zombies and forwards signals"),
        one("umask", "MODE", "Octal (default 022)"),
        many("ulimit", "NAME=SOFT[:HARD]", "Limit of the process, such as nofile=1024:2048; -1 for none"),
    ],
};

/// `pod create` takes these too.
pub(crate) const NETWORK: Group = Group {
    title: "Network",
    options: &[
        many(
            "network",
            "NETWORK",
            "bridge (default), host, none, container:NAME, or one that was made;\nname=NAME,alias=…,ip=…,ip6=…,mac-address=…,gw-priority=… says more",
        )
        .alias("net"),
        many(
            "publish",
            "[[ADDRESS:]PORT:]PORT",
            "A port of this host, or a range, that leads to the container's:\n8080:80, 127.0.0.1:8080:80, 5353:53/udp, 8000-8010:8000-8010;\nwithout one of the host any free one",
        )
        .short('p'),
        flag("publish-all", "Publish all exposed ports, on any free ones of this host").short('P'),
        many("expose", "PORT[/PROTOCOL]", "Say that the container listens there: 80, 53/udp, 8000-8010"),
        one(
            "ip",
            "ADDRESS[/PREFIX]",
            "IPv4 address; outside the default subnet it gets a network of its own",
        ),
        one("ip6", "ADDRESS", "IPv6 address, in a network that was made with --ipv6"),
        one("mac-address", "MAC", "Such as 92:d0:c6:0a:29:33"),
        many("network-alias", "NAME", "A further name of the container on its network").alias("net-alias"),
        many("link-local-ip", "ADDRESS", "A further address of the link: of 169.254.0.0/16 or fe80::/10"),
        many("link", "NAME[:ALIAS]", "What it alone calls another container of its network"),
        many("add-host", "NAME:ADDRESS", "A line for /etc/hosts; host-gateway stands for the host"),
        many("dns", "ADDRESS", "Name server"),
        many("dns-search", "DOMAIN", "Search domain of the resolver"),
        many("dns-option", "OPTION", "Option of the resolver").alias("dns-opt"),
        RATE,
        SHARE,
    ],
};

/// `update` takes these too.
pub(crate) const RATE: Opt = one(
    "network-rate",
    "in=RATE,out=RATE[,burst=BYTES]",
    "Most that goes over its link each second, in and out: in=10mbit,\nout=500kbit; or one for both: 10mbit",
);

/// Likewise.
pub(crate) const SHARE: Opt =
    one("network-share", "RATE", "So much of what its network may carry is kept for it: 20mbit");

const FILES: Group = Group {
    title: "Files",
    options: &[
        many(
            "volume",
            "[SOURCE:]TARGET[:OPTIONS]",
            "Mount a volume, or a directory or file of the host: ro, rro, nocopy,\nrshared, idmap, nosuid, …",
        )
        .short('v'),
        many(
            "mount",
            "KEY=VALUE,…",
            "type=volume|bind|tmpfs,src=…,dst=…,ro,volume-subpath=…,\nbind-propagation=…,idmap,tmpfs-size=…",
        ),
        many("volumes-from", "CONTAINER[:ro]", "Mount what another container has mounted"),
        one("volume-driver", "DRIVER", "local"),
        many("tmpfs", "TARGET[:OPTIONS]", "Mount memory: size=64m, mode=1777, …"),
        flag("read-only", "Mount the root file system read-only"),
        many(
            "storage-opt",
            "NAME=VALUE",
            "size=10g: most to write; volatile=false: sync with --rm too;\nimage=true: write to an ext4 in a file, on a loop device",
        ),
        one(
            "rootfs-kind",
            "KIND",
            "overlay (default) shares the image's files; loop copies them into an\next4 of the container's own, in a file; copy into a directory",
        ),
        one("shm-size", "BYTES", "Size of /dev/shm (default 64m)"),
    ],
};

const MEMORY: Group = Group {
    title: "Memory and processes",
    options: &[
        one("memory", "BYTES", "Most memory: 512k, 10m, 1.5g").short('m'),
        one("memory-reservation", "BYTES", "Soft limit, held under pressure"),
        one("memory-swap", "BYTES", "Memory and swap together; -1 for no limit"),
        one("memory-swappiness", "0-100", "How readily its memory is swapped out"),
        flag("oom-kill-disable", "Wait for memory instead of killing (cgroup v1)"),
        one("oom-score-adj", "NUMBER", "-1000 to 1000: who is killed first when the host runs out of memory"),
        one("pids-limit", "NUMBER", "Most processes and threads; -1 for no limit"),
        many("hugetlb", "SIZE=BYTES", "Most huge pages of a size: 2MB=64m"),
    ],
};

/// `update` takes these too.
pub(crate) const CPU: Group = Group {
    title: "CPU",
    options: &[
        one("cpus", "NUMBER", "Most CPU time: 1.5 is one and a half CPUs"),
        one("cpu-period", "MICROSECONDS", "Period of the CPU limit"),
        one("cpu-quota", "MICROSECONDS", "CPU time per period; -1 for no limit"),
        one("cpu-shares", "WEIGHT", "Weight against others, 1024 for an even share").short('c'),
        one("cpuset-cpus", "LIST", "CPUs it may use: 0-3,5"),
        one("cpuset-mems", "LIST", "Memory nodes it may use"),
    ],
};

const DEVICES: Group = Group {
    title: "Devices and further limits",
    options: &[
        many("device", "HOST[:CONTAINER][:rwm]", "Give it a device of the host"),
        many("device-cgroup-rule", "RULE", "Allow devices by number: \"c 1:3 rwm\""),
        one("blkio-weight", "10-1000", "Weight of its disk I/O against others"),
        many("blkio-weight-device", "DEVICE:WEIGHT", "The same for one disk"),
        many("device-read-bps", "DEVICE:BYTES", "Most bytes a second read from a disk"),
        many("device-write-bps", "DEVICE:BYTES", "Most bytes a second written to a disk"),
        many("device-read-iops", "DEVICE:NUMBER", "Most reads a second from a disk"),
        many("device-write-iops", "DEVICE:NUMBER", "Most writes a second to a disk"),
        one("net-cls-classid", "CLASS", "Class of its packets for tc(8): 10:1 or 0x100001 (cgroup v1)"),
        many("net-prio", "LINK=PRIORITY", "Priority of its packets on a link (cgroup v1)"),
        many("cgroup-conf", "FILE=VALUE", "Write VALUE to this file of the control group"),
        one("cgroup-parent", "PATH", "Make the control group below this one"),
    ],
};

const NAMESPACES: Group = Group {
    title: "Namespaces",
    options: &[
        one("hostname", "NAME", "Host name; the container's short id where absent").short('h'),
        one("domainname", "NAME", "NIS domain name"),
        one("pid", "host|container:NAME", "Process ids shared with the host or a container"),
        one("ipc", "MODE", "private (default), none, shareable, host or container:NAME"),
        one("uts", "host|container:NAME", "Host name shared with the host or a container"),
        one("cgroupns", "private|host", "Control groups seen from its own root, or from the host's"),
        one("userns", "MODE", "host (default) or private[:HOSTID[:SIZE]]"),
        one("time", "MODE", "host (default) or private[:monotonic=SECONDS][,boottime=SECONDS]"),
    ],
};

const SECURITY: Group = Group {
    title: "Security",
    options: &[
        flag("privileged", "All capabilities and devices, nothing masked, no filter"),
        many("cap-add", "CAPABILITY", "Add a capability, or ALL"),
        many("cap-drop", "CAPABILITY", "Drop a capability, or ALL"),
        many(
            "security-opt",
            "OPTION",
            "no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE,\nsystempaths=unconfined",
        ),
        many("sysctl", "NAME=VALUE", "Set a namespaced kernel parameter: net.ipv4.ip_forward=1"),
    ],
};
