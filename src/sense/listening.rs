//! What a host tells by itself: the kernel's log, systemd's units, the journal. One thread waits for all three and costs nothing meanwhile.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::host::{Journal, JournalAsk, JournalWatch, KernelLogReader, Read, ReadError, UnitWatch, sys};
use crate::model::{KernelEvent, KernelLog, Units};

/// Between two looks at a kernel that has not stopped talking. Not longer: its log holds little more than what a storm says meanwhile.
const BREATH: Duration = Duration::from_millis(10);
/// As many times as long as a look took: a storm costs a tenth of a core at most, on any machine, and what is overwritten meanwhile is counted.
const RESTS: u32 = 9;

/// Something happened that is worth a look at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    Kernel(KernelEvent),
    UnitFailed(String),
    /// The journal has entries that were asked for.
    Journal,
}

/// Where to go on listening, and for what.
#[derive(Debug, Clone, Default)]
pub struct Listen {
    pub journal: JournalAsk,
    /// Sequence number of the last line of the kernel that was seen in this same boot.
    pub kernel_after: Option<u64>,
    /// The journal's cursor up to which everything was seen.
    pub journal_after: Option<String>,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Listening {
    kernel: Arc<Mutex<Read<KernelLogReader>>>,
    units: Arc<UnitWatch>,
    journal: Arc<JournalWatch>,
    thread: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Listening {
    /// `happened` is called on the listening thread: it must not wait for anything.
    ///
    /// # Errors
    /// When no thread can be had. A source that is not there is `Unavailable`, and the others go on.
    pub fn start(root: &Path, listen: Listen, happened: impl Fn(Happened) + Send + 'static) -> std::io::Result<Self> {
        let kernel = Arc::new(Mutex::new(KernelLogReader::open(root, listen.kernel_after)));
        let units = Arc::new(UnitWatch::new(root));
        let journal = Arc::new(JournalWatch::new(root, listen.journal, listen.journal_after));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let theirs = (Arc::clone(&kernel), Arc::clone(&units), Arc::clone(&journal));
        let body = move || {
            runtime.block_on(async {
                let (kernel, units, journal) = theirs;
                let all = async {
                    tokio::join!(
                        follow_kernel(&kernel, &happened),
                        units.follow(|name| happened(Happened::UnitFailed(name.to_owned()))),
                        journal.follow(|| happened(Happened::Journal)),
                    )
                };
                tokio::select! { _ = all => {}, _ = stopped => {} }
            });
        };
        let thread = std::thread::Builder::new().name("listening".into()).spawn(body)?;
        Ok(Self { kernel, units, journal, thread: Some((stop, thread)) })
    }

    pub fn kernel_log(&self) -> Read<KernelLog> {
        lock(&self.kernel).as_ref().map(KernelLogReader::log).map_err(ReadError::clone)
    }

    /// Each failure is named once.
    pub fn units(&self) -> Read<Units> {
        self.units.units()
    }

    /// What was told since the last time.
    pub fn journal(&self) -> Read<Journal> {
        self.journal.take()
    }

    /// Where a run after this one is to go on: the kernel's sequence number, good for this boot only, and the journal's cursor.
    pub fn places(&self) -> (Option<u64>, Option<String>) {
        (lock(&self.kernel).as_ref().ok().and_then(KernelLogReader::last_seq), self.journal.cursor())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            // A thread that ended by itself needs no telling, and one that panicked has said so.
            let _ = stop.send(());
            drop(thread.join());
        }
    }
}

async fn follow_kernel(kernel: &Mutex<Read<KernelLogReader>>, happened: &impl Fn(Happened)) {
    let ready = match &*lock(kernel) {
        // One of its own for the same open file, so that waiting does not hold the lock.
        Ok(reader) => reader.as_fd().try_clone_to_owned().and_then(sys::readable),
        Err(_) => return,
    };
    let ready = match ready {
        Ok(ready) => ready,
        Err(e) => return give_up(kernel, format!("cannot be waited for: {e}")),
    };
    loop {
        let mut guard = match ready.readable().await {
            Ok(guard) => guard,
            Err(e) => return give_up(kernel, format!("cannot be waited for: {e}")),
        };
        let begun = Instant::now();
        let drained = match &mut *lock(kernel) {
            Ok(reader) => reader.drain(|event| happened(Happened::Kernel(event.clone()))),
            Err(_) => return,
        };
        match drained {
            Ok(true) => {}
            Ok(false) => guard.clear_ready(),
            Err(e) => return give_up(kernel, e.to_string()),
        }
        tokio::time::sleep(begun.elapsed().saturating_mul(RESTS).max(BREATH)).await;
    }
}

fn give_up(kernel: &Mutex<Read<KernelLogReader>>, why: String) {
    *lock(kernel) = Err(ReadError::NotHere { what: "the kernel's log".to_owned(), why });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
