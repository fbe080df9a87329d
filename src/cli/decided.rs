//! Deciding again what a record says was decided.

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Serialize;
use serde_json::Value;

use crate::model::{Body, Diagnosis, Entry, Now, Plan, Recorded, RunbookId};
use crate::runbooks;

/// Looks a runbook up by its name: the registry's `find`, or a test's own.
pub type Find<'a> = &'a dyn Fn(&RunbookId) -> Option<&'static runbooks::Entry>;

/// A decision's outcome. Its JSON, fields in this order, is what "the same bytes" means.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decided {
    pub diagnosis: Diagnosis,
    pub plan: Plan,
}

impl Decided {
    pub fn bytes(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}

/// One decision of a record with what it was made from.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// Place among the entries.
    pub at: usize,
    /// The newest evidence before it.
    pub evidence: &'a Recorded,
    pub params: &'a Value,
    pub now: &'a Now,
    pub diagnosis: &'a Diagnosis,
    pub plan: &'a Plan,
}

/// # Errors
/// When a decision has no evidence before it: such a record cannot be replayed.
pub fn decisions(entries: &[Entry]) -> Result<Vec<Decision<'_>>> {
    let mut newest = None;
    let mut found = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        match &entry.body {
            Body::Evidence { recorded, .. } => newest = Some(recorded),
            Body::Decision { now, params, diagnosis, plan } => {
                let evidence = newest.ok_or_else(|| anyhow!("entry {} is a decision without evidence before it", entry.seq))?;
                found.push(Decision { at, evidence, params, now, diagnosis, plan });
            }
            _ => {}
        }
    }
    Ok(found)
}

impl Decision<'_> {
    /// The same call as in the live run.
    ///
    /// # Errors
    /// For a runbook or an evidence schema that this version does not know, and for evidence that is not what its schema says.
    pub fn again(&self, find: Find<'_>) -> Result<Decided> {
        let Recorded { runbook, schema, .. } = self.evidence;
        let entry = find(runbook).ok_or_else(|| {
            anyhow!("runbook {runbook} is not known to this version ({}): use the one that made the bundle, or a newer one", super::VERSION)
        })?;
        if *schema > entry.schema {
            bail!(
                "evidence of runbook {runbook} has schema {schema}, this version ({}) knows up to {}: use the version that made the bundle, or a newer one",
                super::VERSION,
                entry.schema
            );
        }
        let (diagnosis, plan) = (entry.decide)(self.evidence, self.params, self.now)
            .with_context(|| format!("evidence of runbook {runbook} is not what its schema {schema} says"))?;
        Ok(Decided { diagnosis, plan })
    }

    pub fn recorded(&self) -> Decided {
        Decided { diagnosis: self.diagnosis.clone(), plan: self.plan.clone() }
    }
}

/// Most differences that are worth a line each.
const SHOWN: usize = 40;

/// Where two values differ: `/plan/steps/0/why: - "old" + "new"`.
///
/// # Errors
/// When a value cannot be JSON.
pub fn differences(recorded: &impl Serialize, again: &impl Serialize) -> Result<Vec<String>> {
    let mut found = Vec::new();
    differ("", &serde_json::to_value(recorded)?, &serde_json::to_value(again)?, &mut found);
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    Ok(found)
}

fn differ(at: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let missing = &Value::Null;
                differ(&format!("{at}/{key}"), a.get(key).unwrap_or(missing), b.get(key).unwrap_or(missing), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{at}/{i}"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (Value::Array(a), Value::Array(b)) => found.push(format!("{at}: - {} elements + {} elements", a.len(), b.len())),
        (a, b) => found.push(format!("{at}: - {} + {}", short(a), short(b))),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(160) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}
