//! What host and guest say to each other: frames of a kind, a length and a body, over one serial port.

use std::collections::VecDeque;
use std::io;

/// The longest body: what is longer is not from us.
const MAX: usize = 1 << 20;

/// So many bytes of input may be under way: the guest acknowledges what its command has taken, so that input that nobody
/// reads does not stand in the way of signals.
pub(crate) const WINDOW: usize = 64 << 10;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Guest: a [`crate::timings::Mark`], as JSON.
    Mark = b'm',
    /// Guest: what the command has written to standard output, or to its terminal.
    Output = b'o',
    /// Guest: what it has written to standard error.
    Error = b'e',
    /// Guest: so many bytes of input were taken: u32, little end first.
    Taken = b't',
    /// Guest: its command has ended: the exit code, as four bytes. The last one.
    Exit = b'x',
    /// Guest: it did not come to that: [`crate::settings::Refusal`], as JSON. The last one.
    Failed = b'f',
    /// Host: input.
    Input = b'i',
    /// Host: there is no more.
    InputEnd = b'z',
    /// Host: a signal for the command: its number, four bytes.
    Signal = b's',
    /// Host: the terminal's rows and columns, two bytes each.
    Size = b'w',
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        use Kind::{Error, Exit, Failed, Input, InputEnd, Mark, Output, Signal, Size, Taken};
        [Mark, Output, Error, Taken, Exit, Failed, Input, InputEnd, Signal, Size]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    /// The body as a number of four bytes.
    pub(crate) fn number(&self) -> Option<u32> {
        Some(u32::from_le_bytes(self.body.as_slice().try_into().ok()?))
    }
}

/// Appends a frame to what is to be sent.
pub(crate) fn put(to: &mut Vec<u8>, kind: Kind, body: &[u8]) {
    to.push(kind as u8);
    to.extend_from_slice(&(body.len() as u32).to_le_bytes());
    to.extend_from_slice(body);
}

/// The same to a queue.
pub(crate) fn put_to(to: &mut VecDeque<u8>, kind: Kind, body: &[u8]) {
    let mut frame = Vec::with_capacity(body.len() + 5);
    put(&mut frame, kind, body);
    to.extend(frame);
}

/// What has come, until it makes frames.
#[derive(Debug, Default)]
pub(crate) struct Received {
    bytes: Vec<u8>,
    at: usize,
}

impl Received {
    /// More of it.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// What came is no frame.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        let rest = &self.bytes[self.at..];
        let [kind, a, b, c, d, tail @ ..] = rest else { return Ok(None) };
        let size = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let kind = Kind::of(*kind).filter(|_| size <= MAX);
        let kind = kind.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "sent what is no frame"))?;
        let Some(body) = tail.get(..size) else { return Ok(None) };
        let frame = Frame { kind, body: body.to_vec() };
        self.at += 5 + size;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let mut sent = Vec::new();
        put(&mut sent, Kind::Output, b"hello");
        put(&mut sent, Kind::InputEnd, b"");
        put(&mut sent, Kind::Exit, &7_u32.to_le_bytes());
        for cut in 1..sent.len() {
            let mut received = Received::default();
            let mut frames = Vec::new();
            for piece in sent.chunks(cut) {
                received.add(piece);
                while let Some(frame) = received.next().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames.len(), 3, "{cut}");
            assert_eq!(frames[0], Frame { kind: Kind::Output, body: b"hello".to_vec() });
            assert_eq!((frames[1].kind, frames[2].number()), (Kind::InputEnd, Some(7)));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [&b"?\0\0\0\0"[..], b"o\xff\xff\xff\xff"] {
            let mut received = Received::default();
            received.add(bytes);
            assert!(received.next().is_err());
        }
    }
}
