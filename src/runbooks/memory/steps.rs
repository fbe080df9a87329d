//! The ladder against a suspect, least harmful first. What cannot be, or is not allowed by this host's configuration, says why; whether a unit
//! has opted in is the guard's to ask, in the moment of acting, so that its refusal is on record.

use super::Params;
use super::evidence::{Evidence, Group, Process, share_of};
use super::suspects::{Suspect, Who, at_high};
use crate::guard::never;
use crate::model::{
    Bytes, CgroupVersion, Expected, HeapSnapshot, LimitTo, Observed, PlannedStep, Preference, ProcessFacts, ProcessTarget, Runtime,
    SnapshotBy, Step, StepKind, UnitFacts, UnitLimit, UnitTarget,
};

pub(super) const STEPS: &[StepKind] =
    &[StepKind::OomPreference, StepKind::MemoryHigh, StepKind::HeapSnapshot, StepKind::RestartUnit, StepKind::KillProcess];

pub(super) struct Offer {
    pub kind: StepKind,
    /// Or why there is none.
    pub step: Result<PlannedStep, String>,
}

/// Every rung, whether or not it can be taken.
pub(super) fn ladder(suspect: Suspect<'_>, evidence: &Evidence, params: &Params) -> Vec<Offer> {
    let host = evidence.own_unit().is_none();
    let mut out = Vec::new();
    let mut offer = |kind: StepKind, step: Result<PlannedStep, String>| {
        let allowed = params.limits.steps.contains(&kind);
        let not_allowed = || format!("not allowed: add \"{}\" to steps of [memory.limits]", kind.as_str());
        out.push(Offer { kind, step: step.and_then(|step| if allowed { Ok(step) } else { Err(not_allowed()) }) });
    };
    match suspect.who {
        Who::Group(group) => {
            let against = against_unit(group, params);
            let or = |step: Result<PlannedStep, String>| match &against {
                Some(why) => Err(why.clone()),
                None => step,
            };
            // A unit at its own limit is no danger to the host: who else would be killed, and what it may have, is decided already.
            if host {
                offer(StepKind::OomPreference, or(prefer_group(group, params)));
                offer(StepKind::MemoryHigh, or(memory_high(group, evidence, params)));
            }
            offer(StepKind::HeapSnapshot, or(snapshot(group, evidence, params)));
            offer(StepKind::RestartUnit, or(restart(group)));
        }
        Who::Process(process) => {
            let against = against_process(&process.facts, params);
            let or = |step: Result<PlannedStep, String>| match &against {
                Some(why) => Err(why.clone()),
                None => step,
            };
            offer(StepKind::OomPreference, or(prefer_process(process, params)));
            offer(StepKind::KillProcess, or(Ok(kill(process, params))));
        }
    }
    out
}

/// Why nothing is ever done to this group, whoever consents.
fn against_unit(group: &Group, params: &Params) -> Option<String> {
    let Some(unit) = group.unit.as_deref() else { return Some(format!("{} is no service's", group.used.path)) };
    if let Some(why) = never::unit(unit) {
        return Some(format!("{unit} is never touched: {why}"));
    }
    params.limits.keeps_state(unit).then(|| format!("{unit} keeps state, and stateful_units_allowed does not name it"))
}

fn against_process(facts: &ProcessFacts, params: &Params) -> Option<String> {
    let who = format!("{} (pid {})", facts.comm, facts.pid);
    if let Some(why) = never::process(facts.pid, facts.comm.as_bytes()) {
        return Some(format!("{who} is never touched: {why}"));
    }
    if facts.kernel_thread || facts.realtime {
        return Some(format!("{who} is never touched: {}", if facts.kernel_thread { "a kernel thread" } else { "a realtime process" }));
    }
    let named = params.limits.processes.iter().any(|name| name.as_bytes() == facts.comm.as_bytes());
    (!named).then(|| format!("{who} belongs to no service, and processes of [memory.limits] does not name it"))
}

fn planned(step: Step, frees: Bytes, why: String) -> PlannedStep {
    let undo = step.undo();
    PlannedStep { step, expected: Expected { bytes: frees, inodes: 0, estimate: true }, undo, why }
}

fn target(facts: &ProcessFacts) -> ProcessTarget {
    ProcessTarget { pid: facts.pid, start_ticks: facts.start_ticks, comm: facts.comm.clone(), unit: facts.unit.clone() }
}

/// Nobody who is never touched, and nobody whom the kernel would choose as soon already.
fn may_be_preferred(facts: &ProcessFacts, params: &Params) -> bool {
    let never = never::process(facts.pid, facts.comm.as_bytes()).is_some();
    !never && !facts.kernel_thread && !facts.realtime && facts.oom_score_adj < params.victim_score
}

fn prefer_group(group: &Group, params: &Params) -> Result<PlannedStep, String> {
    let processes = match &group.processes {
        Observed::Unavailable { why } => return Err(format!("its processes are not known: {why}")),
        Observed::Value { value, .. } => value,
    };
    let own = processes.iter().filter(|p| p.unit == group.unit && may_be_preferred(p, params));
    let processes: Vec<ProcessTarget> = own.map(target).collect();
    if processes.is_empty() {
        return Err(format!(
            "each process of {} has oom_score_adj {} or more already, or is never touched",
            group.name(),
            params.victim_score
        ));
    }
    let step = Step::PreferVictims(Preference { unit: group.unit.clone(), processes, oom_score_adj: params.victim_score });
    Ok(planned(step, Bytes(0), format!("if the kernel has to kill, {} goes first", group.name())))
}

