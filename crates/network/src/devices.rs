//! Links of the host that go into a container: `linux.netDevices` of the OCI runtime specification.
//!
//! A link takes its hardware address and MTU along and loses its addresses and routes, so its permanent addresses are
//! read before and set again behind. What can be known beforehand is asked beforehand; should the container's side
//! refuse something all the same, the link comes back.
//!
//! Nothing here fetches a link back from a container that ends: as the specification has it, the kernel returns
//! physical ones to the first network namespace and removes virtual ones, network_namespaces(7).

mod link;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci::spec::LinuxNetDevice;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;
use step::{Context, Failure, Shell, Step, Steps, quote};

use crate::facts::failed;
use crate::netlink::{self, Refusal, Route};
use link::{Address, Device, send};

/// The longest name of a link, in bytes: IFNAMSIZ without the zero.
const LONGEST: usize = 15;
/// Names that no link of a container can have: every namespace has its own loopback, and the others are directories
/// of /proc/sys/net/ipv4/conf.
const RESERVED: [&str; 3] = ["lo", "all", "default"];
/// How often a template is tried anew because somebody took the name in between.
const TRIES: usize = 3;

/// The network namespace that devices go into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespace {
    /// That of the container's init (`context.init`), once it has it. The shell's version of the steps gives it this
    /// name: [`netns_name`](crate::netns_name).
    Init {
        /// As in `ip netns add`.
        script_name: String,
    },
    /// An existing one: the file that the specification names.
    At(PathBuf),
}

/// The steps that move `devices`, by their names on the host, into `to`: one each, in the order of these names. For the
/// monitor, in the host's network namespace; in a container that also gets a pair of ours, after the pair. Pure.
///
/// A device that is to have another name there may be given a template, `eth%d`: the first number that is free.
///
/// Errors: a name that no link can have, one that is reserved, one that two of the devices are to have.
pub fn move_devices(devices: &HashMap<String, LinuxNetDevice>, to: &Namespace) -> Result<Steps, Failure> {
    let mut sorted: Vec<_> = devices.iter().collect();
    sorted.sort_by_key(|(device, _)| *device);
    let mut names = HashSet::new();
    let mut steps = Steps::new();
    for (device, asked) in sorted {
        check_name("linux.netDevices", device, false)?;
        let name = asked.name().as_ref().filter(|name| !name.is_empty());
        if let Some(name) = name {
            check_name(&format!("linux.netDevices.{device}.name"), name, true)?;
        }
        let target = name.unwrap_or(device);
        if !target.contains('%') && !names.insert(target) {
            let reason = format!("two of the devices are to be {target} in the container");
            return Err(Failure::because("plan", "linux.netDevices", reason));
        }
        steps.push(Box::new(Move { device: device.clone(), name: name.cloned(), to: to.clone() }));
    }
    Ok(steps)
}

/// The kernel's rule, net/core/dev.c (dev_valid_name, __dev_alloc_name).
fn check_name(field: &str, name: &str, template: bool) -> Result<(), Failure> {
    let unusable = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b':' | 0x0b | 0xa0 | 0);
    let reason = if name.is_empty() || name.len() > LONGEST {
        format!("a link's name has 1 to {LONGEST} bytes")
    } else if matches!(name, "." | "..") || name.bytes().any(unusable) {
        "no link can have this name".to_owned()
    } else if RESERVED.contains(&name) {
        "this name is reserved".to_owned()
    } else if name.contains('%') && !template {
        "no link has such a name, % stands for a number".to_owned()
    } else if name.matches('%').count() > 1 || name.contains('%') && !name.contains("%d") {
        "a template has one %d and no other %".to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::because("plan", format!("{field}: '{}'", name.escape_debug()), reason)
        .hint("give a name such as eth0, or a template such as eth%d"))
}

/// One device's way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Move {
    /// Its name on the host.
    device: String,
    /// Its name in the container, or a template for it; none keeps it.
    name: Option<String>,
    to: Namespace,
}

