//! Finding the program to execute, and saying why it cannot be: most reports of "permission denied" or "no such file"
//! are a missing execute bit, a missing interpreter or the wrong architecture.

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use step::{Context, Failure, Shell, Step, quote};

use crate::container::First;

/// What init becomes.
#[derive(Debug)]
pub struct Program {
    /// The words, the program first.
    pub args: Vec<CString>,
    /// `NAME=value` each.
    pub env: Vec<CString>,
    /// The user it runs as, to own its standard streams.
    pub owner: u32,
    /// Whether init becomes it.
    pub first: First,
    /// Where the environment has no HOME, the user's directory in the container's /etc/passwd.
    pub home: bool,
}

/// Where the program is, and what may be wrong with it.
#[derive(Debug)]
pub(crate) struct Found {
    /// To give to execve(2).
    pub(crate) path: CString,
    /// Why the kernel may not know its format. Not an error yet: binfmt_misc may know more than we do.
    pub(crate) suspicion: Option<Failure>,
}

/// Docker's default where the container's environment has no PATH.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const FIND: &str = "exec.find";

impl Program {
    fn name(&self) -> &CStr {
        self.args.first().map_or(c"", CString::as_c_str)
    }

    /// The environment, with a HOME. The image's file is not trusted: only a regular one is read, and not for ever.
    pub(crate) fn environment(&self) -> Vec<CString> {
        let mut env = self.env.clone();
        let is_home = |variable: &CString| variable.to_bytes().starts_with(b"HOME=");
        let has_home = |variable: &CString| is_home(variable) && variable.to_bytes().len() > b"HOME=".len();
        if self.home && !env.iter().any(has_home) {
            env.retain(|variable| !is_home(variable));
            let home = home_of(self.owner).unwrap_or_else(|| b"/".to_vec());
            env.extend(CString::new([b"HOME=", home.as_slice()].concat()));
        }
        env
    }

    /// The environment that was asked for, as text.
    pub(crate) fn environment_words(&self) -> Vec<String> {
        self.env.iter().map(|variable| variable.to_string_lossy().into_owned()).collect()
    }

    /// Looks for the program with the rights and in the root that it will run with.
    pub(crate) fn find(&self) -> Result<Found, Failure> {
        let name = self.name().to_bytes();
        if name.is_empty() {
            return Err(absent("", "the command is empty"));
        }
        if self.first == First::Pause {
            return Ok(Found { path: self.name().to_owned(), suspicion: None });
        }
        if name.contains(&b'/') {
            let path = Path::new(OsStr::from_bytes(name));
            return match examine(path) {
                Ok(suspicion) => Ok(Found { path: self.name().to_owned(), suspicion }),
                Err(failure) => Err(failure),
            };
        }
        self.search(name)
    }

    /// As execvp(3): the first file that may be executed; else what was wrong with the first that may not.
    fn search(&self, name: &[u8]) -> Result<Found, Failure> {
        let path =
            self.env.iter().find_map(|var| var.to_bytes().strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH);
        let mut refused = None;
        for dir in path.split(|byte| *byte == b':') {
            let dir = if dir.is_empty() { b".".as_slice() } else { dir };
            let candidate = Path::new(OsStr::from_bytes(dir)).join(OsStr::from_bytes(name));
            if rustix::fs::access(&candidate, Access::EXISTS).is_err() {
                continue;
            }
            match examine(&candidate) {
                Ok(suspicion) => {
                    let path = CString::new(candidate.as_os_str().as_bytes()).unwrap_or_default();
                    return Ok(Found { path, suspicion });
                }
                Err(failure) => refused = refused.or(Some(failure)),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let name = String::from_utf8_lossy(name);
            absent(&name, "executable file not found in $PATH").hint(format!(
                "the image has no {name} in {}; give a path, or another command",
                String::from_utf8_lossy(path)
            ))
        }))
    }

    /// The kernel refused the program that [`Self::find`] had found.
    pub(crate) fn refused(&self, errno: i32, suspicion: Option<Failure>) -> Failure {
        let name = self.name().to_string_lossy();
        let errno = Errno::from_raw_os_error(errno);
        match (errno, suspicion) {
            (_, Some(suspicion)) if suspicion.errno == errno.raw_os_error() => suspicion,
            (Errno::TOOBIG, _) => {
                Failure::new("exec", name, errno).hint("arguments and environment are too long")
            }
            (Errno::PERM, _) => Failure::new("exec", name, errno)
                .hint("the program has file capabilities that the container may not have; see --cap-add"),
            (Errno::ACCESS, _) => Failure::new("exec", name, errno)
                .hint("the program, or a directory on the way to it, may not be used by this user: choose one with -u"),
            _ => Failure::new("exec", name, errno),
        }
    }
}

