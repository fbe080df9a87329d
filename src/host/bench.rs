//! Where a thread that has nothing to do waits for the next job. There is one seat: whoever finds it taken goes home.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Enough for a walk over directories; parked threads cost only what they touched.
const STACK: usize = 512 << 10;
/// Longer than the pause between two samples. Who is not called for so long is not needed.
const LINGER: Duration = Duration::from_secs(15);

/// What a thread is to do. It says whether it has sat down before it ended.
pub(super) type Job = Box<dyn FnOnce(&Bench) -> bool + Send>;

#[derive(Debug, Default)]
pub(super) struct Bench {
    seat: Mutex<Seat>,
    called: Condvar,
}

#[derive(Default)]
enum Seat {
    #[default]
    Empty,
    Taken,
    /// Whoever has sat down is to get up and do this.
    Called(Job),
    Closed,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Taken => "Taken",
            Self::Called(_) => "Called",
            Self::Closed => "Closed",
        })
    }
}

impl Bench {
    /// Gives the job to the thread that waits, or to a new one. `false`: no thread can be had.
    pub(super) fn call(self: &Arc<Self>, job: Job) -> bool {
        let mut seat = self.seat();
        if matches!(*seat, Seat::Taken) {
            *seat = Seat::Called(job);
            drop(seat);
            self.called.notify_one();
            return true;
        }
        drop(seat);
        self.start(job)
    }

    /// Gives the job to a new thread, or where none can be had to the one that waits. `false`: there is none.
    pub(super) fn start(self: &Arc<Self>, job: Job) -> bool {
        let bench = Arc::clone(self);
        // A thread that cannot be made takes with it what it was given, so it is given no more than a share.
        let job = Arc::new(Mutex::new(Some(job)));
        let shared = Arc::clone(&job);
        let work = move || {
            let mut job = take(&shared);
            while let Some(now) = job.take() {
                job = if now(&bench) { bench.wait() } else { None };
            }
        };
        if std::thread::Builder::new().name("byteport-read".into()).stack_size(STACK).spawn(work).is_ok() {
            return true;
        }
        let mut seat = self.seat();
        if !matches!(*seat, Seat::Taken) {
            return false;
        }
        *seat = take(&job).map_or(Seat::Taken, Seat::Called);
        drop(seat);
        self.called.notify_one();
        true
    }

    /// Takes the seat if it is free. From here on a job may come, so [`Bench::wait`] must follow.
    pub(super) fn sit(&self) -> bool {
        let mut seat = self.seat();
        let free = matches!(*seat, Seat::Empty);
        if free {
            *seat = Seat::Taken;
        }
        free
    }

    /// Waits for a job; `None` when none comes.
    fn wait(&self) -> Option<Job> {
        let idle = |seat: &mut Seat| matches!(seat, Seat::Taken);
        let (mut seat, _) = self.called.wait_timeout_while(self.seat(), LINGER, idle).unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *seat) {
            Seat::Called(job) => Some(job),
            Seat::Empty | Seat::Taken => None,
            Seat::Closed => {
                *seat = Seat::Closed;
                None
            }
        }
    }

    /// Nobody will call any more.
    pub(super) fn close(&self) {
        *self.seat() = Seat::Closed;
        self.called.notify_one();
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(job: &Mutex<Option<Job>>) -> Option<Job> {
    job.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::thread::ThreadId;

    /// Tells who does it, and sits down if it may.
    fn job(tell: &Sender<(ThreadId, bool)>) -> Job {
        let tell = tell.clone();
        Box::new(move |bench| {
            let stays = bench.sit();
            tell.send((std::thread::current().id(), stays)).unwrap();
            stays
        })
    }

    #[test]
    fn one_thread_does_job_after_job() {
        let bench = Arc::new(Bench::default());
        let (tell, told) = channel();
        let (first, others): (_, Vec<_>) = {
            let mut done = (0..100).map(|_| {
                assert!(bench.call(job(&tell)));
                told.recv().unwrap()
            });
            (done.next().unwrap(), done.collect())
        };
        assert!(first.1 && others.iter().all(|other| *other == first), "{first:?} {others:?}");
    }

    #[test]
    fn there_is_one_seat() {
        let bench = Arc::new(Bench::default());
        let (tell, told) = channel();
        assert!(bench.start(job(&tell)));
        assert!(told.recv().unwrap().1);
        assert!(bench.start(job(&tell)));
        assert!(!told.recv().unwrap().1, "taken");
    }

    #[test]
    fn a_closed_bench_lets_go_of_whoever_waits() {
        let bench = Arc::new(Bench::default());
        let (tell, told) = channel();
        bench.call(job(&tell));
        assert!(told.recv().unwrap().1);
        bench.close();
        // It lets go of the bench, long before it would have gone by itself.
        let begun = std::time::Instant::now();
        while Arc::strong_count(&bench) > 1 {
            assert!(begun.elapsed() < LINGER);
            std::thread::yield_now();
        }
        bench.call(job(&tell));
        assert!(!told.recv().unwrap().1, "nobody sits down on it again");
    }
}