impl Step for Move {
    fn id(&self) -> &'static str {
        "network.device"
    }

    fn call(&self) -> String {
        let (device, name) = (&self.device, self.new_name());
        let namespace = match &self.to {
            Namespace::Init { .. } => "/proc/<init>/ns/net".into(),
            Namespace::At(path) => path.to_string_lossy(),
        };
        format!(
            "sendto(netlink, RTM_NEWLINK {{dev={device}, name={name}, netns=\"{namespace}\"}}), and there: \
             sendto(netlink, RTM_NEWADDR {{dev={name}}}) of its permanent global addresses, \
             sendto(netlink, RTM_NEWLINK {{name={name}, up}})"
        )
    }

    fn why(&self) -> Cow<'static, str> {
        "asked for: linux.netDevices, a link of the host's goes into the container as it is".into()
    }

    fn shell(&self) -> Shell {
        let file = match &self.to {
            Namespace::Init { script_name } => Path::new("/run/netns").join(script_name),
            Namespace::At(path) => path.clone(),
        };
        let file = quote(&file.to_string_lossy()).into_owned();
        let device = quote(&self.device);
        let inside = format!("nsenter --net={file} ip");
        let mut lines = vec![format!(
            "addresses=$(ip -o address show dev {device} scope global permanent | sed -E \
             's/^[^ ]+ +[^ ]+ +inet6? (.*) scope .*/\\1/')"
        )];
        let name = match self.new_name().split_once("%d") {
            None => quote(self.new_name()).into_owned(),
            Some((before, after)) => {
                let part = |text| if str::is_empty(text) { "".into() } else { quote(text) };
                let name = format!("{}$n{}", part(before), part(after));
                lines.push(format!(
                    "n=0; while {inside} link show dev {name} >/dev/null 2>&1; do n=$((n + 1)); done"
                ));
                name
            }
        };
        lines.extend([
            format!("ip link set dev {device} netns {file} name {name}"),
            format!(
                "while read -r address; do [ -z \"$address\" ] || {inside} address add $address dev {name}; done \
                 <<< \"$addresses\""
            ),
            format!("{inside} link set dev {name} up"),
        ]);
        Shell::Lines(lines)
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        let here = open_namespace(Path::new("/proc/thread-self/ns/net"))
            .map_err(|errno| self.failed(&self.device, errno))?;
        let there = self.namespace(context, &here)?;
        let route = |error| Failure::new(self.id(), "the route socket", error);
        let outside = netlink::open().map_err(route)?;
        let inside = open_inside(&there).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::INVAL) => self.no_namespace("is no network namespace"),
            _ => route(error),
        })?;
        let sides =
            Sides { host: Route::new(&outside), here: &here, container: Route::new(&inside), there: &there };
        let device = Device::read(sides.host, &self.device).map_err(|refusal| {
            let gone = refusal.errno == Errno::NODEV;
            let failure = failed(self.id(), &self.device, refusal);
            if gone {
                failure
                    .hint("the host has no such link: `ip link` lists them; has another container taken it?")
            } else {
                failure
            }
        })?;
        self.carry(sides, &device)
    }
}

/// The two namespaces and a socket in each.
#[derive(Debug, Clone, Copy)]
struct Sides<'a> {
    host: Route<'a>,
    here: &'a OwnedFd,
    container: Route<'a>,
    there: &'a OwnedFd,
}

