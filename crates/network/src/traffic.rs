//! Traffic control by route netlink: queueing disciplines, classes and filters, as tc(8) makes them.
//!
//! Formats: linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h. Rates are bytes a second, times are units of
//! 64 ns; numbers are in the host's order but for what u32 compares with.

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use rustix::io::Errno;
use step::Failure;

use crate::facts::failed;
use crate::netlink::{Refusal, Route, attributes, text};
use crate::rate::{Bucket, Rate};

/// TCA_KIND, TCA_OPTIONS, TCA_STATS2.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const STATS: u16 = 7;
/// TC_LINKLAYER_ETHERNET: the kernel computes times itself and needs no table of them.
const ETHERNET: u8 = 1;
/// NLA_F_NESTED.
const NESTED: u16 = 1 << 15;
/// struct tcmsg.
const HEADER: usize = 20;
/// TC_H_ROOT, and the place of filters of what comes in (TC_H_INGRESS is the same as TC_H_CLSACT).
const ROOT: u32 = 0xffff_ffff;
const INGRESS: u32 = 0xffff_fff1;
/// The handle of the discipline of what comes in.
const INGRESS_HANDLE: u32 = 0xffff_0000;
/// ETH_P_ALL.
const ALL: u16 = 0x0003;
/// Our own disciplines are 1:.
pub(crate) const HANDLE: u32 = 1 << 16;

/// What limits a link, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Discipline {
    pub(crate) link: u32,
    pub(crate) kind: String,
    pub(crate) parent: u32,
    pub(crate) rate: Option<Rate>,
    /// Packets that were dropped for want of room.
    pub(crate) dropped: u32,
}

/// A class of a hierarchical bucket, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    /// The lower half of its number.
    pub(crate) minor: u16,
    pub(crate) rate: Rate,
    pub(crate) ceiling: Rate,
}

