//! What could be done, least harmful first, whether or not it is allowed: the ladder. Classes are read off it as well, so that
//! diagnosis and plan cannot disagree on what there is.

use std::collections::{BTreeMap, BTreeSet};

use super::class::Class;
use super::evidence::Evidence;
use super::{Params, families, held};
use crate::guard::{Limits, never};
use crate::model::{
    Bytes, Candidates, FileFamily, FileTarget, GrowVolume, Holder, HolderAction, HostPath, ImageTarget, Mount, Observed, Step, StepKind,
};

/// One rung.
#[derive(Debug)]
pub(super) struct Offer {
    pub kind: StepKind,
    /// What it would mean if this explained the need; `None`: it explains nothing, it only makes room.
    pub class: Option<Class>,
    pub load: Load,
    /// What comes free if all of it is done.
    pub bytes: u64,
    /// What the files of this rung hold, whether or not they may go or would shrink: what it explains.
    pub holds: u64,
    pub inodes: u64,
    pub left_out: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Load {
    Files(Files),
    Images(Vec<ImageTarget>),
    Whole(Step),
    /// There is something, and none of it may be touched; `left_out` says why.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Files {
    pub family: FileFamily,
    pub root: HostPath,
    pub files: Vec<Piece>,
    pub dirs: Vec<FileTarget>,
}

#[derive(Debug)]
pub(super) struct Piece {
    pub target: FileTarget,
    /// Bytes that come free.
    pub frees: u64,
}

/// Compressing by less than this is not worth the reading.
const WORTHWHILE_RATIO: f64 = 0.9;
/// Logs whose compression was not tried.
const USUAL_RATIO: f64 = 0.5;

/// Every rung for which there is something on this filesystem, in the order of [`StepKind::ALL`].
pub(super) fn ladder(evidence: &Evidence, params: &Params) -> Vec<Offer> {
    let mut out = Vec::new();
    let Some(mount) = evidence.mount.value() else { return out };
    if let Observed::Value { value: scan, .. } = &evidence.scan {
        let rotated = paths(&scan.candidates, FileFamily::RotatedLogs);
        let closed = paths(&scan.candidates, FileFamily::ClosedLogs);
        let mut compressed = BTreeSet::new();
        for family in families::ALL {
            for found in scan.candidates.iter().filter(|c| c.family == family) {
                match family {
                    FileFamily::ClosedLogs => out.push(closed_logs(found, evidence, params, &rotated, &mut compressed)),
                    FileFamily::RotatedLogs => {
                        let mut offer = files(found, |path| compressed.contains(path).then_some("compressed by the step before"));
                        // What the rung above speaks of is explained there.
                        let twice =
                            |f: &&FileTarget| closed.contains(&found.root.join(&f.path)) && !compressed.contains(&found.root.join(&f.path));
                        offer.holds = offer.holds.saturating_sub(found.files.iter().filter(twice).map(|f| f.on_disk).sum());
                        out.push(offer);
                    }
                    FileFamily::JournalArchives => out.extend(journal(found, evidence, params)),
                    _ => out.push(files(found, |_| None)),
                }
            }
        }
    }
    if let Observed::Value { value: Some(store), .. } = &evidence.images {
        let mut offer = Offer::nothing(StepKind::PruneImages, Some(Class::ContainerImages));
        let (mut pinned, mut used, mut young) = (0, 0, 0);
        let mut targets = Vec::new();
        for image in &store.images {
            if image.in_use {
                used += 1;
            } else if never::image(&image.tags) {
                pinned += 1;
            } else if image.age_s < params.image_min_age_s.whole() {
                young += 1;
            } else {
                let (id, tags, digests) = (image.id.clone(), image.tags.clone(), image.digests.clone());
                targets.push(ImageTarget { id, tags, digests, size: image.unique });
            }
        }
        offer.leave_out(used, "images are in use");
        offer.leave_out(pinned, "images are ones that pods cannot start without");
        offer.leave_out(young, "images are too young");
        targets.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
        offer.bytes = targets.iter().map(|t| t.size).sum::<Bytes>().0;
        offer.holds = offer.bytes;
        if !targets.is_empty() {
            offer.load = Load::Images(targets);
        }
        out.push(offer);
    }
    out.extend(grow(evidence, mount, params));
    out.extend(restarts(evidence, mount, params));
    let harm = |kind: StepKind| StepKind::ALL.iter().position(|k| *k == kind);
    out.sort_by_key(|o| harm(o.kind));
    out
}

impl Offer {
    fn nothing(kind: StepKind, class: Option<Class>) -> Self {
        Self { kind, class, load: Load::Nothing, bytes: 0, holds: 0, inodes: 0, left_out: Vec::new() }
    }

