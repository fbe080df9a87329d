//! Calls into the kernel that may never come back.
//!
//! Such a call runs in a thread of its own. When it has not answered within its deadline, the thread stays behind, parked in the
//! kernel under the call's key; that key is not asked again until it has answered, so one dead mount costs one thread, whatever the
//! number of ticks. At most [`PLACES`] threads may be parked; the last place is kept for what has answered before, so that many mounts
//! dead from the start cannot keep us from looking at the healthy ones.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Threads that may be parked at one time.
const PLACES: usize = 8;
/// A call that takes longer than this no longer holds up those queued behind it.
const PATIENCE: Duration = Duration::from_millis(50);
/// Enough for a walk over directories; parked ones cost only what they touched.
const STACK: usize = 512 << 10;
/// More keys than a host has mounts: what has answered is forgotten then, and learnt again.
const MAX_KNOWN: usize = 8192;

/// One call: its key, and what to run.
pub(crate) struct Ask<T> {
    pub(crate) key: String,
    pub(crate) call: Box<dyn FnOnce() -> T + Send>,
}

impl<T> Ask<T> {
    pub(crate) fn new(key: impl Into<String>, call: impl FnOnce() -> T + Send + 'static) -> Self {
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
}

#[derive(Debug, Default)]
struct Lot {
    calls: HashMap<String, Call>,
    /// Keys that answered the last time they were asked.
    answered: HashSet<String>,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    since: Instant,
    /// From here on it takes up a place.
    slow_at: Instant,
}

impl Lot {
    fn slow(&self) -> usize {
        let now = Instant::now();
        self.calls.values().filter(|c| now >= c.slow_at).count()
    }

    /// Slow ones, and short ones under way that may yet become slow: a place is promised only once.
    fn slow_or_short(&self) -> usize {
        let now = Instant::now();
        self.calls.values().filter(|c| now >= c.slow_at || c.slow_at <= c.since + PATIENCE).count()
    }
}

/// The calls of one batch that nobody has begun, with their place in the answer.
type Queue<T> = Mutex<VecDeque<(usize, Ask<T>)>>;

impl Parking {
    /// One call, waited for at most `deadline`. It takes up a place only when it is overdue.
    pub(crate) fn ask<T: Send + 'static>(self: &Arc<Self>, ask: Ask<T>, deadline: Duration) -> Result<T, Parked> {
        self.ask_with(vec![ask], deadline, deadline).pop().unwrap_or(Err(Parked::NotAsked { parked: 0 }))
    }

