//! Who can reach a published port: what the kernel says of it, and no more. Addresses tell how far a port can be known;
//! chains of other tables tell who decides besides.

use std::fmt;
use std::fs;
use std::net::IpAddr;

use step::Failure;

use crate::facts::{self, failed};
use crate::netlink::{self, Route};
use crate::nft::{BaseChain, Netfilter};
use crate::ports::Published;
use crate::settings::Settings;
use crate::subnet6::Subnet6;
use crate::table::Table;

const STEP: &str = "network.reach";
/// NF_INET_FORWARD and NF_INET_LOCAL_OUT: what comes from other machines and is led to a container is forwarded; what
/// this machine's own programs send goes out. Input has no part in it.
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
/// Tables of the older iptables, which nf_tables does not tell of.
const LEGACY: [&str; 2] = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

/// How far an address is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Programs of this machine.
    Machine,
    /// Those too, and machines of networks with private addresses, which are these.
    Networks(Vec<String>),
    /// Everybody who has a way to this machine: one of its addresses is a public one.
    Everybody,
}

impl Who {
    /// One word, for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Networks(_) => "networks",
            Self::Everybody => "everybody",
        }
    }
}

/// A chain of another table that has a say: it drops what it does not accept, or has rules by which it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// `ip filter`.
    pub table: String,
    /// `FORWARD`.
    pub name: String,
    /// `forward`, for what comes from other machines, or `output`, for this machine's own programs.
    pub hook: &'static str,
    /// What it does not decide on is dropped; else it is accepted.
    pub drops: bool,
    /// It has no rule: nothing is accepted.
    pub all: bool,
}

/// Who can reach one published range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// How far the address is known.
    pub who: Who,
    /// Who else decides.
    pub chains: Vec<Chain>,
    /// The older iptables has a table `filter` too, which is not read.
    pub legacy: bool,
    /// What is wrong with our own rules.
    pub broken: Option<String>,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.broken {
            return write!(f, "nobody may be: {why}; system check --repair writes the rules anew");
        }
        let of = |hook| self.chains.iter().filter(move |chain| chain.hook == hook);
        let far = !matches!(self.who, Who::Machine);
        // A chain that accepts nothing is as good as no address.
        let closed = |hook| of(hook).find(|chain| chain.drops && chain.all);
        match (&self.who, closed("forward")) {
            (Who::Machine, _) => f.write_str("this machine alone")?,
            (_, Some(chain)) => write!(f, "this machine alone: {chain} drops all that is forwarded")?,
            (Who::Networks(networks), _) if networks.is_empty() => f.write_str("this machine")?,
            (Who::Networks(networks), _) => {
                write!(f, "this machine and its private networks ({})", networks.join(", "))?;
            }
            (Who::Everybody, _) => f.write_str("everybody with a way to this machine")?,
        }
        if far && closed("forward").is_none() {
            let named = |drops| {
                let some = of("forward").filter(|chain| chain.drops == drops);
                some.map(ToString::to_string).collect::<Vec<_>>().join(" and ")
            };
            let (drops, may) = (named(true), named(false));
            if !drops.is_empty() {
                write!(f, ", as far as {drops} accepts it, which drops the rest")?;
            }
            if !may.is_empty() {
                write!(f, ", unless {may} rejects it, whose rules are not read")?;
            }
            if self.legacy {
                f.write_str(", as far as iptables-legacy accepts it, whose rules are not read")?;
            }
        }
        for chain in of("output") {
            let what = if chain.all { "drops all that" } else { "drops what it does not accept of what" };
            write!(f, "; {chain} {what} this machine's programs send")?;
        }
        Ok(())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain {} of table {}", self.name, self.table)
    }
}

