//! A server without sockets: what it is told, what it wants done.

use super::*;
use crate::message::tests::question;
use crate::message::{answer, belongs};

/// The neighbours of these tests.
struct Known {
    upstreams: Option<Upstreams>,
}

impl Names for Known {
    fn find(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        match name {
            "web" => Some(vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()]),
            "old" => Some(vec!["10.0.0.3".parse().unwrap()]),
            "many" => Some((1..200).map(|n| IpAddr::from([10, 0, 1, n])).collect()),
            _ => None,
        }
    }

    fn at(&mut self, address: IpAddr) -> Neighbour {
        match address {
            IpAddr::V4(address) if address.octets() == [10, 0, 0, 2] => {
                Neighbour::Named("web.default".into())
            }
            IpAddr::V4(address) if address.octets()[0] == 10 => Neighbour::Nobody,
            _ => Neighbour::Elsewhere,
        }
    }

    fn upstreams(&mut self) -> Option<Upstreams> {
        self.upstreams.clone()
    }
}

struct Table {
    server: Server,
    known: Known,
    now: Instant,
    number: u16,
}

const ASKER: Client = Client::Datagram(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4000));

impl Table {
    /// With so many servers beyond.
    fn new(servers: u8) -> Self {
        let upstreams = Upstreams {
            servers: (1..=servers).map(server).collect(),
            timeout: Duration::from_secs(2),
            attempts: 2,
            rotate: false,
            streams: false,
        };
        let known = Known { upstreams: Some(upstreams) };
        Self { server: Server::default(), known, now: Instant::now(), number: 1000 }
    }

    fn ask_by(&mut self, client: Client, message: &[u8]) -> Vec<Act> {
        let mut acts = VecDeque::new();
        let number = &mut self.number;
        let mut number = || {
            *number += 1;
            *number
        };
        self.server.asked(client, message, self.now, &mut self.known, &mut number, &mut acts);
        acts.into()
    }

    fn ask(&mut self, message: &[u8]) -> Vec<Act> {
        self.ask_by(ASKER, message)
    }

    /// The one answer to a question.
    #[track_caller]
    fn reply(&mut self, message: &[u8]) -> Vec<u8> {
        reply(self.ask(message))
    }

    fn say(&mut self, key: u32, message: &[u8]) -> (bool, Vec<Act>) {
        let mut acts = VecDeque::new();
        let taken = self.server.answered(key, message, self.now, &mut || 7, &mut acts);
        (taken, acts.into())
    }

    fn pass(&mut self, seconds: u64) -> Vec<Act> {
        self.now += Duration::from_secs(seconds);
        let mut acts = VecDeque::new();
        self.server.tick(self.now, &mut || 8, &mut acts);
        acts.into()
    }
}

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 53))
}

#[track_caller]
fn reply(acts: Vec<Act>) -> Vec<u8> {
    let replies: Vec<_> = acts
        .into_iter()
        .filter_map(|act| match act {
            Act::Reply(_, message) => Some(message),
            Act::Done(_) => None,
            ask @ Act::Ask { .. } => panic!("{ask:?}"),
        })
        .collect();
    <[_; 1]>::try_from(replies).expect("one answer")[0].clone()
}

/// Key, server and message of the one question that is asked.
#[track_caller]
fn asked(acts: &[Act]) -> (u32, SocketAddr, bool, Vec<u8>) {
    match acts {
        [Act::Ask { key, server, stream, message }] => (*key, *server, *stream, message.clone()),
        other => panic!("{other:?}"),
    }
}

/// Code, and number of answers.
fn told(message: &[u8]) -> (u16, u16) {
    (u16::from(message[3] & 15), u16::from_be_bytes([message[6], message[7]]))
}

#[test]
fn a_containers_name_is_answered_here_whatever_is_asked_of_it() {
    let mut table = Table::new(1);
    for (name, kind, answers) in [
        ("web", Kind::A, 1),
        ("WEB", Kind::AAAA, 1),
        ("web", Kind::ANY, 2),
        ("web", Kind(15), 0),
        ("old", Kind::A, 1),
        // Of the other family it has none, but it is there.
        ("old", Kind::AAAA, 0),
        ("2.0.0.10.in-addr.arpa", Kind::PTR, 1),
        ("2.0.0.10.in-addr.arpa", Kind::A, 0),
    ] {
        assert_eq!(told(&table.reply(&question(1, name, kind, None))), (0, answers), "{name} {kind:?}");
    }
    assert_eq!(told(&table.reply(&question(1, "9.0.0.10.in-addr.arpa", Kind::PTR, None))), (3, 0));
    assert_eq!(table.server.waiting(), 0, "nothing of it is asked beyond");
}

