//! The whole ladder, least harmful first: what would be done even where nobody has opted in, so that the refusal says what would lift it.

use super::Params;
use super::class::Class;
use super::classify::{fanned_out, is_fleet_wide};
use super::evidence::{Evidence, Hot};
use super::suspect::{Suspect, is_exempt};
use super::{escalate, quota};
use crate::guard::never;
use crate::model::{
    Bytes, Confidence, Diagnosis, Expected, LimitTo, Observed, Plan, PlannedStep, Preference, ProcessTarget, Step, StepKind, Unavailable,
    UnitFacts, UnitLimit, UnitTarget,
};

pub(super) const STEPS: &[StepKind] = &[
    StepKind::OomPreference,
    StepKind::CpuWeight,
    StepKind::CalmProcess,
    StepKind::CpuQuota,
    StepKind::RestartUnit,
    StepKind::KillProcess,
];

const UNIT_STEPS: [StepKind; 4] = [StepKind::OomPreference, StepKind::CpuWeight, StepKind::CpuQuota, StepKind::RestartUnit];
/// Runs of a job that are ended in one go, beyond the oldest.
const SURPLUS: usize = 20;

pub(super) fn plan(evidence: &Evidence, diagnosis: &Diagnosis, params: &Params) -> Plan {
    let class = Class::named(&diagnosis.class);
    let mut ladder = Ladder { evidence, diagnosis, params, steps: Vec::new(), refused: Vec::new() };
    match class {
        Class::RunawayProcess => ladder.runaway(Suspect::of(evidence)),
        Class::CronFanout => ladder.cron(),
        Class::ForkStorm => ladder.storm(Suspect::of_storm(evidence, params)),
        Class::Steal
        | Class::IoWait
        | Class::LimitThrottling
        | Class::DeployRegression
        | Class::FleetWide
        | Class::LegitimateLoad
        | Class::Unknown => {}
    }
    let Ladder { mut steps, mut refused, .. } = ladder;
    steps.sort_by_key(|s| StepKind::ALL.iter().position(|kind| *kind == s.step.kind()));
    if evidence.fleet_saturated.is_none() {
        refused.push(Unavailable {
            what: "how much of the fleet is saturated".into(),
            why: "not available here: this version has no collector to ask".into(),
        });
    }
    Plan {
        subject: evidence.subject.clone(),
        escalate: escalate::reason(evidence, diagnosis, &steps, params),
        follow_ups: escalate::follow_ups(evidence, class, params),
        steps,
        not_available: refused,
    }
}

struct Ladder<'a> {
    evidence: &'a Evidence,
    diagnosis: &'a Diagnosis,
    params: &'a Params,
    steps: Vec<PlannedStep>,
    refused: Vec<Unavailable>,
}

impl<'a> Ladder<'a> {
    fn refuse(&mut self, kind: StepKind, on: &str, why: impl Into<String>) {
        self.refused.push(Unavailable { what: format!("{} on {on}", kind.as_str()), why: why.into() });
    }

    /// One rung: what the policy leaves out is said with what to write.
    fn add(&mut self, step: Step, on: &str, why: String) {
        let kind = step.kind();
        if is_fleet_wide(self.evidence, self.params) {
            self.refuse(kind, on, "most of the fleet is saturated: nothing is done on one host");
        } else if !self.params.limits.steps.contains(&kind) {
            self.refuse(kind, on, format!("not allowed: add \"{}\" to steps of [cpu.limits]", kind.as_str()));
        } else if matches!(kind, StepKind::KillProcess | StepKind::RestartUnit) && self.diagnosis.confidence < Confidence::TO_KILL {
            // A restart ends what runs as well: a batch job that computes for hours begins at nothing again.
            let what = if kind == StepKind::KillProcess { "ending a process" } else { "beginning a unit anew" };
            let why = format!("confidence {} is under {}, which {what} needs", self.diagnosis.confidence, Confidence::TO_KILL);
            self.refuse(kind, on, why);
        } else {
            let expected = Expected { bytes: Bytes(0), inodes: 0, estimate: true };
            self.steps.push(PlannedStep { undo: step.undo(), step, expected, why });
        }
    }

