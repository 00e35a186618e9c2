//! Values as the bytes of a message and back: little-endian, each aligned to its size.
//! Source: the D-Bus specification, "Marshaling (Wire Format)".

use super::value::{DEPTH, Type, Value};

/// The longest array, in bytes.
const LONGEST: usize = 64 << 20;

/// Bytes that are being written.
#[derive(Default)]
pub(super) struct Encoder {
    pub(super) bytes: Vec<u8>,
}

impl Encoder {
    pub(super) fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, bytes: &[u8]) {
        self.align(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn uint32(&mut self, number: u32) {
        self.number(&number.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.uint32(length(text.len()));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        // A signature has 255 letters at most: Type::parse has no longer ones.
        self.bytes.push(text.len() as u8);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(number) => self.bytes.push(*number),
            Value::Bool(value) => self.uint32(u32::from(*value)),
            Value::Int16(number) => self.number(&number.to_le_bytes()),
            Value::Uint16(number) => self.number(&number.to_le_bytes()),
            Value::Int32(number) => self.number(&number.to_le_bytes()),
            Value::Uint32(number) => self.uint32(*number),
            Value::Int64(number) => self.number(&number.to_le_bytes()),
            Value::Uint64(number) => self.number(&number.to_le_bytes()),
            Value::Double(number) => self.number(&number.to_le_bytes()),
            Value::String(text) | Value::Path(text) => self.string(text),
            Value::Signature(text) => self.signature(text),
            Value::Variant(value) => {
                self.signature(&value.kind().to_string());
                self.value(value);
            }
            Value::Array(element, elements) => {
                self.uint32(0);
                let counted = self.bytes.len();
                // Between the length and the first element, and not counted by it.
                self.align(element.alignment());
                let first = self.bytes.len();
                elements.iter().for_each(|element| self.value(element));
                let count = length(self.bytes.len() - first);
                self.bytes[counted - 4..counted].copy_from_slice(&count.to_le_bytes());
            }
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().for_each(|field| self.value(field));
            }
            Value::Entry(entry) => {
                self.align(8);
                self.value(&entry.0);
                self.value(&entry.1);
            }
        }
    }
}

/// A length for the wire. What would not fit is never built: a bus refuses messages of more than 128 MiB.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Bytes that are being read. Every error is the place where the bytes make no sense.
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

