//! Tests of what command lines mean: from the words that were typed to the engine's request.

use std::io::Write as _;
use std::path::Path;

use engine::request::{Namespace, TimeOffsets, Ulimit, UserNamespace};

use super::super::{COMMAND, conflicts};
use super::*;
use crate::options;

fn read_words(words: &[&str]) -> Result<RunRequest, Problem> {
    let caller = Caller {
        variable: &|name| (name == "HOME").then(|| "/root".to_owned()),
        directory: &|| Ok(PathBuf::from("/here")),
    };
    let typed = options::parse(&COMMAND, words.iter().map(|&word| word.to_owned()).collect())?.unwrap();
    let request = read(&typed, &caller)?;
    conflicts::check(&typed, &request)?;
    Ok(request)
}

fn request(line: &str) -> RunRequest {
    read_words(&line.split_whitespace().collect::<Vec<_>>())
        .unwrap_or_else(|problem| panic!("{line}: {problem:?}"))
}

fn refused(line: &str) -> String {
    read_words(&line.split_whitespace().collect::<Vec<_>>()).expect_err(line).message
}

#[test]
fn the_main_job() {
    let read = request(
        "-it --rootfs ./new_root --hostname administrator --ip 10.0.0.1 --memory 10m --cpus 1 bash -l --rm",
    );
    assert_eq!(read.image, Image::Directory("/here/new_root".into()));
    assert_eq!(read.command, ["bash", "-l", "--rm"]);
    assert!(read.interactive && read.tty && !read.detach && !read.remove);
    assert_eq!(read.namespaces.hostname.as_deref(), Some("administrator"));
    assert_eq!(read.network.ip.map(|(ip, prefix)| (ip.to_string(), prefix)), Some(("10.0.0.1".into(), None)));
    assert_eq!((read.resources.memory, read.resources.milli_cpus), (Some(10 << 20), Some(1000)));
}

#[test]
fn options_end_at_the_first_word() {
    let read = request("--rm host ls -l --name x -- -h --help");
    assert_eq!(read.command, ["ls", "-l", "--name", "x", "--", "-h", "--help"]);
    assert_eq!((read.image, read.name, read.remove), (Image::Host, None, true));
    assert_eq!(request("-- host -x").command, ["-x"]);
    assert_eq!(request("--rootfs /r:overlay").image, Image::DirectoryOverlay("/r".into()));
    assert_eq!(request("--rootfs /r host x").command, ["host", "x"]);
}

#[test]
fn short_forms_and_truth_values() {
    let read = request("-itd=false --rm=false --init=1 -m10m -w=/work -eA=1 -e B=2 host");
    assert!(read.interactive && read.tty && !read.detach && !read.remove && read.process.init);
    assert_eq!(read.resources.memory, Some(10 << 20));
    assert_eq!(read.process.workdir.as_deref(), Some(Path::new("/work")));
    assert_eq!(
        read.process.env,
        [("A".to_owned(), Some("1".to_owned())), ("B".to_owned(), Some("2".to_owned()))]
    );
    assert_eq!(refused("--rm=maybe host"), "--rm maybe: neither true nor false");
    assert_eq!(request("--name aa --name bb host").name.as_deref(), Some("bb"));
    assert!(!request("--rm --rm=false host").remove);
}

#[test]
fn nothing_given_is_the_default_everywhere() {
    let read = request("host");
    assert_eq!(read.process, Process::default());
    assert_eq!(read.namespaces, Namespaces::default());
    assert_eq!(read.network, Network::default());
    assert_eq!(read.storage, Storage::default());
    assert_eq!(read.security, Security::default());
    assert_eq!(read.resources, Resources::default());
    assert_eq!(
        request("--memory 0 --cpus 0 --pids-limit 0 --memory-swap 0 --blkio-weight 0 host").resources,
        Resources::default()
    );
}

