//! What ends the pause between two samples early: the kernel's pressure triggers, a memory stall that was looked for, or somebody's call.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;

use super::Read;
use super::clock::uptime_s;
use super::psi::parse_pressure;
use super::root::{Root, io_error};
use crate::model::{HostPath, Stall, StallTeller};

const MEMORY: &str = "/proc/pressure/memory";

/// A memory stall: in so many microseconds of a second no task at all got on. A window this short is taken only from somebody who holds
/// CAP_SYS_RESOURCE; then it is looked at ten times a second.
const STALL: (&str, &str) = (MEMORY, "full 150000 1000000");
const STALLED_US: u64 = 150_000;
const STALL_WINDOW: Duration = Duration::from_secs(1);
/// Where the kernel does not tell, its count is looked at as often as this: one read of a file that stays open.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Stalls of some task in microseconds, within a window of two seconds: the shortest that the kernel takes from somebody who holds no
/// CAP_SYS_RESOURCE. Memory is told soonest, because it is gone soonest.
const TRIGGERS: [(&str, &str); 3] =
    [(MEMORY, "some 150000 2000000"), ("/proc/pressure/io", "some 500000 2000000"), ("/proc/pressure/cpu", "some 1000000 2000000")];

/// Wakes whoever waits in [`Wake::wait`], from any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    pub fn wake(&self) {
        // It can only fail when it is full, and then the sleeper is awake.
        let _full = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// Why the pause is over.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Woken {
    /// Nobody gets on for want of memory: said once a second at most.
    pub stall: Option<Stall>,
    /// The kernel says that tasks stall.
    pub pressure: bool,
    pub called: bool,
}

#[derive(Debug)]
pub struct Wake {
    call: Waker,
    triggers: Vec<File>,
    /// Why there are no triggers.
    without: Option<String>,
    stalls: Stalls,
}

/// How a memory stall is noticed.
#[derive(Debug)]
enum Stalls {
    Told(File),
    Looked {
        looks: Looks,
        why: String,
    },
    /// The kernel counts none.
    Unseen {
        why: String,
    },
}

/// Memory's pressure file, and what was seen in it during the last second.
#[derive(Debug)]
struct Looks {
    file: File,
    /// Boot clock, and microseconds of stall until then.
    seen: VecDeque<(f64, u64)>,
    told_s: f64,
}

impl Wake {
    /// Pressure triggers where the kernel allows them to this process, looks at its count of memory stalls where it does not, and nothing but
    /// calls where it counts none.
    ///
    /// # Errors
    /// When the kernel gives no descriptor to be called on.
    pub fn new(root: &std::path::Path) -> io::Result<Self> {
        let call = Waker(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
        let root = Root::open(root);
        let (triggers, without) =
            match root.as_ref().map_err(Clone::clone).and_then(|root| TRIGGERS.iter().map(|t| trigger(root, t)).collect()) {
                Ok(triggers) => (triggers, None),
                Err(e) => (Vec::new(), Some(e.to_string())),
            };
        let stalls = match root {
            Ok(root) => Stalls::of(&root),
            Err(e) => Stalls::Unseen { why: e.to_string() },
        };
        Ok(Self { call, triggers, without, stalls })
    }

    pub fn waker(&self) -> Waker {
        self.call.clone()
    }

    /// Why pressure is only polled; `None`: the kernel tells.
    pub fn without_triggers(&self) -> Option<&str> {
        self.without.as_deref()
    }

    /// How memory stalls are noticed where the kernel does not tell of them within a tenth of a second, and why not.
    pub fn without_stall_trigger(&self) -> Option<String> {
        match &self.stalls {
            Stalls::Told(_) => None,
            Stalls::Looked { why, .. } => Some(format!(
                "memory stalls are looked for every {} ms: a window of one second wants CAP_SYS_RESOURCE ({why})",
                LOOK_EVERY.as_millis()
            )),
            Stalls::Unseen { why } => Some(format!("memory stalls are not seen: {why}")),
        }
    }

    /// Waits for at most `pause`.
    pub fn wait(&mut self, pause: Duration) -> Woken {
        // Longer than there is time is for ever.
        let until = Instant::now().checked_add(pause);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let slice = match &self.stalls {
                Stalls::Looked { .. } => Some(left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY))),
                Stalls::Told(_) | Stalls::Unseen { .. } => left,
            };
            // What poll refuses ends the pause: the caller samples now, which harms nobody.
            let Some(mut woken) = self.poll(slice) else { return Woken::default() };
            if let Stalls::Looked { looks, .. } = &mut self.stalls {
                woken.stall = looks.look();
            }
            if woken != Woken::default() || left.is_some_and(|left| slice == Some(left)) {
                return woken;
            }
        }
    }

    /// `None`: it could not be waited.
    fn poll(&self, pause: Option<Duration>) -> Option<Woken> {
        // In one array, because this is done several times a second; what there is not is nobody's descriptor and asks for nothing.
        let mut polled: [PollFd<'_>; 2 + TRIGGERS.len()] = std::array::from_fn(|at| match (at, &self.stalls) {
            (0, _) => PollFd::new(&self.call.0, PollFlags::IN),
            (1, Stalls::Told(file)) => PollFd::new(file, PollFlags::PRI),
            _ => match at.checked_sub(2).and_then(|at| self.triggers.get(at)) {
                Some(trigger) => PollFd::new(trigger, PollFlags::PRI),
                None => PollFd::new(&self.call.0, PollFlags::empty()),
            },
        });
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        poll(&mut polled, pause.as_ref()).ok()?;
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let [call, stall, triggers @ ..] = &polled;
        let told = || Stall { at_s: uptime_s(), stalled_us: STALLED_US, within_us: as_us(STALL_WINDOW), told_by: StallTeller::Kernel };
        let woken = Woken { called: ready(call), pressure: triggers.iter().any(ready), stall: ready(stall).then(told) };
        if woken.called {
            let mut count = [0; 8];
            let _emptied = rustix::io::read(&*self.call.0, &mut count);
        }
        Some(woken)
    }
}