#[test]
fn much_goes_by_stream_alone() {
    let mut table = Table::new(1);
    let truncated = |message: &[u8]| message[2] & 2 != 0;
    let plain = table.reply(&question(1, "many", Kind::A, None));
    assert!(truncated(&plain) && plain.len() <= 512);
    let large = table.reply(&question(1, "many", Kind::A, Some(4096)));
    assert!(!truncated(&large) && told(&large) == (0, 199));
    let stream = reply(table.ask_by(Client::Stream(3), &question(1, "many", Kind::A, None)));
    assert!(!truncated(&stream) && told(&stream) == (0, 199));
}

#[test]
fn anything_else_is_asked_beyond_with_another_number() {
    let mut table = Table::new(2);
    let message = question(500, "example.org", Kind::A, Some(1232));
    let (key, to, stream, sent) = asked(&table.ask(&message));
    assert_eq!((to, stream), (server(1), false));
    assert_eq!(
        (&sent[..2], &sent[2..]),
        (&1002_u16.to_be_bytes()[..], &message[2..]),
        "the rest is as it came"
    );
    let query = Query::read(&sent).unwrap();
    let records = [Record::Address("198.51.100.1".parse().unwrap())];
    let good = answer(&sent, &query, Rcode::OK, &records, 1232, 60);
    // Somebody guesses; somebody answers what was not asked.
    let mut forged = good.clone();
    forged[1] ^= 1;
    assert_eq!(table.say(key, &forged), (false, vec![]));
    forged = good.clone();
    forged[13] ^= 1;
    assert_eq!(table.say(key, &forged), (false, vec![]));
    assert_eq!(table.say(key + 1, &good), (false, vec![]));
    for end in 0..good.len() {
        assert_eq!(table.say(key, &good[..end]), (false, vec![]));
    }
    let (taken, acts) = table.say(key, &good);
    assert!(taken);
    assert_eq!(acts[0], Act::Done(key));
    let back = reply(acts);
    assert_eq!((&back[..2], &back[2..]), (&500_u16.to_be_bytes()[..], &good[2..]));
    assert_eq!(table.say(key, &good), (false, vec![]), "once");
    // By a stream it is asked by a stream.
    assert!(asked(&table.ask_by(Client::Stream(1), &message)).2);
}

#[test]
fn one_after_the_other_has_its_time() {
    let mut table = Table::new(2);
    let message = question(5, "example.org", Kind::A, None);
    let (key, first, ..) = asked(&table.ask(&message));
    assert_eq!(table.ask(&message), vec![], "asked once more it is not asked twice");
    assert_eq!(table.pass(1), vec![]);
    let (again, second, ..) = asked(&table.pass(1));
    assert_eq!((again, first, second), (key, server(1), server(2)));
    assert_eq!(asked(&table.pass(2)).1, server(1), "a second round");
    assert_eq!(asked(&table.pass(2)).1, server(2));
    let end = reply(table.pass(2));
    assert_eq!((told(&end), &end[..2]), ((2, 0), &[0, 5][..]));
    assert_eq!((table.server.waiting(), table.server.due()), (0, None));
    // Both did not answer: in their order again. Then the second answers and the first does not.
    let (key, first, ..) = asked(&table.ask(&message));
    assert_eq!(first, server(1));
    let (_, second, _, sent) = asked(&table.pass(2));
    assert_eq!(second, server(2));
    let query = Query::read(&sent).unwrap();
    assert!(table.say(key, &answer(&sent, &query, Rcode::NO_NAME, &[], 512, 0)).0);
    let (key, first, ..) = asked(&table.ask(&message));
    assert_eq!(first, server(2), "who did not answer comes last for a while");
    let mut acts = VecDeque::new();
    table.server.failed(key, table.now, &mut || 1, &mut acts);
    assert_eq!(asked(acts.make_contiguous()).1, server(1));
    // The second round of that: the first has not answered again.
    table.pass(2);
    table.pass(2);
    table.pass(31);
    assert_eq!(asked(&table.ask(&question(6, "example.org", Kind::A, None))).1, server(1));
}

