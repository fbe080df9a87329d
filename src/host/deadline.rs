//! Calls into the kernel that may never come back.
//!
//! Such a call runs in a thread of its own. When it has not answered within its deadline, the thread stays behind, parked in the
//! kernel under the call's key; that key is not asked again until it has answered, so one dead mount costs one thread, whatever the
//! number of ticks. At most [`PLACES`] threads may be parked; the last place is kept for what has answered before, so that many mounts
//! dead from the start cannot keep us from looking at the healthy ones.
//!
//! While nothing hangs, all short calls are made by one thread, which waits on the [`Bench`] for the next of them: making a thread costs
//! more than what most calls ask for.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bench::{Bench, Job};

/// Threads that may be parked at one time.
const PLACES: usize = 8;
/// A call that takes longer than this no longer holds up those queued behind it.
const PATIENCE: Duration = Duration::from_millis(50);
/// Where no thread can be had, one that is there is waited for so long: a walk over a disk may have taken it.
const HOPE: Duration = Duration::from_secs(2);
/// More keys than a host has mounts: what has answered is forgotten then, and learnt again.
const MAX_KNOWN: usize = 8192;

/// One call: its key, and what to run.
pub(crate) struct Ask<T> {
    pub(crate) key: Arc<str>,
    pub(crate) call: Box<dyn FnOnce() -> T + Send>,
}

impl<T> Ask<T> {
    pub(crate) fn new(key: impl Into<Arc<str>>, call: impl FnOnce() -> T + Send + 'static) -> Self {
        Self { key: key.into(), call: Box::new(call) }
    }
}

/// Why a call gave nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Parked {
    /// Asked now or earlier and not answered since.
    NotAnswered { for_s: f64 },
    /// Not asked: too many others are parked, or no thread could be had.
    NotAsked { parked: usize },
}

#[derive(Debug, Default)]
pub(crate) struct Parking {
    lot: Mutex<Lot>,
    bench: Arc<Bench>,
}

#[derive(Debug, Default)]
struct Lot {
    calls: HashMap<Arc<str>, Call>,
    /// Keys that answered the last time they were asked.
    answered: HashSet<Arc<str>>,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    since: Instant,
    /// From here on it takes up a place.
    slow_at: Instant,
}

impl Lot {
    fn slow(&self, now: Instant) -> usize {
        self.calls.values().filter(|c| now >= c.slow_at).count()
    }

    /// Slow ones, and short ones under way that may yet become slow: a place is promised only once.
    fn slow_or_short(&self, now: Instant) -> usize {
        self.calls.values().filter(|c| now >= c.slow_at || c.slow_at <= c.since + PATIENCE).count()
    }

    /// Which call of the queue may begin: nobody else is asking for the same, and there is a place for it.
    fn next_place<T>(&self, queue: &VecDeque<(usize, Ask<T>)>, now: Instant) -> Option<usize> {
        let (slow, slow_or_short) = (self.slow(now), self.slow_or_short(now));
        let may = |ask: &Ask<T>| {
            let free = if self.answered.contains(&ask.key) { slow < PLACES } else { slow_or_short < PLACES - 1 };
            free && !self.calls.contains_key(&ask.key)
        };
        queue.iter().position(|(_, ask)| may(ask))
    }
}

/// Calls that are waited for together.
struct Batch<T> {
    /// Locked before the lot, where both are.
    state: Mutex<State<T>>,
    /// The last answer is there.
    complete: Condvar,
}

struct State<T> {
    /// Those that nobody has begun, with their place in the answer.
    queue: VecDeque<(usize, Ask<T>)>,
    /// Empty when the caller has left.
    answers: Vec<Option<T>>,
    missing: usize,
    /// When a call was last begun or answered.
    moved: Instant,
}

/// How the calls of a batch are treated.
#[derive(Clone, Copy)]
struct Manner {
    /// From its own start a call has this long.
    deadline: Duration,
    /// After this long a call takes up a place.
    patience: Duration,
    /// They may take long: where a thread of their own can be had, the one that waits for short calls is left to those.
    long: bool,
}

/// What came of sending one more thread to a queue.
#[derive(Clone, Copy, PartialEq)]
enum Sent {
    Yes,
    /// No call may begin now.
    NoneNeeded,
    /// No thread can be had.
    No,
}

