//! Answers for byteportctl, put together from what the driver holds. Blocking: called off the event loop.

use std::sync::MutexGuard;

use super::shared::{Shared, lock};
use super::tasks;
use crate::config::Agent;
use crate::guard::{self, Asked, Circumstances};
use crate::host;
use crate::model::{Body, EffectState, IncidentId, IntentId, Observed, PlannedStep, Refusal, RefusalReason, Subject, Undo};
use crate::record::Store;
use crate::runbooks::{self, Depth, FocusedAsk};
use crate::wire::actuator::Hello;
use crate::wire::local::{Incident, Pause, PlanAnswer, PlanAsk, Problem, Status, UndoAnswer};

fn problem(error: impl Into<String>, hint: Option<&str>) -> Problem {
    Problem { error: error.into(), hint: hint.map(str::to_owned) }
}

/// The record, or why nobody who asks gets it now.
pub(super) fn record(shared: &Shared) -> Result<MutexGuard<'_, Store>, Problem> {
    shared.read_record().map_err(|why| problem(why, Some("byteportctl top shows what the host does meanwhile")))
}

pub(super) fn status(shared: &Shared) -> Status {
    let actuator = shared.ask_hello();
    let config = shared.config();
    let now = shared.host.now();
    let why_observe = why_observe(&config, &actuator);
    // The record may keep one waiting; what samples go into is not held meanwhile.
    let (open_incidents, pauses, record) = match shared.read_record() {
        Ok(store) => (store.open_incidents().into(), Observed::fresh(store.pauses(&now)), store.health()),
        Err(why) => (Observed::unavailable(&*why), Observed::unavailable(&*why), Observed::unavailable(&*why)),
    };
    let seen = lock(&shared.seen);
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        host: host_name(),
        running_s: now.steady_since(&shared.started).unwrap_or(0.0),
        mode: mode(why_observe.as_deref()).into(),
        why_observe,
        dry_run: config.dry_run,
        filesystems: match &seen.sample {
            Some(sample) => sample.filesystems.clone(),
            None => Observed::unavailable("no sample yet"),
        },
        signals: seen.raised.clone(),
        open_incidents,
        pauses,
        actuator,
        record,
        stuck: seen.stuck.clone(),
        psi_mode: {
            let reasons = [&shared.without_triggers, &shared.without_stall_trigger].into_iter().filter_map(|why| why.get()?.clone());
            std::iter::once(shared.psi_mode().to_owned()).chain(reasons).collect::<Vec<_>>().join(", ")
        },
        refused_config: lock(&shared.refused_config).clone(),
        collector: shared.uplink.link(),
        now,
    }
}

pub(super) fn host_name() -> String {
    crate::host::facts().hostname.unwrap_or_else(|| "unknown".into())
}

pub(super) const fn mode(why_observe: Option<&str>) -> &'static str {
    if why_observe.is_none() { "act" } else { "observe" }
}

/// What keeps the agent from acting, whatever it finds.
pub(super) fn why_observe(config: &Agent, actuator: &Observed<Hello>) -> Option<String> {
    let acting = config.is_acting();
    match (acting, actuator) {
        (false, _) if config.dry_run => Some("BYTEPORT_DRY_RUN is set".to_owned()),
        (false, _) => Some("mode is observe in the agent's configuration".to_owned()),
        (true, Observed::Unavailable { why }) => Some(format!("the actuator is not there: {why}")),
        (true, Observed::Value { value, .. }) if value.dry_run => Some("BYTEPORT_DRY_RUN is set for the actuator".to_owned()),
        (true, Observed::Value { value, .. }) if value.runbooks.is_empty() => Some("the actuator's policy allows no runbook".to_owned()),
        (true, Observed::Value { value, .. }) if value.mounts.is_empty() && !value.steps.iter().any(|s| s.is_standing()) => {
            Some("no mount has opted in in the actuator's policy".to_owned())
        }
        (true, Observed::Value { .. }) => None,
    }
}

pub(super) fn incident(shared: &Shared, name: &str) -> Result<Incident, Problem> {
    let store = record(shared)?;
    let hint = Some("byteportctl incidents lists them");
    let id = store.resolve(name).map_err(|e| problem(e.to_string(), hint))?;
    let entries = store.entries(&id).map_err(|e| problem(e.to_string(), None))?;
    let summary = store.summary(&id).map_err(|e| problem(e.to_string(), hint))?;
    Ok(Incident { summary, entries, chain: store.health().map(|_| ()), agent_version: env!("CARGO_PKG_VERSION").into() })
}

/// What would be done now: the loop's own gather, decide and guard, and nothing else.
pub(super) fn plan(shared: &Shared, ask: &PlanAsk) -> Result<PlanAnswer, Problem> {
    let entry = runbooks::find(&ask.runbook)
        .ok_or_else(|| problem(format!("there is no runbook {}", ask.runbook), Some("byteportctl catalog lists them")))?;
    let subject = subject(shared, ask)?;
    let signals = shared.raised_for(&subject, &entry.id);
    let params = shared.params(&entry.id);
    let now = shared.host.now();
    let history = lock(&shared.history).clone();
    let sample = lock(&shared.seen).sample.clone();
    let focused = FocusedAsk { subject: &subject, signals: &signals, history: &history, sample: sample.as_deref(), depth: Depth::Full };
    let evidence = (entry.gather)(shared.host.as_ref(), &focused, &params, &now).map_err(|e| problem(e.to_string(), None))?;
    let (diagnosis, plan) = (entry.decide)(&evidence, &params, &now).map_err(|e| problem(e.to_string(), None))?;
    let incident = IncidentId::new(&entry.id, now.wall, 0);
    let policy = shared.policy(&entry.id);
    let past = record(shared)?.past_acts();
    let holds = shared.holds(&entry.id, None);
    let refusals = plan
        .steps
        .iter()
        .map(|planned| {
            let asked =
                Asked { incident: &incident, runbook: &entry.id, subject: &subject, step: &planned.step, confidence: diagnosis.confidence };
            let targets = host::targets(shared.host.as_ref(), &planned.step);
            match guard::admit(asked, Circumstances { policy: &policy, holds: &holds, past: &past, targets: &targets, now: &now }) {
                Ok(_) => shared.no_hands(),
                Err(refusal) => Some(refusal),
            }
        })
        .collect();
    Ok(PlanAnswer { evidence, params, now, diagnosis, plan, refusals })
}

