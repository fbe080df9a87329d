//! Nice 19 and SCHED_IDLE for a process, and the way back. The kernel keeps both for each thread: each is noted, changed and given back by
//! itself. Threads that are made meanwhile inherit from the one that makes them, so the list is gone through until nothing is new on it.
//!
//! A thread can only be named by its number. That it still is the process's is looked at right before: numbers are given away in turn, so
//! that one comes back within microseconds does not happen.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags};
use rustix::process::{Pid, setpriority_process};
use serde::{Deserialize, Serialize};

use super::processes::{Left, failed, folder, named};
use super::{Scene, Tally};
use crate::host::sys;
use crate::model::{BootId, Effect, ProcessTarget, Refusal, RefusalReason, SkipReason};

/// Of a process with more it is not known how long going through them takes.
const MOST_THREADS: usize = 4096;
const ROUNDS: usize = 8;
const MAX_STAT: u64 = 4096;
const CALM: Manner = Manner { class: libc::SCHED_IDLE, nice: 19 };

/// How a thread is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manner {
    class: i32,
    nice: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thread {
    tid: i32,
    start_ticks: u64,
    before: Manner,
}

/// What the ledger keeps of some of a process's threads, from before they were calmed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Calmed {
    boot: BootId,
    process: ProcessTarget,
    threads: Vec<Thread>,
}

impl Manner {
    /// Realtime classes have a meaning for whoever chose them, and so has a class that children are not to inherit.
    const fn may_change(self) -> bool {
        matches!(self.class, libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE)
    }

    fn shown(self) -> String {
        let class = match self.class {
            libc::SCHED_OTHER => "SCHED_OTHER".to_owned(),
            libc::SCHED_BATCH => "SCHED_BATCH".to_owned(),
            libc::SCHED_IDLE => "SCHED_IDLE".to_owned(),
            other => format!("class {other}"),
        };
        format!("{class}, nice {}", self.nice)
    }
}

pub(super) fn calm(process: &ProcessTarget, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    let mut noted: Vec<Thread> = Vec::new();
    let mut changed = 0_u64;
    let went = folder(process, scene).and_then(|dir| calm_all(process, &dir, scene, &mut noted, &mut changed));
    let before = noted.iter().find(|t| u32::try_from(t.tid) == Ok(process.pid)).or(noted.first()).map(|t| t.before);
    if let Some(before) = before.filter(|_| changed > 0) {
        tally.done = 1;
        tally.note(format!("{}: {} -> {} for {changed} threads", named(process), before.shown(), CALM.shown()));
    }
    let left_alone = noted.iter().filter(|t| !t.before.may_change()).count();
    if left_alone > 0 {
        tally.note(format!("{left_alone} threads have a realtime class or one that is not inherited: left as they are"));
    }
    match went {
        Ok(()) => {}
        Err(left) if changed == 0 => left.tell(&mut tally, process),
        Err(Left(_, why)) => tally.stop(why),
    }
    tally.finish(scene.now())
}

fn calm_all(process: &ProcessTarget, dir: &OwnedFd, scene: &Scene<'_>, noted: &mut Vec<Thread>, changed: &mut u64) -> Result<(), Left> {
    let error = |why: String| Left(SkipReason::Error, format!("{}: {why}", named(process)));
    for round in 0..ROUNDS {
        let threads = threads(dir).map_err(|e| failed(process, "its threads", &e))?;
        // From the second round on a calm one that is new has inherited it from one that is noted.
        let new: Vec<Thread> =
            threads.into_iter().filter(|t| !noted.iter().any(|n| is(n, t)) && (round == 0 || t.before != CALM)).collect();
        if new.is_empty() {
            return Ok(());
        }
        if noted.len() + new.len() > MOST_THREADS {
            return Err(error(format!("it has more than {MOST_THREADS} threads")));
        }
        let note = Calmed { boot: scene.now().boot, process: process.clone(), threads: new };
        let value = serde_json::to_value(&note).map_err(|e| error(e.to_string()))?;
        scene.ledger.put(&value).map_err(|e| error(format!("left alone, because what was before could not be noted: {e}")))?;
        let from = noted.len();
        noted.extend(note.threads);
        for thread in noted.iter().skip(from).filter(|t| t.before.may_change() && t.before != CALM) {
            match give(dir.as_fd(), thread, CALM) {
                Ok(()) => *changed += 1,
                Err(e) if is_gone(&e) => {}
                Err(e) => return Err(failed(process, "scheduling class", &e)),
            }
        }
    }
    Err(error(format!("it makes threads faster than they can be calmed; {changed} are", changed = *changed)))
}

