//! Whom the kernel ends first when memory runs out.
//!
//! Raising `oom_score_adj` and going back to what it was needs no right over resources, as long as nobody with that right has raised it
//! meanwhile: the kernel keeps the last value that such a one has set as the lowest.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::processes::{Left, failed, folder, named};
use super::{Scene, Tally};
use crate::host::ReadError;
use crate::model::{BootId, Effect, HostPath, Preference, ProcessTarget, Refusal, RefusalReason, SkipReason};

const OOM_SCORE_ADJ: &str = "oom_score_adj";
/// Of a unit that begins processes while they are given back what they had.
const ROUNDS: usize = 8;
const TICKS_PER_S: f64 = 100.0;

/// What the ledger keeps of one preference, from before it was set: one note for all of its processes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Preferred {
    boot: BootId,
    set: i32,
    processes: Vec<Raised>,
    /// Notes from before this was written have none, and so has a preference for a process in no unit.
    #[serde(default)]
    group: Option<Group>,
}

/// Where what the raised processes begin later, which inherits their value, is to be found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    path: HostPath,
    /// Seconds since boot at which this was noted: before anything was raised.
    at_s: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raised {
    process: ProcessTarget,
    before: i32,
}

pub(super) fn prefer(preference: &Preference, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    let set = preference.oom_score_adj;
    let mut raised = Vec::new();
    let mut dirs = Vec::new();
    for process in &preference.processes {
        match folder(process, scene).and_then(|dir| Ok((score(&dir).map_err(|e| failed(process, OOM_SCORE_ADJ, &e))?, dir))) {
            Ok((before, _)) if before >= set => tally.note(format!("{} has {before} already, which is no less", named(process))),
            Ok((before, dir)) => {
                raised.push(Raised { process: process.clone(), before });
                dirs.push(dir);
            }
            Err(left) => left.tell(&mut tally, process),
        }
    }
    // Asked a moment ago, for consent, and known since.
    let unit = preference.unit.as_deref().and_then(|unit| scene.host.unit_at_once(unit).ok());
    let group = unit.map(|unit| Group { path: unit.cgroup, at_s: scene.now().uptime_s });
    let noted = Preferred { boot: scene.now().boot, set, processes: raised, group };
    let noting =
        serde_json::to_value(&noted).map_err(|e| e.to_string()).and_then(|note| scene.ledger.put(&note).map_err(|e| e.to_string()));
    if let Err(why) = noting {
        tally.stop(format!("nothing was preferred, because the values of before could not be noted: {why}"));
        return tally.finish(scene.now());
    }
    for (at, (raised, dir)) in noted.processes.iter().zip(&dirs).enumerate() {
        if let Some(reason) = scene.must_stop(at, &mut tally) {
            tally.skip_rest((noted.processes.len() - at) as u64, reason);
            break;
        }
        match set_score(dir, set) {
            Ok(()) => {
                tally.done += 1;
                tally.note(format!("{}: oom_score_adj {} -> {set}", named(&raised.process), raised.before));
            }
            Err(e) => failed(&raised.process, OOM_SCORE_ADJ, &e).tell(&mut tally, &raised.process),
        }
    }
    tally.finish(scene.now())
}

/// # Errors
/// When a value of ours still stands.
pub(super) fn restore(notes: &[serde_json::Value], scene: &Scene<'_>) -> Result<Effect, Refusal> {
    let stands = |why: String| Refusal::new(RefusalReason::NotAvailable, why);
    let mut tally = Tally::new(scene.now());
    let mut still = Vec::new();
    for note in notes {
        let noted: Preferred =
            serde_json::from_value(note.clone()).map_err(|e| stands(format!("the ledger's note is not understood: {e}")))?;
        if noted.boot != scene.now().boot {
            tally.note("the host was booted since: none of the processes is there any more");
            continue;
        }
        for raised in &noted.processes {
            let process = &raised.process;
            // Wherever it has moved meanwhile, the value is ours.
            let moved = ProcessTarget { unit: scene.host.process(process.pid).ok().and_then(|facts| facts.unit), ..process.clone() };
            let back =
                folder(&moved, scene).and_then(|dir| back(&dir, noted.set, raised.before).map_err(|e| failed(process, OOM_SCORE_ADJ, &e)));
            match back {
                Ok(None) => {
                    tally.done += 1;
                    tally.note(format!("{}: oom_score_adj {} -> {}", named(process), noted.set, raised.before));
                }
                Ok(Some(now)) => {
                    tally.note(format!("{} has oom_score_adj {now}, which is not ours: left as it is", named(process)));
                    tally.skip(HostPath::from(named(process).as_str()), SkipReason::Changed);
                }
                Err(Left(SkipReason::Error, why)) => still.push(why),
                Err(left) => left.tell(&mut tally, process),
            }
        }
        if let Err(why) = restore_inherited(&noted, scene, &mut tally) {
            still.push(why);
        }
    }
    if still.is_empty() { Ok(tally.finish(scene.now())) } else { Err(stands(still.join("; "))) }
}

