//! Reserved shares of what a network may carry to the host and the world: a hierarchical bucket of tokens on its bridge.
//!
//! ```text
//! towards containers   leaves the host by the bridge             htb on the bridge
//! from containers      comes in by the bridge, led over md…i     htb on the intermediate device
//!
//! 1:ffff  the network's total ─┬─ 1:<gateway>    what has no share: takes what is left
//!                              ├─ 1:<container>  its share for certain, up to the total if others leave it
//!                              └─ …
//! ```
//!
//! The lower half of an address is the number of the container's class: nothing has to be remembered to find it again.
//! Neighbours talk past it, in memory.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use step::{Context, Failure, Shell, Step, Steps};

use crate::attachment::Attachment;
use crate::error::Error;
use crate::facts;
use crate::made;
use crate::netlink::{self, Refusal, Route};
use crate::network::Driver;
use crate::rate::Rate;
use crate::reservation::{Book, hash};
use crate::settings::Settings;
use crate::small;
use crate::subnet::mac_text;
use crate::traffic::{self, End, HTB, TOP};

/// The step that this is, in messages.
const STEP: &str = "network.share";
/// Beside the networks' records: a file for each network that has a total, named after its bridge. The default network has no
/// record, and its total survives a reboot as that of any other.
const TOTALS: &str = "totals";
/// What is left for those without a share, at least: a hundredth of the total.
const REST: u64 = 100;

/// The device over which what comes in by a bridge is led.
pub(crate) fn intermediate(bridge: &str) -> String {
    format!("md{:08x}i", hash(bridge))
}

/// Whether a link is named so.
pub(crate) fn is_intermediate(name: &str) -> bool {
    let digits = name.strip_prefix("md").and_then(|rest| rest.strip_suffix('i'));
    digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// Where the total of a network with this bridge is written.
fn total_file(settings: &Settings, bridge: &str) -> PathBuf {
    settings.networks.join(TOTALS).join(bridge)
}

/// What the network with this bridge may carry; none where nobody has said.
pub fn total(settings: &Settings, bridge: &str) -> Result<Option<Rate>, Error> {
    let path = total_file(settings, bridge);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok().map(Rate)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { action: "read", path, source }),
    }
}

/// Sets what a network may carry, on its bridge too where that is there; none lifts it, with all shares. The network is
/// called as users call it. Gives its bridge.
pub fn set_total(settings: &Settings, network: &str, rate: Option<Rate>) -> Result<String, Error> {
    let bridge = bridge_of(settings, network)?;
    let path = total_file(settings, &bridge);
    let failed = |action, source| Error::File { action, path: path.clone(), source };
    let socket = netlink::open().map_err(|error| Failure::new(STEP, "the route socket", error))?;
    let route = Route::new(&socket);
    let refused = |refusal| Error::Kernel(traffic::explain(STEP, format!("bridge {bridge}"), refusal, HTB));
    let Some(rate) = rate else {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", error)),
            _ => {}
        }
        return lift(route, &bridge).map_err(refused).map(|()| bridge.clone());
    };
    // Without a bridge, or one without an address, the next start does it.
    if let Ok(index) = route.index(&bridge)
        && let Some(gateway) = facts::addresses(route, Some(index))?.first()
    {
        let rest = minor(gateway.address.octets());
        let classes = traffic::classes(route, index).map_err(refused)?;
        let shares = classes.iter().filter(|class| ![TOP, rest].contains(&class.minor));
        let promised = Rate(shares.map(|class| class.rate.0).sum());
        if promised > rate {
            let reason = format!("the shares of its containers are {promised} together");
            return Err(Error::Kernel(
                Failure::because(STEP, format!("bridge {bridge} at {rate}"), reason)
                    .hint("take shares away first: minidocker update --network-share none CONTAINER"),
            ));
        }
        prepare(route, &bridge, rate, rest).map_err(refused)?;
    }
    write_total(&path, rate).map_err(|error| failed("create", error))?;
    Ok(bridge)
}

/// Whole or not at all, and on the disk.
fn write_total(path: &Path, rate: Rate) -> io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    fs::create_dir_all(directory)?;
    // No bridge is called so.
    let new = directory.join(".new");
    let file = fs::File::create(&new)?;
    io::Write::write_all(&mut &file, format!("{}\n", rate.0).as_bytes())?;
    file.sync_data()?;
    fs::rename(&new, path)
}

