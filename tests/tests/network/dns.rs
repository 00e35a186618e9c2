//! Names: of neighbours, and of the world beyond by the host's own servers. Asked by bytes from within a container's network
//! namespace, and by the C library and busybox.

mod beyond;
mod networks;

use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use minidocker_tests::{World, scaled, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{address_of, remove, serve};
use beyond::{A, AAAA, Answer, Beyond, Host, PTR, ask, ask_by_tcp, hear, question, socket, within};

/// The name of a query that stands for an address.
fn reversed(address: &str) -> String {
    let octets: Vec<&str> = address.rsplit('.').collect();
    format!("{}.in-addr.arpa", octets.join("."))
}

/// What the C library of a container with the host's own files says.
fn getent(world: &World, words: &[&str]) -> String {
    world.minidocker([&["run", "--rm", "host", "getent"], words].concat()).out()
}

#[test]
fn neighbours_by_name_by_short_id_and_by_address() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let id = serve(&world, &world.rootfs_inside(), "web", &[]);
    let db = world.detached(["--name", "My.DB", "--rootfs", &root.overlay(), "sleep", "1000"]);
    let (web_at, db_at) = (address_of(&world, &id), address_of(&world, &db));
    let found = |address: &str| Answer { id: 7, records: vec![address.to_owned()], ..Answer::default() };
    for (name, address) in [
        ("web", &web_at),
        ("WeB", &web_at),
        (&id[..12], &web_at),
        ("web.bridge", &web_at),
        ("my.db", &db_at),
        (&db[..12], &db_at),
    ] {
        assert_eq!(ask(&world, &id, name, A), found(address), "{name}");
        assert_eq!(ask(&world, &db, name, A), found(address), "{name}");
        // There is no IPv6 address, but there is the name.
        assert_eq!(ask(&world, &db, name, AAAA), Answer { id: 7, ..Answer::default() }, "{name}");
    }
    assert_eq!(ask_by_tcp(&world, &db, "web", A).records, [web_at.as_str()]);
    assert_eq!(ask(&world, &db, &reversed(&web_at), PTR), found("web.bridge"));
    let nobody = format!("{}.254.254", web_at.rsplitn(3, '.').nth(2).unwrap());
    assert_eq!(
        ask(&world, &db, &reversed(&nobody), PTR).code,
        3,
        "nobody is there, and nobody else is asked"
    );
    // Programs: busybox, and the C library in all its ways.
    let said = world.minidocker(["exec", "My.DB", "nslookup", "web"]).ok().out();
    assert!(said.contains("127.0.0.11") && said.contains(&format!("Address: {web_at}\n")), "{said}");
    let said = getent(&world, &["ahosts", "web"]);
    let words: Vec<&str> = said.split_whitespace().take(3).collect();
    assert_eq!(words, [web_at.as_str(), "STREAM", "web"]);
    assert!(getent(&world, &["hosts", &web_at]).contains("web.bridge"));
    // Without IPv6 the library takes what there is.
    assert!(getent(&world, &["ahostsv6", "web"]).starts_with(&format!("::ffff:{web_at} ")));
    // A name is known as long as its container runs, and by its new name then.
    remove(&world, &["web"]);
    assert_eq!(ask(&world, &db, &reversed(&web_at), PTR).code, 3);
    remove(&world, &["My.DB"]);
}

#[test]
fn other_networks_have_other_names() {
    let world = World::new();
    let root = world.rootfs_inside();
    let one = serve(&world, &root, "one", &["--ip", "10.0.0.1"]);
    let two = serve(&world, &root, "two", &["--ip", "10.0.0.2"]);
    let far = serve(&world, &root, "far", &[]);
    assert_eq!(ask(&world, &one, "two", A).records, ["10.0.0.2"]);
    assert_eq!(ask(&world, &two, "one", A).records, ["10.0.0.1"]);
    assert_eq!(ask(&world, &two, &reversed("10.0.0.1"), PTR).records, ["one.bridge"]);
    for (asker, name) in [(&far, "one"), (&one, "far")] {
        // Nobody in this world knows it: the test's machine has servers, but the world's network has no way to them.
        assert_eq!(ask(&world, asker, name, A).records, [""; 0], "{name}");
    }
    // Who shares a container's network shares its resolver.
    let words = ["run", "--rm", "--network", "container:one", "host", "getent", "hosts", "two"];
    assert!(world.minidocker(words).ok().out().starts_with("10.0.0.2 "));
    remove(&world, &["one", "two", "far"]);
}

