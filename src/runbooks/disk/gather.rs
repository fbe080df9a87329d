//! Looks, and changes nothing. Parts that can take long run beside each other; one that fails is `Unavailable` and no more.

use std::thread;
use std::time::Duration;

use super::evidence::{Evidence, HolderAnswer, Io, Ratio};
use super::signals::FILLING;
use super::{Params, families};
use crate::detect::Growth;
use crate::host::{ReadError, ReadHost, ScanAsk};
use crate::model::{
    Answer, Bytes, Candidates, FamilyAsk, FileFamily, FsKind, FsUsage, HeldFiles, HolderUnit, HostPath, ImageStore, Mount, Now, Observed,
    Query, Scan, Seconds, Subject, VolumeInfo,
};
use crate::runbooks::{Depth, FocusedAsk, Part};

/// Logs whose compression is tried on samples of them.
const RATIOS: usize = 8;
/// Holders of deleted files whose unit is asked for.
const HOLDERS: usize = 5;
/// Candidates that are kept of each family, whatever `max_files` allows.
const KEEP: usize = 20_000;

const NOT_READ: &str = "not read again: only what steps change was looked at";

pub(super) fn gather(host: &dyn ReadHost, ask: &FocusedAsk<'_>, params: &Params) -> Evidence {
    let taken = host.now();
    let mounts: Observed<Vec<Mount>> = host.mounts().into();
    let (mount, usage, stuck_for_s) = filesystem(host, &mounts, ask.subject);
    let mut evidence = Evidence {
        subject: ask.subject.clone(),
        signals: ask.signals.to_vec(),
        stuck_for_s,
        growth: growth(ask, &mount),
        new_errors: mount.value().and_then(|m| ask.history.errors_risen(&m.path, m.device)).unwrap_or(0),
        refuses_writes: mount.value().is_some_and(|m| ask.history.refuses_writes(&m.path, m.device)),
        held: unread(),
        holder_units: Vec::new(),
        writers: unread(),
        io: Io { disks: unread(), busy: Observed::unavailable("no disk is known"), pressure: host.io_pressure().into() },
        scan: unread(),
        tmp_exclusions: unread(),
        journal_active: unread(),
        compress_ratios: Vec::new(),
        images: unread(),
        volume: unread(),
        taken,
        mount,
        usage,
    };
    let Some(mount) = evidence.mount.value().cloned() else {
        let why = evidence.mount.why().unwrap_or_default().to_owned();
        evidence.fail(&why);
        return evidence;
    };
    evidence.io = io(host, ask, &mount);
    // Whatever hangs statfs hangs a walk as well.
    if let Some(for_s) = stuck_for_s {
        evidence.fail(&format!("{} has not answered for {}", mount.path, Seconds(for_s)));
        return evidence;
    }
    let all = mounts.value().map(Vec::as_slice).unwrap_or_default();
    thread::scope(|scope| {
        let held = Part::begin(scope, || host.deleted_open(mount.device).into());
        let writers = Part::begin(scope, || host.writers(mount.device, duration(params.writers_window_s)).into());
        if ask.depth == Depth::Full {
            let images = Part::begin(scope, || images(host, &mount, all));
            let volume = Part::begin(scope, || volume(host, &mount));
            evidence.tmp_exclusions = host.tmp_exclusions().into();
            let asks = families::asks(&mount, all, params, evidence.tmp_exclusions.value().map(Vec::as_slice));
            evidence.scan = scan(host, &mount, asks, params, &evidence.taken);
            evidence.journal_active = split_journal(&mut evidence.scan);
            evidence.compress_ratios = ratios(host, &evidence.scan);
            evidence.images = images.observed();
            evidence.volume = volume.observed();
        }
        evidence.held = held.observed();
        evidence.writers = writers.observed();
    });
    if ask.depth == Depth::Full {
        evidence.holder_units = holder_units(host, &evidence.held);
    }
    evidence
}

fn unread<T>() -> Observed<T> {
    Observed::unavailable(NOT_READ)
}

fn duration(span: Seconds) -> Duration {
    Duration::from_secs_f64(span.0.clamp(0.0, 600.0))
}