/// The bridge of the network that a user means; a small one by its subnet, or its bridge's name.
fn bridge_of(settings: &Settings, network: &str) -> Result<String, Error> {
    settings.check()?;
    let small = small::all(&Book::new(settings.addresses()))?;
    if let Some(one) = small.iter().find(|one| one.subnet.to_string() == network || one.bridge() == network) {
        return Ok(one.bridge());
    }
    let found = made::find(settings, network)?;
    if found.driver == Driver::Bridge {
        return Ok(found.bridge());
    }
    Err(Error::Design {
        what: format!("network {} has no bridge that could be limited", found.name),
        hint: "limit its containers: minidocker update --network-rate out=10mbit CONTAINER".to_owned(),
    })
}

/// The same of a bridge that goes for ever, and what is written of it.
pub(crate) fn leave(settings: &Settings, route: Route<'_>, bridge: &str) -> Result<(), Refusal> {
    let _ = fs::remove_file(total_file(settings, bridge));
    lift(route, bridge)
}

/// Takes away all that shapes a bridge.
pub(crate) fn lift(route: Route<'_>, bridge: &str) -> Result<(), Refusal> {
    if let Ok(index) = route.index(bridge) {
        traffic::clear(route, index)?;
        traffic::clear_redirect(route, index)?;
    }
    let name = intermediate(bridge);
    if route.index(&name).is_ok() { crate::links::delete(route, &name) } else { Ok(()) }
}

/// The class of an address.
fn minor(address: [u8; 4]) -> u16 {
    u16::from_be_bytes([address[2], address[3]])
}

/// Both ways of a bridge have this total; shares that are there stay, and borrow up to the new one.
fn prepare(route: Route<'_>, bridge: &str, total: Rate, rest: u16) -> Result<(), Refusal> {
    let index = route.index(bridge)?;
    let (led, new) = traffic::ensure_intermediate(route, &intermediate(bridge))?;
    for link in [index, led] {
        traffic::set_hierarchy(route, link, total, rest)?;
        traffic::set_class(route, link, (TOP, rest), left(total), total)?;
        for class in traffic::classes(route, link)? {
            if class.ceiling != total && ![TOP, rest].contains(&class.minor) {
                traffic::set_class(route, link, (TOP, class.minor), class.rate, total)?;
            }
        }
    }
    // Not without need: in between nothing would be led there.
    if new || !traffic::is_redirected(route, index)? { traffic::redirect(route, index, led) } else { Ok(()) }
}

/// The steps of a container's share, and of its networks' totals where they have some.
pub(crate) fn plan(
    settings: &Settings,
    share: Option<Rate>,
    places: &[Attachment],
    host: &mut Steps,
    beside: &mut Steps,
) {
    let way_out = way_out(places).map(|to| &to.bridge);
    for to in places.iter().filter(|to| to.driver() == Driver::Bridge) {
        // A total that cannot be read was told when the share was asked for.
        let Some(total) = total(settings, &to.bridge).ok().flatten() else { continue };
        host.push(Box::new(Total { bridge: to.bridge.clone(), gateway: to.gateway.octets(), rate: total }));
        let share = share.filter(|_| way_out == Some(&to.bridge));
        beside.extend(share.map(|rate| Box::new(Share::of(to, rate, total)) as Box<dyn Step>));
    }
}

/// Of several networks the one with the way out has the share.
fn way_out(places: &[Attachment]) -> Option<&Attachment> {
    let mut bridged = places.iter().filter(|to| to.driver() == Driver::Bridge);
    bridged.clone().find(|to| to.way_out).or_else(|| bridged.next())
}

/// What those without a share get for certain.
fn left(total: Rate) -> Rate {
    Rate((total.0 / REST).max(8))
}

/// What a network may carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) bridge: String,
    pub(crate) gateway: [u8; 4],
    pub(crate) rate: Rate,
}

