//! A filesystem is filling up. The page of documentation is `docs/runbooks/disk.md`; read [`evidence`] first, then `classify`, `plan`, `verify`.

mod batches;
mod class;
mod classify;
mod doubts;
mod escalate;
mod evidence;
mod families;
mod gather;
mod held;
mod need;
mod offers;
mod params;
mod plan;
mod signals;
mod verify;

pub use evidence::{Evidence, HolderAnswer, Io, Ratio};
pub use params::Params;

use super::{ClassSpec, FocusedAsk, Problem, Runbook, SignalSpec};
use crate::detect::{Condition, History};
use crate::guard::Limits;
use crate::host::ReadHost;
use crate::model::{AfterStep, Diagnosis, Now, Plan, RunbookId, Sample, StepKind, Verdict};

#[derive(Debug)]
pub struct Disk;

impl Runbook for Disk {
    const ID: RunbookId = RunbookId::new("disk");
    const SCHEMA: u32 = evidence::SCHEMA;
    const SIGNALS: &'static [SignalSpec] = signals::SIGNALS;
    const CLASSES: &'static [ClassSpec] = class::CLASSES;
    const STEPS: &'static [StepKind] = plan::STEPS;
    const PAGE: &'static str = include_str!("../../../docs/runbooks/disk.md");

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
