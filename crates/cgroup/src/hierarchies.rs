//! What control groups this host offers: which controller is to be had where, v1 or v2, and why not.
//! Two reads, taken once: it is on the way of every start.

use std::io;
use std::path::{Path, PathBuf};

use ::step::Failure;

use crate::kernfs;

/// The version of a hierarchy's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `cgroup`: a hierarchy for each controller or set of controllers.
    V1,
    /// `cgroup2`: the one unified hierarchy.
    V2,
}

/// A controller that limits speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Controller {
    Memory,
    Cpu,
    Cpuset,
    Pids,
    /// `blkio` in v1, `io` in v2.
    Io,
    Hugetlb,
    NetCls,
    NetPrio,
    Rdma,
    /// A controller in v1; in v2 an eBPF program, which every v2 mount takes.
    Devices,
}

impl Controller {
    /// All of them, in the order in which their limits are written.
    pub const ALL: [Self; 10] = [
        Self::Cpuset,
        Self::Cpu,
        Self::Io,
        Self::Memory,
        Self::Devices,
        Self::NetCls,
        Self::NetPrio,
        Self::Hugetlb,
        Self::Pids,
        Self::Rdma,
    ];

    /// Its name in v1.
    pub fn v1(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Pids => "pids",
            Self::Io => "blkio",
            Self::Hugetlb => "hugetlb",
            Self::NetCls => "net_cls",
            Self::NetPrio => "net_prio",
            Self::Rdma => "rdma",
            Self::Devices => "devices",
        }
    }

    /// Its name in v2; none where v2 has no such controller.
    pub fn v2(self) -> Option<&'static str> {
        match self {
            Self::Io => Some("io"),
            Self::NetCls | Self::NetPrio | Self::Devices => None,
            other => Some(other.v1()),
        }
    }

    /// What to do where it is to be had neither in v1 nor in v2.
    fn way_out(self) -> &'static str {
        match self {
            Self::NetCls => {
                "mount the v1 hierarchy net_cls if /proc/cgroups lists it, or mark packets by nftables"
            }
            Self::NetPrio => {
                "mount the v1 hierarchy net_prio if /proc/cgroups lists it, or set priorities by tc(8)"
            }
            Self::Devices => "mount cgroup2, or the v1 hierarchy devices",
            Self::Hugetlb | Self::Rdma => "leave the limit out, or use a kernel that has the controller",
            _ => {
                "leave the limit out, or mount the controller if /proc/cgroups shows it enabled (boot parameters \
                  such as cgroup_disable= and cgroup_enable=memory decide that)"
            }
        }
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub dir: PathBuf,
    /// Its interface.
    pub version: Version,
    /// v1: the controllers it was mounted with, or `name=…`; v2: what its `cgroup.controllers` lists.
    pub controllers: Vec<String>,
}

impl Mount {
    /// Whether it has the controller of that name.
    pub fn has(&self, name: &str) -> bool {
        self.controllers.iter().any(|controller| controller == name)
    }

    /// The directory of the group `path` in this hierarchy.
    pub fn group(&self, path: &str) -> PathBuf {
        self.dir.join(path.trim_start_matches('/'))
    }

    /// What a container calls this hierarchy below its /sys/fs/cgroup: `memory`, `cpu,cpuacct`, `unified`.
    pub fn name(&self) -> String {
        match self.dir.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => self.controllers.join(","),
        }
    }
}

/// The hierarchies of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Each hierarchy once, in the order in which they were mounted.
    pub mounts: Vec<Mount>,
}

impl Hierarchies {
    /// Asks the host: /proc/self/mountinfo once, and `cgroup.controllers` of the v2 mount if there is one.
    pub fn probe() -> Result<Self, Failure> {
        let mountinfo = Path::new("/proc/self/mountinfo");
        let text = kernfs::read(mountinfo).map_err(|cause| {
            Failure::new("cgroup.probe", mountinfo.to_string_lossy(), cause).hint("mount /proc")
        })?;
        Self::parse(&text, |dir| kernfs::read(&dir.join("cgroup.controllers")))
    }

