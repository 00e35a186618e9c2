//! Our programs against libseccomp's, and against the plain meaning of the rules: each program runs in an interpreter
//! on every number of every architecture and on the argument values that its rules can tell apart.
//!
//! libseccomp is asked through `golden.c`, which needs a C compiler and the package libseccomp-dev. Intended
//! differences are two, both in `compare`: the newest names, and ENOSYS for what is newer than the profile. Not
//! compared is what libseccomp 2.5.4 itself gets wrong or leaves to an order of its own; there the plain meaning alone
//! is the judge (`overlapping_rules_mean_what_is_written`):
//! - several rules of one call with several conditions each: it merges their trees wrongly, and answers with a rule's
//!   action where no rule matches;
//! - rules of one call that overlap and differ in their action: sorted by argument and value, or EEXIST;
//! - optimization level 1: where the first call of its list does not exist on an architecture, the program forgets to
//!   load the number there. runc takes level 2 for more than 32 rules, and so do these tests for all.

mod bpf;
mod profile;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use minidocker_seccomp::{Arch, Error, Instruction, compile_for, default_profile, syscall_number};
use oci::spec::Capability;

use bpf::Data;
use profile::{Kind, Meaning, Profile, Random, Rule};

/// Calls that Debian 12's libseccomp (2.5.4-1+deb12u1, Linux 6.7) does not know and we do: where a profile names them,
/// libseccomp's filter has the default action.
const NEWER_THAN_LIBSECCOMP: [&str; 17] = [
    "file_getattr",
    "file_setattr",
    "getxattrat",
    "listmount",
    "listns",
    "listxattrat",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "mseal",
    "open_tree_attr",
    "removexattrat",
    "rseq_slice_yield",
    "setxattrat",
    "statmount",
    "uprobe",
    "uretprobe",
];

/// `golden.c`, compiled once.
fn golden() -> &'static PathBuf {
    static GOLDEN: OnceLock<PathBuf> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.c");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        // Another run of the tests may be using the one that is there.
        let (new, binary) = (folder.join(format!("golden-{}", std::process::id())), folder.join("golden"));
        let output = Command::new("cc")
            .args(["-Wall", "-Werror", "-o"])
            .arg(&new)
            .args([source, "-lseccomp"])
            .output()
            .expect("this test needs a C compiler (Debian: apt-get install gcc libseccomp-dev)");
        assert!(
            output.status.success(),
            "this test needs libseccomp's headers (Debian: apt-get install libseccomp-dev)\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::rename(new, &binary).unwrap();
        binary
    })
}

/// libseccomp's program, and the names that it did not know.
fn libseccomp(profile: &Profile) -> (Vec<Instruction>, Vec<String>) {
    let mut text = format!("default {:x}\noptimize 2\n", profile.default);
    for arch in &profile.arches {
        text += &format!("arch {}\n", format!("{arch:?}").to_lowercase());
    }
    // libseccomp refuses a rule with the default action; runc leaves it out, and so do we.
    for Rule { name, action, conditions } in
        profile.rules.iter().filter(|rule| rule.action != profile.default)
    {
        text += &format!("rule {action:x} {name}");
        for condition in conditions {
            text += &format!(
                " {} {} {:x} {:x}",
                condition.argument, condition.operator, condition.a, condition.b
            );
        }
        text += "\n";
    }
    let mut child = Command::new(golden())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}{text}");
    let unknown = stderr.lines().map(|line| line.strip_prefix("unknown ").unwrap().to_owned()).collect();
    let program = output.stdout.as_chunks::<8>().0.iter().map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| {
        Instruction { code: u16::from_ne_bytes([c0, c1]), jt, jf, k: u32::from_ne_bytes([k0, k1, k2, k3]) }
    });
    (program.collect(), unknown)
}

/// Runs both programs on all calls; returns how many cases there were.
fn compare(profile: &Profile, random: &mut Random) -> usize {
    let ours = compile_for(profile.native, &profile.to_oci()).unwrap();
    let (theirs, unknown) = libseccomp(profile);
    let meaning = profile.meaning();
    for name in &unknown {
        assert!(NEWER_THAN_LIBSECCOMP.contains(&name.as_str()), "libseccomp does not know {name}");
    }
    let unknown: Vec<(u32, u32)> = profile
        .arches
        .iter()
        .flat_map(|arch| unknown.iter().filter_map(|name| Some((arch.audit(), syscall_number(*arch, name)?))))
        .collect();
    let mut cases = 0;
    for call in profile::every_call() {
        for args in meaning.arguments(&call, random) {
            let data = Data { args, ..call };
            let our = bpf::run(ours.instructions(), &data);
            let their = bpf::run(&theirs, &data);
            assert_eq!(our, meaning.of(&data), "ours on {data:x?}, rules {:x?}", meaning.rules_of(&data));
            // The two intended differences: a number above all of the profile's gets ENOSYS, as runc adds it to
            // libseccomp's program; and libseccomp does not know the newest names.
            let expected = if meaning.is_newer(&data) || unknown.contains(&(data.arch, data.nr)) {
                profile.default
            } else {
                our
            };
            assert_eq!(
                their,
                expected,
                "libseccomp's on {data:x?}, default {:x}, native {:?}, rules {:x?}",
                profile.default,
                profile.native,
                meaning.rules_of(&data)
            );
            cases += 1;
        }
    }
    cases
}