/// The sixth field of the user's line in /etc/passwd, passwd(5).
pub(crate) fn home_of(uid: u32) -> Option<Vec<u8>> {
    const MOST: usize = 1 << 20;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open("/etc/passwd", flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut text = vec![0; usize::try_from(stat.st_size).ok()?.min(MOST)];
    let read = rustix::io::read(&file, &mut text).ok()?;
    let wanted = uid.to_string();
    text[..read].split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
        let is_wanted = fields.get(2).is_some_and(|field| *field == wanted.as_bytes());
        is_wanted.then(|| fields.get(5).map(|home| home.to_vec())).flatten()
    })
}

fn absent(name: &str, reason: &str) -> Failure {
    Failure { errno: Errno::NOENT.raw_os_error(), ..Failure::because(FIND, name, reason) }
}

fn forbidden(path: &Path, reason: impl Into<String>) -> Failure {
    Failure { errno: Errno::ACCESS.raw_os_error(), ..Failure::because(FIND, path.to_string_lossy(), reason) }
}

/// Whether `path` can be executed; a suspicion where its format is unknown to us.
fn examine(path: &Path) -> Result<Option<Failure>, Failure> {
    let stat = rustix::fs::stat(path).map_err(|errno| {
        let failure = Failure::new(FIND, path.to_string_lossy(), errno);
        if errno == Errno::NOENT {
            failure.hint("the image has no such file; look with `ls`, or give another command")
        } else {
            failure
        }
    })?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(forbidden(path, "is a directory")),
        _ => return Err(forbidden(path, "is not a regular file")),
    }
    if rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_err() {
        return Err(not_executable(path, stat.st_mode));
    }
    // The capabilities that init still has make it see more than the program's user may.
    if !may_execute(&stat) {
        return Ok(Some(not_executable(path, stat.st_mode)));
    }
    // A program that may be executed and not read (mode 0111) keeps its secrets: the kernel will say.
    let Ok(file) = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return Ok(None);
    };
    let mut head = [0_u8; 4096];
    let read = rustix::io::read(&file, &mut head).unwrap_or(0);
    examine_head(path, &head[..read])
}

/// Whether the mode lets the present user execute the file, without the help of capabilities.
fn may_execute(stat: &rustix::fs::Stat) -> bool {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let groups = rustix::process::getgroups().unwrap_or_default();
    let in_group = gid.as_raw() == stat.st_gid || groups.iter().any(|group| group.as_raw() == stat.st_gid);
    let bit = match (uid.is_root(), uid.as_raw() == stat.st_uid, in_group) {
        (true, ..) => 0o111,
        (_, true, _) => 0o100,
        (_, _, true) => 0o010,
        _ => 0o001,
    };
    stat.st_mode & bit != 0
}

fn not_executable(path: &Path, mode: u32) -> Failure {
    const ST_NOEXEC: u64 = 8;
    let noexec = rustix::fs::statvfs(path).is_ok_and(|vfs| vfs.f_flag.bits() & ST_NOEXEC != 0);
    if noexec {
        return forbidden(path, "lies on a file system that is mounted noexec")
            .hint("mount it with `exec`, or keep the program elsewhere");
    }
    if mode & 0o111 == 0 {
        return forbidden(path, format!("is not executable (mode {:04o})", mode & 0o7777))
            .hint(format!("set the execute bit in the image: chmod +x {}", path.display()));
    }
    forbidden(path, format!("may not be executed by this user (mode {:04o})", mode & 0o7777))
        .hint("choose the user with -u, or change the file's owner or mode in the image")
}