/// Puts a bucket before what leaves by this link, in the place of any other.
pub(crate) fn set_bucket(route: Route<'_>, link: u32, bucket: Bucket) -> Result<(), Refusal> {
    let mut options = Options::default();
    let rate = bucket.rate.bytes();
    // struct tc_tbf_qopt: the rate, no peak rate, the queue's length; the bucket's size is told in bytes behind it.
    let mut parameters = ratespec(rate);
    parameters.extend(ratespec(0));
    for number in [bucket.limit, 0, 0] {
        parameters.extend(number.to_ne_bytes());
    }
    options.add(1, &parameters);
    options.add(4, &rate.to_ne_bytes());
    options.add(6, &bucket.burst.to_ne_bytes());
    let message = message(link, HANDLE, ROOT, "tbf", options);
    route.request(Message::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Takes away what limits a link; what has none is content.
pub(crate) fn clear(route: Route<'_>, link: u32) -> Result<(), Refusal> {
    absent(route.request(Message::DelQueueDiscipline(bare(link, 0, ROOT)), 0))
}

/// The hierarchical bucket of a link: `total` for all its classes, of which `rest` gets what belongs to no other.
pub(crate) fn set_hierarchy(route: Route<'_>, link: u32, total: Rate, rest: u16) -> Result<(), Refusal> {
    let mut options = Options::default();
    // struct tc_htb_glob: version, rate to quantum, the class of the rest.
    let glob: Vec<u8> = [3, 10, u32::from(rest), 0, 0].iter().flat_map(|n: &u32| n.to_ne_bytes()).collect();
    options.add(2, &glob);
    let made = route.request(
        Message::NewQueueDiscipline(message(link, HANDLE, ROOT, "htb", options)),
        NLM_F_CREATE | NLM_F_EXCL,
    );
    match made {
        Ok(()) | Err(Refusal { errno: Errno::EXIST, .. }) => set_class(route, link, (0, TOP), total, total),
        Err(refusal) => Err(refusal),
    }
}

/// The class of all classes; no container's address ends so.
pub(crate) const TOP: u16 = 0xffff;

/// A class below another one: `rate` is its own, up to `ceiling` it borrows what others leave.
pub(crate) fn set_class(
    route: Route<'_>,
    link: u32,
    (parent, minor): (u16, u16),
    rate: Rate,
    ceiling: Rate,
) -> Result<(), Refusal> {
    let mut options = Options::default();
    let ticks = |rate: Rate| {
        let burst = u64::from(Bucket::into(rate, None).burst);
        // Nanoseconds of the burst at this rate, in units of 64 ns.
        u32::try_from(burst.saturating_mul(1_000_000_000) / rate.bytes().max(1) / 64).unwrap_or(u32::MAX)
    };
    // struct tc_htb_opt: rate, ceiling, their buckets, how much in turn, level, priority.
    let mut parameters = ratespec(rate.bytes());
    parameters.extend(ratespec(ceiling.bytes()));
    let quantum = (rate.bytes() / 100).clamp(1514, 60_000) as u32;
    for number in [ticks(rate), ticks(ceiling), quantum, 0, 0] {
        parameters.extend(number.to_ne_bytes());
    }
    options.add(1, &parameters);
    options.add(6, &rate.bytes().to_ne_bytes());
    options.add(7, &ceiling.bytes().to_ne_bytes());
    let message = message(link, HANDLE | u32::from(minor), HANDLE | u32::from(parent), "htb", options);
    route.request(Message::NewTrafficClass(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Removes a class; one that is not there is removed already.
pub(crate) fn clear_class(route: Route<'_>, link: u32, minor: u16) -> Result<(), Refusal> {
    absent(route.request(Message::DelTrafficClass(bare(link, HANDLE | u32::from(minor), 0)), 0))
}

/// Which end of a frame tells whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Who gets it.
    To,
    /// Who sent it.
    From,
}

/// What has this hardware address belongs to the class; the filter has the class's number, as its priority.
pub(crate) fn set_owner(
    route: Route<'_>,
    link: u32,
    minor: u16,
    end: End,
    mac: [u8; 6],
) -> Result<(), Refusal> {
    // Offsets count from the network header, 14 bytes behind the frame's beginning; four bytes at a time.
    let [a, b, c, d, e, f] = mac;
    let keys = match end {
        End::To => [(-16, [0, 0, 255, 255], [0, 0, a, b]), (-12, [255; 4], [c, d, e, f])],
        End::From => [(-8, [255; 4], [a, b, c, d]), (-4, [255, 255, 0, 0], [e, f, 0, 0])],
    };
    let mut options = Options::default();
    options.add(1, &(HANDLE | u32::from(minor)).to_ne_bytes());
    options.add(5, &selector(&keys));
    let mut message = message(link, 0, HANDLE, "u32", options);
    message.header.info = u32::from(minor) << 16 | u32::from(ALL.to_be());
    absent(route.request(Message::DelTrafficFilter(filter(link, HANDLE, minor)), 0))?;
    route.request(Message::NewTrafficFilter(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Removes that filter; one that is not there is removed already.
pub(crate) fn clear_owner(route: Route<'_>, link: u32, minor: u16) -> Result<(), Refusal> {
    absent(route.request(Message::DelTrafficFilter(filter(link, HANDLE, minor)), 0))
}

/// Makes an intermediate device: what is led there is shaped as if it left by it, and goes on where it came from. Its
/// number, and whether it is new.
pub(crate) fn ensure_intermediate(route: Route<'_>, name: &str) -> Result<(u32, bool), Refusal> {
    if let Ok(index) = route.index(name) {
        return Ok((index, false));
    }
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::NumTxQueues(1),
        // A class keeps as many packets as its link; an ifb says 32.
        LinkAttribute::TxQueueLen(1000),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]),
    ];
    match route.request(Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) | Err(Refusal { errno: Errno::EXIST, .. }) => Ok((route.index(name)?, true)),
        Err(refusal) => Err(refusal),
    }
}

/// Whether something leads away what comes in by `link`.
pub(crate) fn is_redirected(route: Route<'_>, link: u32) -> Result<bool, Refusal> {
    let filters = route.dump(Message::GetTrafficFilter(bare(link, 0, INGRESS_HANDLE)), |_| Some(()));
    match filters {
        Ok(filters) => Ok(!filters.is_empty()),
        Err(Refusal { errno: Errno::NOENT | Errno::INVAL, .. }) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

/// Leads all that comes in by `link` over `to`, in the place of whatever did before.
pub(crate) fn redirect(route: Route<'_>, link: u32, to: u32) -> Result<(), Refusal> {
    let discipline = message(link, INGRESS_HANDLE, INGRESS, "ingress", Options::default());
    match route.request(Message::NewQueueDiscipline(discipline), NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) => {}
        // It has been done.
        Err(Refusal { errno: Errno::EXIST, .. }) => {}
        Err(refusal) => return Err(refusal),
    }
    // struct tc_mirred: tc_gen with the action TC_ACT_STOLEN, then TCA_EGRESS_REDIR and the link.
    let mirred: Vec<u8> = [0, 0, 4, 0, 0, 1, to].iter().flat_map(|n: &u32| n.to_ne_bytes()).collect();
    let mut action = Options::default();
    action.add(1, b"mirred\0");
    action.nest(2, |inner| inner.add(2, &mirred));
    let mut options = Options::default();
    options.add(5, &selector(&[(0, [0; 4], [0; 4])]));
    options.nest(7, |list| list.nest(1, |one| one.0.extend(&action.0)));
    let mut message = message(link, 0, INGRESS_HANDLE, "u32", options);
    message.header.info = 1 << 16 | u32::from(ALL.to_be());
    absent(route.request(Message::DelTrafficFilter(filter(link, INGRESS_HANDLE, 1)), 0))?;
    route.request(Message::NewTrafficFilter(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Ends that.
pub(crate) fn clear_redirect(route: Route<'_>, link: u32) -> Result<(), Refusal> {
    absent(route.request(Message::DelQueueDiscipline(bare(link, INGRESS_HANDLE, INGRESS)), 0))
}

/// What limits the links of this namespace.
pub(crate) fn disciplines(route: Route<'_>) -> Result<Vec<Discipline>, Refusal> {
    route.dump(Message::GetQueueDiscipline(TcMessage::default()), read_discipline)
}

/// The classes of a link's hierarchical bucket.
pub(crate) fn classes(route: Route<'_>, link: u32) -> Result<Vec<Class>, Refusal> {
    route.dump(Message::GetTrafficClass(bare(link, 0, 0)), read_class)
}

fn read_discipline(entry: &[u8]) -> Option<Discipline> {
    let number = |at: usize| Some(u32::from_ne_bytes(entry.get(at..at + 4)?.try_into().ok()?));
    let mut found =
        Discipline { link: number(4)?, kind: String::new(), parent: number(12)?, rate: None, dropped: 0 };
    for (kind, value) in attributes(entry.get(HEADER..)?) {
        match kind & !NESTED {
            KIND => found.kind = text(value)?,
            OPTIONS if found.kind == "tbf" => found.rate = read_rate(value, 0, 4),
            // TCA_STATS_QUEUE, struct gnet_stats_queue: length, backlog, drops.
            STATS => {
                let queue = attributes(value).find(|(kind, _)| *kind == 3).map(|(_, value)| value);
                let drops = queue.and_then(|queue| queue.get(8..12)).and_then(|bytes| bytes.try_into().ok());
                found.dropped = drops.map_or(0, u32::from_ne_bytes);
            }
            _ => {}
        }
    }
    Some(found)
}

fn read_class(entry: &[u8]) -> Option<Class> {
    let handle = u32::from_ne_bytes(entry.get(8..12)?.try_into().ok()?);
    let (_, options) = attributes(entry.get(HEADER..)?).find(|(kind, _)| *kind & !NESTED == OPTIONS)?;
    let minor = handle as u16;
    Some(Class { minor, rate: read_rate(options, 0, 6)?, ceiling: read_rate(options, 12, 7)? })
}

/// A rate of parameters in attribute 1, where its `struct tc_ratespec` begins at `at`; one of more than 32 bits stands
/// in an attribute of its own.
fn read_rate(options: &[u8], at: usize, large: u16) -> Option<Rate> {
    let value = |wanted| attributes(options).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let large = value(large).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes);
    let small = value(1)?.get(at + 8..at + 12)?.try_into().ok().map(u32::from_ne_bytes)?;
    Some(Rate::of_bytes(large.unwrap_or(u64::from(small))))
}

/// The words for a host without what is needed.
pub(crate) fn explain(step: &'static str, target: String, refusal: Refusal, modules: &str) -> Failure {
    if !matches!(refusal.errno, Errno::NOENT | Errno::OPNOTSUPP | Errno::AFNOSUPPORT) {
        return failed(step, target, refusal);
    }
    let option = if modules == TBF { "--network-rate" } else { "--network-share" };
    Failure::because(step, target, "this kernel cannot shape traffic")
        .hint(format!("load the modules (modprobe -a {modules}), or leave {option} off"))
}

/// The modules of rates.
pub(crate) const TBF: &str = "sch_tbf";
/// The modules of shares.
pub(crate) const HTB: &str = "sch_htb sch_ingress cls_u32 act_mirred ifb";

/// Nothing to remove is as good as removed.
fn absent(result: Result<(), Refusal>) -> Result<(), Refusal> {
    match result {
        Err(Refusal { errno: Errno::NOENT | Errno::INVAL | Errno::NODEV, .. }) => Ok(()),
        result => result,
    }
}

/// struct tc_ratespec; a rate of more than 32 bits is told in an attribute of its own beside it.
fn ratespec(bytes: u64) -> Vec<u8> {
    let mut spec = vec![0, if bytes == 0 { 0 } else { ETHERNET }, 0, 0, 0, 0, 0, 0];
    spec.extend(u32::try_from(bytes).unwrap_or(u32::MAX).to_ne_bytes());
    spec
}

/// struct tc_u32_sel with its keys: offset, mask, value.
fn selector(keys: &[(i32, [u8; 4], [u8; 4])]) -> Vec<u8> {
    /// TC_U32_TERMINAL.
    const TERMINAL: u8 = 1;
    let mut bytes = vec![TERMINAL, 0, keys.len() as u8];
    bytes.resize(16, 0);
    for (offset, mask, value) in keys {
        bytes.extend(mask);
        bytes.extend(value);
        bytes.extend(offset.to_ne_bytes());
        bytes.extend([0; 4]);
    }
    bytes
}

/// Attributes in the making.
#[derive(Debug, Default)]
struct Options(Vec<u8>);

impl Options {
    fn add(&mut self, kind: u16, value: &[u8]) {
        self.0.extend((4 + value.len() as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn nest(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        content(&mut inner);
        self.add(kind | NESTED, &inner.0);
    }
}

fn bare(link: u32, handle: u32, parent: u32) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = link.cast_signed();
    message.header.handle = TcHandle::from(handle);
    message.header.parent = TcHandle::from(parent);
    message
}

fn filter(link: u32, parent: u32, priority: u16) -> TcMessage {
    let mut message = bare(link, 0, parent);
    message.header.info = u32::from(priority) << 16 | u32::from(ALL.to_be());
    message
}

fn message(link: u32, handle: u32, parent: u32, kind: &str, options: Options) -> TcMessage {
    let mut message = bare(link, handle, parent);
    message.attributes = vec![TcAttribute::Kind(kind.to_owned())];
    if !options.0.is_empty() {
        message.attributes.push(TcAttribute::Other(DefaultNla::new(OPTIONS | NESTED, options.0)));
    }
    message
}
