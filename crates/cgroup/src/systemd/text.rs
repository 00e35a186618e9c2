//! Values as people write them: the text form of GVariant, `'inactive-or-failed'`, `uint64 5`, `[('/dev/fuse', 'rw')]`.
//! Source: GLib's documentation, "GVariant Text Format". What D-Bus has no word for (maybe, handle) is an error.

mod tree;

use super::value::{DEPTH, Type, Value};
use tree::{Tree, shown};

/// Reads a value. Numbers without a type are `int32`, or `double` where they have a point or an exponent; errors are
/// the end of a sentence that begins with the text.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { rest: text };
    let tree = reader.tree(DEPTH)?;
    reader.space();
    if !reader.rest.is_empty() {
        return Err(format!("has {:?} after its end", shown(reader.rest)));
    }
    let kind = tree
        .own_type()
        .map_err(|what| format!("does not say what type {what} is of: write @as [] or the like"))?;
    tree.value(&kind)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `expected` if it is next.
    fn take(&mut self, expected: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn must(&mut self, expected: &str) -> Result<(), String> {
        if self.take(expected) {
            return Ok(());
        }
        Err(match self.rest {
            "" => format!("ends where {expected:?} is missing"),
            rest => format!("has {:?} where {expected:?} is missing", shown(rest)),
        })
    }

    /// As many bytes as `belongs` takes.
    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn tree(&mut self, depth: usize) -> Result<Tree, String> {
        let Some(depth) = depth.checked_sub(1) else { return Err("nests too deep".to_owned()) };
        self.space();
        let Some(first) = self.rest.chars().next() else {
            return Err("ends where a value is missing".to_owned());
        };
        match first {
            '\'' | '"' => self.string().map(Tree::Text),
            'b' if self.rest[1..].starts_with(['\'', '"']) => {
                self.rest = &self.rest[1..];
                self.bytes().map(Tree::Bytes)
            }
            '[' => {
                self.must("[")?;
                self.list("]", |reader| reader.tree(depth)).map(Tree::Array)
            }
            '{' => {
                self.must("{")?;
                let entry = |reader: &mut Self| {
                    let key = reader.tree(depth)?;
                    reader.must(":")?;
                    Ok((key, reader.tree(depth)?))
                };
                self.list("}", entry).map(Tree::Dict)
            }
            '(' => {
                self.must("(")?;
                match self.list(")", |reader| reader.tree(depth))? {
                    fields if fields.is_empty() => Err("has (), which D-Bus cannot say".to_owned()),
                    fields => Ok(Tree::Struct(fields)),
                }
            }
            '<' => {
                self.must("<")?;
                let value = self.tree(depth)?;
                self.must(">")?;
                Ok(Tree::Variant(Box::new(value)))
            }
            '@' => {
                self.must("@")?;
                let signature = self.word(|c| c.is_ascii_alphabetic() || "(){}".contains(c));
                let kind =
                    Type::parse_one(&signature).ok_or(format!("has @{signature}, which is no type"))?;
                Ok(Tree::Typed(kind, Box::new(self.tree(depth)?)))
            }
            '0'..='9' | '+' | '-' | '.' => {
                let number = self.word(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
                Ok(Tree::Number(number))
            }
            _ => self.keyword(depth),
        }
    }

    fn keyword(&mut self, depth: usize) -> Result<Tree, String> {
        let word = self.word(|c| c.is_ascii_alphanumeric());
        let kind = match word.as_str() {
            "true" => return Ok(Tree::Bool(true)),
            "false" => return Ok(Tree::Bool(false)),
            "inf" | "nan" => return Ok(Tree::Number(word)),
            "boolean" => Type::Bool,
            "byte" => Type::Byte,
            "int16" => Type::Int16,
            "uint16" => Type::Uint16,
            "int32" => Type::Int32,
            "uint32" => Type::Uint32,
            "int64" => Type::Int64,
            "uint64" => Type::Uint64,
            "double" => Type::Double,
            "string" => Type::String,
            "objectpath" => Type::Path,
            "signature" => Type::Signature,
            "" => return Err(format!("has {:?} where a value is missing", shown(self.rest))),
            word => return Err(format!("has {word}, which is no value: a string stands in quotes")),
        };
        Ok(Tree::Typed(kind, Box::new(self.tree(depth)?)))
    }

    /// What stands between commas, up to `end`; a comma may follow the last.
    fn list<T>(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(item(self)?);
            if self.take(end) {
                break;
            }
            self.must(",")?;
        }
        Ok(items)
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    /// A number of exactly so many digits, or of up to so many.
    fn digits(&mut self, radix: u32, count: std::ops::RangeInclusive<usize>) -> Option<u32> {
        let found = self.rest.chars().take(*count.end()).take_while(|c| c.is_digit(radix)).count();
        if !count.contains(&found) {
            return None;
        }
        let (digits, rest) = self.rest.split_at(found);
        self.rest = rest;
        u32::from_str_radix(digits, radix).ok()
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = self.next();
        let mut text = String::new();
        loop {
            let Some(c) = self.next() else { return Err("ends within a string".to_owned()) };
            match c {
                '\\' => {}
                c if Some(c) == quote => return Ok(text),
                '\0' => return Err("has a zero, which no string of D-Bus may have".to_owned()),
                c => {
                    text.push(c);
                    continue;
                }
            }
            let escaped = self.next();
            let code = match escaped {
                Some('u') => self.digits(16, 4..=4),
                Some('U') => self.digits(16, 8..=8),
                Some('\n') => continue,
                Some(c) => Some(u32::from(control(c).unwrap_or(c))),
                None => None,
            };
            // D-Bus has no zero in a string.
            match code.and_then(char::from_u32).filter(|c| *c != '\0') {
                Some(c) => text.push(c),
                None => return Err("has \\u without the number of a letter behind it".to_owned()),
            }
        }
    }

    /// `b'…'`: the bytes and a zero.
    fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let quote = self.next();
        let mut bytes = Vec::new();
        loop {
            let Some(c) = self.next() else { return Err("ends within a string".to_owned()) };
            if Some(c) == quote {
                bytes.push(0);
                return Ok(bytes);
            }
            let c = if c == '\\' {
                if self.rest.starts_with(|c: char| c.is_digit(8)) {
                    let byte = self.digits(8, 1..=3).and_then(|code| u8::try_from(code).ok());
                    bytes.push(byte.ok_or("has an octal number above 377")?);
                    continue;
                }
                match self.next() {
                    Some('\n') => continue,
                    Some('x') => {
                        let byte = self.digits(16, 2..=2).and_then(|code| u8::try_from(code).ok());
                        bytes.push(byte.ok_or("has \\x without two digits behind it")?);
                        continue;
                    }
                    Some(c) => control(c).unwrap_or(c),
                    None => return Err("ends within a string".to_owned()),
                }
            } else {
                c
            };
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// What `\n` and its like stand for.
fn control(letter: char) -> Option<char> {
    Some(match letter {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(value: Value) -> Value {
        Value::Variant(Box::new(value))
    }

    fn array(elements: Vec<Value>) -> Value {
        Value::Array(elements[0].kind(), elements)
    }

    #[test]
    fn plain_values() {
        for (text, value) in [
            ("1", Value::Int32(1)),
            (" true ", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("1.0", Value::Double(1.0)),
            (".5", Value::Double(0.5)),
            ("1e1", Value::Double(10.0)),
            ("-inf", Value::Double(f64::NEG_INFINITY)),
            ("0x1e", Value::Int32(30)),
            ("017", Value::Int32(15)),
            ("0", Value::Int32(0)),
            ("-2147483648", Value::Int32(i32::MIN)),
            ("'inactive-or-failed'", "inactive-or-failed".into()),
            (r#""it's""#, "it's".into()),
            (r"'it\'s\n\u00e4\U0001f603\q'", "it's\nä😃q".into()),
            ("uint64 123456", 123_456u64.into()),
            ("uint64 18446744073709551615", u64::MAX.into()),
            ("@t 5", 5u64.into()),
            ("byte 0xff", Value::Byte(255)),
            ("int16 -5", Value::Int16(-5)),
            ("uint16 5", Value::Uint16(5)),
            ("uint32 5", Value::Uint32(5)),
            ("int64 5", Value::Int64(5)),
            ("double 5", Value::Double(5.0)),
            ("boolean true", Value::Bool(true)),
            ("string 'a'", "a".into()),
            ("objectpath '/a/b'", Value::Path("/a/b".into())),
            ("@o '/'", Value::Path("/".into())),
            ("signature 'a{sv}'", Value::Signature("a{sv}".into())),
            ("b'a\\x01\\0012\\n'", Value::bytes(b"a\x01\x012\n\0")),
            ("<1>", variant(Value::Int32(1))),
            ("('a', uint32 5)", Value::Struct(vec!["a".into(), Value::Uint32(5)])),
            ("(1,)", Value::Struct(vec![Value::Int32(1)])),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn arrays_agree_on_a_type() {
        for (text, value) in [
            ("['a', \"b\"]", Value::strings(["a", "b"])),
            ("[1, 2,]", array(vec![Value::Int32(1), Value::Int32(2)])),
            ("[1, 5.0]", array(vec![Value::Double(1.0), Value::Double(5.0)])),
            ("[1, uint64 2]", array(vec![1u64.into(), 2u64.into()])),
            ("@as []", Value::strings([""; 0])),
            ("@at [1, 2]", array(vec![1u64.into(), 2u64.into()])),
            ("[[], ['']]", array(vec![Value::strings([""; 0]), Value::strings([""])])),
            ("[b'', [byte 0]]", array(vec![Value::bytes(&[0]), Value::bytes(&[0])])),
            (
                "[[1, 2], [3, 4.0]]",
                array(vec![
                    array(vec![Value::Double(1.0), Value::Double(2.0)]),
                    array(vec![Value::Double(3.0), Value::Double(4.0)]),
                ]),
            ),
            ("[('/dev/fuse', 'rwm')]", Value::pairs([("/dev/fuse", "rwm")])),
            ("[@o '/a', '/b']", array(vec![Value::Path("/a".into()), Value::Path("/b".into())])),
            ("[<1>, <'a'>]", array(vec![variant(Value::Int32(1)), variant("a".into())])),
            ("{'a': <1>}", array(vec![Value::Entry(Box::new(("a".into(), variant(Value::Int32(1)))))])),
            ("@a{ss} {}", Value::Array(Type::Entry(Box::new((Type::String, Type::String))), vec![])),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, words) in [
            ("", "ends where a value is missing"),
            ("abc", "has abc, which is no value: a string stands in quotes"),
            ("inactive-or-failed", "has inactive, which is no value: a string stands in quotes"),
            ("'abc", "ends within a string"),
            ("'a' 'b'", "has \"'b'\" after its end"),
            ("[1, 2", "ends where \",\" is missing"),
            ("[1 2]", "has \"2]\" where \",\" is missing"),
            ("[]", "does not say what type [] is of: write @as [] or the like"),
            ("[1, 'a']", "has \"a\" where its type i wants another"),
            ("2147483648", "has 2147483648, which is no number of the type i"),
            ("uint64 -1", "has -1, which is no number of the type t"),
            ("byte 256", "has 256, which is no number of the type y"),
            ("uint32 'a'", "has \"a\" where its type u wants another"),
            ("uint32 uint64 5", "has a value of the type t where its type u wants another"),
            ("uint32 1.5", "has 1.5, which is no number of the type u"),
            ("08", "has 08, which is no number of the type i"),
            ("1abc", "has 1abc, which is no number of the type i"),
            ("--1", "has --1, which is no number of the type i"),
            ("@z 5", "has @z, which is no type"),
            ("()", "has (), which D-Bus cannot say"),
            ("objectpath 'a'", "has \"a\" where its type o wants another"),
            ("'\\u12'", "has \\u without the number of a letter behind it"),
            ("'\\u0000'", "has \\u without the number of a letter behind it"),
            ("b'\\x1'", "has \\x without two digits behind it"),
            ("{['a']: 1}", "has keys of the type as, which D-Bus does not allow"),
            ("just 5", "has just, which is no value: a string stands in quotes"),
            ("é", "has \"é\" where a value is missing"),
        ] {
            assert_eq!(parse(text), Err(words.to_owned()), "{text}");
        }
        assert_eq!(parse(&"[".repeat(100_000)), Err("nests too deep".to_owned()));
        assert_eq!(parse(&"<".repeat(70)), Err("nests too deep".to_owned()));
    }
}