/// What is known of each range, in their order.
///
/// # Errors
/// The kernel does not tell.
pub fn reach(settings: &Settings, published: &[Published]) -> Result<Vec<Reach>, Failure> {
    if published.is_empty() {
        return Ok(Vec::new());
    }
    let table = Table::of(&settings.run_dir);
    let broken = table.differs()?;
    let chains = match Netfilter::open() {
        Ok(netfilter) => netfilter.base_chains().map_err(|refusal| failed(STEP, "chains", refusal))?,
        Err(_) => Vec::new(),
    };
    let legacy =
        |path| fs::read_to_string(path).is_ok_and(|names| names.lines().any(|name| name == "filter"));
    let legacy = LEGACY.map(legacy);
    let all = addresses(&table)?;
    let of = |one: &Published| {
        let four = one.address.is_ipv4();
        let others = chains.iter().filter_map(|chain| other(chain.clone(), four, &table.name)).collect();
        let legacy = legacy[usize::from(!four)];
        Reach { who: who(one.address, &all), chains: others, legacy, broken: broken.clone() }
    };
    Ok(published.iter().map(of).collect())
}

/// An address of this host, and the network behind its link in words.
type Known = (IpAddr, String);

/// Those that others may know: not loopback's, and not those of our bridges.
fn addresses(table: &Table) -> Result<Vec<Known>, Failure> {
    let socket = netlink::open().map_err(|cause| Failure::new(STEP, "the route socket", cause))?;
    let route = Route::new(&socket);
    let bridges =
        table.bridges(None).map_err(|error| Failure::because(STEP, "bridges", error.to_string()))?;
    let is_ours =
        |link| route.name(link).is_some_and(|name| bridges.iter().any(|bridge| bridge.name == name));
    let four = facts::addresses(route, None)?.into_iter();
    let four = four.map(|one| (one.link, IpAddr::V4(one.address), one.network.to_string()));
    let six = facts::addresses6(route)?
        .into_iter()
        .map(|(link, address, prefix)| (link, IpAddr::V6(address), Subnet6::of(address, prefix).to_string()));
    let others = four.chain(six).filter(|(link, address, _)| !address.is_loopback() && !is_ours(*link));
    Ok(others.map(|(_, address, network)| (address, network)).collect())
}

/// A chain on the way of a published port that drops by its policy, or has rules for what is forwarded, and is not ours.
fn other(chain: BaseChain, four: bool, own: &str) -> Option<Chain> {
    let hook = match chain.hook {
        FORWARD => "forward",
        OUTPUT => "output",
        _ => return None,
    };
    let is_ours = chain.family == "inet" && chain.table == own;
    let decides = chain.drops || hook == "forward" && chain.rules > 0;
    let family = chain.family == "inet" || chain.family == if four { "ip" } else { "ip6" };
    let fits = family && chain.kind == "filter" && decides && !is_ours;
    let table = format!("{} {}", chain.family, chain.table);
    fits.then_some(Chain { table, name: chain.name, hook, drops: chain.drops, all: chain.rules == 0 })
}

/// Who knows the way to an address of this host, which has these.
fn who(address: IpAddr, all: &[Known]) -> Who {
    if address.is_loopback() {
        return Who::Machine;
    }
    let meant =
        |one: &&Known| one.0.is_ipv4() == address.is_ipv4() && (address.is_unspecified() || one.0 == address);
    let meant: Vec<&Known> = all.iter().filter(meant).collect();
    if meant.iter().any(|(address, _)| is_public(*address)) {
        return Who::Everybody;
    }
    let mut networks: Vec<String> = meant.iter().map(|(_, network)| network.clone()).collect();
    networks.sort();
    networks.dedup();
    Who::Networks(networks)
}

