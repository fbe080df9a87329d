//! The agent has what it should heal. It still notices, acts, verifies and records: a unit's leak is healed all the same.

use std::time::Duration;

use super::aged::{WEB, leaks};
use crate::faults::{Consent, Unit};
use crate::host::{Host, SLOW};
use crate::score::Passed;

/// `sick` makes the agent so, before the fault.
fn heals_while(host: &mut Host<'_>, sick: &str) -> Passed {
    host.consents(WEB);
    host.sh_within(Duration::from_secs(240), sick);
    let agent = host.property("byteport-agent", "MainPID");
    let fault = leaks(host, WEB);
    let incident = host.closed_within(SLOW, "memory", 0);
    incident.ended("healed", "memory_leak");
    incident.is_in_order();
    assert_eq!(incident.count("restart_unit"), 1, "{:?}", incident.steps());
    assert!(incident.resolved(), "{:?}", incident.all("verdict"));
    assert_eq!(host.property("byteport-agent", "MainPID"), agent, "it was started again");
    Passed::Healed(incident.last("verdict") - fault)
}

/// No byte and no task more than it has: the kernel takes from its caches, and every fork of its own would fail.
pub fn at_its_own_limits(host: &mut Host<'_>) -> Passed {
    heals_while(
        host,
        "cd /sys/fs/cgroup/system.slice/byteport-agent.service && cat pids.current >pids.max && sleep 20 &&
         echo $(($(cat memory.current) + (2 << 20))) >memory.max && echo 0 >memory.swap.max && cat memory.max pids.max",
    )
}

/// Fifty that want each processor.
pub fn load_of_fifty_a_processor(host: &mut Host<'_>) -> Passed {
    host.units(&[Unit {
        name: "crowd.service",
        run: "/usr/local/bin/workers 100 /usr/local/bin/spin",
        lines: "TasksMax=200",
        consent: Consent::None,
    }]);
    heals_while(host, "systemctl start crowd; loaded() { [ $(cut -d . -f 1 /proc/loadavg) -ge 40 ]; }; until_true 200 loaded")
}

/// Nothing can be written where its record is; what it needs for that it has put aside before.
pub fn disk_of_its_record_is_full(host: &mut Host<'_>) -> Passed {
    heals_while(
        host,
        "fallocate -l $(df --output=avail -B1 / | tail -1) /var/tmp/full; [ $(df --output=avail -B1 / | tail -1) -lt 1048576 ]",
    )
}