#[test]
fn process_options() {
    let read = request(
        "-u 1000:audio --group-add video --group-add 7 -e HOME -e AWAY -e X=a=b --umask 027 --ulimit nofile=1024:2048 \
         --ulimit core=-1 --oom-score-adj -500 --entrypoint /init --stop-signal TERM host",
    );
    let process = &read.process;
    assert_eq!(
        (process.user.as_deref(), &process.groups[..]),
        (Some("1000:audio"), &["video".to_owned(), "7".to_owned()][..])
    );
    let variables: Vec<_> =
        process.env.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    assert_eq!(variables, [("HOME", Some("/root")), ("AWAY", None), ("X", Some("a=b"))]);
    assert_eq!((process.umask, process.oom_score_adj), (Some(0o27), Some(-500)));
    assert_eq!(process.ulimits[0], Ulimit { name: "nofile".into(), soft: 1024, hard: 2048 });
    assert_eq!(process.ulimits[1].hard, u64::MAX);
    assert_eq!((read.entrypoint, read.stop_signal), (Some(vec!["/init".to_owned()]), Some(15)));
    assert_eq!(read_words(&["--entrypoint", "", "host"]).unwrap().entrypoint, Some(vec![]));
}

#[test]
fn namespace_options() {
    let read = request(
        "--pid host --ipc none --uts container:web --cgroupns host --userns private:100000 --time private:boottime=9 host",
    );
    let spaces = read.namespaces;
    assert_eq!((spaces.pid, spaces.ipc, spaces.no_shm), (Namespace::Host, Namespace::Private, true));
    assert_eq!(spaces.uts, Namespace::Container("web".into()));
    assert!(spaces.cgroup_host);
    assert_eq!(spaces.user, UserNamespace::Private { host: 100_000, size: 65536 });
    assert_eq!(spaces.time, Some(TimeOffsets { monotonic: 0, boottime: 9 }));
}

#[test]
fn network_options() {
    let read = request(
        "--net bridge --ip 10.0.0.1/8 --mac-address 92:d0:c6:0a:29:33 --add-host db:10.0.0.7 --add-host me=host-gateway \
         --dns 9.9.9.9 --dns-search example.org --dns-opt ndots:2 --dns-option rotate host",
    );
    assert_eq!(read.network.ip.and_then(|(_, prefix)| prefix), Some(8));
    assert_eq!(read.network.mac, Some([0x92, 0xd0, 0xc6, 0x0a, 0x29, 0x33]));
    assert_eq!(read.network.add_hosts[1], ("me".to_owned(), None));
    assert_eq!(read.network.dns_options, ["ndots:2", "rotate"]);
    assert_eq!(request("--network container:web host").network.mode, NetworkMode::Container("web".into()));
    assert_eq!(request("--network default host").network, Network::default());
    let several =
        request("--network web --network name=db,alias=a --ip 10.7.0.9 --ip6 fd00::9 --network-alias b host");
    assert_eq!((several.network.mode, several.network.ip), (NetworkMode::Bridge, None));
    let endpoints = several.network.endpoints.unwrap();
    assert_eq!(endpoints.iter().map(|one| one.network.as_str()).collect::<Vec<_>>(), ["web", "db"]);
    assert_eq!(
        (endpoints[0].aliases.clone(), endpoints[1].aliases.clone()),
        (vec!["b".into()], vec!["a".into()])
    );
    assert!(endpoints[0].ip.is_some() && endpoints[0].ip6.is_some() && endpoints[1].ip.is_none());
}

#[test]
fn a_pod_and_what_is_apart_from_it() {
    let read = request("--pod web --ipc private --uts host host");
    let membership = Membership { pod: "web".to_owned(), apart: vec![Share::Ipc, Share::Uts] };
    assert_eq!(read.pod, Role::Member(membership));
    assert_eq!(request("--pod= host").pod, Role::Alone);
    let shared = "its namespace is shared, it would change more than this container";
    for (option, parameter) in [("", "net.core.somaxconn=9"), ("", "kernel.msgmax=9")] {
        let line = format!("--pod web {option} --sysctl {parameter} host");
        assert_eq!(refused(&line), format!("--sysctl {parameter}: {shared}"));
    }
    request("--pod web --ipc private --sysctl kernel.msgmax=9 host");
}