    fn runaway(&mut self, suspect: Suspect<'a>) {
        let Some((process, watched)) = suspect.process.zip(suspect.watched()) else { return };
        let Some(target) = self.target(process, &[StepKind::CalmProcess, StepKind::KillProcess]) else { return };
        let who = format!("{} (pid {})", process.comm, process.pid);
        match &target.unit {
            Some(unit) => {
                if !self.unit_steps(unit, suspect, &UNIT_STEPS) {
                    self.refuse(StepKind::KillProcess, &who, format!("{unit} may not be touched"));
                    return;
                }
            }
            None => {
                self.prefer(None, &who);
                if watched.facts.idle_class {
                    self.refuse(StepKind::CalmProcess, &who, "it is in SCHED_IDLE already");
                } else {
                    self.add(Step::CalmProcess(target.clone()), &who, format!("{who} gets what nobody else wants"));
                }
            }
        }
        let grace_s = self.params.kill_grace_s.whole();
        self.add(Step::KillProcess { process: target, grace_s }, &who, format!("{who} gets nothing done and does not stop by itself"));
    }

    fn cron(&mut self) {
        let Some(cron) = self.evidence.cron.value().and_then(|c| c.as_ref()) else { return };
        let group = self.evidence.group(&cron.cgroup);
        let suspect = Suspect { process: None, group, unit: Some(&cron.unit) };
        if !self.unit_steps(&cron.unit, suspect, &[StepKind::CpuWeight, StepKind::CpuQuota]) {
            return;
        }
        self.refuse(StepKind::RestartUnit, &cron.unit, "it would end all jobs and begin them anew");
        let Some(job) = fanned_out(self.evidence, cron, self.params) else { return };
        // The oldest goes on: it is nearest to its end, and the others wait for what it holds.
        for surplus in job.instances.iter().skip(1).take(SURPLUS) {
            let who = format!("{} (pid {})", job.comm, surplus.pid);
            let (pid, start_ticks, comm) = (surplus.pid, surplus.start_ticks, job.comm.clone());
            if let Some(what) = never::process(pid, comm.as_bytes()) {
                self.refuse(StepKind::KillProcess, &who, what);
                continue;
            }
            let process = ProcessTarget { pid, start_ticks, comm, unit: Some(cron.unit.clone()) };
            let step = Step::KillProcess { process, grace_s: self.params.kill_grace_s.whole() };
            self.add(step, &who, format!("one run of {} is enough, and an older one goes on", job.comm));
        }
    }

    fn storm(&mut self, suspect: Suspect<'a>) {
        match suspect.unit {
            Some(unit) => {
                self.unit_steps(unit, suspect, &UNIT_STEPS);
            }
            None => {
                let on = suspect.named().unwrap_or_else(|| "whoever makes them".to_owned());
                self.refuse(StepKind::CpuQuota, &on, "it belongs to no unit, and each of its processes is gone before it could be stopped");
            }
        }
    }

    /// `None`: it can never be touched, which is said.
    fn target(&mut self, process: &Hot, kinds: &[StepKind]) -> Option<ProcessTarget> {
        let who = format!("{} (pid {})", process.comm, process.pid);
        let never = match process.watched.value() {
            None => Some("what it is could not be read"),
            Some(w) if is_exempt(w) => Some("kernel threads and realtime processes are never touched"),
            Some(_) => never::process(process.pid, process.comm.as_bytes()),
        };
        if let Some(what) = never {
            kinds.iter().for_each(|kind| self.refuse(*kind, &who, what));
            return None;
        }
        target(process)
    }

    /// All watched processes of that unit (or of none), to go first if memory runs out.
    fn prefer(&mut self, unit: Option<&str>, on: &str) {
        let value = self.params.oom_score_adj;
        let suspect = Suspect::of(self.evidence).process.map(|p| (p.pid, p.start_ticks));
        let of_unit =
            |p: &&Hot| p.watched.value().is_some_and(|w| w.facts.unit.as_deref() == unit && !is_exempt(w) && w.facts.oom_score_adj < value);
        let offender = |p: &&Hot| unit.is_some() || Some((p.pid, p.start_ticks)) == suspect;
        let found = self.evidence.processes.value().into_iter().flatten().filter(of_unit).filter(offender);
        let processes: Vec<ProcessTarget> =
            found.filter(|p| never::process(p.pid, p.comm.as_bytes()).is_none()).filter_map(target).collect();
        if processes.is_empty() {
            self.refuse(StepKind::OomPreference, on, format!("no process of it is known to be under oom_score_adj {value}"));
            return;
        }
        let preference = Preference { unit: unit.map(str::to_owned), processes, oom_score_adj: value };
        self.add(Step::PreferVictims(preference), on, format!("if memory runs out as well, {on} goes first and the host stays"));
    }