fn prefer_process(process: &Process, params: &Params) -> Result<PlannedStep, String> {
    if !may_be_preferred(&process.facts, params) {
        return Err(format!("{} has oom_score_adj {} already", process.name(), process.facts.oom_score_adj));
    }
    let preference = Preference { unit: None, processes: vec![target(&process.facts)], oom_score_adj: params.victim_score };
    Ok(planned(Step::PreferVictims(preference), Bytes(0), format!("if the kernel has to kill, {} goes first", process.name())))
}

fn facts(group: &Group) -> Result<&UnitFacts, String> {
    match &group.facts {
        Observed::Unavailable { why } => Err(why.clone()),
        Observed::Value { value, .. } if value.active != "active" => Err(format!("{} is {}", value.name, value.active)),
        Observed::Value { value, .. } => Ok(value),
    }
}

fn run(facts: &UnitFacts) -> UnitTarget {
    UnitTarget { unit: facts.name.clone(), invocation: facts.invocation.clone() }
}

/// What is set must give something back at once, or it only slows the unit down: a fifth of what it has now. It must not cut into what the
/// unit has when it is well, or its own work becomes the outage: a fifth more than its usual stays. Of both, the wider.
fn memory_high(group: &Group, evidence: &Evidence, params: &Params) -> Result<PlannedStep, String> {
    match &evidence.hierarchy {
        Observed::Value { value: CgroupVersion::V2, .. } => {}
        Observed::Value { .. } => return Err("MemoryHigh needs the unified hierarchy, and this host has version 1".to_owned()),
        Observed::Unavailable { why } => return Err(why.clone()),
    }
    let (facts, name) = (facts(group)?, group.name());
    let Some(current) = group.used.memory_bytes.map(Bytes) else { return Err(format!("what {name} has now is not told")) };
    if at_high(group) {
        return Err(format!("{name} presses against its MemoryHigh already"));
    }
    let usual = group.past.value().and_then(|past| past.memory_usual).unwrap_or_default();
    let high =
        share_of(current, params.high_of_current_percent).max(share_of(usual, params.high_of_usual_percent)).max(params.high_at_least);
    if high >= current {
        return Err(format!("{name} has {current}, and is not held under {high}: it would give nothing back"));
    }
    if facts.memory_high.is_some_and(|set| set <= high) || facts.memory_max.is_some_and(|max| max <= high) {
        return Err(format!("{name} has a limit already that is no wider than {high}"));
    }
    let step = Step::LimitUnit(UnitLimit { target: run(facts), limit: LimitTo::MemoryHigh(high) });
    let frees = Bytes(current.0 - high.0);
    Ok(planned(step, frees, format!("{name} has {current}: it gives back what it does not need, and grows no further")))
}

/// The largest process of the unit whose runtime is known.
fn snapshot(group: &Group, evidence: &Evidence, params: &Params) -> Result<PlannedStep, String> {
    facts(group)?;
    let own = evidence.all_processes().iter().filter(|p| p.facts.unit.is_some() && p.facts.unit == group.unit);
    let known = own
        .filter_map(|p| runtime(p).map(|runtime| (p, runtime)))
        .find(|(p, _)| never::process(p.facts.pid, p.facts.comm.as_bytes()).is_none());
    let Some((process, runtime)) = known else { return Err(format!("no process of {} is known to be a JVM, Node or Go", group.name())) };
    let by = match (runtime, group.unit.as_deref().and_then(|unit| params.snapshot_signals.get(unit))) {
        (Runtime::Jvm, None) => SnapshotBy::Jcmd,
        (_, Some(by)) => *by,
        (Runtime::Node | Runtime::Go, None) => {
            return Err(format!("on which signal {} writes a snapshot is not known: name it in snapshot_signals", process.name()));
        }
    };
    let Some(folder) = params.limits.heap_snapshot_roots.first() else {
        return Err("no directory is named in heap_snapshot_roots".to_owned());
    };
    // As large as what is resident: what was swapped out is read for it as well.
    let swap = process.detail.value().map_or(Bytes(0), |detail| detail.swap);
    let room = Bytes(process.rss.0.saturating_add(swap.0));
    let step = Step::SnapshotHeap(HeapSnapshot { process: target(&process.facts), by, folder: folder.clone(), room });
    Ok(planned(step, Bytes(0), format!("a restart takes away what {} holds: somebody will want to see it", process.name())))
}

/// By its settings, else by the name of its program.
fn runtime(process: &Process) -> Option<Runtime> {
    let told = process.heap.value().and_then(|settings| settings.first()).map(|setting| setting.runtime);
    told.or(match process.facts.comm.as_bytes() {
        b"java" => Some(Runtime::Jvm),
        b"node" => Some(Runtime::Node),
        _ => None,
    })
}

fn restart(group: &Group) -> Result<PlannedStep, String> {
    let facts = facts(group)?;
    if facts.job_queued {
        return Err(format!("a job is queued for {}", facts.name));
    }
    if Who::Group(group).is_new() {
        return Err(format!("{} has just begun, and what is usual for it is not known: it would begin the same again", facts.name));
    }
    let usual = group.past.value().and_then(|past| past.memory_usual).unwrap_or_default();
    let frees = Bytes(group.memory().0.saturating_sub(usual.0));
    Ok(planned(Step::RestartUnit(run(facts)), frees, format!("{} begins anew with what it needs", facts.name)))
}

fn kill(process: &Process, params: &Params) -> PlannedStep {
    let step = Step::KillProcess { process: target(&process.facts), grace_s: params.grace_s.whole() };
    planned(step, process.rss, format!("{} belongs to no service that could be restarted", process.name()))
}
