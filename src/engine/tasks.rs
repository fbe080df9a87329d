//! What runs beside the driver: the sampler's thread, each episode's task, systemd.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::dialogue::{Act, Command, Event};
use super::episode::Episode;
use super::shared::{Shared, lock};
use crate::act::client::{Client, ClientError, Performed, UndoResult};
use crate::host;
use crate::model::{Body, Confidence, Effect, IncidentId, IntentId, Now, Refusal, RefusalReason, RunbookId, Severity, Signal, Targets};
use crate::runbooks::{self, Depth, FocusedAsk};
use crate::wire::actuator::Perform;

/// What the actuator is given for one step before it stops at its next safe point.
const STEP_DEADLINE_S: u64 = 600;

/// A turn that is not given or refused so soon waits for something: what is known by then is written meanwhile.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Tells systemd, where there is one.
pub(super) fn ready() {
    notify(&[sd_notify::NotifyState::Ready]);
}

pub(super) fn alive() {
    notify(&[sd_notify::NotifyState::Watchdog]);
}

pub(super) fn stopping() {
    notify(&[sd_notify::NotifyState::Stopping]);
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told: {e}");
    }
}

/// However an episode ends, also by a defect or with the program: what it did is on record, its turn is free, and what it has in force is
/// nobody's any more.
struct Leaves<'a> {
    shared: &'a Arc<Shared>,
    id: IncidentId,
    runbook: RunbookId,
    /// What follows from each other at once is written at once, with the intent or before the episode waits: each time costs the disk
    /// several syncs, and on a host that stalls they all come before the first step.
    unwritten: Vec<(Now, Body)>,
}

impl Leaves<'_> {
    fn record(&mut self, body: Body) {
        self.unwritten.push((self.shared.host.now(), body));
    }

    /// An event only when an intent was among them and cannot be written: everything else is kept and written later.
    async fn write(&mut self) -> Option<Event> {
        let entries = std::mem::take(&mut self.unwritten);
        if entries.is_empty() {
            return None;
        }
        let intent = entries.iter().any(|(_, body)| matches!(body, Body::Intent { .. }));
        let (shared, id, runbook) = (self.shared.clone(), self.id.clone(), self.runbook.clone());
        let written = tokio::task::spawn_blocking(move || shared.append_all(&id, &runbook, entries)).await;
        let why = written.unwrap_or_else(|e| Err(e.to_string())).err()?;
        intent.then_some(Event::NoRecord { why })
    }
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let entries = std::mem::take(&mut self.unwritten);
        if !entries.is_empty() {
            // Nobody waits for this any more; what cannot be written now is kept by whoever would write it.
            drop(self.shared.append_all(&self.id, &self.runbook, entries));
        }
        self.shared.release_turn(&self.id);
        self.shared.take_taken_back(&self.id);
        lock(&self.shared.history).set_in_force(&self.id, Vec::new());
    }
}

/// Carries out one episode's commands in order until it finishes: the signals that it has answered.
pub(super) async fn run_episode(
    shared: Arc<Shared>,
    mut episode: Episode,
    mut told: mpsc::UnboundedReceiver<Event>,
    first: Option<Vec<Command>>,
) -> Vec<Signal> {
    let mut leaves = Leaves { shared: &shared, id: episode.id.clone(), runbook: episode.runbook().clone(), unwritten: Vec::new() };
    lock(&shared.history).set_in_force(&episode.id, episode.in_force());
    let mut queue: VecDeque<Command> = match first {
        Some(commands) => commands.into(),
        None => episode.on(Event::Begin, &shared.host.now()).into(),
    };
    let mut timer: Option<std::pin::Pin<Box<tokio::time::Sleep>>> = None;
    while !(episode.is_finished() && queue.is_empty()) {
        let event = match queue.pop_front() {
            Some(Command::Record(body)) => {
                let intent = matches!(*body, Body::Intent { .. });
                leaves.record(*body);
                if intent { leaves.write().await } else { None }
            }
            // What was told meanwhile counts before the turn is taken: a signal that cleared ends the episode here.
            Some(Command::AskTurn(step)) => match told.try_recv() {
                Ok(event) => {
                    queue.push_front(Command::AskTurn(step));
                    Some(event)
                }
                Err(_) => {
                    let mut turn = std::pin::pin!(carry_out(&shared, &episode, Command::AskTurn(step)));
                    match tokio::time::timeout(AT_ONCE, &mut turn).await {
                        Ok(event) => event,
                        Err(_) => tokio::join!(leaves.write(), turn).1,
                    }
                }
            },
            Some(Command::Gather { phase, depth }) => {
                let (_, event) = tokio::join!(leaves.write(), gather(&shared, &episode, depth));
                // Unwritten evidence still decides; what follows from it is held back by the intent that cannot be written either.
                if let Event::Gathered(recorded) = &event {
                    leaves.record(Body::Evidence { phase, recorded: recorded.clone() });
                }
                Some(event)
            }
            command => {
                leaves.write().await;
                match command {
                    Some(Command::Wait(time)) => {
                        timer = Some(Box::pin(tokio::time::sleep(time)));
                        None
                    }
                    Some(command) => carry_out(&shared, &episode, command).await,
                    None => tokio::select! {
                        event = told.recv() => match event {
                            Some(event) => Some(event),
                            None => return episode.answered(),
                        },
                        () = async { match timer.as_mut() { Some(t) => t.as_mut().await, None => std::future::pending().await } } => {
                            timer = None;
                            Some(Event::Timer)
                        }
                    },
                }
            }
        };
        let taken_back = shared.take_taken_back(&episode.id);
        if !taken_back.is_empty() {
            queue.extend(episode.on(Event::TakenBack(taken_back), &shared.host.now()));
            lock(&shared.history).set_in_force(&episode.id, episode.in_force());
        }
        if let Some(event) = event {
            let ends_queue = matches!(event, Event::NoRecord { .. });
            let commands = episode.on(event, &shared.host.now());
            lock(&shared.history).set_in_force(&episode.id, episode.in_force());
            if ends_queue && !commands.is_empty() || episode.is_finished() {
                queue.clear();
            }
            queue.extend(commands);
        }
    }
    leaves.write().await;
    episode.answered()
}

