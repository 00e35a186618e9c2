//! `rename`: another name for a container, running or not.

use crate::state::Store;
use crate::sweep::sweep;
use crate::{Error, Kind, Settings, events, networks, pods};

/// Gives a container a new name. A crash on the way leaves it with both, and the next start of the engine with one.
pub fn rename(settings: &Settings, name: &str, new: &str) -> Result<(), Error> {
    let store = Store::new(settings);
    sweep(settings, &store)?;
    let (id, record) = store.load(name)?;
    let writing = store.lock_record(&record)?;
    let (_, mut record) = store.load(&id)?;
    if record.name == new {
        return Err(Error::new(Kind::Invalid, format!("container {name} has this name already")));
    }
    if let Err(owner) = store.take_name(new, &id)? {
        return Err(Error::new(
            Kind::Invalid,
            format!("the name {new} is already in use by container {}", owner.get(..12).unwrap_or(&owner)),
        )
        .hint(format!("choose another, or remove that one: minidocker rm -f {new}")));
    }
    let old = std::mem::replace(&mut record.name, new.to_owned());
    record.request.name = Some(new.to_owned());
    if let Err(failure) = writing.write(&record) {
        // It is called as before.
        store.give_name(new, &id)?;
        return Err(failure.into());
    }
    store.give_name(&old, &id)?;
    // Whoever asks its networks for it finds it by the new name.
    if store.living_init(&id).is_some() {
        network::rename(&settings.network(), &record.networks, new).map_err(networks::told)?;
    }
    drop(writing);
    let of_pod = record.request.pod.infra().map(|_| id.as_str());
    if let Some(pod) = of_pod.or(record.request.pod.membership()) {
        pods::announce(settings, &store, pod)?;
    }
    events::container(settings, &record, "rename", &[("oldName", &old)]);
    Ok(())
}
