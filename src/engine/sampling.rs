//! The sampler's thread: a sample on a clock, at once when the kernel says that tasks stall or something was told, or for each scrape where
//! that is asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::shared::{Shared, lock};
use crate::events;
use crate::host::{Wake, Waker};
use crate::model::{KernelEventKind, Sample, SourceState, Stall};
use crate::sense::{Happened, Listen, Listening, Sampler, Want};

/// Where to go on listening after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Places {
    /// The kernel's sequence number, good for one boot.
    pub kernel: Option<u64>,
    /// The journal's cursor.
    pub journal: Option<String>,
}

/// A sample and how it was come by.
#[derive(Debug)]
pub(super) struct Sampled {
    pub sample: Arc<Sample>,
    pub sources: Vec<SourceState>,
    /// By how much intervals are longer than configured.
    pub stretch: f64,
}

/// When samples are taken besides by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnScrape {
    /// A scrape is given what the clock brought.
    Nothing,
    /// One scrape, one sample of what every sample asks: for measuring.
    Host,
    /// The same with all processes.
    Processes,
}

/// Two sweeps that events ask for are at least this far apart: what stalls is not helped by being looked at without a pause.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(5);

/// What wakes the sampler, from any thread.
#[derive(Debug)]
pub(super) struct Alarm {
    waker: Waker,
    happened: AtomicBool,
}

impl Alarm {
    /// Something that is worth a sweep.
    pub fn raise(&self) {
        self.happened.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Somebody waits for a sample.
    pub fn call(&self) {
        self.waker.wake();
    }
}

/// Samples on a thread of its own: a read that hangs delays no episode and no scrape. It ends with the receiver.
///
/// # Errors
/// When the kernel gives neither the descriptor nor the thread.
pub(super) fn start(shared: &Arc<Shared>, root: &Path, places: Places, on_scrape: OnScrape) -> std::io::Result<mpsc::Receiver<Sampled>> {
    let (sender, receiver) = mpsc::channel(4);
    let mut wake = Wake::new(root)?;
    let alarm = Arc::new(Alarm { waker: wake.waker(), happened: AtomicBool::new(false) });
    // Set once: there is one sampler.
    let _first = (shared.alarm.set(Arc::clone(&alarm)).is_ok(), shared.on_scrape.set(on_scrape).is_ok());
    drop(shared.without_triggers.set(wake.without_triggers().map(str::to_owned)));
    drop(shared.without_stall_trigger.set(wake.without_stall_trigger()));
    let told = Arc::clone(&alarm);
    let listen = Listen { journal: shared.config().journal.clone(), kernel_after: places.kernel, journal_after: places.journal };
    let hearing = Mutex::new(Hearing::default());
    let listening = Listening::start(root, listen, move |happened| lock(&hearing).hear(&happened, &told))?;
    let mut sampler = Sampler::new(shared.host.clone(), shared.config().sample_interval.0).listening(listening);
    if wake.without_triggers().is_some() {
        sampler = sampler.polling_pressure();
    }
    let shared = shared.clone();
    let body = move || {
        let mut want = Want::Everything;
        let (mut swept, mut stretched) = (Instant::now(), 1.0);
        let mut begun = Instant::now();
        loop {
            // A look at memory alone, in between, delays no sample that is due.
            if !matches!(want, Want::Stall { .. }) {
                begun = Instant::now();
            }
            let config = shared.config();
            sampler.keep_to(config.sample_interval.0, config.cpu_budget_percent.0 / 100.0);
            let sample = sampler.sample(want);
            let sources = sampler.sources();
            if let Some(places) = sampler.places() {
                *lock(&shared.places) = Places { kernel: places.0, journal: places.1 };
            }
            lock(&shared.seen).stuck = sampler.stuck();
            if sampler.stretch() > 1.0 && stretched <= 1.0 {
                tracing::info!("sampling costs more than it may: its intervals are stretched, {} times at first", sampler.stretch());
            }
            stretched = sampler.stretch();
            if sender.blocking_send(Sampled { sample, sources, stretch: sampler.stretch() }).is_err() {
                return;
            }
            let next = pause(&mut wake, &alarm, begun, sampler.pause_s(), &mut swept, on_scrape);
            want = next.0;
            if let Some(stall) = next.1 {
                sampler.told_of(stall);
            }
        }
    };
    std::thread::Builder::new().name("sampler".into()).spawn(body)?;
    Ok(receiver)
}

/// Waits for the next sample, and says what it is to ask, and of which memory stall it is to tell.
fn pause(wake: &mut Wake, alarm: &Alarm, begun: Instant, pause_s: f64, swept: &mut Instant, on_scrape: OnScrape) -> (Want, Option<Stall>) {
    let until = begun + Duration::from_secs_f64(pause_s.clamp(0.05, 86_400.0));
    // Something happened that is worth a sweep, too soon after the last one.
    let mut owed = alarm.happened.swap(false, Ordering::Relaxed);
    loop {
        // By the clock as well, a scrape more or less, unless scrapes are all there is.
        let left = match on_scrape {
            OnScrape::Nothing if owed => (*swept + BETWEEN_SWEEPS).min(until).saturating_duration_since(Instant::now()),
            OnScrape::Nothing => until.saturating_duration_since(Instant::now()),
            OnScrape::Host | OnScrape::Processes => Duration::from_secs(3600),
        };
        let woken = wake.wait(left);
        match on_scrape {
            OnScrape::Nothing => {}
            OnScrape::Host if woken.called => return (Want::Host, None),
            OnScrape::Processes if woken.called => return (Want::Processes, None),
            OnScrape::Host | OnScrape::Processes => continue,
        }
        let happened = woken.pressure || alarm.happened.swap(false, Ordering::Relaxed);
        owed |= happened;
        let may_sweep = swept.elapsed() >= BETWEEN_SWEEPS;
        if let Some(stall) = woken.stall {
            // Nothing is waited for; what is owed besides is owed beyond this look.
            alarm.happened.store(owed, Ordering::Relaxed);
            if may_sweep {
                *swept = Instant::now();
            }
            return (Want::Stall { sweep: may_sweep }, Some(stall));
        }
        if owed && may_sweep {
            *swept = Instant::now();
            return (Want::Sweep, None);
        }
        if until.saturating_duration_since(Instant::now()).is_zero() {
            // It is owed beyond this sample.
            alarm.happened.store(owed, Ordering::Relaxed);
            return (Want::Due, None);
        }
        if happened {
            // Told too soon after the last sweep: the trigger stays silent for its window, a storm of events does not.
            std::thread::sleep(Duration::from_millis(200).min(until.saturating_duration_since(Instant::now())));
        }
    }
}

/// Between two events of one kind of the kernel's that are logged: a storm is counted, not written down.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// What was told, and when each kind was last logged.
#[derive(Debug, Default)]
struct Hearing {
    kinds: BTreeMap<KernelEventKind, (Instant, u64)>,
}

impl Hearing {
    /// Runs where the host is listened to, so it only says it and goes on.
    fn hear(&mut self, happened: &Happened, alarm: &Alarm) {
        match happened {
            Happened::Kernel(event) => {
                if let Some(more) = self.is_logged(event.kind, Instant::now()) {
                    events::kernel(event, more);
                }
            }
            Happened::UnitFailed(unit) => events::unit_failed(unit),
            // Taken with the next sample; it is no reason to look at everything.
            Happened::Journal => return,
        }
        alarm.raise();
    }