impl Move {
    fn new_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.device)
    }

    /// Where it goes. Not where it is: the kernel would rename it there, on the host.
    fn namespace(&self, context: &Context, here: &OwnedFd) -> Result<OwnedFd, Failure> {
        let there = match (&self.to, context.init) {
            (Namespace::At(path), _) => {
                open_namespace(path).map_err(|errno| self.failed(path.display().to_string(), errno))?
            }
            (Namespace::Init { .. }, Some(init)) => {
                open_namespace(Path::new(&format!("/proc/{init}/ns/net")))
                    .map_err(|errno| self.failed(&self.device, errno).hint("the container's init has died"))?
            }
            (Namespace::Init { .. }, None) => {
                return Err(self.no_namespace("there is no process yet whose namespace it could go to"));
            }
        };
        let identity = |fd: &OwnedFd| {
            let stat = rustix::fs::fstat(fd).map_err(|errno| self.failed(&self.device, errno))?;
            Ok::<_, Failure>((stat.st_dev, stat.st_ino))
        };
        if identity(&there)? == identity(here)? {
            return Err(self.no_namespace("the container's network namespace is the host's").hint(
                "devices can be moved only into a network namespace: add one to linux.namespaces, or leave \
                 linux.netDevices off",
            ));
        }
        Ok(there)
    }

    fn no_namespace(&self, reason: &str) -> Failure {
        let target = match &self.to {
            Namespace::At(path) => path.display().to_string(),
            Namespace::Init { .. } => self.device.clone(),
        };
        Failure::because(self.id(), target, reason)
    }

    fn carry(&self, sides: Sides<'_>, device: &Device) -> Result<(), Failure> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let name = self.free_name(sides.container, device)?;
            let sent = send(sides.host, device.index, &name, sides.there);
            // Its name there, if it is there.
            let there = match &sent {
                Ok(()) => Some(&name),
                Err(_) if device.has_left(sides.host) => Some(&device.name),
                Err(_) => None,
            };
            let arrived = match sent {
                Ok(()) => device.furnish(sides.container, &name, Address::goes_along, true),
                Err(refusal) => Err((format!("{}, to be {name}", device.name), refusal)),
            };
            let Err((what, refusal)) = arrived else { return Ok(()) };
            let back = there.map(|there| device.bring_back(sides, there));
            let retry = attempt < TRIES && refusal.errno == Errno::EXIST && self.new_name().contains('%');
            if !retry || back == Some(false) {
                return Err(self.refused(what, refusal, back));
            }
        }
    }

    /// The name it gets. It is looked for before anything is done, by its alternative names too.
    fn free_name(&self, container: Route<'_>, device: &Device) -> Result<String, Failure> {
        // Asked for by an alternative name it keeps its first one.
        let asked = self.name.as_ref().unwrap_or(&device.name);
        let is_free = |name: &String| matches!(container.index(name), Err(Errno::NODEV));
        let found = match asked.split_once("%d") {
            None => Some(asked.clone()).filter(is_free),
            Some((before, after)) => {
                let fits = |name: &String| name.len() <= LONGEST;
                (0..).map(|n: u32| format!("{before}{n}{after}")).take_while(fits).find(is_free)
            }
        };
        found.ok_or_else(|| {
            let refusal = Refusal { errno: Errno::EXIST, said: None };
            self.refused(format!("{}, to be {asked}", device.name), refusal, None)
        })
    }

    /// `back`: whether the link had left and could be brought back.
    fn refused(&self, what: String, refusal: Refusal, back: Option<bool>) -> Failure {
        let errno = refusal.errno;
        let mut failure = failed(self.id(), what, refusal);
        let hint = match errno {
            Errno::EXIST => {
                failure.reason = Some("the container's network namespace has a link of that name".to_owned());
                format!(
                    "choose another name with linux.netDevices.{}.name, or a template such as eth%d",
                    self.device
                )
            }
            Errno::INVAL | Errno::OPNOTSUPP if back.is_none() => {
                "bridges, loopback, wireless links and some tunnels cannot leave their network namespace: move another \
                 kind of link, such as a macvlan of it"
                    .to_owned()
            }
            Errno::ACCESS if back.is_some() => {
                "IPv6 is off in the container's network namespace: turn it on there (net.ipv6.conf.all.disable_ipv6), \
                 or remove the address"
                    .to_owned()
            }
            _ => failure.hint.take().unwrap_or_default(),
        };
        let whereabouts = match back {
            None => "",
            Some(true) => "the device is back on the host, without its routes",
            Some(false) => "the device could not be brought back from the container's network namespace",
        };
        let parts = [hint.as_str(), whereabouts].into_iter().filter(|part| !part.is_empty());
        let hint = parts.collect::<Vec<_>>().join("; ");
        if hint.is_empty() { failure } else { failure.hint(hint) }
    }
}

