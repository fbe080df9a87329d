//! Steps and what became of them, in sentences. Every variant is written out: a new step must say how it reads.

use super::human::{clean, count, signed};
use super::story::StepStory;
use crate::model::{
    AfterStep, Bytes, Effect, EffectState, FileBatch, FileFamily, HolderAction, LimitTo, Outcome, ProcessTarget, SkipReason, SnapshotBy,
    Step, StepKind, Undo, Verdict,
};

/// What the step does, naming what it does it to.
pub(crate) fn does(step: &Step) -> String {
    match step {
        Step::CompressLogs(batch) => format!("compress {}", files(batch)),
        Step::DeleteFiles(batch) => format!("delete {}", files(batch)),
        Step::VacuumJournal { keep, files: batch } => {
            format!("rotate the journal, then delete {} until {keep} is left", files(batch))
        }
        Step::PruneImages { images, .. } => {
            let size: Bytes = images.iter().map(|i| i.size).sum();
            format!("remove {} that no container uses ({size})", count(images.len() as u64, "image"))
        }
        Step::GrowVolume(grow) => {
            clean(&format!("grow {}/{} and its {} from {} to {}", grow.vg, grow.lv, grow.fs_type, grow.from, grow.to))
        }
        Step::RestartHolder(holder) => {
            let verb = match holder.action {
                HolderAction::Reload => "reload",
                HolderAction::Restart => "restart",
            };
            clean(&format!("{verb} {} (pid {}), which holds {} of deleted files", holder.unit, holder.pid, holder.held))
        }
        Step::PreferVictims(preference) => {
            let whose = preference.unit.clone().unwrap_or_else(|| names(&preference.processes));
            let many = count(preference.processes.len() as u64, "process");
            clean(&format!("let the kernel prefer {whose} ({many}) if it has to kill: oom_score_adj {}", preference.oom_score_adj))
        }
        Step::LimitUnit(limit) => {
            let to = match limit.limit {
                LimitTo::MemoryHigh(bytes) => format!("MemoryHigh={bytes}"),
                LimitTo::CpuWeight(weight) => format!("CPUWeight={weight}"),
                LimitTo::CpuQuota(percent) => format!("CPUQuota={percent}%"),
            };
            clean(&format!("limit {} at runtime: {to}", limit.target.unit))
        }
        Step::CalmProcess(process) => clean(&format!("nice 19 and SCHED_IDLE for {} (pid {})", process.comm, process.pid)),
        Step::SnapshotHeap(snapshot) => {
            let how = match snapshot.by {
                SnapshotBy::Jcmd => format!("by jcmd into {}", snapshot.folder),
                SnapshotBy::Usr1 => "by SIGUSR1".to_owned(),
                SnapshotBy::Usr2 => "by SIGUSR2".to_owned(),
            };
            clean(&format!("have {} (pid {}) write a heap snapshot {how}", snapshot.process.comm, snapshot.process.pid))
        }
        Step::RestartUnit(target) => clean(&format!("restart {}", target.unit)),
        Step::KillProcess { process, grace_s } => {
            clean(&format!("end {} (pid {}): SIGTERM, {grace_s} s, SIGKILL", process.comm, process.pid))
        }
    }
}

fn names(processes: &[ProcessTarget]) -> String {
    processes.iter().map(|p| format!("{} (pid {})", p.comm, p.pid)).collect::<Vec<_>>().join(", ")
}

fn files(batch: &FileBatch) -> String {
    let what = match batch.family {
        FileFamily::ClosedLogs => "closed log",
        FileFamily::RotatedLogs => "rotated log",
        FileFamily::WalArchives => "WAL archive",
        FileFamily::JournalArchives => "archived journal file",
        FileFamily::Tmp => "temporary file",
        FileFamily::PackageCache => "cached package",
        FileFamily::PipCache => "file of pip's cache",
        FileFamily::NpmCache => "file of npm's cache",
        FileFamily::CoreDumps => "core dump",
    };
    let n = batch.files.len() as u64;
    let what = match what.strip_prefix("file of ") {
        Some(rest) if n != 1 => format!("{} of {rest}", count(n, "file")),
        _ => count(n, what),
    };
    let dirs = if batch.dirs.is_empty() { String::new() } else { format!(" and {}", count(batch.dirs.len() as u64, "empty folder")) };
    format!("{what}{dirs} below {} ({} on disk)", batch.root, batch.on_disk())
}