/// What Docker gives a container, and what the policy asks for.
fn capability_sets() -> Vec<Vec<Capability>> {
    use Capability as C;
    let docker = vec![
        C::Chown,
        C::DacOverride,
        C::Fowner,
        C::Fsetid,
        C::Kill,
        C::Setgid,
        C::Setuid,
        C::Setpcap,
        C::NetBindService,
        C::NetRaw,
        C::SysChroot,
        C::Mknod,
        C::AuditWrite,
        C::Setfcap,
    ];
    let asked = [
        C::DacReadSearch,
        C::SysAdmin,
        C::SysBoot,
        C::SysModule,
        C::SysPacct,
        C::SysPtrace,
        C::SysRawio,
        C::SysTime,
        C::SysTtyConfig,
        C::SysNice,
        C::Syslog,
        C::Bpf,
        C::Perfmon,
    ];
    let mut sets = vec![vec![], docker.clone(), [docker.as_slice(), &asked].concat()];
    sets.extend(asked.iter().map(|one| vec![*one]));
    sets
}

#[test]
fn the_default_policy_is_libseccomps() {
    let mut random = Random(1);
    let mut cases = 0;
    for native in [Arch::X86_64, Arch::Aarch64] {
        for set in capability_sets() {
            for kernel in [(4, 7), (6, 18)] {
                let profile = Profile::from_oci(native, &default_profile(native, &set, kernel));
                cases += compare(&profile, &mut random);
            }
        }
    }
    assert!(cases > 100_000, "{cases}");
}

#[test]
fn small_profiles_are_libseccomps() {
    let names = profile::all_names();
    let mut random = Random(2);
    for _ in 0..150 {
        compare(&random.profile(40, &names, Kind::OneRule), &mut random);
    }
}

#[test]
fn profiles_with_many_rules_a_call_are_libseccomps() {
    let names =
        ["socket", "clone", "accept", "semtimedop", "personality", "arm_fadvise64_64", "read", "set_tls"];
    let mut random = Random(3);
    for _ in 0..150 {
        compare(&random.profile(12, &names, Kind::OneCondition), &mut random);
    }
}

/// Our program alone: see above.
#[test]
fn overlapping_rules_mean_what_is_written() {
    let all = profile::all_names();
    let few = ["socket", "clone", "accept", "shmat", "read"];
    let mut random = Random(4);
    for round in 0..300 {
        let (calls, names) = if round % 2 == 0 { (30, &few[..]) } else { (300, &all[..]) };
        let profile = random.profile(calls, names, Kind::Overlapping);
        check_meaning(&profile, &profile.meaning(), &mut random);
    }
}

fn check_meaning(profile: &Profile, meaning: &Meaning, random: &mut Random) {
    let program = compile_for(profile.native, &profile.to_oci()).unwrap();
    for call in profile::every_call() {
        for args in meaning.arguments(&call, random) {
            let data = Data { args, ..call };
            let our = bpf::run(program.instructions(), &data);
            assert_eq!(our, meaning.of(&data), "{data:x?}, rules {:x?}", meaning.rules_of(&data));
        }
    }
}

#[test]
fn every_jump_of_a_long_program_finds_its_target() {
    // One call with so many conditions that returns, chains and subtrees are out of a jump's reach of 255.
    let mut random = Random(5);
    let mut rules = Vec::new();
    for name in ["read", "clone", "write", "socket", "close"] {
        for value in 0..60 {
            let mut conditions = vec![random.condition()];
            conditions[0].a = value * 3;
            let actions = [profile::ALLOW, profile::ERRNO | 7, 0x7ffc_0000];
            rules.push(Rule { name: name.to_owned(), action: *random.pick(&actions), conditions });
        }
    }
    let profile =
        Profile { native: Arch::X86_64, default: profile::ERRNO | 1, arches: Arch::ALL.to_vec(), rules };
    let program = compile_for(Arch::X86_64, &profile.to_oci()).unwrap();
    assert!(program.instructions().len() > 1500, "{}", program.instructions().len());
    check_meaning(&profile, &profile.meaning(), &mut random);
}

#[test]
fn a_profile_beyond_the_kernels_limit_is_an_error() {
    let condition =
        |value: u64| profile::Condition { argument: 1, operator: 4, a: value << 16 | value, b: 0 };
    let rule =
        |value| Rule { name: "read".to_owned(), action: profile::ALLOW, conditions: vec![condition(value)] };
    let mut profile = Profile {
        native: Arch::X86_64,
        default: profile::ERRNO | 1,
        arches: vec![],
        rules: (0..1000).map(rule).collect(),
    };
    compile_for(Arch::X86_64, &profile.to_oci()).unwrap();
    profile.rules.extend((1000..1100).map(rule));
    let error = compile_for(Arch::X86_64, &profile.to_oci()).unwrap_err();
    assert!(matches!(error, Error::TooLong(4400..4500)), "{error}");
}

#[test]
fn the_default_program_is_short_and_shallow() {
    let profile = default_profile(Arch::X86_64, &[], (6, 18));
    let program = compile_for(Arch::X86_64, &profile).unwrap();
    let (length, way) = (program.instructions().len(), longest_way(program.instructions()));
    assert!(length < 600, "{length} instructions");
    assert!(way < 40, "{way} instructions on the longest way");
}

/// The longest way through the program, in instructions; and every jump must stay within it.
fn longest_way(program: &[Instruction]) -> usize {
    let mut ways = vec![0usize; program.len()];
    for at in (0..program.len()).rev() {
        let Instruction { code, jt, jf, k } = program[at];
        ways[at] = 1 + match code {
            0x06 => 0,
            0x05 => ways[at + 1 + k as usize],
            0x15 | 0x25 | 0x35 | 0x45 => ways[at + 1 + usize::from(jt)].max(ways[at + 1 + usize::from(jf)]),
            _ => ways[at + 1],
        };
    }
    ways[0]
}