    fn leave_out(&mut self, count: u64, why: &str) {
        if count > 0 {
            self.left_out.push(format!("{count} {why}"));
        }
    }
}

fn paths(candidates: &[Candidates], family: FileFamily) -> BTreeSet<HostPath> {
    candidates.iter().filter(|c| c.family == family).flat_map(|c| c.files.iter().map(|f| c.root.join(&f.path))).collect()
}

/// Takes out what no plan may hold, and what would free nothing.
fn eligible<'a>(found: &'a Candidates, offer: &mut Offer, skip: impl Fn(&HostPath) -> Option<&'static str>) -> Vec<&'a FileTarget> {
    let mut left_out: BTreeMap<&str, u64> = BTreeMap::new();
    let mut linked = found.hard_linked;
    let mut out = Vec::new();
    for file in &found.files {
        let path = found.root.join(&file.path);
        if let Some(why) = never::file(found.family, &path).or_else(|| skip(&path)) {
            *left_out.entry(why).or_default() += 1;
        } else if file.links > 1 {
            linked += 1;
        } else {
            out.push(file);
        }
    }
    for (why, count) in left_out {
        offer.leave_out(count, &format!("files: {why}"));
    }
    offer.leave_out(linked, "files have more than one link and would free nothing");
    out
}

/// Files that are deleted as they are.
fn files(found: &Candidates, skip: impl Fn(&HostPath) -> Option<&'static str>) -> Offer {
    let mut offer = Offer::nothing(found.family.kind(), Some(Class::of(found.family)));
    let targets = eligible(found, &mut offer, skip);
    offer.bytes = targets.iter().fold(0u64, |sum, t| sum.saturating_add(t.on_disk));
    // Beyond what the walk kept there is more, if it was cut off.
    let more = found.total_files.saturating_sub(found.files.len() as u64);
    if more > 0 {
        offer.left_out.push(format!("{more} more files match than one walk lists"));
        let kept: u64 = found.files.iter().fold(0, |sum, t| sum.saturating_add(t.on_disk));
        offer.bytes = offer.bytes.saturating_add(found.total_on_disk.saturating_sub(kept));
    }
    offer.holds = offer.bytes;
    offer.inodes = targets.len() as u64 + more;
    let dirs: Vec<FileTarget> =
        found.dirs.iter().filter(|d| never::file(found.family, &found.root.join(&d.path)).is_none()).cloned().collect();
    offer.inodes += dirs.len() as u64;
    if !(targets.is_empty() && dirs.is_empty()) {
        let files = targets.into_iter().map(|t| Piece { frees: t.on_disk, target: t.clone() }).collect();
        offer.load = Load::Files(Files { family: found.family, root: found.root.clone(), files, dirs });
    }
    offer
}

/// Logs to compress. One that is rotated and old enough to be deleted as well is compressed, which keeps what is in it, unless there is no
/// room to compress it in or the step is not allowed.
fn closed_logs(
    found: &Candidates,
    evidence: &Evidence,
    params: &Params,
    rotated: &BTreeSet<HostPath>,
    compressed: &mut BTreeSet<HostPath>,
) -> Offer {
    let mut offer = Offer::nothing(StepKind::CompressLogs, Some(Class::LogGrowth));
    let known: BTreeMap<&HostPath, f64> = evidence.compress_ratios.iter().filter_map(|r| Some((&r.path, *r.ratio.value()?))).collect();
    let usual = if known.is_empty() { USUAL_RATIO } else { known.values().sum::<f64>() / known.len() as f64 };
    let room = evidence.usage.value().map_or(0, |u| u.available);
    let allowed = params.limits.steps.contains(&StepKind::CompressLogs);
    let targets = eligible(found, &mut offer, |path| families::is_compressed(path.file_name()).then_some("are compressed already"));
    let (mut pieces, mut stubborn, mut later) = (Vec::new(), 0, 0);
    for target in targets {
        let path = found.root.join(&target.path);
        let ratio = known.get(&path).copied().unwrap_or(usual).clamp(0.0, 1.0);
        offer.holds = offer.holds.saturating_add(target.on_disk);
        let frees = (target.on_disk as f64 * (1.0 - ratio)) as u64;
        if ratio > WORTHWHILE_RATIO {
            stubborn += 1;
        } else if rotated.contains(&path) && (!allowed || target.on_disk.saturating_sub(frees) > room) {
            later += 1;
        } else {
            offer.bytes = offer.bytes.saturating_add(frees);
            compressed.insert(path);
            pieces.push(Piece { target: target.clone(), frees });
        }
    }
    offer.leave_out(stubborn, "files would hardly shrink");
    offer.leave_out(later, "files are rotated and left to the next step");
    if !pieces.is_empty() {
        offer.load = Load::Files(Files { family: found.family, root: found.root.clone(), files: pieces, dirs: Vec::new() });
    }
    offer
}

/// Archived journal files, oldest first, until active and archived ones together are no more than is to be kept.
fn journal(found: &Candidates, evidence: &Evidence, params: &Params) -> Option<Offer> {
    let active = (*evidence.journal_active.value()?)?;
    let mut offer = Offer::nothing(StepKind::VacuumJournal, Some(Class::JournalGrowth));
    let mut oldest_first = eligible(found, &mut offer, |_| None);
    oldest_first.sort_by(|a, b| a.mtime_ns.cmp(&b.mtime_ns).then_with(|| a.path.cmp(&b.path)));
    let mut total = active.0.saturating_add(found.total_on_disk);
    offer.holds = total.saturating_sub(params.journal_keep.0);
    let mut pieces = Vec::new();
    for target in oldest_first {
        if total <= params.journal_keep.0 {
            break;
        }
        total = total.saturating_sub(target.on_disk);
        offer.bytes = offer.bytes.saturating_add(target.on_disk);
        pieces.push(Piece { frees: target.on_disk, target: target.clone() });
    }
    offer.inodes = pieces.len() as u64;
    if !pieces.is_empty() {
        offer.load = Load::Files(Files { family: found.family, root: found.root.clone(), files: pieces, dirs: Vec::new() });
    }
    Some(offer)
}

/// A quarter more, or what thirty days need at this growth, whichever is more and there is room for.
fn grow(evidence: &Evidence, mount: &Mount, params: &Params) -> Option<Offer> {
    let volume = evidence.volume.value()?;
    let mut offer = Offer::nothing(StepKind::GrowVolume, None);
    let extent = volume.extent.0.max(1);
    let month = evidence.growth.value().map_or(0.0, |g| g.bytes_per_s.max(0.0) * MONTH_S);
    let more = (volume.size.0 / 4).max(month as u64).div_ceil(extent).saturating_mul(extent);
    let most = volume.vg_free.0.min(params.limits.max_volume.0.saturating_sub(volume.size.0)) / extent * extent;
    if !matches!(mount.fs_type.as_str(), "ext4" | "xfs") {
        offer.left_out.push(format!("{} cannot be grown online here, only ext4 and xfs can", mount.fs_type));
    } else if most == 0 {
        let (free, size) = (volume.vg_free, volume.size);
        offer.left_out.push(format!(
            "{}/{} has {size}, its group {free} free, and max_volume_gib is {}",
            volume.vg, volume.lv, params.limits.max_volume
        ));
    } else {
        let to = Bytes(volume.size.0.saturating_add(more.min(most)));
        offer.bytes = to.0 - volume.size.0;
        offer.load = Load::Whole(Step::GrowVolume(GrowVolume {
            vg: volume.vg.clone(),
            lv: volume.lv.clone(),
            mount: mount.path.clone(),
            fs_type: mount.fs_type.clone(),
            from: volume.size,
            to,
        }));
    }
    Some(offer)
}

pub(super) const MONTH_S: f64 = 30.0 * 86_400.0;

/// One offer a unit that holds deleted files and may be reloaded or restarted.
fn restarts(evidence: &Evidence, mount: &Mount, params: &Params) -> Vec<Offer> {
    let Some(files) = evidence.held.value() else { return Vec::new() };
    let mut by_unit: BTreeMap<&str, (HolderAction, Vec<u32>)> = BTreeMap::new();
    let mut none = Offer::nothing(StepKind::RestartHolder, Some(Class::DeletedOpenFiles));
    none.holds = held::total(files);
    let holders = held::holders(files);
    for holder in &holders {
        let Some(unit) = evidence.unit_of(holder.pid) else { continue };
        let unit = match unit {
            Observed::Value { value, .. } => value,
            Observed::Unavailable { why } => {
                none.left_out.push(format!("{} (pid {}): {why}", holder.comm, holder.pid));
                continue;
            }
        };
        let against = never::unit(&unit.unit).map(str::to_owned).or_else(|| {
            let stateful = params.limits.keeps_state(&unit.unit);
            match () {
                () if !unit.restart_safe => Some("has not opted in ([X-Byteport] Restart=safe)".to_owned()),
                () if stateful => Some("keeps state, and stateful_units_allowed does not name it".to_owned()),
                () if unit.active_state != "active" => Some(format!("is {}", unit.active_state)),
                () => None,
            }
        });
        match against {
            Some(why) => none.left_out.push(format!("{}: {why}", unit.unit)),
            None => {
                let action = if unit.can_reload { HolderAction::Reload } else { HolderAction::Restart };
                by_unit.entry(&unit.unit).or_insert((action, Vec::new())).1.push(holder.pid);
            }
        }
    }
    none.left_out.dedup();
    let mut out: Vec<Offer> = Vec::new();
    for (unit, (action, pids)) in by_unit {
        let bytes = held::distinct(files.files.iter().filter(|f| pids.contains(&f.pid)));
        // The first is the one that holds most: holders come in that order.
        let Some(main) = holders.iter().find(|h| h.pid == pids[0]) else { continue };
        let (pid, start_ticks, device) = (main.pid, main.start_ticks, mount.device);
        let step = Holder { unit: unit.to_owned(), pid, start_ticks, action, device, held: Bytes(bytes) };
        none.holds = none.holds.saturating_sub(bytes);
        out.push(Offer {
            load: Load::Whole(Step::RestartHolder(step)),
            bytes,
            holds: bytes,
            ..Offer::nothing(StepKind::RestartHolder, none.class)
        });
    }
    out.sort_by_key(|o| std::cmp::Reverse(o.bytes));
    if none.holds > 0 || !none.left_out.is_empty() {
        out.push(none);
    }
    out
}

/// The roots that hold what some rule may judge: what lies outside is somebody's data.
pub(super) fn known_roots(limits: &Limits) -> impl Iterator<Item = (FileFamily, &HostPath)> {
    families::ALL.into_iter().flat_map(|family| limits.roots(family).iter().map(move |root| (family, root)))
}
