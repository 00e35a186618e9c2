//! The book of addresses: one symbolic link for each, `addresses/<network>/<address>` -> its owner.
//!
//! symlink(2) is atomic and fails where the name is taken, so that no lock is needed to take a free address. A link
//! whose owner is dead is stale; replacing and removing links is done under the lock `addresses/lock`, for some
//! microseconds, so that nobody removes what has just become another's. A network's directory can only be removed
//! empty, and no link can be made in a removed one: that is how the last member and a new one are kept apart.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::owner::Owner;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;
use crate::table::Table;

/// How many addresses are tried one by one before the directory is read as a whole.
const PROBES: u32 = 32;

/// Held while a link is replaced or removed.
const LINKS: &str = "lock";
/// Held while a network is made or removed.
pub(crate) const NETWORKS: &str = "networks.lock";

/// What came of asking for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is reserved now, or was already.
    Ours,
    /// It is a living container's.
    Theirs(Owner),
    /// The network's directory is not there.
    NoNetwork,
}

/// What came of asking for any address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Any {
    /// This one is reserved now.
    Ours(Ipv4Addr),
    /// All are the living's.
    Full,
    /// The network's directory is not there.
    NoNetwork,
}

/// Which addresses a network gives to who asks for none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// The first, as a number.
    pub(crate) first: u32,
    /// How many.
    pub(crate) count: u32,
    /// These are somebody's for ever: the host's side.
    pub(crate) kept: &'a [Ipv4Addr],
}

impl<'a> Choice<'a> {
    /// All of a network, or those of them that lie in a range.
    pub(crate) fn of(subnet: Subnet, range: Option<Subnet>, kept: &'a [Ipv4Addr]) -> Self {
        let within = range.unwrap_or(subnet);
        let first = subnet.first().max(within.network()).to_bits();
        let last = subnet.last().min(within.broadcast()).to_bits();
        Self { first, count: (last.saturating_add(1)).saturating_sub(first), kept }
    }

    fn has(&self, address: Ipv4Addr) -> bool {
        let offset = address.to_bits().checked_sub(self.first);
        offset.is_some_and(|offset| offset < self.count) && !self.kept.contains(&address)
    }
}

/// Who asks, and how to find out who lives.
#[derive(Clone, Copy)]
pub(crate) struct Claimant<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) is_alive: &'a dyn Fn(&str) -> bool,
}

/// The reservations of one engine: the directory `addresses`.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    root: PathBuf,
}

/// A lock, held until it is dropped. The kernel lets go of a dead process's.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: OwnedFd,
}

impl Book {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The rules of the engine whose reservations these are.
    pub(crate) fn table(&self) -> Table {
        Table::of(self.root.parent().unwrap_or(&self.root))
    }

    pub(crate) fn directory(&self, network: &str) -> PathBuf {
        self.root.join(network)
    }

    /// Waits for a lock of this book.
    pub(crate) fn lock(&self, which: &str) -> Result<Lock, Error> {
        let path = self.root.join(which);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let open = || rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        let file = match open() {
            Err(Errno::NOENT) => {
                make_all(&self.root)?;
                open()
            }
            other => other,
        };
        let file = file.map_err(file_error("open", &path))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
            .map_err(file_error("lock", &path))?;
        Ok(Lock { _file: file })
    }

    /// Reserves this address for the claimant, whose id may have it already; a dead owner's is taken over.
    pub(crate) fn claim(
        &self,
        network: &str,
        address: impl Into<IpAddr>,
        by: Claimant<'_>,
    ) -> Result<Claim, Error> {
        let path = self.directory(network).join(address.into().to_string());
        loop {
            match write_link(&by.owner.text(), &path) {
                Ok(()) => return Ok(Claim::Ours),
                Err(Errno::NOENT) => return Ok(Claim::NoNetwork),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(file_error("create", &path)(errno)),
            }
            // Whoever had it may have let go of it meanwhile: then it is asked for again.
            let Some(text) = read_link(&path)? else { continue };
            let owner = Owner::read(&text);
            if owner.id == by.owner.id {
                return Ok(Claim::Ours);
            }
            if (by.is_alive)(&owner.id) {
                return Ok(Claim::Theirs(owner));
            }
            if self.take_over(&path, &text, by.owner)? {
                return Ok(Claim::Ours);
            }
        }
    }

