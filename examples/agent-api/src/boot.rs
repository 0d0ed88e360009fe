//! The clock that orders an ADD and a DEL: time since boot, which no operator sets.

use std::{fs, io, time::Duration};

use nix::time::{ClockId, clock_gettime};

/// Time since the node started, suspension included.
pub fn now() -> Duration {
    // It fails only for a clock that the kernel does not know; this one is older than any kernel we run on.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    Duration::from(time)
}

/// A random id that the kernel makes at each boot.
pub fn id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}