/// Where in a message the bytes make no sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Senseless(pub(super) usize);

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn wrong<T>(&self) -> Result<T, Senseless> {
        Err(Senseless(self.at))
    }

    pub(super) fn align(&mut self, to: usize) -> Result<(), Senseless> {
        let next = self.at.next_multiple_of(to);
        match self.bytes.get(self.at..next) {
            Some(padding) if padding.iter().all(|byte| *byte == 0) => self.at = next,
            _ => return self.wrong(),
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Senseless> {
        let end = self.at.checked_add(count);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => self.wrong(),
        }
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Senseless> {
        self.align(N)?;
        let bytes = self.take(N)?;
        bytes.try_into().or_else(|_| self.wrong())
    }

    pub(super) fn uint32(&mut self) -> Result<u32, Senseless> {
        self.number().map(u32::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Result<String, Senseless> {
        let bytes = self.take(length)?;
        let end = self.take(1)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if end == [0] && !text.contains('\0') => Ok(text.to_owned()),
            _ => self.wrong(),
        }
    }

    fn signature(&mut self) -> Result<String, Senseless> {
        let length = self.take(1)?[0];
        self.text(usize::from(length))
    }

    fn variant(&mut self, depth: usize) -> Result<Value, Senseless> {
        let signature = self.signature()?;
        match Type::parse_one(&signature) {
            Some(kind) => Ok(Value::Variant(Box::new(self.nested(&kind, depth)?))),
            None => self.wrong(),
        }
    }

    pub(super) fn value(&mut self, kind: &Type) -> Result<Value, Senseless> {
        self.nested(kind, DEPTH)
    }

    fn nested(&mut self, kind: &Type, depth: usize) -> Result<Value, Senseless> {
        let Some(depth) = depth.checked_sub(1) else { return self.wrong() };
        Ok(match kind {
            Type::Byte => Value::Byte(self.take(1)?[0]),
            Type::Bool => match self.uint32()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return self.wrong(),
            },
            Type::Int16 => Value::Int16(i16::from_le_bytes(self.number()?)),
            Type::Uint16 => Value::Uint16(u16::from_le_bytes(self.number()?)),
            Type::Int32 => Value::Int32(i32::from_le_bytes(self.number()?)),
            Type::Uint32 => Value::Uint32(self.uint32()?),
            Type::Int64 => Value::Int64(i64::from_le_bytes(self.number()?)),
            Type::Uint64 => Value::Uint64(u64::from_le_bytes(self.number()?)),
            Type::Double => Value::Double(f64::from_le_bytes(self.number()?)),
            Type::String | Type::Path => {
                let length = self.uint32()? as usize;
                let text = self.text(length)?;
                if *kind == Type::Path { Value::Path(text) } else { Value::String(text) }
            }
            Type::Signature => Value::Signature(self.signature()?),
            Type::Variant => self.variant(depth)?,
            Type::Array(element) => {
                let length = self.uint32()? as usize;
                self.align(element.alignment())?;
                let end = self.at + length;
                if length > LONGEST || end > self.bytes.len() {
                    return self.wrong();
                }
                let mut elements = Vec::new();
                // Each element takes a byte or more: there is no empty struct.
                while self.at < end {
                    elements.push(self.nested(element, depth)?);
                }
                if self.at != end {
                    return self.wrong();
                }
                Value::Array(element.as_ref().clone(), elements)
            }
            Type::Struct(fields) => {
                self.align(8)?;
                let fields: Result<Vec<Value>, Senseless> =
                    fields.iter().map(|field| self.nested(field, depth)).collect();
                Value::Struct(fields?)
            }
            Type::Entry(entry) => {
                self.align(8)?;
                let key = self.nested(&entry.0, depth)?;
                Value::Entry(Box::new((key, self.nested(&entry.1, depth)?)))
            }
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn bytes(value: &Value) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.value(value);
        encoder.bytes
    }

    /// One value of every type, with each alignment out of step before it.
    pub(in crate::systemd) fn all() -> Vec<Value> {
        let entry = Value::Entry(Box::new(("k".into(), Value::Variant(Box::new(Value::Double(0.5))))));
        vec![
            Value::Byte(7),
            Value::Int16(-2),
            Value::Byte(7),
            Value::Bool(true),
            Value::Byte(7),
            Value::Uint64(u64::MAX),
            Value::Uint16(65_535),
            Value::Int64(i64::MIN),
            Value::Byte(7),
            Value::Double(-1.25),
            Value::Int32(-1),
            Value::Uint32(5),
            "é".into(),
            Value::Path("/a/b_1".into()),
            Value::Signature("a(sv)".into()),
            Value::Variant(Box::new(Value::pairs([("a", "rwm")]))),
            Value::Array(entry.kind(), vec![entry]),
            Value::bytes(&[1, 2, 3]),
            Value::numbers([]),
            Value::Array(Type::parse_one("(sa(sv))").unwrap(), vec![]),
            Value::strings(["", "abc"]),
            Value::Struct(vec![Value::Byte(1), 2u64.into(), Value::Struct(vec![false.into()])]),
        ]
    }

    #[test]
    fn exact_bytes() {
        // The examples of the specification: "foo", "+", "bar", and an array with one 64-bit number.
        let mut encoder = Encoder::default();
        ["foo", "+", "bar"].into_iter().for_each(|text| encoder.value(&text.into()));
        assert_eq!(encoder.bytes, b"\x03\0\0\0foo\0\x01\0\0\0+\0\0\0\x03\0\0\0bar\0");
        let array = Value::Array(Type::Int64, vec![Value::Int64(5)]);
        assert_eq!(bytes(&array), b"\x08\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0");
        // An empty array is padded as if it had an element.
        assert_eq!(bytes(&Value::Array(Type::Int64, vec![])), [0; 8]);
        assert_eq!(bytes(&Value::Variant(Box::new(Value::Uint32(1)))), b"\x01u\0\0\x01\0\0\0");
    }

    #[test]
    fn what_was_written_is_read() {
        let mut encoder = Encoder::default();
        all().iter().for_each(|value| encoder.value(value));
        let mut decoder = Decoder::new(&encoder.bytes);
        for value in all() {
            assert_eq!(decoder.value(&value.kind()), Ok(value));
        }
        assert_eq!(decoder.at, encoder.bytes.len());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = Value::Struct(all());
        let (bytes, kind) = (bytes(&whole), whole.kind());
        for end in 0..bytes.len() {
            assert!(Decoder::new(&bytes[..end]).value(&kind).is_err(), "cut at {end}");
        }
        // Every byte once as every value: some of it still has a sense, none of it more than a sense.
        for at in 0..bytes.len() {
            for other in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = other;
                let _ = Decoder::new(&bytes).value(&kind);
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let read = |bytes: &[u8], signature: &str| {
            Decoder::new(bytes).value(&Type::parse_one(signature).unwrap()).is_err()
        };
        assert!(read(b"\x02\0\0\0", "b"), "neither true nor false");
        assert!(read(b"\x01\0\0\0ab", "s"), "no end");
        assert!(read(b"\x01\0\0\0\xff\0", "s"), "no UTF-8");
        assert!(read(b"\x02\0\0\0a\0\0", "s"), "a zero inside");
        assert!(read(b"\x05\0\0\0\x01\0\0\0\x01", "au"), "half an element");
        assert!(read(b"\xff\xff\xff\xff", "ay"), "longer than the message");
        assert!(read(b"\0\0\0\0\x01\0\0\0", "ax"), "padding that is not zero");
        assert!(read(b"\x02uu\0\0\0\0\0\0\0\0\0", "v"), "two types");
        let deep = [b"\x01v\0".repeat(200), b"\x01y\0\x05".to_vec()].concat();
        assert!(read(&deep, "v"), "too deep");
    }
}
