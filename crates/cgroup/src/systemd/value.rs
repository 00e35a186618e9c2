//! What D-Bus can say: types by their signatures, and values that know their types. Built by hand or read from text
//! (`text.rs`); `wire.rs` makes bytes of them.
//! Source: the D-Bus specification, "Type System".

use std::fmt;

/// A type, as its signature names it: `as`, `a(sv)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `y`.
    Byte,
    /// `b`.
    Bool,
    /// `n`.
    Int16,
    /// `q`.
    Uint16,
    /// `i`.
    Int32,
    /// `u`.
    Uint32,
    /// `x`.
    Int64,
    /// `t`.
    Uint64,
    /// `d`.
    Double,
    /// `s`.
    String,
    /// `o`.
    Path,
    /// `g`.
    Signature,
    /// `v`.
    Variant,
    /// `a…`.
    Array(Box<Type>),
    /// `(…)`, not empty.
    Struct(Vec<Type>),
    /// `{…}`: a basic key and a value; only as the element of an array.
    Entry(Box<(Type, Type)>),
}

/// How deep arrays and structs may nest: 32 each by the specification.
pub(super) const DEPTH: usize = 64;

impl Type {
    /// The types of a signature; none where it is no signature.
    pub fn parse(signature: &str) -> Option<Vec<Self>> {
        let mut rest = signature.as_bytes();
        let mut types = Vec::new();
        if rest.len() > 255 {
            return None;
        }
        while !rest.is_empty() {
            types.push(Self::take(&mut rest, DEPTH)?);
        }
        let entries = types.iter().any(|one| matches!(one, Self::Entry(_)));
        if entries { None } else { Some(types) }
    }

    /// The one type of a signature.
    pub fn parse_one(signature: &str) -> Option<Self> {
        let mut types = Self::parse(signature)?;
        if types.len() == 1 { types.pop() } else { None }
    }

    fn take(rest: &mut &[u8], depth: usize) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        Some(match first {
            b'y' => Self::Byte,
            b'b' => Self::Bool,
            b'n' => Self::Int16,
            b'q' => Self::Uint16,
            b'i' => Self::Int32,
            b'u' => Self::Uint32,
            b'x' => Self::Int64,
            b't' => Self::Uint64,
            b'd' => Self::Double,
            b's' => Self::String,
            b'o' => Self::Path,
            b'g' => Self::Signature,
            b'v' => Self::Variant,
            b'a' if rest.first() == Some(&b'{') => {
                *rest = &rest[1..];
                let key = Self::take(rest, depth)?;
                let value = Self::take(rest, depth)?;
                let closed = rest.first() == Some(&b'}');
                if !closed || !key.is_basic() || matches!(value, Self::Entry(_)) {
                    return None;
                }
                *rest = &rest[1..];
                Self::Array(Box::new(Self::Entry(Box::new((key, value)))))
            }
            b'a' => Self::Array(Box::new(Self::take(rest, depth)?)),
            b'(' => {
                let mut fields = Vec::new();
                while *rest.first()? != b')' {
                    fields.push(Self::take(rest, depth)?);
                }
                *rest = &rest[1..];
                if fields.is_empty() {
                    return None;
                }
                Self::Struct(fields)
            }
            _ => return None,
        })
    }

    /// Whether it is a number, a boolean or a kind of string.
    pub(super) fn is_basic(&self) -> bool {
        !matches!(self, Self::Variant | Self::Array(_) | Self::Struct(_) | Self::Entry(_))
    }

    /// To how many bytes its values are aligned.
    pub(super) fn alignment(&self) -> usize {
        match self {
            Self::Byte | Self::Signature | Self::Variant => 1,
            Self::Int16 | Self::Uint16 => 2,
            Self::Bool | Self::Int32 | Self::Uint32 | Self::String | Self::Path | Self::Array(_) => 4,
            Self::Int64 | Self::Uint64 | Self::Double | Self::Struct(_) | Self::Entry(_) => 8,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self {
            Self::Byte => "y",
            Self::Bool => "b",
            Self::Int16 => "n",
            Self::Uint16 => "q",
            Self::Int32 => "i",
            Self::Uint32 => "u",
            Self::Int64 => "x",
            Self::Uint64 => "t",
            Self::Double => "d",
            Self::String => "s",
            Self::Path => "o",
            Self::Signature => "g",
            Self::Variant => "v",
            Self::Array(element) => return write!(f, "a{element}"),
            Self::Struct(fields) => {
                f.write_str("(")?;
                fields.iter().try_for_each(|field| field.fmt(f))?;
                ")"
            }
            Self::Entry(entry) => return write!(f, "{{{}{}}}", entry.0, entry.1),
        };
        f.write_str(letter)
    }
}

/// A value. An array's elements are all of its type; a constructor that gets others makes no message that a bus takes.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Byte(u8),
    Bool(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    String(String),
    /// An object's path: `/org/freedesktop/systemd1`.
    Path(String),
    /// Types by their letters.
    Signature(String),
    Variant(Box<Value>),
    /// The type of the elements, and these.
    Array(Type, Vec<Value>),
    Struct(Vec<Value>),
    /// Key and value.
    Entry(Box<(Value, Value)>),
}

