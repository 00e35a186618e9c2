//! Messages of the domain name system (RFC 1035, section 4; RFC 6891), as far as a server that knows a few names and
//! hands on the rest has to understand them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The length of a header.
const HEADER: usize = 12;
/// The longest name: RFC 1035, section 2.3.4.
const LONGEST_NAME: usize = 255;
/// So much of a datagram everybody takes who says nothing else.
const PLAIN: u16 = 512;
/// So much of a datagram we say that we take: what passes every link unbroken.
const OURS: u16 = 1232;
/// The longest question that is read. Real ones have some hundred bytes.
pub const MOST_ASKED: usize = 4096;

/// Bits of the second word.
const ANSWER: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const CHECKING_DISABLED: u16 = 0x0010;
const OPCODE: u16 = 0x7800;
const RCODE: u16 = 0x000f;

/// The class Internet.
const INTERNET: u16 = 1;
/// The pseudo record of RFC 6891.
const OPT: u16 = 41;

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rcode(pub u16);

impl Rcode {
    /// Well.
    pub const OK: Self = Self(0);
    /// The question cannot be read.
    pub const MALFORMED: Self = Self(1);
    /// Whoever was asked could not find out.
    pub const FAILED: Self = Self(2);
    /// There is no such name.
    pub const NO_NAME: Self = Self(3);
    /// Nobody here does that.
    pub const UNKNOWN: Self = Self(4);
    /// It is not done for this one.
    pub const REFUSED: Self = Self(5);
    /// A version of EDNS that nobody here knows.
    pub const BAD_VERSION: Self = Self(16);

    /// A server that answers so may do its work for others, and another may do it for us: the next one is asked.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::FAILED | Self::UNKNOWN | Self::REFUSED)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(pub u16);

impl Kind {
    /// IPv4 addresses.
    pub const A: Self = Self(1);
    /// The name of an address.
    pub const PTR: Self = Self(12);
    /// IPv6 addresses.
    pub const AAAA: Self = Self(28);
    /// Everything.
    pub const ANY: Self = Self(255);

    /// IXFR and AXFR: a zone as a whole, in many messages.
    pub fn is_transfer(self) -> bool {
        matches!(self.0, 251 | 252)
    }
}

/// A question, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The asker's number for it.
    pub id: u16,
    /// The name in lower case with dots between the labels; none where it has bytes that no host's name has.
    pub name: Option<String>,
    /// What is asked for.
    pub kind: Kind,
    /// Whether it is of the class Internet.
    pub internet: bool,
    /// How large a datagram the asker takes.
    pub room: usize,
    /// Its flags that the answer has too.
    flags: u16,
    /// Where the question ends in the message.
    end: usize,
    /// The version of EDNS that it speaks.
    edns: Option<u8>,
}

impl Query {
    /// A version of EDNS that came after this was written.
    pub fn is_of_the_future(&self) -> bool {
        self.edns.is_some_and(|version| version > 0)
    }

    /// The question's own bytes in the message that it was read from.
    pub fn question<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        message.get(HEADER..self.end).unwrap_or_default()
    }
}

/// Bytes that are no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Not worth an answer: too short for one, or an answer itself.
    Silent,
    /// Its asker is told.
    Told(Rcode),
}

/// What was asked, or why nothing was.
pub type Asked = Result<Query, Broken>;

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address, of either kind.
    Address(IpAddr),
    /// The name of an address.
    Name(String),
}

impl Query {
    /// Reads a message.
    pub fn read(message: &[u8]) -> Asked {
        let word = |at| word(message, at).ok_or(Broken::Silent);
        let (id, flags) = (word(0)?, word(2)?);
        let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
        if flags & ANSWER != 0 {
            return Err(Broken::Silent);
        }
        if flags & OPCODE != 0 {
            return Err(Broken::Told(Rcode::UNKNOWN));
        }
        let malformed = Broken::Told(Rcode::MALFORMED);
        if counts[..3] != [1, 0, 0] || message.len() > MOST_ASKED {
            return Err(malformed);
        }
        let (name, end) = read_name(message).ok_or(malformed)?;
        let fixed = message.get(end..end + 4).ok_or(malformed)?;
        let (kind, class) = (Kind(pair(fixed, 0)), pair(fixed, 2));
        let end = end + 4;
        let edns = find_edns(message, end, counts[3]).map_err(|()| malformed)?;
        let room = edns.map_or(PLAIN, |(room, _)| room.max(PLAIN));
        Ok(Self {
            id,
            name,
            kind,
            internet: class == INTERNET,
            room: room.into(),
            flags: flags & (RECURSION_DESIRED | CHECKING_DISABLED),
            end,
            edns: edns.map(|(_, version)| version),
        })
    }
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

/// Two bytes that are known to be there.
fn pair(bytes: &[u8], at: usize) -> u16 {
    word(bytes, at).unwrap_or_default()
}

/// The name after the header, and where it ends. A question has nothing before its name that a pointer could lead to.
fn read_name(message: &[u8]) -> Option<(Option<String>, usize)> {
    let mut text = Some(String::new());
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 || at + length + 1 - HEADER > LONGEST_NAME {
            return None;
        }
        let label = message.get(at..at + length)?;
        at += length;
        let plain = label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.' && *byte != b'\\');
        text = text.filter(|_| plain).map(|mut text| {
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            text
        });
    }
    Some((text, at))
}

