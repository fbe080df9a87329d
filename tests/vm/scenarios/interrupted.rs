//! Something falls while a limit stands or a restart is under way. What was set is taken back, nothing is done twice, the record is whole.

use std::time::Duration;

use super::aged::{APP, WEB, leaks, spins};
use super::cpu;
use crate::host::{Host, SLOW};
use crate::score::Passed;

/// A unit that spins for so long, and has just been given a quota. When it began to, on the boot clock.
fn held_down(host: &mut Host<'_>, seconds: u64) -> f64 {
    host.consents(APP);
    let fault = spins(host, APP, seconds);
    let held = format!("held() {{ [ \"$(systemctl show --value -p CPUQuotaPerSecUSec {APP})\" != infinity ]; }}");
    host.sh_within(Duration::from_secs(300), &format!("{held}; until_true 240 held"));
    fault
}

/// The limit is gone, and so is every intent that nobody knows the end of.
fn let_go(host: &mut Host<'_>) {
    let free = format!("free() {{ [ \"$(systemctl show --value -p CPUQuotaPerSecUSec {APP})\" = infinity ]; }}");
    host.sh_within(Duration::from_secs(300), &format!("{free}; until_true 240 free"));
    let incident = host.closed_within(SLOW, "cpu", 0);
    incident.is_in_order();
    cpu::unlimited(host, APP);
    host.sh("systemctl is-active byteport-agent byteport-actuator");
}

pub fn both_are_killed(host: &mut Host<'_>) -> Passed {
    held_down(host, 200);
    host.sh("systemctl kill -s KILL byteport-agent byteport-actuator; sleep 1");
    host.sees("byteportctl incidents");
    let_go(host);
    Passed::Kept
}

/// While a unit takes its time to stop.
pub fn actuator_is_killed_in_a_restart(host: &mut Host<'_>) -> Passed {
    host.consents(WEB);
    // Asked to end, it goes on for a while: systemd has the job meanwhile.
    host.sh("printf '[Service]\\nExecStop=/bin/sleep 15\\n' >/etc/systemd/system/web.service.d/slow.conf; systemctl daemon-reload");
    leaks(host, WEB);
    let stopping = "stopping() { [ \"$(systemctl show --value -p ActiveState web)\" = deactivating ]; }";
    host.sh_within(
        Duration::from_secs(300),
        &format!("{stopping}; EVERY=0.5 until_true 240 stopping; systemctl kill -s KILL byteport-actuator"),
    );
    let incident = host.closed_within(SLOW, "memory", 0);
    incident.is_in_order();
    assert_eq!(incident.count("restart_unit"), 1, "{:?}", incident.steps());
    // systemd had the job, and brought it to its end; nobody asked for another.
    host.sees("systemctl is-active -q web");
    host.sh("[ \"$(journalctl -q --no-pager -u web -g '^Started' | wc -l)\" = 2 ]");
    Passed::Kept
}

/// A reboot as a person types it, while a limit stands: it was for this boot only.
pub fn reboot(host: &mut Host<'_>) -> Passed {
    held_down(host, 900);
    host.reboot();
    let incident = host.closed_within(SLOW, "cpu", 0);
    incident.is_in_order();
    host.sh("[ ! -e /run/systemd/system.control/app.service.d ] && systemctl is-active byteport-agent byteport-actuator");
    Passed::Kept
}

/// What the agent talks to is exchanged, one after the other, while a limit stands.
pub fn everything_restarts(host: &mut Host<'_>) -> Passed {
    let fault = held_down(host, 240);
    host.sh_within(
        Duration::from_secs(300),
        "systemctl daemon-reexec && systemctl restart dbus && systemctl restart systemd-journald && systemctl is-active dbus systemd-journald",
    );
    let_go(host);
    let incident = host.closed_within(SLOW, "cpu", 0);
    assert_eq!(incident.outcome, "healed", "{:?}", incident.kinds());
    host.sh("[ \"$(systemctl show --value -p NRestarts byteport-agent)\" = 0 ] && byteportctl doctor >/dev/null; [ $? -lt 2 ]");
    Passed::Healed(incident.last("verdict") - fault)
}
