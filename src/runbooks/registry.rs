//! What a runbook is: typed inside, erased in [`super::ALL`].

use serde::{Serialize, de::DeserializeOwned};
use toml::{Spanned, de::DeTable};

use crate::detect::{Condition, History};
use crate::guard::Limits;
use crate::host::ReadHost;
use crate::model::{AfterStep, Diagnosis, Now, Plan, Recorded, RunbookId, Sample, Signal, StepKind, Subject, Verdict};

/// Everything but `gather` is pure; `now` and what was recorded are arguments.
pub trait Runbook: 'static {
    const ID: RunbookId;
    /// Raised when the evidence's form changes; old cases must still decide.
    const SCHEMA: u32;
    const SIGNALS: &'static [SignalSpec];
    const CLASSES: &'static [ClassSpec];
    /// Every kind of step that a plan of it can hold; no other is ever admitted for it.
    const STEPS: &'static [StepKind];
    /// The page of documentation, compiled in: `byteportctl catalog` prints it.
    const PAGE: &'static str;

    type Evidence: Serialize + DeserializeOwned;
    /// Its section of `agent.toml`, resolved: unknown keys refused, every default filled in.
    type Params: Send + Serialize + DeserializeOwned + Default;

    /// What is understood in its section but cannot be meant; `check` says it with the line.
    fn problems(_params: &Self::Params) -> Vec<Problem> {
        Vec::new()
    }
    /// What the newest sample (the last one in `history`) says of each of its signals.
    fn conditions(sample: &Sample, history: &History, params: &Self::Params) -> Vec<Condition>;
    /// Reads only. Parts run in parallel under deadlines; a part that fails is `Unavailable` in the evidence.
    fn gather(host: &dyn ReadHost, ask: &FocusedAsk<'_>, params: &Self::Params) -> Self::Evidence;
    fn classify(evidence: &Self::Evidence, params: &Self::Params, now: &Now) -> Diagnosis;
    fn plan(evidence: &Self::Evidence, diagnosis: &Diagnosis, params: &Self::Params, now: &Now) -> Plan;
    fn after_step(before: &Self::Evidence, after: &Self::Evidence, params: &Self::Params) -> AfterStep;
    fn verify(before: &Self::Evidence, after: &Self::Evidence, params: &Self::Params) -> Verdict;
    /// What the host's owner allows this runbook, as `agent.toml` has it.
    fn limits(params: &Self::Params) -> &Limits;
}

/// A setting that contradicts another one or a rule that no setting can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted, below the runbook's section: `limits.tmp_roots`.
    pub key: &'static str,
    pub why: String,
}

/// What an episode wants to know.
#[derive(Debug, Clone, Copy)]
pub struct FocusedAsk<'a> {
    pub subject: &'a Subject,
    pub signals: &'a [Signal],
    /// Samples so far, for growth, and what this agent has in force.
    pub history: &'a History,
    /// The newest one: what the kernel's log and the journal told, and who was largest when it was taken. `None` before the first.
    pub sample: Option<&'a Sample>,
    pub depth: Depth,
}

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything the diagnosis can use.
    Full,
    /// Only what `after_step` and `verify` compare: no tree is walked again.
    Quick,
}

/// A signal that a runbook declares and answers.
#[derive(Debug, Clone, Copy)]
pub struct SignalSpec {
    pub name: &'static str,
    pub raised_when: &'static str,
    pub clears_when: &'static str,
}

/// A class that a runbook can come to.
#[derive(Debug, Clone, Copy)]
pub struct ClassSpec {
    pub name: &'static str,
    pub meaning: &'static str,
    /// Always handed to a person, whatever the confidence.
    pub always_escalates: bool,
}

/// A runbook's conditions, bound to its parameters.
pub type Watch = Box<dyn Fn(&Sample, &History) -> Vec<Condition> + Send>;

type Erased<T> = Result<T, serde_json::Error>;