/// Size and version of the pseudo record among the `count` records that begin at `at`.
fn find_edns(message: &[u8], at: usize, count: u16) -> Result<Option<(u16, u8)>, ()> {
    let mut found = Vec::new();
    let see = |name: usize, fixed: &[u8]| {
        if message.get(name) == Some(&0) && pair(fixed, 0) == OPT {
            found.push((pair(fixed, 2), fixed[5]));
        }
    };
    walk(message, at, count.into(), see).ok_or(())?;
    // RFC 6891, section 6.1.1: at most one.
    if found.len() > 1 { Err(()) } else { Ok(found.pop()) }
}

/// Goes over `count` records that begin at `at`: `see` gets where each begins, and the ten bytes behind its name. None
/// where the message ends before they do. Names are stepped over; where they point is nobody's concern.
fn walk(message: &[u8], mut at: usize, count: u32, mut see: impl FnMut(usize, &[u8])) -> Option<()> {
    for _ in 0..count {
        let name = at;
        loop {
            match *message.get(at)? {
                0 => {
                    at += 1;
                    break;
                }
                length @ 1..=63 => at += 1 + usize::from(length),
                0xc0.. => {
                    at += 2;
                    break;
                }
                _ => return None,
            }
        }
        let fixed = message.get(at..at + 10)?;
        at += 10 + usize::from(pair(fixed, 8));
        if at > message.len() {
            return None;
        }
        see(name, fixed);
    }
    Some(())
}

/// The answer to a message that cannot be read: its number, and that.
pub(crate) fn complaint(message: &[u8], code: Rcode) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..2].copy_from_slice(&message[..2]);
    let kept = pair(message, 2) & (OPCODE | RECURSION_DESIRED);
    bytes[2..4].copy_from_slice(&(ANSWER | kept | code.0 & RCODE).to_be_bytes());
    bytes
}

/// The answer to `query`, which was read from `message`. What has no room is left out, and that it is so is said; those that
/// came first are in.
pub fn answer(
    message: &[u8],
    query: &Query,
    code: Rcode,
    records: &[Record],
    room: usize,
    ttl: u32,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + query.end + 16 * records.len() + 11);
    let mut flags = ANSWER | AUTHORITATIVE | RECURSION_AVAILABLE | query.flags | code.0 & RCODE;
    bytes.extend(query.id.to_be_bytes());
    bytes.extend(flags.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 0, 0, 0, u8::from(query.edns.is_some())]);
    bytes.extend(query.question(message));
    let end = room.saturating_sub(if query.edns.is_some() { 11 } else { 0 });
    let mut count: u16 = 0;
    for record in records {
        let before = bytes.len();
        // The name is the question's.
        bytes.extend([0xc0, HEADER as u8]);
        let (kind, data) = match record {
            Record::Address(IpAddr::V4(address)) => (Kind::A, address.octets().to_vec()),
            Record::Address(IpAddr::V6(address)) => (Kind::AAAA, address.octets().to_vec()),
            Record::Name(name) => (Kind::PTR, write_name(name)),
        };
        bytes.extend(kind.0.to_be_bytes());
        bytes.extend(INTERNET.to_be_bytes());
        bytes.extend(ttl.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
        if bytes.len() > end || count == u16::MAX {
            bytes.truncate(before);
            flags |= TRUNCATED;
            break;
        }
        count += 1;
    }
    bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
    if query.edns.is_some() {
        // Root, OPT, our room, the upper bits of the code, version 0, no flags, no options.
        bytes.extend([0, 0, OPT as u8]);
        bytes.extend(OURS.to_be_bytes());
        bytes.extend([(code.0 >> 4) as u8, 0, 0, 0, 0, 0]);
    }
    bytes
}

/// A name as bytes. Labels that are too long for one are cut: no container is called so.
fn write_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        if bytes.len() + label.len() + 2 > LONGEST_NAME {
            break;
        }
        bytes.push(label.len() as u8);
        bytes.extend(label);
    }
    bytes.push(0);
    bytes
}

/// The number of a message.
pub(crate) fn id(message: &[u8]) -> u16 {
    pair(message, 0)
}

