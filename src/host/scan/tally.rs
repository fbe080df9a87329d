//! What a walk adds up.

use std::collections::HashSet;

use super::families::{Family, Matched, age_s, trim};
use super::top::{Place, Top};
use crate::host::{DirUse, FileUse, NotSeen, Read, ReadError, Scan, ScanAsk};
use crate::model::HostPath;

/// Inodes with several names that are remembered so as to be counted once: about 5 MB. Beyond it they are counted by name, and that is said.
const MAX_LINKED: usize = 200_000;
/// Names given for each reason of not seeing something.
const EXAMPLES: usize = 5;
/// Families fit into the bits of one word.
const MAX_FAMILIES: usize = 64;

/// One directory entry, looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) on_disk: u64,
    pub(super) links: u32,
    pub(super) regular: bool,
    pub(super) atime_ns: i64,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
}

impl Seen {
    pub(super) fn newest_change(&self) -> i64 {
        self.mtime_ns.max(self.ctime_ns)
    }

    pub(super) fn newest_use(&self) -> i64 {
        self.newest_change().max(self.atime_ns)
    }
}

/// A directory that the walk is in, or in a descendant of.
struct Level {
    /// Length of its path.
    path_len: usize,
    seen: Seen,
    on_disk: u64,
    apparent: u64,
    entries: u64,
    /// Families whose root it is or lies under, a bit each.
    active: u64,
    /// Families for which something in it stays.
    stays: u64,
}

pub(super) struct Tally {
    /// The directory the walk is in, without a slash at its end.
    path: Vec<u8>,
    levels: Vec<Level>,
    /// Off while a family's root is visited that the walk over the mount does not reach.
    counting: bool,
    files: u64,
    dirs: u64,
    on_disk: u64,
    apparent: u64,
    largest_dirs: Top<DirUse>,
    largest_files: Top<FileUse>,
    most_entries: Top<DirUse>,
    families: Vec<Family>,
    linked: HashSet<u64>,
    not_seen: Vec<NotSeen>,
    complete: bool,
    /// The result was taken; whoever still walks may stop.
    pub(super) over: bool,
    now_ns: i64,
}

impl Tally {
    pub(super) fn new(ask: &ScanAsk) -> Read<Self> {
        if ask.families.len() > MAX_FAMILIES {
            let why = format!("{} families asked for, at most {MAX_FAMILIES} in one walk", ask.families.len());
            return Err(ReadError::Parse { what: format!("scan of {}", ask.mount), why });
        }
        Ok(Self {
            path: Vec::new(),
            levels: Vec::new(),
            counting: true,
            files: 0,
            dirs: 0,
            on_disk: 0,
            apparent: 0,
            largest_dirs: Top::new(ask.top),
            largest_files: Top::new(ask.top),
            most_entries: Top::new(ask.top),
            families: ask.families.iter().map(|f| Family::new(f, ask.keep)).collect::<Read<_>>()?,
            linked: HashSet::new(),
            not_seen: Vec::new(),
            complete: true,
            over: false,
            now_ns: i64::try_from(ask.now.wall.as_nanosecond()).unwrap_or(i64::MAX),
        })
    }

    /// Begins at a directory given by its whole path.
    pub(super) fn begin(&mut self, path: &HostPath, counting: bool) {
        self.path = trim(path.as_bytes()).to_vec();
        self.levels.clear();
        self.counting = counting;
    }

    /// Goes down into `name` of the current directory; the first time, with an empty name, into the one it began at.
    pub(super) fn enter(&mut self, name: &[u8], seen: Seen) {
        let parent_active = self.levels.last().map_or(0, |l| l.active);
        if !name.is_empty() {
            self.path.push(b'/');
            self.path.extend_from_slice(name);
        }
        let mut active = parent_active;
        let mut left_alone = 0;
        for (index, family) in self.families.iter().enumerate() {
            let bit = 1 << index;
            if family.root == self.path && !family.is_left_alone {
                active |= bit;
            }
            if active & bit != 0 && family.leaves_alone_below(&self.path) {
                active &= !bit;
                left_alone |= bit;
            }
        }
        if let Some(parent) = self.levels.last_mut() {
            parent.stays |= left_alone;
        }
        if self.counting {
            self.dirs += 1;
            self.on_disk += seen.on_disk;
            self.apparent += seen.size;
        }
        self.levels.push(Level {
            path_len: self.path.len(),
            on_disk: seen.on_disk,
            apparent: seen.size,
            entries: 0,
            active,
            stays: 0,
            seen,
        });
    }

    /// Whether `name` in the current directory is one that `paths` has.
    pub(super) fn is_one_of(&mut self, paths: &HashSet<Vec<u8>>, name: &[u8]) -> bool {
        let length = self.path.len();
        self.path.push(b'/');
        self.path.extend_from_slice(name);
        let found = paths.contains(&self.path);
        self.path.truncate(length);
        found
    }

    pub(super) fn path_len(&self) -> usize {
        self.path.len()
    }

    /// Subdirectories found in the current directory.
    pub(super) fn count_subdirs(&mut self, count: u64) {
        if let Some(level) = self.levels.last_mut() {
            level.entries += count;
        }
    }

