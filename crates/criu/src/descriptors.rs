//! `descriptors.json`: where a container's standard streams led when it was dumped.
//!
//! CRIU restores a pipe whose other end is outside only if it is given another in its place, under the old one's name.
//! The names stand beside the images as a JSON array of three strings, a file that runc, crun and minidocker read from
//! each other: `["/dev/null","pipe:[4711]","pipe:[4712]"]`.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::Pid;

/// The file's name in the images' directory.
pub const FILE: &str = "descriptors.json";

/// What descriptors 0, 1 and 2 led to, as the links in /proc/PID/fd have it; empty for one that was closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptors(pub [String; 3]);

impl Descriptors {
    /// Those of a process. To be asked when the container has just been started: later it may have opened others.
    pub fn of(pid: Pid) -> io::Result<Self> {
        let link = |number: usize| {
            let path = format!("/proc/{}/fd/{number}", pid.as_raw_nonzero());
            match fs::read_link(path) {
                Ok(target) => Ok(target.to_string_lossy().into_owned()),
                // A process that is gone has no directory either; then none of the three can be told.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                Err(error) => Err(error),
            }
        };
        fs::metadata(format!("/proc/{}/fd", pid.as_raw_nonzero()))?;
        Ok(Self([link(0)?, link(1)?, link(2)?]))
    }

    /// Writes the file, for a restore by this program or another.
    pub fn write(&self, images_dir: &Path) -> io::Result<()> {
        let path = images_dir.join(FILE);
        let text = serde_json::to_string(&self.0)?;
        fs::write(&path, text).map_err(|error| named(error, &path))
    }

    /// Reads the file. More than three entries are cut off, fewer are filled up.
    pub fn read(images_dir: &Path) -> io::Result<Self> {
        let path = images_dir.join(FILE);
        let text = fs::read_to_string(&path).map_err(|error| named(error, &path))?;
        let list: Vec<Option<String>> =
            serde_json::from_str(&text).map_err(|error| named(error.into(), &path))?;
        let mut list = list.into_iter().map(Option::unwrap_or_default);
        Ok(Self(std::array::from_fn(|_| list.next().unwrap_or_default())))
    }

    /// The streams that led to pipes: their number, and their name as [`Inherit::key`](crate::Inherit) takes it.
    /// Standard output and error of one pipe have one name: CRIU takes the first that is given.
    pub fn pipes(&self) -> impl Iterator<Item = (usize, &str)> {
        let names = self.0.iter().map(String::as_str).enumerate();
        names.filter(|(_, name)| name.starts_with("pipe:"))
    }
}

fn named(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {}", path.display(), step::words(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("minidocker-criu-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn what_is_written_is_read_and_pipes_are_found() {
        let directory = directory("descriptors");
        let streams = Descriptors(["/dev/null", "pipe:[4711]", "pipe:[4712]"].map(String::from));
        streams.write(&directory).unwrap();
        let text = fs::read_to_string(directory.join(FILE)).unwrap();
        let read = Descriptors::read(&directory).unwrap();
        fs::write(directory.join(FILE), r#"[null,"pipe:[1]"]"#).unwrap();
        let short = Descriptors::read(&directory).unwrap();
        fs::write(directory.join(FILE), "{}").unwrap();
        let wrong = Descriptors::read(&directory).unwrap_err();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(text, r#"["/dev/null","pipe:[4711]","pipe:[4712]"]"#);
        assert_eq!(read, streams);
        assert_eq!(read.pipes().collect::<Vec<_>>(), [(1, "pipe:[4711]"), (2, "pipe:[4712]")]);
        assert_eq!(short, Descriptors(["", "pipe:[1]", ""].map(String::from)));
        assert!(wrong.to_string().contains(FILE), "{wrong}");
    }

    #[test]
    fn of_a_process_that_is_gone_nothing_can_be_told() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        child.wait().unwrap();
        assert_eq!(Descriptors::of(pid).unwrap_err().kind(), io::ErrorKind::NotFound);
        let own = Descriptors::of(rustix::process::getpid()).unwrap();
        let link = fs::read_link("/proc/self/fd/1").unwrap();
        assert_eq!(own.0[1], link.to_str().unwrap());
    }
}
