//! What minidocker has acknowledged.

use std::collections::BTreeSet;

/// What a command does to the set of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// None is made, none goes.
    None,
    /// It makes one and prints its full id.
    Makes,
    /// It removes the one with this full id.
    Removes(String),
    /// It removes whatever does not run.
    Prunes,
}

/// Containers by their full ids.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Acknowledged, or seen: they must be there.
    there: BTreeSet<String>,
    /// Somebody began to remove them.
    doubtful: BTreeSet<String>,
    /// Their removal was acknowledged.
    gone: BTreeSet<String>,
    /// Somebody began to remove all that does not run.
    pruning: bool,
}

impl Ledger {
    /// All that may be there.
    pub(super) fn all(&self) -> Vec<String> {
        self.there.union(&self.doubtful).cloned().collect()
    }

    /// Before the command is started.
    pub(super) fn begins(&mut self, effect: &Effect) {
        match effect {
            Effect::None | Effect::Makes => {}
            Effect::Removes(id) => self.doubtful.extend(self.there.take(id)),
            Effect::Prunes => {
                self.doubtful.append(&mut self.there);
                self.pruning = true;
            }
        }
    }

    /// When it has ended with 0.
    pub(super) fn succeeded(&mut self, effect: &Effect, said: &str) {
        match effect {
            Effect::None | Effect::Prunes => {}
            Effect::Makes if self.pruning => drop(self.doubtful.insert(said.to_owned())),
            Effect::Makes => drop(self.there.insert(said.to_owned())),
            Effect::Removes(id) => {
                self.doubtful.remove(id);
                self.gone.insert(id.clone());
            }
        }
    }

    /// When all commands of a round have ended: no container that must be there is missing, none is back.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn settle(&mut self, listed: &BTreeSet<String>) -> Result<(), String> {
        if let Some(id) = self.there.iter().find(|id| !listed.contains(*id)) {
            return Err(format!("{id} was acknowledged and is not listed"));
        }
        if let Some(id) = self.gone.iter().find(|id| listed.contains(*id)) {
            return Err(format!("{id} was removed and is listed"));
        }
        self.doubtful.clear();
        self.pruning = false;
        self.there.extend(listed.iter().cloned());
        Ok(())
    }
}