    /// What can be done to a unit. `false`: it can never be touched, which is said.
    fn unit_steps(&mut self, unit: &str, suspect: Suspect<'_>, kinds: &[StepKind]) -> bool {
        let params = self.params;
        let stateful = params.limits.keeps_state(unit);
        let state = || stateful.then_some("it keeps state: name it in stateful_units_allowed to let it be touched");
        if let Some(what) = never::unit(unit).or_else(state) {
            kinds.iter().for_each(|kind| self.refuse(*kind, unit, what));
            return false;
        }
        let facts = match self.evidence.unit(unit) {
            Some(Observed::Value { value, .. }) if !value.invocation.is_empty() => value,
            Some(Observed::Value { .. }) => return self.unknown(unit, kinds, "systemd does not run it"),
            Some(Observed::Unavailable { why }) => return self.unknown(unit, kinds, why),
            None => return self.unknown(unit, kinds, "systemd was not asked about it"),
        };
        for kind in kinds {
            match kind {
                StepKind::OomPreference => self.prefer(Some(unit), unit),
                StepKind::CpuWeight => self.weight(facts),
                StepKind::CpuQuota => self.quota(facts, suspect),
                StepKind::RestartUnit => {
                    let restart = Step::RestartUnit(target_of(facts));
                    self.add(restart, unit, format!("{unit} begins anew, if limits do not help"));
                }
                _ => {}
            }
        }
        true
    }

    fn unknown(&mut self, unit: &str, kinds: &[StepKind], why: &str) -> bool {
        kinds.iter().for_each(|kind| self.refuse(*kind, unit, why));
        true
    }

    fn weight(&mut self, facts: &UnitFacts) {
        let (unit, weight) = (&facts.name, self.params.weight);
        match facts.cpu_weight.filter(|set| *set <= weight) {
            Some(set) => self.refuse(StepKind::CpuWeight, unit, format!("it has CPUWeight={set} already")),
            None => {
                let limit = UnitLimit { target: target_of(facts), limit: LimitTo::CpuWeight(weight) };
                self.add(Step::LimitUnit(limit), unit, format!("CPUWeight={weight}: {unit} comes after everybody else"));
            }
        }
    }

    fn quota(&mut self, facts: &UnitFacts, suspect: Suspect<'_>) {
        let unit = &facts.name;
        let Some((host, (cpu, usual))) = self.evidence.host.value().zip(suspect.used(self.evidence)) else {
            return self.refuse(StepKind::CpuQuota, unit, "what it uses is not known");
        };
        let quota = quota::value(host, cpu, usual, self.params);
        if let Some(set) = facts.cpu_quota_percent.filter(|set| *set <= quota) {
            return self.refuse(StepKind::CpuQuota, unit, format!("it has CPUQuota={set}% already"));
        }
        if quota as f64 >= cpu {
            return self.refuse(StepKind::CpuQuota, unit, format!("it uses no more than the {quota} % that it would be left with"));
        }
        let usual = usual.map_or_else(|| "what it usually takes is not known".to_owned(), |u| format!("it takes {u:.0} % as a rule"));
        let limit = UnitLimit { target: target_of(facts), limit: LimitTo::CpuQuota(quota) };
        self.add(Step::LimitUnit(limit), unit, format!("CPUQuota={quota}% instead of the {cpu:.0} % of a CPU that it takes now; {usual}"));
    }
}

fn target(process: &Hot) -> Option<ProcessTarget> {
    let facts = &process.watched.value()?.facts;
    Some(ProcessTarget { pid: facts.pid, start_ticks: facts.start_ticks, comm: facts.comm.clone(), unit: facts.unit.clone() })
}

fn target_of(facts: &UnitFacts) -> UnitTarget {
    UnitTarget { unit: facts.name.clone(), invocation: facts.invocation.clone() }
}
