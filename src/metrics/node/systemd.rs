//! Units, as systemd has them.

use crate::metrics::exposition::{Exposition, Kind, Labels, MOST_SERIES, Number};
use crate::model::{UnitState, Units};

/// In node_exporter's order.
const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];
/// Kinds of units that node_exporter leaves out: they follow others, and there are very many of them.
const LEFT_OUT: &[&str] = &[".automount", ".device", ".mount", ".scope", ".slice"];
/// systemd tells times in microseconds.
const MICROSECOND_DIGITS: usize = 6;

type Column = (&'static str, Kind, &'static str, fn(&UnitState) -> Option<Number>);

/// What only units of one kind have.
const COLUMNS: &[Column] = &[
    ("node_systemd_service_restart_total", Kind::Counter, "Times that systemd restarted a service by itself.", |u| {
        Some(u64::from(u.restarts?).into())
    }),
    ("node_systemd_timer_last_trigger_seconds", Kind::Gauge, "When a timer last elapsed, as Unix time; 0: not yet.", |u| {
        Some(Number::Scaled(u.last_trigger_us?, MICROSECOND_DIGITS))
    }),
    ("node_systemd_socket_accepted_connections_total", Kind::Counter, "Connections that a socket unit accepted.", |u| {
        Some(u64::from(u.accepted?).into())
    }),
    ("node_systemd_socket_current_connections", Kind::Gauge, "Connections that a socket unit has now.", |u| {
        Some(u64::from(u.connections?).into())
    }),
    // node_exporter's type, whatever its name says.
    ("node_systemd_socket_refused_connections_total", Kind::Gauge, "Connections that a socket unit refused.", |u| {
        Some(u64::from(u.refused?).into())
    }),
];

pub(super) fn write(to: &mut Exposition, units: &Units) {
    let shown = |failed| units.units.iter().filter(move |u| is_failed(u) == failed && !LEFT_OUT.iter().any(|kind| u.name.ends_with(kind)));
    // If some have no room, it is not those that have failed.
    let shown = || shown(true).chain(shown(false));
    let mut labels = Labels::default();
    let help = "1 for the state that a unit is in.";
    let mut family = to.family("node_systemd_unit_state", Kind::Gauge, help).holding(MOST_SERIES * STATES.len());
    for unit in shown() {
        for state in STATES {
            family.series(labels.set(&[("name", &unit.name), ("state", state), ("type", &unit.kind)]), state_of(unit) == state);
        }
    }
    let mut family = to.family("node_systemd_units", Kind::Gauge, "Units in each state.");
    for state in STATES {
        let count = units.units.iter().filter(|u| state_of(u) == state).count() as u64;
        let not_loaded = if state == "inactive" { units.not_loaded } else { 0 };
        family.series(labels.set(&[("state", state)]), count + not_loaded);
    }
    let running = units.system_state == "running";
    to.single("node_systemd_system_running", Kind::Gauge, "1 when the system is running and no unit has failed.", running);
    for (name, kind, help, value) in COLUMNS {
        let mut family = to.family(name, *kind, help);
        for unit in shown() {
            if let Some(value) = value(unit) {
                family.series(labels.set(&[("name", &unit.name)]), value);
            }
        }
    }
    if let Some((version, number)) = units.version.as_deref().and_then(|v| Some((v, number_of(v)?))) {
        let mut family = to.family("node_systemd_version", Kind::Gauge, "Version of systemd, as a number and as it says it.");
        family.series(labels.set(&[("version", version)]), number);
    }
    if let Some(kind) = &units.virtualization {
        let kind = if kind.is_empty() { "none" } else { kind };
        let mut family = to.family("node_systemd_virtualization_info", Kind::Gauge, "Constant 1: what systemd says that it runs in.");
        family.series(labels.set(&[("virtualization_type", kind)]), true);
    }
}

/// The first three digits or more of it, with a fraction if there is one.
fn number_of(version: &str) -> Option<f64> {
    let at = version.find(|c: char| c.is_ascii_digit())?;
    let text = version.get(at..)?;
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let whole = digits(text);
    if whole < 3 {
        return number_of(text.get(whole..)?);
    }
    let fraction = text.get(whole..)?.strip_prefix('.').map(digits).filter(|n| *n > 0).map_or(0, |n| n + 1);
    text.get(..whole + fraction)?.parse().ok()
}

fn is_failed(unit: &UnitState) -> bool {
    unit.active == "failed"
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
        let timer = UnitState { last_trigger_us: Some(1_795_500_000_000_250), ..unit("b.timer", "reloading", None) };
        let socket = UnitState { accepted: Some(7), connections: Some(0), ..unit("d.socket", "inactive", None) };
        let units = vec![unit("a.service", "failed", Some(3)), timer, unit("c.mount", "active", None), socket];
        let mut to = Exposition::default();
        write(
            &mut to,
            &Units { system_state: "degraded".into(), units, not_loaded: 4, virtualization: Some(String::new()), ..Units::default() },
        );
        let text = String::from_utf8_lossy(to.written()).into_owned();
        let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(lines.iter().filter(|l| l.starts_with("node_systemd_unit_state") && l.ends_with(" 1")).count(), 3);
        assert_eq!(lines.iter().filter(|l| l.starts_with("node_systemd_unit_state")).count(), 15);
        for line in [
            "node_systemd_unit_state{name=\"a.service\",state=\"failed\",type=\"simple\"} 1",
            "node_systemd_units{state=\"active\"} 2",
            "node_systemd_units{state=\"activating\"} 0",
            "node_systemd_units{state=\"inactive\"} 5",
            "node_systemd_system_running 0",
            "node_systemd_service_restart_total{name=\"a.service\"} 3",
            "node_systemd_timer_last_trigger_seconds{name=\"b.timer\"} 1795500000.000250",
            "node_systemd_socket_accepted_connections_total{name=\"d.socket\"} 7",
            "node_systemd_socket_current_connections{name=\"d.socket\"} 0",
            "node_systemd_virtualization_info{virtualization_type=\"none\"} 1",
        ] {
            assert!(lines.contains(&line), "{line}: {text}");
        }
        assert_eq!(lines.len(), 15 + 5 + 1 + 5);
    }

    #[test]
    fn where_some_have_no_room_it_is_not_those_that_failed() {
        let unit = |n: usize, active: &str| UnitState { name: format!("{n}.service"), active: active.into(), ..UnitState::default() };
        let mut units: Vec<UnitState> = (0..MOST_SERIES + 10).map(|n| unit(n, "active")).collect();
        units.push(unit(9999, "failed"));
        let mut to = Exposition::default();
        write(&mut to, &Units { units, ..Units::default() });
        let text = String::from_utf8_lossy(to.written());
        assert!(
            text.contains("node_systemd_unit_state{name=\"9999.service\",state=\"failed\",type=\"\"} 1"),
            "{}",
            to.dropped().over_the_cap
        );
        assert_eq!(to.dropped().over_the_cap, 11 * STATES.len() as u64);
    }

    #[test]
    fn a_version_is_its_first_long_number() {
        for (version, number) in [
            ("252.39-1~deb12u1", Some(252.39)),
            ("v257", Some(257.0)),
            ("219", Some(219.0)),
            ("255.", Some(255.0)),
            ("el9 252-46.el9_5.2 (255.1)", Some(252.0)),
            ("12", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(number_of(version), number, "{version}");
        }
    }
}
