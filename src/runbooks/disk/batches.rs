//! A rung becomes a step: cut to what is needed and to what one run may touch, the same way every time.

use std::collections::BTreeSet;

use super::Params;
use super::need::Need;
use super::offers::{Files, Load, Offer, Piece};
use crate::guard::load as counted;
use crate::model::{Bytes, Expected, FileBatch, FileFamily, FileTarget, HostPath, ImageTarget, PlannedStep, Step, StepKind};

/// What the caps of one run still allow, over all its steps.
#[derive(Debug)]
pub(super) struct Budget {
    files: u64,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(params: &Params) -> Self {
        Self { files: params.limits.max_files, bytes: params.limits.max_bytes.0 }
    }

    fn take(&mut self, bytes: u64) -> bool {
        let fits = self.files >= 1 && bytes <= self.bytes;
        if fits {
            self.files -= 1;
            self.bytes -= bytes;
        }
        fits
    }
}

/// A little more than the need, so that the signal does not come back with the next line of a log.
pub(super) fn target(need: Need, bytes_per_s: f64) -> Need {
    let growth = (bytes_per_s.max(0.0) * 600.0) as u64;
    Need { bytes: margin(need.bytes).saturating_add(if need.bytes > 0 { growth } else { 0 }), inodes: margin(need.inodes) }
}

const fn margin(amount: u64) -> u64 {
    amount.saturating_add(amount / 10)
}

/// `Err`: why nothing of it can be done.
pub(super) fn step(
    offer: Offer,
    device: u64,
    target: Need,
    budget: &mut Budget,
    params: &Params,
) -> Result<(PlannedStep, Vec<String>), String> {
    let mut said = offer.left_out;
    let (step, expected) = match offer.load {
        Load::Nothing => return Err(if said.is_empty() { "there is nothing that may go".to_owned() } else { said.join("; ") }),
        Load::Whole(step) => {
            budget.take(counted(&step).1.0);
            (step, Expected { bytes: Bytes(offer.bytes), inodes: offer.inodes, estimate: offer.kind == StepKind::GrowVolume })
        }
        Load::Images(images) => {
            let (images, over) = cut_images(images, target, budget);
            if over > 0 {
                said.push(format!("{over} more images are over max_files or max_bytes"));
            }
            if images.is_empty() {
                return Err(said.join("; "));
            }
            let bytes = images.iter().map(|i| i.size).sum();
            (Step::PruneImages { images, min_age_s: params.image_min_age_s.whole() }, Expected { bytes, inodes: 0, estimate: true })
        }
        Load::Files(files) => {
            let family = files.family;
            let (batch, bytes) = cut_files(files, device, target, budget, params, &mut said);
            if batch.files.is_empty() && batch.dirs.is_empty() {
                return Err(said.join("; "));
            }
            let inodes = if family == FileFamily::ClosedLogs { 0 } else { (batch.files.len() + batch.dirs.len()) as u64 };
            let expected = Expected { bytes: Bytes(bytes), inodes, estimate: family == FileFamily::ClosedLogs };
            let step = match family {
                FileFamily::ClosedLogs => Step::CompressLogs(batch),
                FileFamily::JournalArchives => Step::VacuumJournal { keep: params.journal_keep, files: batch },
                FileFamily::RotatedLogs
                | FileFamily::WalArchives
                | FileFamily::Tmp
                | FileFamily::PackageCache
                | FileFamily::PipCache
                | FileFamily::NpmCache
                | FileFamily::CoreDumps => Step::DeleteFiles(batch),
            };
            (step, expected)
        }
    };
    Ok((PlannedStep { undo: step.undo(), why: why(&step), step, expected }, said))
}

fn cut_images(images: Vec<ImageTarget>, target: Need, budget: &mut Budget) -> (Vec<ImageTarget>, usize) {
    let (mut out, mut freed, mut over) = (Vec::new(), 0u64, 0);
    for image in images {
        if freed >= target.bytes && target.bytes > 0 {
            break;
        }
        if budget.take(image.size.0) {
            freed = freed.saturating_add(image.size.0);
            out.push(image);
        } else {
            over += 1;
        }
    }
    out.sort_by(|a, b| a.id.cmp(&b.id));
    (out, over)
}

