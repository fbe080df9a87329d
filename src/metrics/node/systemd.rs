//! Units, as systemd has them.

use crate::metrics::exposition::{Exposition, Kind, Labels};
use crate::model::{UnitState, Units};

/// In node_exporter's order.
const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];
/// Kinds of units that node_exporter leaves out: they follow others, and there are very many of them.
const LEFT_OUT: &[&str] = &[".automount", ".device", ".mount", ".scope", ".slice", ".target"];

pub(super) fn write(to: &mut Exposition, units: &Units) {
    let shown = || units.units.iter().filter(|u| !LEFT_OUT.iter().any(|kind| u.name.ends_with(kind)));
    let mut labels = Labels::default();
    let mut family = to.family("node_systemd_unit_state", Kind::Gauge, "1 for the state that a unit is in.");
    for unit in shown() {
        for state in STATES {
            family.series(labels.set(&[("name", &unit.name), ("state", state), ("type", &unit.kind)]), state_of(unit) == state);
        }
    }
    let mut family = to.family("node_systemd_units", Kind::Gauge, "Units in each state.");
    for state in STATES {
        let count = units.units.iter().filter(|u| state_of(u) == state).count();
        family.series(labels.set(&[("state", state)]), count as u64);
    }
    let running = units.system_state == "running";
    to.single("node_systemd_system_running", Kind::Gauge, "1 when the system is running and no unit has failed.", running);
    let mut family = to.family("node_systemd_service_restart_total", Kind::Counter, "Times that systemd restarted a service by itself.");
    for unit in shown() {
        if let Some(restarts) = unit.restarts {
            family.series(labels.set(&[("name", &unit.name)]), u64::from(restarts));
        }
    }
}

/// A reload and a refresh are moments of an active unit.
fn state_of(unit: &UnitState) -> &str {
    if matches!(unit.active.as_str(), "reloading" | "refreshing") { "active" } else { &unit.active }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_in_one_state_and_followers_have_no_series() {
        let unit = |name: &str, active: &str, restarts| UnitState {
            name: name.into(),
            active: active.into(),
            kind: "simple".into(),
            restarts,
            ..UnitState::default()
        };
        let units = vec![unit("a.service", "failed", Some(3)), unit("b.timer", "reloading", None), unit("c.mount", "active", None)];
        let mut to = Exposition::default();
        write(&mut to, &Units { system_state: "degraded".into(), units, newly_failed: Vec::new() });
        let text = String::from_utf8_lossy(to.written()).into_owned();
        let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(lines.iter().filter(|l| l.starts_with("node_systemd_unit_state") && l.ends_with(" 1")).count(), 2);
        assert_eq!(lines.iter().filter(|l| l.starts_with("node_systemd_unit_state")).count(), 10);
        for line in [
            "node_systemd_unit_state{name=\"a.service\",state=\"failed\",type=\"simple\"} 1",
            "node_systemd_units{state=\"active\"} 2",
            "node_systemd_units{state=\"activating\"} 0",
            "node_systemd_system_running 0",
            "node_systemd_service_restart_total{name=\"a.service\"} 3",
        ] {
            assert!(lines.contains(&line), "{line}: {text}");
        }
        assert_eq!(lines.len(), 10 + 5 + 1 + 1);
    }
}
