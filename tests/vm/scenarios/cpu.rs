//! Processors: what spins, what works, what forks, and what is only held back.

use std::time::Duration;

use super::aged::{APP, spins};
use crate::faults::{Consent, Unit};
use crate::host::{Host, Incident, SLOW};
use crate::score::Passed;

/// Windows of minutes, in seconds; every share and amount is as delivered. The look itself is longer: a processor that is translated works so
/// slowly that looking, and asking for what was found, is a load of its own.
pub(super) const SHORT: &str = "window_s = 5\nbusy_hold_s = 10\nload_hold_s = 20\nprocess_hold_s = 20\nthrottled_hold_s = 20\nrunnable_hold_s = 10\nforks_hold_s = 5\n\
    forks_per_s = 100";
pub(super) const LIMITS: &str =
    "steps = [\"oom_preference\", \"cpu_weight\", \"cpu_quota\", \"calm_process\", \"restart_unit\", \"kill_process\"]\n";

/// A host that was just installed, and the unit on it.
fn begun(host: &mut Host<'_>, unit: Unit<'_>) -> f64 {
    host.faults();
    host.units(&[unit]);
    host.installed_for("cpu", SHORT, LIMITS);
    let fault = host.uptime();
    host.sh(&format!("systemctl start {}", unit.name));
    fault
}

pub(super) fn unlimited(host: &mut Host<'_>, unit: &str) {
    assert_eq!(host.property(unit, "CPUQuotaPerSecUSec"), "infinity");
    assert_eq!(host.property(unit, "CPUWeight"), "[not set]");
    host.sh(&format!("read -r quota period </sys/fs/cgroup/system.slice/{unit}/cpu.max; [ $quota = max ]"));
}

fn untouched(host: &mut Host<'_>, incident: &Incident, unit: &str, invocation: &str) {
    incident.nothing_was_done();
    assert_eq!(host.property(unit, "InvocationID"), invocation);
    unlimited(host, unit);
}

/// Made lighter, then given a quota; a person is told while it is held down, and it is let go when it has come to its end.
pub fn spinner_with_consent(host: &mut Host<'_>) -> Passed {
    host.consents(APP);
    let first = host.property(APP, "InvocationID");
    let fault = spins(host, APP, 150);
    let held = format!(
        "[ \"$(systemctl show --value -p CPUQuotaPerSecUSec {APP})\" != infinity ] && grep -q '^nr_throttled [1-9]' /sys/fs/cgroup/system.slice/{APP}/cpu.stat"
    );
    host.sh_within(Duration::from_secs(300), &format!("held() {{ {held}; }} 2>/dev/null; until_true 240 held"));
    let incident = host.closed_within(SLOW, "cpu", 0);
    incident.ended("healed", "runaway_process");
    assert!(incident.signals().contains(&"process_cpu_saturation"), "{:?}", incident.signals());
    incident.is_in_order();
    assert!(incident.steps().contains(&"cpu_weight") && incident.steps().contains(&"cpu_quota"), "{:?}", incident.steps());
    assert!(incident.resolved(), "{:?}", incident.all("verdict"));
    assert_eq!(incident.all("undone").len(), incident.standing(), "{:?}", incident.kinds());
    assert_eq!(host.property(APP, "InvocationID"), first);
    unlimited(host, APP);
    Passed::Healed(incident.last("verdict") - fault)
}

pub fn spinner_without_consent(host: &mut Host<'_>) -> Passed {
    let first = host.property(APP, "InvocationID");
    let fault = spins(host, APP, 600);
    let incident = host.closed_within(SLOW, "cpu", 0);
    incident.ended("escalated", "runaway_process");
    assert!(incident.refusals().contains(&"no_opt_in"), "{:?}", incident.refusals());
    untouched(host, &incident, APP, &first);
    Passed::Escalated(incident.last("escalated") - fault)
}