/// Gives it another.
pub(crate) fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// Whether `answer` is one to `question`, the bytes after the header of a message with this number: RFC 5452, section 9.
/// Letters may come back in another case.
pub fn belongs(answer: &[u8], number: u16, question: &[u8]) -> bool {
    let end = HEADER + question.len();
    let Some(theirs) = answer.get(HEADER..end) else {
        // A server that cannot read a question may send its header alone.
        return answer.len() >= HEADER
            && id(answer) == number
            && is_answer(answer)
            && code(answer) != Rcode::OK
            && pair(answer, 4) == 0;
    };
    let same = pair(answer, 4) == 1 && theirs.eq_ignore_ascii_case(question);
    let is_bare = pair(answer, 4) == 0 && code(answer) != Rcode::OK;
    id(answer) == number && is_answer(answer) && (same && is_whole(answer, end) || is_bare)
}

/// Whether the records behind the question are all there, or the answer says itself that they are not.
fn is_whole(answer: &[u8], end: usize) -> bool {
    let count = [6, 8, 10].into_iter().map(|at| u32::from(pair(answer, at))).sum();
    pair(answer, 2) & TRUNCATED != 0 || walk(answer, end, count, |_, _| {}).is_some()
}

fn is_answer(message: &[u8]) -> bool {
    pair(message, 2) & ANSWER != 0
}

/// It is not ours to know.
pub(crate) fn no_authority(answer: &mut [u8]) {
    let flags = pair(answer, 2) & !AUTHORITATIVE;
    if let Some(place) = answer.get_mut(2..4) {
        place.copy_from_slice(&flags.to_be_bytes());
    }
}

/// What an answer says of itself, without the upper bits.
pub(crate) fn code(answer: &[u8]) -> Rcode {
    Rcode(pair(answer, 2) & RCODE)
}

/// Of an answer that has no room: its header, the question, and that there is more.
pub(crate) fn shorten(answer: &mut Vec<u8>, question: &[u8]) {
    let flags = pair(answer, 2) | TRUNCATED;
    answer.truncate(HEADER);
    answer[2..4].copy_from_slice(&flags.to_be_bytes());
    answer[4..].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    answer.extend(question);
}

