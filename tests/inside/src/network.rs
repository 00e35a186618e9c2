//! Deeds on the network: a line server that says who answers, and its client.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::Outcome;

/// How long the client waits for each stage.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers each line with `HOSTNAME PID LINE`.
pub(crate) fn listen(port: u16, once: bool) -> Outcome {
    // A socket on [::] takes IPv4 too; without IPv6 in the kernel there is only the other.
    let any = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from(([0, 0, 0, 0], port))];
    let listener = TcpListener::bind(&any[..]).map_err(|error| format!("listen on {port}: {error}"))?;
    println!("listening {port}");
    loop {
        let (stream, _) = listener.accept().map_err(|error| format!("accept on {port}: {error}"))?;
        let served = serve(&stream);
        if once {
            return served.map(|()| 0).map_err(|error| format!("serve on {port}: {error}"));
        }
    }
}

fn serve(mut stream: &TcpStream) -> std::io::Result<()> {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        stream.write_all(format!("{hostname} {} {}\n", std::process::id(), line.trim_end()).as_bytes())?;
        line.clear();
    }
    Ok(())
}

/// Answers by TCP and by UDP with `HOSTNAME ADDRESS-OF-WHO-ASKS LINE`.
pub(crate) fn who(port: u16) -> Outcome {
    let any = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from(([0, 0, 0, 0], port))];
    let listener = TcpListener::bind(&any[..]).map_err(|error| format!("listen on {port}: {error}"))?;
    let datagrams = UdpSocket::bind(&any[..]).map_err(|error| format!("bind {port}/udp: {error}"))?;
    println!("listening {port}");
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = hostname.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
            let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let _ = datagrams.send_to(
                format!("{name} {} {}\n", from.ip().to_canonical(), line.trim_end()).as_bytes(),
                from,
            );
        }
    });
    loop {
        let (mut stream, from) = listener.accept().map_err(|error| format!("accept on {port}: {error}"))?;
        let mut line = String::new();
        // One that sends nothing, or has gone, is no reason to end.
        let _ = BufReader::new(&stream).read_line(&mut line);
        let _ = stream
            .write_all(format!("{hostname} {} {}\n", from.ip().to_canonical(), line.trim_end()).as_bytes());
    }
}

/// Sends one datagram until there is an answer, prints that.
pub(crate) fn connect_udp(address: &str, port: u16, text: &str) -> Outcome {
    let failed = |error: std::io::Error| format!("connect-udp {address} {port}: {error}");
    let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any).map_err(failed)?;
    socket.connect((address, port)).map_err(failed)?;
    socket.set_read_timeout(Some(Duration::from_secs(1))).map_err(failed)?;
    let mut last = std::io::Error::other("no answer");
    let mut buffer = [0; 512];
    for _ in 0..PATIENCE.as_secs() {
        socket.send(text.as_bytes()).map_err(failed)?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                print!("{}", String::from_utf8_lossy(&buffer[..length]));
                return Ok(0);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// Asks the container's name service for the IPv4 addresses of a name: `0 10.7.0.2`, `3` where there is none.
pub(crate) fn ask_name(name: &str) -> Outcome {
    let failed = |error: std::io::Error| format!("ask {name}: {}", error.kind());
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(failed)?;
    socket.connect("127.0.0.11:53").map_err(failed)?;
    socket.set_read_timeout(Some(PATIENCE / 5)).map_err(failed)?;
    socket.send(&question(name)).map_err(failed)?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).map_err(failed)?;
    println!("{}", answer(&buffer[..length]).ok_or_else(|| format!("ask {name}: an answer that is none"))?);
    Ok(0)
}

/// A question for a name's IPv4 address, RFC 1035.
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// The code of an answer, and its addresses: ours points back to the name that was asked for in each record.
fn answer(message: &[u8]) -> Option<String> {
    let (code, count) = (message.get(3)? & 15, u16::from_be_bytes([*message.get(6)?, *message.get(7)?]));
    let mut at = 12;
    while *message.get(at)? != 0 {
        at += 1 + usize::from(*message.get(at)?);
    }
    let records = message.get(at + 5..)?.chunks_exact(16).take(count.into());
    let addresses =
        records.map(|record| format!(" {}.{}.{}.{}", record[12], record[13], record[14], record[15]));
    Some(format!("{code}{}", addresses.collect::<String>()))
}

/// Sends one line, prints the answer.
pub(crate) fn connect(address: &str, port: u16, text: &str) -> Outcome {
    let answer = ask(address, port, text).map_err(|error| format!("connect {address} {port}: {error}"))?;
    print!("{answer}");
    Ok(0)
}

/// The same, and then how many TCP segments this network namespace had to send again: RetransSegs of proc_pid_net(5).
pub(crate) fn connect_and_count(address: &str, port: u16) -> Outcome {
    connect(address, port, "hello")?;
    let table =
        std::fs::read_to_string("/proc/net/snmp").map_err(|error| format!("/proc/net/snmp: {error}"))?;
    let lines: Vec<Vec<&str>> =
        table.lines().filter(|line| line.starts_with("Tcp:")).map(|line| line.split(' ').collect()).collect();
    let [names, values] = lines.as_slice() else { return Err("/proc/net/snmp has no Tcp lines".into()) };
    let at = names.iter().position(|name| *name == "RetransSegs").ok_or("no RetransSegs")?;
    println!("sent again: {}", values.get(at).ok_or("no value of RetransSegs")?);
    Ok(0)
}

fn ask(address: &str, port: u16, text: &str) -> std::io::Result<String> {
    let address = address.parse().map_err(|_| std::io::Error::other("not an IP address"))?;
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{text}\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_and_its_addresses_are_read() {
        let asked = question("db.web");
        assert_eq!(asked[12..], *b"\x02db\x03web\0\0\x01\0\x01");
        let mut told = asked.clone();
        (told[2], told[3], told[7]) = (0x81, 0x80, 2);
        for last in [7, 8] {
            told.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, last]);
        }
        assert_eq!(answer(&told).as_deref(), Some("0 10.0.0.7 10.0.0.8"));
        assert_eq!(answer(&asked).as_deref(), Some("0"));
        assert_eq!(answer(&asked[..8]), None);
    }

    #[test]
    fn the_server_says_who_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || serve(&listener.accept().unwrap().0));
        let answer = ask("127.0.0.1", port, "how are you").unwrap();
        server.join().unwrap().unwrap();
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert_eq!(answer, format!("{hostname} {} how are you\n", std::process::id()));
    }
}
