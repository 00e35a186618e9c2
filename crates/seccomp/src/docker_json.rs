//! Docker's profile format, `--security-opt seccomp=FILE`: the OCI's section with conditions on entries (`includes`,
//! `excludes`), with an `archMap`, and with `name` beside `names`. The plain OCI form is a part of it.
//!
//! What is not known is ignored, as Docker does; what is known and wrong is an error that names its entry.

use std::path::PathBuf;

use oci::spec::{
    self, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;

use crate::arch::Arch;
use crate::error::Problem;
use crate::{Error, rule};

/// The profile that `text` becomes for a container with these capabilities (its bounding set) on a kernel of this
/// architecture and version (major, minor). Compiling it cannot fail but for its length.
///
/// # Errors
/// What is wrong, and in which entry.
pub fn from_docker_json(
    text: &str,
    native: Arch,
    capabilities: &[Capability],
    kernel: (u32, u32),
) -> Result<LinuxSeccomp, Error> {
    let file: File = serde_json::from_str(text)?;
    let Some(default) = &file.default_action else {
        return Err(Error::Profile("has no defaultAction (to run without a filter use seccomp=unconfined)"));
    };
    let default = action(default).map_err(Error::Default)?;
    if default == LinuxSeccompAction::ScmpActNotify {
        return Err(Error::Default(Problem::NotifyDefault));
    }
    rule::returned(default, file.default_errno_ret).map_err(Error::Default)?;
    let mut entries = Vec::with_capacity(file.syscalls.len());
    for (index, entry) in file.syscalls.into_iter().enumerate() {
        let names = match (&entry.name, &entry.names) {
            (Some(name), _) => std::slice::from_ref(name).to_vec(),
            (None, names) => names.clone().unwrap_or_default(),
        };
        let wrong = |problem: Problem| problem.of_entry(index, &names);
        if let Some(entry) = entry.into_oci(native, capabilities, kernel).map_err(wrong)? {
            entries.push(entry);
        }
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(default)
        .set_default_errno_ret(file.default_errno_ret)
        .set_architectures(architectures(file.architectures, &file.arch_map, native)?)
        .set_flags(file.flags.map(flags).transpose()?)
        .set_listener_path(file.listener_path)
        .set_listener_metadata(file.listener_metadata)
        .set_syscalls(Some(entries));
    Ok(profile)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    default_action: Option<String>,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    flags: Option<Vec<String>>,
    listener_path: Option<PathBuf>,
    listener_metadata: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    sub_architectures: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "null_is_empty")]
    args: Vec<Arg>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: usize,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// What an entry depends on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default, deserialize_with = "null_is_empty")]
    caps: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// Go's JSON writes `null` for a list that was never made.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Entry {
    /// The OCI's form of it; none where its conditions leave it out.
    fn into_oci(
        self,
        native: Arch,
        capabilities: &[Capability],
        kernel: (u32, u32),
    ) -> Result<Option<LinuxSyscall>, Problem> {
        let names = match (self.name.filter(|name| !name.is_empty()), self.names) {
            (Some(_), Some(names)) if !names.is_empty() => return Err(Problem::TwoNames),
            (Some(name), _) => vec![name],
            (None, Some(names)) => names,
            (None, None) => return Err(Problem::Nameless),
        };
        let action = action(&self.action)?;
        rule::returned(action, self.errno_ret)?;
        let args = self.args.iter().map(Arg::to_oci).collect::<Result<Vec<_>, _>>()?;
        let excluded = match &self.excludes {
            Some(filter) => filter.excludes(native, capabilities, kernel)?,
            None => false,
        };
        let included = match &self.includes {
            Some(filter) => filter.includes(native, capabilities, kernel)?,
            None => true,
        };
        if excluded || !included {
            return Ok(None);
        }
        let mut entry = LinuxSyscall::default();
        entry.set_names(names).set_action(action).set_errno_ret(self.errno_ret);
        if !args.is_empty() {
            entry.set_args(Some(args));
        }
        Ok(Some(entry))
    }
}

impl Arg {
    fn to_oci(&self) -> Result<LinuxSeccompArg, Problem> {
        if self.index > 5 {
            return Err(Problem::Argument(self.index));
        }
        let op: LinuxSeccompOperator = self.op.parse().map_err(|_| Problem::Operator(self.op.clone()))?;
        let value_two = (op == LinuxSeccompOperator::ScmpCmpMaskedEq).then_some(self.value_two);
        Ok(rule::oci_arg(self.index, op, self.value, value_two))
    }
}

impl Filter {
    /// Every condition holds: one of the architectures, all of the capabilities, the kernel.
    fn includes(
        &self,
        native: Arch,
        capabilities: &[Capability],
        kernel: (u32, u32),
    ) -> Result<bool, Problem> {
        let least = self.min_kernel()?;
        Ok((self.arches.is_empty() || self.has_arch(native))
            && self.caps.iter().all(|name| has(capabilities, name))
            && least.is_none_or(|least| kernel >= least))
    }