/// What a raised process has begun since has our value by inheritance. It is given what its parent had; where that one is not noted, or is gone,
/// the least that any of the unit had. Ours is exactly our value in what began after the note: who had it before has it of somebody else.
fn restore_inherited(noted: &Preferred, scene: &Scene<'_>, tally: &mut Tally) -> Result<(), String> {
    let unit = noted.processes.first().and_then(|raised| raised.process.unit.as_deref());
    let (Some(unit), Some(least)) = (unit, noted.processes.iter().map(|raised| raised.before).min()) else { return Ok(()) };
    let Some(group) = &noted.group else {
        tally.note(format!("what {unit} has begun since was not looked for: its group was not noted"));
        return Ok(());
    };
    for _ in 0..ROUNDS {
        let pids = match scene.host.group_processes(&group.path) {
            Ok(pids) => pids,
            Err(e @ ReadError::NotHere { .. }) => {
                tally.note(format!("nothing is there that {unit} has begun since: {e}"));
                return Ok(());
            }
            Err(e) => return Err(e.to_string()),
        };
        let mut found = false;
        for pid in pids {
            let facts = match scene.host.process(pid) {
                Ok(facts) => facts,
                Err(ReadError::NotHere { .. }) => continue,
                Err(e) => return Err(e.to_string()),
            };
            // Those that are noted began before; a start is told in whole ticks.
            let since = (facts.start_ticks + 1) as f64 / TICKS_PER_S > group.at_s;
            if facts.oom_score_adj != noted.set || !since || facts.unit.as_deref() != Some(unit) {
                continue;
            }
            let parent = scene.host.process(facts.parent).ok();
            let of = parent.and_then(|parent| {
                noted.processes.iter().find(|raised| (raised.process.pid, raised.process.start_ticks) == (parent.pid, parent.start_ticks))
            });
            let before = of.map_or(least, |raised| raised.before);
            let process = ProcessTarget { pid, start_ticks: facts.start_ticks, comm: facts.comm, unit: facts.unit };
            match folder(&process, scene).and_then(|dir| back(&dir, noted.set, before).map_err(|e| failed(&process, OOM_SCORE_ADJ, &e))) {
                Ok(None) => {
                    found = true;
                    tally.done += 1;
                    tally.note(format!("{}, begun since: oom_score_adj {} -> {before}", named(&process), noted.set));
                }
                // Somebody else has changed it in this moment, or it is gone.
                Ok(Some(_)) | Err(Left(SkipReason::Gone | SkipReason::Changed, _)) => {}
                Err(Left(_, why)) => return Err(why),
            }
        }
        if !found {
            return Ok(());
        }
    }
    Err(format!("{unit} begins processes faster than they can be given back what they had"))
}

/// Puts the value of before back where ours still is; else what is there.
fn back(dir: &OwnedFd, ours: i32, before: i32) -> io::Result<Option<i32>> {
    match score(dir)? {
        now if now == ours => set_score(dir, before).map(|()| None),
        now => Ok(Some(now)),
    }
}

fn open(dir: &OwnedFd, flags: OFlags) -> Result<File, Errno> {
    rustix::fs::openat(dir, OOM_SCORE_ADJ, flags | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

fn score(dir: &OwnedFd) -> io::Result<i32> {
    let mut text = String::new();
    open(dir, OFlags::RDONLY)?.take(64).read_to_string(&mut text)?;
    text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{text:?} is no number")))
}

fn set_score(dir: &OwnedFd, to: i32) -> io::Result<()> {
    open(dir, OFlags::WRONLY)?.write_all(to.to_string().as_bytes())
}
