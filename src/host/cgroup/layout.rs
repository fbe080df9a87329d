//! Which hierarchies there are, and which of them says what.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::walk::MAX_DEPTH;
use crate::host::root::{Root, io_error};
use crate::host::{Read, ReadError};
use crate::model::{CgroupVersion, HostPath};

const MOUNTED_AT: &str = "/sys/fs/cgroup";

/// One hierarchy of groups.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) dir: OwnedFd,
    pub(super) version_1: bool,
}

impl Tree {
    pub(super) fn has(&self, name: &str) -> bool {
        rustix::fs::statx(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE).is_ok()
    }

    /// Whether its top is a group like others: the root of a cgroup namespace, or of a container's mount. The hierarchy's own root has no limits,
    /// and what version 1 counts in it is the whole host's.
    pub(super) fn top_is_a_group(&self) -> bool {
        if self.version_1 { !self.has("release_agent") } else { self.has("cgroup.events") }
    }
}

/// Each figure has one hierarchy that tells it, by its place in `trees`.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) version: CgroupVersion,
    pub(super) trees: Vec<Tree>,
    pub(super) memory: Option<usize>,
    pub(super) usage: Option<usize>,
    pub(super) throttling: Option<usize>,
    pub(super) pids: Option<usize>,
    pub(super) pressure: Option<usize>,
}

impl Layout {
    /// Looks anew each time: hierarchies may be mounted after we have begun.
    ///
    /// # Errors
    /// When there is none that counts anything.
    pub(super) fn find(root: &Root) -> Read<Self> {
        if let Some(tree) = open(root, MOUNTED_AT, "cgroup.controllers", false) {
            return Ok(Self::unified(tree));
        }
        let unified = open(root, &format!("{MOUNTED_AT}/unified"), "cgroup.controllers", false);
        let mut trees = Vec::new();
        let mut find = |names: &[&str], file: &str| {
            let tree = names.iter().find_map(|name| open(root, &format!("{MOUNTED_AT}/{name}"), file, true))?;
            trees.push(tree);
            Some(trees.len() - 1)
        };
        let mut memory = find(&["memory"], "memory.usage_in_bytes");
        let mut usage = find(&["cpuacct", "cpu,cpuacct", "cpuacct,cpu"], "cpuacct.usage");
        let mut throttling = find(&["cpu", "cpu,cpuacct", "cpuacct,cpu"], "cpu.stat");
        let mut pids = find(&["pids"], "cgroup.procs");
        match (unified, trees.is_empty()) {
            (Some(tree), true) => Ok(Self::unified(tree)),
            (None, true) => {
                let why = "no hierarchy that counts memory, CPU or pids is mounted there".to_owned();
                Err(ReadError::NotHere { what: MOUNTED_AT.to_owned(), why })
            }
            (None, false) => Ok(Self { version: CgroupVersion::V1, trees, memory, usage, throttling, pids, pressure: None }),
            (Some(tree), false) => {
                // A controller is in one hierarchy only: what version 1 does not have may be in the unified one.
                let at = trees.len();
                trees.push(tree);
                for figure in [&mut memory, &mut usage, &mut throttling, &mut pids] {
                    figure.get_or_insert(at);
                }
                Ok(Self { version: CgroupVersion::Hybrid, trees, memory, usage, throttling, pids, pressure: Some(at) })
            }
        }
    }

    fn unified(tree: Tree) -> Self {
        let at = Some(0);
        Self { version: CgroupVersion::V2, trees: vec![tree], memory: at, usage: at, throttling: at, pids: at, pressure: at }
    }

    /// The same, with one group as the top of each hierarchy that has it. What was opened goes stale with the group, and never becomes another's.
    ///
    /// # Errors
    /// `NotHere` when it is in none of them, or the path is none of a group.
    pub(super) fn of_group(self, path: &HostPath) -> Read<Self> {
        let not_here = |why: &str| ReadError::NotHere { what: format!("cgroup {path}"), why: why.to_owned() };
        let names: Vec<&[u8]> = path.as_bytes().split(|b| *b == b'/').filter(|name| !name.is_empty()).collect();
        if names.len() > MAX_DEPTH || names.iter().any(|name| matches!(*name, b"." | b"..")) {
            return Err(not_here("no path of a group"));
        }
        let mut places = vec![None; self.trees.len()];
        let mut trees = Vec::new();
        for (place, tree) in places.iter_mut().zip(self.trees) {
            match descend(tree.dir, &names) {
                Ok(dir) => {
                    *place = Some(trees.len());
                    trees.push(Tree { dir, version_1: tree.version_1 });
                }
                Err(Errno::NOENT) => {}
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(not_here("no path of a group")),
                Err(e) => return Err(io_error(path, e)),
            }
        }
        if trees.is_empty() {
            return Err(not_here("no hierarchy has it"));
        }
        let at = |figure: Option<usize>| *places.get(figure?)?;
        let (memory, usage, throttling) = (at(self.memory), at(self.usage), at(self.throttling));
        Ok(Self { version: self.version, memory, usage, throttling, pids: at(self.pids), pressure: at(self.pressure), trees })
    }

    pub(super) fn tree(&self, of: Option<usize>) -> Option<&Tree> {
        self.trees.get(of?)
    }

    /// Hierarchies whose groups are ours to list: a group of one controller need not be in the others.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Tree> {
        let told = [self.memory, self.usage, self.pids];
        self.trees.iter().enumerate().filter(move |(at, _)| told.contains(&Some(*at))).map(|(_, tree)| tree)
    }
}

/// Name by name, so that no link is followed on any kernel.
fn descend(mut dir: OwnedFd, names: &[&[u8]]) -> Result<OwnedFd, Errno> {
    for name in names {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        dir = rustix::fs::openat(&dir, *name, flags, Mode::empty())?;
    }
    Ok(dir)
}

/// A directory in which `file` is: a mount point without its mount has none.
fn open(root: &Root, path: &str, file: &str, version_1: bool) -> Option<Tree> {
    let dir = root.open_flags(&HostPath::from(path), OFlags::RDONLY | OFlags::DIRECTORY).ok()?;
    let tree = Tree { dir, version_1 };
    tree.has(file).then_some(tree)
}