#[test]
fn who_refuses_is_asked_once() {
    let mut table = Table::new(2);
    let message = question(5, "example.org", Kind::A, None);
    let (key, _, _, sent) = asked(&table.ask(&message));
    let refuse = |sent: &[u8], code| answer(sent, &Query::read(sent).unwrap(), code, &[], 512, 0);
    let (taken, acts) = table.say(key, &refuse(&sent, Rcode::FAILED));
    let (_, second, _, sent) = asked(&acts);
    assert!(taken && second == server(2));
    let (_, acts) = table.say(key, &refuse(&sent, Rcode::REFUSED));
    assert_eq!(told(&reply(acts)), (5, 0), "as the last one said");
    // One that says that there is no such name is believed.
    let (key, _, _, sent) = asked(&table.ask(&message));
    let (_, acts) = table.say(key, &refuse(&sent, Rcode::NO_NAME));
    assert_eq!(told(&reply(acts)), (3, 0));
    // None can be reached.
    let (key, ..) = asked(&table.ask(&message));
    let mut acts = VecDeque::new();
    table.server.failed(key, table.now, &mut || 1, &mut acts);
    table.server.failed(key, table.now, &mut || 1, &mut acts);
    acts.pop_front();
    assert_eq!(told(&reply(acts.into())), (2, 0));
}

#[test]
fn an_answer_that_has_no_room_is_shortened() {
    let mut table = Table::new(1);
    let (key, _, _, sent) = asked(&table.ask(&question(5, "example.org", Kind::A, None)));
    let query = Query::read(&sent).unwrap();
    let records = vec![Record::Address("198.51.100.1".parse().unwrap()); 100];
    let (_, acts) = table.say(key, &answer(&sent, &query, Rcode::OK, &records, 65535, 60));
    let back = reply(acts);
    assert_eq!((back.len(), told(&back), back[2] & 2), (sent.len(), (0, 0), 2));
}

#[test]
fn the_table_is_bounded() {
    let mut table = Table::new(1);
    for id in 0..MOST as u16 {
        asked(&table.ask(&question(id, "example.org", Kind::A, None)));
    }
    assert_eq!(told(&table.reply(&question(9999, "example.org", Kind::A, None))), (2, 0));
    assert_eq!(
        told(&table.reply(&question(9999, "web", Kind::A, None))),
        (0, 1),
        "what is known is answered"
    );
    assert_eq!(table.server.waiting(), MOST);
    assert_eq!(table.pass(2).len(), MOST);
    assert_eq!(table.pass(2).len(), 2 * MOST, "each is done, and told");
    assert_eq!(table.server.waiting(), 0);
}

#[test]
fn servers_take_turns_where_that_is_wanted() {
    let mut table = Table::new(3);
    table.known.upstreams.as_mut().unwrap().rotate = true;
    let servers: Vec<_> =
        (0..4).map(|id| asked(&table.ask(&question(id, "example.org", Kind::A, None))).1).collect();
    assert_eq!(servers, [server(1), server(2), server(3), server(1)]);
}

#[test]
fn what_is_refused() {
    let mut table = Table::new(1);
    let mut message = question(5, "example.org", Kind::A, Some(1232));
    let at = message.len() - 5;
    message[at] = 1;
    let back = table.reply(&message);
    assert_eq!((back[3] & 15, back[back.len() - 6]), (0, 1), "the upper bits of BADVERS");
    assert_eq!(told(&table.reply(&question(5, "example.org", Kind(252), None))), (5, 0));
    let mut chaos = question(5, "version.bind", Kind(16), None);
    *chaos.last_mut().unwrap() = 3;
    assert_eq!(told(&table.reply(&chaos)), (5, 0));
    assert_eq!(table.ask(&back), vec![], "an answer is no question");
    // A network without a way out has no names but its own.
    table.known.upstreams = None;
    assert_eq!(told(&table.reply(&question(5, "example.org", Kind::A, None))), (3, 0));
    assert_eq!(told(&table.reply(&question(5, "web", Kind::A, None))), (0, 1));
    assert!(belongs(&back, 5, &message[12..message.len() - 11]));
}
