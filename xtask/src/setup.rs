//! `cargo xtask setup`: installs what the checks and the tests need. A second run finds it all and does nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// Debian's and Ubuntu's names, and what each is for.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc", "bench/floor.c"),
    ("g++", "libFuzzer, which cargo-fuzz's programs bring along"),
    ("libc6-dev", "bench/floor.c"),
    ("libseccomp-dev", "the system call policy is compared with libseccomp's"),
    ("busybox-static", "a root file system in one program; the QEMU machine's first one"),
    ("debootstrap", "a root file system of a distribution"),
    ("strace", "what a start really calls"),
    ("iproute2", "a second opinion on links; the bench's bridges"),
    ("nftables", "a second opinion on rules; what another tool does to them; nft, for --explain=shell"),
    ("conntrack", "a second opinion on flows"),
    ("iputils-ping", "reach containers"),
    ("net-tools", "ifconfig inside containers"),
    ("procps", "ps inside containers"),
    ("criu", "dumps and restores containers"),
    ("iptables", "CRIU holds connections with it"),
    ("util-linux", "unshare, nsenter and setpriv, for --explain=shell"),
    ("attr", "setfattr, for --explain=shell"),
    ("libcap2-bin", "setcap, for files that a copy must keep"),
    ("hostname", "hostname, for --explain=shell"),
    ("bsdutils", "script, for terminals"),
    ("bash-completion", "completes our command line in bash, as distributions have it"),
    ("zsh", "completes our command line"),
    ("fish", "likewise"),
    ("mandoc", "reads our manual pages, and complains"),
    ("man-db", "likewise"),
    ("openssl", "certificates for the tests' registries"),
    ("python3", "a client and a server from outside the project"),
    ("umoci", "a second opinion on unpacked layers, and on layouts"),
    ("skopeo", "a second opinion on registries, and on images in files"),
    ("buildah", "a second opinion on Dockerfiles"),
    ("zstd", "layers for the tests' registries"),
    ("git", "contexts of builds in repositories"),
    ("xz-utils", "archives for builds and imports; Docker unpacks by it"),
    ("bzip2", "likewise"),
    ("sysbench", "what the lab's suites measure with"),
    ("kmod", "modules of the QEMU machine"),
    (
        "e2fsprogs",
        "the QEMU machine's disk; a second opinion on images that we format; mkfs.ext4, for --explain=shell",
    ),
    ("qemu-system-common", "the QEMU machine"),
];

/// Engines that start our runtime in the tests (tests/tests/engines), and the registry that the client talks to: the
/// package, the file that says that it is there in whatever way it came, and what is wanted of it.
const ENGINES: &[(&str, &str, &str)] = &[
    ("docker.io", "/usr/bin/dockerd", "Docker, which brings runc, tini and iptables along"),
    ("containerd", "/usr/bin/containerd", "containerd, its client ctr and its shim"),
    ("podman", "/usr/bin/podman", "Podman"),
    ("conmon", "/usr/bin/conmon", "what starts Podman's containers"),
    ("netavark", "/usr/lib/podman/netavark", "Podman's networks"),
    ("docker-registry", "/usr/bin/docker-registry", "a registry for images"),
    ("lxc", "/usr/bin/lxc-execute", "LXC, which the lab compares with"),
    ("ufw", "/usr/sbin/ufw", "a firewall that published ports meet"),
    ("firewalld", "/usr/sbin/firewalld", "likewise"),
    ("dbus", "/usr/bin/dbus-daemon", "what firewalld is spoken to by"),
];

/// What of the engines would start with the machine. The tests start daemons of their own.
const SERVICES: [&str; 11] = [
    "docker-registry.service",
    "docker.service",
    "docker.socket",
    "containerd.service",
    "podman.service",
    "podman.socket",
    "podman-auto-update.timer",
    "lxc.service",
    "lxc-net.service",
    "ufw.service",
    "firewalld.service",
];

/// Asked by packages before they start a service (invoke-rc.d(8), deb-systemd-invoke(1)); 101 is a no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Pinned, so that a new release of a tool does not fail an old commit.
const CARGO_DENY: &str = "0.20.2";
const CARGO_FUZZ: &str = "0.13.2";

/// Installs what is missing.
pub(crate) fn setup() -> Result<()> {
    let missing: Vec<&str> = packages().into_iter().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        eprintln!("packages: all there");
    } else {
        install(&missing)?;
    }
    engines()?;
    other_architecture();
    cargo_tool("deny", CARGO_DENY)?;
    cargo_fuzz()
}

/// What builds the programs of the fuzzer, if it is missing.
pub(crate) fn cargo_fuzz() -> Result<()> {
    cargo_tool("fuzz", CARGO_FUZZ)
}