impl Evidence {
    /// Nothing below the filesystem can be read.
    fn fail(&mut self, why: &str) {
        self.held = Observed::unavailable(why);
        self.writers = Observed::unavailable(why);
        self.scan = Observed::unavailable(why);
        self.tmp_exclusions = Observed::unavailable(why);
        self.journal_active = Observed::unavailable(why);
        self.images = Observed::unavailable(why);
        self.volume = Observed::unavailable(why);
    }
}

type Found = (Observed<Mount>, Observed<FsUsage>, Option<f64>);

fn filesystem(host: &dyn ReadHost, mounts: &Observed<Vec<Mount>>, subject: &Subject) -> Found {
    let all = match mounts {
        Observed::Value { value, .. } => value,
        Observed::Unavailable { why } => return (Observed::unavailable(why), Observed::unavailable(why), None),
    };
    let nothing = |why: String| (Observed::unavailable(&why), Observed::unavailable(&why), None);
    let local = |m: &&Mount| m.kind == FsKind::Local && !m.read_only;
    match subject {
        Subject::Filesystem { mount, device } => {
            match all.iter().find(|m| m.path == *mount || (m.device == *device && m.also_at.contains(mount))) {
                Some(found) if found.device == *device => usage(host, found),
                Some(found) => nothing(format!("{mount} is another filesystem by now: device {}, was {device}", found.device)),
                None => nothing(format!("{mount} is not mounted any more")),
            }
        }
        Subject::Disk { name } => {
            let on_it = |m: &&Mount| host.disks_under(m).is_ok_and(|disks| disks.contains(name));
            fullest(host, all.iter().filter(local).filter(on_it))
                .unwrap_or_else(|| nothing(format!("no filesystem on disk {name} could be read")))
        }
        // Units and processes are nothing that this runbook's signals are about.
        Subject::Host | Subject::Unit { .. } | Subject::Process { .. } => {
            fullest(host, all.iter().filter(local)).unwrap_or_else(|| nothing("no local filesystem could be read".into()))
        }
    }
}

fn usage(host: &dyn ReadHost, mount: &Mount) -> Found {
    let read = host.fs_usage(mount);
    let stuck = match &read {
        Err(ReadError::Stuck { for_s, .. }) => Some(*for_s),
        _ => None,
    };
    (Observed::fresh(mount.clone()), read.into(), stuck)
}

fn fullest<'a>(host: &dyn ReadHost, mounts: impl Iterator<Item = &'a Mount>) -> Option<Found> {
    let percent = |found: &Found| found.1.value().and_then(FsUsage::used_percent).map_or(-1.0, |p| p.0);
    mounts.map(|m| usage(host, m)).max_by(|a, b| percent(a).total_cmp(&percent(b)))
}

/// The growth now, or that which raised `disk_filling`, whichever is more: after a step has freed something, the growth over the last half
/// hour is a drop, and the forecast that brought us here would look fine.
fn growth(ask: &FocusedAsk<'_>, mount: &Observed<Mount>) -> Observed<Growth> {
    let grown = mount.value().and_then(|m| {
        let raised = ask.signals.iter().find(|s| s.kind == FILLING);
        let then = raised.and_then(|s| ask.history.growth_at(&m.path, m.device, &s.since));
        let both = [ask.history.growth(&m.path, m.device), then];
        both.into_iter().flatten().max_by(|a, b| a.bytes_per_s.total_cmp(&b.bytes_per_s))
    });
    grown.map_or_else(|| Observed::unavailable("not watched for long enough to tell its growth"), Observed::fresh)
}

fn io(host: &dyn ReadHost, ask: &FocusedAsk<'_>, mount: &Mount) -> Io {
    let disks: Observed<Vec<String>> = host.disks_under(mount).into();
    let name = match ask.subject {
        Subject::Disk { name } => Some(name),
        Subject::Filesystem { .. } | Subject::Host | Subject::Unit { .. } | Subject::Process { .. } => disks.value().and_then(|d| d.last()),
    };
    let busy = name.and_then(|n| ask.history.busy(n));
    let busy = busy.map_or_else(|| Observed::unavailable("the disk's counters were not read twice yet"), Observed::fresh);
    Io { busy, pressure: host.io_pressure().into(), disks }
}

