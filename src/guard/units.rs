//! Steps on units and processes: who consented, what is never touched, and how often is too often. The same on both sides of the socket,
//! from facts that each side reads for itself.

use super::{Limits, PastAct, never};
use crate::model::{
    Confidence, LimitTo, Now, Observed, ProcessFacts, ProcessTarget, Refusal, RefusalReason as Why, Seconds, SnapshotBy, Step, StepKind,
    Targets, UnitFacts,
};

/// A process that has just begun may be about to be done.
const YOUNGEST_S: f64 = 60.0;
const CRASH_LOOP: (usize, Seconds) = (2, Seconds(1800.0));
const HOUR: Seconds = Seconds(3600.0);
/// Limits that are set and lifted over and over help nobody: a person has to look.
const CHANGES_PER_HOUR: usize = 6;
const BACKOFF_S: f64 = 30.0;
const BACKOFF_AT_MOST_S: f64 = 300.0;
/// What the kernel takes.
const WEIGHTS: std::ops::RangeInclusive<u64> = 1..=10_000;

fn refuse<T>(reason: Why, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(reason, detail))
}

/// What the step itself says, before anything is looked at.
pub(super) fn shape(step: &Step, limits: &Limits) -> Result<(), Refusal> {
    if let Some(unit) = step.unit() {
        name(unit, limits)?;
    }
    for process in step.processes() {
        if let Some(what) = never::process(process.pid, process.comm.as_bytes()) {
            return refuse(Why::NeverList, format!("{}: {what}", named(process)));
        }
    }
    match step {
        Step::LimitUnit(limit) => match limit.limit {
            LimitTo::MemoryHigh(bytes) if bytes.0 == 0 => refuse(Why::Malformed, "MemoryHigh=0 lets a unit have nothing"),
            LimitTo::CpuQuota(0) => refuse(Why::Malformed, "CPUQuota=0 lets a unit do nothing"),
            LimitTo::CpuWeight(weight) if !WEIGHTS.contains(&weight) => refuse(Why::Malformed, format!("CPUWeight={weight} is none")),
            LimitTo::MemoryHigh(_) | LimitTo::CpuQuota(_) | LimitTo::CpuWeight(_) => Ok(()),
        },
        Step::PreferVictims(preference) => {
            if !(0..=1000).contains(&preference.oom_score_adj) {
                return refuse(Why::Malformed, format!("oom_score_adj {} is not a preference to be killed", preference.oom_score_adj));
            }
            if preference.processes.is_empty() || preference.processes.iter().any(|p| p.unit != preference.unit) {
                return refuse(Why::Malformed, "the processes are not those of one unit");
            }
            Ok(())
        }
        Step::SnapshotHeap(snapshot) => {
            let under = limits.heap_snapshot_roots.iter().any(|root| snapshot.folder.is_under(root));
            if under || snapshot.by != SnapshotBy::Jcmd {
                Ok(())
            } else {
                refuse(Why::OutsideRoots, format!("{} is under none of heap_snapshot_roots", snapshot.folder))
            }
        }
        _ => Ok(()),
    }
}

/// Whether a unit of this name may be touched at all.
pub(super) fn name(unit: &str, limits: &Limits) -> Result<(), Refusal> {
    if let Some(what) = never::unit(unit) {
        return refuse(Why::NeverList, format!("{unit}: {what}"));
    }
    if never::stateful_unit(unit) && !limits.stateful_units_allowed.iter().any(|allowed| allowed == unit) {
        return refuse(Why::NoOptIn, format!("{unit} keeps state: name it in stateful_units_allowed to let it be touched"));
    }
    Ok(())
}

/// Second consent, and whether what was examined is still there: from what is so in this moment.
pub(super) fn consent(step: &Step, targets: &Targets, limits: &Limits) -> Result<(), Refusal> {
    if step.unit().is_some() && !matches!(step, Step::RestartHolder(_)) {
        match &targets.unit {
            Some(Observed::Value { value, .. }) => unit(step, value)?,
            Some(Observed::Unavailable { why }) => return refuse(Why::Stale, why),
            None => return refuse(Why::Stale, "the unit was not looked at"),
        }
    }
    if targets.processes.len() != step.processes().len() {
        return refuse(Why::Stale, "not all processes were looked at");
    }
    for (target, seen) in step.processes().iter().zip(&targets.processes) {
        match seen {
            Observed::Value { value, .. } => process(step, target, value, limits)?,
            // Of many, those that have gone are left out by the act itself.
            Observed::Unavailable { .. } if step.processes().len() > 1 => {}
            Observed::Unavailable { why } => return refuse(Why::Stale, why),
        }
    }
    Ok(())
}

