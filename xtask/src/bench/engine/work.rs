//! What is measured, by name.

use std::str::FromStr;

use super::Plan;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Run,
    Exec,
    Parallel,
    Log,
    List,
    Idle,
}

impl Work {
    /// In the order in which they are measured: those that leave most behind come last.
    const ALL: [Self; 6] = [Self::Run, Self::Exec, Self::Parallel, Self::Log, Self::List, Self::Idle];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Exec => "exec",
            Self::Parallel => "parallel",
            Self::Log => "log",
            Self::List => "ps",
            Self::Idle => "idle",
        }
    }

    pub(super) fn title(self, plan: &Plan) -> String {
        match self {
            Self::Run => "run --rm IMAGE true, on the default network".to_owned(),
            Self::Exec => "exec CONTAINER true".to_owned(),
            Self::Parallel => format!("{} times run --rm IMAGE true, at once", super::commands::AT_ONCE),
            Self::Log => {
                format!("a container prints {} MiB in lines of 100 bytes, and logs reads them", plan.log)
            }
            Self::List => format!("ps -a with {} containers", plan.many),
            Self::Idle => format!("{} containers that do nothing", plan.idle),
        }
    }
}

/// Names with commas between them, `run,exec`: in the order in which they are measured, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Works(pub(super) Vec<Work>);

impl Default for Works {
    fn default() -> Self {
        Self(Work::ALL.to_vec())
    }
}

impl FromStr for Works {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        let known = |name: &&&str| Work::ALL.iter().any(|work| work.name() == **name);
        if let Some(wrong) = names.iter().find(|name| !known(name)) {
            let all = Work::ALL.map(Work::name).join(", ");
            return Err(format!("`{wrong}` is no work: there are {all}"));
        }
        Ok(Self(Work::ALL.into_iter().filter(|work| names.contains(&work.name())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_are_chosen_by_name() {
        let chosen = |text: &str| text.parse::<Works>().map(|works| works.0);
        assert_eq!(chosen("exec, run,exec"), Ok(vec![Work::Run, Work::Exec]));
        assert!(chosen("run,walk").is_err_and(|error| error.starts_with("`walk` is no work")));
    }
}