/// What a person asks about: a mount, a unit, or the host as a whole.
fn subject(shared: &Shared, ask: &PlanAsk) -> Result<Subject, Problem> {
    match (&ask.mount, &ask.unit) {
        (Some(path), _) => {
            let mounts = shared.host.mounts().map_err(|e| problem(e.to_string(), None))?;
            let mount = mounts.iter().find(|m| &m.path == path || m.also_at.contains(path));
            let mount = mount.ok_or_else(|| problem(format!("nothing is mounted at {path}"), Some("findmnt --real lists mount points")))?;
            Ok(Subject::Filesystem { mount: mount.path.clone(), device: mount.device })
        }
        (None, Some(name)) => {
            shared.host.unit(name).map_err(|e| problem(e.to_string(), Some("systemctl list-units lists what is loaded")))?;
            Ok(Subject::Unit { name: name.clone() })
        }
        (None, None) => Ok(Subject::Host),
    }
}

fn undo_of(planned: &[PlannedStep], intent: &IntentId) -> Option<Undo> {
    planned.get((intent.step() as usize).wrapping_sub(1)).map(|step| step.undo.clone())
}

/// After somebody has taken back what an incident holds, its runbook does nothing for so long: it would only do it again.
const HANDS_OFF_S: u64 = 3600;

/// Takes back what can be, newest first, and records each answer. What is taken from an open incident is not to be given it again: its episode
/// is told, and its runbook is paused.
pub(super) fn undo(shared: &Shared, name: &str, by: &str) -> Result<UndoAnswer, Problem> {
    let incident = incident(shared, name)?;
    let mut planned = Vec::new();
    let mut steps = Vec::new();
    let mut undone = Vec::new();
    for entry in &incident.entries {
        match &entry.body {
            Body::Decision { plan, .. } => planned.clone_from(&plan.steps),
            // Of one whose effect was lost it is not known that nothing stands.
            Body::Intent { intent, kind, .. } if kind.is_standing() => steps.push((intent.clone(), undo_of(&planned, intent))),
            Body::Effect { intent, effect } if effect.state == EffectState::Failed => steps.retain(|(known, _)| known != intent),
            Body::Effect { intent, .. } if !steps.iter().any(|(known, _)| known == intent) => {
                steps.push((intent.clone(), undo_of(&planned, intent)));
            }
            Body::Undone { intent, .. } => undone.push(intent.clone()),
            _ => {}
        }
    }
    steps.retain(|(intent, _)| !undone.contains(intent));
    if incident.summary.closed.is_none() {
        // The episode is still at work; what it only holds may be let go all the same.
        steps.retain(|(_, undo)| matches!(undo, Some(Undo::OnResolve { .. })));
        if steps.is_empty() {
            return Err(problem(format!("{} is still open", incident.summary.id), Some("byteportctl pause stops it before its next step")));
        }
    }
    let is_open = incident.summary.closed.is_none();
    if is_open {
        let pause = Pause {
            runbook: Some(incident.summary.runbook.clone()),
            for_s: Some(HANDS_OFF_S),
            by: format!("{by}: took back what {} held", incident.summary.id),
            since: None,
        };
        // Whoever wants a limit off gets it off, also where nothing can be written.
        let paused =
            record(shared).and_then(|mut store| store.set_pause(&pause, &shared.host.now()).map_err(|e| problem(e.to_string(), None)));
        if let Err(why) = paused {
            tracing::warn!("what is taken back may be done again: {} could not be paused: {}", incident.summary.runbook, why.error);
        }
    }
    let mut answer = UndoAnswer { undone: Vec::new(), refused: Vec::new() };
    for (intent, undo) in steps.into_iter().rev() {
        let result = match undo {
            Some(Undo::None { why }) => Err(Refusal::new(RefusalReason::NotAvailable, why)),
            Some(Undo::ByActuator { .. } | Undo::OnResolve { .. }) | None => tasks::undo(&shared.client, &intent),
        };
        let body = match &result {
            Ok(effect) => Body::Undone { intent: intent.clone(), effect: effect.clone() },
            Err(refusal) => Body::UndoRefused { intent: intent.clone(), refusal: refusal.clone() },
        };
        // What the actuator did stands in its own ledger whether or not it can be written here.
        if let Err(why) = shared.append(&incident.summary.id, &incident.summary.runbook, body) {
            tracing::warn!("{why}");
        }
        match result {
            Ok(effect) => {
                if is_open {
                    shared.taken_back(&incident.summary.id, &intent);
                }
                answer.undone.push((intent, effect));
            }
            Err(refusal) => answer.refused.push((intent, refusal)),
        }
    }
    Ok(answer)
}