/// # Errors
/// When a thread is still as we have made it.
pub(super) fn wake(notes: &[serde_json::Value], scene: &Scene<'_>) -> Result<Effect, Refusal> {
    let stands = |why: String| Refusal::new(RefusalReason::NotAvailable, why);
    let mut tally = Tally::new(scene.now());
    let notes: Result<Vec<Calmed>, _> = notes.iter().map(|note| serde_json::from_value(note.clone())).collect();
    let notes = notes.map_err(|e| stands(format!("the ledger's note is not understood: {e}")))?;
    let Some(first) = notes.first() else {
        tally.note("the act ended before anything was changed");
        return Ok(tally.finish(scene.now()));
    };
    if first.boot != scene.now().boot {
        tally.note("the host was booted since: the process is not there any more");
        return Ok(tally.finish(scene.now()));
    }
    let noted: Vec<&Thread> = notes.iter().flat_map(|n| &n.threads).collect();
    // Wherever it has moved meanwhile, what it has is of us.
    let unit = scene.host.process(first.process.pid).ok().and_then(|facts| facts.unit);
    let process = ProcessTarget { unit, ..first.process.clone() };
    let mut woken = 0_u64;
    match folder(&process, scene).and_then(|dir| wake_all(&process, &dir, &noted, &mut woken)) {
        Ok(()) if woken == 0 => tally.note(format!("{} has no thread that is {}: nothing to take back", named(&process), CALM.shown())),
        Ok(()) => {}
        Err(Left(SkipReason::Error, why)) => return Err(stands(why)),
        Err(left) => left.tell(&mut tally, &process),
    }
    if woken > 0 {
        tally.done = 1;
        tally.note(format!("{}: {woken} threads are as they were", named(&process)));
    }
    Ok(tally.finish(scene.now()))
}

/// What a person has given another class or nice value meanwhile keeps it.
fn wake_all(process: &ProcessTarget, dir: &OwnedFd, noted: &[&Thread], woken: &mut u64) -> Result<(), Left> {
    // Those that were made meanwhile have inherited from one that we have calmed.
    let leader = noted.iter().find(|t| u32::try_from(t.tid) == Ok(process.pid)).or(noted.first());
    for _ in 0..ROUNDS {
        let mut found = false;
        for thread in threads(dir).map_err(|e| failed(process, "its threads", &e))?.iter().filter(|t| t.before == CALM) {
            let Some(of) = noted.iter().find(|n| is(n, thread)).or(leader).map(|n| n.before).filter(|of| of.may_change() && *of != CALM)
            else {
                continue;
            };
            match give(dir.as_fd(), thread, of) {
                Ok(()) => (*woken, found) = (*woken + 1, true),
                Err(e) if is_gone(&e) => {}
                Err(e) => return Err(failed(process, "scheduling class", &e)),
            }
        }
        if !found {
            return Ok(());
        }
    }
    Err(Left(SkipReason::Error, format!("{} makes threads faster than they can be given back what they had", named(process))))
}

fn is(a: &Thread, b: &Thread) -> bool {
    (a.tid, a.start_ticks) == (b.tid, b.start_ticks)
}

fn is_gone(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ESRCH | libc::ENOENT))
}

fn give(process: BorrowedFd<'_>, thread: &Thread, to: Manner) -> io::Result<()> {
    let tid = Pid::from_raw(thread.tid).ok_or(io::ErrorKind::NotFound)?;
    if look(process, thread.tid)?.start_ticks != thread.start_ticks {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    setpriority_process(Some(tid), to.nice)?;
    // Both or neither: what is half changed would not be known again as ours.
    sys::set_scheduling_class(tid, to.class).inspect_err(|_| {
        let _ = setpriority_process(Some(tid), thread.before.nice);
    })
}

/// All threads there are now, as they are now; at most one more than may be.
fn threads(process: &OwnedFd) -> io::Result<Vec<Thread>> {
    let list = rustix::fs::openat(process, c"task", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut found = Vec::new();
    for entry in Dir::read_from(&list)?.take(MOST_THREADS + 3) {
        let Some(tid) = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        match look(process.as_fd(), tid) {
            Ok(thread) => found.push(thread),
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

fn look(process: BorrowedFd<'_>, tid: i32) -> io::Result<Thread> {
    let stat = rustix::fs::openat(process, format!("task/{tid}/stat"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    std::fs::File::from(stat).take(MAX_STAT).read_to_end(&mut text)?;
    let unread = || io::Error::new(io::ErrorKind::InvalidData, format!("the status of thread {tid} is not understood"));
    let (start_ticks, nice) = start_and_nice(&text).ok_or_else(unread)?;
    // With the flag that `stat` does not show.
    let class = sys::scheduling_class(Pid::from_raw(tid).ok_or_else(unread)?)?;
    Ok(Thread { tid, start_ticks, before: Manner { class, nice } })
}

/// Fields 22 and 19. The name, field 2, may hold any bytes: fields are counted behind its last bracket.
fn start_and_nice(stat: &[u8]) -> Option<(u64, i32)> {
    let behind = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(stat.get(behind..)?).ok()?.split_ascii_whitespace().skip(16);
    let nice = fields.next()?.parse().ok()?;
    Some((fields.nth(2)?.parse().ok()?, nice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = b"7 (a) b (c\xff)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 39 19 1 0 4711 100 200";
        assert_eq!(start_and_nice(stat), Some((4711, 19)));
        assert_eq!(start_and_nice(b"7 (a) S 1"), None);
        assert_eq!(start_and_nice(b""), None);
    }
}
