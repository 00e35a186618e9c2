//! How much goes over a network and how fast it answers: one server, two clients.
//!
//! A client's first byte says which it is: `p` pours, and is told at its end how many bytes arrived; `q` asks, and has
//! each byte sent back at once.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::Outcome;

/// How long the client waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is written and read at once: iperf3's.
const PIECE: usize = 128 * 1024;

/// Serves both kinds of clients, any number at once.
pub(crate) fn serve(port: u16) -> Outcome {
    let any = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from(([0, 0, 0, 0], port))];
    let listener = TcpListener::bind(&any[..]).map_err(|error| format!("listen on {port}: {error}"))?;
    println!("listening {port}");
    loop {
        let (stream, _) = listener.accept().map_err(|error| format!("accept on {port}: {error}"))?;
        // One that has gone is no reason to end.
        std::thread::spawn(move || drop(answer(stream)));
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    if kind == *b"q" {
        let mut one = [0];
        while stream.read(&mut one)? == 1 {
            stream.write_all(&one)?;
        }
        return Ok(());
    }
    let mut piece = vec![0; PIECE];
    let mut bytes = 0_u64;
    loop {
        match stream.read(&mut piece)? {
            0 => return stream.write_all(format!("{bytes}\n").as_bytes()),
            more => bytes += more as u64,
        }
    }
}

fn connect(address: &str, port: u16, kind: &[u8]) -> std::io::Result<TcpStream> {
    let address = address.parse().map_err(|_| std::io::Error::other("not an IP address"))?;
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(kind)?;
    Ok(stream)
}

/// Sends for so many seconds: JSON {bytes, seconds, mbit}, counted until the other side has all of it.
pub(crate) fn pour(address: &str, port: u16, seconds: f64) -> Outcome {
    let failed = |error: std::io::Error| format!("pour {address} {port}: {error}");
    let mut stream = connect(address, port, b"p").map_err(failed)?;
    let piece = vec![0; PIECE];
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        stream.write_all(&piece).map_err(failed)?;
    }
    stream.shutdown(Shutdown::Write).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes: u64 =
        answer.trim().parse().map_err(|_| format!("pour {address} {port}: `{answer}` is no count"))?;
    println!(
        "{{\"bytes\": {bytes}, \"seconds\": {seconds:.6}, \"mbit\": {:.3}}}",
        bytes as f64 * 8e-6 / seconds
    );
    Ok(0)
}

/// Sends a byte and waits for it, so many times: JSON {count, median_us, p99_us}.
pub(crate) fn ask(address: &str, port: u16, count: usize) -> Outcome {
    let failed = |error: std::io::Error| format!("ping-pong {address} {port}: {error}");
    let mut stream = connect(address, port, b"q").map_err(failed)?;
    let mut times = Vec::with_capacity(count);
    let mut one = *b"x";
    for _ in 0..count.max(1) {
        let start = Instant::now();
        stream.write_all(&one).map_err(failed)?;
        stream.read_exact(&mut one).map_err(failed)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let micros = |share: usize| times[(times.len() - 1) * share / 100].as_nanos() as f64 / 1000.0;
    println!(
        "{{\"count\": {}, \"median_us\": {:.2}, \"p99_us\": {:.2}}}",
        times.len(),
        micros(50),
        micros(99)
    );
    Ok(0)
}