fn examine_head(path: &Path, head: &[u8]) -> Result<Option<Failure>, Failure> {
    let unknown = |reason: &str, hint: &str| {
        let failure = Failure {
            errno: Errno::NOEXEC.raw_os_error(),
            ..Failure::because(FIND, path.to_string_lossy(), reason)
        };
        Ok(Some(failure.hint(hint)))
    };
    if let Some(line) = head.strip_prefix(b"#!") {
        return examine_script(path, line).map(|()| None);
    }
    if !head.starts_with(b"\x7fELF") || head.len() < 64 {
        return match head {
            [] => unknown("exec format error: the file is empty", "build or copy it again"),
            _ => unknown(
                "exec format error: neither an ELF program nor a script that begins with #!",
                "if it is a script, its first line must be like #!/bin/sh",
            ),
        };
    }
    let machine = u16::from_le_bytes([head[18], head[19]]);
    if !runs_here(machine) {
        let reason = format!(
            "exec format error: built for {}, this machine is {}",
            machine_name(machine),
            std::env::consts::ARCH
        );
        return unknown(
            &reason,
            "use an image of this machine's architecture, or install qemu-user-static with binfmt_misc",
        );
    }
    match interpreter(head) {
        Some(loader)
            if rustix::fs::access(Path::new(OsStr::from_bytes(&loader)), Access::EXISTS).is_err() =>
        {
            let loader = String::from_utf8_lossy(&loader).into_owned();
            Err(absent(&path.to_string_lossy(), &format!("its dynamic loader {loader} is not in the image"))
                .hint("install the C library that it was built for, or use a statically linked program"))
        }
        _ => Ok(None),
    }
}

