//! Bridge, pair, address and route: made once, by many at once, talking, failing with a reason.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use network::{Attachment, Mode};
use step::{Context, Shell, Step, Steps};

use crate::network;
use crate::world::*;

#[test]
fn two_containers_and_the_host_talk() {
    on_a_host("talk", |settings| {
        let (a, b) = (reserve(&settings, 1, "").unwrap(), reserve(&settings, 2, "").unwrap());
        assert_eq!(
            (a.subnet.to_string(), a.gateway.to_string()),
            ("172.30.0.0/16".into(), "172.30.0.1".into())
        );
        assert!(a.address != b.address && a.subnet.contains(a.address) && a.prefix == 16);
        assert_eq!(
            (a.host_link.as_str(), a.link.as_str(), a.network.as_str()),
            ("md00000001000", "eth0", "default")
        );
        let text = serde_json::to_string(&a).unwrap();
        assert_eq!(serde_json::from_str::<Attachment>(&text).unwrap(), a);

        let (first, second) = (Container::start(&settings, &a), Container::start(&settings, &b));
        assert!(
            links().is_superset(&["minidocker0".into(), a.host_link.clone(), b.host_link.clone()].into())
        );
        let inside = first.run(|_| (links(), routes()));
        assert_eq!(inside.0, ["lo".into(), "eth0".into()].into());
        let default = ("eth0".to_owned(), Ipv4Addr::UNSPECIFIED, a.gateway, 0);
        let neighbours = ("eth0".to_owned(), a.subnet.network(), Ipv4Addr::UNSPECIFIED, 16);
        assert_eq!(inside.1, [default, neighbours]);

        // Host to container, container to host, container to container, container to itself.
        assert_eq!(hello(first.listen(a.address)), format!("hello {}", a.gateway));
        let host = echo(a.gateway);
        assert_eq!(first.run(move |_| hello(host)), format!("hello {}", a.address));
        let neighbour = second.listen(b.address);
        assert_eq!(first.run(move |_| hello(neighbour)), format!("hello {}", a.address));
        let itself = first.listen(Ipv4Addr::LOCALHOST);
        assert_eq!(first.run(move |_| hello(itself)), "hello 127.0.0.1");

        // The links go with the namespaces.
        drop((first, second));
        let before = Instant::now();
        while links().len() > 2 {
            assert!(before.elapsed() < Duration::from_secs(10), "{:?}", links());
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn a_container_without_a_network_has_loopback_alone() {
    let container = Container::new();
    let itself = container.run(|context| {
        take(&network::plan(&Mode::None, None).loopback, context);
        echo(Ipv4Addr::LOCALHOST)
    });
    assert_eq!(container.run(move |_| hello(itself)), "hello 127.0.0.1");
    assert_eq!(container.run(|_| links()), ["lo".into()].into());
    for mode in [Mode::Host, Mode::Join] {
        let plan = network::plan(&mode, None);
        assert!([plan.host, plan.beside, plan.loopback, plan.inside].iter().all(Vec::is_empty));
    }
}

#[test]
fn sixteen_at_once_make_one_bridge() {
    on_a_host("bridge", |settings| {
        let to = reserve(&settings, 1, "").unwrap();
        let barrier = Barrier::new(16);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let plan = plan_of(&settings, &to);
                    barrier.wait();
                    let mut context = Context::default();
                    take(&plan.host, &mut context);
                    take(&plan.host, &mut context);
                });
            }
        });
        assert_eq!(links(), ["lo".into(), "minidocker0".into()].into());
        assert_eq!(routes(), [("minidocker0".into(), to.subnet.network(), Ipv4Addr::UNSPECIFIED, 16)]);
        // Down again, by somebody: the next start sets it up.
        ip("link set minidocker0 down");
        assert_eq!(routes(), []);
        take(&plan_of(&settings, &to).host, &mut Context::default());
        assert_eq!(routes().len(), 1);
    });
}

