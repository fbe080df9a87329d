//! Faults, and what looks like one: each on a host that was just restored.

pub mod aged;
mod broken;
mod clock;
mod cpu;
mod decoys;
mod failing;
mod full;
mod interrupted;
mod memory;
mod own_disease;
mod volume;

use crate::host::Host;
use crate::score::Passed;

#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub run: fn(&mut Host<'_>) -> Passed,
    /// Passed by `make test` as well; the others only by `make test-vm`.
    pub in_ci: bool,
    /// Begins on a host on which the agent has looked on for a while: see `aged.rs`.
    pub aged: bool,
}

const fn ci(name: &'static str, run: fn(&mut Host<'_>) -> Passed) -> Scenario {
    Scenario { name, run, in_ci: true, aged: false }
}

const fn scenario(name: &'static str, run: fn(&mut Host<'_>) -> Passed) -> Scenario {
    Scenario { name, run, in_ci: false, aged: false }
}

impl Scenario {
    const fn aged(self) -> Self {
        Self { aged: true, ..self }
    }
}

/// The long ones first, so that two at a time end together.
pub const ALL: &[Scenario] = &[
    scenario("leak-returns", memory::leak_returns).aged(),
    scenario("reboot-while-a-limit-stands", interrupted::reboot).aged(),
    scenario("everything-restarts-while-a-limit-stands", interrupted::everything_restarts).aged(),
    scenario("both-killed-while-a-limit-stands", interrupted::both_are_killed).aged(),
    scenario("actuator-killed-in-a-restart", interrupted::actuator_is_killed_in_a_restart).aged(),
    scenario("fork-bomb-without-limit", cpu::fork_bomb_without_limit),
    scenario("fork-bomb-at-its-limit", cpu::fork_bomb_at_its_limit),
    scenario("orphan-spinner-with-consent", cpu::orphan_with_consent),
    scenario("orphan-spinner-without-consent", cpu::orphan_without_consent),
    scenario("spinner-with-consent", cpu::spinner_with_consent).aged(),
    scenario("spinner-without-consent", cpu::spinner_without_consent).aged(),
    scenario("cron-fan-out", cpu::cron_fan_out),
    scenario("busy-and-legitimate", cpu::busy_and_legitimate),
    ci("throttled-by-its-quota", cpu::throttled_by_its_quota),
    scenario("global-oom", memory::global_oom),
    ci("heap-beyond-its-limit", memory::heap_beyond_its_limit),
    scenario("global-oom-with-swap", memory::global_oom_with_swap),
    scenario("global-oom-with-zram", memory::global_oom_with_zram),
    scenario("agent-at-its-own-limits", own_disease::at_its_own_limits).aged(),
    scenario("agent-under-load-of-fifty-a-processor", own_disease::load_of_fifty_a_processor).aged(),
    scenario("agent-with-a-full-disk", own_disease::disk_of_its_record_is_full).aged(),
    scenario("leak-with-consent", memory::leak_with_consent).aged(),
    scenario("leak-at-its-limit", memory::leak_at_its_limit).aged(),
    scenario("leak-without-consent", memory::leak_without_consent).aged(),
    scenario("leak-in-a-stateful-unit", memory::stateful).aged(),
    scenario("leak-after-a-deploy", memory::after_a_deploy).aged(),
    ci("decoy-memory", memory::decoys),
    scenario("decoy-cpu", cpu::decoys),
    scenario("clock-jumps-in-the-cooldown", clock::jumps_in_the_cooldown),
    scenario("power-cut-in-a-step", broken::power_is_cut),
    scenario("slow-disk", failing::slow_disk),
    scenario("decoy-busy-and-healthy", decoys::busy_and_healthy),
    scenario("actuator-killed-in-a-step", broken::actuator_is_killed),
    scenario("logs-fill-an-opted-in-disk", full::with_consent),
    scenario("logs-fill-a-disk-without-opt-in", full::without_consent),
    scenario("volume-grows-ext4", volume::ext4),
    scenario("volume-grows-xfs", volume::xfs),
    ci("ext4-error", failing::ext4_error),
    scenario("failing-disk", failing::failing_disk),
];
