//! One request, one response: what is asked is checked again from the beginning, by this host's own policy and ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Scene;
use super::{beneath, holder, images, volume};
use crate::guard::{self, Asked, Circumstances, Holds, Mode, PastAct, Policy};
use crate::host::deadline::{Ask as Call, Parking};
use crate::host::write_trial::try_write;
use crate::host::{self, ReadHost};
use crate::model::{
    Answer, Bytes, Confidence, Effect, EffectState, FsKind, IntentId, Mount, Now, Observed, Query, Refusal, RefusalReason as Why,
    RunbookId, StepKind, Subject, WriteTrial,
};
use crate::record::Ledger;
use crate::wire::actuator::{Ask, Hello, IntentOutcome, MOST_SOON, Perform, Request, Response, VERSION};

/// No step takes longer, whatever is asked.
const LONGEST: Duration = Duration::from_secs(3600);
const UNDO: Duration = Duration::from_secs(280);
/// For everything that stands, when nobody has asked for it: shorter than the watchdog and the time to stop leave.
const TAKING_BACK: Duration = Duration::from_secs(20);
/// The agent says hello every 30 s, so one that is silent for this long is gone, and nobody watches over what it has had limited.
const SILENCE: Duration = Duration::from_secs(600);
/// Between two attempts to take back what could not be.
const AGAIN: Duration = Duration::from_secs(60);
const TRIAL: Duration = Duration::from_secs(2);
/// Of a unit, in bytes: systemd knows none that is longer.
const LONGEST_NAME: usize = 255;

/// What the host's owner allows, as `actuator.toml` has it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The only user that is served.
    pub agent_uid: u32,
    /// The host's `/` as this process reaches it.
    pub root: PathBuf,
    pub docker_socket: PathBuf,
    /// `BYTEPORT_DRY_RUN=true`: wins over every policy.
    pub dry_run: bool,
    pub policies: BTreeMap<RunbookId, Policy>,
}

/// What came in since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections of users who are not the agent's.
    pub strangers: AtomicU64,
    pub malformed: AtomicU64,
    pub refused: AtomicU64,
    pub performed: AtomicU64,
}

pub(super) fn count(which: &AtomicU64) {
    which.fetch_add(1, Ordering::Relaxed);
}

pub(super) struct Desk {
    settings: Settings,
    root: OwnedFd,
    host: Arc<dyn ReadHost>,
    parking: Arc<Parking>,
    started: Now,
    ledger: Mutex<Ledger>,
    /// The intent that is being carried out: one at a time.
    busy: Mutex<Option<IntentId>>,
    /// What could not be taken back when somebody asked for it: it is tried again, whether or not he asks again.
    stubborn: Mutex<BTreeSet<IntentId>>,
    again_at: Mutex<Instant>,
    /// When the agent counts as gone, unless it asks for something before. After a start it is given the same time as ever.
    forsaken_at: Mutex<Instant>,
    pub counts: Counts,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Whoever asked, as far as a step has to know.
pub(super) struct Asker<'a> {
    pub gone: &'a dyn Fn() -> bool,
}

impl Desk {
    /// # Errors
    /// When the host's root cannot be opened.
    pub fn new(mut settings: Settings, ledger: Ledger, host: Arc<dyn ReadHost>) -> std::io::Result<Self> {
        if settings.dry_run {
            settings.policies.values_mut().for_each(|p| p.mode = Mode::Observe);
        }
        use rustix::fs::{Mode as Bits, OFlags};
        let root = rustix::fs::open(&settings.root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Bits::empty())?;
        Ok(Self {
            settings,
            root,
            started: host.now(),
            host,
            parking: Arc::default(),
            ledger: Mutex::new(ledger),
            busy: Mutex::new(None),
            stubborn: Mutex::default(),
            again_at: Mutex::new(Instant::now()),
            forsaken_at: Mutex::new(Instant::now() + SILENCE),
            counts: Counts::default(),
        })
    }

    pub fn agent_uid(&self) -> u32 {
        self.settings.agent_uid
    }

