//! Messages of D-Bus: a header of fields by number, and a body of values.
//! Source: the D-Bus specification, "Message Protocol".

use super::value::{Type, Value};
use super::wire::{Decoder, Encoder, Senseless};

/// The header before its fields and their length.
const FIXED: usize = 12;
/// The longest message.
const LONGEST: usize = 128 << 20;

// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Call = 1,
    Return = 2,
    Error = 3,
    Signal = 4,
}

/// A method of an object, without its arguments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    pub(super) destination: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
    pub(super) member: &'static str,
}

/// A message that came, or one to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) serial: u32,
    /// The message that this one answers.
    pub(super) answers: Option<u32>,
    pub(super) destination: Option<String>,
    /// Whose it is by the word of the bus, which nobody can forge; none without a bus.
    pub(super) sender: Option<String>,
    pub(super) path: Option<String>,
    pub(super) interface: Option<String>,
    pub(super) member: Option<String>,
    pub(super) error: Option<String>,
    pub(super) body: Vec<Value>,
}

impl Message {
    /// Calls a method.
    pub(super) fn call(method: Method, body: Vec<Value>) -> Self {
        Self {
            kind: Kind::Call,
            serial: 0,
            answers: None,
            destination: Some(method.destination.to_owned()),
            sender: None,
            path: Some(method.path.to_owned()),
            interface: Some(method.interface.to_owned()),
            member: Some(method.member.to_owned()),
            error: None,
            body,
        }
    }

    /// As bytes, under this serial number.
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut body = Encoder::default();
        self.body.iter().for_each(|value| body.value(value));
        let signature: String = self.body.iter().map(|value| value.kind().to_string()).collect();
        let mut fields = Vec::new();
        let mut field = |number: u8, value: Option<Value>| {
            fields.extend(
                value.map(|value| Value::Struct(vec![Value::Byte(number), Value::Variant(Box::new(value))])),
            );
        };
        field(PATH, self.path.clone().map(Value::Path));
        field(INTERFACE, self.interface.clone().map(Value::String));
        field(MEMBER, self.member.clone().map(Value::String));
        field(ERROR_NAME, self.error.clone().map(Value::String));
        field(REPLY_SERIAL, self.answers.map(Value::Uint32));
        field(DESTINATION, self.destination.clone().map(Value::String));
        field(SENDER, self.sender.clone().map(Value::String));
        field(SIGNATURE, Some(signature).filter(|all| !all.is_empty()).map(Value::Signature));
        let mut message = Encoder::default();
        // Little-endian, no flags, version 1.
        message.bytes.extend([b'l', self.kind as u8, 0, 1]);
        message.uint32(u32::try_from(body.bytes.len()).unwrap_or(u32::MAX));
        message.uint32(serial);
        message.value(&Value::Array(field_type(), fields));
        message.align(8);
        message.bytes.extend(body.bytes);
        message.bytes
    }

    /// How many bytes the message has that begins with these; none where they are too few to tell.
    pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Senseless> {
        let Some(head) = bytes.get(..FIXED + 4) else { return Ok(None) };
        if head[0] != b'l' || head[3] != 1 {
            // The other byte order is that of a machine that we do not run on.
            return Err(Senseless(0));
        }
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let whole = (FIXED + 4 + number(FIXED)).next_multiple_of(8).saturating_add(number(4));
        if whole > LONGEST { Err(Senseless(4)) } else { Ok(Some(whole)) }
    }

    /// A whole message; none where it is of a kind that is unknown, which is no error by the specification.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<Self>, Senseless> {
        let mut decoder = Decoder::new(bytes);
        let kind = match bytes.get(1) {
            Some(1) => Kind::Call,
            Some(2) => Kind::Return,
            Some(3) => Kind::Error,
            Some(4) => Kind::Signal,
            _ => return Ok(None),
        };
        decoder.at = 8;
        let serial = decoder.uint32()?;
        let mut message = Self {
            kind,
            serial,
            answers: None,
            destination: None,
            sender: None,
            path: None,
            interface: None,
            member: None,
            error: None,
            body: Vec::new(),
        };
        let mut signature = String::new();
        let Value::Array(_, fields) = decoder.value(&Type::Array(Box::new(field_type())))? else {
            return Err(Senseless(FIXED));
        };
        for field in fields {
            let Value::Struct(parts) = field else { continue };
            let [Value::Byte(number), Value::Variant(value)] = parts.as_slice() else { continue };
            let text = value.text().map(str::to_owned);
            match (number, value.as_ref()) {
                (&PATH, _) => message.path = text,
                (&INTERFACE, _) => message.interface = text,
                (&MEMBER, _) => message.member = text,
                (&ERROR_NAME, _) => message.error = text,
                (&DESTINATION, _) => message.destination = text,
                (&SENDER, _) => message.sender = text,
                (&REPLY_SERIAL, Value::Uint32(serial)) => message.answers = Some(*serial),
                (&SIGNATURE, _) => signature = text.unwrap_or_default(),
                _ => {}
            }
        }
        decoder.align(8)?;
        // The body's values are aligned from its own beginning, which is a multiple of eight.
        for kind in Type::parse(&signature).ok_or(Senseless(FIXED))? {
            message.body.push(decoder.value(&kind)?);
        }
        if decoder.at == bytes.len() { Ok(Some(message)) } else { Err(Senseless(decoder.at)) }
    }
}

/// `(yv)`.
fn field_type() -> Type {
    Type::Struct(vec![Type::Byte, Type::Variant])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::wire::tests::all;

    const HELLO: Method = Method {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "Hello",
    };

    #[test]
    fn hello_as_every_client_says_it() {
        let bytes = Message::call(HELLO, vec![]).encode(1);
        let expected = b"l\x01\0\x01\0\0\0\0\x01\0\0\0\x6d\0\0\0\
            \x01\x01o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0\
            \x02\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\
            \x03\x01s\0\x05\0\0\0Hello\0\0\0\
            \x06\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0";
        assert_eq!(bytes, expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn messages_there_and_back() {
        let mut message = Message::call(HELLO, all());
        message.serial = 9;
        message.answers = Some(8);
        message.error = Some("a.b".into());
        message.sender = Some(":1.7".into());
        for kind in [Kind::Call, Kind::Return, Kind::Error, Kind::Signal] {
            message.kind = kind;
            let bytes = message.encode(9);
            assert_eq!(Message::length(&bytes), Ok(Some(bytes.len())));
            assert_eq!(Message::decode(&bytes).unwrap().unwrap(), message);
        }
    }

    #[test]
    fn a_message_is_whole_or_none() {
        let bytes = Message::call(HELLO, all()).encode(9);
        assert_eq!(Message::length(&bytes[..15]), Ok(None));
        for end in 0..bytes.len() {
            assert!(matches!(Message::decode(&bytes[..end]), Err(_) | Ok(None)), "cut at {end}");
        }
        let mut more = bytes.clone();
        more.push(0);
        assert!(Message::decode(&more).is_err());
    }

    #[test]
    fn other_headers_are_told_apart() {
        let mut bytes = Message::call(HELLO, vec![]).encode(1);
        bytes[1] = 77;
        assert_eq!(Message::decode(&bytes), Ok(None), "a kind of tomorrow is passed over");
        bytes[1] = 1;
        bytes[0] = b'B';
        assert!(Message::length(&bytes).is_err(), "big-endian");
        bytes[0] = b'l';
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Message::length(&bytes).is_err(), "too long");
    }
}
