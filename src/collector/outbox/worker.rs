//! Sends what is due, one message at a time, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, park_timeout};
use std::time::Duration;

use super::retry::{self, Next};
use super::sink::Sinks;
use crate::collector::clock::Clock;
use crate::collector::store::{Failure, Outbox};

/// Between two looks when nothing is due.
const IDLE: Duration = Duration::from_secs(1);
/// After the store could not be asked.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing was due.
    Idle,
    Sent,
    /// Not taken; tried again later.
    Later,
    /// Not taken, and not tried any more.
    Dead,
}

pub struct Worker {
    outbox: Outbox,
    sinks: Sinks,
    clock: Clock,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("outbox", &self.outbox).field("sinks", &self.sinks.keys()).finish_non_exhaustive()
    }
}

impl Worker {
    pub fn new(outbox: Outbox, sinks: Sinks, clock: Clock) -> Self {
        Self { outbox, sinks, clock }
    }

    /// Sends one message, if one is due.
    ///
    /// # Errors
    /// When the store cannot be asked or told. What was sent by then is sent once more.
    pub fn turn(&mut self) -> Result<Turn, Failure> {
        let Some(claim) = self.outbox.claim((self.clock)())? else { return Ok(Turn::Idle) };
        let letter = &claim.letter;
        let taken = match self.sinks.get_mut(&letter.destination) {
            Some(sink) => sink.deliver(letter),
            None => Err(format!("no sink {:?} is configured", letter.destination)),
        };
        let now = (self.clock)();
        let Err(why) = taken else {
            self.outbox.sent(&claim, now)?;
            return Ok(Turn::Sent);
        };
        let next = retry::after(letter.tries, letter.created_at, now, drawn());
        self.outbox.failed(&claim, &why, next)?;
        Ok(match next {
            Next::At(at) => {
                tracing::warn!("{} of {} to {} was not taken, next try at {at}: {why}", letter.about, letter.incident, letter.destination);
                Turn::Later
            }
            Next::Dead => {
                tracing::error!(
                    "{} of {} to {} is given up after {} tries; `byteport-collector outbox replay {}` sends it again: {why}",
                    letter.about,
                    letter.incident,
                    letter.destination,
                    letter.tries,
                    letter.id
                );
                Turn::Dead
            }
        })
    }

    /// Until it is told to stop; what is being sent then is finished.
    pub fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            match self.turn() {
                Ok(Turn::Idle) => park_timeout(IDLE),
                Ok(_) => {}
                Err(e) => {
                    tracing::error!("messages wait: {e}");
                    park_timeout(AFTER_FAILURE);
                }
            }
        }
    }
}

/// Without a source of chance all wait as long as they may.
fn drawn() -> u32 {
    let mut bytes = [0; 4];
    openssl::rand::rand_bytes(&mut bytes).map_or(u32::MAX, |()| u32::from_be_bytes(bytes))
}