/// In no unit, its parent gone: moved to the root of the hierarchy, as what a crashed supervisor or a container runtime leaves behind.
const ORPHAN: &str = "
    bash -c 'echo $$ >/sys/fs/cgroup/cgroup.procs; setsid choom -n 0 -- /usr/local/bin/spin >/dev/null 2>&1 </dev/null &'
    sleep 1; pgrep -x spin >/run/orphan; [ \"$(ps -o ppid= -p $(cat /run/orphan) | tr -d ' ')\" = 1 ] && grep -q '^0::/$' /proc/$(cat /run/orphan)/cgroup";

/// Asked to end, through a descriptor that means this process and no other.
pub fn orphan_with_consent(host: &mut Host<'_>) -> Passed {
    host.faults();
    host.installed_for("cpu", SHORT, "steps = [\"calm_process\", \"kill_process\"]\nprocesses = [\"spin\"]\n");
    let fault = host.uptime();
    host.sh(ORPHAN);
    let incident = host.closed_within(SLOW, "cpu", 0);
    incident.ended("healed", "runaway_process");
    assert!(incident.signals().contains(&"process_cpu_saturation"), "{:?}", incident.signals());
    incident.is_in_order();
    assert_eq!(incident.count("kill_process"), 1, "{:?}", incident.steps());
    assert!(incident.resolved(), "{:?}", incident.all("verdict"));
    host.sh("! pgrep -x spin");
    Passed::Healed(incident.last("verdict") - fault)
}

pub fn orphan_without_consent(host: &mut Host<'_>) -> Passed {
    host.faults();
    host.installed_for("cpu", SHORT, LIMITS);
    let fault = host.uptime();
    host.sh(ORPHAN);
    let incident = host.closed_within(SLOW, "cpu", 0);
    incident.ended("escalated", "runaway_process");
    incident.nothing_was_done();
    assert!(incident.refusals().contains(&"no_opt_in"), "{:?}", incident.refusals());
    host.sh("[ \"$(ps -o comm=,ni=,cls= -p $(cat /run/orphan) | tr -s ' ')\" = 'spin 0 TS' ]");
    Passed::Escalated(incident.last("escalated") - fault)
}

/// Busy, and something comes of it. Whoever pays for the host hears that it is small; nobody touches the unit, although it said that one may.
pub fn busy_and_legitimate(host: &mut Host<'_>) -> Passed {
    let work = "/usr/local/bin/workers 4 /usr/local/bin/work /var/tmp";
    let fault = begun(host, Unit { name: APP, run: work, lines: "", consent: Consent::Given });
    let first = host.property(APP, "InvocationID");
    let incident = host.closed_within(SLOW, "cpu", 0);
    incident.ended("escalated", "legitimate_load");
    untouched(host, &incident, APP, &first);
    Passed::Escalated(incident.last("escalated") - fault)
}

/// Jobs that take longer than the minute until the next one.
pub fn cron_fan_out(host: &mut Host<'_>) -> Passed {
    host.faults();
    host.installed_for("cpu", SHORT, LIMITS);
    let fault = host.uptime();
    host.sh("for n in 1 2 3 4; do echo '* * * * * root /usr/local/bin/spin 400'; done >/etc/cron.d/report; systemctl start cron");
    let incident = host.closed_within(SLOW, "cpu", 0);
    incident.ended("escalated", "cron_fanout");
    incident.nothing_was_done();
    assert!(incident.refusals().contains(&"no_opt_in"), "{:?}", incident.refusals());
    unlimited(host, "cron.service");
    host.sh("[ $(pgrep -cx spin) -ge 4 ]");
    Passed::Escalated(incident.last("escalated") - fault)
}

/// Stopped by the kernel at its limit: what it cannot fork costs little, and a person is told.
pub fn fork_bomb_at_its_limit(host: &mut Host<'_>) -> Passed {
    let bomb = Unit { name: APP, run: "/usr/local/bin/bomb 600", lines: "TasksMax=40", consent: Consent::None };
    let fault = begun(host, bomb);
    let first = host.property(APP, "InvocationID");
    let incident = host.closed_within(SLOW, "cpu", 0);
    incident.ended("escalated", "fork_storm");
    assert!(incident.signals().contains(&"fork_storm"), "{:?}", incident.signals());
    untouched(host, &incident, APP, &first);
    host.sh(&format!("grep -q '^max [1-9]' /sys/fs/cgroup/system.slice/{APP}/pids.events"));
    Passed::Escalated(incident.last("escalated") - fault)
}

/// As many as it likes. It is told, the agent goes on working among them, and it ends when its unit is restarted or given a quota.
pub fn fork_bomb_without_limit(host: &mut Host<'_>) -> Passed {
    let bomb = Unit { name: APP, run: "/usr/local/bin/storm 600", lines: "TasksMax=infinity", consent: Consent::Given };
    let fault = begun(host, bomb);
    let incident = host.closed_within(SLOW, "cpu", 0);
    assert_eq!(incident.class, "fork_storm", "{:?}", incident.kinds());
    incident.is_in_order();
    assert!(!incident.steps().is_empty(), "{:?}", incident.refusals());
    assert!(incident.all("intent").iter().all(|i| i["on"] == APP), "{:?}", incident.all("intent"));
    unlimited(host, APP);
    match incident.outcome.as_str() {
        "healed" => Passed::Healed(incident.last("verdict") - fault),
        _ => Passed::Escalated(incident.last("escalated") - fault),
    }
}

/// Its own quota holds it back, not the host. The numbers are what a person needs.
pub fn throttled_by_its_quota(host: &mut Host<'_>) -> Passed {
    let unit = Unit { name: APP, run: "/usr/local/bin/spin", lines: "CPUQuota=20%", consent: Consent::Given };
    let fault = begun(host, unit);
    let first = host.property(APP, "InvocationID");
    let incident = host.closed_within(SLOW, "cpu", 0);
    incident.ended("escalated", "limit_throttling");
    assert!(incident.signals().contains(&"cpu_throttle_high"), "{:?}", incident.signals());
    incident.nothing_was_done();
    let escalation = incident.all("escalated").last().expect("told").to_string();
    assert!(escalation.contains("20 %") || escalation.contains("20%"), "not which quota: {escalation}");
    assert_eq!(host.property(APP, "InvocationID"), first);
    assert_eq!(host.property(APP, "CPUQuotaPerSecUSec"), "200ms");
    Passed::Escalated(incident.last("escalated") - fault)
}

/// At once: a spinner that is done before long, again and again; one job of cron that takes its time; and builds that fork.
pub fn decoys(host: &mut Host<'_>) -> Passed {
    host.faults();
    let burst = "/bin/sh -c 'while :; do /usr/local/bin/spin 4; sleep 12; done'";
    let build = "/bin/sh -c 'while :; do for n in 1 2 3 4 5; do /bin/true; done; sleep 0.5; done'";
    host.units(&[
        Unit { name: "burst.service", run: burst, lines: "", consent: Consent::Given },
        Unit { name: "build.service", run: build, lines: "", consent: Consent::Given },
    ]);
    host.installed_for("cpu", SHORT, LIMITS);
    host.sh("echo '* * * * * root sleep 80' >/etc/cron.d/report; systemctl start cron burst build");
    let (burst, build) = (host.property("burst", "InvocationID"), host.property("build", "InvocationID"));
    std::thread::sleep(Duration::from_secs(150));
    host.nothing_was_found("cpu");
    assert_eq!((host.property("burst", "InvocationID"), host.property("build", "InvocationID")), (burst, build));
    unlimited(host, "burst.service");
    unlimited(host, "build.service");
    Passed::LeftAlone
}
