//! What the driver's tasks have in common, and the few steps they all take.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::sampling::{Alarm, OnScrape, Places};
use crate::act::client::{Client, ClientError};
use crate::config;
use crate::detect::{History, Timeline};
use crate::events;
use crate::guard::{Holds, Mode, Policy};
use crate::host::ReadHost;
use crate::metrics::Metrics;
use crate::model::{Body, CpuStat, Entry, IncidentId, IntentId, Now, Observed, Refusal, RefusalReason, RunbookId, Sample, Signal, Subject};
use crate::record::Store;
use crate::runbooks;
use crate::uplink::Board;
use crate::wire::actuator::Hello;

/// Entries that could not be written yet; beyond it the oldest notes are lost, never an intent (those refuse the act instead).
const PENDING: usize = 256;
/// Longer than a write takes on a slow disk, shorter than anybody's patience.
const FOR_THE_RECORD: Duration = Duration::from_secs(2);

pub(super) struct Shared {
    pub host: Arc<dyn ReadHost>,
    pub client: Client,
    pub config: RwLock<Arc<config::Agent>>,
    pub loaded: Mutex<config::Loaded<config::Agent>>,
    pub refused_config: Mutex<Option<String>>,
    pub store: Mutex<Store>,
    pending: Mutex<VecDeque<(IncidentId, Now, Body)>>,
    pub history: Mutex<History>,
    pub timeline: Mutex<Timeline>,
    /// Where the listening has got to.
    pub places: Mutex<Places>,
    pub alarm: OnceLock<Arc<Alarm>>,
    /// Why pressure is only polled; `None`: the kernel tells.
    pub without_triggers: OnceLock<Option<String>>,
    /// How memory stalls are noticed else; `None`: the kernel tells of them at once.
    pub without_stall_trigger: OnceLock<Option<String>>,
    pub on_scrape: OnceLock<OnScrape>,
    /// Scrapes that wait for a sample of their own.
    pub scrapes: Mutex<Vec<oneshot::Sender<()>>>,
    pub seen: Mutex<Seen>,
    turn: Mutex<Turn>,
    look_again: AtomicBool,
    /// What a person has taken back of open incidents, until their episodes know of it.
    taken_back: Mutex<BTreeMap<IncidentId, Vec<IntentId>>>,
    pub hello: Mutex<Observed<Hello>>,
    pub metrics: Metrics,
    /// How it stands with the collector.
    pub uplink: Arc<Board>,
    pub started: Now,
}

/// The newest sample and what follows from it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub sample: Option<Arc<Sample>>,
    /// The CPU counters before those of `sample`: shares need two readings.
    pub cpu_before: Option<CpuStat>,
    pub raised: Vec<Signal>,
    pub stuck: BTreeMap<String, f64>,
}

/// Who acts now, and which critical episodes wait to.
#[derive(Debug, Default)]
struct Turn {
    holder: Option<IncidentId>,
    critical: Vec<IncidentId>,
}

impl Seen {
    /// Takes the newest sample over. CPU counters that were not read anew are no second reading.
    pub fn take(&mut self, sample: Arc<Sample>) {
        let before = self.sample.take().and_then(|s| s.readings.cpu.value().cloned());
        if before.is_some() && before.as_ref() != sample.readings.cpu.value() {
            self.cpu_before = before;
        }
        self.sample = Some(sample);
    }
}