impl Parking {
    /// One call, waited for at most `deadline`. It takes up a place only when it is overdue.
    pub(crate) fn ask<T: Send + 'static>(self: &Arc<Self>, ask: Ask<T>, deadline: Duration) -> Result<T, Parked> {
        let manner = Manner { deadline, patience: deadline, long: true };
        self.ask_with(vec![ask], manner).pop().unwrap_or(Err(Parked::NotAsked { parked: 0 }))
    }

    /// Many short calls, answered in the order given. Each has `deadline` from its own start; while one hangs the next are begun.
    pub(crate) fn ask_all<T: Send + 'static>(self: &Arc<Self>, asks: Vec<Ask<T>>, deadline: Duration) -> Vec<Result<T, Parked>> {
        self.ask_with(asks, Manner { deadline, patience: PATIENCE, long: false })
    }

    fn ask_with<T: Send + 'static>(self: &Arc<Self>, asks: Vec<Ask<T>>, manner: Manner) -> Vec<Result<T, Parked>> {
        let keys: Vec<Arc<str>> = asks.iter().map(|a| Arc::clone(&a.key)).collect();
        let answers: Vec<Option<T>> = asks.iter().map(|_| None).collect();
        let mut queue: VecDeque<_> = asks.into_iter().enumerate().collect();
        {
            let mut lot = lock(&self.lot);
            if lot.answered.len() > MAX_KNOWN {
                lot.answered.clear();
            }
            let now = Instant::now();
            queue.retain(|(_, ask)| lot.calls.get(&ask.key).is_none_or(|call| now < call.slow_at));
            // Who answered last time comes first: it will not hold up the others.
            queue.make_contiguous().sort_by_key(|(_, ask)| !lot.answered.contains(&ask.key));
        }
        let answers = if queue.is_empty() { answers } else { self.run(&keys, answers, queue, manner) };
        let lot = lock(&self.lot);
        let why = |key: &Arc<str>| match lot.calls.get(key) {
            Some(call) => Parked::NotAnswered { for_s: call.since.elapsed().as_secs_f64() },
            None => Parked::NotAsked { parked: lot.slow(Instant::now()) },
        };
        answers.into_iter().zip(&keys).map(|(answer, key)| answer.ok_or_else(|| why(key))).collect()
    }

    /// Waits until all answers are there, or nothing is left that may still answer in time.
    fn run<T: Send + 'static>(
        self: &Arc<Self>,
        keys: &[Arc<str>],
        answers: Vec<Option<T>>,
        queue: VecDeque<(usize, Ask<T>)>,
        manner: Manner,
    ) -> Vec<Option<T>> {
        let asked = Instant::now();
        let mut looked = asked;
        let missing = queue.len();
        let batch = Arc::new(Batch { state: Mutex::new(State { queue, answers, missing, moved: looked }), complete: Condvar::new() });
        self.send_worker(&batch, manner);
        let mut state = lock(&batch.state);
        while state.missing > 0 {
            let patient = PATIENCE.saturating_sub(state.moved.max(looked).elapsed());
            if !patient.is_zero() {
                state = batch.complete.wait_timeout(state, patient).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            drop(state);
            let sent = self.send_worker(&batch, manner);
            looked = Instant::now();
            state = lock(&batch.state);
            // Where no thread can be had now (pids exhausted), one that ends its work in time is as good.
            let hope = sent == Sent::No && looked < asked + manner.deadline.min(HOPE);
            if sent != Sent::Yes && !hope && !self.may_answer(keys, &state, manner.deadline) {
                break;
            }
        }
        // Threads that come back later find nothing more to do, and nobody to tell.
        state.queue.clear();
        std::mem::take(&mut state.answers)
    }

    /// Whether a call that is under way, ours or another caller's with one of our keys, is still within its time.
    fn may_answer<T>(&self, keys: &[Arc<str>], state: &State<T>, deadline: Duration) -> bool {
        let queued: HashSet<usize> = state.queue.iter().map(|(index, _)| *index).collect();
        let lot = lock(&self.lot);
        let now = Instant::now();
        state.answers.iter().zip(keys).enumerate().filter(|(_, (answer, _))| answer.is_none()).any(|(index, (_, key))| {
            match lot.calls.get(key) {
                Some(call) if queued.contains(&index) => now < call.slow_at,
                Some(call) => now < call.since + deadline,
                None => false,
            }
        })
    }

    /// Sends one more thread to the queue, if it holds a call that may begin now: the one that waits for work, or a new one.
    fn send_worker<T: Send + 'static>(self: &Arc<Self>, batch: &Arc<Batch<T>>, manner: Manner) -> Sent {
        let may_begin = {
            let state = lock(&batch.state);
            lock(&self.lot).next_place(&state.queue, Instant::now()).is_some()
        };
        if !may_begin {
            return Sent::NoneNeeded;
        }
        let (parking, batch) = (Arc::clone(self), Arc::clone(batch));
        let job: Job = Box::new(move |bench| {
            let complete = parking.work(&batch, manner.patience);
            // It sits down before the caller is woken, who may have more to do at once.
            let stays = bench.sit();
            if complete {
                batch.complete.notify_one();
            }
            stays
        });
        let sent = if manner.long { self.bench.start(job) } else { self.bench.call(job) };
        if sent { Sent::Yes } else { Sent::No }
    }

    /// Makes calls of the batch until there are no more that may begin. Whether the last answer was among them.
    fn work<T>(&self, batch: &Batch<T>, patience: Duration) -> bool {
        let mut complete = false;
        let mut state = lock(&batch.state);
        while let Some((index, ask)) = self.take(&mut state, patience) {
            drop(state);
            let mut entered = Entered { parking: self, key: ask.key, answered: false };
            let value = (ask.call)();
            entered.answered = true;
            state = lock(&batch.state);
            // Under the caller's eyes: it never sees a call that has left and whose answer is not there.
            drop(entered);
            state.moved = Instant::now();
            // A caller that has left does not need the answer.
            if let Some(slot) = state.answers.get_mut(index) {
                *slot = Some(value);
                state.missing -= 1;
                complete = state.missing == 0;
            }
        }
        complete
    }

    /// Takes the next call out of the queue and enters it in the lot.
    fn take<T>(&self, state: &mut State<T>, patience: Duration) -> Option<(usize, Ask<T>)> {
        let mut lot = lock(&self.lot);
        let since = Instant::now();
        let (index, ask) = lot.next_place(&state.queue, since).and_then(|at| state.queue.remove(at))?;
        lot.answered.remove(&ask.key);
        lot.calls.insert(Arc::clone(&ask.key), Call { since, slow_at: since + patience });
        state.moved = since;
        Some((index, ask))
    }

    #[cfg(test)]
    fn lot(&self) -> MutexGuard<'_, Lot> {
        lock(&self.lot)
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.bench.close();
    }
}

