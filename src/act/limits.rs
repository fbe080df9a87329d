//! Limits that a unit is given at runtime, and taken from it again.
//!
//! systemd keeps a runtime property in a drop-in below `/run/systemd/system.control`, and has no call that takes a single one away:
//! `RevertUnitFiles` would also take those that a person has set. So what is taken back is the value, and a drop-in with the value of before
//! stays until the next boot. Until then it wins over the same setting in the unit's own file, as every property does that was ever set at
//! runtime.

use std::cell::Cell;
use std::io::Read;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zbus::Variant;

use super::systemd::{ManagerProxy, ServiceProxy, service_at, unit_at};
use super::units::{Acted, same_run, tell};
use super::{Scene, Tally, beneath};
use crate::host::bus::{system_bus, wait_for};
use crate::model::{BootId, Bytes, Effect, HostPath, LimitTo, Refusal, RefusalReason, SkipReason, UnitLimit};

/// Nothing here waits for a job: systemd answers in milliseconds or is not well.
const ANSWER: Duration = Duration::from_secs(15);
/// A drop-in with one property is some lines.
const DROP_IN: u64 = 64 << 10;
/// As systemd says that no limit is set.
const NONE: u64 = u64::MAX;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Property {
    MemoryHigh,
    #[serde(rename = "CPUWeight")]
    CpuWeight,
    #[serde(rename = "CPUQuotaPerSecUSec")]
    CpuQuota,
}

/// What the ledger keeps of one limit, from before it was set.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limited {
    /// Runtime properties end with their boot.
    boot: BootId,
    unit: String,
    property: Property,
    before: u64,
    set: u64,
}

impl Property {
    const fn of(limit: LimitTo) -> (Self, u64) {
        match limit {
            LimitTo::MemoryHigh(bytes) => (Self::MemoryHigh, bytes.0),
            LimitTo::CpuWeight(weight) => (Self::CpuWeight, weight),
            // Microseconds in each second.
            LimitTo::CpuQuota(percent) => (Self::CpuQuota, percent.saturating_mul(10_000)),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::MemoryHigh => "MemoryHigh",
            Self::CpuWeight => "CPUWeight",
            Self::CpuQuota => "CPUQuotaPerSecUSec",
        }
    }

    /// In a unit file.
    const fn key(self) -> &'static str {
        match self {
            Self::MemoryHigh => "MemoryHigh",
            Self::CpuWeight => "CPUWeight",
            Self::CpuQuota => "CPUQuota",
        }
    }

    /// As systemd writes it into a drop-in.
    fn line(self, value: u64) -> String {
        match self {
            Self::MemoryHigh | Self::CpuWeight => format!("{}={value}", self.key()),
            Self::CpuQuota => format!("{}={}%", self.key(), value / 10_000),
        }
    }

    async fn read(self, of: &ServiceProxy<'_>) -> zbus::Result<u64> {
        match self {
            Self::MemoryHigh => of.memory_high().await,
            Self::CpuWeight => of.cpu_weight().await,
            Self::CpuQuota => of.cpu_quota_per_sec_usec().await,
        }
    }

    /// As it is written in a unit file.
    fn shown(self, value: u64) -> String {
        match self {
            Self::MemoryHigh => format!("MemoryHigh {}", if value == NONE { "infinity".into() } else { Bytes(value).to_string() }),
            Self::CpuWeight => format!("CPUWeight {}", if value == NONE { "unset".into() } else { value.to_string() }),
            Self::CpuQuota => format!("CPUQuota {}", if value == NONE { "unset".into() } else { format!("{}%", value / 10_000) }),
        }
    }

    /// `MemoryHigh infinity -> 512 MiB`.
    fn change(self, from: u64, to: u64) -> String {
        let to = self.shown(to);
        format!("{} -> {}", self.shown(from), to.split_once(' ').map_or(to.as_str(), |(_, value)| value))
    }
}

pub(super) fn limit(limit: &UnitLimit, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    let asked = Cell::new(false);
    let acted = wait_for(ANSWER.min(scene.left()), "systemd", set(limit, scene, &asked));
    tell(&mut tally, &limit.target.unit, asked.get(), acted);
    tally.finish(scene.now())
}

