//! Links of the host that move into a container: what comes along, what is refused, and that nothing is lost then.

use std::net::Ipv4Addr;
use std::process::Command;

use network::Namespace;
use step::{Context, Failure, Shell, Steps};

use crate::network;
use crate::world::*;

fn init() -> Namespace {
    Namespace::Init { script_name: "md-test".to_owned() }
}

fn plan(json: &str, to: &Namespace) -> Steps {
    network::move_devices(&serde_json::from_str(json).unwrap(), to).unwrap()
}

/// Moves devices into the container, as the monitor does.
fn moved(container: &Container, json: &str) -> Result<(), Failure> {
    let mut monitor = Context { init: Some(container.tid), ..Context::default() };
    plan(json, &init()).iter().try_for_each(|step| step.perform(&mut monitor))
}

/// The failure's words, and its hint.
fn refusal(container: &Container, json: &str) -> (String, String) {
    let failure = moved(container, json).unwrap_err();
    (failure.to_string(), failure.hint.unwrap())
}

/// ip(8) in the caller's namespace.
fn told(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The addresses of a link as ip(8) shows them, without its number and name.
fn addresses(link: &str, which: &str) -> Vec<String> {
    let lines = told(&format!("-o address show dev {link} {which}"));
    let line = |line: &str| line.split_once(link).unwrap().1.trim().replace(link, "<link>");
    lines.lines().map(line).collect()
}

fn is_up(link: &str) -> bool {
    told(&format!("-o link show dev {link}")).contains(",UP")
}

/// A pair on the host; both ends up, no addresses but IPv6's own.
fn pair(link: &str) {
    ip(&format!("link add {link} address 00:11:22:33:44:55 mtu 1789 type veth peer name {link}-peer"));
    ip(&format!("link set {link} up"));
    ip(&format!("link set {link}-peer up"));
}

#[test]
fn a_device_comes_with_its_permanent_addresses() {
    on_a_host("device", |_| {
        pair("wan");
        ip("address add 10.9.0.1/24 dev wan-peer");
        for address in [
            "10.9.0.2/24 broadcast + label wan:web metric 50",
            "10.9.0.3/24",
            "169.254.169.77/32 noprefixroute",
            "10.8.0.1 peer 10.8.0.2/32",
            "2001:db8::1/64 nodad",
            "2001:db8::2/64 nodad preferred_lft 0",
            "2001:db8:1::1 peer 2001:db8:1::2/128 nodad",
            "2001:db8::3/64 nodad",
            // These three stay: bound to the host, to the link, to a time.
            "127.0.0.33/32 scope host",
            "10.10.0.1/24 scope link",
            "10.11.0.1/24 valid_lft 3000 preferred_lft 2000",
        ] {
            ip(&format!("address add {address} dev wan"));
        }
        let before = addresses("wan", "scope global permanent");
        assert_eq!(before.len(), 8, "{before:?}");

        let container = Container::new();
        moved(&container, r#"{"wan": {"name": "ctr_wan"}}"#).unwrap();
        assert!(!links().contains("wan"));
        let (after, all, link, up) = container.run(|_| {
            (
                addresses("ctr_wan", "scope global"),
                told("-o address show dev ctr_wan"),
                told("-o link show dev ctr_wan"),
                is_up("ctr_wan"),
            )
        });
        assert_eq!(after, before);
        assert!(
            all.contains("ctr_wan:web") && !all.contains("127.0.0.33") && !all.contains("10.10.0.1"),
            "{all}"
        );
        assert!(link.contains("mtu 1789") && link.contains("ether 00:11:22:33:44:55") && up, "{link}");
        // It is a link like any other: the host's end reaches it.
        assert_eq!(hello(container.listen(Ipv4Addr::new(10, 9, 0, 2))), "hello 10.9.0.1");
    });
}

#[test]
fn a_device_that_is_down_comes_up_under_its_own_name() {
    on_a_host("down", |_| {
        pair("wan");
        ip("link set wan down");
        ip("address add 169.254.169.77/32 dev wan");
        ip("link property add dev wan altname wide");
        let container = Container::new();
        // Asked for by another of its names, it keeps the first.
        moved(&container, r#"{"wide": {}}"#).unwrap();
        let (up, addresses) = container.run(|_| (is_up("wan"), addresses("wan", "scope global")));
        assert!(up && addresses.len() == 1 && addresses[0].contains("169.254.169.77/32"), "{addresses:?}");
    });
}

#[test]
fn a_template_gets_the_first_free_number() {
    on_a_host("template", |_| {
        for link in ["wan0", "wan1", "eth0"] {
            pair(link);
        }
        let container = Container::new();
        container.run(|_| {
            ip("link add eth0 type bridge");
            ip("link add other type bridge");
            ip("link property add dev other altname eth2");
        });
        // The container's eth0 is in the way of the host's name too, and the numbers of the links collide.
        moved(
            &container,
            r#"{"wan0": {"name": "eth%d"}, "eth0": {"name": "eth%d"}, "wan1": {"name": "x%dy"}}"#,
        )
        .unwrap();
        let expected = ["lo", "eth0", "other", "eth1", "eth3", "x0y"].map(String::from).into();
        assert_eq!(container.run(|_| links()), expected);
        assert_eq!(container.run(|_| ["eth1", "eth3", "x0y"].map(is_up)), [true; 3]);
        // By steps in the order of the names on the host.
        let peer = container.run(|_| told("-o link show dev eth1"));
        assert!(
            peer.contains("mtu 1789") && !links().contains("eth0") && links().contains("eth0-peer"),
            "{peer}"
        );
    });
}

#[test]
fn a_name_that_is_taken_leaves_the_device_alone() {
    on_a_host("taken", |_| {
        pair("wan");
        ip("address add 10.9.0.2/24 dev wan");
        let before = told("address show dev wan");
        let container = Container::new();
        container.run(|_| {
            ip("link add eth0 type bridge");
            ip("link property add dev eth0 altname inner");
        });
        for name in ["eth0", "inner"] {
            let (text, hint) = refusal(&container, &format!(r#"{{"wan": {{"name": "{name}"}}}}"#));
            assert_eq!(
                text,
                format!(
                    "network.device on wan, to be {name}: the container's network namespace has a link of that \
                     name (file exists)"
                )
            );
            assert!(hint.contains("linux.netDevices.wan.name") && !hint.contains("back"), "{hint}");
        }
        assert_eq!(told("address show dev wan"), before);
        assert_eq!(container.run(|_| links()), ["lo".into(), "eth0".into()].into());
    });
}

#[test]
fn a_device_whose_address_is_refused_comes_back() {
    on_a_host("back", |_| {
        pair("wan");
        for address in ["10.9.0.2/24 label wan:web", "10.10.0.1/24 scope link", "2001:db8::1/64 nodad"] {
            ip(&format!("address add {address} dev wan"));
        }
        let before = addresses("wan", "");
        let container = Container::new();
        container.run(|_| {
            // /proc/sys/net shows the namespace of the thread that looks.
            for conf in ["all", "default"] {
                std::fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"), "1").unwrap();
            }
        });
        let (text, hint) = refusal(&container, r#"{"wan": {"name": "eth0"}}"#);
        assert!(text.starts_with("network.device on eth0, address 2001:db8::1/64: "), "{text}");
        assert!(text.contains("permission denied"), "{text}");
        assert!(
            hint.contains("IPv6 is off") && hint.ends_with("back on the host, without its routes"),
            "{hint}"
        );
        assert_eq!(container.run(|_| links()), ["lo".into()].into());
        let global =
            |all: &[String]| all.iter().filter(|line| !line.contains("fe80")).cloned().collect::<Vec<_>>();
        assert_eq!(global(&addresses("wan", "")), global(&before));
        assert!(is_up("wan"));
    });
}

#[test]
fn what_cannot_move_is_refused() {
    on_a_host("refused", |_| {
        ip("link add br0 type bridge");
        let container = Container::new();
        let (text, hint) = refusal(&container, r#"{"br0": {}}"#);
        assert!(
            text.starts_with("network.device on br0, to be br0: ") && text.contains("invalid argument"),
            "{text}"
        );
        assert!(hint.contains("cannot leave their network namespace"), "{hint}");
        assert!(links().contains("br0"));
        let (text, hint) = refusal(&container, r#"{"none": {}}"#);
        assert!(text.contains("on none: ") && text.contains("no such device"), "{text}");
        assert!(hint.contains("`ip link` lists them"), "{hint}");

        pair("wan");
        let fail = |to: &Namespace, init| {
            let mut context = Context { init, ..Context::default() };
            let failure = plan(r#"{"wan": {"name": "eth0"}}"#, to)[0].perform(&mut context).unwrap_err();
            (failure.to_string(), failure.hint.unwrap_or_default())
        };
        let own = rustix::thread::gettid().as_raw_nonzero().get();
        let (text, hint) = fail(&init(), Some(own));
        assert_eq!(text, "network.device on wan: the container's network namespace is the host's");
        assert!(hint.contains("linux.namespaces"), "{hint}");
        assert!(fail(&init(), None).0.contains("there is no process yet"));
        assert!(fail(&init(), Some(i32::MAX)).1.contains("init has died"));
        let file = Namespace::At("/proc/self/status".into());
        assert_eq!(fail(&file, None).0, "network.device on /proc/self/status: is no network namespace");
        let other = Namespace::At("/proc/self/ns/uts".into());
        assert_eq!(fail(&other, None).0, "network.device on /proc/self/ns/uts: is no network namespace");
        let missing = Namespace::At("/run/netns/minidocker-none".into());
        assert!(fail(&missing, None).0.ends_with("minidocker-none: no such file or directory"));
        assert!(links().contains("wan"));
    });
}

#[test]
fn a_namespace_with_a_path_needs_no_init() {
    on_a_host("path", |_| {
        pair("wan");
        let container = Container::new();
        let at = Namespace::At(format!("/proc/{}/ns/net", container.tid).into());
        take(&plan(r#"{"wan": {}}"#, &at), &mut Context::default());
        assert_eq!(container.run(|_| links()), ["lo".into(), "wan".into()].into());
        // And back, as an orchestrator does it afterwards.
        let home = rustix::thread::gettid().as_raw_nonzero().get();
        container.run(move |_| ip(&format!("link set wan netns {home}")));
        assert!(links().contains("wan"));
    });
}

#[test]
fn the_shells_lines_do_the_same() {
    on_a_host("lines", |_| {
        for (link, address) in [("wan", "10.9.0.2/24 broadcast +"), ("lan", "10.8.0.1 peer 10.8.0.2/32")] {
            pair(link);
            ip(&format!("address add {address} dev {link}"));
        }
        ip("address add 2001:db8::1/64 nodad dev wan");
        let container = Container::new();
        container.run(|_| ip("link add eth0 type bridge"));
        let before = [addresses("lan", "scope global permanent"), addresses("wan", "scope global permanent")];
        let at = Namespace::At(format!("/proc/{}/ns/net", container.tid).into());
        let mut script = "set -eu\n".to_owned();
        for step in plan(r#"{"wan": {"name": "eth%d"}, "lan": {}}"#, &at) {
            match step.shell() {
                Shell::Lines(lines) => lines.iter().for_each(|line| script += &format!("{line}\n")),
                other => panic!("{other:?}"),
            }
        }
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{script}{}", String::from_utf8_lossy(&output.stderr));
        let inside =
            container.run(|_| (["lan", "eth1"].map(|link| addresses(link, "scope global")), is_up("eth1")));
        // Without the flag that the shell's lines leave out.
        let plain =
            before.map(|lines| lines.iter().map(|line| line.replace(" nodad", "")).collect::<Vec<_>>());
        let found =
            inside.0.map(|lines| lines.iter().map(|line| line.replace(" tentative", "")).collect::<Vec<_>>());
        assert_eq!((found, inside.1), (plain, true));
    });
}