fn unit(step: &Step, facts: &UnitFacts) -> Result<(), Refusal> {
    let name = &facts.name;
    if !facts.restart_safe {
        return refuse(Why::NoOptIn, format!("{name} has no [X-Byteport] Restart=safe in its unit file or a drop-in"));
    }
    if facts.active != "active" {
        return refuse(Why::Stale, format!("{name} is {}: systemd or a person is busy with it", facts.active));
    }
    if facts.job_queued {
        return refuse(Why::Stale, format!("a job is queued for {name}"));
    }
    let examined = match step {
        Step::LimitUnit(limit) => Some(&limit.target),
        Step::RestartUnit(target) => Some(target),
        _ => None,
    };
    if let Some(examined) = examined.filter(|e| e.invocation != facts.invocation || e.invocation.is_empty()) {
        return refuse(Why::Stale, format!("{} was started anew since it was examined", examined.unit));
    }
    match step {
        // A person who has set a limit knows something.
        Step::LimitUnit(limit) => {
            let by_hand = match limit.limit {
                LimitTo::MemoryHigh(to) => facts.memory_high.filter(|set| *set <= to).map(|set| format!("MemoryHigh={}", set.0)),
                LimitTo::CpuWeight(to) => facts.cpu_weight.filter(|set| *set <= to).map(|set| format!("CPUWeight={set}")),
                LimitTo::CpuQuota(to) => facts.cpu_quota_percent.filter(|set| *set <= to).map(|set| format!("CPUQuota={set}%")),
            };
            match by_hand {
                Some(limit) => refuse(Why::NotAvailable, format!("{name} has {limit} already, which is no wider")),
                None => Ok(()),
            }
        }
        // One more start inside the interval may be the one that systemd refuses, and then the service stays down.
        Step::RestartUnit(_) if facts.restarts > 0 && facts.active_for_s < facts.start_limit_s => {
            refuse(Why::CrashLoop, format!("systemd has restarted {name} {} times, and it is near its start limit", facts.restarts))
        }
        _ => Ok(()),
    }
}

fn process(step: &Step, target: &ProcessTarget, facts: &ProcessFacts, limits: &Limits) -> Result<(), Refusal> {
    let who = named(target);
    if facts.start_ticks != target.start_ticks || facts.pid != target.pid {
        return refuse(Why::Stale, format!("{who} is another process by now"));
    }
    if facts.unit != target.unit {
        let now_in = facts.unit.as_deref().unwrap_or("no unit");
        return refuse(Why::Stale, format!("{who} is in {now_in} by now"));
    }
    // What a process calls itself may change at any moment; what it is called now is what counts.
    if let Some(what) = never::process(facts.pid, facts.comm.as_bytes()) {
        return refuse(Why::NeverList, format!("{who}: {what}"));
    }
    if facts.kernel_thread || facts.realtime {
        let what = if facts.kernel_thread { "a kernel thread" } else { "a realtime process" };
        return refuse(Why::NeverList, format!("{who} is {what}"));
    }
    if facts.unit.is_none() && !limits.processes.iter().any(|name| name.as_bytes() == facts.comm.as_bytes()) {
        return refuse(Why::NoOptIn, format!("{who} belongs to no unit and is not named in processes"));
    }
    if step.kind() == StepKind::KillProcess && facts.age_s < YOUNGEST_S {
        return refuse(Why::TooYoung, format!("{who} is {} old; what is younger than {} is left alone", Seconds(facts.age_s), Seconds(YOUNGEST_S)));
    }
    Ok(())
}

/// How often is too often. `past` are all acts that are remembered, of this boot and of earlier ones.
pub(super) fn history(step: &Step, confidence: Confidence, past: &[PastAct], limits: &Limits, now: &Now) -> Result<(), Refusal> {
    let Some(on) = step.works_on() else { return Ok(()) };
    let within = |span: Seconds, which: &dyn Fn(&PastAct) -> bool| {
        past.iter().filter(|p| now.proven_since(&p.at).0 < span.0).filter(|p| which(p)).collect::<Vec<_>>()
    };
    let here = |p: &PastAct| p.on.as_deref() == Some(on.as_str());
    match step {
        Step::RestartHolder(_) | Step::RestartUnit(_) => {
            let restart = |p: &PastAct| p.kind.is_restart() && here(p);
            let hour = within(HOUR, &restart);
            if hour.len() as u64 >= limits.max_restarts_per_hour {
                return refuse(Why::OverCap, format!("{on} was restarted {} times within an hour; max_restarts_per_hour allows no more", hour.len()));
            }
            let recent = within(CRASH_LOOP.1, &restart).len();
            if recent >= CRASH_LOOP.0 {
                let why = format!("{on} was restarted {recent} times within {}: restarting does not help it", CRASH_LOOP.1);
                return refuse(Why::CrashLoop, why);
            }
            let doublings = i32::try_from(hour.len().saturating_sub(1)).unwrap_or(10);
            let wait_s = (BACKOFF_S * 2f64.powi(doublings)).min(BACKOFF_AT_MOST_S);
            let last = hour.iter().map(|p| now.proven_since(&p.at).0).min_by(f64::total_cmp);
            match last {
                Some(since) if since < wait_s => {
                    refuse(Why::Backoff, format!("{on} was restarted {} ago; the next one waits {}", Seconds(since), Seconds(wait_s)))
                }
                _ => Ok(()),
            }
        }
        Step::KillProcess { .. } => {
            if confidence < Confidence::TO_KILL {
                return refuse(Why::LowConfidence, format!("confidence {confidence} is under {}, which ending a process needs", Confidence::TO_KILL));
            }
            let killed = within(HOUR, &|p| p.kind == StepKind::KillProcess).len() as u64;
            if killed >= limits.max_kills_per_hour {
                return refuse(Why::OverCap, format!("{killed} processes were ended within an hour; max_kills_per_hour allows no more"));
            }
            Ok(())
        }
        Step::PreferVictims(_) | Step::LimitUnit(_) | Step::CalmProcess(_) => {
            let changes = within(HOUR, &|p| p.kind == step.kind() && here(p)).len();
            if changes >= CHANGES_PER_HOUR {
                return refuse(Why::OverCap, format!("{on} was limited {changes} times within an hour, and it comes back each time"));
            }
            Ok(())
        }
        Step::CompressLogs(_)
        | Step::DeleteFiles(_)
        | Step::VacuumJournal { .. }
        | Step::PruneImages { .. }
        | Step::GrowVolume(_)
        | Step::SnapshotHeap(_) => Ok(()),
    }
}

fn named(process: &ProcessTarget) -> String {
    format!("{} (pid {})", process.comm, process.pid)
}