    /// Replaces the stale link `path` if it still says `stale`.
    fn take_over(&self, path: &Path, stale: &str, owner: &Owner) -> Result<bool, Error> {
        let _lock = self.lock(LINKS)?;
        if read_link(path)?.as_deref() != Some(stale) {
            return Ok(false);
        }
        // One fixed name, under the lock: whoever dies here leaves one file behind and not many.
        let new = self.root.join(".new");
        remove_file(&new)?;
        write_link(&owner.text(), &new).map_err(file_error("create", &new))?;
        fs::rename(&new, path).map_err(file_error("replace", path))?;
        Ok(true)
    }

    /// Reserves some free address of a choice. The directory of the default network is made on the way; one that a user
    /// made has its directory made by [`Book::open_network`].
    ///
    /// The id says where the search begins: containers are spread over the network, hardly ever meet, and get the
    /// same address again when they start again.
    pub(crate) fn claim_any(
        &self,
        network: &str,
        choice: Choice<'_>,
        make: bool,
        by: Claimant<'_>,
    ) -> Result<Any, Error> {
        let start = hash(&by.owner.id) % choice.count.max(1);
        let nth = |n: u32| {
            let offset = (u64::from(start) + u64::from(n)) % u64::from(choice.count);
            Ipv4Addr::from_bits(choice.first + offset as u32)
        };
        let text = by.owner.text();
        let directory = self.directory(network);
        let mut taken = HashSet::new();
        for n in 0..choice.count {
            if n == PROBES {
                taken = members(&directory)?.into_iter().map(|(address, _)| address).collect();
            }
            let address = nth(n);
            if choice.kept.contains(&address) || taken.contains(&IpAddr::V4(address)) {
                continue;
            }
            let path = directory.join(address.to_string());
            let mut wrote = write_link(&text, &path);
            if wrote == Err(Errno::NOENT) {
                if !make {
                    return Ok(Any::NoNetwork);
                }
                make_all(&directory)?;
                wrote = write_link(&text, &path);
            }
            match wrote {
                Ok(()) => return Ok(Any::Ours(address)),
                Err(Errno::EXIST)
                    if read_link(&path)?.is_some_and(|text| Owner::read(&text).id == by.owner.id) =>
                {
                    return Ok(Any::Ours(address));
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(file_error("create", &path)(errno)),
            }
        }
        // Nothing is free: is somebody dead?
        for (address, _) in members(&directory)? {
            let IpAddr::V4(address) = address else { continue };
            if choice.has(address) && self.claim(network, address, by)? == Claim::Ours {
                return Ok(Any::Ours(address));
            }
        }
        Ok(Any::Full)
    }

    /// Writes the owner's text anew where the address is his: another name, other aliases. One rename(2), which changes
    /// the directory's time too.
    pub(crate) fn rewrite(&self, network: &str, address: IpAddr, owner: &Owner) -> Result<(), Error> {
        let path = self.directory(network).join(address.to_string());
        match read_link(&path)? {
            Some(text) if Owner::read(&text).id == owner.id && text != owner.text() => {
                self.take_over(&path, &text, owner).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Makes the directory of a network that a user made, and beside it what its rules are to be. Under the lock
    /// [`NETWORKS`].
    pub(crate) fn open_network(&self, network: &str, rules: &str) -> Result<(), Error> {
        let (new, path) = (self.root.join(".rules"), self.rules_link(network));
        if read_link(&path)?.as_deref() != Some(rules) {
            remove_file(&new)?;
            write_link(rules, &new).map_err(file_error("create", &new))?;
            fs::rename(&new, &path).map_err(file_error("replace", &path))?;
        }
        self.make(network)
    }

    /// What the rules of a network that a user made are to be; none of another.
    pub(crate) fn rules_of(&self, network: &str) -> Result<Option<String>, Error> {
        read_link(&self.rules_link(network))
    }

    /// Forgets it. Under the lock [`NETWORKS`].
    pub(crate) fn forget_rules(&self, network: &str) -> Result<(), Error> {
        remove_file(&self.rules_link(network))
    }

    fn rules_link(&self, network: &str) -> PathBuf {
        self.root.join(format!("{network}@rules"))
    }

    /// Removes the reservation of `address` if it is `id`'s; true where it was.
    pub(crate) fn give_back(
        &self,
        network: &str,
        address: impl Into<IpAddr>,
        id: &str,
    ) -> Result<bool, Error> {
        let path = self.directory(network).join(address.into().to_string());
        // Looked at first without the lock: mostly there is nothing to do for a second release.
        if read_link(&path)?.is_none_or(|text| Owner::read(&text).id != id) {
            return Ok(false);
        }
        let _lock = self.lock(LINKS)?;
        if read_link(&path)?.is_none_or(|text| Owner::read(&text).id != id) {
            return Ok(false);
        }
        remove_file(&path)?;
        Ok(true)
    }

    /// The reservations of a network; none where there is no such network.
    pub(crate) fn members(&self, network: &str) -> Result<Vec<(IpAddr, Owner)>, Error> {
        members(&self.directory(network))
    }

    /// The networks' directories.
    pub(crate) fn networks(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for entry in entries(&self.root)? {
            let entry = entry.map_err(file_error("read", &self.root))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Makes a network's directory.
    pub(crate) fn make(&self, network: &str) -> Result<(), Error> {
        make_all(&self.directory(network))
    }

    /// Removes a network's directory if there is no reservation in it; true where it is gone.
    pub(crate) fn remove_empty(&self, network: &str) -> Result<bool, Error> {
        let path = self.directory(network);
        match rustix::fs::rmdir(&path) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(file_error("remove", &path)(errno)),
        }
    }

    /// Notes that a network's bridge is about to go: who is killed on the way leaves the note. Under the lock
    /// [`NETWORKS`].
    pub(crate) fn note_going(&self, network: &str) -> Result<(), Error> {
        let path = self.root.join(format!("{network}{GOING}"));
        match write_link("its bridge goes", &path) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(file_error("create", &path)(errno)),
        }
    }

    /// Takes the note back. Under the lock [`NETWORKS`].
    pub(crate) fn has_gone(&self, network: &str) -> Result<(), Error> {
        remove_file(&self.root.join(format!("{network}{GOING}")))
    }

    /// The networks with such a note.
    pub(crate) fn going(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for entry in entries(&self.root)? {
            let name = entry.map_err(file_error("read", &self.root))?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(GOING)).map(str::to_owned));
        }
        Ok(names)
    }

    /// The subnet once chosen for the default network on `bridge`.
    pub(crate) fn remembered(&self, bridge: &str) -> Result<Option<Subnet>, Error> {
        Ok(read_link(&self.memory(bridge))?.and_then(|text| text.parse().ok()))
    }

    /// Remembers it. Under the lock [`NETWORKS`].
    pub(crate) fn remember(&self, bridge: &str, subnet: Subnet) -> Result<(), Error> {
        let (new, path) = (self.root.join(".subnet"), self.memory(bridge));
        remove_file(&new)?;
        write_link(&subnet.to_string(), &new).map_err(file_error("create", &new))?;
        fs::rename(&new, &path).map_err(file_error("replace", &path))
    }

    /// The IPv6 subnet of the default network on `bridge`, where it has one.
    pub(crate) fn remembered6(&self, bridge: &str) -> Result<Option<Subnet6>, Error> {
        Ok(read_link(&self.memory6(bridge))?.and_then(|text| text.parse().ok()))
    }

    /// Remembers it, and what it means for the rules. Under the lock [`NETWORKS`].
    pub(crate) fn remember6(&self, bridge: &str, subnet: Subnet6) -> Result<(), Error> {
        self.open_network(bridge, "bridge v6")?;
        let (new, path) = (self.root.join(".subnet"), self.memory6(bridge));
        remove_file(&new)?;
        write_link(&subnet.to_string(), &new).map_err(file_error("create", &new))?;
        fs::rename(&new, &path).map_err(file_error("replace", &path))
    }

    fn memory6(&self, bridge: &str) -> PathBuf {
        self.root.join(format!("{bridge}@subnet6"))
    }

    fn memory(&self, bridge: &str) -> PathBuf {
        self.root.join(format!("{bridge}@subnet"))
    }
}

fn members(directory: &Path) -> Result<Vec<(IpAddr, Owner)>, Error> {
    let mut members = Vec::new();
    for entry in entries(directory)? {
        let entry = entry.map_err(file_error("read", directory))?;
        let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(text) = read_link(&entry.path())? {
            members.push((address, Owner::read(&text)));
        }
    }
    members.sort_by_key(|(address, _)| *address);
    Ok(members)
}

/// What is in a directory; nothing where there is none.
/// What follows the name of a network whose bridge is about to go.
const GOING: &str = "~";

fn entries(directory: &Path) -> Result<impl Iterator<Item = io::Result<fs::DirEntry>>, Error> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(file_error("read", directory)(error)),
    }
}