    pub fn answer(&self, request: Request, asker: &Asker<'_>) -> Response {
        if request.version != VERSION {
            count(&self.counts.malformed);
            return Response::Malformed { why: format!("protocol version {}, this actuator speaks {VERSION}", request.version) };
        }
        self.forsaken_at(Instant::now() + SILENCE);
        if let Some(long) = names(&request.ask).into_iter().find(|name| name.len() > LONGEST_NAME) {
            count(&self.counts.malformed);
            return Response::Malformed { why: format!("a name of {} bytes; at most {LONGEST_NAME} are taken", long.len()) };
        }
        match request.ask {
            Ask::Hello => Response::Hello(self.hello()),
            Ask::Soon { units } => {
                self.know(units);
                Response::Hello(self.hello())
            }
            Ask::Outcome { intent } => Response::Outcome(self.ledger().outcome(&intent)),
            Ask::Look { query } => Response::Answer(self.look(&query)),
            Ask::Perform(perform) => self.perform(&perform, asker),
            Ask::Undo { intent } => self.undo(&intent, UNDO, asker),
        }
    }

    /// Has systemd asked about them, in a thread that is there for such calls: whoever said hello does not wait for it. While the one before goes
    /// on there is no other.
    fn know(&self, mut units: Vec<String>) {
        units.retain(|name| name.ends_with(".service") && name.len() <= LONGEST_NAME);
        units.truncate(MOST_SOON);
        let host = Arc::clone(&self.host);
        let known = self.parking.ask_all(vec![Call::new("units", move || host.know_units(&units))], Duration::ZERO);
        drop(known);
    }

    fn hello(&self) -> Hello {
        let allowed = || self.settings.policies.iter().filter(|(_, p)| p.runbook_allowed);
        let steps: std::collections::BTreeSet<StepKind> = allowed().flat_map(|(_, p)| p.limits.steps.iter().copied()).collect();
        Hello {
            version: VERSION,
            program: format!("byteport-actuator {}", env!("CARGO_PKG_VERSION")),
            runbooks: allowed().map(|(id, _)| id.to_string()).collect(),
            mounts: allowed().flat_map(|(_, p)| p.limits.mounts.iter().map(ToString::to_string)).collect(),
            steps: steps.into_iter().collect(),
            ledger: self.ledger().health(),
            dry_run: self.settings.dry_run,
        }
    }

    fn look(&self, query: &Query) -> Observed<Answer> {
        match query {
            Query::Images => images::look(&self.settings.docker_socket, self.host.now().wall).map(Answer::Images),
            Query::Volume { mount } => volume::look(&self.settings.root, self.host.as_ref(), mount).map(Answer::Volume),
            Query::HolderUnit { pid } => holder::look(&self.settings.root, *pid).map(Answer::HolderUnit),
            Query::Writes => self.write_trials().map(Answer::Writes),
        }
    }

    /// Only where the host's owner opted in: elsewhere not even a file without a name is made. Each trial has its own deadline, because a
    /// filesystem that is frozen holds a writer for as long as it likes.
    fn write_trials(&self) -> Observed<Vec<WriteTrial>> {
        let mounts = match self.host.mounts() {
            Ok(mounts) => mounts,
            Err(e) => return Observed::unavailable(e.to_string()),
        };
        let allowed = |m: &Mount| self.settings.policies.values().any(|p| p.runbook_allowed && p.limits.mounts.contains(&m.path));
        let opted_in: Vec<Mount> = mounts.into_iter().filter(|m| m.kind == FsKind::Local && !m.read_only && allowed(m)).collect();
        let asks = opted_in.iter().map(|mount| {
            let (root, path) = (self.root.try_clone(), mount.path.clone());
            Call::new(format!("write to {path}"), move || match root {
                Ok(root) => try_write(beneath::open_dir(root.as_fd(), &path)),
                Err(e) => Observed::unavailable(e.to_string()),
            })
        });
        let answers = self.parking.ask_all(asks.collect(), TRIAL);
        let trials = answers.into_iter().zip(&opted_in).map(|(answer, mount)| WriteTrial {
            device: mount.device,
            accepted: answer.unwrap_or_else(|_| Observed::unavailable(format!("a write to {} hangs", mount.path))),
        });
        Observed::fresh(trials.collect())
    }

