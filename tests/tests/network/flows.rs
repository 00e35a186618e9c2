//! Packets of those who do not pause: a UDP client that goes on sending while its port's container comes and goes, and
//! SCTP, packet by packet.

use minidocker_tests::{Running, World, until};

use super::ports::{FAR, HOST, Machine, serve};
use super::{address_of, remove};

/// Sends a word twenty times a second from one port, and says who answers whenever that is somebody else.
const CLIENT: &str = r#"
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 4000))
s.settimeout(0.05)
last = None
while True:
    try:
        s.sendto(b"still", (sys.argv[1], int(sys.argv[2])))
        answer = s.recv(1000).decode().split()[0]
    except OSError:
        answer = "nobody"
    if answer != last:
        print(answer, flush=True)
        last = answer
    time.sleep(0.05)
"#;

fn said(client: &Running) -> Vec<String> {
    client.out_so_far().lines().map(str::to_owned).collect()
}

/// Where the old flow's entry is not forgotten, the second word never comes: it leads to the host, then to an address
/// that nobody has.
#[test]
fn a_client_that_does_not_pause_is_led_to_where_its_port_leads_now() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    // Flows are remembered once there are rules.
    serve(&world, &root, "other", &["-p", "9999:80"]);
    let clients = [
        machine.program(&["python3", "-c", CLIENT, HOST, "9000"]).spawn(),
        world.program(["python3", "-c", CLIENT, "127.0.0.1", "9000"]).spawn(),
    ];
    let until_all_said = |words: &[&str]| {
        for client in &clients {
            until(&format!("{client:?} says {words:?}"), || said(client) == words);
        }
    };
    until_all_said(&["nobody"]);
    let one = serve(&world, &root, "one", &["-p", "9000:80/udp"]);
    let first = address_of(&world, &one);
    until_all_said(&["nobody", "one"]);
    remove(&world, &["one"]);
    until_all_said(&["nobody", "one", "nobody"]);
    // Nobody's entry leads to where nobody is any more.
    let entries = world.program(["conntrack", "-L", "-p", "udp"]).run().ok().out();
    assert!(!entries.contains(&first), "{entries}");
    let two = serve(&world, &root, "two", &["--ip", "10.9.8.7", "-p", "9000:80/udp"]);
    assert_ne!(address_of(&world, &two), first);
    until_all_said(&["nobody", "one", "nobody", "two"]);
    // Flows of others are left alone: one to a port of the same number, of another machine.
    let server = machine.inside(&["who", "9100"]);
    server.until("listening");
    let far = world.program(["python3", "-c", &CLIENT.replace("4000", "4001"), FAR, "9100"]).spawn();
    until("it is answered", || said(&far).len() == 1 && said(&far)[0] != "nobody");
    let entry = || {
        let text =
            world.program(["conntrack", "-L", "-p", "udp", "--sport", "4001", "-o", "id"]).run().ok().out();
        text.lines().find_map(|line| line.split_once(" id=").map(|(_, id)| id.to_owned()))
    };
    let before = entry();
    assert!(before.is_some());
    serve(&world, &root, "three", &["-p", "9100:80/udp"]);
    assert_eq!(entry(), before);
    for client in clients.iter().chain([&far]) {
        client.signal(9);
    }
    remove(&world, &["other", "two", "three"]);
}

/// A server and a client of SCTP's first two packets, by raw sockets: this kernel may have no SCTP of its own, and its
/// rules know it all the same. The checksum is CRC32c, which translation has to write anew.
const SCTP: &str = r#"
import socket, struct, sys
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return struct.pack("<I", crc ^ 0xffffffff)
def packet(source, destination, tag, kind, own):
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20, own, 65536, 1, 1, 7)
    head = struct.pack("!HHI", source, destination, tag)
    return head + crc32c(head + b"\0\0\0\0" + chunk) + chunk
def receive(s, port, kind):
    while True:
        data, sender = s.recvfrom(2000)
        body = data[(data[0] & 15) * 4:]
        source, destination, tag = struct.unpack("!HHI", body[:8])
        if destination == port and body[12] == kind:
            good = body[8:12] == crc32c(body[:8] + b"\0\0\0\0" + body[12:])
            return sender[0], source, struct.unpack("!I", body[16:20])[0], good
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
s.settimeout(60)
if sys.argv[1] == "serve":
    print("listening", flush=True)
    sender, port, tag, good = receive(s, int(sys.argv[2]), 1)
    print("from", sender, "checksum", good, flush=True)
    s.sendto(packet(int(sys.argv[2]), port, tag, 2, 99), (sender, 0))
else:
    to, port = sys.argv[2], int(sys.argv[3])
    s.sendto(packet(5000, port, 0, 1, 42), (to, 0))
    sender, source, tag, good = receive(s, 5000, 2)
    print("from", sender, source, "checksum", good, flush=True)
"#;

#[test]
fn packets_of_sctp_are_led_as_those_of_others() {
    let world = World::new();
    let root = world.rootfs_inside();
    let machine = Machine::new(&world);
    let id = serve(&world, &root, "web", &["-p", "9000:80/sctp"]);
    let pid = world.init(&id).to_string();
    let words = ["nsenter", "--net", "--target", &pid, "--", "python3", "-c", SCTP, "serve", "80"];
    let server = world.program(words).spawn();
    server.until("listening");
    let client = machine.program(&["python3", "-c", SCTP, "ask", HOST, "9000"]).run().text();
    assert_eq!(client, format!("from {HOST} 9000 checksum True"));
    assert_eq!(server.wait().text(), format!("listening\nfrom {FAR} checksum True"));
    remove(&world, &["web"]);
}