impl Step for Total {
    fn id(&self) -> &'static str {
        "network.total"
    }

    fn call(&self) -> String {
        let (bridge, led, rate) = (&self.bridge, intermediate(&self.bridge), self.rate);
        format!(
            "sendto(netlink, RTM_NEWQDISC {{dev={bridge}, kind=htb}}), sendto(netlink, RTM_NEWTCLASS {{dev={bridge}, \
             classid=1:{TOP:x}, rate={rate}}}); the same on {led}, an ifb, over which what comes in by {bridge} is led: \
             sendto(netlink, RTM_NEWTFILTER {{dev={bridge}, parent=ffff:, action=mirred to {led}}})"
        )
    }

    fn why(&self) -> Cow<'static, str> {
        "the network's rate, set by `network update --rate`: in each direction all its containers together have so much"
            .into()
    }

    fn shell(&self) -> Shell {
        let (bridge, led, total) = (&self.bridge, intermediate(&self.bridge), self.rate);
        let (rest, left) = (minor(self.gateway), left(total));
        let mut lines = vec![format!(
            "ip link show dev {led} >/dev/null 2>&1 || ip link add name {led} up numtxqueues 1 type ifb"
        )];
        for link in [bridge, &led] {
            lines.extend([
                format!(
                    "tc qdisc show dev {link} | grep -q 'htb 1:' || tc qdisc add dev {link} root handle 1: htb default \
                     {rest:x}"
                ),
                format!("tc class replace dev {link} parent 1: classid 1:{TOP:x} htb rate {total} ceil {total}"),
                format!("tc class replace dev {link} parent 1:{TOP:x} classid 1:{rest:x} htb rate {left} ceil {total}"),
            ]);
        }
        lines.extend([
            format!("tc qdisc show dev {bridge} | grep -q ingress || tc qdisc add dev {bridge} ingress"),
            format!(
                "tc filter replace dev {bridge} parent ffff: protocol all pref 1 u32 match u32 0 0 action mirred egress \
                 redirect dev {led}"
            ),
        ]);
        Shell::Lines(lines)
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        let route = route(context)?;
        prepare(route, &self.bridge, self.rate, minor(self.gateway)).map_err(|refusal| {
            traffic::explain(self.id(), format!("bridge {} at {}", self.bridge, self.rate), refusal, HTB)
        })
    }
}

/// A container's share of its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) bridge: String,
    pub(crate) gateway: [u8; 4],
    pub(crate) address: [u8; 4],
    pub(crate) mac: [u8; 6],
    pub(crate) rate: Rate,
    pub(crate) total: Rate,
}

impl Share {
    /// `total` is the network's.
    pub(crate) fn of(to: &Attachment, rate: Rate, total: Rate) -> Self {
        let (gateway, address) = (to.gateway.octets(), to.address.octets());
        Self { bridge: to.bridge.clone(), gateway, address, mac: to.mac, rate, total }
    }

    fn set(&self, route: Route<'_>) -> Result<(), Refusal> {
        let own = minor(self.address);
        for (link, end) in [(self.bridge.clone(), End::To), (intermediate(&self.bridge), End::From)] {
            let index = route.index(&link)?;
            traffic::set_class(route, index, (TOP, own), self.rate, self.total.max(self.rate))?;
            traffic::set_owner(route, index, own, end, self.mac)?;
        }
        Ok(())
    }
}

impl Step for Share {
    fn id(&self) -> &'static str {
        STEP
    }

    fn call(&self) -> String {
        format!(
            "sendto(netlink, RTM_NEWTCLASS {{dev={}, classid=1:{:x}, kind=htb, rate={}, ceil={}}}), \
             sendto(netlink, RTM_NEWTFILTER {{dst={}, flowid=1:{1:x}}}), the same of what it sends on {}",
            self.bridge,
            minor(self.address),
            self.rate,
            self.total,
            mac_text(self.mac),
            intermediate(&self.bridge)
        )
    }

    fn why(&self) -> Cow<'static, str> {
        "asked for: --network-share; so much of what the network carries is kept for it, and what others leave it may \
         have too"
            .into()
    }

    fn shell(&self) -> Shell {
        let own = minor(self.address);
        let (led, total, rate, mac) = (intermediate(&self.bridge), self.total, self.rate, mac_text(self.mac));
        let lines = [(&self.bridge, "dst"), (&led, "src")].into_iter().flat_map(|(link, end)| {
            [
                format!("tc class replace dev {link} parent 1:{TOP:x} classid 1:{own:x} htb rate {rate} ceil {total}"),
                format!(
                    "tc filter replace dev {link} parent 1: protocol all pref {own} u32 match ether {end} {mac} flowid \
                     1:{own:x}"
                ),
            ]
        });
        let lines = lines.collect();
        Shell::Lines(lines)
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        let route = route(context)?;
        self.check(route)?;
        self.set(route).map_err(|refusal| self.refused(refusal))
    }
}

