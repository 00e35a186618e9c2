//! Who the program is: `-u` resolved in the image's own /etc/passwd and /etc/group.

use std::path::{Path, PathBuf};

use crate::{Error, Kind};

/// A resolved user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    /// Its number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Its home directory; `/` where nothing is known of it.
    pub home: String,
}

/// A line of passwd(5).
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn accounts(text: &str) -> impl Iterator<Item = Account<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { name, uid, gid, home: fields.nth(1)? })
    })
}

fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

/// More than this no passwd(5) has.
const MAX_FILE: u64 = 4 << 20;

/// Resolves `user[:group]` and the additional groups in the image whose layers these are, the uppermost first.
pub(crate) fn resolve(layers: &[PathBuf], user: Option<&str>, additional: &[String]) -> Result<User, Error> {
    let read = |path: &str| storage::read_file(layers, Path::new(path), MAX_FILE).unwrap_or_default();
    let (passwd, group) = (read("etc/passwd"), read("etc/group"));
    let (passwd, group) = (String::from_utf8_lossy(&passwd), String::from_utf8_lossy(&group));
    resolve_in(&passwd, &group, user.unwrap_or("0"), additional)
}

fn resolve_in(passwd: &str, group: &str, user: &str, additional: &[String]) -> Result<User, Error> {
    let (name, group_name) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let number: Option<u32> = name.parse().ok();
    let account = accounts(passwd)
        .find(|account| account.name == name)
        .or_else(|| accounts(passwd).find(|account| Some(account.uid) == number));
    let mut resolved = match (account, number) {
        (Some(account), _) => {
            let mine = |group: &Group<'_>| group.members.split(',').any(|member| member == account.name);
            // Docker gives supplementary groups where no group was named, root's included.
            let groups = if group_name.is_none() {
                groups(group).filter(mine).map(|g| g.gid).collect()
            } else {
                Vec::new()
            };
            User { uid: account.uid, gid: account.gid, groups, home: account.home.to_owned() }
        }
        (None, Some(uid)) => User { uid, home: "/".to_owned(), ..User::default() },
        (None, None) => {
            return Err(Error::new(Kind::Invalid, format!("no user {name} in the image's /etc/passwd"))
                .hint("give a number, or add the user to the image"));
        }
    };
    if let Some(group_name) = group_name.filter(|name| !name.is_empty()) {
        resolved.gid = group_number(group, group_name)?;
    }
    // The primary group is among them: a program that sheds it must not pass where the group is refused
    // (CVE-2022-36109).
    resolved.groups.retain(|gid| *gid != resolved.gid);
    resolved.groups.insert(0, resolved.gid);
    for name in additional {
        let gid = group_number(group, name)?;
        if !resolved.groups.contains(&gid) {
            resolved.groups.push(gid);
        }
    }
    if resolved.home.is_empty() {
        resolved.home = "/".to_owned();
    }
    Ok(resolved)
}

fn group_number(text: &str, name: &str) -> Result<u32, Error> {
    let named = groups(text).find(|group| group.name == name).map(|group| group.gid);
    named.or_else(|| name.parse().ok()).ok_or_else(|| {
        Error::new(Kind::Invalid, format!("no group {name} in the image's /etc/group"))
            .hint("give a number, or add the group to the image")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nweb:x:33:34:www:/var/www:/bin/sh\nbroken\n7:x:99:98::/seven:\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nadm:x:4:web,root\nssl:x:110:web\n";

    fn user(text: &str, additional: &[&str]) -> User {
        let additional: Vec<_> = additional.iter().map(|s| (*s).to_owned()).collect();
        resolve_in(PASSWD, GROUP, text, &additional).unwrap()
    }

    #[test]
    fn names_numbers_and_groups() {
        assert_eq!(
            user("web", &[]),
            User { uid: 33, gid: 34, groups: vec![34, 4, 110], home: "/var/www".into() }
        );
        assert_eq!(user("33", &[]), user("web", &[]));
        assert_eq!(user("web:adm", &[]).groups, [4]);
        assert_eq!(
            user("web:adm", &["ssl", "5000"]),
            User { uid: 33, gid: 4, groups: vec![4, 110, 5000], home: "/var/www".into() }
        );
        assert_eq!(
            user("1000:1001", &[]),
            User { uid: 1000, gid: 1001, groups: vec![1001], home: "/".into() }
        );
        assert_eq!(user("", &[]).home, "/root");
        // A name that is a number goes before the number.
        assert_eq!(user("7", &[]).uid, 99);
    }

    #[test]
    fn unknown_names_are_refused() {
        for text in ["nobody", "web:none", "-1", "4294967296"] {
            assert_eq!(resolve_in(PASSWD, GROUP, text, &[]).unwrap_err().kind, Kind::Invalid, "{text}");
        }
        assert!(resolve_in("", "", "0", &[]).is_ok());
    }
}