    /// Whether this one is logged, and how many of its kind were not since the last one.
    fn is_logged(&mut self, kind: KernelEventKind, now: Instant) -> Option<u64> {
        match self.kinds.get_mut(&kind) {
            Some((last, more)) if now.saturating_duration_since(*last) < BETWEEN_LINES => {
                *more += 1;
                None
            }
            Some((last, more)) => {
                *last = now;
                Some(std::mem::take(more))
            }
            None => {
                self.kinds.insert(kind, (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_soon_after_a_sweep_gets_its_own_when_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let mut wake = Wake::new(dir.path()).unwrap();
        let alarm = Alarm { waker: wake.waker(), happened: AtomicBool::new(false) };
        let mut wait = |swept: &mut Instant, pause_s| pause(&mut wake, &alarm, Instant::now(), pause_s, swept, OnScrape::Nothing).0;
        let mut swept = Instant::now();
        alarm.raise();
        assert_eq!(wait(&mut swept, 0.1), Want::Due, "too soon");
        swept -= BETWEEN_SWEEPS - Duration::from_millis(500);
        assert_eq!(wait(&mut swept, 600.0), Want::Sweep);
        assert_eq!(wait(&mut swept, 0.1), Want::Due, "one is enough");
    }

    /// A pressure file of our own, which grows by a stall from look to look.
    #[test]
    fn a_stall_is_looked_at_at_once_and_what_is_owed_besides_stays_owed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/pressure")).unwrap();
        let stalled = |full_us: u64| {
            let line = |kind| format!("{kind} avg10=0.00 avg60=0.00 avg300=0.00 total={full_us}\n");
            std::fs::write(dir.path().join("proc/pressure/memory"), line("some") + &line("full")).unwrap();
        };
        stalled(0);
        let mut wake = Wake::new(dir.path()).unwrap();
        let alarm = Alarm { waker: wake.waker(), happened: AtomicBool::new(false) };
        let mut wait = |swept: &mut Instant, pause_s| pause(&mut wake, &alarm, Instant::now(), pause_s, swept, OnScrape::Nothing);
        let mut swept = Instant::now();
        stalled(200_000);
        let (want, stall) = wait(&mut swept, 60.0);
        assert_eq!((want, stall.unwrap().stalled_us), (Want::Stall { sweep: false }, 200_000), "who has the memory was looked at just now");
        std::thread::sleep(Duration::from_millis(1100));
        stalled(400_000);
        alarm.happened.store(true, Ordering::Relaxed);
        swept -= BETWEEN_SWEEPS;
        assert_eq!(wait(&mut swept, 60.0).0, Want::Stall { sweep: true });
        assert!(swept.elapsed() < BETWEEN_SWEEPS, "that was a sweep");
        assert_eq!(wait(&mut swept, 0.1), (Want::Due, None), "nothing new");
        assert!(alarm.happened.load(Ordering::Relaxed));
    }

    #[test]
    fn a_storm_is_counted_and_not_written_down() {
        let mut hearing = Hearing::default();
        let begun = Instant::now();
        let logged: Vec<u64> =
            (0..300u64).filter_map(|i| hearing.is_logged(KernelEventKind::IoError, begun + Duration::from_millis(100 * i))).collect();
        assert_eq!(logged, [0, 99, 99]);
        assert_eq!(hearing.is_logged(KernelEventKind::OomKill, begun), Some(0), "another kind is not hidden by it");
    }
}