    /// Any condition holds.
    fn excludes(
        &self,
        native: Arch,
        capabilities: &[Capability],
        kernel: (u32, u32),
    ) -> Result<bool, Problem> {
        let least = self.min_kernel()?;
        Ok(self.has_arch(native)
            || self.caps.iter().any(|name| has(capabilities, name))
            || least.is_some_and(|least| kernel >= least))
    }

    fn has_arch(&self, native: Arch) -> bool {
        self.arches.iter().any(|arch| arch == native.docker_name())
    }

    fn min_kernel(&self) -> Result<Option<(u32, u32)>, Problem> {
        let Some(text) = self.min_kernel.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let version = text.split_once('.').and_then(|(major, minor)| {
            Some((u32::from(major.parse::<u8>().ok()?), u32::from(minor.parse::<u8>().ok()?)))
        });
        match version {
            Some((0, 0)) | None => Err(Problem::MinKernel(text.to_owned())),
            version => Ok(version),
        }
    }
}

/// Whether a capability is there. One that this program does not know cannot be.
fn has(capabilities: &[Capability], name: &str) -> bool {
    let known = name.strip_prefix("CAP_").and_then(|name| name.parse().ok());
    known.is_some_and(|known| capabilities.contains(&known))
}

fn action(name: &str) -> Result<LinuxSeccompAction, Problem> {
    name.parse().map_err(|_| Problem::Action(name.to_owned()))
}

fn flags(names: Vec<String>) -> Result<Vec<LinuxSeccompFilterFlag>, Error> {
    names.into_iter().map(|name| name.parse().map_err(|_| Error::Flag(name))).collect()
}

