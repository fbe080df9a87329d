//! What ends the pause between two samples early: the kernel's pressure triggers, or somebody's call.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;

use super::Read;
use super::root::{Root, io_error};
use crate::model::HostPath;

/// Stalls of some task in microseconds, within a window of two seconds: the shortest that the kernel takes from somebody who holds no
/// CAP_SYS_RESOURCE. Memory is told soonest, because it is gone soonest.
const TRIGGERS: [(&str, &str); 3] = [
    ("/proc/pressure/memory", "some 150000 2000000"),
    ("/proc/pressure/io", "some 500000 2000000"),
    ("/proc/pressure/cpu", "some 1000000 2000000"),
];

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Woken {
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
}

impl Wake {
    /// Pressure triggers where the kernel allows them to this process, nothing but calls else.
    ///
    /// # Errors
    /// When the kernel gives no descriptor to be called on.
    pub fn new(root: &std::path::Path) -> io::Result<Self> {
        let call = Waker(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
        let (triggers, without) = match Root::open(root).and_then(|root| TRIGGERS.iter().map(|t| trigger(&root, t)).collect()) {
            Ok(triggers) => (triggers, None),
            Err(e) => (Vec::new(), Some(e.to_string())),
        };
        Ok(Self { call, triggers, without })
    }

    pub fn waker(&self) -> Waker {
        self.call.clone()
    }

    /// Why pressure is only polled; `None`: the kernel tells.
    pub fn without_triggers(&self) -> Option<&str> {
        self.without.as_deref()
    }

    /// Waits for at most `pause`.
    pub fn wait(&self, pause: Duration) -> Woken {
        let mut polled = vec![PollFd::new(&self.call.0, PollFlags::IN)];
        polled.extend(self.triggers.iter().map(|t| PollFd::new(t, PollFlags::PRI)));
        // Longer than a `Timespec` holds is for ever; so is what poll refuses: the caller samples now, which harms nobody.
        let pause = Timespec::try_from(pause).ok();
        if poll(&mut polled, pause.as_ref()).is_err() {
            return Woken::default();
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let woken = Woken { called: ready(&polled[0]), pressure: polled[1..].iter().any(ready) };
        if woken.called {
            let mut count = [0; 8];
            let _emptied = rustix::io::read(&*self.call.0, &mut count);
        }
        woken
    }
}

/// Registered as long as the file is open.
fn trigger(root: &Root, (path, what): &(&str, &str)) -> Read<File> {
    let path = HostPath::from(*path);
    let file = root.open_flags(&path, OFlags::RDWR | OFlags::NONBLOCK)?;
    // The kernel wants the closing zero as well.
    rustix::io::write(&file, format!("{what}\0").as_bytes()).map_err(|e| io_error(&path, e))?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_call_ends_the_pause_and_counts_once() {
        let wake = Wake::new(std::path::Path::new("/")).unwrap();
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
        let wake = Wake::new(dir.path()).unwrap();
        assert!(wake.without_triggers().is_some_and(|why| why.contains("/proc/pressure/memory")), "{wake:?}");
        assert_eq!(wake.wait(Duration::ZERO), Woken::default());
    }
}
