//! Who is in a network: the book of addresses as a directory of names. A name server reads this, and watches the
//! directory's time of change (mtime): every member that comes or goes changes it.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::error::Error;
use crate::reservation::Book;
use crate::settings::Settings;

/// An address of a network, and whose it is. A container with addresses of both families is there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The address.
    pub address: IpAddr,
    /// The container's id, 64 hexadecimal digits.
    pub id: String,
    /// The container's name.
    pub name: String,
    /// Its further names on this network.
    pub aliases: Vec<String>,
}

/// The members of the network with this directory, [`Attachment::directory`](crate::Attachment::directory), by their
/// addresses; none where there is no such network. What the dead left is among them.
pub fn members(settings: &Settings, directory: &str) -> Result<Vec<Member>, Error> {
    let all = Book::new(settings.addresses()).members(directory)?;
    let member = |(address, owner): (IpAddr, crate::owner::Owner)| Member {
        address,
        id: owner.id,
        name: owner.name,
        aliases: owner.aliases,
    };
    Ok(all.into_iter().map(member).collect())
}

/// Where the members of a network stand: a symbolic link for each address. Its time of change tells of a change; a
/// container that is renamed is written anew beside the directory and renamed into it.
pub fn members_directory(settings: &Settings, directory: &str) -> PathBuf {
    settings.addresses().join(directory)
}