    /// Many short calls, answered in the order given. Each has `deadline` from its own start; while one hangs the next are begun.
    pub(crate) fn ask_all<T: Send + 'static>(self: &Arc<Self>, asks: Vec<Ask<T>>, deadline: Duration) -> Vec<Result<T, Parked>> {
        self.ask_with(asks, deadline, PATIENCE)
    }

    fn ask_with<T: Send + 'static>(self: &Arc<Self>, asks: Vec<Ask<T>>, deadline: Duration, patience: Duration) -> Vec<Result<T, Parked>> {
        let keys: Vec<String> = asks.iter().map(|a| a.key.clone()).collect();
        let mut answers: Vec<Option<T>> = asks.iter().map(|_| None).collect();
        let mut queue: VecDeque<_> = asks.into_iter().enumerate().collect();
        {
            let mut lot = self.lot();
            if lot.answered.len() > MAX_KNOWN {
                lot.answered.clear();
            }
            let now = Instant::now();
            queue.retain(|(_, ask)| lot.calls.get(&ask.key).is_none_or(|call| now < call.slow_at));
            // Who answered last time comes first: it will not hold up the others.
            queue.make_contiguous().sort_by_key(|(_, ask)| !lot.answered.contains(&ask.key));
        }
        if !queue.is_empty() {
            self.run(&keys, &mut answers, queue, deadline, patience);
        }
        let lot = self.lot();
        let parked = lot.slow();
        let why = |key: &String| match lot.calls.get(key) {
            Some(call) => Parked::NotAnswered { for_s: call.since.elapsed().as_secs_f64() },
            None => Parked::NotAsked { parked },
        };
        answers.into_iter().zip(&keys).map(|(answer, key)| answer.ok_or_else(|| why(key))).collect()
    }

    /// Fills in answers until all are there, or nothing is left that may still answer in time.
    fn run<T: Send + 'static>(
        self: &Arc<Self>,
        keys: &[String],
        answers: &mut [Option<T>],
        queue: VecDeque<(usize, Ask<T>)>,
        deadline: Duration,
        patience: Duration,
    ) {
        let queue: Arc<Queue<T>> = Arc::new(Mutex::new(queue));
        let mut missing = lock(&queue).len();
        let (report, reports) = channel();
        self.send_thread(&queue, &report, patience);
        while missing > 0 {
            match reports.recv_timeout(PATIENCE) {
                Ok((index, value)) => {
                    let slot: &mut Option<T> = &mut answers[index];
                    *slot = Some(value);
                    missing -= 1;
                }
                // This side keeps a sender, so it can only be time.
                Err(_) => {
                    let sent = self.send_thread(&queue, &report, patience);
                    if !sent && !self.may_answer(keys, answers, &queue, deadline) {
                        break;
                    }
                }
            }
        }
        // Threads that come back later find nothing more to do.
        lock(&queue).clear();
        while let Ok((index, value)) = reports.try_recv() {
            answers[index] = Some(value);
        }
    }

    /// Whether a call that is under way, ours or another caller's with one of our keys, is still within its time.
    fn may_answer<T>(&self, keys: &[String], answers: &[Option<T>], queue: &Queue<T>, deadline: Duration) -> bool {
        let queued: HashSet<usize> = lock(queue).iter().map(|(index, _)| *index).collect();
        let lot = self.lot();
        let now = Instant::now();
        answers.iter().zip(keys).enumerate().filter(|(_, (answer, _))| answer.is_none()).any(|(index, (_, key))| match lot.calls.get(key) {
            Some(call) if queued.contains(&index) => now < call.slow_at,
            Some(call) => now < call.since + deadline,
            None => false,
        })
    }

    /// Starts one more thread on the queue, if it holds a call that may begin now.
    fn send_thread<T: Send + 'static>(self: &Arc<Self>, queue: &Arc<Queue<T>>, report: &Sender<(usize, T)>, patience: Duration) -> bool {
        if self.next_place(&lock(queue)).is_none() {
            return false;
        }
        let (parking, queue, report) = (Arc::clone(self), Arc::clone(queue), report.clone());
        let work = move || {
            while let Some((index, ask)) = parking.take(&queue, patience) {
                let mut entered = Entered { parking: &parking, key: ask.key, answered: false };
                let value = (ask.call)();
                entered.answered = true;
                drop(entered);
                // A caller that has left does not need the answer.
                let _gone = report.send((index, value));
            }
        };
        // No thread can be had (pids exhausted): the calls stay unasked, which is what the caller is told.
        std::thread::Builder::new().name("byteport-read".into()).stack_size(STACK).spawn(work).is_ok()
    }

    /// Which call of the queue may begin: nobody else is asking for the same, and there is a place for it.
    fn next_place<T>(&self, queue: &VecDeque<(usize, Ask<T>)>) -> Option<usize> {
        let lot = self.lot();
        let (slow, slow_or_short) = (lot.slow(), lot.slow_or_short());
        let may = |ask: &Ask<T>| {
            let free = if lot.answered.contains(&ask.key) { slow < PLACES } else { slow_or_short < PLACES - 1 };
            free && !lot.calls.contains_key(&ask.key)
        };
        queue.iter().position(|(_, ask)| may(ask))
    }

    /// Takes the next call out of the queue and enters it in the lot.
    fn take<T>(&self, queue: &Queue<T>, patience: Duration) -> Option<(usize, Ask<T>)> {
        let mut queue = lock(queue);
        let (index, ask) = self.next_place(&queue).and_then(|at| queue.remove(at))?;
        let since = Instant::now();
        let mut lot = self.lot();
        lot.answered.remove(&ask.key);
        lot.calls.insert(ask.key.clone(), Call { since, slow_at: since + patience });
        Some((index, ask))
    }

    fn lot(&self) -> MutexGuard<'_, Lot> {
        lock(&self.lot)
    }
}

/// A call under way; leaves the lot when it ends, also by a panic.
struct Entered<'a> {
    parking: &'a Parking,
    key: String,
    answered: bool,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut lot = self.parking.lot();
        lot.calls.remove(&self.key);
        if self.answered {
            lot.answered.insert(std::mem::take(&mut self.key));
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

    #[test]
    fn a_call_that_panics_is_not_taken_for_one_that_hangs() {
        let parking = Arc::new(Parking::default());
        let answer = parking.ask(Ask::<u32>::new("bad", || panic!("on purpose")), Duration::from_secs(60));
        assert!(matches!(answer, Err(Parked::NotAsked { .. })), "{answer:?}");
        assert_eq!(parking.ask(Ask::new("bad", || 3), SHORT), Ok(3));
    }
}