impl Stalls {
    fn of(root: &Root) -> Self {
        let why = match trigger(root, &STALL) {
            Ok(trigger) => return Self::Told(trigger),
            Err(e) => e.to_string(),
        };
        match root.open_file(&HostPath::from(MEMORY)) {
            Ok(file) => Self::Looked { looks: Looks::at(file), why },
            Err(e) => Self::Unseen { why: e.to_string() },
        }
    }
}

impl Looks {
    /// A little more than a window.
    const KEPT: usize = 7;

    fn at(file: File) -> Self {
        let mut looks = Self { file, seen: VecDeque::with_capacity(Self::KEPT), told_s: f64::NEG_INFINITY };
        let _first = looks.look();
        looks
    }

    fn look(&mut self) -> Option<Stall> {
        let mut text = [0; 512];
        // Who fails at reading it tells so in its own place, with every sample.
        let read = self.file.read_at(&mut text, 0).ok()?;
        let full_us = parse_pressure(text.get(..read)?).ok()?.full_total_us;
        self.enter(uptime_s(), full_us)
    }

    fn enter(&mut self, at_s: f64, full_us: u64) -> Option<Stall> {
        let window_s = STALL_WINDOW.as_secs_f64();
        let grown = |(then_s, before_us): &(f64, u64)| {
            let (within_s, stalled_us) = (at_s - then_s, full_us.checked_sub(*before_us)?);
            // Who was kept from looking for three windows saw a stall only if one of them must have held one.
            let windows = (within_s / window_s).ceil().max(1.0);
            (stalled_us as f64 > STALLED_US as f64 * windows).then(|| Stall {
                at_s,
                stalled_us,
                within_us: as_us(Duration::from_secs_f64(within_s.max(0.0))),
                told_by: StallTeller::Look,
            })
        };
        let stall = self.seen.iter().find_map(grown);
        while self.seen.len() >= Self::KEPT {
            self.seen.pop_front();
        }
        self.seen.push_back((at_s, full_us));
        let stall = stall.filter(|_| at_s - self.told_s >= window_s)?;
        self.told_s = at_s;
        Some(stall)
    }
}

