//! Drivers: loaded from the initramfs and then thrown away.

use std::fs;

use rustix::io::Errno;
use step::Failure;

const STEP: &str = "vm.modules";

/// Loads them in order.
pub(super) fn load(names: &[String]) -> Result<(), Failure> {
    for name in names {
        let path = format!("/modules/{name}.ko");
        let failed = |cause: std::io::Error| Failure::new(STEP, name, cause);
        let file = fs::File::open(&path).map_err(failed)?;
        match rustix::system::finit_module(&file, c"", 0) {
            // It is there already, or the processor has not what it is for.
            Ok(()) | Err(Errno::EXIST | Errno::NODEV) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        let _ = fs::remove_file(&path);
    }
    Ok(())
}