fn open_namespace(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// A route socket inside of a namespace. Sockets stay in the namespace that they were opened in; the thread that went
/// there for it ends there.
pub(crate) fn open_inside(namespace: &OwnedFd) -> io::Result<OwnedFd> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, || {
            let kind = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)?;
            netlink::open()
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that opens it died")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init() -> Namespace {
        Namespace::Init { script_name: "md-0123456789ab".to_owned() }
    }

    fn plan(json: &str) -> Result<Steps, Failure> {
        move_devices(&serde_json::from_str(json).unwrap(), &init())
    }

    #[test]
    fn says_what_it_does_in_the_order_of_names() {
        let steps =
            plan(r#"{"wan1": {"name": "eth%d"}, "wan0": {"name": "eth0"}, "lan": {"name": ""}}"#).unwrap();
        let calls: Vec<_> = steps.iter().map(|step| step.call()).collect();
        assert!(
            calls[0].contains("{dev=lan, name=lan, netns=\"/proc/<init>/ns/net\"}")
                && calls[1].contains("{dev=wan0, name=eth0, ")
                && calls[2].contains("{dev=wan1, name=eth%d, "),
            "{calls:?}"
        );
        assert!(steps.iter().all(|step| step.id() == "network.device" && !step.why().is_empty()));
        assert!(plan("{}").unwrap().is_empty());
    }

    #[test]
    fn refuses_names_that_cannot_be() {
        for (json, expected) in [
            (r#"{"": {}}"#, "linux.netDevices: '': a link's name has 1 to 15 bytes"),
            (
                r#"{"sixteen-letters0": {}}"#,
                "linux.netDevices: 'sixteen-letters0': a link's name has 1 to 15 bytes",
            ),
            (r#"{"eth%d": {}}"#, "linux.netDevices: 'eth%d': no link has such a name, % stands for a number"),
            (r#"{"lo": {}}"#, "linux.netDevices: 'lo': this name is reserved"),
            (r#"{"a": {"name": "lo"}}"#, "linux.netDevices.a.name: 'lo': this name is reserved"),
            (r#"{"a": {"name": "all"}}"#, "linux.netDevices.a.name: 'all': this name is reserved"),
            (r#"{"a": {"name": "eth0/"}}"#, "linux.netDevices.a.name: 'eth0/': no link can have this name"),
            (r#"{"a": {"name": "a b"}}"#, "linux.netDevices.a.name: 'a b': no link can have this name"),
            (r#"{"a": {"name": "a\n"}}"#, "linux.netDevices.a.name: 'a\\n': no link can have this name"),
            (r#"{"a": {"name": ".."}}"#, "linux.netDevices.a.name: '..': no link can have this name"),
            (
                r#"{"a": {"name": "%d%d"}}"#,
                "linux.netDevices.a.name: '%d%d': a template has one %d and no other %",
            ),
            (
                r#"{"a": {"name": "x%s"}}"#,
                "linux.netDevices.a.name: 'x%s': a template has one %d and no other %",
            ),
            (
                r#"{"a": {"name": "b"}, "b": {}}"#,
                "linux.netDevices: two of the devices are to be b in the container",
            ),
        ] {
            assert_eq!(plan(json).unwrap_err().to_string(), format!("plan on {expected}"));
        }
        assert_eq!(plan(r#"{"a": {"name": "b"}, "b": {"name": "a"}}"#).unwrap().len(), 2);
        assert_eq!(plan(r#"{"a": {"name": "e%d"}, "b": {"name": "e%d"}}"#).unwrap().len(), 2);
    }
}