#[test]
fn everything_else_is_the_hosts_to_know_also_on_its_loopback() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let stub = Beyond::new(&world, "127.0.0.53", &[("far.example", "192.0.2.80"), ("web.lan", "192.0.2.81")]);
    let vpn = Beyond::new(&world, "127.0.0.99", &[("far.example", "192.0.2.90"), ("web.vpn", "192.0.2.91")]);
    let host = Host::new(&world, "nameserver 127.0.0.53\nsearch lan\noptions edns0 timeout:1 attempts:1\n");
    let id = host.detached(&["--name", "asks", "--rootfs", &root, "sleep", "1000"]);
    assert_eq!(ask(&world, &id, "far.example", A).records, ["192.0.2.80"]);
    assert_eq!(ask(&world, &id, "none.example", A).code, 3);
    assert_eq!(stub.heard(), [("far.example".to_owned(), A, false), ("none.example".to_owned(), A, false)]);
    // What is a container's is nobody else's to hear.
    let own = address_of(&world, &id);
    for (name, kind) in [("asks", A), ("asks", AAAA), ("asks", 15), (reversed(&own).as_str(), PTR)] {
        assert_eq!(ask(&world, &id, name, kind).code, 0, "{name} {kind}");
    }
    assert_eq!(stub.heard(), []);
    // Too much for a datagram: the asker is told so, and asks by TCP; with EDNS it has room.
    let large = ask(&world, &id, "large.example", A);
    assert!(large.truncated && large.records.is_empty());
    assert_eq!(ask_by_tcp(&world, &id, "large.example", A).records.len(), 100);
    let roomy = within(&world, &id, || {
        let socket = socket();
        socket.send(&question(7, "large.example", A, Some(4096))).unwrap();
        hear(&socket)
    });
    assert_eq!((roomy.truncated, roomy.records.len()), (false, 100));
    let kinds: Vec<bool> = stub.heard().into_iter().map(|(_, _, tcp)| tcp).collect();
    assert_eq!(kinds, [false, true, false]);
    // The C library does all that by itself, and looks in the host's domains.
    let file = || world.minidocker(["exec", "asks", "cat", "/etc/resolv.conf"]).out();
    let lines = |text: &str| {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&file()), ["nameserver 127.0.0.11", "search lan", "options edns0 ndots:0"]);
    let getent =
        |name: &str| host.minidocker(&["run", "--rm", "host", "getent", "ahostsv4", name]).run().out();
    assert_eq!(getent("large.example").lines().filter(|line| line.contains("STREAM")).count(), 100);
    assert!(getent("web").starts_with("192.0.2.81 "));
    // Another resolver while the container runs: from the next question on it is asked, and the domains follow.
    host.says("search vpn\nnameserver 127.0.0.99\n");
    assert_eq!(ask(&world, &id, "far.example", A).records, ["192.0.2.90"]);
    assert!(stub.heard().iter().all(|(name, ..)| name != "far.example"));
    assert_eq!(lines(&file()), ["nameserver 127.0.0.11", "search vpn", "options ndots:0"]);
    let said = world.minidocker(["exec", "asks", "nslookup", "web.vpn"]).ok().out();
    assert!(said.contains("192.0.2.91"), "{said}");
    assert!(!vpn.heard().is_empty());
    // What the container has changed itself stays.
    world.minidocker(["exec", "asks", "sh", "-c", "echo 'search mine' >> /etc/resolv.conf"]).ok();
    host.says("nameserver 127.0.0.53\nsearch lan\n");
    assert_eq!(ask(&world, &id, "far.example", A).records, ["192.0.2.80"]);
    assert_eq!(lines(&file()).last().unwrap(), "search mine");
    remove(&world, &["asks"]);
}

