//! The network of a container: a bridge, a pair of virtual Ethernet links, an address of its own. Addresses are
//! reserved in files before anything is made; the links are made by route netlink(7), no program is started.
//!
//! The way through this room:
//!
//! 1. [`reserve`] decides on network and address and writes the reservation: the first moment at which two
//!    containers could collide, and the last, for symlink(2) admits one;
//! 2. [`plan`] lists the steps: the bridge (monitor), the pair (monitor, once the container's namespace is there),
//!    address and route (init, inside of its namespace), and last the bridge's port made ready (monitor);
//! 3. [`unpublish`] takes the ports away, and [`release`] gives the address back. The links go with the container's network namespace by themselves, as a
//!    rule: deleting one by hand costs 22 ms, and [`unplug`] does it only where a connection keeps the namespace.
//!
//! Between the first and the second, ports of the host are chosen and reserved, and rules let what comes for them
//! go to the container: one table of nf_tables for each engine, which follows the files and can be put back at any time.
//!
//! Whether a container lives is never read off a file here: the caller is asked.

#![forbid(unsafe_code)]

mod attachment;
mod connect;
mod conntrack;
mod design;
mod devices;
mod error;
mod facts;
mod links;
mod listeners;
mod made;
mod members;
mod netlink;
mod network;
mod nft;
mod owner;
mod plan;
mod port_book;
mod ports;
mod publish;
mod rate;
mod reach;
mod records;
mod release;
mod reservation;
mod reserve;
mod rules;
mod settings;
mod shape;
mod share;
mod small;
mod subnet;
mod subnet6;
mod survey;
mod table;
mod take_down;
mod traffic;

pub use attachment::{Attachment, Manner, Place6, choose_way_out, host_link};
pub use connect::{connect, disconnect, mend, without};
pub use design::NewNetwork;
pub use devices::{Namespace, move_devices};
pub use error::Error;
pub use made::{choose_anew, clashes, create, find, is_built_in, list, remove_network};
pub use members::{Member, members, members_directory};
pub use network::{Driver, Network, Pool, Pool6};
pub use plan::{Plan, plan};
pub use ports::{Ports, Protocol, Publish, Published, Wanted};
pub use rate::{Rate, RateChange, Rates};
pub use reach::{Chain, Reach, Who, reach};
pub use release::{Leftover, leftovers, release, remove, remove_link, rename, unplug, unpublish};
pub use reserve::{may_have_ports, reserve, reserve_link};

pub use settings::{BridgeRequest, LinkRequest, Mode, Settings, Wanted6};
pub use shape::change_rates;
pub use share::{change_share, set_total, total};
pub use subnet::{IpRequest, ParseError, Subnet, mac_text, parse_mac};
pub use subnet6::Subnet6;
pub use survey::{Gateway, Link, Port, Resident, Rules, Space, Survey, survey};
pub use table::{repair_rules, rules_differ, table_name, unpublish_script};
pub use take_down::take_down;

/// The name of the namespace that the shell's version of the steps makes with `ip netns add`: the script has no
/// process id to name, and the container's own namespace is anonymous.
pub fn netns_name(id: &str) -> String {
    format!("md-{}", id.get(..12).unwrap_or(id))
}