/// For tables: `compress closed logs`.
pub(crate) const fn title(kind: StepKind) -> &'static str {
    match kind {
        StepKind::CompressLogs => "compress closed logs",
        StepKind::RotatedLogs => "delete rotated logs",
        StepKind::WalArchives => "delete WAL archives",
        StepKind::VacuumJournal => "vacuum the journal",
        StepKind::Tmp => "clean temporary files",
        StepKind::PruneImages => "prune unused images",
        StepKind::PackageCache => "clean package caches",
        StepKind::PipCache => "clean pip's cache",
        StepKind::NpmCache => "clean npm's cache",
        StepKind::CoreDumps => "delete core dumps",
        StepKind::GrowVolume => "grow the volume",
        StepKind::RestartHolder => "free deleted files that are held open",
        StepKind::OomPreference => "prefer the right victim",
        StepKind::CpuWeight => "lower a unit's CPU weight",
        StepKind::CalmProcess => "slow a process down",
        StepKind::CpuQuota => "limit a unit's CPU",
        StepKind::MemoryHigh => "limit a unit's memory",
        StepKind::HeapSnapshot => "write a heap snapshot",
        StepKind::RestartUnit => "restart a unit",
        StepKind::KillProcess => "end a process",
    }
}

pub(crate) fn undo(undo: &Undo) -> String {
    match undo {
        Undo::ByActuator { how } => clean(how),
        Undo::OnResolve { how } => format!("{}, by itself when it is resolved", clean(how)),
        Undo::None { why } => format!("none: {}", clean(why)),
    }
}

/// One word for a column: what became of the step.
pub(super) fn fate(step: &StepStory<'_>) -> &'static str {
    if step.not_needed {
        return "not needed";
    }
    match (step.undone, step.effect.map(|e| e.state), step.unknown, step.intent, step.refusals.last()) {
        (Some(_), ..) => "undone",
        (_, Some(EffectState::Done), ..) => "done",
        (_, Some(EffectState::Partial), ..) => "partly done",
        (_, Some(EffectState::Failed), ..) => "failed",
        (_, None, Some(_), ..) => "not known",
        (_, None, None, Some(_), _) => "begun",
        (_, None, None, None, Some(_)) => "refused",
        (_, None, None, None, None) => "not reached",
    }
}

/// What it did, with everything that the actuator measured.
pub(super) fn did(effect: &Effect) -> String {
    let state = match effect.state {
        EffectState::Done => "done",
        EffectState::Partial => "stopped before the end",
        EffectState::Failed => "failed, nothing was changed",
    };
    let on_a_disk = effect.freed.0 > 0 || effect.available_delta.is_some();
    let mut parts = vec![if on_a_disk { format!("{state}: freed {}", effect.freed) } else { state.to_owned() }];
    if effect.inodes > 0 {
        parts.push(count(effect.inodes, "inode"));
    }
    if let Some(delta) = effect.available_delta {
        parts.push(format!("available space {}", signed(delta)));
    }
    parts.push(format!("{} acted on", count(effect.done, "object")));
    if !effect.skipped.is_empty() {
        parts.push(format!("left alone {}", skipped(effect)));
    }
    parts.extend(effect.notes.iter().map(|n| clean(n)));
    parts.join(", ")
}

/// `2 in use, 1 changed`.
pub(crate) fn skipped(effect: &Effect) -> String {
    let parts: Vec<String> = effect.skipped.iter().map(|(reason, n)| format!("{n} {}", skip(*reason))).collect();
    parts.join(", ")
}

pub(crate) const fn skip(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Gone => "already gone",
        SkipReason::Changed => "changed since they were examined",
        SkipReason::InUse => "in use",
        SkipReason::UseUnknown => "of which use cannot be ruled out",
        SkipReason::Outside => "outside the root",
        SkipReason::HardLinked => "with more than one link",
        SkipReason::TooYoung => "too young",
        SkipReason::Protected => "protected",
        SkipReason::NotEmpty => "not empty",
        SkipReason::OverCap => "behind the cap",
        SkipReason::OutOfTime => "behind the deadline",
        SkipReason::NoSpace => "without room to work in",
        SkipReason::Error => "failed",
    }
}

pub(super) fn after(after: &AfterStep) -> String {
    match after {
        AfterStep::Continue { why } => format!("not enough yet: {}", clean(why)),
        AfterStep::Enough { why } => format!("enough: {}", clean(why)),
        AfterStep::Abort { why } => format!("stopped: {}", clean(why)),
    }
}

pub(crate) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Resolved { why } => format!("resolved: {}", clean(why)),
        Verdict::NotResolved { why } => format!("not resolved: {}", clean(why)),
        Verdict::Unknown { why } => format!("cannot be told: {}", clean(why)),
    }
}

/// What a verdict rests on.
pub(crate) fn why(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Resolved { why } | Verdict::NotResolved { why } | Verdict::Unknown { why } => why,
    }
}

/// How it ended, in words; `None`: it is still open.
pub(crate) const fn ended(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => "still open",
        Some(Outcome::Healed) => "healed",
        Some(Outcome::Cleared) => "cleared by itself",
        Some(Outcome::Observed) => "observed, nothing was done",
        Some(Outcome::Escalated) => "handed to a person",
        Some(Outcome::Interrupted) => "interrupted",
    }
}
