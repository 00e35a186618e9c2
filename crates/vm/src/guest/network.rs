//! Loopback, and QEMU's user network where there is one: its addresses never change, so nobody asks for them.

use std::net::Ipv4Addr;

use step::Failure;

use crate::settings::{ADDRESS, GATEWAY, PREFIX, Settings};

const STEP: &str = "vm.network";

/// The first interface of virtio_net.
const NAME: &str = "eth0";

pub(super) fn set_up(settings: &Settings) -> Result<(), Failure> {
    sys::interface::up("lo").map_err(|cause| Failure::new(STEP, "lo", cause))?;
    if !settings.network {
        return Ok(());
    }
    let failed = |cause: std::io::Error| Failure::new(STEP, NAME, cause);
    let parse = |text: &str| text.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
    sys::interface::set_address(NAME, parse(ADDRESS), PREFIX).map_err(failed)?;
    sys::interface::up(NAME).map_err(failed)?;
    sys::interface::set_default_route(parse(GATEWAY)).map_err(failed)
}