/// The process's route socket, opened by the first step that needs one.
fn route(context: &mut Context) -> Result<Route<'_>, Failure> {
    let socket = match context.netlink.take() {
        Some(socket) => socket,
        None => netlink::open().map_err(|error| Failure::new(STEP, "the route socket", error))?,
    };
    Ok(Route::new(context.netlink.insert(socket)))
}

impl Share {
    /// A promise that could not be kept is not made: all shares together are at most the total.
    fn check(&self, route: Route<'_>) -> Result<(), Failure> {
        let Ok(index) = route.index(&self.bridge) else { return Ok(()) };
        let own = [TOP, minor(self.gateway), minor(self.address)];
        let classes = traffic::classes(route, index).map_err(|refusal| self.refused(refusal))?;
        let others: u64 =
            classes.iter().filter(|class| !own.contains(&class.minor)).map(|class| class.rate.0).sum();
        if others + self.rate.0 <= self.total.0 {
            return Ok(());
        }
        let (rate, bridge, total) = (self.rate, &self.bridge, self.total);
        let reason = match others {
            0 => format!("the whole network has {total}"),
            others => format!("of the network's {total} others have {}", Rate(others)),
        };
        Err(Failure::because(STEP, format!("{rate} of bridge {bridge}"), reason)
            .hint("ask for less, or give the network more: minidocker network update --rate"))
    }

    fn refused(&self, refusal: Refusal) -> Failure {
        traffic::explain(STEP, format!("{} of bridge {}", self.rate, self.bridge), refusal, HTB)
    }
}

/// Gives a running container another share, or none.
pub fn change_share(settings: &Settings, places: &[Attachment], rate: Option<Rate>) -> Result<(), Error> {
    let Some(to) = way_out(places) else { return Err(no_total(places)) };
    let Some(rate) = rate else { return clear(&to.bridge, to.address) };
    let total = needed_total(settings, places)?;
    let share = Share::of(to, rate, total);
    let socket = netlink::open().map_err(|error| Failure::new(STEP, "the route socket", error))?;
    let route = Route::new(&socket);
    share.check(route)?;
    prepare(route, &share.bridge, total, minor(share.gateway))
        .and_then(|()| share.set(route))
        .map_err(|refusal| Error::Kernel(share.refused(refusal)))
}

/// The network's total, without which nothing can be a share of it.
pub(crate) fn needed_total(settings: &Settings, places: &[Attachment]) -> Result<Rate, Error> {
    let total = way_out(places).map(|to| total(settings, &to.bridge)).transpose()?;
    total.flatten().ok_or_else(|| no_total(places))
}

fn no_total(places: &[Attachment]) -> Error {
    let to = way_out(places).or(places.first());
    Error::NoTotal { network: to.map_or_else(String::new, |to| to.network.clone()) }
}

/// Takes the share of an address away: its classes and filters. Again is nothing; of a network without a total there is
/// nothing to take. Before the address is given back, for whoever gets it has the class.
pub(crate) fn forget(settings: &Settings, bridge: &str, address: Ipv4Addr) -> Result<(), Error> {
    if !total_file(settings, bridge).exists() {
        return Ok(());
    }
    clear(bridge, address)
}

