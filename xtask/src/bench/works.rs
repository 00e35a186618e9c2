//! What a benchmark of several works is to measure, chosen by name: `--work pull,load`.

use std::str::FromStr;

/// One of several works.
pub(super) trait Named: Copy + PartialEq + 'static {
    /// All of them, in the order in which they are measured.
    const ALL: &'static [Self];

    fn name(self) -> &'static str;
}

/// Names with commas between them: in the order in which they are measured, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Works<W>(pub(super) Vec<W>);

impl<W: Named> Default for Works<W> {
    fn default() -> Self {
        Self(W::ALL.to_vec())
    }
}

impl<W: Named> FromStr for Works<W> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        let known = |name: &&&str| W::ALL.iter().any(|work| work.name() == **name);
        if let Some(wrong) = names.iter().find(|name| !known(name)) {
            let all: Vec<_> = W::ALL.iter().map(|work| work.name()).collect();
            return Err(format!("`{wrong}` is no work: there are {}", all.join(", ")));
        }
        Ok(Self(W::ALL.iter().copied().filter(|work| names.contains(&work.name())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Some {
        Pull,
        Load,
    }

    impl Named for Some {
        const ALL: &'static [Self] = &[Self::Pull, Self::Load];

        fn name(self) -> &'static str {
            match self {
                Self::Pull => "pull",
                Self::Load => "load",
            }
        }
    }

    #[test]
    fn works_are_chosen_by_name() {
        let chosen = |text: &str| text.parse::<Works<Some>>().map(|works| works.0);
        assert_eq!(chosen("load, pull,load"), Ok(vec![Some::Pull, Some::Load]));
        assert_eq!(chosen("load"), Ok(vec![Some::Load]));
        assert!(chosen("pull,push").is_err_and(|error| error.starts_with("`push` is no work")));
        assert!(chosen("").is_err());
    }
}