/// Not of those that nobody routes in the Internet: RFC 1918, 6598, 3927, 5737; of IPv6 what is allotted, 2000::/3, but for
/// documentation (RFC 3849).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            !(address.is_private() || address.is_link_local() || address.is_documentation() || shared)
        }
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0xdb8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::Subnet;

    fn chain(hook: u32, rules: u32) -> BaseChain {
        BaseChain {
            family: "ip",
            table: "filter".to_owned(),
            name: "FORWARD".to_owned(),
            hook,
            kind: "filter".to_owned(),
            drops: true,
            rules,
        }
    }

    #[test]
    fn addresses_tell_how_far_a_port_is_known() {
        let all = |list: &[&str]| -> Vec<Known> {
            let network = |address: &str| match address.parse().unwrap() {
                IpAddr::V4(address) => Subnet::of(address, 24).to_string(),
                IpAddr::V6(address) => Subnet6::of(address, 64).to_string(),
            };
            list.iter().map(|one| (one.parse().unwrap(), network(one))).collect()
        };
        let of = |address: &str, list: &[&str]| who(address.parse().unwrap(), &all(list));
        assert_eq!(of("127.0.0.1", &["203.0.113.1"]), Who::Machine);
        let home = ["192.168.1.5", "10.9.9.9"];
        assert_eq!(of("0.0.0.0", &home), Who::Networks(vec!["10.9.9.0/24".into(), "192.168.1.0/24".into()]));
        assert_eq!(of("192.168.1.5", &home), Who::Networks(vec!["192.168.1.0/24".into()]));
        assert_eq!(of("0.0.0.0", &["192.168.1.5", "8.8.4.4"]), Who::Everybody);
        assert_eq!(
            of("192.168.1.5", &["192.168.1.5", "8.8.4.4"]),
            Who::Networks(vec!["192.168.1.0/24".into()])
        );
        assert_eq!(of("0.0.0.0", &[]), Who::Networks(Vec::new()));
        // Each family has addresses of its own.
        let both = ["8.8.4.4", "fd00::5"];
        assert_eq!(of("::", &both), Who::Networks(vec!["fd00::/64".into()]));
        assert_eq!(of("::1", &both), Who::Machine);
        for (address, public) in [
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("fe80::1", false),
            ("2001:db8::1", false),
            ("2606:4700::1", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn only_chains_of_others_that_drop_on_the_way_count() {
        assert_eq!(
            other(chain(FORWARD, 3), true, "minidocker").map(|one| (one.hook, one.all)),
            Some(("forward", false))
        );
        assert_eq!(
            other(chain(OUTPUT, 0), true, "minidocker").map(|one| (one.hook, one.all)),
            Some(("output", true))
        );
        // Of the other family: not for this port.
        assert_eq!(other(chain(FORWARD, 0), false, "minidocker"), None);
        // Input has no part in it; nor one that accepts, one that translates, our own.
        assert_eq!(other(chain(1, 0), true, "minidocker"), None);
        assert_eq!(other(BaseChain { drops: false, ..chain(FORWARD, 0) }, true, "minidocker"), None);
        assert_eq!(other(BaseChain { drops: false, ..chain(OUTPUT, 2) }, true, "minidocker"), None);
        // It may reject by a rule.
        let may = other(BaseChain { drops: false, ..chain(FORWARD, 2) }, true, "minidocker").unwrap();
        assert!(!may.drops && !may.all);
        assert_eq!(
            other(BaseChain { kind: "nat".to_owned(), ..chain(FORWARD, 0) }, true, "minidocker"),
            None
        );
        let own = BaseChain { family: "inet", table: "minidocker".to_owned(), ..chain(FORWARD, 0) };
        assert_eq!(other(own, true, "minidocker"), None);
    }

    #[test]
    fn what_is_known_is_said_in_words() {
        let words = |who: Who, chains: &[BaseChain], legacy| {
            let chains = chains.iter().filter_map(|one| other(one.clone(), true, "minidocker")).collect();
            Reach { who, chains, legacy, broken: None }.to_string()
        };
        let network = || Who::Networks(vec!["192.168.1.0/24".to_owned()]);
        let may = BaseChain { drops: false, ..chain(FORWARD, 2) };
        let told = words(Who::Everybody, &[may], false);
        assert!(
            told.ends_with(", unless chain FORWARD of table ip filter rejects it, whose rules are not read")
        );
        assert_eq!(words(Who::Machine, &[chain(FORWARD, 0)], true), "this machine alone");
        assert_eq!(words(network(), &[], false), "this machine and its private networks (192.168.1.0/24)");
        assert_eq!(
            words(network(), &[chain(FORWARD, 0)], false),
            "this machine alone: chain FORWARD of table ip filter drops all that is forwarded"
        );
        assert_eq!(
            words(Who::Everybody, &[chain(FORWARD, 2)], true),
            "everybody with a way to this machine, as far as chain FORWARD of table ip filter accepts it, which drops \
             the rest, as far as iptables-legacy accepts it, whose rules are not read"
        );
        assert!(
            words(Who::Machine, &[chain(OUTPUT, 1)], false)
                .contains("; chain FORWARD of table ip filter drops what")
        );
    }
}
