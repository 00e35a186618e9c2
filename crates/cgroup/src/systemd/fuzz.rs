//! The readers of what comes over the bus, for the fuzz targets alone (`fuzz/properties`).

#![allow(missing_docs)]

use super::bus::Address;
use super::message::Message;
use super::text;
use super::value::Value;

/// The bytes that the first message of a stream becomes again; none where there is none, or no whole one.
pub fn message(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = Message::length(bytes).ok()??;
    let message = Message::decode(bytes.get(..length)?).ok()??;
    Some(message.encode(message.serial))
}

pub fn addresses(text: &str) -> usize {
    Address::parse(text).len()
}

pub fn value(text: &str) -> Result<Value, String> {
    text::parse(text)
}

/// The value as the body of a message, and out of it.
pub fn over_the_bus(value: &Value) -> Option<Value> {
    let mut encoder = super::wire::Encoder::default();
    encoder.value(value);
    super::wire::Decoder::new(&encoder.bytes).value(&value.kind()).ok()
}