    /// Anything else found in the current directory.
    pub(super) fn add(&mut self, seen: &Seen, name: &[u8]) {
        let Some(level) = self.levels.last_mut() else { return };
        level.entries += 1;
        let place = Place { dir: &self.path, name };
        if self.counting {
            self.files += 1;
            if seen.links < 2 || first_time(&mut self.linked, &mut self.not_seen, seen.ino, place) {
                self.on_disk += seen.on_disk;
                self.apparent += seen.size;
                level.on_disk += seen.on_disk;
                level.apparent += seen.size;
                let now_ns = self.now_ns;
                self.largest_files.offer(seen.on_disk, place, || FileUse {
                    path: HostPath::from_bytes(place.to_path()),
                    on_disk: seen.on_disk,
                    apparent: seen.size,
                    age_s: age_s(seen.mtime_ns, now_ns),
                });
            }
        }
        if level.active == 0 {
            return;
        }
        if !seen.regular {
            level.stays = u64::MAX;
            return;
        }
        let mut bits = level.active;
        while bits != 0 {
            let index = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            match self.families[index].offer_file(seen, place, self.now_ns) {
                Matched::Yes => {}
                Matched::No => level.stays |= 1 << index,
                Matched::TooLong => {
                    level.stays |= 1 << index;
                    note(&mut self.not_seen, "path too long to be acted on", place);
                }
            }
        }
    }

    /// The current directory is done: up to its parent. `false`: there is none.
    pub(super) fn leave(&mut self) -> bool {
        let Some(level) = self.levels.pop() else { return false };
        let place = Place { dir: &self.path, name: b"" };
        if self.counting {
            let dir = |path: Vec<u8>| DirUse {
                path: HostPath::from_bytes(path),
                on_disk: level.on_disk,
                apparent: level.apparent,
                entries: level.entries,
            };
            self.largest_dirs.offer(level.on_disk, place, || dir(place.to_path()));
            self.most_entries.offer(level.entries, place, || dir(place.to_path()));
        }
        let mut goes = 0;
        let mut bits = level.active & !level.stays;
        while bits != 0 {
            let index = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if self.families[index].offer_dir(&level.seen, &self.path, level.entries, self.now_ns) {
                goes |= 1 << index;
            }
        }
        let Some(parent) = self.levels.last_mut() else { return false };
        parent.on_disk += level.on_disk;
        parent.apparent += level.apparent;
        parent.stays |= !goes;
        self.path.truncate(parent.path_len);
        true
    }

    /// `name` in the current directory (empty: the directory itself) was not looked at. Nothing around it may be taken for empty.
    pub(super) fn miss(&mut self, why: &str, name: &[u8]) {
        self.stays();
        note(&mut self.not_seen, why, Place { dir: &self.path, name });
    }

    /// A family's root was not looked at.
    pub(super) fn miss_root(&mut self, why: &str, root: &HostPath) {
        note(&mut self.not_seen, why, Place { dir: trim(root.as_bytes()), name: b"" });
    }

    /// Something in the current directory stays that is nobody's candidate, such as what is mounted there.
    pub(super) fn stays(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.stays = u64::MAX;
        }
    }

    /// The walk ends here, before its end.
    pub(super) fn cut_short(&mut self) {
        self.complete = false;
    }

    /// The walk does not come back from the current directory.
    pub(super) fn hangs(&mut self) {
        self.cut_short();
        self.miss("did not answer", b"");
    }

    /// The result. What the walk was still in counts as far as it was seen.
    pub(super) fn finish(&mut self) -> Scan {
        if !self.levels.is_empty() {
            for level in &mut self.levels {
                level.stays = u64::MAX;
            }
            while self.leave() {}
        }
        self.over = true;
        let tops = |top: &mut Top<DirUse>| top.take().into_iter().map(|(_, dir)| dir).collect();
        Scan {
            files: self.files,
            dirs: self.dirs,
            on_disk: self.on_disk,
            apparent: self.apparent,
            largest_dirs: tops(&mut self.largest_dirs),
            largest_files: self.largest_files.take().into_iter().map(|(_, file)| file).collect(),
            most_entries: tops(&mut self.most_entries),
            candidates: self.families.iter_mut().map(Family::finish).collect(),
            complete: self.complete,
            not_seen: std::mem::take(&mut self.not_seen),
            took_s: 0.0,
        }
    }
}

/// Whether an inode with several names is met for the first time.
fn first_time(linked: &mut HashSet<u64>, not_seen: &mut Vec<NotSeen>, ino: u64, place: Place<'_>) -> bool {
    if linked.len() < MAX_LINKED {
        return linked.insert(ino);
    }
    if linked.contains(&ino) {
        return false;
    }
    note(not_seen, "other names of a hard-linked file: too many to remember, so each counts", place);
    true
}

fn note(not_seen: &mut Vec<NotSeen>, why: &str, place: Place<'_>) {
    let index = not_seen.iter().position(|n| n.why == why).unwrap_or_else(|| {
        not_seen.push(NotSeen { why: why.to_owned(), count: 0, examples: Vec::new() });
        not_seen.len() - 1
    });
    let entry = &mut not_seen[index];
    entry.count += 1;
    if entry.examples.len() < EXAMPLES {
        entry.examples.push(HostPath::from_bytes(place.to_path()));
    }
}
