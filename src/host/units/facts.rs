//! One unit, asked about by its name: what a decision about it rests on.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use zbus::{Connection, Error, OwnedObjectPath, OwnedVariant};

use super::{MANAGER, MANAGER_PATH, PROPERTIES, SYSTEMD};
use crate::host::bus::{self, system_bus, wait_for};
use crate::host::{Read, ReadError, clock};
use crate::model::{Bytes, HostPath, UnitFacts};

/// A loaded systemd may be slow, but whoever is about to act does not wait for ever.
const ANSWER: Duration = Duration::from_secs(10);
/// For a few units that nobody needs yet.
const SOON: Duration = Duration::from_secs(2);
const NOT_LOADED: &str = "it is not loaded";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

type Properties = HashMap<String, OwnedVariant>;

/// One unit, without consent yet, and the files that may hold it, in systemd's order.
pub(in crate::host) type Said = (UnitFacts, Vec<String>);

/// # Errors
/// `NotHere` when it is not loaded, which asking does not change, or where there is no systemd; `NoAnswer` when that does not answer.
pub(in crate::host) fn read_unit(root: &Path, name: &str) -> Read<Said> {
    // To systemd no name stands for whoever asks.
    if name.is_empty() {
        return Err(ReadError::NotHere { what: "a unit without a name".to_owned(), why: "there is none".to_owned() });
    }
    let asked: Result<Properties, String> = wait_for(ANSWER, "systemd", async { ask(&system_bus(root).await?, name).await });
    let what = || format!("unit {name}");
    said_of(
        name,
        &asked.map_err(|why| match why == NOT_LOADED || !bus::is_here(root) {
            true => ReadError::NotHere { what: what(), why },
            false => ReadError::NoAnswer { what: what(), why },
        })?,
    )
}

/// The same of a few units, over one connection, as far as systemd answers soon: of those that it says nothing of, nothing is told.
pub(in crate::host) fn read_units(root: &Path, names: &[String]) -> Vec<(String, Said)> {
    let mut all = Vec::new();
    let asked: Result<(), String> = wait_for(SOON, "systemd", async {
        let bus = system_bus(root).await?;
        for name in names.iter().filter(|name| !name.is_empty()) {
            if let Ok(properties) = ask(&bus, name).await
                && let Ok(said) = said_of(name, &properties)
            {
                all.push((name.clone(), said));
            }
        }
        Ok(())
    });
    asked.unwrap_or_else(|why| tracing::debug!("not all units could be asked about ahead of need: {why}"));
    all
}

fn said_of(name: &str, properties: &Properties) -> Read<Said> {
    let what = || format!("unit {name}");
    match text(properties, "LoadState").as_deref() {
        Some("loaded") => {}
        Some(other) => return Err(ReadError::NotHere { what: what(), why: format!("systemd says that it is {other}") }),
        None => return Err(ReadError::Parse { what: what(), why: "systemd does not say whether it is loaded".to_owned() }),
    }
    let missing = || ReadError::Parse { what: what(), why: "systemd does not tell all of its properties".to_owned() };
    let facts = facts_of(properties, clock::monotonic_us()).ok_or_else(missing)?;
    let mut files = vec![text(properties, "FragmentPath").ok_or_else(missing)?];
    files.extend(value::<Vec<String>>(properties, "DropInPaths").ok_or_else(missing)?);
    Ok((facts, files))
}

/// All of its properties in one answer, so that they are of one moment.
async fn ask(bus: &Connection, name: &str) -> Result<Properties, String> {
    let path = bus.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "GetUnit", &(name,)).await.map_err(|e| match e {
        Error::MethodError(error, ..) if error.as_str() == NO_SUCH_UNIT => NOT_LOADED.to_owned(),
        e => e.to_string(),
    })?;
    let path: OwnedObjectPath = path.body().deserialize().map_err(|e| e.to_string())?;
    // An interface without a name stands for all that it has.
    let all = bus.call_method(Some(SYSTEMD), path, Some(PROPERTIES), "GetAll", &("",)).await.map_err(|e| e.to_string())?;
    all.body().deserialize().map_err(|e| e.to_string())
}

