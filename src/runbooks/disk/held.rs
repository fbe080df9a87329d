//! Who keeps deleted files open, and how much each of them keeps.

use std::collections::BTreeMap;

use crate::model::{HeldFile, HeldFiles};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HolderUse {
    pub pid: u32,
    pub start_ticks: u64,
    pub comm: String,
    pub bytes: u64,
}

/// By bytes, largest first. A file that several processes hold counts for each: it is free only when all have let go.
pub(super) fn holders(held: &HeldFiles) -> Vec<HolderUse> {
    let mut by_pid: BTreeMap<u32, Vec<&HeldFile>> = BTreeMap::new();
    for file in &held.files {
        by_pid.entry(file.pid).or_default().push(file);
    }
    let mut out: Vec<HolderUse> = by_pid
        .into_values()
        .map(|files| HolderUse {
            pid: files[0].pid,
            start_ticks: files[0].start_ticks,
            comm: files[0].comm.clone(),
            bytes: distinct(files.into_iter()),
        })
        .collect();
    out.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.pid.cmp(&b.pid)));
    out
}

/// Bytes that these descriptors keep: each file once.
pub(super) fn distinct<'a>(files: impl Iterator<Item = &'a HeldFile>) -> u64 {
    let mut by_ino: BTreeMap<u64, u64> = BTreeMap::new();
    for file in files {
        let bytes = by_ino.entry(file.ino).or_default();
        *bytes = file.on_disk.max(*bytes);
    }
    by_ino.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
}

/// Bytes that come free when everybody lets go.
pub(super) fn total(held: &HeldFiles) -> u64 {
    distinct(held.files.iter())
}
