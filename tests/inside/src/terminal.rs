//! What the terminal tells this process.

use std::io::stdin;

use rustix::termios::tcgetwinsize;

use crate::{Outcome, raw};

/// Prints the size of the terminal now and whenever it changes.
pub(crate) fn winsize_watch() -> Outcome {
    let signals = [libc::SIGWINCH, libc::SIGTERM, libc::SIGHUP];
    // Before the first look, so that no change is lost between the two.
    raw::block_signals(&signals).map_err(|error| format!("block signals: {error}"))?;
    loop {
        let size = tcgetwinsize(stdin()).map_err(|error| format!("window size of stdin: {error}"))?;
        println!("{} {}", size.ws_row, size.ws_col);
        let signal = raw::wait_for_signal(&signals).map_err(|error| format!("wait for a signal: {error}"))?;
        if signal != libc::SIGWINCH {
            return Ok(0);
        }
    }
}