    fn perform(&self, asked: &Perform, asker: &Asker<'_>) -> Response {
        let Some(_busy) = self.begin_work(&asked.intent) else { return self.busy_with(&asked.intent) };
        match self.ledger().outcome(&asked.intent) {
            IntentOutcome::Unknown => {}
            IntentOutcome::Done(effect) => return Response::Effect(effect),
            IntentOutcome::Refused(refusal) => return Response::Refused(refusal),
            open_or_undone @ (IntentOutcome::Open | IntentOutcome::Undone(_)) => return Response::Outcome(open_or_undone),
        }
        match self.check_and_begin(asked) {
            Ok((step, bytes_left)) => {
                let effect = super::perform(&step, &self.scene(&asked.intent, Duration::from_secs(asked.deadline_s), bytes_left, asker));
                self.ended(asked, effect)
            }
            Err(refusal) => {
                count(&self.counts.refused);
                tracing::warn!(intent = %asked.intent, incident = %asked.incident, reason = refusal.reason.as_str(), "refused: {}", refusal.detail);
                if let Err(e) = self.ledger().refused(&asked.intent, &self.host.now(), &refusal) {
                    tracing::warn!(intent = %asked.intent, "the refusal is not in the ledger: {e}");
                }
                Response::Refused(refusal)
            }
        }
    }

    /// Everything that can be against it, and the intent made durable.
    fn check_and_begin(&self, asked: &Perform) -> Result<(guard::Admitted<crate::model::Step>, Bytes), Refusal> {
        let Some(policy) = self.settings.policies.get(&asked.runbook) else {
            return Err(Refusal::new(Why::PolicyForbids, format!("actuator.toml has no section for runbook {}", asked.runbook)));
        };
        let step = &asked.planned.step;
        let (past, now) = (self.ledger().past(), self.host.now());
        let holds = self.holds();
        let what = Asked {
            incident: &asked.incident,
            runbook: &asked.runbook,
            subject: &asked.subject,
            step,
            confidence: Confidence::new(asked.confidence),
        };
        let targets = host::targets(self.host.as_ref(), step);
        let admitted = guard::admit(what, Circumstances { policy, holds: &holds, past: &past, targets: &targets, now: &now })?;
        self.same_subject(&asked.subject)?;
        self.is_nobody_elses(asked, &past)?;
        let (files, bytes) = guard::load(step);
        let act = PastAct {
            intent: asked.intent.clone(),
            incident: asked.incident.clone(),
            runbook: asked.runbook.clone(),
            subject: asked.subject.clone(),
            kind: step.kind(),
            at: now,
            files,
            bytes,
            on: step.works_on(),
        };
        self.ledger().begin(&act).map_err(|e| Refusal::new(Why::LedgerUntrusted, e.to_string()))?;
        let spent = guard::spent(&past, &asked.incident).1;
        tracing::info!(intent = %asked.intent, incident = %asked.incident, step = step.kind().as_str(), files, bytes = bytes.0, "begins");
        Ok((admitted, Bytes(policy.limits.max_bytes.0.saturating_sub(spent.0))))
    }

    fn holds(&self) -> Holds {
        Holds {
            paused: None,
            package_manager: self.host.package_manager().into(),
            shutting_down: self.host.shutting_down().into(),
            host_view: self.host.host_view().into(),
            // Seen to by `busy`.
            another_episode: None,
            ledger: self.ledger().health().map(drop),
        }
    }

    /// Limits on one unit that belong to two incidents would be taken back in the order in which those end, and the older one's value of before
    /// is the only right one.
    fn is_nobody_elses(&self, asked: &Perform, past: &[PastAct]) -> Result<(), Refusal> {
        let (kind, on) = (asked.planned.step.kind(), asked.planned.step.works_on());
        let standing = if kind.is_standing() { self.ledger().standing() } else { Vec::new() };
        let theirs = |act: &&PastAct| act.kind == kind && act.on == on && act.incident != asked.incident && standing.contains(&act.intent);
        match past.iter().find(theirs) {
            Some(act) => Err(Refusal::new(Why::NotAvailable, format!("it stands already, for incident {}", act.incident))),
            None => Ok(()),
        }
    }

