//! Intel RDT: dividing the processors' cache and memory bandwidth by `/sys/fs/resctrl` (Documentation/filesystems/
//! resctrl.rst). Not done here; asked for, the answer says whether it is the machine that lacks it or we.

use ::step::Failure;

use crate::kernfs;

/// Refuses a schema for the last level cache or for the memory bandwidth, as `update --l3-cache-schema` and
/// `--mem-bw-schema` have one. Nothing asked for is no error.
///
/// The words are runc's (`update.go`): which technique is not enabled.
pub fn check_rdt(l3_cache: Option<&str>, memory_bandwidth: Option<&str>) -> Result<(), Failure> {
    let cpuinfo = kernfs::read("/proc/cpuinfo".as_ref()).unwrap_or_default();
    let filesystems = kernfs::read("/proc/filesystems".as_ref()).unwrap_or_default();
    let asked = |schema: Option<&str>| schema.is_some_and(|schema| !schema.is_empty());
    if asked(l3_cache) {
        return Err(refusal("l3CacheSchema", "CAT: l3 cache", "cat_l3", &cpuinfo, &filesystems));
    }
    if asked(memory_bandwidth) {
        return Err(refusal("memBwSchema", "MBA: memory bandwidth", "mba", &cpuinfo, &filesystems));
    }
    Ok(())
}

fn refusal(field: &str, technique: &str, flag: &str, cpuinfo: &str, filesystems: &str) -> Failure {
    let words = format!("Intel RDT/{technique} schema is not enabled");
    let has_flag = cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split(' ').any(|word| word == flag));
    let has_files = filesystems.lines().any(|line| line.ends_with("\tresctrl"));
    let (why, hint) = match (has_flag, has_files) {
        (false, _) => (format!("this machine's processors have no {flag}"), "leave it out"),
        (true, false) => (
            "this kernel has no resctrl (CONFIG_X86_CPU_RESCTRL)".to_owned(),
            "leave it out, or use a kernel with it",
        ),
        (true, true) => (
            "minidocker does not use resctrl".to_owned(),
            "move the processes into a group of /sys/fs/resctrl yourself",
        ),
    };
    Failure::because("cgroup.rdt", field, format!("{words}: {why}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_says_who_lacks_it() {
        let flags = "processor\t: 0\nflags\t\t: fpu cat_l3 cdp_l3 mba_x\n";
        let told = |flag, filesystems| refusal("f", "CAT: l3 cache", flag, flags, filesystems).to_string();
        let head = "cgroup.rdt on f: Intel RDT/CAT: l3 cache schema is not enabled: ";
        assert_eq!(told("mba", ""), format!("{head}this machine's processors have no mba"));
        assert_eq!(
            told("cat_l3", "nodev\ttmpfs\n"),
            format!("{head}this kernel has no resctrl (CONFIG_X86_CPU_RESCTRL)")
        );
        assert_eq!(told("cat_l3", "nodev\tresctrl\n"), format!("{head}minidocker does not use resctrl"));
    }

    #[test]
    fn only_what_is_asked_for_is_refused() {
        check_rdt(None, None).unwrap();
        check_rdt(Some(""), Some("")).unwrap();
        assert_eq!(check_rdt(Some("L3:0=f"), None).unwrap_err().target, "l3CacheSchema");
        assert_eq!(check_rdt(None, Some("MB:0=20")).unwrap_err().target, "memBwSchema");
    }
}
