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
use crate::model::{BootId, Effect, HostPath, Preference, ProcessTarget, Refusal, RefusalReason, SkipReason};

const OOM_SCORE_ADJ: &str = "oom_score_adj";

/// What the ledger keeps of one preference, from before it was set: one note for all of its processes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Preferred {
    boot: BootId,
    set: i32,
    processes: Vec<Raised>,
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
    let noted = Preferred { boot: scene.now().boot, set, processes: raised };
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
    }
    if still.is_empty() { Ok(tally.finish(scene.now())) } else { Err(stands(still.join("; "))) }
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