impl Value {
    /// `as`.
    pub fn strings<S: Into<String>>(strings: impl IntoIterator<Item = S>) -> Self {
        let strings = strings.into_iter().map(|string| Self::String(string.into()));
        Self::Array(Type::String, strings.collect())
    }

    /// `ay`.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::Array(Type::Byte, bytes.iter().copied().map(Self::Byte).collect())
    }

    /// `au`.
    pub fn numbers(numbers: impl IntoIterator<Item = u32>) -> Self {
        Self::Array(Type::Uint32, numbers.into_iter().map(Self::Uint32).collect())
    }

    /// `a(ss)`.
    pub fn pairs<S: Into<String>>(pairs: impl IntoIterator<Item = (S, S)>) -> Self {
        let pair = |(a, b): (S, S)| Self::Struct(vec![Self::String(a.into()), Self::String(b.into())]);
        let element = Type::Struct(vec![Type::String, Type::String]);
        Self::Array(element, pairs.into_iter().map(pair).collect())
    }

    /// Its type.
    pub fn kind(&self) -> Type {
        match self {
            Self::Byte(_) => Type::Byte,
            Self::Bool(_) => Type::Bool,
            Self::Int16(_) => Type::Int16,
            Self::Uint16(_) => Type::Uint16,
            Self::Int32(_) => Type::Int32,
            Self::Uint32(_) => Type::Uint32,
            Self::Int64(_) => Type::Int64,
            Self::Uint64(_) => Type::Uint64,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Path(_) => Type::Path,
            Self::Signature(_) => Type::Signature,
            Self::Variant(_) => Type::Variant,
            Self::Array(element, _) => Type::Array(Box::new(element.clone())),
            Self::Struct(fields) => Type::Struct(fields.iter().map(Self::kind).collect()),
            Self::Entry(entry) => Type::Entry(Box::new((entry.0.kind(), entry.1.kind()))),
        }
    }

    /// The text of a string, a path or a signature.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            _ => None,
        }
    }

    /// The value as words of busctl(1): behind its signature, `as 2 a b`.
    pub(super) fn words(&self, words: &mut Vec<String>) {
        match self {
            Self::Byte(number) => words.push(number.to_string()),
            Self::Bool(value) => words.push(value.to_string()),
            Self::Int16(number) => words.push(number.to_string()),
            Self::Uint16(number) => words.push(number.to_string()),
            Self::Int32(number) => words.push(number.to_string()),
            Self::Uint32(number) => words.push(number.to_string()),
            Self::Int64(number) => words.push(number.to_string()),
            Self::Uint64(number) => words.push(number.to_string()),
            Self::Double(number) => words.push(number.to_string()),
            Self::String(text) | Self::Path(text) | Self::Signature(text) => words.push(text.clone()),
            Self::Variant(value) => {
                words.push(value.kind().to_string());
                value.words(words);
            }
            Self::Array(_, elements) => {
                words.push(elements.len().to_string());
                elements.iter().for_each(|element| element.words(words));
            }
            Self::Struct(fields) => fields.iter().for_each(|field| field.words(words)),
            Self::Entry(entry) => {
                entry.0.words(words);
                entry.1.words(words);
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Uint64(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_read_and_written() {
        for good in
            ["", "s", "as", "a(sv)", "a(sa(sv))", "a{sv}", "aa{s(iaay)}", "ybnqiuxtdsogv", "ssa(sv)a(sa(sv))"]
        {
            let types = Type::parse(good).unwrap();
            assert_eq!(types.iter().map(Type::to_string).collect::<String>(), good);
        }
        let deep = "a".repeat(70) + "s";
        for bad in
            ["a", "(", "()", "(s", "s)", "{sv}", "a{vs}", "a{s}", "a{sss}", "a{sv", "z", "h", "é", &deep]
        {
            assert_eq!(Type::parse(bad), None, "{bad}");
        }
        assert_eq!(Type::parse_one("ss"), None);
        assert_eq!(Type::parse_one("at"), Some(Type::Array(Box::new(Type::Uint64))));
    }

    #[test]
    fn values_know_their_types() {
        for (value, signature) in [
            (Value::strings(["a"]), "as"),
            (Value::strings([""; 0]), "as"),
            (Value::bytes(&[1]), "ay"),
            (Value::numbers([7]), "au"),
            (Value::pairs([("/dev/null", "rw")]), "a(ss)"),
            (Value::Variant(Box::new(true.into())), "v"),
        ] {
            assert_eq!(value.kind().to_string(), signature);
        }
    }

    #[test]
    fn values_as_words_of_busctl() {
        let mut words = Vec::new();
        let property = Value::Struct(vec!["PIDs".into(), Value::Variant(Box::new(Value::numbers([7, 8])))]);
        Value::Array(property.kind(), vec![property]).words(&mut words);
        assert_eq!(words, ["1", "PIDs", "au", "2", "7", "8"]);
    }
}
