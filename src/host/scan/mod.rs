//! One walk over one filesystem: what is large, what is many, and what each family of files would give.
//!
//! [`walk`] moves through directories and does the system calls; [`tally`] adds up what was seen, and never touches the disk. The tally is
//! locked only between calls, so when a directory hangs, what was found until then can still be told.

mod families;
mod tally;
mod top;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::deadline::{Ask, Parking};
use super::root::Root;
use super::{Read, Scan, ScanAsk, clock, sys, usage};
use tally::Tally;
use walk::Walk;

/// A walk ends itself at its deadline; this much later it is taken to hang.
const GRACE: Duration = Duration::from_secs(1);

/// Walks until the end or the deadline, whichever is first. An incomplete walk says so, and names what it did not see.
///
/// # Errors
/// When the mount itself cannot be opened, a pattern cannot be understood, or an earlier walk of this mount still hangs.
pub(super) fn scan(root: &Arc<Root>, parking: &Arc<Parking>, ask: &ScanAsk) -> Read<Scan> {
    let begun = clock::uptime_s();
    let shared = Arc::new(Shared { tally: Mutex::new(Tally::new(ask)?), started: AtomicBool::new(false) });
    let call = {
        let (root, ask, shared) = (Arc::clone(root), ask.clone(), Arc::clone(&shared));
        move || {
            shared.started.store(true, Ordering::SeqCst);
            // Refused by a sandbox: then the walk competes like everybody else.
            let _as_everybody = sys::yield_the_disk();
            Walk::new(&root, &shared.tally, Instant::now() + ask.deadline).run(&ask)
        }
    };
    match parking.ask(Ask::new(format!("scan {}", ask.mount), call), ask.deadline + GRACE) {
        Ok(walked) => walked?,
        Err(_) if shared.started.load(Ordering::SeqCst) => shared.tally.lock().unwrap_or_else(PoisonError::into_inner).hangs(),
        Err(parked) => return Err(usage::stuck("scan of ", &ask.mount, parked)),
    }
    let scan = shared.tally.lock().unwrap_or_else(PoisonError::into_inner).finish();
    Ok(Scan { took_s: clock::uptime_s() - begun, ..scan })
}

struct Shared {
    tally: Mutex<Tally>,
    started: AtomicBool,
}