    /// The mount table says it, which answers even when the filesystem does not.
    fn same_subject(&self, subject: &Subject) -> Result<(), Refusal> {
        let stale = |why: String| Err(Refusal::new(Why::Stale, why));
        let (mount, device) = match subject {
            Subject::Filesystem { mount, device } => (mount, device),
            // What the step names was looked at already, by guard.
            Subject::Host | Subject::Unit { .. } | Subject::Process { .. } => return Ok(()),
            Subject::Disk { .. } => return stale(format!("{subject} is nothing that can be acted on")),
        };
        match self.host.mounts() {
            Err(e) => stale(format!("the mount table cannot be read: {e}")),
            Ok(mounts) => match mounts.iter().find(|m| &m.path == mount || m.also_at.contains(mount)) {
                None => stale(format!("nothing is mounted at {mount} any more")),
                Some(found) if found.device != *device => {
                    stale(format!("device {} is mounted at {mount} by now, the plan was made for {device}", found.device))
                }
                Some(_) => Ok(()),
            },
        }
    }

    fn ended(&self, asked: &Perform, mut effect: Effect) -> Response {
        count(&self.counts.performed);
        tracing::info!(
            intent = %asked.intent,
            incident = %asked.incident,
            step = asked.planned.step.kind().as_str(),
            state = ?effect.state,
            done = effect.done,
            freed = effect.freed.0,
            skipped = effect.skipped.values().sum::<u64>(),
            "ended: {}",
            effect.notes.join("; ")
        );
        if let Err(e) = self.ledger().end(&asked.intent, &effect) {
            tracing::error!(intent = %asked.intent, "the effect is not in the ledger, so the intent stays open there: {e}");
            effect.notes.push(format!("the actuator's ledger could not take this effect: {e}"));
        }
        Response::Effect(effect)
    }