/// The oldest go first, until enough would have gone by this step alone: the ones before it may free nothing.
/// A vacuum is not cut to the need, its size is the configured one.
fn cut_files(files: Files, device: u64, target: Need, budget: &mut Budget, params: &Params, said: &mut Vec<String>) -> (FileBatch, u64) {
    let Files { family, root, files: mut pieces, mut dirs } = files;
    pieces.sort_by(|a, b| a.target.mtime_ns.cmp(&b.target.mtime_ns).then_with(|| a.target.path.cmp(&b.target.path)));
    let whole = family == FileFamily::JournalArchives;
    let (mut kept, mut freed, mut gone) = (Vec::new(), 0u64, 0u64);
    let (mut enough, mut over) = (0u64, 0u64);
    let mut stays: BTreeSet<HostPath> = BTreeSet::new();
    for Piece { target: file, frees } in pieces {
        let done = freed >= target.bytes && gone >= target.inodes;
        if (done && !whole) || !budget.take(file.on_disk) {
            *(if done && !whole { &mut enough } else { &mut over }) += 1;
            stays.extend(ancestors(&file.path));
            continue;
        }
        freed = freed.saturating_add(frees);
        gone += u64::from(family != FileFamily::ClosedLogs);
        kept.push(file);
    }
    // A directory goes only if everything in it does.
    dirs.retain(|d| !stays.contains(&d.path) && budget.take(0));
    if enough > 0 {
        said.push(format!("{enough} more files are not needed"));
    }
    if over > 0 {
        said.push(format!("{over} more files are over max_files ({}) or max_bytes ({})", params.limits.max_files, params.limits.max_bytes));
    }
    kept.sort_by(|a, b| a.path.cmp(&b.path));
    dirs.sort_by(deepest_first);
    (FileBatch { family, root, device, min_age_s: params.min_age_s(family), files: kept, dirs }, freed)
}

fn deepest_first(a: &FileTarget, b: &FileTarget) -> std::cmp::Ordering {
    let depth = |f: &FileTarget| f.path.as_bytes().iter().filter(|b| **b == b'/').count();
    depth(b).cmp(&depth(a)).then_with(|| a.path.cmp(&b.path))
}

fn ancestors(path: &HostPath) -> impl Iterator<Item = HostPath> + '_ {
    path.as_path().ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).map(HostPath::from)
}

fn why(step: &Step) -> String {
    match step {
        Step::CompressLogs(batch) => format!("closed logs under {}: nothing is lost", batch.root),
        Step::DeleteFiles(batch) => match batch.family {
            FileFamily::RotatedLogs => format!("rotated logs under {}, past their time", batch.root),
            FileFamily::WalArchives => format!("write-ahead log archives under {}, a directory that was named for it", batch.root),
            FileFamily::Tmp => format!("nobody has touched these under {}", batch.root),
            FileFamily::PackageCache | FileFamily::PipCache | FileFamily::NpmCache => format!("can be fetched again: {}", batch.root),
            FileFamily::CoreDumps => format!("old core dumps under {}", batch.root),
            FileFamily::ClosedLogs | FileFamily::JournalArchives => format!("files under {}", batch.root),
        },
        Step::VacuumJournal { keep, files } => format!("archived journal files under {}, down to {keep}", files.root),
        Step::PruneImages { .. } => "no container uses these images".to_owned(),
        Step::GrowVolume(grow) => format!("{}/{} from {} to {}", grow.vg, grow.lv, grow.from, grow.to),
        Step::RestartHolder(holder) => format!("{} holds {} of deleted files (pid {})", holder.unit, holder.held, holder.pid),
        // Nothing that helps a filesystem.
        Step::PreferVictims(_)
        | Step::LimitUnit(_)
        | Step::CalmProcess(_)
        | Step::SnapshotHeap(_)
        | Step::RestartUnit(_)
        | Step::KillProcess { .. } => String::new(),
    }
}
