//! `--chown=user:group`, by names of the image's own /etc/passwd and /etc/group.

use super::stack::Stack;

/// A user and a group, by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// These files are read up to so many bytes.
const MOST: u64 = 4 << 20;

/// Who `user[:group]` is. A number without a group is the group's number too (Docker's reference, "COPY --chown").
pub(crate) fn owner(stack: &Stack, text: &str) -> Result<Owner, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let number = user.parse::<u32>().ok();
    let (uid, own) = match number {
        Some(uid) => (uid, uid),
        None => {
            let passwd = stack.read(b"etc/passwd", MOST).unwrap_or_default();
            field(&passwd, user).ok_or_else(|| format!("the image's /etc/passwd has no user {user}"))?
        }
    };
    let gid = match group.map(|group| (group, group.parse::<u32>())) {
        None => own,
        Some((_, Ok(gid))) => gid,
        Some((group, Err(_))) => {
            let text = stack.read(b"etc/group", MOST).unwrap_or_default();
            field(&text, group).ok_or_else(|| format!("the image's /etc/group has no group {group}"))?.0
        }
    };
    Ok(Owner { uid, gid })
}

/// The third field of the line that begins with `name`, and the fourth where it is a number.
fn field(text: &str, name: &str) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name && !name.is_empty()).then_some(())?;
        let number = fields.nth(1)?.parse().ok()?;
        Some((number, fields.next().and_then(|gid| gid.parse().ok()).unwrap_or(number)))
    })
}