async fn carry_out(shared: &Arc<Shared>, episode: &Episode, command: Command) -> Option<Event> {
    let id = episode.id.clone();
    let runbook = episode.runbook().clone();
    match command {
        Command::AskTurn(step) => {
            let critical = episode.signals().iter().any(|s| s.severity == Severity::Critical);
            let shared = shared.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let other = shared.take_turn(&id, critical);
                let holds = shared.holds(&runbook, other);
                let past = lock(&shared.store).past_acts();
                let targets = step.map_or_else(Targets::default, |step| host::targets(shared.host.as_ref(), &step));
                Event::Turn { policy: Box::new(shared.policy(&runbook)), holds: Box::new(holds), past, targets: Box::new(targets) }
            });
            asked.await.ok()
        }
        Command::ReleaseTurn => {
            shared.release_turn(&id);
            None
        }
        Command::Act(act) => Some(perform(shared, episode, *act).await),
        Command::AskOutcome { intent } => {
            let shared = shared.clone();
            let asked = tokio::task::spawn_blocking(move || shared.client.outcome(&intent).map_err(|e| e.to_string())).await;
            Some(Event::Outcome(asked.unwrap_or_else(|e| Err(e.to_string()))))
        }
        Command::Undo { intent } => {
            let shared = shared.clone();
            let undone = tokio::task::spawn_blocking(move || undo(&shared.client, &intent)).await;
            Some(Event::Undone(undone.unwrap_or_else(|e| Err(Refusal::new(RefusalReason::NoActuator, e.to_string())))))
        }
        // The loop's own.
        Command::Record(_) | Command::Gather { .. } | Command::Wait(_) | Command::Finish(_) => None,
    }
}

/// An answer that did not come may have been given: asking again does no harm, what is taken back once stays so.
pub(super) fn undo(client: &Client, intent: &IntentId) -> Result<Effect, Refusal> {
    match client.undo(intent) {
        Ok(UndoResult::Undone(effect)) => Ok(effect),
        Ok(UndoResult::Refused(refusal)) => Err(refusal),
        Err(e) => Err(Refusal::new(RefusalReason::NoActuator, e.to_string())),
    }
}

async fn gather(shared: &Arc<Shared>, episode: &Episode, depth: Depth) -> Event {
    let Some(entry) = runbooks::find(episode.runbook()) else { return Event::GatherFailed { why: "its runbook is gone".into() } };
    let (subject, signals) = (episode.subject.clone(), episode.signals().to_vec());
    let shared = shared.clone();
    let gathered = tokio::task::spawn_blocking(move || {
        let history = lock(&shared.history).clone();
        let sample = lock(&shared.seen).sample.clone();
        let ask = FocusedAsk { subject: &subject, signals: &signals, history: &history, sample: sample.as_deref(), depth };
        let now = shared.host.now();
        (entry.gather)(shared.host.as_ref(), &ask, &shared.params(&entry.id), &now).map_err(|e| e.to_string())
    });
    match gathered.await {
        Ok(Ok(recorded)) => Event::Gathered(recorded),
        Ok(Err(why)) => Event::GatherFailed { why },
        Err(e) => Event::GatherFailed { why: format!("a reader ended by a defect: {e}") },
    }
}

async fn perform(shared: &Arc<Shared>, episode: &Episode, act: Act) -> Event {
    let (incident, runbook, subject) = (episode.id.clone(), episode.runbook().clone(), episode.subject.clone());
    let shared = shared.clone();
    let performed = tokio::task::spawn_blocking(move || {
        if let Some(refusal) = shared.no_hands() {
            return Event::Refused(refusal);
        }
        let Act { intent, admitted, planned, confidence } = act;
        if let Some(unit) = planned.step.unit().filter(|_| planned.step.kind().is_restart()) {
            lock(&shared.history).begins_restart(unit, &shared.host.now());
        }
        let perform = Perform {
            intent,
            incident,
            runbook,
            subject,
            planned,
            confidence: Confidence::new(confidence).get(),
            deadline_s: STEP_DEADLINE_S,
        };
        match shared.client.perform(&admitted, perform) {
            Ok(Performed::Effect(effect) | Performed::Undone(effect)) => Event::Performed(effect),
            Ok(Performed::Refused(refusal)) => Event::Refused(refusal),
            Ok(Performed::Open) => Event::Lost { why: "the actuator had begun it before, and its end is not known".into() },
            Err(e @ (ClientError::NotThere { .. } | ClientError::NotTaken { .. })) => {
                Event::Refused(Refusal::new(RefusalReason::NoActuator, e.to_string()))
            }
            Err(e @ ClientError::Unknown { .. }) => Event::Lost { why: e.to_string() },
        }
    });
    performed.await.unwrap_or_else(|e| Event::Lost { why: e.to_string() })
}
