//! Finds all groups of one hierarchy, within bounds.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxFlags};
use rustix::io::Errno;

use super::layout::Tree;

/// A Kubernetes node has some hundreds.
pub(super) const MAX_GROUPS: usize = 10_000;
/// systemd and a container engine inside of a container come to ten.
pub(super) const MAX_DEPTH: usize = 32;

const LOOK: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The kernel's number for it: one that is made anew under the same path has another.
    pub(super) ino: u64,
    pub(super) holds_others: bool,
}

/// Groups by their path below the top, `""` for the top itself.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) groups: BTreeMap<Vec<u8>, Found>,
    /// Met, and neither listed nor entered.
    pub(super) cut: u64,
    most: usize,
    entries: Vec<MaybeUninit<u8>>,
}

impl Walk {
    /// Lists at most so many groups.
    pub(super) const fn new(most: usize) -> Self {
        Self { groups: BTreeMap::new(), cut: 0, most, entries: Vec::new() }
    }

    /// Adds the groups of `tree`. One that goes away meanwhile is left out.
    ///
    /// # Errors
    /// When its top cannot be listed.
    pub(super) fn add(&mut self, tree: &Tree, deadline: Instant) -> Result<(), Errno> {
        self.entries.resize(32 << 10, MaybeUninit::uninit());
        let mut waiting: Vec<(Vec<u8>, usize)> = vec![(Vec::new(), 0)];
        if tree.top_is_a_group() {
            let top = look(&tree.dir, b".")?;
            self.groups.insert(Vec::new(), Found { ino: top.stx_ino, holds_others: false });
        }
        while let Some((path, depth)) = waiting.pop() {
            if Instant::now() >= deadline {
                self.cut = self.cut.saturating_add(waiting.len() as u64).saturating_add(1);
                break;
            }
            match self.list(&tree.dir, &path, depth, &mut waiting) {
                Err(e) if depth == 0 => return Err(e),
                Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
                // What is in it is not seen.
                Err(_) => self.cut += 1,
            }
        }
        Ok(())
    }

    fn list(&mut self, top: &OwnedFd, path: &[u8], depth: usize, waiting: &mut Vec<(Vec<u8>, usize)>) -> Result<(), Errno> {
        let name = if path.is_empty() { b".".as_slice() } else { path };
        let dir = rustix::fs::openat(top, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let mut entries = RawDir::new(dir.as_fd(), &mut self.entries);
        let mut holds_others = false;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            let may_be_group = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if !may_be_group || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = rustix::fs::statx(&dir, name, LOOK, StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::INO) else { continue };
            if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::Directory {
                continue;
            }
            holds_others = true;
            let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let path = [path, separator, name.to_bytes()].concat();
            if depth >= MAX_DEPTH || (self.groups.len() >= self.most && !self.groups.contains_key(&path)) {
                self.cut = self.cut.saturating_add(1);
                continue;
            }
            // A directory has two links and one for each that is in it; filesystems that do not count say 1.
            if stat.stx_nlink != 2 {
                waiting.push((path.clone(), depth + 1));
            }
            self.groups.entry(path).or_insert(Found { ino: stat.stx_ino, holds_others: false });
        }
        if holds_others && let Some(found) = self.groups.get_mut(path) {
            found.holds_others = true;
        }
        Ok(())
    }
}

fn look(dir: &OwnedFd, name: &[u8]) -> Result<Statx, Errno> {
    rustix::fs::statx(dir, name, LOOK, StatxFlags::INO)
}