async fn set(limit: &UnitLimit, scene: &Scene<'_>, asked: &Cell<bool>) -> Result<String, Acted> {
    let name = &limit.target.unit;
    let failed = |e: zbus::Error| format!("{name}: {e}");
    let (property, set) = Property::of(limit.limit);
    let bus = system_bus(scene.root_path).await?;
    let manager = ManagerProxy::new(&bus).await.map_err(failed)?;
    let service = service_at(&bus, same_run(&bus, &manager, &limit.target).await?).await.map_err(failed)?;
    let before = property.read(&service).await.map_err(failed)?;
    if before <= set {
        return Err(Acted::Not(SkipReason::Changed, format!("{name} has {} by now, which is no wider", property.shown(before))));
    }
    let noted = Limited { boot: scene.now().boot, unit: name.clone(), property, before, set };
    let note = serde_json::to_value(noted).map_err(|e| e.to_string())?;
    scene.ledger.put(&note).map_err(|e| format!("{name} was not limited, because the value of before could not be noted: {e}"))?;
    asked.set(true);
    let said = manager.set_unit_properties(name, true, &[(property.name(), Variant::from(set))]).await;
    // What counts is what systemd has now, whatever it said.
    let now = property.read(&service).await.map_err(|e| Acted::Badly(failed(e)))?;
    if now != set {
        asked.set(now != before);
        let why = said.err().map_or_else(|| "systemd did not take the limit".to_owned(), |e| e.to_string());
        return Err(Acted::Not(SkipReason::Error, format!("{name} has {}: {why}", property.shown(now))));
    }
    Ok(format!("{name}: {}", property.change(before, set)))
}

/// # Errors
/// When the limit still stands.
pub(super) fn lift(notes: &[serde_json::Value], scene: &Scene<'_>) -> Result<Effect, Refusal> {
    let stands = |why: String| Refusal::new(RefusalReason::NotAvailable, why);
    let mut tally = Tally::new(scene.now());
    if notes.is_empty() {
        tally.note("the act ended before anything was set");
    }
    for note in notes.iter().rev() {
        let limited: Limited =
            serde_json::from_value(note.clone()).map_err(|e| stands(format!("the ledger's note is not understood: {e}")))?;
        if limited.boot != scene.now().boot {
            tally.note(format!("{}: the host was booted since, and a limit set at runtime ended with that", limited.unit));
            continue;
        }
        let lifted = wait_for(ANSWER.min(scene.left()), "systemd", set_back(&limited, scene)).map_err(stands)?;
        match lifted {
            Lifted::Now(said) => {
                tally.done += 1;
                tally.note(said);
            }
            Lifted::NothingToDo(why) => tally.note(why),
        }
    }
    Ok(tally.finish(scene.now()))
}

/// Takes away the drop-in of a unit that is gone, which it would be given when it is installed again. `false`: it holds another value by now.
fn forget(limited: &Limited, scene: &Scene<'_>) -> std::io::Result<bool> {
    let folder = HostPath::from(format!("/run/systemd/system.control/{}.d", limited.unit).as_str());
    let file = format!("50-{}.conf", limited.property.key());
    let dir = match beneath::open_dir(scene.host_root(), &folder) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(true),
        Err(e) => return Err(e.into()),
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let text = match rustix::fs::openat(&dir, file.as_str(), flags, Mode::empty()) {
        Ok(open) => {
            let mut text = String::new();
            std::fs::File::from(open).take(DROP_IN).read_to_string(&mut text)?;
            text
        }
        Err(Errno::NOENT) => return Ok(true),
        Err(e) => return Err(e.into()),
    };
    let ours = limited.property.line(limited.set);
    if !text.lines().any(|line| line.trim() == ours) {
        return Ok(false);
    }
    rustix::fs::unlinkat(&dir, file.as_str(), AtFlags::empty())?;
    Ok(true)
}

enum Lifted {
    Now(String),
    NothingToDo(String),
}

/// The run may be another one by now: a runtime property stays with the unit's name.
async fn set_back(limited: &Limited, scene: &Scene<'_>) -> Result<Lifted, String> {
    let (name, property) = (&limited.unit, limited.property);
    let failed = |e: zbus::Error| format!("{name}: {e}");
    let bus = system_bus(scene.root_path).await?;
    let manager = ManagerProxy::new(&bus).await.map_err(failed)?;
    let path = manager.load_unit(name).await.map_err(failed)?;
    let state = unit_at(&bus, path.clone()).await.map_err(failed)?.load_state().await.map_err(failed)?;
    if state == "not-found" {
        let gone =
            forget(limited, scene).map_err(|e| format!("{name} is not there any more, and what limits it when it comes back is: {e}"))?;
        return Ok(Lifted::NothingToDo(match gone {
            true => format!("{name} is not there any more, and its limit with it"),
            false => format!("{name} is not there any more; a limit of somebody else's waits for it"),
        }));
    }
    let service = service_at(&bus, path).await.map_err(failed)?;
    let now = property.read(&service).await.map_err(failed)?;
    if now == limited.before {
        return Ok(Lifted::NothingToDo(format!("{name} has {} already, as before", property.shown(now))));
    }
    if now != limited.set {
        return Ok(Lifted::NothingToDo(format!("{name} has {}, which somebody else has set: left as it is", property.shown(now))));
    }
    let said = manager.set_unit_properties(name, true, &[(property.name(), Variant::from(limited.before))]).await;
    let after = property.read(&service).await.map_err(failed)?;
    if after != limited.before {
        let why = said.err().map_or_else(|| "systemd did not take it".to_owned(), |e| e.to_string());
        return Err(format!("{name} still has {}: {why}", property.shown(after)));
    }
    Ok(Lifted::Now(format!("{name}: {}", property.change(now, after))))
}
