//! A server that answers as a test tells it to, keeps what it was asked, and ends with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `GET /v2/`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What to answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Says a longer Content-Length than there is, and closes.
    promised: Option<usize>,
    /// Sends the body in chunks, without its length.
    chunked: bool,
    /// Says nothing at all, until the client goes.
    silent: bool,
    /// Hangs up without a word.
    gone: bool,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn promising(mut self, length: usize) -> Self {
        self.promised = Some(length);
        self
    }

    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    pub(crate) fn gone() -> Self {
        Self { gone: true, ..Self::default() }
    }

    pub(crate) fn silent() -> Self {
        Self { silent: true, ..Self::default() }
    }
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server. Its end waits for its thread.
pub(crate) struct Server {
    /// `127.0.0.1:port`.
    pub(crate) name: String,
    log: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_name(|_| script)
    }

    /// For scripts that have to know where they are.
    pub(crate) fn with_name<S>(script: impl FnOnce(&str) -> S) -> Self
    where
        S: Fn(&Request) -> Reply + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let script: Arc<Script> = Arc::new(script(&name));
        let log = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (kept, ended) = (Arc::clone(&log), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (script, log) = (Arc::clone(&script), Arc::clone(&kept));
                std::thread::spawn(move || serve(&stream.unwrap(), &*script, &log));
            }
        });
        Self { name, log, over, thread: Some(thread) }
    }

    /// All that was asked so far.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    /// The first lines of it.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.log().iter().map(Request::line).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.name);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Serves a connection until somebody ends it. A TLS client is hung up on, as a plain server does.
fn serve(stream: &TcpStream, script: &Script, log: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream);
    loop {
        match reader.fill_buf() {
            Ok(bytes) if bytes.first().is_some_and(|byte| *byte != 0x16) => {}
            _ => return,
        }
        let Some(request) = read(&mut reader) else { return };
        if request.method == "CONNECT" {
            log.lock().unwrap().push(request);
            if (&*stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_err() {
                return;
            }
            continue;
        }
        let reply = script(&request);
        let head = request.method == "HEAD";
        log.lock().unwrap().push(request);
        if write(stream, &reply, head).is_none() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split(' ');
    let mut request =
        Request { method: words.next()?.into(), path: words.next()?.into(), ..Request::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body = vec![0; length];
    // What a client that hangs up has sent by then counts too.
    let mut filled = 0;
    while filled < length {
        match reader.read(&mut request.body[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    request.body.truncate(filled);
    Some(request)
}

/// None where the connection is over.
fn write(mut stream: &TcpStream, reply: &Reply, head: bool) -> Option<()> {
    if reply.silent {
        let _ = stream.read(&mut [0]);
        return None;
    }
    if reply.gone {
        return None;
    }
    let mut text = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
    for (name, value) in &reply.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if reply.chunked {
        text.push_str("Transfer-Encoding: chunked\r\n\r\n");
        stream.write_all(text.as_bytes()).ok()?;
        for chunk in reply.body.chunks(60_000) {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).ok()?;
            stream.write_all(chunk).ok()?;
            stream.write_all(b"\r\n").ok()?;
        }
        return stream.write_all(b"0\r\n\r\n").ok();
    }
    if reply.status != 204 {
        text.push_str(&format!("Content-Length: {}\r\n", reply.promised.unwrap_or(reply.body.len())));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).ok()?;
    if !head {
        stream.write_all(&reply.body).ok()?;
    }
    (reply.promised.is_none() || head).then_some(())
}
