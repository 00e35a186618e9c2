//! `wait`: until a container has ended.

use monitor::{Exit, Hello};

use super::attach::UNKNOWN;
use crate::contact::{self, Word};
use crate::state::Store;
use crate::sweep::sweep;
use crate::{Error, Settings};

/// Waits until a container has ended and is not started again; its exit code. One that was never started has 0.
pub fn wait(settings: &Settings, name: &str) -> Result<u8, Error> {
    let store = Store::new(settings);
    loop {
        sweep(settings, &store)?;
        let (id, _) = store.load(name)?;
        if let Some((mut channel, _)) = contact::connect(&store, &id, Hello::default())? {
            loop {
                match contact::next(&mut channel, None)? {
                    Word::Ended(ended) if !ended.again => {
                        return Ok(ended.exit.map_or(UNKNOWN, Exit::code));
                    }
                    Word::Ended(_) | Word::Nothing => {}
                    Word::Gone | Word::Lost => break,
                }
            }
            // Its monitor was killed: the next one tells.
            if store.is_apart(&id) && store.living_init(&id).is_some() {
                continue;
            }
        }
        sweep(settings, &store)?;
        let code = store.life(&id)?.map(|life| life.ended.and_then(|end| end.code).unwrap_or(UNKNOWN));
        return Ok(code.unwrap_or_default());
    }
}
