//! The one config.json of all runtimes: the usual template, without a terminal, once without and once with Docker's
//! system call filter.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::process;

/// With or without a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    None,
    Docker,
}

impl Filter {
    pub(super) const BOTH: [Self; 2] = [Self::None, Self::Docker];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::None => "no filter",
            Self::Docker => "Docker's filter",
        }
    }
}

/// What `spec` of our runtime writes: runc's template but for the host's name and the ambient set.
#[derive(Debug, Clone)]
pub(super) struct Template(Value);

impl Template {
    /// Asks the runtime for it, in an empty directory.
    pub(super) fn of(program: &Path, directory: &Path, rootfs: &Path) -> Result<Self> {
        fs::create_dir(directory)?;
        process::output(Command::new(program).args(["spec", "--bundle"]).arg(directory))?;
        let text = fs::read(directory.join("config.json"))?;
        let mut config: Value = serde_json::from_slice(&text).context("spec")?;
        config["process"]["terminal"] = json!(false);
        config["root"] = json!({ "path": rootfs, "readonly": true });
        // What the oldest of them knows.
        config["ociVersion"] = json!("1.0.2");
        Ok(Self(config))
    }

    /// Writes a bundle whose program is `word` with its arguments, and whose control group is `group`.
    pub(super) fn write(&self, bundle: &Path, words: &[&str], group: &str, filter: Filter) -> Result<()> {
        fs::create_dir_all(bundle).with_context(|| format!("make {}", bundle.display()))?;
        let path = bundle.join("config.json");
        fs::write(&path, self.config(words, group, filter)?.to_string())
            .with_context(|| format!("write {}", path.display()))
    }

    fn config(&self, words: &[&str], group: &str, filter: Filter) -> Result<Value> {
        let mut config = self.0.clone();
        config["process"]["args"] = json!(words);
        config["linux"]["cgroupsPath"] = json!(group);
        if filter == Filter::Docker {
            // Of the kernel's version the policy wants to know only whether it is 4.8 or newer.
            let profile = seccomp::default_profile(seccomp::Arch::NATIVE, &[], (5, 0));
            config["linux"]["seccomp"] = serde_json::to_value(profile)?;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_differs_in_program_group_and_filter_alone() {
        let template = Template(json!({ "process": { "args": ["sh"], "cwd": "/" }, "linux": { "x": 1 } }));
        let plain = template.config(&["/true"], "/a/b", Filter::None).unwrap();
        let wanted = json!({
            "process": { "args": ["/true"], "cwd": "/" }, "linux": { "x": 1, "cgroupsPath": "/a/b" },
        });
        assert_eq!(plain, wanted);
        let filtered = template.config(&["/true"], "/a/b", Filter::Docker).unwrap();
        assert_eq!(filtered["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
        assert!(filtered["linux"]["seccomp"]["syscalls"].as_array().unwrap().len() > 5);
    }
}
