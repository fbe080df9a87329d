//! The host's processors are saturated. The page of documentation is `docs/runbooks/cpu.md`; read [`evidence`] first, then `suspect`,
//! `classify`, `plan`, `verify`.

mod class;
mod classify;
mod cron;
mod doubts;
mod escalate;
mod evidence;
mod findings;
mod gather;
mod look;
mod params;
mod plan;
mod quota;
mod signals;
mod suspect;
#[cfg(test)]
mod tests;
mod verify;

pub use evidence::{Cron, CronJob, Evidence, Group, HostLoad, Hot, Instance, UnitAnswer, Waiting, Watched};
pub use params::Params;

use super::{ClassSpec, FocusedAsk, Problem, Runbook, SignalSpec};
use crate::detect::{Condition, History};
use crate::guard::Limits;
use crate::host::ReadHost;
use crate::model::{AfterStep, Diagnosis, Now, Plan, RunbookId, Sample, StepKind, Verdict};

#[derive(Debug)]
pub struct Cpu;

impl Runbook for Cpu {
    const ID: RunbookId = RunbookId::new("cpu");
    const SCHEMA: u32 = evidence::SCHEMA;
    const SIGNALS: &'static [SignalSpec] = signals::SIGNALS;
    const CLASSES: &'static [ClassSpec] = class::CLASSES;
    const STEPS: &'static [StepKind] = plan::STEPS;
    const PAGE: &'static str = include_str!("../../../docs/runbooks/cpu.md");

    type Evidence = Evidence;
    type Params = Params;

    fn problems(params: &Params) -> Vec<Problem> {
        params.problems()
    }

    fn conditions(sample: &Sample, history: &History, params: &Params) -> Vec<Condition> {
        signals::conditions(sample, history, params)
    }

    fn gather(host: &dyn ReadHost, ask: &FocusedAsk<'_>, params: &Params) -> Evidence {
        gather::gather(host, ask, params)
    }

    fn classify(evidence: &Evidence, params: &Params, now: &Now) -> Diagnosis {
        classify::classify(evidence, params, now)
    }

    fn plan(evidence: &Evidence, diagnosis: &Diagnosis, params: &Params, _now: &Now) -> Plan {
        plan::plan(evidence, diagnosis, params)
    }

    fn after_step(before: &Evidence, after: &Evidence, params: &Params) -> AfterStep {
        verify::after_step(before, after, params)
    }

    fn verify(before: &Evidence, after: &Evidence, params: &Params) -> Verdict {
        verify::verify(before, after, params)
    }

    fn limits(params: &Params) -> &Limits {
        &params.limits
    }
}
