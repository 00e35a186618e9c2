//! What minidocker answers otherwise than Docker, on purpose. A row is the step's words, a colon, and the difference as
//! the test tells it; `*` stands for anything. Each stands below its reason.

/// Reasons, each with its differences.
#[rustfmt::skip]
pub(crate) const KEPT: &[(&str, &[&str])] = &[
    ("whatever run and create cannot read is 125, so that no script takes it for the command's own code", &[
        "create: exit code 125, Docker's 1",
        "create --name a/b test:1: exit code 125, Docker's 1",
        "run: exit code 125, Docker's 1",
        "run -d -a stdout test:1: exit code 125, Docker's 1",
    ]),
    ("a word that means nothing is told, not passed over", &[
        "events --until 0s --filter nosuch=x: exit code 1, Docker's 0",
        "run --rm --pull sometimes test:1: exit code 125, Docker's 0",
    ]),
    ("127 says that the command was not found, in exec as in run and in every shell; Docker does so since 23", &[
        "exec web nosuch: exit code 127, Docker's 126",
    ]),
    ("diff shows what the container has changed, not what its own mounts needed; and it has an order", &[
        "diff web: prints *, Docker \"A /data\\n\"",
        "diff web: prints \"C /etc\\nD /etc/group\\nA /new\\n\", Docker *",
    ]),
    ("newer Docker has it, or has it so", &[
        "events * --filter event=die --format {{json .}}: [].Actor.Attributes.execDuration is ours alone",
        "image inspect test:1: [].Descriptor is ours alone",
        "image inspect test:1: [].Variant is ours alone",
        "image inspect test:1: no [].Container",
        "image inspect test:1: no [].ContainerConfig",
        "image inspect test:1: no [].VirtualSize",
        "inspect *: [].HostConfig.MaskedPaths[] is *",
        "inspect *: [].NetworkSettings.Networks.bridge.DNSNames is ours alone",
        "inspect *: [].NetworkSettings.Networks.bridge.GwPriority is ours alone",
        "inspect *: [].HostConfig.NetworkMode is \"bridge\", Docker's \"default\"",
        "volume inspect data: [].Options is null, Docker's object",
        "volume ls --format {{json .}}: [].Availability is ours alone",
        "volume ls --format {{json .}}: [].Group is ours alone",
        "volume ls --format {{json .}}: [].Status is ours alone",
    ]),
    ("an image is not mounted, it has layers alone", &[
        "image inspect test:1: no [].GraphDriver.Data.MergedDir",
        "image inspect test:1: no [].GraphDriver.Data.WorkDir",
    ]),
    ("we know it at no cost", &[
        "images --format {{json .}}: [].Containers is \"0\", Docker's \"N/A\"",
        "images --format {{json .}}: [].Platform is ours alone",
        "ps --format {{json .}}: [].Addresses is ours alone",
        "ps --format {{json .}}: [].Pod is ours alone",
        "ps --format {{json .}}: [].PodName is ours alone",
        "stats --no-stream --format {{json .}}: [].CPUPressure is ours alone",
        "stats --no-stream --format {{json .}}: [].IOPressure is ours alone",
        "stats --no-stream --format {{json .}}: [].MemPeak is ours alone",
        "stats --no-stream --format {{json .}}: [].MemPressure is ours alone",
        "stats --no-stream --format {{json .}}: [].NetRate is ours alone",
        "stats --no-stream --format {{json .}}: [].OOMKills is ours alone",
        "stats --no-stream --format {{json .}}: [].PIDsLimit is ours alone",
        "stats --no-stream --format {{json .}}: [].Swap is ours alone",
        "stats --no-stream --format {{json .}}: [].Throttled is ours alone",
        "stats --no-stream --format {{json .}}: [].ThrottledPeriods is ours alone",
    ]),
    ("a walk through all files is for those who ask for it: ps -s", &[
        "ps --format {{json .}}: [].Size is \"SIZE\", Docker's \"SIZE (virtual SIZE)\"",
    ]),
    ("there is no daemon: no API, no plug-ins, no swarm, no runtimes to choose from; containers live on by themselves", &[
        "version --format {{json .}}: no [].Client.ApiVersion",
        "version --format {{json .}}: no [].Client.DefaultAPIVersion",
        "version --format {{json .}}: no [].Server.ApiVersion",
        "version --format {{json .}}: no [].Server.Components[].Details.ApiVersion",
        "version --format {{json .}}: no [].Server.Components[].Details.MinAPIVersion",
        "version --format {{json .}}: no [].Server.MinAPIVersion",
        "info --format {{json .}}: [].Plugins.Log[] is \"journald\" or \"json-file\" or \"local\" or \"none\", Docker's \"awslogs\" or \"fluentd\" or \"gcplogs\" or \"gelf\" or \"journald\" or \"json-file\" or \"local\" or \"logentries\" or \"splunk\" or \"syslog\"",
        "info --format {{json .}}: [].Plugins.Network[] is \"bridge\" or \"host\" or \"ipvlan\" or \"macvlan\" or \"null\", Docker's \"bridge\" or \"host\" or \"ipvlan\" or \"macvlan\" or \"null\" or \"overlay\"",
        "info --format {{json .}}: [].Runtimes.minidocker is ours alone",
        "info --format {{json .}}: no [].GenericResources",
        "info --format {{json .}}: no [].Runtimes.runc",
        "info --format {{json .}}: no [].Swarm.Error",
        "info --format {{json .}}: no [].Swarm.NodeAddr",
        "info --format {{json .}}: no [].Swarm.RemoteManagers",
        "info --format {{json .}}: [].LiveRestoreEnabled is true, Docker's false",
        "info --format {{json .}}: [].DefaultRuntime is *",
        "inspect *: [].HostConfig.Runtime is \"minidocker\", Docker's \"runc\"",
    ]),
    ("what a daemon counts of itself, and what its helpers are", &[
        "info --format {{json .}}: no [].ClientInfo",
        "info --format {{json .}}: no [].ContainerdCommit",
        "info --format {{json .}}: no [].DriverStatus",
        "info --format {{json .}}: no [].ID",
        "info --format {{json .}}: no [].InitBinary",
        "info --format {{json .}}: no [].InitCommit",
        "info --format {{json .}}: no [].Isolation",
        "info --format {{json .}}: no [].KernelMemory",
        "info --format {{json .}}: no [].KernelMemoryTCP",
        "info --format {{json .}}: no [].NEventsListener",
        "info --format {{json .}}: no [].NFd",
        "info --format {{json .}}: no [].NGoroutines",
        "info --format {{json .}}: no [].RegistryConfig",
        "info --format {{json .}}: no [].RuncCommit",
    ]),
    ("we are who we are, and are not made of Go", &[
        "version --format {{json .}}: [].Client.Version is *",
        "version --format {{json .}}: [].Server.Components[].Version is *",
        "version --format {{json .}}: [].Server.Version is *",
        "version --format {{json .}}: [].Client.Platform.Name is \"minidocker\", Docker's \"\"",
        "version --format {{json .}}: [].Server.Components[].Name is \"Engine\", Docker's \"Engine\" or \"containerd\" or \"docker-init\" or \"runc\"",
        "version --format {{json .}}: [].Server.Platform.Name is \"minidocker\", Docker's \"\"",
        "version --format {{json .}}: no [].Client.BuildTime",
        "version --format {{json .}}: no [].Client.Experimental",
        "version --format {{json .}}: no [].Client.GitCommit",
        "version --format {{json .}}: no [].Client.GoVersion",
        "version --format {{json .}}: no [].Server.BuildTime",
        "version --format {{json .}}: no [].Server.Components[].Details.BuildTime",
        "version --format {{json .}}: no [].Server.Components[].Details.Experimental",
        "version --format {{json .}}: no [].Server.Components[].Details.GitCommit",
        "version --format {{json .}}: no [].Server.Components[].Details.GoVersion",
        "version --format {{json .}}: no [].Server.GitCommit",
        "version --format {{json .}}: no [].Server.GoVersion",
        "info --format {{json .}}: [].ServerVersion is *",
        "info --format {{json .}}: [].OperatingSystem is *",
    ]),
    ("containers see their own root of the control groups, on version 1 too", &[
        "info --format {{json .}}: [].SecurityOptions[] is \"name=cgroupns\" or \"name=seccomp,profile=default\", Docker's \"name=seccomp,profile=default\"",
        "inspect *: [].HostConfig.CgroupnsMode is \"private\", Docker's \"host\"",
    ]),
    ("info tells where things are, and what the kernel offers, each with its reason", &[
        "info --format {{json .}}: [].Bridge is ours alone",
        "info --format {{json .}}: [].CgroupParent is ours alone",
        "info --format {{json .}}: [].Features is ours alone",
        "info --format {{json .}}: [].RunRoot is ours alone",
        "info --format {{json .}}: [].Subnet is ours alone",
    ]),
    ("logs are bounded by default, in frames of our own that no other program reads", &[
        "inspect *: [].HostConfig.LogConfig.Type is \"local\", Docker's \"json-file\"",
        "inspect *: [].LogPath is \"\", Docker's a path of its own",
        "info --format {{json .}}: [].LoggingDriver is *",
    ]),
    ("the test's world has a control group of its own", &[
        "inspect *: [].HostConfig.CgroupParent is a path of its own, Docker's \"\"",
    ]),
    ("an empty list is a list", &[
        "inspect *: [].HostConfig.Blkio* is list, Docker's null",
        "inspect *: [].HostConfig.Ulimits is list, Docker's null",
    ]),
    ("the mode is what was typed; Docker adds an SELinux label's letter", &[
        "inspect *: [].Mounts[].Mode is \"\", Docker's \"z\"",
    ]),
    ("a network is its bridge, and a namespace lives as long as its container, without a handle in the file system", &[
        "inspect *: [].NetworkSettings.Networks.bridge.NetworkID is *, Docker's \"ID64\"",
        "inspect *: [].NetworkSettings.SandboxKey is *",
        "inspect www: [].NetworkSettings.SandboxID is \"\", Docker's \"ID64\"",
    ]),
    ("the files for names are there while the container runs", &[
        "inspect www: [].*Path is \"\", Docker's a path of its own",
    ]),
];

/// Whether a row is about this difference.
pub(crate) fn means(row: &str, line: &str) -> bool {
    let mut parts = row.split('*');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything() {
        assert!(means("ps: no [].A", "ps: no [].A"));
        assert!(!means("ps: no [].A", "ps: no [].AB"));
        assert!(means("ps*: no [].A*", "ps -a: no [].AB"));
        assert!(means("*", "x"));
        assert!(!means("ps*y: x", "ps: x"));
    }
}
