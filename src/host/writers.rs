//! Who writes to a device now.
//!
//! The kernel counts what a process wrote, not where to. So two looks at the counters tell who writes at all; of those, the descriptors
//! open on the device and how their files grew tell who writes to it. A process that opens, appends and closes between the looks is missed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::procs::{self, Process};
use super::root::Root;
use super::{Read, Writer};
use crate::model::HostPath;

/// Writers whose descriptors are looked at.
const MAX_WRITERS: usize = 16;

/// `window` is split: in the first half the writers are found, in the second their files are watched growing.
pub(super) fn read_writers(root: &Root, device: u64, window: Duration) -> Read<Vec<Writer>> {
    let begun = Instant::now();
    let before: HashMap<u32, (Process, u64)> =
        procs::all(root)?.into_iter().filter_map(|p| p.written().map(|written| (p.pid, (p, written)))).collect();
    if before.is_empty() {
        return Err(procs::vanished("per-process io counters"));
    }
    std::thread::sleep(window / 2);

    // Through the directory opened before, so a pid that was taken over by another process does not look like a writer.
    let mut busy: Vec<(Process, u64, u64)> = before
        .into_values()
        .filter_map(|(process, first)| {
            let written = process.written()?.checked_sub(first).filter(|d| *d > 0)?;
            Some((process, first, written))
        })
        .collect();
    busy.sort_by_key(|(process, _, written)| (std::cmp::Reverse(*written), process.pid));
    busy.truncate(MAX_WRITERS);
    let watched: Vec<_> = busy
        .into_iter()
        .filter_map(|(process, first, _)| {
            let sizes = sizes(&process, device)?;
            Some((process, first, sizes))
        })
        .collect();
    let looked = Instant::now();
    std::thread::sleep(window / 2);

    let mut writers: Vec<Writer> =
        watched.into_iter().filter_map(|(p, first, sizes)| measure(&p, first, &sizes, device, begun, looked)).collect();
    writers.sort_by(|a, b| {
        b.growing_bytes_per_s.total_cmp(&a.growing_bytes_per_s).then(b.bytes_per_s.total_cmp(&a.bytes_per_s)).then(a.pid.cmp(&b.pid))
    });
    Ok(writers)
}

fn measure(process: &Process, first: u64, sizes: &HashMap<u64, u64>, device: u64, begun: Instant, looked: Instant) -> Option<Writer> {
    let written = process.written()?.checked_sub(first)?;
    let now = process.open_files(device, |_| true).ok()?;
    let growing = now
        .iter()
        // A file that was not open at the first look grew from nothing only if it is new; it is left for the next look.
        .filter_map(|file| Some((file.size.checked_sub(*sizes.get(&file.ino)?).filter(|grown| *grown > 0)?, file)))
        .max_by(|(a, x), (b, y)| a.cmp(b).then_with(|| y.name.cmp(&x.name)));
    if now.is_empty() {
        return None;
    }
    let who = process.identity()?;
    let growing_bytes_per_s = growing.as_ref().map_or(0.0, |(grown, _)| *grown as f64 / looked.elapsed().as_secs_f64());
    Some(Writer {
        pid: process.pid,
        start_ticks: who.start_ticks,
        comm: who.comm,
        cgroup: process.cgroup(),
        bytes_per_s: written as f64 / begun.elapsed().as_secs_f64(),
        growing: growing.map(|(_, file)| HostPath::from_bytes(file.name.as_slice())),
        growing_bytes_per_s,
    })
}

/// Sizes by inode of what a process has open on the device; `None` when it has nothing open there.
fn sizes(process: &Process, device: u64) -> Option<HashMap<u64, u64>> {
    let files = process.open_files(device, |_| true).ok()?;
    (!files.is_empty()).then(|| files.into_iter().map(|f| (f.ino, f.size)).collect())
}
