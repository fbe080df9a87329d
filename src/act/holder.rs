//! Letting go of deleted files that a service still holds: its unit is reloaded or restarted, if its owner said that it may be.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::systemd::{ManagerProxy, finish_job, service_at, unit_at};
use super::units::{Acted, stays_up, tell};
use super::{Scene, Tally};
use crate::host::bus::{system_bus, wait_for};
use crate::host::opted_in;
use crate::model::{Bytes, Effect, Holder, HolderAction, HolderUnit, HostPath, Observed, SkipReason};

const LOOK: Duration = Duration::from_secs(15);

/// What is known of a unit before it is touched.
struct State {
    unit: HolderUnit,
    job_queued: bool,
    restarts: u32,
    start_limit: Duration,
    active_for: Duration,
}

pub(super) fn look(root: &Path, pid: u32) -> Observed<HolderUnit> {
    let seen: Result<HolderUnit, String> = wait_for(LOOK, "systemd", async {
        let bus = system_bus(root).await?;
        Ok(state(&bus, root, pid).await?.unit)
    });
    seen.into()
}

async fn state(bus: &zbus::Connection, root: &Path, pid: u32) -> Result<State, String> {
    let failed = |e: zbus::Error| format!("unit of pid {pid}: {e}");
    let manager = ManagerProxy::new(bus).await.map_err(failed)?;
    let path = manager.get_unit_by_pid(pid).await.map_err(failed)?;
    let service = service_at(bus, path.clone()).await.map_err(failed)?;
    let unit = unit_at(bus, path).await.map_err(failed)?;
    let mut files = vec![unit.fragment_path().await.map_err(failed)?];
    files.extend(unit.drop_in_paths().await.map_err(failed)?);
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
    let since = Duration::from_micros(unit.active_enter_timestamp_monotonic().await.map_err(failed)?);
    Ok(State {
        job_queued: unit.job().await.map_err(failed)?.0 != 0,
        // Scopes and slices have no such counters; they are not restarted either.
        restarts: service.n_restarts().await.unwrap_or(0),
        start_limit: unit.start_limit_interval_usec().await.map_or(Duration::ZERO, Duration::from_micros),
        active_for: now.saturating_sub(since),
        unit: HolderUnit {
            unit: unit.id().await.map_err(failed)?,
            active_state: unit.active_state().await.map_err(failed)?,
            restart_safe: opted_in(root, &files),
            can_reload: unit.can_reload().await.map_err(failed)?,
        },
    })
}

pub(super) fn let_go(holder: &Holder, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    let name = HostPath::from(holder.unit.as_str());
    let proc = scene.path(&format!("/proc/{}", holder.pid));
    let before = match held_by(&proc, holder) {
        Some(held) if held.bytes > 0 => held,
        Some(_) => {
            tally.note(format!("pid {} holds no deleted file of this filesystem any more", holder.pid));
            tally.skip(name, SkipReason::Gone);
            return tally.finish(scene.now());
        }
        None => {
            tally.note(format!("pid {} is not the process that was examined any more", holder.pid));
            tally.skip(name, SkipReason::Gone);
            return tally.finish(scene.now());
        }
    };
    let asked = Cell::new(false);
    let acted = wait_for(scene.left(), "systemd", act(holder, scene.root_path, &asked));
    if !tell(&mut tally, &holder.unit, asked.get(), acted) {
        return tally.finish(scene.now());
    }
    let after = held_by(&proc, holder);
    let still: u64 = after.as_ref().map_or(0, |held| held.inodes.intersection(&before.inodes).map(|(_, bytes)| bytes).sum());
    tally.freed = before.bytes.saturating_sub(still);
    if still > 0 {
        tally.note(format!("pid {} still holds {} of deleted files", holder.pid, Bytes(still)));
    } else {
        tally.inodes = before.inodes.len() as u64;
    }
    tally.finish(scene.now())
}

async fn act(holder: &Holder, root: &Path, asked: &Cell<bool>) -> Result<String, Acted> {
    let bus = system_bus(root).await?;
    may(holder, &state(&bus, root, holder.pid).await?)?;
    let failed = |e: zbus::Error| format!("{}: {e}", holder.unit);
    let manager = ManagerProxy::new(&bus).await.map_err(failed)?;
    asked.set(true);
    match holder.action {
        HolderAction::Reload => {
            let job = finish_job(&manager, &holder.unit, manager.reload_unit(&holder.unit, "fail"));
            stays_up(&bus, &manager, &holder.unit, "reload", job).await
        }
        HolderAction::Restart => {
            let job = finish_job(&manager, &holder.unit, manager.try_restart_unit(&holder.unit, "fail"));
            stays_up(&bus, &manager, &holder.unit, "restart", job).await
        }
    }
}

