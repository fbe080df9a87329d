//! A host or a service is running out of memory. The page of documentation is `docs/runbooks/memory.md`; read [`evidence`] first, then
//! `suspects`, `classify`, `plan`, `verify`.

mod class;
mod classify;
mod doubts;
mod escalate;
mod evidence;
mod gather;
mod params;
mod plan;
mod shortage;
mod signals;
mod steps;
mod suspects;
#[cfg(test)]
mod tests;
mod verify;

pub use evidence::{Evidence, Group, Kill, Memory, Process, Traffic};
pub use params::Params;

use super::{ClassSpec, FocusedAsk, Problem, Runbook, SignalSpec};
use crate::detect::{Condition, History};
use crate::guard::Limits;
use crate::host::ReadHost;
use crate::model::{AfterStep, Diagnosis, Now, Plan, RunbookId, Sample, StepKind, Verdict};

#[derive(Debug)]
pub struct MemoryShort;

impl Runbook for MemoryShort {
    const ID: RunbookId = RunbookId::new("memory");
    const SCHEMA: u32 = evidence::SCHEMA;
    const SIGNALS: &'static [SignalSpec] = signals::SIGNALS;
    const CLASSES: &'static [ClassSpec] = class::CLASSES;
    const STEPS: &'static [StepKind] = steps::STEPS;
    const PAGE: &'static str = include_str!("../../../docs/runbooks/memory.md");

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

    fn plan(evidence: &Evidence, diagnosis: &Diagnosis, params: &Params, now: &Now) -> Plan {
        plan::plan(evidence, diagnosis, params, now)
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