#[test]
fn no_first_packet_is_lost_though_many_start() {
    on_a_host("first", |settings| {
        let barrier = Barrier::new(24);
        std::thread::scope(|scope| {
            for n in 0..24 {
                let (settings, barrier) = (&settings, &barrier);
                scope.spawn(move || {
                    let to = reserve(settings, n, "").unwrap();
                    barrier.wait();
                    let container = Container::start(settings, &to);
                    let host = echo(to.gateway);
                    assert_eq!(container.run(move |_| hello(host)), format!("hello {}", to.address));
                });
            }
        });
    });
}

#[test]
fn a_start_after_a_crash_takes_the_old_pairs_place() {
    on_a_host("again", |settings| {
        let to = reserve(&settings, 1, "").unwrap();
        let old = Container::start(&settings, &to);
        assert_eq!(reserve(&settings, 1, "").unwrap(), to);
        let new = Container::start(&settings, &to);
        assert_eq!(hello(new.listen(to.address)), format!("hello {}", to.gateway));
        assert_eq!(old.run(|_| links()), ["lo".into()].into());
    });
}

#[test]
fn failures_name_the_step_and_the_way_out() {
    on_a_host("failures", |settings| {
        let to = reserve(&settings, 1, "").unwrap();
        let plan = plan_of(&settings, &to);
        let fail = |step: &dyn Step, init: Option<i32>| {
            let failure = step.perform(&mut Context { init, ..Context::default() }).unwrap_err();
            (failure.to_string(), failure.hint.unwrap_or_default())
        };
        let pair = plan.beside[0].as_ref();
        assert!(fail(pair, None).0.starts_with("network.veth on md00000001000: there is no process yet"));
        assert!(fail(pair, Some(1)).1.contains("bridge was removed"));
        assert!(fail(plan.inside[0].as_ref(), None).1.contains("must be made first"));
        assert!(
            fail(plan.inside[2].as_ref(), None).0.starts_with("network.route on default via 172.30.0.1:")
        );
        ip("link add minidocker0 type veth peer name x");
        let (text, hint) = fail(plan.host[0].as_ref(), None);
        assert!(text.contains("is no bridge") && hint.contains("--bridge"), "{text} {hint}");
        ip("link delete minidocker0");
        take(&plan.host, &mut Context::default());
        let (text, hint) = fail(pair, Some(i32::MAX));
        assert!(text.contains("network.veth") && hint.contains("init has died"), "{text} {hint}");
    });
}

#[test]
fn the_shells_lines_do_the_same() {
    let to: Attachment = serde_json::from_str(&format!(
        r#"{{"id":"{}","network":"default","bridge":"minidocker0","subnet":"172.30.0.0/16","gateway":"172.30.0.1",
            "address":"172.30.4.5","prefix":16,"mac":[2,66,172,30,4,5],"host_link":"md00000001000","link":"eth0"}}"#,
        id(1)
    ))
    .unwrap();
    let plan = plan_of(&network::Settings::default(), &to);
    let lines = |steps: &Steps| -> String {
        let lines = |step: &dyn Step| match step.shell() {
            Shell::Lines(lines) => lines,
            other => panic!("{other:?}"),
        };
        steps.iter().flat_map(|step| lines(step.as_ref())).collect::<Vec<_>>().join("\n")
    };
    let name = network::netns_name(&to.id);
    let script =
        PathBuf::from(format!("{}/minidocker-shell-{}", std::env::temp_dir().display(), std::process::id()));
    std::fs::write(&script, format!("set -eu\n{}\n{}\n", lines(&plan.loopback), lines(&plan.inside)))
        .unwrap();
    let outside = format!(
        "set -eu; mount -t tmpfs none /run; ip netns add {name}\n{}\n{}\nip netns exec {name} sh {}\n{}\n\
         ip netns exec {name} ip -o -4 address show dev eth0; ip netns exec {name} ip route\n\
         ip -o link show master minidocker0",
        lines(&plan.host),
        lines(&plan.beside),
        script.display(),
        lines(&plan.settled),
    );
    let output =
        std::process::Command::new("unshare").args(["-n", "-m", "sh", "-c", &outside]).output().unwrap();
    std::fs::remove_file(script).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for expected in
        ["inet 172.30.4.5/16 brd 172.30.255.255", "default via 172.30.0.1 dev eth0", "md00000001000@"]
    {
        assert!(text.contains(expected), "{text}");
    }
}
