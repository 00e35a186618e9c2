//! Options that contradict each other; each is refused with what to leave out.

use engine::request::{Namespace, NetworkMode, Restart, Role, RunRequest, Share, UserNamespace};

use crate::options::{Typed, bad_value};
use crate::problem::Problem;
use crate::terminal::report_warning;
use crate::values::{streams, sysctls};

/// The first contradiction, if any.
pub(super) fn check(typed: &Typed, request: &RunRequest) -> Result<(), Problem> {
    if request.remove && request.restart != Restart::No {
        return Err(Problem::new("--rm with --restart: one removes what the other starts again")
            .hint("leave out one of them"));
    }
    if request.detach && typed.read_many("attach", streams::stream)?.iter().any(|_| true) {
        return Err(Problem::new("--attach with --detach: a container in the background has no streams"));
    }
    if request.storage.volatile == Some(true) && !request.remove {
        return Err(Problem::new(
            "--storage-opt volatile=true without --rm: a crash would make the layer useless",
        )
        .hint("add --rm, which has it by default, or leave it out"));
    }
    let rules =
        [&host_name(request)[..], &network(request)[..], &limits(request)[..], &security(request)[..]];
    match rules.into_iter().flatten().find(|(broken, _)| *broken) {
        Some((_, message)) => Err(Problem::new(*message)),
        None => sysctl(request),
    }
}

/// The same of a pod's infra: what of it was typed is its network and its name.
pub(in crate::commands) fn of_pod(request: &RunRequest) -> Result<(), Problem> {
    let rules = [&host_name(request)[..], &network(request)[..]];
    if let Some((_, message)) = rules.into_iter().flatten().find(|(broken, _)| *broken) {
        return Err(Problem::new(*message));
    }
    warn(request);
    sysctl(request)
}

/// Says what is allowed and unwise.
pub(super) fn warn(request: &RunRequest) {
    let network = &request.network;
    let alone = match network.mode {
        NetworkMode::Host => Some(("host", "its ports are the host's already")),
        NetworkMode::None => Some(("none", "nobody can reach it")),
        NetworkMode::Bridge | NetworkMode::Container(_) => None,
    };
    if let Some((mode, why)) = alone.filter(|_| !network.publish.is_empty() || network.publish_all) {
        report_warning(
            &format!("--publish is ignored with --network {mode}: {why}"),
            Some("leave out one of them"),
        );
    }
    let may = |name: &str| request.security.cap_add.iter().any(|one| [name, "ALL"].contains(&one.as_str()));
    if network.rates.out_of.is_some() && (request.security.privileged || may("NET_ADMIN")) {
        report_warning(
            "--network-rate out with CAP_NET_ADMIN: the container can lift this limit",
            Some("leave out --privileged and --cap-add NET_ADMIN where it must hold"),
        );
    }
    if request.resources.oom_kill_disable && request.resources.memory.is_none() {
        report_warning(
            "--oom-kill-disable without a limit: the host may run out of memory",
            Some("set one with --memory"),
        );
    }
}