fn scan(host: &dyn ReadHost, mount: &Mount, families: Vec<FamilyAsk>, params: &Params, now: &Now) -> Observed<Scan> {
    let keep = usize::try_from(params.limits.max_files).unwrap_or(KEEP).clamp(1, KEEP);
    host.scan(&ScanAsk {
        mount: mount.path.clone(),
        device: mount.device,
        families,
        top: params.scan_top,
        keep,
        deadline: duration(params.scan_deadline_s),
        now: now.clone(),
    })
    .into()
}

/// journald's active files were walked with the archived ones, to know how much they hold. They are counted and taken off the candidates.
fn split_journal(scan: &mut Observed<Scan>) -> Observed<Option<Bytes>> {
    let scan = match scan {
        Observed::Value { value, .. } => value,
        Observed::Unavailable { why } => return Observed::unavailable(why.clone()),
    };
    let journals: Vec<&mut Candidates> = scan.candidates.iter_mut().filter(|c| c.family == FileFamily::JournalArchives).collect();
    if journals.is_empty() {
        return Observed::fresh(None);
    }
    let mut active = 0u64;
    for found in journals {
        let (archived, live): (Vec<_>, Vec<_>) =
            std::mem::take(&mut found.files).into_iter().partition(|f| crate::guard::never::file(found.family, &f.path).is_none());
        let held: u64 = live.iter().map(|f| f.on_disk).sum();
        active += held;
        found.total_files = found.total_files.saturating_sub(live.len() as u64);
        found.total_on_disk = found.total_on_disk.saturating_sub(held);
        found.files = archived;
    }
    Observed::fresh(Some(Bytes(active)))
}

fn ratios(host: &dyn ReadHost, scan: &Observed<Scan>) -> Vec<Ratio> {
    let mut logs: Vec<(u64, HostPath)> = Vec::new();
    for found in scan.value().into_iter().flat_map(|s| &s.candidates).filter(|c| c.family == FileFamily::ClosedLogs) {
        let plain = found.files.iter().filter(|f| !families::is_compressed(f.path.file_name()));
        logs.extend(plain.map(|f| (f.on_disk, found.root.join(&f.path))));
    }
    logs.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    logs.truncate(RATIOS);
    logs.into_iter().map(|(_, path)| Ratio { ratio: host.compress_ratio(&path).into(), path }).collect()
}

fn images(host: &dyn ReadHost, mount: &Mount, all: &[Mount]) -> Observed<Option<ImageStore>> {
    match host.privileged(&Query::Images) {
        Observed::Value { value: Answer::Images(store), age_s } => {
            let here = families::carrier(&store.root, all).is_some_and(|m| m.device == mount.device);
            Observed::Value { value: here.then_some(store), age_s }
        }
        other => refused(other),
    }
}

fn volume(host: &dyn ReadHost, mount: &Mount) -> Observed<VolumeInfo> {
    match host.privileged(&Query::Volume { mount: mount.path.clone() }) {
        Observed::Value { value: Answer::Volume(volume), age_s } => Observed::Value { value: volume, age_s },
        other => refused(other),
    }
}

fn holder_units(host: &dyn ReadHost, held: &Observed<HeldFiles>) -> Vec<HolderAnswer> {
    let holders = held.value().map(super::held::holders).unwrap_or_default();
    holders.into_iter().take(HOLDERS).map(|h| HolderAnswer { pid: h.pid, unit: holder_unit(host, h.pid) }).collect()
}

fn holder_unit(host: &dyn ReadHost, pid: u32) -> Observed<HolderUnit> {
    match host.privileged(&Query::HolderUnit { pid }) {
        Observed::Value { value: Answer::HolderUnit(unit), age_s } => Observed::Value { value: unit, age_s },
        other => refused(other),
    }
}

fn refused<T>(answer: Observed<Answer>) -> Observed<T> {
    match answer {
        Observed::Unavailable { why } => Observed::Unavailable { why },
        Observed::Value { value, .. } => Observed::unavailable(format!("the actuator answered something else: {value:?}")),
    }
}