fn clear(bridge: &str, address: Ipv4Addr) -> Result<(), Error> {
    let socket = netlink::open().map_err(|error| Failure::new(STEP, "the route socket", error))?;
    let route = Route::new(&socket);
    let own = minor(address.octets());
    for link in [bridge.to_owned(), intermediate(bridge)] {
        let Ok(index) = route.index(&link) else { continue };
        traffic::clear_owner(route, index, own)
            .and_then(|()| traffic::clear_class(route, index, own))
            .map_err(|refusal| Error::Kernel(traffic::explain(STEP, link, refusal, HTB)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn run(line: &str) -> String {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `test` gives on a bridge in a network namespace of its own.
    fn on_a_bridge<T: Send + 'static>(test: impl FnOnce(&mut Context) -> T + Send + 'static) -> T {
        let there = move || {
            // Only a thread's own network: no memory or descriptors are concerned.
            #[allow(deprecated)]
            rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
            run("ip link add br0 up type bridge && ip address add 10.7.0.1/16 dev br0");
            test(&mut Context::default())
        };
        std::thread::spawn(there).join().unwrap()
    }

    fn total(mbit: u64) -> Total {
        Total { bridge: "br0".to_owned(), gateway: [10, 7, 0, 1], rate: Rate(mbit * 1_000_000) }
    }

    fn share(last: u8, mbit: u64) -> Share {
        Share {
            bridge: "br0".to_owned(),
            gateway: [10, 7, 0, 1],
            address: [10, 7, 3, last],
            mac: [2, 0x42, 10, 7, 3, last],
            rate: Rate(mbit * 1_000_000),
            total: Rate(100_000_000),
        }
    }

    /// As tc(8) shows it; how much may go at once is ours to choose.
    fn shown() -> String {
        let led = intermediate("br0");
        let classes = run(&format!("tc class show dev br0; tc class show dev {led}"));
        let classes: Vec<&str> =
            classes.lines().map(|line| line.split(" burst").next().unwrap_or(line)).collect();
        let filters = format!(
            "tc filter show dev br0; tc filter show dev {led}; tc filter show dev br0 ingress | grep -v index"
        );
        classes.join("\n") + "\n" + &run(&filters)
    }

    #[test]
    fn the_kernel_has_what_tc_would_have_made() {
        let ours = on_a_bridge(|context| {
            total(100).perform(context).unwrap();
            share(5, 60).perform(context).unwrap();
            // Again is the same.
            total(100).perform(context).unwrap();
            share(5, 60).perform(context).unwrap();
            shown()
        });
        let by_hand = on_a_bridge(|_| {
            let lines = [total(100).shell(), share(5, 60).shell()];
            for lines in lines {
                let Shell::Lines(lines) = lines else { panic!() };
                lines.iter().for_each(|line| drop(run(line)));
            }
            shown()
        });
        assert_eq!(ours, by_hand);
        assert!(ours.contains("class htb 1:305 parent 1:ffff"), "{ours}");
    }

    #[test]
    fn no_more_is_promised_than_there_is_and_all_of_it_goes_again() {
        on_a_bridge(|context| {
            total(100).perform(context).unwrap();
            share(5, 60).perform(context).unwrap();
            let refused = share(6, 60).perform(context).unwrap_err();
            assert!(
                refused.to_string().ends_with("of the network's 100mbit others have 60mbit"),
                "{refused}"
            );
            share(6, 40).perform(context).unwrap();
            // Another total: who has a share borrows up to it.
            total(200).perform(context).unwrap();
            let led = intermediate("br0");
            assert_eq!(run(&format!("tc class show dev {led} | grep -c 'ceil 200Mbit'")).trim(), "4");
            clear("br0", Ipv4Addr::new(10, 7, 3, 5)).unwrap();
            clear("br0", Ipv4Addr::new(10, 7, 3, 5)).unwrap();
            assert!(
                !run("tc class show dev br0").contains("1:305")
                    && run("tc class show dev br0").contains("1:306")
            );
            let socket = netlink::open().unwrap();
            lift(Route::new(&socket), "br0").unwrap();
            lift(Route::new(&socket), "br0").unwrap();
            assert_eq!(run("tc qdisc show dev br0 | grep -cE 'htb|ingress' || true").trim(), "0");
            assert!(!run("ip -o link").contains(&led));
        });
    }

    #[test]
    fn an_intermediate_device_is_known_by_its_name() {
        let name = intermediate("minidocker0");
        assert!(is_intermediate(&name) && name.len() <= 15, "{name}");
        for other in ["md0123456789a", "minidocker0", "md0123456xi", "mdn0a00000018", "ifb0"] {
            assert!(!is_intermediate(other), "{other}");
        }
        assert_eq!(minor([172, 30, 193, 7]), 0xc107);
    }
}
