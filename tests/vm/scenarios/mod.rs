//! Faults, and what looks like one: each on a host that was just restored.

mod broken;
mod clock;
mod decoys;
mod failing;
mod full;
mod volume;

use crate::host::Host;
use crate::score::Passed;

#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub run: fn(&mut Host<'_>) -> Passed,
}

const fn scenario(name: &'static str, run: fn(&mut Host<'_>) -> Passed) -> Scenario {
    Scenario { name, run }
}

/// The long ones first, so that two at a time end together.
pub const ALL: &[Scenario] = &[
    scenario("clock-jumps-in-the-cooldown", clock::jumps_in_the_cooldown),
    scenario("power-cut-in-a-step", broken::power_is_cut),
    scenario("slow-disk", failing::slow_disk),
    scenario("decoy-busy-and-healthy", decoys::busy_and_healthy),
    scenario("actuator-killed-in-a-step", broken::actuator_is_killed),
    scenario("logs-fill-an-opted-in-disk", full::with_consent),
    scenario("logs-fill-a-disk-without-opt-in", full::without_consent),
    scenario("volume-grows-ext4", volume::ext4),
    scenario("volume-grows-xfs", volume::xfs),
    scenario("ext4-error", failing::ext4_error),
    scenario("failing-disk", failing::failing_disk),
];