/// Everything that a person may have said or systemd may be about to do.
fn may(holder: &Holder, state: &State) -> Result<(), Acted> {
    let not = |reason, why: String| Err(Acted::Not(reason, why));
    let unit = &state.unit;
    if unit.unit != holder.unit {
        return not(SkipReason::Changed, format!("pid {} belongs to {} by now, not to {}", holder.pid, unit.unit, holder.unit));
    }
    if !unit.restart_safe {
        return not(SkipReason::Protected, format!("{} has no [X-Byteport] Restart=safe", unit.unit));
    }
    if unit.active_state != "active" {
        return not(SkipReason::Changed, format!("{} is {}: systemd or a person is busy with it", unit.unit, unit.active_state));
    }
    if state.job_queued {
        return not(SkipReason::InUse, format!("a job is queued for {}", unit.unit));
    }
    if holder.action == HolderAction::Reload && !unit.can_reload {
        return not(SkipReason::Error, format!("{} cannot be reloaded", unit.unit));
    }
    // One more start inside the interval may be the one that systemd refuses, and then the service stays down.
    if holder.action == HolderAction::Restart && state.restarts > 0 && state.active_for < state.start_limit {
        return not(SkipReason::TooYoung, format!("{} was restarted {} times and is near its start limit", unit.unit, state.restarts));
    }
    Ok(())
}

/// Deleted files of one filesystem that a process has open, each inode once: inode, bytes on disk.
struct Held {
    inodes: HashSet<(u64, u64)>,
    bytes: u64,
}

/// `None` when the process is another one or gone.
fn held_by(proc: &Path, holder: &Holder) -> Option<Held> {
    if start_of(&fs::read_to_string(proc.join("stat")).ok()?)? != holder.start_ticks {
        return None;
    }
    let mut inodes = HashSet::new();
    for entry in fs::read_dir(proc.join("fd")).ok()?.flatten() {
        // The link's text is asked first: a descriptor on a mount that hangs is not touched.
        let deleted = fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str().as_encoded_bytes().ends_with(b" (deleted)"));
        let there = deleted.then(|| fs::metadata(entry.path()).ok()).flatten();
        if let Some(there) = there.filter(|m| m.is_file() && m.nlink() == 0 && m.dev() == holder.device) {
            inodes.insert((there.ino(), there.blocks() * 512));
        }
    }
    Some(Held { bytes: inodes.iter().map(|(_, bytes)| bytes).sum(), inodes })
}

/// Field 22 of `/proc/PID/stat`. The name, field 2, may hold spaces and brackets: fields are counted behind its last bracket.
fn start_of(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_start_time() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 100 200";
        assert_eq!(start_of(stat), Some(4711));
        assert_eq!(start_of("7 (a) S 1"), None);
    }

    #[test]
    fn a_deleted_file_is_counted_once_on_its_filesystem_alone_and_let_go() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &[1; 8192]).unwrap();
        file.sync_all().unwrap();
        let second = file.try_clone().unwrap();
        let here = Path::new("/proc/self");
        let start_ticks = start_of(&fs::read_to_string(here.join("stat")).unwrap()).unwrap();
        let there = file.metadata().unwrap();
        let holder = |start_ticks, device| Holder {
            unit: "a.service".into(),
            pid: std::process::id(),
            start_ticks,
            action: HolderAction::Reload,
            device,
            held: Bytes(8192),
        };
        let ours = holder(start_ticks, there.dev());
        let inode = (there.ino(), 8192);
        assert!(held_by(here, &ours).unwrap().inodes.contains(&inode));
        assert!(!held_by(here, &holder(start_ticks, there.dev() + 1)).unwrap().inodes.contains(&inode), "it lies on another filesystem");
        assert!(held_by(here, &holder(start_ticks + 1, there.dev())).is_none());
        drop((file, second));
        assert!(!held_by(here, &ours).unwrap().inodes.contains(&inode));
    }
}
