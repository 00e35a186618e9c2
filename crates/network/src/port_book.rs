//! The book of published ports: the file `ports` of the run state, one line for each container that has some: its
//! owner, its address, and each range, `OWNER NAME 172.30.0.2 0.0.0.0:8080->80/tcp`. One with an IPv6 address has both,
//! `172.30.0.2,fd00::2`; one whose ports lead nowhere for now has `-`.
//!
//! It is written whole beside its name and renamed, under the lock `ports.lock`; whoever dies on the way has changed
//! nothing. A thousand ports in a row are one range.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::error::Error;
use crate::owner::Owner;
use crate::ports::Published;
use crate::reservation::file_error;

const FILE: &str = "ports";
const LOCK: &str = "ports.lock";
const NEW: &str = ".ports.new";
const NOWHERE: &str = "-";

/// The addresses of a container that ports lead to, one of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Option<Ipv6Addr>,
}

impl Target {
    /// Where what comes for an address of the host goes.
    pub(crate) fn of_family(self, host: IpAddr) -> Option<IpAddr> {
        match host {
            IpAddr::V4(_) => Some(self.v4.into()),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }

    fn text(self) -> String {
        match self.v6 {
            Some(six) => format!("{},{six}", self.v4),
            None => self.v4.to_string(),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (four, six) = text.split_once(',').map_or((text, None), |(four, six)| (four, Some(six)));
        let v6 = match six {
            Some(six) => Some(six.parse().ok()?),
            None => None,
        };
        Some(Self { v4: four.parse().ok()?, v6 })
    }
}

impl From<Ipv4Addr> for Target {
    fn from(v4: Ipv4Addr) -> Self {
        Self { v4, v6: None }
    }
}

/// A container's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) owner: Owner,
    /// The container's addresses. None: its way out is a network without a bridge for now, and the ports are kept for it.
    pub(crate) to: Option<Target>,
    pub(crate) ports: Vec<Published>,
}

impl Entry {
    fn line(&self) -> String {
        let to = self.to.map_or_else(|| NOWHERE.to_owned(), Target::text);
        let mut line = format!("{} {}", self.owner.called(&[]).text(), to);
        for port in &self.ports {
            line += &format!(" {port}");
        }
        line + "\n"
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let owner = Owner::read(&format!("{} {}", words.next()?, words.next()?));
        let to = match words.next()? {
            NOWHERE => None,
            addresses => Some(Target::read(addresses)?),
        };
        Some(Self { owner, to, ports: words.map(|word| word.parse().ok()).collect::<Option<_>>()? })
    }
}

/// The book, as long as nobody else changes it.
#[derive(Debug)]
pub(crate) struct PortBook {
    run_dir: PathBuf,
    pub(crate) entries: Vec<Entry>,
    _lock: OwnedFd,
}

impl PortBook {
    /// Waits for the lock and reads the book. A line that is none of ours is nobody's.
    pub(crate) fn open(run_dir: &Path) -> Result<Self, Error> {
        let path = run_dir.join(LOCK);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock =
            rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(file_error("open", &path))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive))
            .map_err(file_error("lock", &path))?;
        let entries = read(run_dir)?.lines().filter_map(Entry::read).collect();
        Ok(Self { run_dir: run_dir.to_owned(), entries, _lock: lock })
    }

    /// Writes the entries as they are now.
    pub(crate) fn write(&self) -> Result<(), Error> {
        let (new, path) = (self.run_dir.join(NEW), self.run_dir.join(FILE));
        let text: String = self.entries.iter().map(Entry::line).collect();
        fs::write(&new, text).map_err(file_error("write", &new))?;
        fs::rename(&new, &path).map_err(file_error("replace", &path))
    }

    /// Takes a container's line out of the entries.
    pub(crate) fn take(&mut self, id: &str) -> Option<Entry> {
        let place = self.entries.iter().position(|entry| entry.owner.id == id)?;
        Some(self.entries.remove(place))
    }
}

/// The owners of lines, without a lock: the file is replaced as a whole.
pub(crate) fn owners(run_dir: &Path) -> Result<Vec<Owner>, Error> {
    Ok(read(run_dir)?.lines().filter_map(Entry::read).map(|entry| entry.owner).collect())
}

/// A container's ports, without a lock.
pub(crate) fn ports_of(run_dir: &Path, id: &str) -> Result<Vec<Published>, Error> {
    let text = read(run_dir)?;
    let entry = text.lines().filter_map(Entry::read).find(|entry| entry.owner.id == id);
    Ok(entry.map(|entry| entry.ports).unwrap_or_default())
}

fn read(run_dir: &Path) -> Result<String, Error> {
    let path = run_dir.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(file_error("read", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_and_others_are_not() {
        let dir = std::env::temp_dir().join(format!("minidocker-ports-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let entry = |digit: &str, ports: &[&str]| Entry {
            owner: Owner::new(&digit.repeat(64), "web").unwrap(),
            to: (digit == "a")
                .then_some(Target { v4: Ipv4Addr::new(10, 0, 0, 2), v6: Some(Ipv6Addr::LOCALHOST) }),
            ports: ports.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let (one, two) = (
            entry("a", &["0.0.0.0:80->80/tcp", "127.0.0.1:1-9->1-9/udp"]),
            entry("b", &["0.0.0.0:1->1/sctp"]),
        );
        let mut book = PortBook::open(&dir).unwrap();
        book.entries = vec![one.clone(), two.clone()];
        book.write().unwrap();
        drop(book);
        let text = fs::read_to_string(dir.join(FILE)).unwrap();
        fs::write(dir.join(FILE), format!("damaged\n\n{text}x y 1.2.3.4 80\n")).unwrap();
        assert_eq!(owners(&dir).unwrap(), [one.owner.clone(), two.owner.clone()]);
        assert_eq!(ports_of(&dir, &two.owner.id).unwrap(), two.ports);
        let mut book = PortBook::open(&dir).unwrap();
        assert_eq!(book.entries, [one.clone(), two]);
        assert_eq!(book.take(&one.owner.id), Some(one));
        assert_eq!((book.take("x"), book.entries.len()), (None, 1));
        fs::remove_dir_all(dir).unwrap();
    }
}