fn make_all(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(file_error("create", directory))
}

fn write_link(text: &str, path: &Path) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::symlink(text, path))
}

fn read_link(path: &Path) -> Result<Option<String>, Error> {
    match rustix::fs::readlink(path, Vec::new()) {
        Ok(text) => Ok(Some(text.to_string_lossy().into_owned())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(file_error("read", path)(errno)),
    }
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(file_error("remove", path)(errno)),
    }
}

pub(crate) fn file_error<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source: source.into() }
}

/// FNV-1a: spreads ids that differ in any digit.
pub(crate) fn hash(id: &str) -> u32 {
    id.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const NET: Subnet = Subnet::of(Ipv4Addr::new(10, 0, 0, 0), 29);
    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn book(test: &str) -> Book {
        Book::new(std::env::temp_dir().join(format!("minidocker-book-{}-{test}", std::process::id())))
    }

    fn id(n: usize) -> Owner {
        Owner::new(&format!("{n:064x}"), &format!("c{n}")).unwrap()
    }

    fn any(book: &Book, n: usize, is_alive: &dyn Fn(&str) -> bool) -> Option<Ipv4Addr> {
        match book.claim_any(
            "net",
            Choice::of(NET, None, &[HOST]),
            true,
            Claimant { owner: &id(n), is_alive },
        ) {
            Ok(Any::Ours(address)) => Some(address),
            other => {
                assert_eq!(other.unwrap(), Any::Full);
                None
            }
        }
    }

    #[test]
    fn gives_out_every_address_once_and_a_dead_ones_again() {
        let book = book("all");
        let mut given: Vec<_> = (0..5).map(|n| any(&book, n, &|_| true).unwrap()).collect();
        assert_eq!(any(&book, 3, &|_| true), Some(given[3]), "an id that has an address gets it again");
        assert_eq!(
            any(&book, 5, &|_| true),
            None,
            "the host's, the network's and the broadcast address stay"
        );
        let dead = id(2).id;
        assert_eq!(any(&book, 5, &|id| id != dead), Some(given[2]));
        assert!(!book.give_back("net", given[2], &dead).unwrap(), "it is another's now");
        assert!(book.give_back("net", given[2], &id(5).id).unwrap());
        assert_eq!(any(&book, 6, &|_| true), Some(given[2]));
        given.sort();
        assert_eq!(given, (2..7).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect::<Vec<_>>());
        fs::remove_dir_all(&book.root).unwrap();
    }

    #[test]
    fn one_of_many_takes_over() {
        let book = book("stale");
        let address = Ipv4Addr::new(10, 0, 0, 3);
        let dead = id(999);
        book.make("net").unwrap();
        assert_eq!(
            book.claim("net", address, Claimant { owner: &dead, is_alive: &|_| true }).unwrap(),
            Claim::Ours
        );
        let winners = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for n in 0..16 {
                let (book, dead, winners) = (&book, &dead, &winners);
                scope.spawn(move || {
                    let is_alive = |id: &str| id != dead.id;
                    let owner = id(n);
                    match book.claim("net", address, Claimant { owner: &owner, is_alive: &is_alive }).unwrap()
                    {
                        Claim::Ours => drop(winners.fetch_add(1, Ordering::Relaxed)),
                        claim => assert!(matches!(claim, Claim::Theirs(owner) if owner.id != dead.id)),
                    }
                });
            }
        });
        assert_eq!(winners.into_inner(), 1);
        assert_eq!(book.members("net").unwrap().len(), 1);
        fs::remove_dir_all(&book.root).unwrap();
    }

    #[test]
    fn finds_the_last_free_address_of_a_crowded_network() {
        let book = book("crowd");
        let net = Subnet::of(Ipv4Addr::new(10, 0, 0, 0), 22);
        book.make("net").unwrap();
        let free = Ipv4Addr::new(10, 0, 2, 77);
        for bits in net.first().to_bits()..=net.last().to_bits() {
            let address = Ipv4Addr::from_bits(bits);
            if address != free && address != HOST {
                write_link(&id(bits as usize).text(), &book.directory("net").join(address.to_string()))
                    .unwrap();
            }
        }
        let claimant = Claimant { owner: &id(7), is_alive: &|_| true };
        let choice = Choice::of(net, None, &[HOST]);
        assert_eq!(book.claim_any("net", choice, true, claimant).unwrap(), Any::Ours(free));
        assert_eq!(book.claim_any("other", choice, false, claimant).unwrap(), Any::NoNetwork);
        fs::remove_dir_all(&book.root).unwrap();
    }

    #[test]
    fn a_range_bounds_the_choice() {
        let (net, range): (Subnet, Subnet) = ("10.0.0.0/24".parse().unwrap(), "10.0.0.0/30".parse().unwrap());
        let choice = Choice::of(net, Some(range), &[HOST]);
        assert_eq!((choice.first, choice.count), (HOST.to_bits(), 3));
        assert!(choice.has(Ipv4Addr::new(10, 0, 0, 3)) && !choice.has(HOST));
        assert!(!choice.has(Ipv4Addr::new(10, 0, 0, 4)));
    }

    #[test]
    fn another_name_takes_the_place_of_the_old_one() {
        let book = book("rename");
        let address = any(&book, 1, &|_| true).unwrap();
        let new = Owner { name: "new".into(), ..id(1) }.called(&["db".into()]);
        book.rewrite("net", address.into(), &new).unwrap();
        book.rewrite("net", address.into(), &Owner { name: "thief".into(), ..id(2) }).unwrap();
        assert_eq!(book.members("net").unwrap(), [(IpAddr::V4(address), new)]);
        fs::remove_dir_all(&book.root).unwrap();
    }

    #[test]
    fn a_network_is_removed_empty_or_not_at_all() {
        let book = book("remove");
        book.make("net").unwrap();
        let address = any(&book, 1, &|_| true).unwrap();
        assert!(!book.remove_empty("net").unwrap());
        book.give_back("net", address, &id(1).id).unwrap();
        assert!(book.remove_empty("net").unwrap() && book.remove_empty("net").unwrap());
        let claim = book.claim("net", address, Claimant { owner: &id(1), is_alive: &|_| true });
        assert_eq!(claim.unwrap(), Claim::NoNetwork);
        fs::remove_dir_all(&book.root).unwrap();
    }
}
