//! Deleting exactly the files that were planned. There is no undo.

use std::time::{Duration, Instant};

use super::beneath::{Beneath, Room, Unlinked};
use super::{Scene, Tally};
use crate::model::{Effect, FileBatch, FileTarget, SkipReason};

/// How long to wait until the filesystem shows what was freed: XFS and btrfs give blocks back in the background.
const SETTLE: Duration = Duration::from_secs(2);
const SETTLE_STEP: Duration = Duration::from_millis(20);

pub(super) fn delete(batch: &FileBatch, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    delete_into(batch, &batch.files.iter().collect::<Vec<_>>(), scene, &mut tally, |_| true);
    tally.finish(scene.now())
}

/// Deletes `files` (of `batch`, in this order) while `go_on`, which is told the bytes freed so far, says so.
pub(super) fn delete_into(batch: &FileBatch, files: &[&FileTarget], scene: &Scene<'_>, tally: &mut Tally, go_on: impl Fn(u64) -> bool) {
    let mut beneath = match Beneath::open(scene.host_root(), batch, scene.now_ns()) {
        Ok(beneath) => beneath,
        Err(why) => return tally.stop(why),
    };
    let before = beneath.room();
    let dirs: Vec<_> = batch.dirs.iter().map(|d| (d, beneath.dir_as_examined(d))).collect();
    for (at, target) in files.iter().enumerate() {
        if !go_on(tally.freed) {
            break;
        }
        if let Some(reason) = scene.must_stop(at, tally) {
            tally.skip_rest((files.len() - at) as u64, reason);
            break;
        }
        match remove(&mut beneath, target, scene.bytes_left.saturating_sub(tally.freed)) {
            Removed::Gone(bytes) => {
                tally.done += 1;
                tally.inodes += 1;
                tally.freed += bytes;
            }
            Removed::Kept(reason) => tally.skip(batch.root.join(&target.path), reason),
            Removed::Another => {
                tally.stop(format!(
                    "a name went that was not the examined file: somebody renames in {} while we delete; stopped at once",
                    batch.root.join(&target.path)
                ));
                tally.skip_rest((files.len() - at - 1) as u64, SkipReason::Changed);
                break;
            }
        }
    }
    for (at, (target, passed)) in dirs.iter().enumerate() {
        if tally.is_stopped() || scene.must_stop(at, tally).is_some() {
            break;
        }
        match passed.and_then(|()| beneath.remove_dir(target)) {
            Ok(()) => {
                tally.done += 1;
                tally.inodes += 1;
            }
            Err(reason) => tally.skip(batch.root.join(&target.path), reason),
        }
    }
    tally.available_delta = growth(before, tally.freed, || beneath.room());
}

enum Removed {
    Gone(u64),
    Kept(SkipReason),
    Another,
}

fn remove(beneath: &mut Beneath<'_>, target: &FileTarget, bytes_left: u64) -> Removed {
    let held = match beneath.last_look(target) {
        Ok(held) => held,
        Err(reason) => return Removed::Kept(reason),
    };
    let on_disk = held.on_disk();
    if on_disk > bytes_left {
        return Removed::Kept(SkipReason::OverCap);
    }
    match held.unlink() {
        Unlinked::Gone => Removed::Gone(on_disk),
        Unlinked::Kept(reason) => Removed::Kept(reason),
        Unlinked::Another => Removed::Another,
    }
}

/// Growth of the available space since `before`. Where the filesystem gives blocks back in the background, once it shows what was freed,
/// or after a short wait: others write meanwhile.
pub(super) fn growth(before: Option<Room>, freed: u64, room: impl Fn() -> Option<Room>) -> Option<i64> {
    let until = Instant::now() + SETTLE;
    loop {
        let now = room()?;
        let delta = i64::try_from(i128::from(now.available) - i128::from(before?.available)).ok()?;
        if !now.settles || delta >= i64::try_from(freed).unwrap_or(i64::MAX) / 50 * 49 || Instant::now() >= until {
            return Some(delta);
        }
        std::thread::sleep(SETTLE_STEP);
    }
}
