//! Both clocks of this moment.

use super::Read;
use super::root::Root;
use crate::model::{BootId, Now};

/// The kernel's name for this boot. Constant until the next one, so it is read once.
pub(super) fn read_boot_id(root: &Root) -> Read<BootId> {
    let bytes = root.read("/proc/sys/kernel/random/boot_id")?;
    Ok(BootId(String::from_utf8_lossy(&bytes).trim().to_owned()))
}

/// CLOCK_BOOTTIME goes on through suspend, as wall time does.
#[expect(clippy::disallowed_methods, reason = "the one place where the clocks are read")]
pub(super) fn now(boot: &BootId) -> Now {
    Now { wall: jiff::Timestamp::now(), boot: boot.clone(), uptime_s: uptime_s() }
}

pub(super) fn uptime_s() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// CLOCK_MONOTONIC, which systemd counts by: it stands still in suspend.
pub(super) fn monotonic_us() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(t.tv_sec).unwrap_or(0).saturating_mul(1_000_000).saturating_add(u64::try_from(t.tv_nsec / 1000).unwrap_or(0))
}