/// The engines. None of their services is started, now or with the machine, unless it was there before.
fn engines() -> Result<()> {
    let places =
        |path: &str| [path.to_owned(), path.replace("/bin/", "/sbin/"), path.replace("/usr/", "/usr/local/")];
    let there = |path: &str| places(path).iter().any(|path| Path::new(path).exists());
    let missing: Vec<&str> =
        ENGINES.iter().filter(|(_, path, _)| !there(path)).map(|(package, ..)| *package).collect();
    if missing.is_empty() {
        eprintln!("engines: all there");
        return Ok(());
    }
    let own = !Path::new(POLICY).exists();
    if own {
        let script = format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}");
        process::run(as_root("sh")?.args(["-c", &script]))?;
    }
    let installed = install(&missing);
    if own {
        process::run(as_root("rm")?.arg(POLICY))?;
    }
    installed?;
    if process::find("systemctl").is_some() {
        let enabled = |unit: &&str| {
            let query = Command::new("systemctl").args(["is-enabled", unit]).output();
            query.is_ok_and(|output| output.stdout == b"enabled\n")
        };
        let brought = |unit: &&str| missing.iter().any(|package| package.starts_with(stem(unit)));
        let units: Vec<&str> = SERVICES.into_iter().filter(brought).filter(enabled).collect();
        if !units.is_empty() {
            process::run(as_root("systemctl")?.arg("disable").args(units))?;
        }
    }
    Ok(())
}

/// The package's name in a unit's: `podman` of `podman-auto-update.timer`.
fn stem(unit: &str) -> &str {
    unit.split(['-', '.']).next().unwrap_or(unit)
}

/// The other architecture's standard library, so that `check` can compile for it. Not every machine can have it, and
/// `check` says so where it is missing.
fn other_architecture() {
    let listed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    let Ok(listed) = listed else { return };
    if !String::from_utf8_lossy(&listed.stdout).lines().any(|target| target == crate::check::OTHER_TARGET) {
        let added = Command::new("rustup").args(["target", "add", crate::check::OTHER_TARGET]).status();
        if !added.is_ok_and(|status| status.success()) {
            eprintln!("note: the standard library for {} cannot be had here", crate::check::OTHER_TARGET);
        }
    }
}

/// The packages for this machine: the QEMU machine's differ by distribution and architecture.
fn packages() -> Vec<&'static str> {
    let mut packages: Vec<&str> = PACKAGES.iter().map(|(package, _)| *package).collect();
    if cfg!(target_arch = "x86_64") {
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let ubuntu = system.lines().any(|line| line == "ID=ubuntu");
        packages.push("qemu-system-x86");
        // ring compiles C even to be checked.
        packages.extend(["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]);
        packages.push(if ubuntu { "linux-image-virtual" } else { "linux-image-cloud-amd64" });
        if crate::vm::virtiofsd().is_none() && !in_qemu_system_common(&system) {
            packages.push("virtiofsd");
        }
    }
    packages
}

/// Up to Debian 12 and Ubuntu 22.04 the daemon that shares folders belongs to QEMU, later it is a package.
fn in_qemu_system_common(os_release: &str) -> bool {
    os_release.lines().any(|line| matches!(line, "VERSION_ID=\"12\"" | "VERSION_ID=\"22.04\""))
}

fn installed(package: &str) -> bool {
    let query = Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]).output();
    query.is_ok_and(|output| output.stdout == b"install ok installed")
}

fn install(missing: &[&str]) -> Result<()> {
    if process::find("apt-get").is_none() {
        bail!("no apt-get here: install what corresponds to {}", missing.join(" "));
    }
    process::run(as_root("apt-get")?.args(["update", "-q"]))?;
    // Without recommendations: some of them (qemu-utils) clash with what images of such machines bring along.
    let mut command = as_root("apt-get")?;
    command.args(["install", "-q", "-y", "--no-install-recommends"]).args(missing);
    process::run(&mut command)
}

/// A command with root's rights.
fn as_root(program: &str) -> Result<Command> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("env")
    } else if process::find("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.arg("env");
        sudo
    } else {
        bail!("{program} needs root: run `cargo xtask setup` as root, or install sudo");
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", program]);
    Ok(command)
}

/// `cargo NAME` in this version.
fn cargo_tool(name: &str, version: &str) -> Result<()> {
    let package = format!("cargo-{name}");
    let found = process::cargo().args([name, "--version"]).output().context("start cargo")?;
    if String::from_utf8_lossy(&found.stdout).trim() == format!("{package} {version}") {
        eprintln!("{package} {version}: there");
        return Ok(());
    }
    // Without optimisation: it is built once and run for a second.
    let mut command = process::cargo();
    command.current_dir("/").args(["install", "--locked", "--force", "--debug", &package]);
    command.args(["--version", version]).env("CARGO_PROFILE_DEV_DEBUG", "0");
    process::run(&mut command)
}
