//! What a text says, before and after the types of its numbers are known.

use crate::systemd::value::{Type, Value};

/// What was read, before the types of its numbers are known: those of an array depend on each other.
#[derive(Debug)]
pub(super) enum Tree {
    /// `uint64 …`, `@at …`
    Typed(Type, Box<Tree>),
    Bool(bool),
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Tree>),
    Struct(Vec<Tree>),
    Dict(Vec<(Tree, Tree)>),
    Variant(Box<Tree>),
}

/// The beginning of what is wrong.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(12).collect()
}

fn is_fraction(number: &str) -> bool {
    let hex = number.trim_start_matches(['+', '-']).starts_with("0x");
    matches!(number, "inf" | "nan") || !hex && number.contains(['.', 'e', 'E', 'n'])
}

impl Tree {
    /// The type that it is of, as far as it says; what says nothing of it is the error.
    pub(super) fn own_type(&self) -> Result<Type, &'static str> {
        Ok(match self {
            Self::Typed(kind, _) => kind.clone(),
            Self::Bool(_) => Type::Bool,
            Self::Number(number) if is_fraction(number) => Type::Double,
            Self::Number(_) => Type::Int32,
            Self::Text(_) => Type::String,
            Self::Bytes(_) => Type::Array(Box::new(Type::Byte)),
            Self::Array(elements) => Type::Array(Box::new(common(elements.iter()).ok_or("[]")?)),
            Self::Struct(fields) => {
                let fields: Result<Vec<Type>, &'static str> = fields.iter().map(Self::own_type).collect();
                Type::Struct(fields?)
            }
            Self::Dict(entries) => {
                let key = common(entries.iter().map(|(key, _)| key)).ok_or("{}")?;
                let value = common(entries.iter().map(|(_, value)| value)).ok_or("{}")?;
                Type::Array(Box::new(Type::Entry(Box::new((key, value)))))
            }
            Self::Variant(_) => Type::Variant,
        })
    }

    /// Whether its type is no guess: a number or a string takes what others in the array are.
    fn is_certain(&self) -> bool {
        match self {
            Self::Typed(..) | Self::Bool(_) | Self::Bytes(_) | Self::Variant(_) => true,
            Self::Number(number) => is_fraction(number),
            Self::Text(_) => false,
            Self::Array(elements) => elements.iter().any(Self::is_certain),
            Self::Struct(fields) => fields.iter().all(Self::is_certain),
            Self::Dict(entries) => {
                entries.iter().any(|(key, _)| key.is_certain())
                    && entries.iter().any(|(_, value)| value.is_certain())
            }
        }
    }

    /// It as a value of that type.
    pub(super) fn value(&self, kind: &Type) -> Result<Value, String> {
        let misfit = || Err(format!("has {} where its type {kind} wants another", self.name()));
        Ok(match (self, kind) {
            (Self::Typed(own, tree), _) if own == kind => tree.value(kind)?,
            (Self::Bool(value), Type::Bool) => Value::Bool(*value),
            (Self::Number(number), _) => return numeric(number, kind),
            (Self::Text(text), Type::String) => Value::String(text.clone()),
            (Self::Text(text), Type::Path) if is_path(text) => Value::Path(text.clone()),
            (Self::Text(text), Type::Signature) if Type::parse(text).is_some() => {
                Value::Signature(text.clone())
            }
            (Self::Bytes(bytes), Type::Array(element)) if **element == Type::Byte => Value::bytes(bytes),
            (Self::Array(elements), Type::Array(element)) => {
                let elements: Result<Vec<Value>, String> =
                    elements.iter().map(|tree| tree.value(element)).collect();
                Value::Array(element.as_ref().clone(), elements?)
            }
            (Self::Struct(fields), Type::Struct(kinds)) if fields.len() == kinds.len() => {
                let fields: Result<Vec<Value>, String> =
                    fields.iter().zip(kinds).map(|(tree, kind)| tree.value(kind)).collect();
                Value::Struct(fields?)
            }
            (Self::Dict(entries), Type::Array(element)) => {
                let Type::Entry(kinds) = element.as_ref() else { return misfit() };
                if !kinds.0.is_basic() {
                    return Err(format!("has keys of the type {}, which D-Bus does not allow", kinds.0));
                }
                let entry = |(key, value): &(Self, Self)| {
                    Ok(Value::Entry(Box::new((key.value(&kinds.0)?, value.value(&kinds.1)?))))
                };
                let entries: Result<Vec<Value>, String> = entries.iter().map(entry).collect();
                Value::Array(element.as_ref().clone(), entries?)
            }
            (Self::Variant(tree), Type::Variant) => {
                let own = tree.own_type().map_err(|what| format!("does not say what type {what} is of"))?;
                Value::Variant(Box::new(tree.value(&own)?))
            }
            _ => return misfit(),
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Typed(kind, _) => format!("a value of the type {kind}"),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.clone(),
            Self::Text(text) => format!("{:?}", shown(text)),
            Self::Bytes(_) => "bytes".to_owned(),
            Self::Array(_) => "an array".to_owned(),
            Self::Struct(_) => "a struct".to_owned(),
            Self::Dict(_) => "a dictionary".to_owned(),
            Self::Variant(_) => "a variant".to_owned(),
        }
    }
}

/// The type of an array's elements: what one of them is for certain, else what the first one would be. One that does
/// not fit is found when its value is made.
fn common<'a>(elements: impl Iterator<Item = &'a Tree> + Clone) -> Option<Type> {
    let certain = elements.clone().filter(|tree| tree.is_certain());
    certain.chain(elements).find_map(|tree| tree.own_type().ok())
}

/// By the specification: `/`, or parts of letters, digits and `_` behind one `/` each.
fn is_path(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}

fn numeric(text: &str, kind: &Type) -> Result<Value, String> {
    let misfit = || format!("has {text}, which is no number of the type {kind}");
    if *kind == Type::Double {
        let words = text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let number: f64 = text.parse().map_err(|_| misfit())?;
        return if words || matches!(text, "inf" | "-inf" | "nan") {
            Ok(Value::Double(number))
        } else {
            Err(misfit())
        };
    }
    // C's ways to write it: 0x for sixteen, a leading zero for eight.
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(rest) => (16, rest),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return Err(misfit());
    }
    let number = i128::from_str_radix(digits, radix).map_err(|_| misfit())?;
    let number = if negative { -number } else { number };
    let value = match kind {
        Type::Byte => u8::try_from(number).map(Value::Byte),
        Type::Int16 => i16::try_from(number).map(Value::Int16),
        Type::Uint16 => u16::try_from(number).map(Value::Uint16),
        Type::Int32 => i32::try_from(number).map(Value::Int32),
        Type::Uint32 => u32::try_from(number).map(Value::Uint32),
        Type::Int64 => i64::try_from(number).map(Value::Int64),
        Type::Uint64 => u64::try_from(number).map(Value::Uint64),
        _ => return Err(misfit()),
    };
    value.map_err(|_| misfit())
}