    /// Takes back everything that stands, the newest first, without being asked for it, and beside what else is in hand: nobody may be there when
    /// that is done. What is in hand itself is not undone under the hands of whoever does it.
    pub fn take_back(&self, why: &str) {
        let until = Instant::now() + TAKING_BACK;
        let standing = self.ledger().standing();
        for intent in standing.iter().rev() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::error!(%intent, "still stands: there was no time left to take it back");
                continue;
            }
            if self.busy.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(intent) {
                tracing::error!(%intent, "still stands: it is being carried out");
                continue;
            }
            tracing::warn!(%intent, "is taken back: {why}");
            if let Response::Refused(refusal) = self.undo_now(intent, left, &Asker { gone: &|| false }) {
                tracing::error!(%intent, "still stands: {refusal}");
            }
        }
    }

    /// The same when the agent has been silent for so long that it must be gone. Called every few seconds.
    pub fn take_back_if_forsaken(&self, now: Instant) {
        if now < *self.forsaken_at.lock().unwrap_or_else(PoisonError::into_inner) {
            return;
        }
        self.forsaken_at(now + AGAIN);
        self.take_back("nothing was heard of the agent for ten minutes");
    }

    /// Tries again what could not be taken back, once a minute. Called every few seconds.
    pub fn take_back_stubborn(&self, now: Instant) {
        let due = {
            let mut again_at = self.again_at.lock().unwrap_or_else(PoisonError::into_inner);
            now >= *again_at && {
                *again_at = now + AGAIN;
                true
            }
        };
        let stubborn = if due { self.stubborn().clone() } else { BTreeSet::new() };
        for intent in stubborn {
            if self.ledger().standing().contains(&intent) {
                tracing::warn!(%intent, "could not be taken back before, and is tried again");
                self.undo(&intent, UNDO, &Asker { gone: &|| false });
            } else {
                self.stubborn().remove(&intent);
            }
        }
    }

    fn stubborn(&self) -> MutexGuard<'_, BTreeSet<IntentId>> {
        self.stubborn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forsaken_at(&self, at: Instant) {
        *self.forsaken_at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// A person or the end of an episode asked for it, so pauses and cooldowns do not hold it; a dry run and an untrusted ledger do.
    fn undo(&self, intent: &IntentId, limit: Duration, asker: &Asker<'_>) -> Response {
        let Some(_busy) = self.begin_work(intent) else { return self.busy_with(intent) };
        self.undo_now(intent, limit, asker)
    }

    fn undo_now(&self, intent: &IntentId, limit: Duration, asker: &Asker<'_>) -> Response {
        match self.undo_checked(intent, limit, asker) {
            Ok(response) => response,
            Err(refusal) => {
                if self.ledger().standing().contains(intent) {
                    self.stubborn().insert(intent.clone());
                }
                count(&self.counts.refused);
                tracing::warn!(%intent, reason = refusal.reason.as_str(), "undo refused: {}", refusal.detail);
                Response::Refused(refusal)
            }
        }
    }

    fn undo_checked(&self, intent: &IntentId, limit: Duration, asker: &Asker<'_>) -> Result<Response, Refusal> {
        if self.settings.dry_run {
            return Err(Refusal::new(Why::ReportOnly, "BYTEPORT_DRY_RUN=true is set for the actuator"));
        }
        if let Some(why) = self.ledger().health().why() {
            return Err(Refusal::new(Why::LedgerUntrusted, why));
        }
        let outcome = self.ledger().outcome(intent);
        let act = self.ledger().past().into_iter().find(|p| &p.intent == intent);
        let act = match (outcome, act) {
            (undone @ IntentOutcome::Undone(_), _) => return Ok(Response::Outcome(undone)),
            (IntentOutcome::Done(_) | IntentOutcome::Open, Some(act)) => act,
            _ => return Err(Refusal::new(Why::NotAvailable, format!("nothing was done under intent {intent}"))),
        };
        let notes = self.ledger().notes(intent);
        let scene = self.scene(intent, limit, Bytes(u64::MAX), asker);
        let effect = super::undo(act.kind, &notes, &scene)?;
        let mut ledger = self.ledger();
        if ledger.outcome(intent) == IntentOutcome::Open {
            // The act's own end was lost in a crash; what it left has just been looked at and taken back.
            let mut lost = effect.clone();
            (lost.state, lost.done, lost.freed) = (EffectState::Partial, act.files, act.bytes);
            lost.notes = vec!["the actuator died in this act; the figures are the planned ones".into()];
            ledger.end(intent, &lost).map_err(|e| Refusal::new(Why::LedgerUntrusted, e.to_string()))?;
        }
        if let Err(e) = ledger.undone(intent, &effect) {
            tracing::error!(%intent, "the undo is not in the ledger: {e}");
        }
        tracing::info!(%intent, done = effect.done, "undone: {}", effect.notes.join("; "));
        Ok(Response::Effect(effect))
    }

    fn scene<'a>(&'a self, intent: &'a IntentId, limit: Duration, bytes_left: Bytes, asker: &'a Asker<'a>) -> Scene<'a> {
        Scene {
            root: &self.root,
            root_path: &self.settings.root,
            docker_socket: &self.settings.docker_socket,
            host: self.host.as_ref(),
            started: &self.started,
            deadline: Instant::now() + limit.min(LONGEST),
            bytes_left: bytes_left.0,
            asker_gone: asker.gone,
            ledger: super::scene::Notes { ledger: &self.ledger, intent },
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic elsewhere cannot leave the ledger half changed: it changes its memory only after the row is written.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_work(&self, intent: &IntentId) -> Option<Busy<'_>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.is_none().then(|| {
            *busy = Some(intent.clone());
            Busy(&self.busy)
        })
    }

    /// Not written into the ledger: a moment later the answer is another one.
    fn busy_with(&self, intent: &IntentId) -> Response {
        let current = self.busy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match current {
            Some(current) if &current == intent => Response::Outcome(IntentOutcome::Open),
            other => {
                count(&self.counts.refused);
                let which = other.map_or_else(|| "another act".to_owned(), |i| i.to_string());
                Response::Refused(Refusal::new(Why::AnotherEpisode, format!("{which} is being carried out on this host; one at a time")))
            }
        }
    }
}

/// What the agent has named, of what is kept.
fn names(ask: &Ask) -> Vec<&str> {
    match ask {
        Ask::Hello | Ask::Soon { .. } | Ask::Look { .. } => Vec::new(),
        Ask::Outcome { intent } | Ask::Undo { intent } => vec![&intent.0],
        Ask::Perform(perform) => vec![&perform.intent.0, &perform.incident.0, &perform.runbook.0],
    }
}

/// Free again however the work ends.
struct Busy<'a>(&'a Mutex<Option<IntentId>>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