fn examine_script(path: &Path, line: &[u8]) -> Result<(), Failure> {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let trimmed = line.trim_ascii();
    let name = trimmed.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    if name.is_empty()
        || rustix::fs::access(Path::new(OsStr::from_bytes(name)), Access::EXISTS).is_ok()
            && !line.ends_with(b"\r")
    {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(name);
    let script = path.to_string_lossy();
    if line.ends_with(b"\r") {
        return Err(absent(
            &script,
            &format!("its interpreter is named \"{shown}\\r\", with a carriage return"),
        )
        .hint(format!("the script has Windows line ends; convert it: sed -i 's/\\r$//' {script}")));
    }
    Err(absent(&script, &format!("its interpreter {shown} is not in the image"))
        .hint(format!("install {shown}, or change the first line of the script")))
}

/// e_machine numbers, elf(5).
const MACHINES: [(u16, &str); 8] = [
    (3, "x86"),
    (8, "mips"),
    (20, "powerpc"),
    (21, "powerpc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
];

fn machine_name(machine: u16) -> String {
    match (machine, MACHINES.iter().find(|(number, _)| *number == machine)) {
        (243, _) => "riscv".to_owned(),
        (258, _) => "loongarch".to_owned(),
        (_, Some((_, name))) => (*name).to_owned(),
        _ => format!("machine {machine}"),
    }
}

fn runs_here(machine: u16) -> bool {
    match std::env::consts::ARCH {
        "x86_64" => matches!(machine, 62 | 3),
        "aarch64" => matches!(machine, 183 | 40),
        arch => machine_name(machine) == arch,
    }
}

/// PT_INTERP of a little-endian ELF file whose first bytes are `head`, elf(5).
fn interpreter(head: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize, size: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let wide = head.get(4) == Some(&2);
    let (table, entry, count) = if wide {
        (word(32, 8)?, word(54, 2)?, word(56, 2)?)
    } else {
        (word(28, 4)?, word(42, 2)?, word(44, 2)?)
    };
    for index in 0..count {
        let at = usize::try_from(table.checked_add(index.checked_mul(entry)?)?).ok()?;
        if word(at, 4)? != 3 {
            continue;
        }
        let (offset, size) = if wide {
            (word(at.checked_add(8)?, 8)?, word(at.checked_add(32)?, 8)?)
        } else {
            (word(at.checked_add(4)?, 4)?, word(at.checked_add(16)?, 4)?)
        };
        let start = usize::try_from(offset).ok()?;
        let bytes = head.get(start..start.checked_add(usize::try_from(size).ok()?)?)?;
        return Some(bytes.iter().copied().take_while(|byte| *byte != 0).collect());
    }
    None
}

impl Step for Program {
    fn id(&self) -> &'static str {
        "exec"
    }

    fn call(&self) -> String {
        let words: Vec<_> = self.args.iter().map(|word| format!("{:?}", word.to_string_lossy())).collect();
        if self.first == First::Pause {
            return "execveat(<sealed stub>), rt_sigtimedwait(~[]) until it is ended".to_owned();
        }
        format!("execveat(<sealed stub>), execve([{}], <{} variables>)", words.join(", "), self.env.len())
    }

    fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self.first {
            First::Init => {
                "the small init stays as PID 1 and starts the program; the host's binary is out of reach (CVE-2019-5736)"
            }
            First::Program => {
                "the program takes over; the sealed stub in between keeps the host's binary out of reach (CVE-2019-5736)"
            }
            First::Pause => "namespaces live as long as a process is in them: this one does nothing else",
        })
    }

    fn shell(&self) -> Shell {
        if self.first == First::Pause {
            return Shell::line("sleep infinity");
        }
        let words: Vec<_> =
            self.args.iter().map(|word| quote(&word.to_string_lossy()).into_owned()).collect();
        Shell::line(words.join(" "))
    }

    /// Init does it itself at the end of its list, since nothing returns from it.
    fn perform(&self, _: &mut Context) -> Result<(), Failure> {
        Err(Failure::because(self.id(), self.name().to_string_lossy(), "is not performed from a list"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn program(words: &[&str], path: &str) -> Program {
        let c = |text: &str| CString::new(text).unwrap();
        Program {
            args: words.iter().map(|w| c(w)).collect(),
            env: vec![c(&format!("PATH={path}"))],
            owner: 0,
            first: First::Program,
            home: false,
        }
    }

    fn file(name: &str, mode: u32, content: &[u8]) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("minidocker-program-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn refusal(path: &Path) -> Failure {
        let failure = program(&[path.to_str().unwrap()], "").find().unwrap_err();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        failure
    }

    #[test]
    fn finds_in_the_path() {
        let found = program(&["sh"], "/nowhere:/bin").find().unwrap();
        assert_eq!((found.path.as_c_str(), found.suspicion), (c"/bin/sh", None));
        let failure = program(&["sh"], "/nowhere").find().unwrap_err();
        assert_eq!(failure.errno, 2);
        assert!(failure.to_string().contains("not found in $PATH"), "{failure}");
    }

    #[test]
    fn names_a_missing_execute_bit() {
        let failure = refusal(&file("plain", 0o644, b"#!/bin/sh\n"));
        assert_eq!(failure.errno, 13);
        assert!(failure.to_string().contains("is not executable (mode 0644)"), "{failure}");
        assert!(failure.hint.unwrap().contains("chmod +x"));
    }

    #[test]
    fn names_a_missing_interpreter_and_windows_line_ends() {
        let failure = refusal(&file("script", 0o755, b"#!/opt/none -x\necho\n"));
        assert!(failure.to_string().contains("its interpreter /opt/none is not in the image"), "{failure}");
        assert_eq!(failure.errno, 2);
        let failure = refusal(&file("crlf", 0o755, b"#!/bin/sh\r\necho\r\n"));
        assert!(failure.hint.unwrap().contains("Windows line ends"));
    }

    #[test]
    fn suspects_wrong_formats() {
        let mut elf = fs::read("/bin/true").unwrap();
        elf[18] = 22;
        let path = file("foreign", 0o755, &elf);
        let suspicion = program(&[path.to_str().unwrap()], "").find().unwrap().suspicion.unwrap();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert!(suspicion.to_string().contains("built for s390x"), "{suspicion}");
        let path = file("text", 0o755, b"echo hello\n");
        let suspicion = program(&[path.to_str().unwrap()], "").find().unwrap().suspicion.unwrap();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert!(suspicion.hint.unwrap().contains("#!/bin/sh"));
    }

    #[test]
    fn reads_the_dynamic_loader_of_a_real_program() {
        let head = fs::read("/bin/true").unwrap();
        let loader = String::from_utf8(interpreter(&head[..4096]).unwrap()).unwrap();
        assert!(Path::new(&loader).exists(), "{loader}");
        // No head of any length may panic.
        for end in 0..200 {
            let _ = examine_head(Path::new("/x"), &head[..end]);
        }
    }
}
