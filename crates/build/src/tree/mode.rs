//! `--chmod`: octal, or as chmod(1) writes it.

/// What becomes of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chmod {
    Octal(u32),
    Symbolic(Vec<Clause>),
}

/// `ug+rw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clause {
    /// Of user, group and others.
    who: [bool; 3],
    operation: char,
    permissions: String,
}

impl Chmod {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("--chmod={text} is no octal number up to 7777, and nothing like u=rwX,go=rX");
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Octal).ok_or_else(wrong);
        }
        let clause = |text: &str| {
            let at = text.find(['+', '-', '='])?;
            let (who, rest) = text.split_at(at);
            let operation = rest.chars().next()?;
            let permissions = rest[1..].to_owned();
            let all = who.is_empty() || who.contains('a');
            let is_known =
                who.chars().all(|c| "ugoa".contains(c)) && permissions.chars().all(|c| "rwxXst".contains(c));
            let who = ['u', 'g', 'o'].map(|class| all || who.contains(class));
            is_known.then_some(Clause { who, operation, permissions })
        };
        text.split(',').map(clause).collect::<Option<_>>().map(Self::Symbolic).ok_or_else(wrong)
    }

    /// The permissions that `mode` becomes.
    pub(crate) fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(mode & 0o7777, |mode, clause| clause.apply(mode, is_directory))
            }
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let executable = is_directory || mode & 0o111 != 0;
        let (mut bits, mut mask) = (0, 0);
        for (class, shift) in self.who.into_iter().zip([6, 3, 0]).filter(|(class, _)| *class) {
            let _ = class;
            mask |= 0o7 << shift;
            for permission in self.permissions.chars() {
                bits |= match permission {
                    'r' => 0o4 << shift,
                    'w' => 0o2 << shift,
                    'x' => 0o1 << shift,
                    'X' if executable => 0o1 << shift,
                    's' if shift == 6 => 0o4000,
                    's' if shift == 3 => 0o2000,
                    't' => 0o1000,
                    _ => 0,
                };
            }
        }
        match self.operation {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !mask | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_chmods() {
        for (text, from, directory, to) in [
            ("755", 0o600, false, 0o755),
            ("0644", 0o777, false, 0o644),
            ("4755", 0, false, 0o4755),
            ("u+x", 0o644, false, 0o744),
            ("a-w", 0o666, false, 0o444),
            ("go=", 0o777, false, 0o700),
            ("u=rwX,go=rX", 0o640, false, 0o644),
            ("u=rwX,go=rX", 0o700, true, 0o755),
            ("u=rwX,go=rX", 0o740, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("g+s,+t", 0o755, true, 0o3755),
        ] {
            assert_eq!(Chmod::parse(text).unwrap().apply(from, directory), to, "{text} of {from:o}");
        }
        for wrong in ["", "8", "99999", "u+q", "z+x", "rw", "755x"] {
            assert!(Chmod::parse(wrong).is_err(), "{wrong}");
        }
    }
}
