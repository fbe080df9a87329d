//! Which files fall under which rule, and which of them are kept as candidates.

use std::collections::HashMap;

use globset::{Candidate, GlobSet, GlobSetBuilder};

use super::tally::Seen;
use super::top::{Place, Top};
use crate::host::pattern;
use crate::host::{Candidates, FamilyAsk, Read, ReadError};
use crate::model::{FileFamily, FileTarget, HostPath};

/// Longer paths cannot be named in one system call, so nothing could be done about the file.
const MAX_PATH: usize = 4000;

/// One [`FamilyAsk`], compiled, with what it has found.
pub(super) struct Family {
    ask: FamilyAsk,
    /// The root as the walk spells directories: no slash at the end, empty for `/`.
    pub(super) root: Vec<u8>,
    /// All of the root is excluded, by itself or by what it lies in.
    pub(super) is_left_alone: bool,
    names: GlobSet,
    exclude: GlobSet,
    /// How many slashes a path can have that `exclude` matches, a bit for each number: most files need not be compared.
    exclude_depths: u64,
    /// Directories of which everything below is excluded.
    exclude_below: GlobSet,
    files: Top<FileTarget>,
    /// With the number of entries, all of which must go first.
    dirs: Top<(FileTarget, u64)>,
    total_files: u64,
    total_on_disk: u64,
    hard_linked: u64,
}

/// What a family makes of one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Matched {
    /// It would go.
    Yes,
    No,
    /// It matches, but its path is too long to be acted on.
    TooLong,
}

impl Family {
    pub(super) fn new(ask: &FamilyAsk, keep: usize) -> Read<Self> {
        let below: Vec<&str> = ask.exclude.iter().filter_map(|p| p.strip_suffix("/**")).collect();
        let exclude_below = compile(below.into_iter())?;
        let root = trim(ask.root.as_bytes()).to_vec();
        Ok(Self {
            is_left_alone: HostPath::from_bytes(root.as_slice()).as_path().ancestors().any(|above| exclude_below.is_match(above)),
            root,
            names: compile(ask.names.iter().map(String::as_str))?,
            exclude: compile(ask.exclude.iter().map(String::as_str))?,
            exclude_depths: ask.exclude.iter().map(|pattern| depths(pattern)).fold(0, |all, bits| all | bits),
            exclude_below,
            files: Top::new(keep),
            dirs: Top::new(if ask.dirs_min_age_s.is_some() { keep } else { 0 }),
            total_files: 0,
            total_on_disk: 0,
            hard_linked: 0,
            ask: ask.clone(),
        })
    }

    pub(super) fn leaves_alone_below(&self, dir: &[u8]) -> bool {
        !self.exclude_below.is_empty() && self.exclude_below.is_match_candidate(&Candidate::from_bytes(dir))
    }

    /// A regular file directly in `place.dir`, which is the root or lies below it. Numbers are compared before patterns.
    pub(super) fn offer_file(&mut self, seen: &Seen, place: Place<'_>, now_ns: i64) -> Matched {
        let newest = if self.ask.family == FileFamily::Tmp { seen.newest_use() } else { seen.newest_change() };
        let age = age_s(newest, now_ns);
        let enough = age >= self.ask.min_age_s && seen.on_disk >= self.ask.min_size;
        if !enough && self.ask.or_age_s.is_none_or(|old| age < old) {
            return Matched::No;
        }
        if !self.ask.names.is_empty() && !self.names.is_match_candidate(&Candidate::from_bytes(place.name)) {
            return Matched::No;
        }
        if self.exclude_depths & bit(slashes(place.dir) + 1) != 0
            && self.exclude.is_match_candidate(&Candidate::from_bytes(&place.to_path()))
        {
            return Matched::No;
        }
        if seen.links > 1 {
            self.hard_linked += 1;
            return Matched::No;
        }
        if place.dir.len() + place.name.len() > MAX_PATH {
            return Matched::TooLong;
        }
        self.total_files += 1;
        self.total_on_disk = self.total_on_disk.saturating_add(seen.on_disk);
        let root = self.root.len();
        self.files.offer(seen.on_disk, place, || target(seen, relative(root, place)));
        Matched::Yes
    }