#[test]
fn a_new_pod_has_what_is_typed_of_its_network() {
    let mut read = request("--pod new:web -p 8080:80 -h front --shm-size 1m --dns 9.9.9.9 host");
    let new = super::super::new_pod(&mut read).unwrap().unwrap();
    assert_eq!((new.name.as_deref(), new.hostname.as_deref()), (Some("web"), Some("front")));
    assert_eq!((new.network.publish.len(), new.network.dns.len(), new.shm_size), (1, 1, Some(1 << 20)));
    assert_eq!((read.network, read.namespaces.hostname), (Network::default(), None));
    assert_eq!(read.pod, Role::Member(Membership { pod: "web".to_owned(), apart: Vec::new() }));
    for bad in ["--pod new: host", "--pod new:a/b host"] {
        let problem = super::super::new_pod(&mut request(bad)).unwrap_err();
        assert!(problem.message.starts_with("--pod new:"), "{}", problem.message);
    }
    assert_eq!(super::super::new_pod(&mut request("--pod web host")).unwrap(), None);
}

#[test]
fn mounts_keep_their_order() {
    let read = request(
        "--tmpfs /c -v ./a:/a:ro --mount type=bind,src=/b,dst=/b --tmpfs /d:size=1m --read-only --shm-size 1g host",
    );
    let targets: Vec<_> = read.storage.mounts.iter().map(|mount| mount.target().to_str().unwrap()).collect();
    assert_eq!(targets, ["/c", "/a", "/b", "/d"]);
    assert!(
        matches!(&read.storage.mounts[1], Mount::Bind { source, read_only: true, .. } if source == Path::new("/here/a"))
    );
    assert!(read.storage.read_only);
    assert_eq!(read.storage.shm_size, Some(1 << 30));
    assert_eq!(
        refused("-v /a:/x --tmpfs /y/../x host"),
        "--tmpfs /y/../x: something is mounted on /x already"
    );
}

#[test]
fn security_options() {
    let read = request(
        "--cap-drop all --cap-add net_admin --cap-add CAP_KILL --security-opt no-new-privileges --security-opt seccomp=unconfined \
         --security-opt systempaths=unconfined --security-opt apparmor=x --sysctl net.core.somaxconn=9 --device /dev/fuse:r host",
    );
    let all = read.security;
    assert_eq!(
        (&all.cap_add[..], &all.cap_drop[..]),
        (&["NET_ADMIN".to_owned(), "KILL".to_owned()][..], &["ALL".to_owned()][..])
    );
    assert!(all.no_new_privileges && all.unmasked && all.seccomp == Seccomp::Unconfined);
    assert_eq!(all.apparmor.as_deref(), Some("x"));
    assert_eq!(all.sysctls["net.core.somaxconn"], "9");
    assert_eq!(all.devices[0].access, "r");
    assert_eq!(
        request("--security-opt no-new-privileges --security-opt no-new-privileges=false host").security,
        Security::default()
    );
}

#[test]
fn limits_on_resources() {
    let read = request(
        "-m 1g --memory-reservation 512m --memory-swap -1 --memory-swappiness 10 --oom-kill-disable --cpu-period 50000 \
         --cpu-quota -1 -c 512 --cpuset-cpus 0-1 --cpuset-mems 0 --pids-limit 100 --blkio-weight 500 \
         --blkio-weight-device /dev/sda:200 --device-read-bps /dev/sda:1m --device-write-bps /dev/sda:2m \
         --device-read-iops /dev/sda:3 --device-write-iops /dev/sda:4 --hugetlb 2MB=4m --net-cls-classid 1:2 \
         --net-prio eth0=3 --cgroup-conf memory.high=5 --cgroup-parent a host",
    )
    .resources;
    assert_eq!((read.memory, read.memory_swap, read.memory_swappiness), (Some(1 << 30), Some(-1), Some(10)));
    assert_eq!(
        (read.cpu_period, read.cpu_quota, read.cpu_shares, read.pids),
        (Some(50_000), Some(-1), Some(512), Some(100))
    );
    assert_eq!(
        (read.read_bps[0].1, read.write_bps[0].1, read.read_iops[0].1, read.write_iops[0].1),
        (1 << 20, 2 << 20, 3, 4)
    );
    assert_eq!(
        (read.blkio_weight, read.blkio_weight_devices[0].1, read.net_cls),
        (Some(500), 200, Some(0x1_0002))
    );
    assert_eq!((read.hugetlb[0].1, read.net_prio[0].1, read.raw["memory.high"].as_str()), (4 << 20, 3, "5"));
    assert_eq!(read.cgroup_parent.as_deref(), Some("/a"));
    assert_eq!(request("--memory-swappiness -1 --pids-limit -1 host").resources.pids, Some(-1));
}