type Rule = (bool, &'static str);

fn host_name(request: &RunRequest) -> [Rule; 3] {
    let spaces = &request.namespaces;
    let shared_uts = spaces.uts != Namespace::Private;
    let shared_network = matches!(request.network.mode, NetworkMode::Container(_));
    [
        (
            shared_uts && spaces.hostname.is_some(),
            "--hostname with --uts: the name belongs to whom the namespace does",
        ),
        (
            shared_uts && spaces.domainname.is_some(),
            "--domainname with --uts: the name belongs to whom the namespace does",
        ),
        (
            shared_network && spaces.hostname.is_some(),
            "--hostname with --network container: both have the other container's /etc/hostname",
        ),
    ]
}

fn network(request: &RunRequest) -> [Rule; 10] {
    let network = &request.network;
    let shared = matches!(network.mode, NetworkMode::Container(_));
    let (host, none) = (network.mode == NetworkMode::Host, network.mode == NetworkMode::None);
    let (ip, mac) = (network.ip.is_some(), network.mac.is_some());
    [
        (host && ip, "--ip with --network host: the host has its addresses already"),
        (none && ip, "--ip with --network none: there is no interface to give it to"),
        (shared && ip, "--ip with --network container: the other container has its address already"),
        (
            (!network.rates.is_none() || network.share.is_some()) && (host || none || shared),
            "--network-rate and --network-share need --network bridge: there is no link of its own otherwise",
        ),
        (
            mac && (host || none || shared),
            "--mac-address needs --network bridge: there is no interface of its own otherwise",
        ),
        (
            shared && !network.add_hosts.is_empty(),
            "--add-host with --network container: both have the other container's /etc/hosts",
        ),
        (
            shared
                && !(network.dns.is_empty()
                    && network.dns_search.is_empty()
                    && network.dns_options.is_empty()),
            "--dns options with --network container: both have the other container's /etc/resolv.conf",
        ),
        (
            shared && (!network.publish.is_empty() || network.publish_all),
            "--publish with --network container: publish the ports of the other container",
        ),
        (
            shared && !network.expose.is_empty(),
            "--expose with --network container: expose the ports of the other container",
        ),
        (
            host && matches!(request.namespaces.user, UserNamespace::Private { .. }),
            "--network host with --userns private: its root has no power over the host's network",
        ),
    ]
}

fn limits(request: &RunRequest) -> [Rule; 5] {
    let all = &request.resources;
    let swap = all.memory_swap.and_then(|bytes| u64::try_from(bytes).ok());
    let above = |more: Option<u64>, less: Option<u64>| more.zip(less).is_some_and(|(more, less)| more > less);
    [
        (
            all.milli_cpus.is_some() && all.cpu_period.is_some(),
            "--cpus with --cpu-period: --cpus sets the period itself, leave one out",
        ),
        (
            all.milli_cpus.is_some() && all.cpu_quota.is_some(),
            "--cpus with --cpu-quota: --cpus sets the quota itself, leave one out",
        ),
        (
            swap.is_some() && all.memory.is_none(),
            "--memory-swap without --memory: it limits both together, give --memory too",
        ),
        (above(all.memory, swap), "--memory-swap is below --memory: it limits memory and swap together"),
        (
            above(all.memory_reservation, all.memory),
            "--memory-reservation is above --memory: the soft limit is the lower one",
        ),
    ]
}

fn security(request: &RunRequest) -> [Rule; 1] {
    let own_ids = matches!(request.namespaces.user, UserNamespace::Private { .. });
    [(
        request.security.privileged && own_ids,
        "--privileged with --userns private: root of a user namespace has no power over the host's devices",
    )]
}

/// A parameter of a namespace that is not the container's own would change somebody else's.
fn sysctl(request: &RunRequest) -> Result<(), Problem> {
    // Which of them the pod shares is not known yet; mostly it is these.
    let of_pod = |what| matches!(&request.pod, Role::Member(of) if !of.apart.contains(&what));
    let shared = |name: &str| {
        let network = matches!(request.network.mode, NetworkMode::Host | NetworkMode::Container(_));
        let foreign = |namespace: &Namespace| *namespace != Namespace::Private;
        (sysctls::is_network(name) && (network || of_pod(Share::Net)))
            || (sysctls::is_ipc(name) && (foreign(&request.namespaces.ipc) || of_pod(Share::Ipc)))
            || (name == "kernel.domainname" && (foreign(&request.namespaces.uts) || of_pod(Share::Uts)))
    };
    match request.security.sysctls.iter().find(|(name, _)| shared(name)) {
        Some((name, value)) => Err(bad_value(
            "sysctl",
            &format!("{name}={value}"),
            "its namespace is shared, it would change more than this container",
        )),
        None => Ok(()),
    }
}