/// The address that a name of `in-addr.arpa` or `ip6.arpa` stands for.
pub fn reverse_of(name: &str) -> Option<IpAddr> {
    if let Some(rest) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut labels = rest.split('.');
        for octet in octets.iter_mut().rev() {
            let label = labels.next().filter(|label| label.len() == 1 || !label.starts_with(['0', '+']))?;
            *octet = label.parse().ok()?;
        }
        return labels.next().is_none().then(|| Ipv4Addr::from(octets).into());
    }
    let rest = name.strip_suffix(".ip6.arpa")?;
    let mut bits: u128 = 0;
    let mut count = 0;
    for label in rest.split('.') {
        let digit = label.chars().next().filter(|_| label.len() == 1)?.to_digit(16)?;
        bits = bits >> 4 | u128::from(digit) << 124;
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from_bits(bits).into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A question as programs send it, with EDNS if `room` is given.
    pub(crate) fn question(id: u16, name: &str, kind: Kind, room: Option<u16>) -> Vec<u8> {
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(room.is_some())]);
        bytes.extend(write_name(name));
        bytes.extend(kind.0.to_be_bytes());
        bytes.extend([0, 1]);
        if let Some(room) = room {
            bytes.extend([0, 0, 41]);
            bytes.extend(room.to_be_bytes());
            bytes.extend([0; 6]);
        }
        bytes
    }

    #[test]
    fn reads_questions() {
        let query = Query::read(&question(7, "Web.Example", Kind::A, None)).unwrap();
        assert_eq!((query.id, query.name.as_deref(), query.kind), (7, Some("web.example"), Kind::A));
        assert_eq!((query.room, query.internet, query.is_of_the_future()), (512, true, false));
        let query = Query::read(&question(7, "web", Kind::AAAA, Some(4096))).unwrap();
        assert_eq!((query.room, query.is_of_the_future()), (4096, false));
        assert_eq!(Query::read(&question(7, "", Kind::A, Some(4))).unwrap().room, 512);
        // A byte that no name of a host has is nobody's, but may be known beyond.
        let mut odd = question(7, "web", Kind::A, None);
        odd[13] = 0xe4;
        assert_eq!(Query::read(&odd).unwrap().name, None);
    }

    #[test]
    fn refuses_what_is_no_question() {
        let good = question(7, "web", Kind::A, Some(1232));
        for end in 0..12 {
            assert_eq!(Query::read(&good[..end]), Err(Broken::Silent), "{end} bytes");
        }
        for end in 12..good.len() {
            assert_eq!(Query::read(&good[..end]), Err(Broken::Told(Rcode::MALFORMED)), "{end} bytes");
        }
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Query::read(&bytes)
        };
        assert_eq!(with(2, 0x81), Err(Broken::Silent), "an answer");
        assert_eq!(with(2, 0x28), Err(Broken::Told(Rcode::UNKNOWN)), "an update");
        // Counts; a pointer to itself; a label of an unknown kind.
        for (at, value) in [(5, 0), (5, 2), (7, 1), (9, 1), (12, 0xc0), (12, 0x40)] {
            assert_eq!(with(at, value), Err(Broken::Told(Rcode::MALFORMED)), "{value} at {at}");
        }
        let long = vec![b'a'; 62];
        let mut bytes = good[..12].to_vec();
        for _ in 0..5 {
            bytes.push(62);
            bytes.extend(&long);
        }
        bytes.extend([0, 0, 1, 0, 1]);
        bytes[11] = 0;
        assert_eq!(Query::read(&bytes), Err(Broken::Told(Rcode::MALFORMED)), "a name of 316 bytes");
        bytes = good.clone();
        bytes[11] = 2;
        bytes.extend_from_within(good.len() - 11..);
        assert_eq!(Query::read(&bytes), Err(Broken::Told(Rcode::MALFORMED)), "two pseudo records");
        assert!(Query::read(&vec![0; MOST_ASKED + 1]).is_err());
    }

    #[test]
    fn answers_say_what_has_no_room() {
        let asked = question(9, "web", Kind::A, None);
        let query = Query::read(&asked).unwrap();
        let address = |n: u32| Record::Address(Ipv4Addr::from_bits(0x0a00_0000 + n).into());
        let all: Vec<Record> = (0..100).map(address).collect();
        let bytes = answer(&asked, &query, Rcode::OK, &all, query.room, 5);
        assert!(bytes.len() <= 512 && pair(&bytes, 2) & TRUNCATED != 0);
        assert_eq!(usize::from(pair(&bytes, 6)), (512 - asked.len()) / 16);
        let bytes = answer(&asked, &query, Rcode::OK, &all, 65535, 5);
        assert_eq!((pair(&bytes, 6), pair(&bytes, 2)), (100, 0x8580));
        assert!(belongs(&bytes, 9, query.question(&asked)));
        assert_eq!(&bytes[asked.len()..][..16], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 0]);
        let asked = question(9, "web", Kind::A, Some(1232));
        let query = Query::read(&asked).unwrap();
        let bytes = answer(&asked, &query, Rcode::BAD_VERSION, &[], query.room, 5);
        assert_eq!(&bytes[bytes.len() - 11..], [0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_answer_belongs_to_one_question() {
        let asked = question(300, "web.example", Kind::A, None);
        let query = Query::read(&asked).unwrap();
        let good = answer(&asked, &query, Rcode::NO_NAME, &[], 512, 0);
        let ours = query.question(&asked);
        assert!(belongs(&good, 300, ours) && belongs(&good.to_ascii_uppercase(), 300, ours));
        assert!(!belongs(&good, 301, ours), "another number");
        assert!(!belongs(&asked, 300, ours), "no answer");
        let other = question(300, "web.exampla", Kind::A, None);
        assert!(!belongs(&good, 300, Query::read(&other).unwrap().question(&other)), "another name");
        let other = question(300, "web.example", Kind::AAAA, None);
        assert!(!belongs(&good, 300, Query::read(&other).unwrap().question(&other)), "another kind");
        for end in 0..good.len() {
            assert!(!belongs(&good[..end], 300, ours), "{end} bytes of it");
        }
        // A header alone says that it failed, and nothing else.
        let bare = complaint(&asked, Rcode::MALFORMED);
        assert!(belongs(&bare, 300, ours));
        assert!(!belongs(&complaint(&asked, Rcode::OK), 300, ours));
        let mut short = good.clone();
        shorten(&mut short, ours);
        assert!(belongs(&short, 300, ours) && pair(&short, 2) & TRUNCATED != 0);
    }

    #[test]
    fn names_of_addresses() {
        let at = |name: &str| reverse_of(name).map(|address| address.to_string());
        assert_eq!(at("4.3.2.10.in-addr.arpa").as_deref(), Some("10.2.3.4"));
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(at(six).as_deref(), Some("fd00::1"));
        for bad in [
            "3.2.10.in-addr.arpa",
            "5.4.3.2.10.in-addr.arpa",
            "256.3.2.10.in-addr.arpa",
            "04.3.2.10.in-addr.arpa",
            "+4.3.2.10.in-addr.arpa",
            "in-addr.arpa",
            "x.ip6.arpa",
            &six[2..],
            &format!("0.{six}"),
            "web",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