#[test]
fn contradictions() {
    let cases = [
        ("-d -a stdout host", "--attach with --detach: a container in the background has no streams"),
        ("--network host --ip 10.0.0.1 host", "--ip with --network host: the host has its addresses already"),
        (
            "--network none --ip 10.0.0.1 host",
            "--ip with --network none: there is no interface to give it to",
        ),
        ("--uts host -h x host", "--hostname with --uts: the name belongs to whom the namespace does"),
        (
            "--cpus 1 --cpu-quota 5000 host",
            "--cpus with --cpu-quota: --cpus sets the quota itself, leave one out",
        ),
        (
            "--cpus 1 --cpu-period 5000 host",
            "--cpus with --cpu-period: --cpus sets the period itself, leave one out",
        ),
        (
            "--memory-swap 1g host",
            "--memory-swap without --memory: it limits both together, give --memory too",
        ),
        (
            "-m 2g --memory-swap 1g host",
            "--memory-swap is below --memory: it limits memory and swap together",
        ),
        (
            "-m 1g --memory-reservation 2g host",
            "--memory-reservation is above --memory: the soft limit is the lower one",
        ),
        (
            "--network host --network none host",
            "--network host, none and container:NAME take no other network beside them",
        ),
        (
            "--network none --ip6 fd00::9 host",
            "--ip6, --network-alias, --link and --link-local-ip need a network of the container's own",
        ),
        (
            "--network name=web,ip=10.7.0.9 --ip 10.7.0.8 host",
            "conflicting options: --ip and ip= of the same --network",
        ),
        (
            "--network host --sysctl net.core.somaxconn=9 host",
            "--sysctl net.core.somaxconn=9: its namespace is shared, it would change more than this container",
        ),
        (
            "--privileged --userns private host",
            "--privileged with --userns private: root of a user namespace has no power over the host's devices",
        ),
    ];
    for (line, message) in cases {
        assert_eq!(refused(line), message, "{line}");
    }
    for line in [
        "-d --rm host",
        "-a stdout -a STDERR host",
        "-i -a stdin -a stdout -a stderr host",
        "-m 1g --memory-swap 1g host",
        "--memory-swap -1 host",
        "--detach-keys ctrl-p,ctrl-q host",
        "-t --sig-proxy=false host",
        "--privileged --cap-drop ALL host",
    ] {
        request(line);
    }
}

#[test]
fn files_are_read_and_the_command_line_wins() {
    let path = std::env::temp_dir().join(format!("minidocker-request-{}", std::process::id()));
    let write = |text: &[u8]| std::fs::File::create(&path).and_then(|mut file| file.write_all(text)).unwrap();
    let name = path.to_str().unwrap();
    write(b"# comment\nA=file\nHOME\nAWAY\n");
    let read =
        read_words(&["-e", "A=typed", "--env-file", name, "--label", "A=l", "--label-file", name, "host"])
            .unwrap();
    let variables: Vec<_> =
        read.process.env.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    assert_eq!(variables, [("A", Some("file")), ("HOME", Some("/root")), ("A", Some("typed"))]);
    assert_eq!(read.labels["A"], "l");
    assert_eq!(read.labels["HOME"], "");
    write(b"\xff\xfe");
    let problem = read_words(&["--env-file", name, "host"]).unwrap_err();
    assert_eq!(problem.message, format!("--env-file {name}: not UTF-8"));
    let option = format!("seccomp={name}");
    write(b"{\"defaultAction\": \"SCMP_ACT_ALLOW\"}");
    let read = read_words(&["--security-opt", &option, "host"]).unwrap();
    assert!(
        matches!(read.security.seccomp, Seccomp::Profile(file, text) if file == path && text.contains("ALLOW"))
    );
    write(b"{");
    let problem = read_words(&["--security-opt", &option, "host"]).unwrap_err();
    assert!(problem.message.starts_with(&format!("--security-opt {option}: not JSON: ")));
    std::fs::remove_file(&path).unwrap();
    let problem = read_words(&["--env-file", name, "host"]).unwrap_err();
    assert_eq!(problem.message, format!("--env-file {name}: no such file or directory"));
    assert_eq!(
        read_words(&["--env-file", "/dev/zero", "host"]).unwrap_err().message,
        "--env-file /dev/zero: more than 4 MiB"
    );
}
