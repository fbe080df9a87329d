//! The tokio shell around the loop: samples come in, signals are routed, episodes run, configuration is reloaded.
//! It holds no policy: what to do is said by [`super::episode`], whether it may be done by `guard`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::dialogue::{Command, Event, Timing};
use super::episode::Episode;
use super::sampling::{OnScrape, Places, Sampled};
use super::shared::{Shared, lock};
use super::{http, local, recovery, sampling, soon, tasks, uplink};
use crate::act::client::Client;
use crate::detect::{Detector, History, Timeline};
use crate::guard::{self, PastAct};
use crate::host::{Clock, LiveHost, ReadHost, stay_resident};
use crate::metrics::{Format, Own};
use crate::model::{BootId, IncidentId, Now, RunbookId, Signal, Subject};
use crate::record::{self, Store, carried, carry};
use crate::route::{Routed, Router};
use crate::runbooks::{self, Watch};
use crate::sense::{Sampler, Want};
use crate::serve::{self, Web};
use crate::wire::collector::Leaving;
use crate::{config, events};

/// Why the agent did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))]
    Config(Vec<config::Problem>),
    #[error("the host cannot be read: {0}")]
    Host(#[from] crate::host::ReadError),
    #[error("the record cannot be opened: {0}")]
    Record(#[from] crate::record::RecordError),
    #[error("{0}")]
    Web(String),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
}

/// Signals that stay raised get another episode after this: what was refused then may be allowed by now.
const LOOK_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// For systemd to say whether the whole host stops.
const GOES_DOWN: Duration = Duration::from_secs(1);

/// For taking back what stands before the agent stops.
const TAKE_BACK: Duration = Duration::from_secs(10);

/// Between two looks at what is near and changes rarely: the actuator, the state folder.
const GREET_EVERY_S: f64 = 30.0;

/// One full sample, as the exposition would show it.
///
/// # Errors
/// When the configuration or the host cannot be read.
pub fn once(config_path: &Path, root: &Path) -> Result<String, DriverError> {
    let loaded = load(config_path)?;
    let host = LiveHost::new(root, None, loaded.config.node_url.clone())?.counting_requests(&loaded.config.request_metrics);
    let host: Arc<dyn ReadHost> = Arc::new(host);
    let mut sampler = Sampler::new(host, loaded.config.sample_interval.0);
    let sample = sampler.sample(Want::Everything);
    let metrics = crate::metrics::Metrics::new(env!("CARGO_PKG_VERSION"));
    let own = Own {
        raised: &[],
        sources: &sampler.sources(),
        stretch: 1.0,
        cooldowns: 0,
        psi_mode: "polling",
        state_bytes: 0,
        kernel_log: sample.readings.kernel_log.value(),
        journal: None,
        acting: loaded.config.is_acting(),
        collector: None,
    };
    metrics.sample(&sample, &own, loaded.config.node_metrics);
    Ok(String::from_utf8_lossy(metrics.page().plain(Format::Text)).into_owned())
}

/// A person accepts that what was done before is not known any more: caps and cooldowns begin anew.
///
/// # Errors
/// When the record cannot be opened (a running agent has it) or written.
pub fn trust_new_record(config_path: &Path) -> Result<(), DriverError> {
    let config = load(config_path)?.config;
    let host = LiveHost::new(Path::new("/"), None, None)?;
    let now = host.now();
    let (mut store, _) = Store::open(&config.state_dir, &now)?;
    Ok(store.trust(&crate::host::user_name(rustix::process::getuid().as_raw()), &now)?)
}

fn environment(key: &str) -> Option<String> {
    std::env::var_os(key).map(|value| value.to_string_lossy().into_owned())
}

fn load(path: &Path) -> Result<config::Loaded<config::Agent>, DriverError> {
    config::load_agent(path, &environment).map_err(DriverError::Config)
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start: bad configuration, no state folder, a socket that is taken.
pub async fn run(config_path: &Path, root: &Path, on_scrape: OnScrape) -> Result<(), DriverError> {
    let loaded = load(config_path)?;
    let config = Arc::new(loaded.config.clone());
    events::init_log(config.log_level);
    for note in &loaded.notes {
        tracing::warn!("configuration: {note}");
    }
    stay_resident().unwrap_or_else(|e| tracing::warn!("{e}"));
    let client = Client::new(&config.actuator_socket);
    let host = LiveHost::new(root, Some(Arc::new(client.clone())), config.node_url.clone())?.counting_requests(&config.request_metrics);
    let (store, report) = Store::open(&config.state_dir, &host.now())?;
    let host: Arc<dyn ReadHost> =
        Arc::new(host.trying_writes_in(&config.state_dir)?.with_deploy_markers(&record::deploys(&config.state_dir)));
    if let Some((kept, why)) = &report.set_aside {
        tracing::error!("the record was damaged ({why}); it is kept as {}", kept.display());
    }
    if let Some(why) = &report.untrusted {
        tracing::error!("nothing will be done to this host: {why}");
    }
    let shared = Arc::new(Shared::new(host.clone(), client, loaded, store));

    let io = |what: &str| {
        let what = what.to_owned();
        move |source| DriverError::Io { what, source }
    };
    let web = config.web_config_file.as_deref().map(Web::open).transpose().map_err(DriverError::Web)?.map(Arc::new);
    let tcp = tokio::net::TcpListener::bind(config.listen).await.map_err(io(&format!("cannot listen on {}", config.listen)))?;
    let unix = local::bind(&config.socket).map_err(io(&format!("cannot listen on {}", config.socket.display())))?;
    tokio::spawn(serve::serve(tcp, http::router(shared.clone(), web.clone()), web));
    tokio::spawn(local::serve(unix, shared.clone()));
    let uplink = uplink::start(&shared);

    let boot = host.now().boot;
    if let Some(before) = carried::<Carried>(&config.state_dir) {
        *lock(&shared.places) = Places { kernel: before.places.kernel.filter(|_| before.boot == boot), ..before.places };
        if before.boot == boot {
            *lock(&shared.history) = before.history;
            *lock(&shared.timeline) = before.timeline;
        }
    }
    let places = lock(&shared.places).clone();
    let mut samples = sampling::start(&shared, root, places, on_scrape).map_err(io("the sampler cannot be started"))?;
    let mut watch = config::Watch::new(config_path).map_err(io("the configuration cannot be watched"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(io("SIGHUP"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(io("SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io("SIGINT"))?;

    let mut engine = Driver {
        shared: shared.clone(),
        watches: watches(&shared.config()),
        detector: Detector::sampling_every(config.sample_interval.0),
        router: Router::default(),
        state_bytes: 0,
        past: Vec::new(),
        holding: 0,
        greeted: Now { uptime_s: f64::NEG_INFINITY, ..shared.started.clone() },
        looked_again: shared.started.clone(),
        episodes: BTreeMap::new(),
        tasks: tokio::task::JoinSet::new(),
    };
    engine.take_up_open_incidents();
    tracing::info!(
        BYTEPORT_VERSION = env!("CARGO_PKG_VERSION"),
        "started: sampling every {}, metrics on {}, byteportctl on {}",
        config.sample_interval,
        config.listen,
        config.socket.display()
    );
    tasks::ready();

    loop {
        tokio::select! {
            sample = samples.recv() => match sample {
                Some(sample) => engine.on_sample(sample),
                None => return Err(DriverError::Io { what: "the sampler ended".into(), source: std::io::Error::other("its thread is gone") }),
            },
            _ = hangup.recv() => engine.reload(),
            Some(()) = watch.changes.recv() => engine.reload(),
            Some(finished) = engine.tasks.join_next() => engine.finished(finished),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    // Episodes are cut where they stand: what is open in the record is taken up by the next start, as after a crash.
    tasks::stopping();
    engine.tasks.abort_all();
    let holding = shared.clone();
    let let_go = tokio::task::spawn_blocking(move || recovery::take_back_all(&holding, TAKE_BACK));
    // The actuator may hang; systemd's patience with us is not longer.
    if tokio::time::timeout(TAKE_BACK + Duration::from_secs(2), let_go).await.is_err() {
        tracing::warn!("not everything that stands was taken back in time; the next start goes on");
    }
    let goes_down = tokio::task::spawn_blocking(move || host.shutting_down().unwrap_or(false));
    // Only for the collector's log: where systemd does not say it at once, it stops.
    let goes_down = matches!(tokio::time::timeout(GOES_DOWN, goes_down).await, Ok(Ok(true)));
    uplink.leave(if goes_down { Leaving::HostGoesDown } else { Leaving::Stopped }).await;
    tracing::info!("stopping; {} open episodes are taken up again at the next start", engine.episodes.len());
    let carrying = Carried {
        boot,
        history: lock(&shared.history).clone(),
        timeline: lock(&shared.timeline).clone(),
        places: lock(&shared.places).clone(),
    };
    if let Err(e) = carry(&config.state_dir, &carrying) {
        tracing::warn!("what was seen so far is not there after the restart: {e}");
    }
    drop(std::fs::remove_file(&config.socket));
    Ok(())
}

/// What one run hands on to the next of the same boot, so that forecasts do not begin anew.
#[derive(Debug, Serialize, Deserialize)]
struct Carried {
    boot: BootId,
    history: History,
    timeline: Timeline,
    places: Places,
}

type Key = (RunbookId, Subject);

fn watches(config: &config::Agent) -> Vec<Watch> {
    let watch = |entry: &runbooks::Entry| {
        // The configuration has a resolved section for every runbook of the registry.
        let params = config.params.get(&entry.id)?;
        (entry.watch)(params).inspect_err(|e| tracing::error!("runbook {}: its parameters cannot be read: {e}", entry.id)).ok()
    };
    runbooks::ALL.iter().filter_map(watch).collect()
}

struct Driver {
    shared: Arc<Shared>,
    /// Every runbook's, with the parameters of the configuration that applies.
    watches: Vec<Watch>,
    detector: Detector,
    router: Router,
    /// When the actuator was last asked whether it is there, and the state folder how large it is.
    greeted: Now,
    state_bytes: u64,
    /// What was done, as of the last time that the record could be asked without waiting.
    past: Vec<PastAct>,
    /// Pauses and maintenance windows that kept the hands still when that was last looked at.
    holding: usize,
    /// When signals that stay raised were last looked at again.
    looked_again: Now,
    /// Running episodes, and where to tell them of signals.
    episodes: BTreeMap<Key, mpsc::UnboundedSender<Event>>,
    /// Each gives the signals that it knew of at its end.
    tasks: tokio::task::JoinSet<(Key, Vec<Signal>)>,
}

impl Driver {
    fn note_record(&mut self, store: &Store, size_too: bool) {
        if size_too {
            self.state_bytes = store.state_bytes();
        }
        self.past = store.past_acts();
        self.shared.uplink.note(store);
        // A pause that ends, and a maintenance window, call nobody: what they kept from being done is looked at now, whatever else is still held.
        let now = self.shared.host.now();
        let holding = store.pauses(&now).len() + usize::from(self.shared.config().in_maintenance(now.wall).is_some());
        if holding < std::mem::replace(&mut self.holding, holding) {
            self.shared.look_again();
        }
    }

    fn on_sample(&mut self, sampled: Sampled) {
        let Sampled { sample, sources, stretch } = sampled;
        let now = sample.at.clone();
        // Who asked before this sample was begun is answered by it; who asks from now on is not.
        let answered = std::mem::take(&mut *lock(&self.shared.scrapes));
        lock(&self.shared.timeline).push(&sample);
        let mut conditions = Vec::new();
        {
            let mut history = lock(&self.shared.history);
            history.push(&sample);
            for watch in &self.watches {
                conditions.extend(watch(&sample, &history));
            }
        }
        let greets = now.steady_since(&self.greeted).is_none_or(|s| s >= GREET_EVERY_S);
        let changes = self.detector.update(conditions, &now);
        let raised: Vec<_> = self.detector.raised().cloned().collect();
        let mut routed = self.router.route(changes, &sample);
        // Somebody may be waiting for the disk with the record in hand: figures of before will do, samples and the watchdog do not wait.
        let shared = Arc::clone(&self.shared);
        match shared.store.try_lock() {
            Ok(store) => self.note_record(&store, greets),
            Err(TryLockError::Poisoned(store)) => self.note_record(&store.into_inner(), greets),
            Err(TryLockError::WouldBlock) => {}
        }
        {
            let collector = self.shared.uplink.link();
            let mut seen = lock(&self.shared.seen);
            let own = Own {
                raised: &raised,
                sources: &sources,
                stretch,
                cooldowns: guard::cooling(&self.past, |runbook| self.shared.policy(runbook).limits.cooldown, &now),
                psi_mode: self.shared.psi_mode(),
                state_bytes: self.state_bytes,
                kernel_log: sample.readings.kernel_log.value(),
                journal: sample.readings.journal.value(),
                acting: self.shared.config().is_acting(),
                collector: collector.as_ref(),
            };
            self.shared.metrics.sample(&sample, &own, self.shared.config().node_metrics);
            seen.take(Arc::clone(&sample));
            seen.raised = raised;
        }
        for scrape in answered {
            // A scraper that went away needs no page.
            let _gone = scrape.send(());
        }
        if greets {
            self.greeted = now.clone();
            let shared = self.shared.clone();
            let soon = soon::units(&shared.config().policies, sample.readings.cgroups.value());
            // Blocking, and bounded by the client; what it answers is for `status` and metrics.
            tokio::task::spawn_blocking(move || if soon.is_empty() { shared.ask_hello() } else { shared.ask_hello_soon(soon) });
        }
        if self.shared.take_look_again() || now.proven_since(&self.looked_again).0 >= LOOK_AGAIN.as_secs_f64() {
            self.looked_again = now.clone();
            routed.extend(self.router.afresh());
        }
        for step in routed {
            self.follow(step, &now);
        }
        tasks::alive();
    }

    fn follow(&mut self, routed: Routed, now: &Now) {
        match routed {
            Routed::Open { runbook, subject, signals } => {
                let Some(entry) = runbooks::find(&runbook) else { return };
                let id = IncidentId::new(&runbook, now.wall, crate::host::random_u16());
                let episode = Episode::new(id, entry, subject.clone(), signals, self.shared.params(&runbook), Timing::default());
                self.start((runbook, subject), episode, None);
            }
            Routed::Signals { runbook, subject, signals } => {
                // An episode that has just ended no longer listens: the router hears of its end, and of what it did not know.
                if let Some(episode) = self.episodes.get(&(runbook, subject)) {
                    drop(episode.send(Event::Signals(signals)));
                }
            }
            Routed::Unanswered(signal) => tracing::warn!("{} on {}: no runbook answers it: {}", signal.kind, signal.subject, signal.detail),
        }
    }

    fn start(&mut self, key: Key, episode: Episode, first: Option<Vec<Command>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.episodes.insert(key.clone(), sender);
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            let answered = tasks::run_episode(shared, episode, receiver, first).await;
            (key, answered)
        });
    }

    fn finished(&mut self, finished: Result<(Key, Vec<Signal>), tokio::task::JoinError>) {
        match finished {
            Ok((key, answered)) => {
                self.episodes.remove(&key);
                for again in self.router.closed(&key.0, &key.1, &answered) {
                    self.follow(again, &self.shared.host.now());
                }
            }
            Err(e) => {
                tracing::error!("an episode ended by a defect: {e}");
                // Which one it was is not told: those that no longer listen are over.
                let dead: Vec<Key> = self.episodes.iter().filter(|(_, sender)| sender.is_closed()).map(|(key, _)| key.clone()).collect();
                for key in dead {
                    self.episodes.remove(&key);
                    self.router.lost(&key.0, &key.1);
                }
            }
        }
    }

    fn take_up_open_incidents(&mut self) {
        for cut in recovery::open_episodes(&self.shared, Timing::default()) {
            let key = (cut.episode.runbook().clone(), cut.episode.subject.clone());
            self.router.opened(key.0.clone(), key.1.clone(), Vec::new());
            self.start(key, cut.episode, Some(cut.commands));
        }
    }

    fn reload(&mut self) {
        let mut loaded = lock(&self.shared.loaded);
        match loaded.reload(&environment) {
            Ok(()) => {
                *self.shared.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded.config.clone());
                self.watches = watches(&loaded.config);
                self.detector.keep_to(loaded.config.sample_interval.0);
                *lock(&self.shared.refused_config) = None;
                self.shared.look_again();
                tracing::info!("configuration reloaded");
            }
            Err(problems) => {
                let why = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n");
                events::config_refused(&why);
                *lock(&self.shared.refused_config) = Some(why);
            }
        }
    }
}
