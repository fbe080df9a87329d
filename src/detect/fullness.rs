//! How full filesystems were at the moments of the timeline, in two bytes each: what fills up over hours is seen to.

use serde::{Deserialize, Serialize};

use crate::model::{FsKind, FsSample, FsUsage, HostPath, Observed};

/// Hundredths of a per cent.
type Share = u16;
/// What was not had: no share is as large.
const NOTHING: Share = Share::MAX;

/// The filesystems that are followed: those that can be full, the fullest where there are many.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Fullness(Vec<Followed>);

/// One filesystem. What stands at a place of a ring's stands at the same place here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Followed {
    pub mount: HostPath,
    pub device: u64,
    newest: Share,
    pub fine: Vec<Share>,
    pub coarse: Vec<Share>,
}

impl Fullness {
    pub const MOST: usize = 32;
    /// Bytes of one moment.
    pub const BYTES: usize = Self::MOST * size_of::<Share>();
    /// By how much another one must be fuller to take the place of the emptiest: so places are not changed back and forth.
    const FULLER: Share = 500;

    /// Enters what a sample saw at the places that the rings have written to.
    pub fn push(&mut self, filesystems: &Observed<Vec<FsSample>>, fine: Option<usize>, coarse: Option<usize>) {
        let known = filesystems.value();
        if let Some(list) = known {
            // Mounted again, it starts a new life.
            self.0.retain(|f| list.iter().any(|fs| f.is(fs)));
        }
        for followed in &mut self.0 {
            followed.newest = known.and_then(|list| list.iter().find(|fs| followed.is(fs))).map_or(NOTHING, share);
        }
        for fs in known.into_iter().flatten().filter(|fs| fs.mount.kind != FsKind::Pseudo) {
            self.follow(fs);
        }
        for followed in &mut self.0 {
            for (places, at) in [(&mut followed.fine, fine), (&mut followed.coarse, coarse)] {
                let Some(at) = at else { continue };
                if places.len() <= at {
                    places.reserve_exact((at + 1).saturating_sub(places.len()));
                    places.resize(at + 1, NOTHING);
                }
                places[at] = followed.newest;
            }
        }
    }

    fn follow(&mut self, fs: &FsSample) {
        let newest = share(fs);
        if newest == NOTHING || self.0.iter().any(|f| f.is(fs)) {
            return;
        }
        let new = Followed { mount: fs.mount.path.clone(), device: fs.mount.device, newest, fine: Vec::new(), coarse: Vec::new() };
        if self.0.len() < Self::MOST {
            self.0.push(new);
        } else if let Some(emptiest) = self.0.iter_mut().min_by_key(|f| f.newest)
            && emptiest.newest.saturating_add(Self::FULLER) <= newest
        {
            *emptiest = new;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Followed> {
        self.0.iter()
    }
}

impl Followed {
    fn is(&self, fs: &FsSample) -> bool {
        self.device == fs.mount.device && self.mount == fs.mount.path
    }
}

/// 0..100 at a place; `None` for what was not had.
pub(super) fn percent(shares: &[Share], at: usize) -> Option<f32> {
    shares.get(at).filter(|share| **share != NOTHING).map(|share| f32::from(*share) / 100.0)
}

fn share(fs: &FsSample) -> Share {
    // The cast is of 0..10000.
    fs.usage.value().and_then(FsUsage::used_percent).map_or(NOTHING, |p| (p.0 * 100.0).round().clamp(0.0, 10_000.0) as Share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mount;

    fn fs(path: &str, kind: FsKind, used: Option<u64>) -> FsSample {
        let usage = |used| FsUsage { total: 1000, free: 1000 - used, available: 1000 - used, inodes: 0, inodes_free: 0 };
        FsSample {
            mount: Mount {
                path: path.into(),
                device: 7,
                source: "/dev/vdb".into(),
                fs_type: "ext4".into(),
                kind,
                read_only: false,
                also_at: vec![],
            },
            usage: used.map_or_else(|| Observed::unavailable("statvfs: no answer"), |used| Observed::fresh(usage(used))),
            stuck_for_s: None,
            takes_writes: Observed::unavailable("not tried"),
            ext4_errors: Observed::unavailable("not asked"),
            disks: vec![],
        }
    }

    fn fine(fullness: &Fullness, path: &str) -> Option<Vec<Option<f32>>> {
        let followed = fullness.iter().find(|f| f.mount == path.into())?;
        Some((0..followed.fine.len()).map(|at| percent(&followed.fine, at)).collect())
    }

    #[test]
    fn what_was_not_had_is_not_zero_and_what_is_unmounted_is_forgotten() {
        let mut fullness = Fullness::default();
        fullness.push(&Observed::fresh(vec![fs("/a", FsKind::Local, Some(0)), fs("/proc", FsKind::Pseudo, Some(0))]), Some(0), Some(0));
        fullness.push(&Observed::fresh(vec![fs("/a", FsKind::Local, None), fs("/b", FsKind::Remote, Some(123))]), Some(1), None);
        fullness.push(&Observed::unavailable("/proc/self/mountinfo: gone"), Some(2), None);
        fullness.push(&Observed::fresh(vec![fs("/a", FsKind::Local, Some(1000)), fs("/b", FsKind::Remote, Some(124))]), Some(0), None);
        assert_eq!(fine(&fullness, "/a"), Some(vec![Some(100.0), None, None]), "a ring's oldest is written over");
        assert_eq!(fine(&fullness, "/b"), Some(vec![Some(12.4), Some(12.3), None]));
        assert_eq!(fine(&fullness, "/proc"), None);
        assert_eq!(fullness.0[0].coarse, [0]);
        fullness.push(&Observed::fresh(vec![fs("/b", FsKind::Remote, Some(124))]), Some(1), None);
        assert_eq!(fine(&fullness, "/a"), None);
    }

    #[test]
    fn of_many_the_fullest_are_followed_in_fixed_bytes() {
        let mut fullness = Fullness::default();
        let path = |n: u64| format!("/{n}");
        let all: Vec<_> = (0..1000).map(|n| fs(&path(n), FsKind::Local, Some(n))).collect();
        for at in 0..180 {
            fullness.push(&Observed::fresh(all.clone()), Some(at), Some(at));
        }
        assert_eq!(fullness.iter().count(), Fullness::MOST);
        assert!(fullness.iter().all(|f| f.newest >= 9000 && f.fine.capacity() <= 180), "{fullness:?}");
        let kept: Vec<_> = fullness.iter().map(|f| f.mount.clone()).collect();
        let slightly = all.iter().map(|f| fs(&f.mount.path.to_string(), FsKind::Local, Some(950))).collect();
        fullness.push(&Observed::fresh(slightly), Some(0), None);
        assert_eq!(fullness.iter().map(|f| f.mount.clone()).collect::<Vec<_>>(), kept, "a little fuller is no reason to forget another");
    }
}