#[test]
fn servers_that_fail_that_refuse_and_that_say_nothing() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let good =
        Beyond::new(&world, "127.0.0.4", &[("far.example", "192.0.2.80"), ("broken.example", "192.0.2.81")]);
    // The first never answers, on the second's port nobody listens.
    let deaf = world.inside_network(|| UdpSocket::bind("127.0.0.2:53").unwrap());
    let text =
        "nameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver 127.0.0.4\noptions timeout:1 attempts:1\n";
    let host = Host::new(&world, text);
    let id = host.detached(&["--name", "asks", "--rootfs", &root, "/inside", "pause"]);
    let start = Instant::now();
    assert_eq!(ask(&world, &id, "far.example", A).records, ["192.0.2.80"]);
    let first = start.elapsed();
    assert!(first >= Duration::from_secs(1), "the first had its time: {first:?}");
    let start = Instant::now();
    assert_eq!(ask(&world, &id, "far.example", A).records, ["192.0.2.80"]);
    assert!(start.elapsed() < scaled(Duration::from_millis(500)), "who is deaf is asked last for a while");
    assert_eq!(good.heard().len(), 2);
    assert_eq!(ask(&world, &id, "broken.example", A).code, 2, "as the last one says");
    // No other server answers in time: it is said, and not later than the time that they have together.
    host.says("nameserver 127.0.0.2\noptions timeout:1 attempts:2\n");
    let start = Instant::now();
    let none = ask(&world, &id, "far.example", A);
    let took = start.elapsed();
    assert_eq!((none.code, none.records.len()), (2, 0));
    assert!(took >= Duration::from_secs(2) && took < scaled(Duration::from_secs(4)), "{took:?}");
    // Nothing but its neighbours is known then, and they are answered at once, before those that wait.
    within(&world, &id, || {
        let socket = socket();
        for id in 0..50 {
            socket.send(&question(id, "far.example", A, None)).unwrap();
        }
        socket.send(&question(99, "asks", A, None)).unwrap();
        assert_eq!(hear(&socket).id, 99);
    });
    host.says("nameserver 127.0.0.3\n");
    let start = Instant::now();
    assert_eq!(ask(&world, &id, "far.example", A).code, 2);
    assert!(start.elapsed() < scaled(Duration::from_secs(1)), "a closed port says so at once");
    assert_eq!(ask_by_tcp(&world, &id, "far.example", A).code, 2);
    drop(deaf);
    remove(&world, &["asks"]);
}

#[test]
fn a_hundred_questions_at_once() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let beyond = Beyond::new(&world, "127.0.0.53", &[]);
    let host = Host::new(&world, "nameserver 127.0.0.53\n");
    let id = host.detached(&["--name", "asks", "--rootfs", &root, "/inside", "pause"]);
    let own = address_of(&world, &id);
    within(&world, &id, || {
        let socket = socket();
        for number in 0..100 {
            socket.send(&question(number, &format!("n{number}.many.example"), A, None)).unwrap();
            socket.send(&question(1000 + number, "asks", A, None)).unwrap();
        }
        let mut heard: Vec<Answer> = (0..200).map(|_| hear(&socket)).collect();
        heard.sort_by_key(|answer| answer.id);
        for (number, answer) in heard.iter().enumerate() {
            let (id, address) = match number {
                0..100 => (number, format!("198.18.0.{number}")),
                _ => (900 + number, own.clone()),
            };
            assert_eq!((usize::from(answer.id), &answer.records[..]), (id, &[address][..]));
        }
    });
    assert_eq!(beyond.heard().len(), 100, "each once");
    remove(&world, &["asks"]);
}