/// A worker at work. Dropped, it ends after the message that it is sending.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// # Errors
    /// When no thread can be had.
    pub fn start(worker: Worker) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("outbox".into()).spawn(move || worker.run(&told))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Its panic has been told by then.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::AtomicI64;

    use super::super::{File, Letter, Sink};
    use super::*;
    use crate::collector::store::Admin;
    use crate::collector::store::test_file::{Made, NOW_MS};
    use crate::collector::view::{Delivery, DeliveryState};

    /// Refuses so often, then writes to the file.
    struct Moody(u64, File);

    impl Sink for Moody {
        fn deliver(&mut self, letter: &Letter) -> Result<(), String> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Err(format!("not now, {left} more"))
                }
                None => self.1.deliver(letter),
            }
        }
    }

    /// A clock that the test moves.
    #[derive(Clone)]
    struct Hand(Arc<AtomicI64>);

    impl Hand {
        fn new() -> Self {
            Self(Arc::new(AtomicI64::new(NOW_MS)))
        }

        fn on(&self, ms: i64) {
            self.0.fetch_add(ms, Ordering::Relaxed);
        }

        fn clock(&self) -> Clock {
            let at = Arc::clone(&self.0);
            Box::new(move || jiff::Timestamp::from_millisecond(at.load(Ordering::Relaxed)).unwrap())
        }
    }

    fn worker(made: &Made, hand: &Hand, sink: impl Sink + 'static) -> Worker {
        Worker::new(Outbox::open(&made.file()).unwrap(), Sinks::from([("a".to_owned(), Box::new(sink) as Box<dyn Sink>)]), hand.clock())
    }

    fn listed(made: &Made) -> Vec<Delivery> {
        Admin::open(&made.file()).unwrap().outbox().unwrap()
    }

    fn names(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let name = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
        text.lines().map(name).collect()
    }

    const LONGEST_MS: i64 = 1_800_000;

    #[test]
    fn what_fails_a_few_times_arrives_once_and_in_order() {
        let made = Made::new();
        let (hand, told) = (Hand::new(), made.file().with_file_name("told"));
        made.letter(1, "a", "disk-1", "escalated", 5);
        made.letter(2, "a", "disk-1", "closed", 9);
        let mut worker = worker(&made, &hand, Moody(3, File::new(&told)));
        for _ in 0..3 {
            assert_eq!(worker.turn().unwrap(), Turn::Later);
            assert_eq!(listed(&made)[0].state, DeliveryState::Pending);
            hand.on(LONGEST_MS);
        }
        assert!(listed(&made).iter().any(|d| d.attempts == 3 && d.last_error.as_deref() == Some("not now, 0 more")));
        assert_eq!([worker.turn().unwrap(), worker.turn().unwrap(), worker.turn().unwrap()], [Turn::Sent, Turn::Sent, Turn::Idle]);
        let told = names(&told);
        assert!(told.len() == 2 && told[0].ends_with("-5") && told[1].ends_with("-9"), "{told:?}");
        assert!(listed(&made).iter().all(|d| d.state == DeliveryState::Sent && d.last_error.is_none() && d.sent_at.is_some()));
    }

    #[test]
    fn a_full_disk_ends_in_a_dead_letter_which_can_be_sent_again() {
        let made = Made::new();
        let (hand, told) = (Hand::new(), made.file().with_file_name("told"));
        made.letter(1, "a", "disk-1", "escalated", 5);
        let mut full = worker(&made, &hand, File::new(Path::new("/dev/full")));
        for tries in 1..=retry::MOST_TRIES {
            let expected = if tries == retry::MOST_TRIES { Turn::Dead } else { Turn::Later };
            assert_eq!(full.turn().unwrap(), expected, "try {tries}");
            hand.on(LONGEST_MS);
        }
        assert_eq!(full.turn().unwrap(), Turn::Idle);
        let dead = &listed(&made)[0];
        assert_eq!((dead.state, dead.attempts), (DeliveryState::Dead, retry::MOST_TRIES));
        assert!(dead.last_error.as_ref().unwrap().contains("No space left"));
        let again = Admin::open(&made.file()).unwrap().replay_dead(1, "ann", hand.clock()()).unwrap();
        let mut well = worker(&made, &hand, File::new(&told));
        assert_eq!([well.turn().unwrap(), well.turn().unwrap()], [Turn::Sent, Turn::Idle]);
        let states: Vec<_> = listed(&made).iter().map(|d| (d.id, d.state)).collect();
        assert_eq!(states, [(1, DeliveryState::Dead), (again, DeliveryState::Sent)], "the dead one stays");
        assert_eq!(names(&told).len(), 1);
    }

    #[test]
    fn a_crash_behind_the_delivery_costs_one_more_of_the_same_name() {
        let made = Made::new();
        let (hand, told) = (Hand::new(), made.file().with_file_name("told"));
        made.letter(1, "a", "disk-1", "escalated", 5);
        {
            let mut outbox = Outbox::open(&made.file()).unwrap();
            let claim = outbox.claim(hand.clock()()).unwrap().unwrap();
            File::new(&told).deliver(&claim.letter).unwrap();
            // Here it dies.
        }
        let mut next = worker(&made, &hand, File::new(&told));
        assert_eq!(next.turn().unwrap(), Turn::Idle, "it is not known to be dead yet");
        hand.on(60_000);
        assert_eq!([next.turn().unwrap(), next.turn().unwrap()], [Turn::Sent, Turn::Idle]);
        let told = names(&told);
        assert!(told.len() == 2 && told[0] == told[1], "{told:?}");
    }

    #[test]
    fn a_destination_that_nobody_has_configured_is_said() {
        let made = Made::new();
        made.letter(1, "gone", "disk-1", "escalated", 5);
        let told = made.file().with_file_name("told");
        assert_eq!(worker(&made, &Hand::new(), File::new(&told)).turn().unwrap(), Turn::Later);
        assert_eq!(listed(&made)[0].last_error.as_deref(), Some("no sink \"gone\" is configured"));
    }

    #[test]
    fn a_running_one_ends_when_it_is_dropped() {
        let made = Made::new();
        let told = made.file().with_file_name("told");
        made.letter(1, "a", "disk-1", "escalated", 5);
        let running = Running::start(worker(&made, &Hand::new(), File::new(&told))).unwrap();
        while !fs::read_to_string(&told).is_ok_and(|text| text.ends_with('\n')) {
            std::thread::yield_now();
        }
        drop(running);
        assert_eq!(listed(&made)[0].state, DeliveryState::Sent);
    }
}
