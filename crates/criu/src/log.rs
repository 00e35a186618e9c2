//! CRIU's own words on what went wrong.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// How much of a log's end is read: a full one has megabytes, and what matters stands last.
const TAIL: u64 = 256 * 1024;
/// How many lines are told.
const LINES: usize = 8;
/// How much of a line is told, in characters.
const WIDTH: usize = 300;

/// Where the log is, and its last error lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The log; none if CRIU came to its end before it opened one.
    pub path: Option<PathBuf>,
    /// Without times and terminal escapes. The last tells most; some of the first are often harmless.
    pub errors: Vec<String>,
}

impl Log {
    /// From the log at `path` or, where it says nothing, from what CRIU wrote to its standard error.
    pub(crate) fn read(path: &Path, stderr: &str) -> Self {
        let text = tail(path);
        let errors = errors(text.as_deref().unwrap_or_default());
        let errors = if errors.is_empty() { self::errors(stderr) } else { errors };
        Self { path: text.map(|_| path.to_owned()), errors }
    }

    /// From what CRIU wrote without a log.
    pub(crate) fn of_text(text: &str) -> Self {
        Self { path: None, errors: errors(text) }
    }

    /// With CRIU's first error, where no line was found.
    pub(crate) fn or(mut self, message: Option<String>) -> Self {
        if self.errors.is_empty() {
            self.errors.extend(message.as_deref().map(presentable));
        }
        self
    }

    /// What the user can do about it, where a line is known to mean something else than it says.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        let said = |words: &str| self.errors.iter().any(|line| line.contains(words));
        KNOWN.iter().find(|(words, _)| words.iter().all(|words| said(words))).map(|(_, hint)| *hint)
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.errors {
            write!(f, "\n  {line}")?;
        }
        match &self.path {
            Some(path) => write!(f, "\n  (log: {})", path.display()),
            None => Ok(()),
        }
    }
}

/// What lines of CRIU's log mean to somebody who checkpoints a container: words that all must be there, and the way
/// out.
const KNOWN: &[(&[&str], &str)] = &[
    (
        &["vdso: ", "vDSO area bounds"],
        "this CRIU is older than the kernel: since Linux 6.13 it takes CRIU 4.1 or newer",
    ),
    (
        &["Can't lookup mount=", "for fd="],
        "the container has a file of the host open: start it with pipes or a terminal for its streams, or dump the \
         file as external",
    ),
    (&["iptables"], "install iptables: CRIU holds connections with iptables-restore"),
    (&["CRIU was built without libnftables"], "choose another network lock: this CRIU knows no nftables"),
    (&["Connected TCP socket"], "pass --tcp-established to keep connections"),
    (&["Consider using --ext-unix-sk"], "pass --ext-unix-sk to leave out the other ends of unix sockets"),
    (&["You can try --file-locks"], "pass --file-locks to take file locks along"),
    (&["Consider using --shell-job"], "pass --shell-job, at the restore too"),
    (
        &["Can't fork for", "File exists"],
        "a process has the number that the restored one needs: restore into a pid namespace of its own, or wait until \
         the dumped process has been waited for",
    ),
    (
        &["Can't bind transport socket"],
        "CRIU is restoring something else in the same network namespace, which before version 4.1 it can only do once \
         at a time: try again",
    ),
    (
        &["kerndat_tcp_repair failed"],
        "set the loopback link up: CRIU tries the kernel with a connection to itself",
    ),
    (
        &["Tracking memory is not available"],
        "this kernel does not track changed memory (CONFIG_MEM_SOFT_DIRTY): dump without a pre-dump",
    ),
];

/// Says nothing new.
const NOISE: [&str; 2] = ["Dumping FAILED.", "Restoring FAILED."];

fn tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    // A log that cannot be read on is as good as one that ends there.
    let _ = file.take(TAIL).read_to_end(&mut bytes);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines that begin, after time and pid, with `Error`.
fn errors(text: &str) -> Vec<String> {
    let is_error =
        |line: &&str| line.starts_with("Error ") && !NOISE.iter().any(|noise| line.ends_with(noise));
    let mut lines: Vec<String> = text.lines().map(without_prefix).filter(is_error).map(presentable).collect();
    lines.dedup();
    lines.split_off(lines.len().saturating_sub(LINES))
}

/// `(00.018040) pie: 12: Error (…): …` without all that comes before the error.
fn without_prefix(line: &str) -> &str {
    let rest = line.trim_start();
    let rest = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((time, rest)) if time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            rest.trim_start()
        }
        _ => rest,
    };
    match rest.find("Error ") {
        // Restored processes put their number first.
        Some(at) if rest[..at].bytes().all(|byte| b"pie: 0123456789".contains(&byte)) => &rest[at..],
        _ => rest,
    }
}

fn presentable(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(WIDTH)
        .collect::<String>()
        .trim_end()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "(00.012314) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: no\n\
        (00.02) Dumping path for 1 fd via self 22 [/x/Error (log)]\n\
        (00.132367) Error (criu/files-reg.c:1790): Can't lookup mount=27 for fd=1 path=/tmp/\x1b[2Jout\n\
        (00.2)     12: Error (criu/files.c:9): in a restored process\n\
        (00.201012) Error (criu/cr-dump.c:2128): Dumping FAILED.\n";

    #[test]
    fn errors_are_told_without_time_noise_and_escapes() {
        let expected = [
            "Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: no",
            "Error (criu/files-reg.c:1790): Can't lookup mount=27 for fd=1 path=/tmp/ [2Jout",
            "Error (criu/files.c:9): in a restored process",
        ];
        assert_eq!(errors(TEXT), expected);
        let many: String =
            (0..20).map(|n| format!("(00.1) Error (x.c:{n}): {}\n", "long ".repeat(200))).collect();
        let told = errors(&many);
        assert_eq!(told.len(), LINES);
        assert!(told[0].starts_with("Error (x.c:12)") && told.iter().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn a_missing_log_leaves_what_was_said_to_standard_error() {
        let log = Log::read(
            Path::new("/nonexistent/dump.log"),
            "Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds\n",
        );
        assert_eq!(log.path, None);
        assert_eq!(log.errors.len(), 1);
        assert!(log.hint().unwrap().contains("CRIU 4.1"), "{:?}", log.hint());
        assert_eq!(Log::default().hint(), None);
    }

    #[test]
    fn of_a_long_log_the_end_is_read() {
        let path = std::env::temp_dir().join(format!("minidocker-criu-log-{}", std::process::id()));
        let text = format!("Error (a.c:1): early\n{}Error (b.c:2): late\n", "(00.1) filler\n".repeat(50_000));
        std::fs::write(&path, text).unwrap();
        let log = Log::read(&path, "");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(log.errors, ["Error (b.c:2): late"]);
        assert_eq!(log.to_string(), format!("\n  Error (b.c:2): late\n  (log: {})", path.display()));
    }
}
