//! What is known of systemd's units: pure, changed by what systemd says, one message after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::figures::{Figure, Value};
use crate::model::{UnitState, Units};

const UNITS: &str = "/org/freedesktop/systemd1/unit/";
const FAILED: &str = "failed";

/// One line of `ListUnits`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed<'a> {
    pub(super) name: &'a str,
    pub(super) load: &'a str,
    pub(super) active: &'a str,
    pub(super) sub: &'a str,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    system_state: String,
    version: Option<String>,
    virtualization: Option<String>,
    units: BTreeMap<String, UnitState>,
    not_loaded: BTreeSet<String>,
    newly_failed: BTreeSet<String>,
    /// The first list: what has failed before it was looked at is not new.
    known: bool,
}

impl Table {
    /// All units that there are. Gives the names of those that failed since the last list.
    pub(super) fn replace(&mut self, list: &[Listed<'_>]) -> Vec<String> {
        let mut before = std::mem::take(&mut self.units);
        let known = std::mem::replace(&mut self.known, true);
        let mut failed = Vec::new();
        self.not_loaded = list.iter().filter(|l| !is_there(l)).map(|l| l.name.to_owned()).collect();
        for listed in list.iter().filter(|l| is_there(l)) {
            let unit = before.remove(listed.name);
            if known && listed.active == FAILED && unit.as_ref().is_none_or(|u| u.active != FAILED) {
                failed.push(listed.name.to_owned());
            }
            self.insert(listed, unit);
        }
        self.newly_failed.extend(failed.iter().cloned());
        failed
    }

    /// Some units that were loaded since. Gives those that failed.
    pub(super) fn add(&mut self, list: &[Listed<'_>]) -> Vec<String> {
        let mut failed = Vec::new();
        for listed in list {
            if !is_there(listed) {
                self.not_loaded.insert(listed.name.to_owned());
                continue;
            }
            self.not_loaded.remove(listed.name);
            let unit = self.units.remove(listed.name);
            if listed.active == FAILED && unit.as_ref().is_none_or(|u| u.active != FAILED) {
                failed.push(listed.name.to_owned());
            }
            self.insert(listed, unit);
        }
        self.newly_failed.extend(failed.iter().cloned());
        failed
    }

    fn insert(&mut self, listed: &Listed<'_>, before: Option<UnitState>) {
        let (name, active, sub) = (listed.name.to_owned(), listed.active.to_owned(), listed.sub.to_owned());
        self.units.insert(name.clone(), UnitState { name, active, sub, ..before.unwrap_or_default() });
    }

    /// A unit's state changed. `true`: it has failed now.
    pub(super) fn state(&mut self, name: &str, active: Option<&str>, sub: Option<&str>) -> bool {
        let Some(unit) = self.units.get_mut(name) else { return false };
        let fails = active == Some(FAILED) && unit.active != FAILED;
        for (field, value) in [(&mut unit.active, active), (&mut unit.sub, sub)] {
            if let Some(value) = value {
                value.clone_into(field);
            }
        }
        if fails {
            self.newly_failed.insert(name.to_owned());
        }
        fails
    }

    pub(super) fn figure(&mut self, name: &str, figure: Figure, value: Value<'_>) {
        if let Some(unit) = self.units.get_mut(name) {
            figure.enter(value, unit);
        }
    }

    /// It was listed as what is no unit. Once it changes its state it has become one, of which systemd says nothing else.
    pub(super) fn is_not_loaded(&self, name: &str) -> bool {
        self.not_loaded.contains(name)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.units.remove(name);
        self.not_loaded.remove(name);
    }

    pub(super) fn version(&mut self, version: &str) {
        self.version = Some(version.to_owned());
    }

    pub(super) fn virtualization(&mut self, kind: &str) {
        self.virtualization = Some(kind.to_owned());
    }

    pub(super) fn system_state(&mut self, state: &str) {
        state.clone_into(&mut self.system_state);
    }

    /// What there is to ask of those of these units that are there.
    pub(super) fn figures<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<(String, Figure)> {
        let of = |name: &'n str| Figure::of(name).iter().map(move |figure| (name.to_owned(), *figure));
        names.into_iter().filter(|name| self.units.contains_key(*name)).flat_map(of).collect()
    }

    /// What is known now, once both the list and systemd's own state are. Those that failed are told once.
    pub(super) fn take(&mut self) -> Option<Units> {
        (self.known && !self.system_state.is_empty()).then(|| Units {
            system_state: self.system_state.clone(),
            version: self.version.clone(),
            virtualization: self.virtualization.clone(),
            units: self.units.values().cloned().collect(),
            not_loaded: self.not_loaded.len() as u64,
            newly_failed: std::mem::take(&mut self.newly_failed).into_iter().collect(),
        })
    }
}

/// What is only referred to and not installed is no unit, unless it failed before it went.
fn is_there(listed: &Listed<'_>) -> bool {
    listed.load == "loaded" || listed.active == FAILED
}

/// The socket for a connection to which this service may have been started: `ssh.socket` of `ssh@7-10.0.0.1:22.service`. A socket's counts are
/// not told when they change, and the services of its connections are.
pub(super) fn socket_of(service: &str) -> Option<String> {
    let (prefix, _) = service.strip_suffix(".service")?.split_once('@')?;
    Some(format!("{prefix}.socket"))
}

/// The unit whose object this is: `_xx` is the byte `xx`. `None` for other objects and broken escapes.
pub(in crate::host) fn parse_unit_path(path: &str) -> Option<String> {
    let mut name = Vec::new();
    let mut rest = path.strip_prefix(UNITS)?.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'_' {
            let digits = tail.get(..2).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
            name.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            name.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(name).ok().filter(|n| !n.is_empty() && !n.contains('/'))
}

/// The other way.
pub(super) fn unit_path(name: &str) -> String {
    let mut path = UNITS.to_owned();
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listed<'a>(name: &'a str, active: &'a str) -> Listed<'a> {
        Listed { name, load: "loaded", active, sub: "x" }
    }

    #[test]
    fn a_unit_that_fails_is_told_once_and_one_that_had_failed_before_is_not() {
        let mut table = Table::default();
        assert!(table.take().is_none());
        assert!(table.replace(&[listed("old.service", "failed"), listed("a.service", "active"), listed("b.service", "active")]).is_empty());
        table.system_state("degraded");
        assert!(table.take().unwrap().newly_failed.is_empty());
        assert!(table.state("a.service", Some("failed"), Some("failed")));
        assert!(!table.state("a.service", Some("failed"), None), "it was told already");
        assert!(!table.state("stranger.service", Some("failed"), None));
        // One failed while nobody listened; one is gone; one is new and has failed already.
        let next = [listed("a.service", "failed"), listed("b.service", "failed"), listed("old.service", "failed")];
        assert_eq!(table.replace(&next), ["b.service"]);
        assert_eq!(table.add(&[listed("c.service", "failed")]), ["c.service"]);
        let units = table.take().unwrap();
        assert_eq!((units.newly_failed, units.units.len()), (vec!["a.service".to_owned(), "b.service".into(), "c.service".into()], 4));
        assert!(table.take().unwrap().newly_failed.is_empty());
        // It may fail again.
        table.state("a.service", Some("active"), Some("running"));
        assert!(table.state("a.service", Some("failed"), None));
    }

    #[test]
    fn what_is_known_of_a_service_outlives_a_new_list() {
        let mut table = Table::default();
        let absent = Listed { load: "not-found", ..listed("absent.service", "inactive") };
        table.replace(&[listed("a.service", "active"), absent]);
        table.figure("a.service", Figure::Type, Value::Text("notify"));
        table.figure("a.service", Figure::Restarts, Value::Number(3));
        table.figure("a.service", Figure::LastTrigger, Value::Text("not a number"));
        table.system_state("running");
        table.replace(&[listed("a.service", "inactive"), listed("b.mount", "active")]);
        let units = table.take().unwrap();
        let a = UnitState {
            name: "a.service".into(),
            active: "inactive".into(),
            sub: "x".into(),
            kind: "notify".into(),
            restarts: Some(3),
            ..UnitState::default()
        };
        assert_eq!(units.units.first(), Some(&a));
        let asked = [("a.service".to_owned(), Figure::Type), ("a.service".to_owned(), Figure::Restarts)];
        assert_eq!(table.figures(["absent.service", "a.service", "b.mount"]), asked);
        table.remove("a.service");
        assert_eq!(table.take().unwrap().units.len(), 1);
    }

    #[test]
    fn what_is_no_unit_is_counted_until_it_is_one() {
        let mut table = Table::default();
        let absent = |name| Listed { load: "not-found", ..listed(name, "inactive") };
        table.replace(&[listed("a.service", "active"), absent("b.service"), Listed { load: "masked", ..absent("c.service") }]);
        table.system_state("running");
        let counts = |table: &mut Table| table.take().map(|u| (u.units.len(), u.not_loaded)).unwrap();
        assert_eq!(counts(&mut table), (1, 2));
        table.add(&[listed("b.service", "active"), absent("d.service")]);
        assert!(!table.is_not_loaded("b.service") && table.is_not_loaded("d.service"));
        assert_eq!(counts(&mut table), (2, 2));
        table.remove("d.service");
        assert_eq!(counts(&mut table), (2, 1));
        table.replace(&[listed("a.service", "active")]);
        assert_eq!(counts(&mut table), (1, 0));
    }

    #[test]
    fn names_are_found_in_paths() {
        let name = |label: &str| parse_unit_path(&format!("{UNITS}{label}"));
        assert_eq!(name("dbus_2eservice").as_deref(), Some("dbus.service"));
        assert_eq!(name("dev_2ddisk_2dby_5cx2duuid_2ddevice").as_deref(), Some("dev-disk-by\\x2duuid-device"));
        for broken in ["", "a_2", "a_", "a_zz", "a_+f", "_ff", "a/b"] {
            assert_eq!(name(broken), None, "{broken}");
        }
        assert_eq!(parse_unit_path("/org/freedesktop/systemd1/job/1"), None);
    }

    #[test]
    fn a_connection_has_its_socket() {
        assert_eq!(socket_of("ssh@7-10.0.0.1:22-10.0.0.2:5123.service").as_deref(), Some("ssh.socket"));
        assert!(["ssh.service", "ssh@7.timer", "@", ""].iter().all(|name| socket_of(name).is_none()));
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in "[a-zA-Z0-9:_.@\\\\-]{1,40}") {
            prop_assert_eq!(parse_unit_path(&unit_path(&name)), Some(name));
        }

        #[test]
        fn any_path_is_a_unit_or_none(tail: String) {
            let _ = (parse_unit_path(&tail), parse_unit_path(&format!("{UNITS}{tail}")));
        }
    }
}