    /// The same from the text of a mountinfo (proc_pid_mountinfo(5)); `controllers` gives the text of
    /// `cgroup.controllers` in the v2 mount on that directory.
    pub fn parse(
        mountinfo: &str,
        mut controllers: impl FnMut(&Path) -> io::Result<String>,
    ) -> Result<Self, Failure> {
        let mut found: Vec<Entry> = Vec::new();
        for line in mountinfo.lines() {
            let Some(entry) = Entry::parse(line) else { continue };
            // Mounted on top of one that was found: that one cannot be reached any more.
            found.retain(|below| !(below.id == entry.parent && below.dir == entry.dir));
            let Some(version) = entry.version else { continue };
            match found
                .iter_mut()
                .find(|other| other.version == Some(version) && other.options == entry.options)
            {
                // A second mount of the same hierarchy: the one that shows its root is the better one.
                Some(other) if other.root != "/" && entry.root == "/" => *other = entry,
                Some(_) => {}
                None => found.push(entry),
            }
        }
        let mut mounts = Vec::with_capacity(found.len());
        for entry in found {
            let dir = PathBuf::from(entry.dir);
            let (version, controllers) = if entry.version == Some(Version::V2) {
                let text = controllers(&dir).map_err(|cause| {
                    Failure::new("cgroup.probe", dir.join("cgroup.controllers").to_string_lossy(), cause)
                })?;
                (Version::V2, text.split_ascii_whitespace().map(str::to_owned).collect())
            } else {
                (Version::V1, entry.options)
            };
            mounts.push(Mount { dir, version, controllers });
        }
        Ok(Self { mounts })
    }

    /// Every hierarchy that is mounted.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// The v2 mount, if there is one.
    pub fn v2(&self) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.version == Version::V2)
    }

    /// Whether v1 hierarchies and the v2 hierarchy are mounted beside each other.
    pub fn is_hybrid(&self) -> bool {
        self.v2().is_some() && self.mounts.iter().any(|mount| mount.version == Version::V1)
    }

    /// Where a controller is to be had. The kernel gives it to one hierarchy only; the device program of v2 is used
    /// where v1's controller is not mounted.
    pub fn find(&self, controller: Controller) -> Option<&Mount> {
        let named = self.mounts.iter().find(|mount| match mount.version {
            Version::V1 => mount.has(controller.v1()),
            Version::V2 => controller.v2().is_some_and(|name| mount.has(name)),
        });
        named.or_else(|| if controller == Controller::Devices { self.v2() } else { None })
    }

    /// Why a controller is not to be had; none where it is.
    pub fn absence(&self, controller: Controller) -> Option<String> {
        if self.find(controller).is_some() {
            return None;
        }
        let name = controller.v1();
        let v1 = format!("no cgroup v1 hierarchy with {name} is mounted");
        Some(match (self.v2(), controller.v2()) {
            (None, _) if self.mounts.is_empty() => "no control groups are mounted at all".to_owned(),
            (None, _) => format!("{v1}, and no cgroup v2 hierarchy"),
            (Some(_), None) => format!("{v1}, and cgroup v2 has no such controller"),
            (Some(mount), Some(name)) => {
                format!("{v1}, and {} does not list {name}", mount.dir.join("cgroup.controllers").display())
            }
        })
    }

    /// Where a controller is to be had, for the sake of `limit`.
    pub(crate) fn require(&self, controller: Controller, limit: &str) -> Result<&Mount, Failure> {
        self.find(controller).ok_or_else(|| {
            let reason = self.absence(controller).unwrap_or_default();
            let name = controller.v1();
            Failure::because("cgroup.plan", limit, format!("needs the controller {name}: {reason}"))
                .hint(controller.way_out())
        })
    }
}

/// A line of mountinfo: a control group hierarchy, or what may hide one.
struct Entry {
    id: u32,
    parent: u32,
    root: String,
    dir: String,
    version: Option<Version>,
    /// v1: its controllers and name.
    options: Vec<String>,
}

impl Entry {
    /// `36 35 98:0 /root /mount/point rw,noatime master:1 - type source options`
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ');
        let id = left.next()?.parse().ok()?;
        let parent = left.next()?.parse().ok()?;
        let root = left.nth(1)?;
        let dir = left.next()?;
        let mut right = right.split(' ');
        let version = match right.next()? {
            "cgroup" => Some(Version::V1),
            "cgroup2" => Some(Version::V2),
            _ => None,
        };
        let options = match version {
            Some(Version::V1) => right
                .nth(1)?
                .split(',')
                .filter(|option| CONTROLLERS_V1.contains(option) || option.starts_with("name="))
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        let text = |word: &str| sys::mount::unescape(word.as_bytes()).to_string_lossy().into_owned();
        Some(Self { id, parent, root: text(root), dir: text(dir), version, options })
    }
}

/// Every controller that a v1 hierarchy was ever mounted with: kernel/cgroup, include/linux/cgroup_subsys.h. The
/// rest of a v1 mount's options (rw, xattr, release_agent=…) names none.
const CONTROLLERS_V1: [&str; 16] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "net_cls",
    "net_prio",
    "perf_event",
    "hugetlb",
    "rdma",
    "misc",
    "dmem",
    "debug",
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// cpu and cpuacct mounted together, a named hierarchy, no v2 at all.
    const LEGACY: &str = "\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