/// A lock whose holder panicked still guards plain data that is whole after every statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(host: Arc<dyn ReadHost>, client: Client, loaded: config::Loaded<config::Agent>, store: Store) -> Self {
        let started = host.now();
        Self {
            host,
            client,
            config: RwLock::new(Arc::new(loaded.config.clone())),
            loaded: Mutex::new(loaded),
            refused_config: Mutex::new(None),
            store: Mutex::new(store),
            pending: Mutex::new(VecDeque::new()),
            history: Mutex::default(),
            timeline: Mutex::default(),
            places: Mutex::default(),
            alarm: OnceLock::new(),
            without_triggers: OnceLock::new(),
            without_stall_trigger: OnceLock::new(),
            on_scrape: OnceLock::new(),
            scrapes: Mutex::default(),
            seen: Mutex::new(Seen::default()),
            turn: Mutex::new(Turn::default()),
            look_again: AtomicBool::new(false),
            taken_back: Mutex::default(),
            hello: Mutex::new(Observed::unavailable("the actuator has not been asked yet")),
            metrics: Metrics::new(env!("CARGO_PKG_VERSION")),
            uplink: Arc::default(),
            started,
        }
    }

    pub fn config(&self) -> Arc<config::Agent> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The record, to look something up in it. Whoever writes to it may be waiting for the disk: that is no reason to keep a person waiting
    /// who asks what is wrong with this host.
    ///
    /// # Errors
    /// In words, when it was not to be had within [`FOR_THE_RECORD`].
    pub fn read_record(&self) -> Result<MutexGuard<'_, Store>, String> {
        let begun = Instant::now();
        loop {
            match self.store.try_lock() {
                Ok(store) => return Ok(store),
                Err(TryLockError::Poisoned(store)) => return Ok(store.into_inner()),
                Err(TryLockError::WouldBlock) if begun.elapsed() < FOR_THE_RECORD => std::thread::sleep(Duration::from_millis(20)),
                Err(TryLockError::WouldBlock) => {
                    return Err(format!("somebody has been writing to the record for {FOR_THE_RECORD:?} and more: its disk may hang"));
                }
            }
        }
    }

    /// Appends durably, logs and counts. What cannot be written now is kept in memory and written before the next entry,
    /// unless it is an intent: an act that cannot be recorded is not done, so its intent must not appear later either.
    pub fn append(&self, incident: &IncidentId, runbook: &RunbookId, body: Body) -> Result<(), String> {
        self.append_all(incident, runbook, vec![(self.host.now(), body)])
    }

    /// The same for several of one incident, all or none, at the cost of one.
    pub fn append_all(&self, incident: &IncidentId, runbook: &RunbookId, entries: Vec<(Now, Body)>) -> Result<(), String> {
        let mut pending = lock(&self.pending);
        let mut store = lock(&self.store);
        let written = (|| {
            while let Some((incident, at, body)) = pending.front() {
                match store.append(incident, at, body) {
                    // What it builds on was lost, as the oldest of too many are: it must not keep the others from being written for ever.
                    Err(e) if e.is_for_good() => {
                        tracing::error!(BYTEPORT_INCIDENT = incident.0.as_str(), "an entry that waited for the record is dropped: {e}");
                    }
                    other => drop(other?),
                }
                pending.pop_front();
            }
            store.append_all(incident, &entries.iter().map(|(at, body)| (at, body)).collect::<Vec<_>>())
        })();
        drop(store);
        let emit = |seq, at, body| events::emit(&Entry { seq, incident: incident.clone(), at, body }, &runbook.0, &self.metrics);
        match written {
            Ok(first) => {
                drop(pending);
                self.uplink.appended();
                (first..).zip(entries).for_each(|(seq, (at, body))| emit(seq, at, body));
                Ok(())
            }
            Err(e) => {
                let why = format!("the record cannot be written: {e}");
                tracing::error!(BYTEPORT_INCIDENT = incident.0.as_str(), "{why}");
                for (at, body) in entries.into_iter().filter(|(_, body)| !matches!(body, Body::Intent { .. })) {
                    if pending.len() == PENDING {
                        pending.pop_front();
                    }
                    pending.push_back((incident.clone(), at.clone(), body.clone()));
                    emit(0, at, body);
                }
                Err(why)
            }
        }
    }

    /// Where every scrape has a sample of its own, waits for it.
    pub async fn sample_for_scrape(&self) {
        if let (Some(OnScrape::Host | OnScrape::Processes), Some(alarm)) = (self.on_scrape.get(), self.alarm.get()) {
            let (told, tells) = oneshot::channel();
            lock(&self.scrapes).push(told);
            alarm.call();
            // A sampler that is gone ends the agent; the scrape is given the page of before.
            let _gone = tells.await;
        }
    }

    /// A person has taken this back; its episode is told when it looks next.
    pub fn taken_back(&self, incident: &IncidentId, intent: &IntentId) {
        lock(&self.taken_back).entry(incident.clone()).or_default().push(intent.clone());
    }

    /// What a person has taken back of this incident since the last time.
    pub fn take_taken_back(&self, incident: &IncidentId) -> Vec<IntentId> {
        lock(&self.taken_back).remove(incident).unwrap_or_default()
    }

    /// `triggers` or `polling`.
    pub fn psi_mode(&self) -> &'static str {
        if matches!(self.without_triggers.get(), Some(None)) { "triggers" } else { "polling" }
    }

    /// The policy as the agent's own configuration has it.
    pub fn policy(&self, runbook: &RunbookId) -> Policy {
        let config = self.config();
        config.policies.get(runbook).cloned().unwrap_or_else(|| Policy {
            mode: Mode::Observe,
            runbook_allowed: false,
            limits: crate::guard::Limits::default(),
        })
    }

    pub fn params(&self, runbook: &RunbookId) -> serde_json::Value {
        self.config().params.get(runbook).cloned().unwrap_or_else(|| serde_json::json!({}))
    }

    /// Everything that keeps the hands still in this moment.
    pub fn holds(&self, runbook: &RunbookId, another_episode: Option<IncidentId>) -> Holds {
        let now = self.host.now();
        let store = lock(&self.store);
        let pause =
            store.pauses(&now).into_iter().find(|p| p.runbook.as_ref().is_none_or(|r| r == runbook)).map(|p| format!("paused by {}", p.by));
        let ledger = store.health().map(|_| ());
        drop(store);
        let window = self.config().in_maintenance(now.wall);
        Holds {
            paused: pause.or(window),
            package_manager: self.host.package_manager().into(),
            shutting_down: self.host.shutting_down().into(),
            host_view: self.host.host_view().into(),
            another_episode,
            ledger,
        }
    }

    /// Takes the acting turn for an episode. Who has it else is the answer when it is not free; a waiting critical episode counts
    /// as having it for everybody who is not critical.
    pub fn take_turn(&self, id: &IncidentId, critical: bool) -> Option<IncidentId> {
        let mut turn = lock(&self.turn);
        if critical && !turn.critical.contains(id) {
            turn.critical.push(id.clone());
        }
        let first = if critical { None } else { turn.critical.first().cloned() };
        match turn.holder.clone().filter(|holder| holder != id).or(first) {
            Some(other) => Some(other),
            None => {
                turn.holder = Some(id.clone());
                None
            }
        }
    }

    pub fn release_turn(&self, id: &IncidentId) {
        let mut turn = lock(&self.turn);
        turn.critical.retain(|c| c != id);
        if turn.holder.as_ref() == Some(id) {
            turn.holder = None;
        }
    }

    /// Asks the actuator who it is; blocking.
    pub fn ask_hello(&self) -> Observed<Hello> {
        self.note_hello(self.client.hello())
    }

    /// The same, and has these units known on both sides by the time that something is asked of them; blocking.
    pub fn ask_hello_soon(&self, units: Vec<String>) -> Observed<Hello> {
        let hello = self.note_hello(self.client.hello_soon(units.clone()));
        self.host.know_units(&units);
        hello
    }

    fn note_hello(&self, hello: Result<Hello, ClientError>) -> Observed<Hello> {
        let hello = Observed::from(hello);
        self.metrics.actuator_up(hello.value().is_some());
        lock(&self.hello).clone_from(&hello);
        hello
    }

    /// Why a step that guard admits would still not be done: there is nobody to do it.
    pub fn no_hands(&self) -> Option<Refusal> {
        let hello = self.ask_hello();
        hello
            .why()
            .map(|why| Refusal::new(RefusalReason::NoActuator, format!("{why}. Enable it with: systemctl enable --now byteport-actuator")))
    }

    /// What kept an episode from acting may be gone: subjects whose signals are still raised get another look.
    pub fn look_again(&self) {
        self.look_again.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked for another look since the last call.
    pub fn take_look_again(&self) -> bool {
        self.look_again.swap(false, Ordering::Relaxed)
    }

    /// All raised signals of a subject.
    pub fn raised_for(&self, subject: &Subject, runbook: &RunbookId) -> Vec<Signal> {
        lock(&self.seen)
            .raised
            .iter()
            .filter(|s| &s.subject == subject && runbooks::for_signal(&s.kind.0).is_some_and(|e| &e.id == runbook))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::host::LiveHost;
    use crate::model::{IntentId, StepKind};

    const DISK: RunbookId = RunbookId::new("disk");

    fn shared(dir: &Path) -> Shared {
        let config = dir.join("agent.toml");
        std::fs::write(&config, "").unwrap();
        let host: Arc<dyn ReadHost> = Arc::new(LiveHost::new(Path::new("/"), None, None).unwrap());
        let (store, _) = Store::open(&dir.join("state"), &host.now()).unwrap();
        Shared::new(host, Client::new(dir.join("nobody.sock")), config::load_agent(&config, &|_| None).unwrap(), store)
    }

    fn opened() -> Body {
        Body::Opened { runbook: DISK, subject: Subject::Host, signals: Vec::new() }
    }

    fn note(text: &str) -> Body {
        Body::Note { text: text.to_owned() }
    }

    fn intent(incident: &IncidentId) -> Body {
        let (intent, kind) = (IntentId::new(incident, 1, 1), StepKind::Tmp);
        Body::Intent { intent, round: 1, step: 1, kind, subject: Subject::Host, files: 1, bytes: 1, on: None }
    }

    /// What is left of an incident whose beginning was the oldest entry that waited, and one too many.
    #[test]
    fn what_can_never_be_written_does_not_keep_the_others_from_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path());
        let (lost, whole) = (IncidentId("disk-lost".into()), IncidentId("disk-whole".into()));
        shared.append(&whole, &DISK, opened()).unwrap();
        let now = shared.host.now();
        let waits = [(&lost, note("of nothing")), (&whole, opened()), (&whole, note("waited"))];
        lock(&shared.pending).extend(waits.map(|(incident, body)| (incident.clone(), now.clone(), body)));
        let act = intent(&whole);
        shared.append(&whole, &DISK, act.clone()).unwrap();
        let written: Vec<Body> = lock(&shared.store).entries(&whole).unwrap().into_iter().map(|entry| entry.body).collect();
        assert_eq!(written, [opened(), note("waited"), act]);
        assert!(lock(&shared.pending).is_empty());

        // What comes of it later is written nowhere, and keeps nobody waiting either.
        assert!(shared.append(&lost, &DISK, note("more of nothing")).is_err());
        assert!(shared.append(&lost, &DISK, intent(&lost)).is_err(), "an act of which nothing is known is not done");
        shared.append(&whole, &DISK, note("goes on")).unwrap();
        assert!(lock(&shared.pending).is_empty());
    }

    #[test]
    fn what_a_full_disk_refuses_is_written_later() {
        let file = std::path::PathBuf::from("record.db");
        assert!(!crate::record::RecordError::NoRoom { file, why: "full".into() }.is_for_good());
        assert!(crate::record::RecordError::NoIncident("disk-lost".into()).is_for_good());
    }
}