    /// A directory below the root of which everything would go. Returns whether it would go too. Its own reading by us may have changed
    /// its access time, so that does not count.
    pub(super) fn offer_dir(&mut self, seen: &Seen, dir: &[u8], entries: u64, now_ns: i64) -> bool {
        let Some(min_age) = self.ask.dirs_min_age_s else { return false };
        if dir.len() <= self.root.len() || dir.len() > MAX_PATH || age_s(seen.newest_change(), now_ns) < min_age {
            return false;
        }
        if !self.exclude.is_empty() && self.exclude.is_match_candidate(&Candidate::from_bytes(dir)) {
            return false;
        }
        let place = Place { dir, name: b"" };
        let root = self.root.len();
        self.dirs.offer(seen.on_disk, place, || (target(seen, relative(root, place)), entries));
        true
    }

    pub(super) fn finish(&mut self) -> Candidates {
        let mut files: Vec<FileTarget> = self.files.take().into_iter().map(|(_, file)| file).collect();
        let mut dirs: Vec<(FileTarget, u64)> = self.dirs.take().into_iter().map(|(_, dir)| dir).collect();
        // Deepest first, which is also the order to remove them in.
        dirs.sort_by(|(a, _), (b, _)| depth(b).cmp(&depth(a)).then_with(|| a.path.cmp(&b.path)));
        // A directory goes only if all that is in it was kept: candidates beyond the limit stay where they are.
        let mut going: HashMap<Vec<u8>, u64> = HashMap::new();
        for file in &files {
            *going.entry(parent(file)).or_default() += 1;
        }
        let mut empty = Vec::new();
        for (dir, entries) in dirs {
            if going.get(dir.path.as_bytes()).copied().unwrap_or(0) == entries {
                *going.entry(parent(&dir)).or_default() += 1;
                empty.push(dir);
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Candidates {
            family: self.ask.family,
            root: self.ask.root.clone(),
            files,
            dirs: empty,
            total_files: self.total_files,
            total_on_disk: self.total_on_disk,
            hard_linked: self.hard_linked,
        }
    }
}

/// Without slashes at the end; `/` becomes empty.
pub(super) fn trim(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    &path[..end]
}

/// Seconds between a time stamp and now; 0 for one that lies in the future.
pub(super) fn age_s(stamp_ns: i64, now_ns: i64) -> u64 {
    u64::try_from(now_ns.saturating_sub(stamp_ns) / 1_000_000_000).unwrap_or(0)
}

/// The numbers of slashes in paths that a pattern can match, as bits. What is below an excluded directory is never offered, so the form that
/// excludes it (`dir/**`) need not be looked at again for each file.
fn depths(pattern: &str) -> u64 {
    match pattern.strip_suffix("/**") {
        Some(_) => 0,
        None if pattern.contains("**") || pattern.contains(['{', '[', '\\']) => u64::MAX,
        None => bit(slashes(pattern.as_bytes())),
    }
}

fn slashes(path: &[u8]) -> usize {
    path.iter().filter(|b| **b == b'/').count()
}

/// Depths beyond the word's end share its last bit.
fn bit(depth: usize) -> u64 {
    1 << depth.min(63)
}

fn compile<'a>(patterns: impl Iterator<Item = &'a str>) -> Read<GlobSet> {
    let bad = |e: globset::Error| ReadError::Parse {
        what: format!("pattern {}", e.glob().unwrap_or_default()),
        why: format!("{}; write it as a shell would match file names", e.kind()),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(pattern::compile(pattern).map_err(bad)?);
    }
    set.build().map_err(bad)
}

fn relative(root: usize, place: Place<'_>) -> Vec<u8> {
    place.to_path().split_off(root + 1)
}

fn target(seen: &Seen, path: Vec<u8>) -> FileTarget {
    FileTarget {
        path: HostPath::from_bytes(path),
        ino: seen.ino,
        size: seen.size,
        on_disk: seen.on_disk,
        mtime_ns: seen.mtime_ns,
        ctime_ns: seen.ctime_ns,
        links: seen.links,
    }
}

fn depth(dir: &FileTarget) -> usize {
    slashes(dir.path.as_bytes())
}

fn parent(file: &FileTarget) -> Vec<u8> {
    let path = file.path.as_bytes();
    path.iter().rposition(|b| *b == b'/').map_or_else(Vec::new, |slash| path[..slash].to_vec())
}
