//! What may take its time: a question over the network, a write that reaches a disk. Asked on a thread of its own, one after the other, and
//! taken over when the answer is there; a sample waits for none of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::source::{Source, Track};
use crate::host::{Read, ReadHost};
use crate::model::{Observed, RequestCount, WriteTrial};

/// The answers of before, and how long one is under way.
#[derive(Debug, Default)]
pub(super) struct Slow(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    node: (Track, Observed<bool>),
    writes: (Track, Observed<Vec<WriteTrial>>),
    requests: (Track, Observed<Vec<RequestCount>>),
    /// Asked and not answered: since when.
    waits: Option<(Source, Instant)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            node: (Track::default(), Observed::unavailable("not answered yet")),
            writes: (Track::default(), Observed::unavailable("not answered yet")),
            requests: (Track::default(), Observed::unavailable("not answered yet")),
            waits: None,
        }
    }
}

impl Slow {
    /// Begins with what is due, unless something is still under way. `wait`: for the answers as well, for a host that is looked at once.
    pub fn ask(&self, host: &Arc<dyn ReadHost>, sample_s: f64, now_s: f64, wait: bool) {
        let mut state = lock(&self.0);
        let node = state.node.0.is_due(Source::Node.interval_s(sample_s), now_s);
        let writes = state.writes.0.is_due(Source::Writes.interval_s(sample_s), now_s);
        let requests = state.requests.0.is_due(Source::Requests.interval_s(sample_s), now_s);
        let Some(first) = [(node, Source::Node), (requests, Source::Requests), (writes, Source::Writes)].into_iter().find(|(due, _)| *due)
        else {
            return;
        };
        if state.waits.is_some() {
            return;
        }
        state.waits = Some((first.1, Instant::now()));
        drop(state);
        let (shared, host) = (Arc::clone(&self.0), Arc::clone(host));
        let work = move || {
            let ended = Waits(&shared);
            if node {
                ask_one(&shared, Source::Node, now_s, |state| &mut state.node, || host.node_disk_pressure());
            }
            if requests {
                ask_one(&shared, Source::Requests, now_s, |state| &mut state.requests, || host.request_counts());
            }
            if writes {
                ask_one(&shared, Source::Writes, now_s, |state| &mut state.writes, || host.write_trials());
            }
            drop(ended);
        };
        if wait {
            work();
        } else if std::thread::Builder::new().name("slow-sources".into()).spawn(work).is_err() {
            // No thread can be had now; the next sample tries again.
            lock(&self.0).waits = None;
        }
    }

    pub fn node(&self, now_s: f64) -> Observed<bool> {
        let state = lock(&self.0);
        aged(state.node.1.clone(), &state.node.0, now_s)
    }

    pub fn writes(&self, now_s: f64) -> Observed<Vec<WriteTrial>> {
        let state = lock(&self.0);
        aged(state.writes.1.clone(), &state.writes.0, now_s)
    }

    pub fn requests(&self, now_s: f64) -> Observed<Vec<RequestCount>> {
        let state = lock(&self.0);
        aged(state.requests.1.clone(), &state.requests.0, now_s)
    }

    pub fn tracks(&self) -> [(Source, Track); 3] {
        let state = lock(&self.0);
        [(Source::Node, state.node.0.clone()), (Source::Writes, state.writes.0.clone()), (Source::Requests, state.requests.0.clone())]
    }

    /// What has not answered, and for how many seconds.
    pub fn waits(&self) -> Option<(Source, f64)> {
        lock(&self.0).waits.map(|(source, since)| (source, since.elapsed().as_secs_f64()))
    }
}

/// One question; the lock is not held while it is under way.
fn ask_one<T>(
    shared: &Mutex<State>,
    source: Source,
    now_s: f64,
    of: fn(&mut State) -> &mut (Track, Observed<T>),
    read: impl FnOnce() -> Read<T>,
) {
    lock(shared).waits = Some((source, Instant::now()));
    let (read, took_s) = timed(read);
    let mut state = lock(shared);
    let (track, answer) = of(&mut state);
    *answer = track.enter(read, now_s, took_s);
}

/// Cleared however the asking ends.
struct Waits<'a>(&'a Mutex<State>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        lock(self.0).waits = None;
    }
}

pub(super) fn timed<T>(read: impl FnOnce() -> Read<T>) -> (Read<T>, f64) {
    let begun = Instant::now();
    let read = read();
    (read, begun.elapsed().as_secs_f64())
}

fn aged<T>(observed: Observed<T>, track: &Track, now_s: f64) -> Observed<T> {
    match (observed, track.age_s(now_s)) {
        (Observed::Value { value, .. }, Some(age_s)) => Observed::Value { value, age_s },
        (other, _) => other,
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