/// The profile's architectures. Of the map only the entry of this host counts: the others may be of any kind.
fn architectures(
    plain: Option<Vec<String>>,
    map: &[ArchMap],
    native: Arch,
) -> Result<Option<Vec<spec::Arch>>, Error> {
    let plain = plain.filter(|plain| !plain.is_empty());
    if plain.is_some() && !map.is_empty() {
        return Err(Error::Profile("has both \"architectures\" and \"archMap\", use one of them"));
    }
    let known = |name: &String| -> Result<spec::Arch, Error> {
        let arch = name.parse().map_err(|_| Error::Architecture(name.clone()))?;
        Arch::from_oci(arch, native)?;
        Ok(arch)
    };
    if let Some(plain) = plain {
        return plain.iter().map(known).collect::<Result<_, _>>().map(Some);
    }
    let native = native.to_oci().to_string();
    let Some(own) = map.iter().find(|entry| entry.architecture == native) else { return Ok(None) };
    std::iter::once(&own.architecture)
        .chain(&own.sub_architectures)
        .map(known)
        .collect::<Result<_, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: (u32, u32) = (6, 1);

    fn parse(text: &str) -> Result<LinuxSeccomp, Error> {
        from_docker_json(text, Arch::X86_64, &[Capability::SysAdmin, Capability::Chown], KERNEL)
    }

    /// The names of the entries that are left of `entries`.
    fn left(entries: &str) -> Vec<String> {
        let profile =
            parse(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{entries}]}}"#)).unwrap();
        profile.syscalls().iter().flatten().flat_map(|entry| entry.names().clone()).collect()
    }

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    fn refused_entry(entry: &str) -> String {
        refused(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW"}},{entry}]}}"#
        ))
    }

    #[test]
    fn reads_all_that_a_profile_may_say() {
        let profile = parse(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"comment":"ignored",
                "archMap":[{"architecture":"SCMP_ARCH_FUTURE","subArchitectures":["SCMP_ARCH_FUTURE32"]},
                           {"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
                           {"architecture":"SCMP_ARCH_RISCV64","subArchitectures":null}],
                "flags":["SECCOMP_FILTER_FLAG_LOG"],"listenerPath":"/run/agent","listenerMetadata":"m",
                "syscalls":[{"names":["clone","x"],"action":"SCMP_ACT_ERRNO","errnoRet":7,"comment":"",
                             "args":[{"index":1,"value":2114060288,"valueTwo":3,"op":"SCMP_CMP_MASKED_EQ"}],
                             "includes":{},"excludes":{}}]}"#,
        )
        .unwrap();
        assert_eq!(profile.default_errno_ret(), Some(38));
        let arches = [spec::Arch::ScmpArchX86_64, spec::Arch::ScmpArchX86];
        assert_eq!(profile.architectures().as_deref(), Some(&arches[..]));
        assert_eq!(profile.flags().as_deref(), Some(&[LinuxSeccompFilterFlag::SeccompFilterFlagLog][..]));
        assert_eq!(profile.listener_path().as_deref(), Some(std::path::Path::new("/run/agent")));
        assert_eq!(profile.listener_metadata().as_deref(), Some("m"));
        let entry = &profile.syscalls().as_ref().unwrap()[0];
        assert_eq!(entry.names(), &["clone", "x"]);
        assert_eq!(entry.errno_ret(), Some(7));
        let arg = entry.args().as_ref().unwrap()[0];
        assert_eq!((arg.index(), arg.value(), arg.value_two()), (1, 0x7e02_0000, Some(3)));
    }

    #[test]
    fn reads_the_plain_form_of_the_oci() {
        let profile = parse(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"],
                "syscalls":[{"names":["kcmp"],"action":"SCMP_ACT_KILL"}]}"#,
        )
        .unwrap();
        assert_eq!(profile.architectures().as_ref().unwrap().len(), 2);
        assert_eq!(profile, serde_json::from_str(&serde_json::to_string(&profile).unwrap()).unwrap());
    }

    #[test]
    fn conditions_keep_or_drop_an_entry() {
        let allow =
            |name: &str, rest: &str| format!(r#"{{"name":"{name}","action":"SCMP_ACT_ALLOW"{rest}}}"#);
        for (kept, condition) in [
            (true, r#","includes":{"caps":["CAP_SYS_ADMIN"]}"#),
            (true, r#","includes":{"caps":["CAP_SYS_ADMIN","CAP_CHOWN"]}"#),
            (false, r#","includes":{"caps":["CAP_SYS_ADMIN","CAP_BPF"]}"#),
            (false, r#","includes":{"caps":["CAP_FROM_THE_FUTURE"]}"#),
            (false, r#","excludes":{"caps":["CAP_BPF","CAP_CHOWN"]}"#),
            (true, r#","excludes":{"caps":["CAP_BPF"]}"#),
            (true, r#","includes":{"arches":["arm64","amd64"]}"#),
            (false, r#","includes":{"arches":["arm64"]}"#),
            (false, r#","excludes":{"arches":["amd64"]}"#),
            (true, r#","excludes":{"arches":["s390","s390x"]}"#),
            (true, r#","includes":{"minKernel":"6.1"}"#),
            (true, r#","includes":{"minKernel":"4.8","arches":null,"caps":null}"#),
            (false, r#","includes":{"minKernel":"6.2"}"#),
            (false, r#","excludes":{"minKernel":"6.1"}"#),
            (true, r#","excludes":{"minKernel":"7.0"}"#),
            (false, r#","includes":{"caps":["CAP_CHOWN"]},"excludes":{"arches":["amd64"]}"#),
        ] {
            assert_eq!(left(&allow("read", condition)).is_empty(), !kept, "{condition}");
        }
        assert_eq!(left(&format!("{},{}", allow("a", ""), allow("b", ""))), ["a", "b"]);
    }

    #[test]
    fn errors_name_the_entry_and_what_is_wrong() {
        for (entry, words) in [
            (
                r#"{"names":["a","b","c","d"],"action":"SCMP_ACT_OK"}"#,
                "entry 2 of the seccomp profile's syscalls (a, b, c, …): unknown action \"SCMP_ACT_OK\"",
            ),
            (r#"{"name":"a","names":["b"],"action":"SCMP_ACT_ALLOW"}"#, "(a): both \"name\" and \"names\""),
            (r#"{"action":"SCMP_ACT_ALLOW"}"#, "(nameless): neither \"name\" nor"),
            (
                r#"{"name":"a","action":"SCMP_ACT_ALLOW","errnoRet":1}"#,
                "errnoRet has no meaning with SCMP_ACT_ALLOW",
            ),
            (r#"{"name":"a","action":"SCMP_ACT_ERRNO","errnoRet":4096}"#, "4096 is too large, at most 4095"),
            (
                r#"{"name":"a","action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}"#,
                "argument index 6",
            ),
            (
                r#"{"name":"a","action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"EQ"}]}"#,
                "unknown operator \"EQ\"",
            ),
            (
                r#"{"name":"a","action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4"}}"#,
                "(a): invalid minKernel \"4\"",
            ),
            (
                r#"{"name":"a","action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"4.8.1"}}"#,
                "minKernel \"4.8.1\"",
            ),
            (r#"{"name":5,"action":"SCMP_ACT_ALLOW"}"#, "expected a string at line 1 column"),
        ] {
            let error = refused_entry(entry);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn errors_of_the_outer_part() {
        for (text, words) in [
            ("{", "not a seccomp profile: EOF"),
            ("{}", "no defaultAction"),
            (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "SCMP_ACT_NOTIFY cannot be the default"),
            (r#"{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}"#, "no meaning with SCMP_ACT_KILL"),
            (r#"{"defaultAction":"SCMP_ACT_KILL","architectures":["SCMP_ARCH_Z80"]}"#, "SCMP_ARCH_Z80"),
            (r#"{"defaultAction":"SCMP_ACT_KILL","architectures":["SCMP_ARCH_MIPS"]}"#, "SCMP_ARCH_MIPS"),
            (r#"{"defaultAction":"SCMP_ACT_KILL","flags":["FAST"]}"#, "unknown flag FAST"),
            (
                r#"{"defaultAction":"SCMP_ACT_KILL","architectures":["SCMP_ARCH_X86"],
                    "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":[]}]}"#,
                "both \"architectures\" and \"archMap\"",
            ),
        ] {
            let error = refused(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