/// The time of a processor that a process has had.
fn processor_time(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    // utime and stime, in hundredths of a second: proc_pid_stat(5).
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn who_only_asks_has_half_a_processor_and_little_memory() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let _beyond = Beyond::new(&world, "127.0.0.53", &[]);
    let host = Host::new(&world, "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n");
    let id = host.detached(&["--name", "asks", "--rootfs", &root, "/inside", "pause"]);
    let (own, monitor) = (address_of(&world, &id), world.monitor(&id));
    let most = |what: &str| {
        let status = std::fs::read_to_string(format!("/proc/{monitor}/status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    let (start, before) = (Instant::now(), processor_time(monitor));
    let lasts = scaled(Duration::from_secs(4));
    let sent = within(&world, &id, || {
        // Connections that take no answers, more than there is room for.
        let streams: Vec<TcpStream> = (0..100)
            .map(|number| {
                let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
                let asked = question(number, "asks", A, None);
                let framed = [&(asked.len() as u16).to_be_bytes(), &asked[..]].concat();
                // One that was given up for another is told so.
                let _ = stream.write_all(&framed.repeat(200));
                stream
            })
            .collect();
        let socket = socket();
        let mut sent = 0_u64;
        while start.elapsed() < lasts {
            for number in 0..50 {
                let own = socket.send(&question(number, "asks", A, None));
                let far = socket.send(&question(number, &format!("{sent}.silent.example"), A, None));
                sent += u64::from(own.is_ok()) + u64::from(far.is_ok());
            }
        }
        drop(streams);
        sent
    });
    let (took, elapsed) = (processor_time(monitor) - before, start.elapsed());
    let files = std::fs::read_dir(format!("/proc/{monitor}/fd")).expect("it lives").count();
    assert!(sent > 10_000, "{sent} questions are no flood");
    // Half of it, the half second that it may take at once, and what the clock of the kernel is coarse.
    assert!(took < elapsed / 2 + Duration::from_millis(800), "{took:?} of {elapsed:?}");
    assert!(files < 256 + 64 + 40, "{files} descriptors");
    assert!(most("VmHWM:") < 24 * 1024, "{} KiB", most("VmHWM:"));
    // It serves on: names when it has rested, and all else meanwhile.
    world.minidocker(["exec", "asks", "/inside", "true"]).ok();
    until("it answers", || ask(&world, &id, "asks", A).records == [own.as_str()]);
    assert_eq!(world.monitor(&id), monitor, "it is the same");
    remove(&world, &["asks"]);
}

#[test]
fn nonsense_does_not_hurt_the_monitor() {
    let world = World::new();
    let root = world.rootfs_inside().overlay();
    let id = world.detached(["--name", "asks", "--rootfs", &root, "/inside", "pause"]);
    let monitor = world.monitor(&id);
    let own = address_of(&world, &id);
    within(&world, &id, || {
        let socket = socket();
        let good = question(7, "asks", A, Some(1232));
        // Every byte of a question turned, every length of it; pointers to themselves; much of nothing.
        for at in 0..good.len() {
            for mask in [1, 0x80, 0xc0, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= mask;
                socket.send(&bad).unwrap();
            }
            socket.send(&good[..at]).unwrap();
            // Or the kernel drops what comes next.
            if at % 8 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        for byte in [0, 0x3f, 0x80, 0xc0, 0xff] {
            for length in [12, 13, 300, 4096, 9000, 60000] {
                let mut bad = question(7, "", A, None)[..12].to_vec();
                bad.resize(length, byte);
                socket.send(&bad).unwrap();
            }
        }
        socket.send(&question(500, "asks", A, None)).unwrap();
        let answer = std::iter::repeat_with(|| {
            let mut room = [0; 65535];
            let count = socket.recv(&mut room).expect("an answer in time");
            (u16::from_be_bytes([room[0], room[1]]), room[..count].to_vec())
        });
        let (_, answer) = answer.into_iter().find(|(id, _)| *id == 500).unwrap();
        assert_eq!(Answer::read(&answer).records, [own.as_str()]);
    });
    assert_eq!(ask_by_tcp(&world, &id, "asks", A).records, [own]);
    assert_eq!(world.monitor(&id), monitor, "it is the same");
    remove(&world, &["asks"]);
}

#[test]
fn names_are_served_on_by_the_next_monitor_and_the_next_start() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let web = serve(&world, &world.rootfs_inside(), "web", &[]);
    let web_at = address_of(&world, &web);
    let words = ["--name", "asks", "--restart", "always", "--rootfs", &root, "sleep", "1000"];
    let id = world.detached(words);
    let kill = |pid| kill_process(Pid::from_raw(pid).expect("a process"), Signal::KILL).expect("it lives");
    let before = world.monitor(&id);
    kill(before);
    // Nobody answers now, and that is said at once: the port is closed. The next command brings another monitor.
    // A zombie has no command line.
    let line = format!("/proc/{before}/cmdline");
    until("it is gone", || std::fs::read(&line).map_or(true, |text| text.is_empty()));
    let refused = within(&world, &id, || {
        let socket = socket();
        socket.send(&question(7, "web", A, None)).and_then(|_| socket.recv(&mut [0; 512]))
    });
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    world.minidocker(["ps"]).ok();
    until("it answers", || {
        within(&world, &id, || {
            let socket = socket();
            let asked = socket.send(&question(7, "web", A, None)).and_then(|_| socket.recv(&mut [0; 512]));
            asked.is_ok()
        })
    });
    assert_eq!(ask(&world, &id, "web", A).records, [web_at.as_str()]);
    assert_eq!(ask_by_tcp(&world, &id, "web", A).records, [web_at.as_str()]);
    // Its program ends, its policy starts it again: in a new network namespace.
    let first = world.init(&id);
    kill(first);
    until("it runs again", || {
        let state = world.minidocker(["inspect", "-f", "{{.State.Pid}}", "asks"]).out();
        state.trim().parse::<i32>().is_ok_and(|pid| pid != 0 && pid != first)
    });
    let said = world.minidocker(["exec", "asks", "nslookup", "web"]).ok().out();
    assert!(said.contains(&web_at), "{said}");
    remove(&world, &["asks", "web"]);
}

#[test]
fn chosen_servers_domains_options_and_hosts() {
    let world = World::new();
    let root = world.rootfs_busybox().overlay();
    let chosen =
        Beyond::new(&world, "127.0.0.77", &[("far.example", "192.0.2.80"), ("web.corp", "192.0.2.81")]);
    let host = Host::new(&world, "nameserver 127.0.0.53\nsearch lan\n");
    let words = ["--name", "asks", "--dns", "127.0.0.77", "--dns-search", "corp", "--dns-option", "ndots:2"];
    let more =
        ["--add-host", "up:host-gateway", "--add-host", "db:10.1.1.1", "--rootfs", &root, "sleep", "1000"];
    let id = host.detached(&[&words[..], &more[..]].concat());
    assert_eq!(ask(&world, &id, "far.example", A).records, ["192.0.2.80"]);
    assert_eq!(chosen.heard().len(), 1);
    let file = world.minidocker(["exec", "asks", "cat", "/etc/resolv.conf"]).out();
    assert!(file.ends_with("\nnameserver 127.0.0.11\nsearch corp\noptions ndots:2\n"), "{file}");
    let shown = world.minidocker(["inspect", "asks"]).json();
    let config = &shown[0]["HostConfig"];
    assert_eq!(config["Dns"], json!(["127.0.0.77"]));
    assert_eq!(config["DnsSearch"], json!(["corp"]));
    assert_eq!(config["DnsOptions"], json!(["ndots:2"]));
    assert_eq!(config["ExtraHosts"], json!(["up:host-gateway", "db:10.1.1.1"]));
    remove(&world, &["asks"]);
}

#[test]
fn steps_of_builds_have_names_too() {
    let world = World::new();
    let beyond = Beyond::new(&world, "127.0.0.53", &[("far.example", "192.0.2.80")]);
    let host = Host::new(&world, "nameserver 127.0.0.53\n");
    let root = world.rootfs_busybox();
    let web = host.detached(&["--name", "web", "--rootfs", &root.overlay(), "sleep", "1000"]);
    let web_at = address_of(&world, &web);
    root.file(
        "Dockerfile",
        format!(
            "FROM scratch\nCOPY bin /bin\nRUN nslookup web | grep {web_at}\nRUN nslookup far.example | grep 192.0.2.80\n"
        ),
    );
    host.minidocker(&["build", "-t", "named", root.path().to_str().unwrap()]).run().ok();
    assert!(beyond.heard().iter().any(|(name, ..)| name == "far.example"));
    remove(&world, &["web"]);
}
