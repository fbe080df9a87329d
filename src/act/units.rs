//! What steps on units have in common: whether a unit still is what was examined, and a restart that is awaited.

use std::cell::Cell;
use std::fmt::Write as _;
use std::pin::pin;
use std::time::{Duration, Instant};

use zbus::{Connection, OwnedObjectPath};

use super::systemd::{ManagerProxy, UnitProxy, finish_job, unit_at};
use super::{Scene, Tally};
use crate::host::bus::{system_bus, wait_for};
use crate::model::{Effect, HostPath, SkipReason, UnitTarget};

/// For a unit to stop by itself when it is restarted. Its own `TimeoutStopSec` is often longer than a host without memory has.
const GRACE: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const SIGKILL: i32 = 9;
/// A unit that falls over right after its start is found out within this.
const STAYS_UP: Duration = Duration::from_secs(2);

/// Why it did not go as it should.
pub(super) enum Acted {
    /// Nothing was asked of the unit.
    Not(SkipReason, String),
    /// It was asked, and is not well now, or not known to be.
    Badly(String),
}

impl From<String> for Acted {
    fn from(why: String) -> Self {
        Self::Not(SkipReason::Error, why)
    }
}

/// Counts what became of one unit. False: nothing was asked of it.
pub(super) fn tell(tally: &mut Tally, unit: &str, asked: bool, acted: Result<String, Acted>) -> bool {
    match acted {
        Ok(said) => {
            tally.done = 1;
            tally.note(said);
        }
        Err(Acted::Not(reason, why)) if !asked => {
            tally.note(why);
            tally.skip(HostPath::from(unit), reason);
            return false;
        }
        Err(Acted::Badly(why) | Acted::Not(_, why)) => {
            tally.done = 1;
            tally.stop(why);
        }
    }
    true
}

/// The unit, while it is in the run that was examined and nobody is busy with it.
pub(super) async fn same_run(bus: &Connection, manager: &ManagerProxy<'_>, target: &UnitTarget) -> Result<OwnedObjectPath, Acted> {
    let name = &target.unit;
    let failed = |e: zbus::Error| format!("{name}: {e}");
    let changed = |why: String| Err(Acted::Not(SkipReason::Changed, why));
    let path = manager.get_unit(name).await.map_err(|e| Acted::Not(SkipReason::Gone, failed(e)))?;
    let unit = unit_at(bus, path.clone()).await.map_err(failed)?;
    let id = unit.id().await.map_err(failed)?;
    if &id != name {
        return changed(format!("{name} is another name of {id} by now"));
    }
    let state = unit.active_state().await.map_err(failed)?;
    if state != "active" {
        return changed(format!("{name} is {state}: systemd or a person is busy with it"));
    }
    if unit.job().await.map_err(failed)?.0 != 0 {
        return Err(Acted::Not(SkipReason::InUse, format!("a job is queued for {name}")));
    }
    let invocation = unit.invocation_id().await.map_err(failed)?.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    if invocation != target.invocation || invocation.is_empty() {
        return changed(format!("{name} was started anew since it was examined"));
    }
    Ok(path)
}

/// Waits for a job's end, and a moment longer: what is told is whether the unit is still up then.
pub(super) async fn stays_up<F>(bus: &Connection, manager: &ManagerProxy<'_>, name: &str, what: &str, job: F) -> Result<String, Acted>
where
    F: Future<Output = Result<(), String>>,
{
    let failed = |e: zbus::Error| Acted::Badly(format!("{name}: {e}"));
    let started = Instant::now();
    job.await.map_err(Acted::Badly)?;
    let took = started.elapsed().as_secs_f64();
    tokio::time::sleep(STAYS_UP).await;
    let path = manager.get_unit(name).await.map_err(failed)?;
    match unit_at(bus, path).await.map_err(failed)?.active_state().await.map_err(failed)?.as_str() {
        "active" => Ok(format!("{what} of {name} took {took:.1} s; it is active")),
        state => Err(Acted::Badly(format!("{name} is {state} after the {what}"))),
    }
}

pub(super) fn restart(target: &UnitTarget, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    let (asked, killed) = (Cell::new(false), Cell::new(None));
    let acted = wait_for(scene.left(), "systemd", async {
        let bus = system_bus(scene.root_path).await?;
        let manager = ManagerProxy::new(&bus).await.map_err(|e| e.to_string())?;
        let unit = unit_at(&bus, same_run(&bus, &manager, target).await?).await.map_err(|e| e.to_string())?;
        asked.set(true);
        stays_up(&bus, &manager, &target.unit, "restart", within_grace(&manager, &unit, &target.unit, &killed)).await
    });
    if let Some(sent) = killed.take() {
        tally.note(format!("{} did not stop within {} s and was sent SIGKILL{sent}", target.unit, GRACE.as_secs()));
    }
    tell(&mut tally, &target.unit, asked.get(), acted);
    tally.finish(scene.now())
}

/// A restart that does not wait for the unit's stop for longer than [`GRACE`].
async fn within_grace(manager: &ManagerProxy<'_>, unit: &UnitProxy<'_>, name: &str, killed: &Cell<Option<String>>) -> Result<(), String> {
    let mut job = pin!(finish_job(manager, name, manager.try_restart_unit(name, "fail")));
    // Both at once, or the bus would fill up with what the job's waiting does not take from it.
    tokio::select! {
        ended = &mut job => return ended,
        () = out_of_patience(unit) => {}
    }
    // All of its control group. A new run may have begun since it was seen stopping, and would be hit: then it is not active at the end,
    // which is told. systemd offers no way to name the run that is meant.
    let (ended, sent) = tokio::join!(job, manager.kill_unit(name, "all", SIGKILL));
    // Of the several processes of a unit one may be hit and another not: an error does not say that nothing was sent.
    killed.set(Some(sent.err().map_or_else(String::new, |e| format!(", of which systemd says: {e}"))));
    ended
}

/// Comes to its end when the unit has been stopping for [`GRACE`]. A start may take as long as it likes.
async fn out_of_patience(unit: &UnitProxy<'_>) {
    let mut since = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let stopping = unit.active_state().await.is_ok_and(|state| state == "deactivating");
        since = stopping.then(|| since.unwrap_or_else(Instant::now));
        if since.is_some_and(|since| since.elapsed() >= GRACE) {
            return;
        }
    }
}
