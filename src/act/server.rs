//! The actuator's socket: who may ask, how long he may take, and how many at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use super::bounded::Bounded;
use super::desk::{Asker, Desk, count};
pub use super::desk::{Counts, Settings};
use crate::host::ReadHost;
use crate::record::Ledger;
use crate::wire::actuator::{Request, Response};
use crate::wire::frame::{self, FrameError};

/// Connections served at once; the threads are there from the start, so that a host without free pids can still be healed.
const WORKERS: usize = 4;
/// For one request to arrive, and for one response to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the step in hand to reach a safe point when we are told to stop.
const FAREWELL: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    desk: Arc<Desk>,
    stopping: Arc<AtomicBool>,
}

/// Makes the socket, for root and the agent's group. What a dead predecessor left is replaced; anything that is no socket is not.
///
/// # Errors
/// Naming the path.
pub fn bind(path: &Path, agent_gid: u32) -> io::Result<UnixListener> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("socket {}: {e}", path.display()));
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => std::fs::remove_file(path).map_err(named)?,
        Ok(_) => return Err(named(io::Error::new(io::ErrorKind::AlreadyExists, "there is something that is not a socket"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(named(e)),
    }
    // Closed to all others from its first moment on: the mode is taken from the umask, not changed afterwards.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener.map_err(named)?;
    std::os::unix::fs::chown(path, None, Some(agent_gid)).map_err(named)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(named)?;
    Ok(listener)
}

impl Server {
    /// # Errors
    /// When the host's root cannot be opened or the listener not be set up.
    pub fn new(listener: UnixListener, settings: Settings, ledger: Ledger, host: Arc<dyn ReadHost>) -> io::Result<Self> {
        crate::host::sys::ignore_sigio();
        listener.set_nonblocking(true)?;
        Ok(Self { listener, desk: Arc::new(Desk::new(settings, ledger, host)?), stopping: Arc::default() })
    }

    pub fn counts(&self) -> &Counts {
        &self.desk.counts
    }

    /// Serves until `stop` becomes readable; `tick` is called about every `every`, for a watchdog. A step in hand is brought to its
    /// next safe point, and its effect written down, and what lasts until it is taken back is taken back, before this returns.
    ///
    /// # Errors
    /// When threads cannot be made or the socket fails.
    pub fn run(&self, stop: BorrowedFd<'_>, every: Duration, tick: &dyn Fn()) -> io::Result<()> {
        // Dropping `told` is what all workers see.
        let (told, hangup) = UnixStream::pair()?;
        let mut workers = Vec::new();
        for n in 0..WORKERS {
            let (listener, hangup) = (self.listener.try_clone()?, hangup.try_clone()?);
            let (desk, stopping) = (Arc::clone(&self.desk), Arc::clone(&self.stopping));
            let worker = move || work(&listener, &hangup, &desk, &stopping);
            workers.push(std::thread::Builder::new().name(format!("ask-{n}")).spawn(worker)?);
        }
        while !readable(&[stop], every)?[0] {
            tick();
            self.take_back_if_forsaken(Instant::now());
            self.take_back_stubborn(Instant::now());
        }
        self.stopping.store(true, Ordering::SeqCst);
        drop(told);
        let until = Instant::now() + FAREWELL;
        while workers.iter().any(|w| !w.is_finished()) && Instant::now() < until {
            tick();
            std::thread::sleep(Duration::from_millis(20));
        }
        tick();
        // Nobody would be there to do it when its time has come.
        self.desk.take_back("the actuator was told to stop");
        Ok(())
    }

    /// Tries again, at most once a minute, what could not be taken back when it was asked for.
    pub fn take_back_stubborn(&self, now: Instant) {
        self.desk.take_back_stubborn(now);
    }

    /// Takes back what stands if, at `now`, nothing has been heard of the agent for ten minutes.
    pub fn take_back_if_forsaken(&self, now: Instant) {
        self.desk.take_back_if_forsaken(now);
    }
}

fn work(listener: &UnixListener, hangup: &UnixStream, desk: &Desk, stopping: &AtomicBool) {
    while !stopping.load(Ordering::SeqCst) {
        match readable(&[listener.as_fd(), hangup.as_fd()], Duration::from_secs(3600)) {
            Ok(ready) if ready[0] => {}
            Ok(_) => continue,
            Err(e) => {
                tracing::error!("waiting for the agent: {e}");
                std::thread::sleep(Duration::from_secs(1));
                continue;
            }
        }
        match listener.accept() {
            // The connection dies with a panic, the actuator does not; the intent stays open in the ledger.
            Ok((stream, _)) => {
                if catch_unwind(AssertUnwindSafe(|| serve(stream, desk, stopping))).is_err() {
                    tracing::error!("a request ended in a defect of this program; the intent in hand stays open");
                }
            }
            // Another worker was faster.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => {
                tracing::error!("a connection could not be taken: {e}");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn serve(mut stream: UnixStream, desk: &Desk, stopping: &AtomicBool) {
    match sockopt::socket_peercred(&stream) {
        // Not even root: a program that asks in the agent's place has to become the agent's user first, and that leaves a trace.
        Ok(peer) if peer.uid.as_raw() == desk.agent_uid() => {}
        Ok(peer) => {
            count(&desk.counts.strangers);
            tracing::warn!(uid = peer.uid.as_raw(), pid = peer.pid.as_raw_nonzero().get(), "not the agent's user: not served");
            return;
        }
        Err(e) => {
            count(&desk.counts.strangers);
            tracing::warn!("a peer without credentials is not served: {}", io::Error::from(e));
            return;
        }
    }
    // Accepted sockets of a non-blocking listener may be so too.
    if stream.set_nonblocking(false).is_err() {
        return;
    }
    while !stopping.load(Ordering::SeqCst) {
        let read = frame::read::<Request>(&mut Bounded { stream: &mut stream, until: Instant::now() + PATIENCE });
        let request = match read {
            Ok(request) => request,
            Err(FrameError::Closed) => return,
            Err(e) => {
                count(&desk.counts.malformed);
                tracing::warn!("a request was not understood: {e}");
                let _ = respond(&mut stream, &Response::Malformed { why: e.to_string() });
                return;
            }
        };
        let Ok(watched) = stream.try_clone() else { return };
        let gone = move || stopping.load(Ordering::SeqCst) || hung_up(&watched);
        let response = desk.answer(request, &Asker { gone: &gone });
        if let Err(e) = respond(&mut stream, &response) {
            tracing::warn!("the agent did not take the response: {e}");
            return;
        }
    }
}

fn respond(stream: &mut UnixStream, response: &Response) -> Result<(), FrameError> {
    frame::write(&mut Bounded { stream, until: Instant::now() + PATIENCE }, response)
}

fn hung_up(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    let asked = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    asked.is_ok() && fds[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

fn readable<const N: usize>(fds: &[BorrowedFd<'_>; N], patience: Duration) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(polled.map(|p| !p.revents().is_empty())),
        Err(e) => Err(e.into()),
    }
}