/// `None` when something is missing that every unit has. What only services have is not there for others.
fn facts_of(properties: &Properties, now_us: u64) -> Option<UnitFacts> {
    let active = text(properties, "ActiveState")?;
    let since_us: u64 = value(properties, "ActiveEnterTimestampMonotonic")?;
    let is_up = matches!(active.as_str(), "active" | "reloading" | "refreshing");
    let active_for_s = if is_up { Duration::from_micros(now_us.saturating_sub(since_us)).as_secs_f64() } else { 0.0 };
    let invocation: Vec<u8> = value(properties, "InvocationID")?;
    let (job, _): (u32, OwnedObjectPath) = value(properties, "Job")?;
    let restarts_too = restarts_too(properties)?;
    let limit = |name: &str| value::<u64>(properties, name).filter(|limit| *limit != u64::MAX);
    Some(UnitFacts {
        name: text(properties, "Id")?,
        active,
        invocation: invocation.iter().map(|byte| format!("{byte:02x}")).collect(),
        active_for_s,
        restarts: value(properties, "NRestarts").unwrap_or(0),
        start_limit_s: limit("StartLimitIntervalUSec").map_or(0.0, |us| Duration::from_micros(us).as_secs_f64()),
        job_queued: job != 0,
        restart_safe: false,
        main_pid: value(properties, "MainPID").filter(|pid| *pid != 0),
        cgroup: HostPath::from(text(properties, "ControlGroup").unwrap_or_default().as_str()),
        memory_high: limit("MemoryHigh").map(Bytes),
        memory_max: limit("MemoryMax").map(Bytes),
        cpu_weight: limit("CPUWeight"),
        // Microseconds in a second.
        cpu_quota_percent: limit("CPUQuotaPerSecUSec").map(|us| us / 10_000),
        restarts_too,
    })
}

/// A restart goes on to these. Nothing runs in a target or a slice: that one is stopped and started again does nothing to anybody, while nearly
/// every unit that is part of the boot is required by one.
fn restarts_too(properties: &Properties) -> Option<Vec<String>> {
    // systemd before 230 does not tell of the first.
    let mut names: Vec<String> = value(properties, "RequisiteOf").unwrap_or_default();
    for property in ["RequiredBy", "BoundBy", "ConsistsOf"] {
        names.extend(value::<Vec<String>>(properties, property)?);
    }
    names.retain(|name| !name.ends_with(".target") && !name.ends_with(".slice"));
    names.sort();
    names.dedup();
    Some(names)
}

fn text(properties: &Properties, name: &str) -> Option<String> {
    value(properties, name)
}

fn value<T: TryFrom<OwnedVariant>>(properties: &Properties, name: &str) -> Option<T> {
    T::try_from(properties.get(name)?.try_clone().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::{ObjectPath, Variant};

    fn idle() -> Properties {
        let own = |value: Variant<'_>| value.try_to_owned().unwrap();
        HashMap::from([
            ("Id".to_owned(), own("a.slice".into())),
            ("ActiveState".to_owned(), own("active".into())),
            ("ActiveEnterTimestampMonotonic".to_owned(), own(2_000_000u64.into())),
            ("InvocationID".to_owned(), own(vec![0x0fu8, 0xa0].into())),
            ("Job".to_owned(), own((0u32, ObjectPath::try_from("/").unwrap()).into())),
            ("RequiredBy".to_owned(), own(vec!["b.service".to_owned(), "a.target".to_owned()].into())),
            ("BoundBy".to_owned(), own(vec!["a.mount".to_owned(), "b.service".to_owned(), "a.slice".to_owned()].into())),
            ("ConsistsOf".to_owned(), own(Vec::<String>::new().into())),
        ])
    }

    #[test]
    fn what_a_unit_has_not_is_no_limit_and_what_every_unit_has_must_be_there() {
        let facts = facts_of(&idle(), 5_500_000).unwrap();
        assert_eq!((facts.name.as_str(), facts.invocation.as_str(), facts.active_for_s), ("a.slice", "0fa0", 3.5));
        assert_eq!((facts.main_pid, facts.memory_high, facts.cpu_weight, facts.restarts), (None, None, None, 0));
        assert_eq!(facts.restarts_too, ["a.mount", "b.service"]);
        let all = ["Id", "ActiveState", "ActiveEnterTimestampMonotonic", "InvocationID", "Job", "RequiredBy", "BoundBy", "ConsistsOf"];
        for name in all {
            let mut properties = idle();
            properties.remove(name);
            assert_eq!(facts_of(&properties, 1), None, "{name}");
            properties.insert(name.to_owned(), Variant::from(1.5f64).try_to_owned().unwrap());
            assert_eq!(facts_of(&properties, 1), None, "{name} of another kind");
        }
    }

    #[test]
    fn the_largest_number_is_no_limit() {
        let mut properties = idle();
        for name in ["MemoryHigh", "MemoryMax", "CPUWeight", "CPUQuotaPerSecUSec", "StartLimitIntervalUSec"] {
            properties.insert(name.to_owned(), Variant::from(u64::MAX).try_to_owned().unwrap());
        }
        let facts = facts_of(&properties, 1).unwrap();
        assert_eq!((facts.memory_high, facts.memory_max, facts.cpu_weight, facts.cpu_quota_percent), (None, None, None, None));
        assert_eq!((facts.start_limit_s, facts.active_for_s), (0.0, 0.0));
        properties.insert("CPUQuotaPerSecUSec".to_owned(), Variant::from(250_000u64).try_to_owned().unwrap());
        assert_eq!(facts_of(&properties, 1).unwrap().cpu_quota_percent, Some(25));
    }
}
