//! What would be done about the suspect, least harmful first. The engine looks again after each step and stops when memory comes back, so
//! that nobody else is chosen while the first has not yet given its memory back.

use super::Params;
use super::class::Class;
use super::escalate;
use super::evidence::Evidence;
use super::steps::ladder;
use super::suspects::suspect;
use crate::model::{Diagnosis, Now, Plan, Unavailable};

pub(super) fn plan(evidence: &Evidence, diagnosis: &Diagnosis, params: &Params, _now: &Now) -> Plan {
    let mut plan =
        Plan { subject: evidence.subject.clone(), steps: Vec::new(), escalate: None, follow_ups: Vec::new(), not_available: Vec::new() };
    let class = Class::named(&diagnosis.class);
    let suspect = suspect(evidence, params).filter(|s| s.class == class);
    if let Some(suspect) = suspect.filter(|_| class.is_acted_on()) {
        for offer in ladder(suspect, evidence, params) {
            match offer.step {
                Ok(step) => plan.steps.push(step),
                Err(why) => plan.not_available.push(Unavailable { what: offer.kind.as_str().to_owned(), why }),
            }
        }
    }
    not_here(evidence, &mut plan);
    plan.escalate = escalate::reason(evidence, diagnosis, &plan, params);
    plan.follow_ups = escalate::follow_ups(evidence, suspect, params);
    plan
}

/// What a better judgement would rest on, and is not there.
fn not_here(evidence: &Evidence, plan: &mut Plan) {
    let mut say = |what: String, why: &str| plan.not_available.push(Unavailable { what, why: why.to_owned() });
    if evidence.traffic.is_none() {
        say("correlation with requests".to_owned(), "no metric of requests is configured (request_metrics in agent.toml)");
    }
    for process in evidence.all_processes().iter().filter(|p| p.facts.unit.is_some()) {
        if let Some(why) = process.heap.why() {
            say(format!("heap settings of {}", process.name()), why);
        }
    }
}
