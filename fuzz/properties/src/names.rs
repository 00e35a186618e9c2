//! What programs in a container, servers beyond, and who takes their place, may send to a container's name service.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dns::{Act, Client, Names, Neighbour, Query, Rcode, Server, Upstreams};

/// Some of each.
struct Known;

impl Names for Known {
    fn find(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        assert!(name.len() <= 255 && !name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name:?}");
        name.len().is_multiple_of(3).then(|| (0..40).map(|n| IpAddr::from([10, 0, 0, n])).collect())
    }

    fn at(&mut self, address: IpAddr) -> Neighbour {
        match address {
            IpAddr::V4(address) if address.octets()[3] & 1 == 0 => Neighbour::Named(".a..".repeat(80)),
            IpAddr::V4(_) => Neighbour::Nobody,
            IpAddr::V6(_) => Neighbour::Elsewhere,
        }
    }

    fn upstreams(&mut self) -> Option<Upstreams> {
        let server = |n| SocketAddr::from(([192, 0, 2, n], 53));
        let timeout = Duration::from_secs(2);
        Some(Upstreams {
            servers: vec![server(1), server(2)],
            timeout,
            attempts: 2,
            rotate: true,
            streams: false,
        })
    }
}

/// Pieces, each with what it is and its length before it: questions, answers, and the time that goes by.
pub fn names(data: &[u8]) {
    let (mut server, mut acts, mut now) = (Server::default(), VecDeque::new(), Instant::now());
    let mut count: u16 = 0;
    let mut number = move || {
        count = count.wrapping_add(1);
        count
    };
    // What was asked last of a server beyond.
    let mut last: Option<(u32, Vec<u8>)> = None;
    let mut rest = data;
    while let Some(([what, upper, lower], more)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*upper, *lower])).min(more.len());
        let (piece, more) = more.split_at(length);
        rest = more;
        let client = match what & 8 {
            0 => Client::Datagram(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 4000)),
            _ => Client::Stream(1),
        };
        match what % 8 {
            0..3 => server.asked(client, piece, now, &mut Known, &mut number, &mut acts),
            3 => drop(server.answered(u32::from(*upper), piece, now, &mut number, &mut acts)),
            4 => {
                // One that has the number and the question right.
                if let Some((key, asked)) = &last {
                    let end = Query::read(asked).map_or(12, |query| 12 + query.question(asked).len());
                    let mut answer = asked[..end].to_vec();
                    answer[2] |= 0x80;
                    answer[6..12].copy_from_slice(&[0; 6]);
                    let flags = piece.iter().take(8);
                    answer[3..].iter_mut().zip(flags).for_each(|(byte, with)| *byte ^= with);
                    answer.extend(piece.iter().skip(8));
                    server.answered(*key, &answer, now, &mut number, &mut acts);
                }
            }
            5 => server.failed(u32::from(*lower), now, &mut number, &mut acts),
            _ => {
                now += Duration::from_secs(u64::from(*lower));
                server.tick(now, &mut number, &mut acts);
            }
        }
        while let Some(act) = acts.pop_front() {
            match act {
                Act::Ask { key, message, .. } => {
                    assert!(Query::read(&message).is_ok(), "what cannot be read is asked of nobody");
                    last = Some((key, message));
                }
                Act::Reply(_, message) => {
                    assert!(message.len() >= 12 && message[2] & 0x80 != 0, "an answer: {message:?}");
                    assert!(message.len() <= 65535);
                    assert!(Query::read(&message).is_err(), "an answer is no question");
                }
                Act::Done(_) => {}
            }
        }
        assert!(server.waiting() <= 256);
    }
    // All of it ends.
    for _ in 0..5 {
        now += Duration::from_secs(2);
        server.tick(now, &mut number, &mut acts);
    }
    assert_eq!((server.waiting(), server.due()), (0, None));
    written(data);
}

/// Whatever can be read as a question is answered by what belongs to it.
fn written(data: &[u8]) {
    if let Ok(query) = Query::read(data) {
        for room in [512, query.room, 65535] {
            let records: Vec<_> =
                (0..50).map(|n| dns::Record::Address(Ipv4Addr::from_bits(n).into())).collect();
            let answer = dns::answer(data, &query, Rcode::OK, &records, room, 5);
            assert!(
                answer.len() <= room.max(12 + query.question(data).len() + 11),
                "{} in {room}",
                answer.len()
            );
            assert!(dns::belongs(&answer, query.id, query.question(data)));
        }
    }
}