fn as_us(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Registered as long as the file is open.
fn trigger(root: &Root, (path, what): &(&str, &str)) -> Read<File> {
    let path = HostPath::from(*path);
    let file = root.open_flags(&path, OFlags::RDWR | OFlags::NONBLOCK)?;
    // A file of somebody else's is nothing to be written to.
    if !rustix::fs::fstatfs(&file).is_ok_and(|fs| fs.f_type == rustix::fs::PROC_SUPER_MAGIC) {
        return Err(io_error(&path, io::Error::new(io::ErrorKind::Unsupported, "not a file of the kernel's")));
    }
    // The kernel wants the closing zero as well.
    rustix::io::write(&file, format!("{what}\0").as_bytes()).map_err(|e| io_error(&path, e))?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_the_pause_and_counts_once() {
        let mut wake = Wake::new(std::path::Path::new("/")).unwrap();
        let waker = wake.waker();
        let called = std::thread::spawn(move || (0..3).for_each(|_| waker.wake()));
        let begun = Instant::now();
        assert!(wake.wait(Duration::from_secs(600)).called);
        assert!(begun.elapsed() < Duration::from_secs(300));
        called.join().unwrap();
        while wake.wait(Duration::ZERO).called {}
        assert!(!wake.wait(Duration::from_millis(1)).called);
    }

    #[test]
    fn a_host_without_pressure_files_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let mut wake = Wake::new(dir.path()).unwrap();
        assert!(wake.without_triggers().is_some_and(|why| why.contains("/proc/pressure/memory")), "{wake:?}");
        assert!(wake.without_stall_trigger().is_some_and(|why| why.contains("not seen: /proc/pressure/memory")), "{wake:?}");
        assert_eq!(wake.wait(Duration::ZERO), Woken::default());
    }

    fn write(file: &File, full_us: u64) {
        let line = |kind, total| format!("{kind} avg10=0.00 avg60=0.00 avg300=0.00 total={total:020}\n");
        file.write_all_at((line("some", 2 * full_us) + &line("full", full_us)).as_bytes(), 0).unwrap();
    }

    /// A pressure file of our own: pressure of the host is nothing that a test may make.
    fn looking(dir: &std::path::Path) -> (Wake, File) {
        std::fs::create_dir_all(dir.join("proc/pressure")).unwrap();
        let written = File::create(dir.join("proc/pressure/memory")).unwrap();
        write(&written, 1_000_000);
        (Wake::new(dir).unwrap(), written)
    }

    #[test]
    fn what_is_no_file_of_the_kernels_is_looked_at_and_never_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (wake, file) = looking(dir.path());
        assert!(wake.without_stall_trigger().is_some_and(|why| why.contains("every 200 ms")), "{wake:?}");
        let before = file.metadata().unwrap().len();
        write(&file, 2_000_000);
        assert_eq!(file.metadata().unwrap().len(), before);
        assert!(std::fs::read_to_string(dir.path().join("proc/pressure/memory")).unwrap().starts_with("some avg10"));
    }

    #[test]
    fn a_stall_that_is_looked_for_ends_the_pause_with_its_figures() {
        let dir = tempfile::tempdir().unwrap();
        let (mut wake, file) = looking(dir.path());
        let begun = Instant::now();
        let stalls = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            write(&file, 1_000_000 + STALLED_US + 1);
        });
        let before_s = uptime_s();
        let stall = wake.wait(Duration::from_secs(600)).stall.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(300));
        assert_eq!((stall.stalled_us, stall.told_by), (STALLED_US + 1, StallTeller::Look));
        assert!(stall.at_s >= before_s && stall.within_us > 0, "{stall:?}");
        stalls.join().unwrap();
        // What does not grow any more is no second stall, also when the second of the first is over.
        assert_eq!(wake.wait(Duration::from_millis(2500)).stall, None);
        // A call is still heard, at once.
        let waker = wake.waker();
        waker.wake();
        assert_eq!(wake.wait(Duration::from_secs(600)), Woken { called: true, ..Woken::default() });
    }

    #[test]
    fn a_stall_is_more_than_is_borne_within_one_second() {
        let dir = tempfile::tempdir().unwrap();
        let tell = |looks: &[(f64, u64)]| -> Vec<f64> {
            let (wake, _) = looking(dir.path());
            let Stalls::Looked { looks: mut l, .. } = wake.stalls else { unreachable!() };
            l.seen.clear();
            looks.iter().filter_map(|(at_s, us)| l.enter(100.0 + at_s, *us)).map(|stall| stall.at_s - 100.0).collect()
        };
        assert_eq!(tell(&[(0.0, 7), (0.25, 150_007)]), [] as [f64; 0], "as much as is borne");
        assert_eq!(tell(&[(0.0, 7), (0.25, 150_008)]), [0.25]);
        // Adds up within a second, not beyond it.
        assert_eq!(tell(&[(0.0, 0), (0.25, 50_000), (0.5, 100_000), (0.75, 151_000)]), [0.75]);
        let slow: Vec<_> = (0..40_u32).map(|n| (f64::from(n) * 0.25, u64::from(n) * 37_000)).collect();
        assert_eq!(tell(&slow), [] as [f64; 0]);
        // Once a second while it lasts.
        let full: Vec<_> = (0..12_u32).map(|n| (f64::from(n) * 0.25, u64::from(n) * 250_000)).collect();
        assert_eq!(tell(&full), [0.25, 1.25, 2.25]);
        // Nobody looked for three seconds: 450 ms of them may be borne.
        assert_eq!(tell(&[(0.0, 0), (3.0, 450_000)]), [] as [f64; 0]);
        assert_eq!(tell(&[(0.0, 0), (3.0, 450_001)]), [3.0]);
        // A count that goes back is another one's.
        assert_eq!(tell(&[(0.0, 9_000_000), (0.25, 3), (0.5, 150_004)]), [0.5]);
    }

    /// On the kernel that runs the tests: who may have a window of a second is told, everybody else looks.
    #[test]
    fn real_files_are_watched_in_the_best_way_that_the_kernel_allows() {
        let wake = Wake::new(std::path::Path::new("/")).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:\t")).unwrap();
        let may = u64::from_str_radix(effective, 16).unwrap() & (1 << 24) != 0;
        match (&wake.stalls, std::path::Path::new(MEMORY).exists()) {
            (Stalls::Told(_), true) => assert!(may && wake.without_stall_trigger().is_none()),
            (Stalls::Looked { looks, .. }, true) => {
                assert!(!may && looks.seen.len() == 1, "{looks:?}");
                assert!(wake.without_stall_trigger().unwrap().contains("CAP_SYS_RESOURCE"));
            }
            (Stalls::Unseen { .. }, false) => {}
            odd => panic!("{odd:?}"),
        }
    }
}