/// A runbook with its types erased. Parameters travel as the JSON form of its resolved section.
#[derive(Debug)]
pub struct Entry {
    pub id: RunbookId,
    pub schema: u32,
    pub signals: &'static [SignalSpec],
    pub classes: &'static [ClassSpec],
    pub steps: &'static [StepKind],
    pub page: &'static str,
    /// Resolves a section (an empty table for none written): unknown keys and wrong types are errors that carry where
    /// they are, defaults are filled in.
    pub resolve: fn(Spanned<DeTable<'_>>) -> Result<serde_json::Value, toml::de::Error>,
    pub problems: fn(&serde_json::Value) -> Erased<Vec<Problem>>,
    /// What it watches for, with its parameters read once: asked with every sample.
    pub watch: fn(&serde_json::Value) -> Erased<Watch>,
    pub gather: fn(&dyn ReadHost, &FocusedAsk<'_>, &serde_json::Value, &Now) -> Erased<Recorded>,
    pub decide: fn(&Recorded, &serde_json::Value, &Now) -> Erased<(Diagnosis, Plan)>,
    pub after_step: fn(&Recorded, &Recorded, &serde_json::Value) -> Erased<AfterStep>,
    pub verify: fn(&Recorded, &Recorded, &serde_json::Value) -> Erased<Verdict>,
    pub limits: fn(&serde_json::Value) -> Erased<Limits>,
}

fn params<R: Runbook>(json: &serde_json::Value) -> Erased<R::Params> {
    serde::Deserialize::deserialize(json)
}

impl Entry {
    /// What a policy allows this runbook: of the steps that it names, those that a plan of this runbook can hold.
    pub fn allowed(&self, mut limits: Limits) -> Limits {
        limits.steps.retain(|kind| self.steps.contains(kind));
        limits
    }

    /// Whether this key of its limits means anything to this runbook.
    pub fn goes_by(&self, key: &str) -> bool {
        key == "steps" || self.steps.iter().any(|kind| Limits::keys(*kind).contains(&key))
    }

    pub const fn of<R: Runbook>() -> Self {
        Self {
            id: R::ID,
            schema: R::SCHEMA,
            signals: R::SIGNALS,
            classes: R::CLASSES,
            steps: R::STEPS,
            page: R::PAGE,
            resolve: |section| {
                let typed: R::Params = serde::Deserialize::deserialize(toml::de::Deserializer::from(section))?;
                let mut params = serde_json::to_value(typed).map_err(serde::de::Error::custom)?;
                if let Some(serde_json::Value::Array(steps)) = params.pointer_mut("/limits/steps") {
                    steps.retain(|step| R::STEPS.iter().any(|kind| step == kind.as_str()));
                }
                Ok(params)
            },
            problems: |p| Ok(R::problems(&params::<R>(p)?)),
            watch: |p| {
                let params = params::<R>(p)?;
                Ok(Box::new(move |sample, history| R::conditions(sample, history, &params)))
            },
            gather: |host, ask, p, now| Recorded::new(R::ID, R::SCHEMA, now.clone(), &R::gather(host, ask, &params::<R>(p)?)),
            decide: |recorded, p, now| {
                let (evidence, p): (R::Evidence, _) = (recorded.open()?, params::<R>(p)?);
                let diagnosis = R::classify(&evidence, &p, now);
                let plan = R::plan(&evidence, &diagnosis, &p, now);
                Ok((diagnosis, plan))
            },
            after_step: |before, after, p| Ok(R::after_step(&before.open()?, &after.open()?, &params::<R>(p)?)),
            verify: |before, after, p| Ok(R::verify(&before.open()?, &after.open()?, &params::<R>(p)?)),
            limits: |p| Ok(R::limits(&params::<R>(p)?).clone()),
        }
    }
}

/// The runbook of that name.
pub fn find(id: &RunbookId) -> Option<&'static Entry> {
    super::ALL.iter().find(|e| &e.id == id)
}

/// The runbook that answers a signal; the law tests see to it that there is exactly one.
pub fn for_signal(kind: &str) -> Option<&'static Entry> {
    super::ALL.iter().find(|e| e.signals.iter().any(|s| s.name == kind))
}