25 22 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/systemd rw,nosuid shared:9 - cgroup cgroup rw,xattr,release_agent=/lib/systemd/systemd-cgroups-agent,name=systemd
27 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:10 - cgroup cgroup rw,cpu,cpuacct
28 25 0:25 / /sys/fs/cgroup/memory rw,nosuid shared:11 - cgroup cgroup rw,memory
";

    pub(crate) const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    pub(crate) const UNIFIED: &str = "\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

    pub(crate) fn hybrid() -> Hierarchies {
        Hierarchies::parse(HYBRID, |_| Ok("hugetlb\n".to_owned())).unwrap()
    }

    pub(crate) fn unified() -> Hierarchies {
        let all = "cpuset cpu io memory hugetlb pids rdma misc\n";
        Hierarchies::parse(UNIFIED, |_| Ok(all.to_owned())).unwrap()
    }

    fn never(dir: &Path) -> io::Result<String> {
        panic!("no v2 mount, yet asked for {}", dir.display())
    }

    #[test]
    fn legacy_with_controllers_mounted_together() {
        let h = Hierarchies::parse(LEGACY, never).unwrap();
        let names: Vec<String> = h.mounts.iter().map(Mount::name).collect();
        assert_eq!(names, ["systemd", "cpu,cpuacct", "memory"]);
        assert_eq!(h.mounts[0].controllers, ["name=systemd"]);
        assert_eq!(h.find(Controller::Cpu).unwrap().controllers, ["cpu", "cpuacct"]);
        assert_eq!(h.find(Controller::Memory).unwrap().group("/a/b"), Path::new("/sys/fs/cgroup/memory/a/b"));
        assert!(!h.is_hybrid());
        assert_eq!(
            h.absence(Controller::Pids).unwrap(),
            "no cgroup v1 hierarchy with pids is mounted, and no cgroup v2 hierarchy"
        );
        assert_eq!(h.absence(Controller::Memory), None);
    }

    #[test]
    fn hybrid_finds_each_controller_where_it_lives() {
        let h = hybrid();
        assert!(h.is_hybrid());
        assert_eq!(h.mounts.len(), 10);
        let memory = h.find(Controller::Memory).unwrap();
        assert_eq!((memory.version, memory.dir.as_path()), (Version::V1, Path::new("/sys/fs/cgroup/memory")));
        let hugetlb = h.find(Controller::Hugetlb).unwrap();
        assert_eq!(
            (hugetlb.version, hugetlb.dir.as_path()),
            (Version::V2, Path::new("/sys/fs/cgroup/unified"))
        );
        assert_eq!(h.find(Controller::Devices).unwrap().version, Version::V1);
        let failure = h.require(Controller::Rdma, "rdma").unwrap_err();
        assert_eq!(
            failure.to_string(),
            "cgroup.plan on rdma: needs the controller rdma: no cgroup v1 hierarchy with rdma is mounted, and \
             /sys/fs/cgroup/unified/cgroup.controllers does not list rdma"
        );
    }

    #[test]
    fn v2_alone() {
        let h = unified();
        assert!(!h.is_hybrid());
        assert_eq!(h.find(Controller::Io).unwrap().dir, Path::new("/sys/fs/cgroup"));
        assert_eq!(h.find(Controller::Devices).unwrap().version, Version::V2);
        assert!(h.find(Controller::NetCls).is_none());
        assert!(h.absence(Controller::NetCls).unwrap().ends_with("cgroup v2 has no such controller"));
    }

    #[test]
    fn none_at_all() {
        let h = Hierarchies::parse("22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n", never).unwrap();
        assert_eq!(h, Hierarchies::default());
        let failure = h.require(Controller::Memory, "memory.limit").unwrap_err();
        assert!(failure.to_string().ends_with("no control groups are mounted at all"), "{failure}");
        assert!(failure.hint.is_some());
    }

    #[test]
    fn bind_mounts_and_hidden_mounts_are_left_out() {
        let text = "\
30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
31 30 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
50 22 0:31 /box/a /srv/box/memory rw - cgroup cgroup rw,memory
51 31 0:31 / /sys/fs/cgroup/memo\\040ry rw - cgroup cgroup rw,memory
52 22 0:31 /box/b /srv/other/memory rw - cgroup cgroup rw,memory
";
        let h = Hierarchies::parse(text, never).unwrap();
        assert_eq!(h.mounts.len(), 1);
        assert_eq!(h.mounts[0].dir, Path::new("/sys/fs/cgroup/memo ry"));
    }

    #[test]
    fn an_unreadable_v2_mount_is_named() {
        let denied = |_: &Path| Err(io::Error::from_raw_os_error(13));
        let failure = Hierarchies::parse(UNIFIED, denied).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "cgroup.probe on /sys/fs/cgroup/cgroup.controllers: permission denied"
        );
    }

    #[test]
    fn this_host_has_control_groups() {
        let h = Hierarchies::probe().unwrap();
        assert!(h.find(Controller::Memory).is_some());
        assert!(h.mounts.iter().all(|mount| mount.dir.join("cgroup.procs").exists()));
    }
}
