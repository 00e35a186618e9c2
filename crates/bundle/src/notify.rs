//! The listener of a system call filter, handed to the agent that answers for the kernel: the container process state
//! as JSON with the descriptor (OCI runtime specification, "The Container Process State").

use std::os::fd::{AsFd, OwnedFd};

use oci::spec::{ContainerState, LinuxSeccomp, State};
use serde::Serialize;

use crate::console;
use crate::error::Error;

/// The container process state.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    metadata: &'a str,
    state: &'a State,
}

/// Hands `listener` of the filter that process `pid` has to the profile's listenerPath.
pub(crate) fn hand_over(
    profile: &LinuxSeccomp,
    state: &State,
    pid: i32,
    listener: OwnedFd,
) -> Result<(), Error> {
    let Some(path) = profile.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty()) else {
        return Err(Error::new("a seccomp filter that notifies needs a listenerPath"));
    };
    let mut state = state.clone();
    if *state.status() == ContainerState::Creating {
        state.set_pid(Some(pid));
    }
    let told = ProcessState {
        oci_version: state.version(),
        fds: ["seccompFd"],
        pid,
        metadata: profile.listener_metadata().as_deref().unwrap_or_default(),
        state: &state,
    };
    let text =
        serde_json::to_vec(&told).map_err(|error| Error::new(format!("the container state: {error}")))?;
    let socket = console::connect("seccomp listener", path).map_err(|error| {
        error.during("failed to connect with seccomp agent specified in the seccomp profile")
    })?;
    console::send(&socket, &text, listener.as_fd())
}