/// A call under way; leaves the lot when it ends, also by a panic.
struct Entered<'a> {
    parking: &'a Parking,
    key: Arc<str>,
    answered: bool,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut lot = lock(&self.parking.lot);
        lot.calls.remove(&self.key);
        if self.answered {
            lot.answered.insert(Arc::clone(&self.key));
        }
    }
}

/// What the mutexes guard is whole after every statement, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};

    /// A call that hangs until its gate is dropped.
    fn hanging(key: &str, begun: &Arc<AtomicUsize>) -> (Ask<u32>, Sender<()>) {
        let (gate, wait) = channel::<()>();
        let begun = Arc::clone(begun);
        let call = move || {
            begun.fetch_add(1, Ordering::SeqCst);
            let _gate_dropped = wait.recv();
            1
        };
        (Ask::new(key, call), gate)
    }

    const SHORT: Duration = Duration::from_millis(200);

    #[test]
    fn one_that_hangs_delays_nobody_and_is_asked_once() {
        let parking = Arc::new(Parking::default());
        let begun = Arc::new(AtomicUsize::new(0));
        let (ask, gate) = hanging("dead", &begun);
        let mut asks = vec![ask];
        asks.extend((0..20).map(|i| Ask::new(format!("good {i}"), move || i)));
        let answers = parking.ask_all(asks, SHORT);
        assert!(matches!(answers[0], Err(Parked::NotAnswered { for_s }) if for_s >= 0.2), "{:?}", answers[0]);
        assert_eq!(answers[1..].iter().filter_map(|a| a.ok()).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        for _ in 0..100 {
            let (again, _gate) = hanging("dead", &begun);
            assert!(matches!(parking.ask_all(vec![again], SHORT)[0], Err(Parked::NotAnswered { .. })));
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1, "asked again although it had not answered");
        drop(gate);
        while !parking.lot().calls.is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(parking.ask(Ask::new("dead", || 7), SHORT), Ok(7));
    }

    #[test]
    fn many_that_hang_leave_a_place_for_those_that_answered_before() {
        let parking = Arc::new(Parking::default());
        let begun = Arc::new(AtomicUsize::new(0));
        assert_eq!(parking.ask_all(vec![Ask::new("good", || 1)], SHORT)[0], Ok(1));
        let (asks, gates): (Vec<_>, Vec<_>) = (0..64).map(|i| hanging(&format!("dead {i}"), &begun)).unzip();
        let answers = parking.ask_all(asks, SHORT);
        assert_eq!(begun.load(Ordering::SeqCst), PLACES - 1);
        assert_eq!(answers.iter().filter(|a| matches!(a, Err(Parked::NotAsked { .. }))).count(), 64 - (PLACES - 1));
        assert_eq!(parking.ask_all(vec![Ask::new("new", || 1), Ask::new("good", || 2)], SHORT)[1], Ok(2));
        drop(gates);
    }

    /// Calls that say which thread made them.
    fn who(keys: std::ops::Range<usize>) -> Vec<Ask<std::thread::ThreadId>> {
        keys.map(|i| Ask::new(format!("who {i}"), || std::thread::current().id())).collect()
    }

    #[test]
    fn batch_after_batch_is_made_by_the_thread_that_is_there() {
        let parking = Arc::new(Parking::default());
        let (mut threads, mut soonest) = (HashSet::new(), Duration::MAX);
        for _ in 0..200 {
            let begun = Instant::now();
            threads.extend(parking.ask_all(who(0..5), Duration::from_secs(60)).into_iter().map(Result::unwrap));
            soonest = soonest.min(begun.elapsed());
        }
        assert!(soonest < PATIENCE, "whoever asks is told at once, and does not come to look");
        // One; a machine that is busy elsewhere may make a call look slow now and then.
        assert!(threads.len() < 20, "{} threads for 200 batches", threads.len());
        assert!(!threads.contains(&std::thread::current().id()), "whoever asks must not hang");
    }

    #[test]
    fn a_long_call_leaves_the_thread_that_waits_to_short_ones() {
        let parking = Arc::new(Parking::default());
        let short = || parking.ask_all(who(0..1), SHORT).pop().unwrap().unwrap();
        let long = || parking.ask(Ask::new("walk", || std::thread::current().id()), Duration::from_secs(60)).unwrap();
        let waits = short();
        let walks: HashSet<_> = (0..20).map(|_| long()).collect();
        assert!(!walks.contains(&waits) && walks.len() == 20, "{waits:?} {walks:?}");
        assert_eq!(short(), waits);
    }

    #[test]
    fn several_may_ask_at_once() {
        let parking = Arc::new(Parking::default());
        std::thread::scope(|scope| {
            for asker in 0..4usize {
                let parking = Arc::clone(&parking);
                scope.spawn(move || {
                    for round in 0..200 {
                        let asks = (0..5).map(|i| Ask::new(format!("{asker} {i}"), move || (round, i))).collect();
                        let answers = parking.ask_all(asks, Duration::from_secs(60));
                        assert_eq!(answers, (0..5).map(|i| Ok((round, i))).collect::<Vec<_>>());
                    }
                });
            }
        });
        assert!(parking.lot().calls.is_empty());
    }

    /// The caller looks around while the answer is on its way: a call that has left the lot without its answer being there was never
    /// asked, as far as the caller can tell.
    #[test]
    fn an_answer_that_comes_while_the_caller_looks_around_is_not_missed() {
        let parking = Arc::new(Parking::default());
        std::thread::scope(|scope| {
            for caller in 0..100 {
                let parking = &parking;
                scope.spawn(move || {
                    for round in 0..10 {
                        let call = move || std::thread::sleep(PATIENCE - Duration::from_micros(100 * ((caller + round) % 5)));
                        assert_eq!(parking.ask(Ask::new(format!("{caller}"), call), Duration::from_secs(60)), Ok(()));
                    }
                });
            }
        });
    }

    #[test]
    fn a_call_that_panics_is_not_taken_for_one_that_hangs() {
        let parking = Arc::new(Parking::default());
        let answer = parking.ask(Ask::<u32>::new("bad", || panic!("on purpose")), Duration::from_secs(60));
        assert!(matches!(answer, Err(Parked::NotAsked { .. })), "{answer:?}");
        assert_eq!(parking.ask(Ask::new("bad", || 3), SHORT), Ok(3));
    }
}
