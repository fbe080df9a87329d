//! The directory that is the host's `/`, and small files below it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::{Read, ReadError};
use crate::model::HostPath;

/// No surface that is read whole is larger on a host that works; what is longer is cut off and fails to parse.
pub(super) const MAX_FILE: u64 = 16 << 20;

/// A `..` on the way (most links of sysfs have one) may have left the root if anything on the whole host was renamed or mounted meanwhile; the
/// kernel does not look closer and says "again".
const MAX_TRIES: u32 = 256;

/// A handle on the host's root directory. Paths given to it are the host's; symlinks are resolved inside of it, so an absolute link
/// below `/host` means what it means on the host.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    dir: OwnedFd,
}

impl Root {
    pub(super) fn open(path: &Path) -> Read<Self> {
        let dir = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| io_error(&HostPath::from(path), e))?;
        Ok(Self { path: path.to_path_buf(), dir })
    }

    /// Whether the host is looked at through another directory than `/`.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.path != Path::new("/")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn handle(&self) -> &OwnedFd {
        &self.dir
    }

    /// Where this process finds a path of the host.
    pub(super) fn join(&self, path: &HostPath) -> PathBuf {
        let relative = path.as_path().strip_prefix("/").unwrap_or(path.as_path());
        self.path.join(relative)
    }

    /// Opens for reading, and never waits on a fifo or becomes a terminal's session.
    pub(super) fn open_file(&self, path: &HostPath) -> Read<File> {
        self.open_flags(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map(File::from)
    }

    pub(super) fn open_flags(&self, path: &HostPath, flags: OFlags) -> Read<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let mut tries = 0..MAX_TRIES;
        let opened = loop {
            match rustix::fs::openat2(&self.dir, path.as_path(), flags, Mode::empty(), ResolveFlags::IN_ROOT) {
                Err(Errno::AGAIN) if tries.next().is_some() => {}
                // Linux before 5.6, or a filter that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => break rustix::fs::openat(CWD, self.join(path), flags, Mode::empty()),
                other => break other,
            }
        };
        opened.map_err(|e| io_error(path, e))
    }

    pub(super) fn read(&self, path: &str) -> Read<Vec<u8>> {
        self.read_path(&HostPath::from(path))
    }

    pub(super) fn read_path(&self, path: &HostPath) -> Read<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(path)?.take(MAX_FILE).read_to_end(&mut bytes).map_err(|e| io_error(path, e))?;
        Ok(bytes)
    }

    /// A file whose whole content is one number, as sysfs has them.
    pub(super) fn read_number(&self, path: &str) -> Read<u64> {
        parse_number(&self.read(path)?).ok_or_else(|| ReadError::Parse { what: path.to_owned(), why: "not a number".to_owned() })
    }

    pub(super) fn read_link(&self, path: &str) -> Read<HostPath> {
        let host = HostPath::from(path);
        let target = rustix::fs::readlink(self.join(&host), Vec::new()).map_err(|e| io_error(&host, e))?;
        Ok(HostPath::from_bytes(target.into_bytes()))
    }

    /// Names in a directory, sorted.
    pub(super) fn list(&self, path: &str) -> Read<Vec<Vec<u8>>> {
        let host = HostPath::from(path);
        let dir = self.open_flags(&host, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(dir).map_err(|e| io_error(&host, e))? {
            let entry = entry.map_err(|e| io_error(&host, e))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// `st_dev` of what is found there, without waking a server or an automounter.
pub(super) fn device_of(here: &Path, host: &HostPath) -> Read<u64> {
    let stat = rustix::fs::statx(CWD, here, AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC, StatxFlags::empty())
        .map_err(|e| io_error(host, e))?;
    Ok(rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor))
}

pub(super) fn parse_number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

pub(super) fn io_error(path: &HostPath, source: impl Into<io::Error>) -> ReadError {
    ReadError::Io { path: path.clone(), source: Arc::new(source.into()) }
}

/// The thing does not exist (or its process has gone), as opposed to: could not be read.
pub(super) fn is_absent(error: &ReadError) -> bool {
    match error {
        ReadError::Io { source, .. } => {
            source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(Errno::SRCH.raw_os_error())
        }
        ReadError::NotHere { .. } => true,
        ReadError::Parse { .. } | ReadError::Stuck { .. } | ReadError::NoAnswer { .. } => false,
    }
}

/// `Ok(None)` for what does not exist.
pub(super) fn if_there<T>(read: Read<T>) -> Read<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_link_stays_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/real"), "inside").unwrap();
        std::os::unix::fs::symlink("/etc/real", dir.path().join("etc/link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(root.read("/etc/link").unwrap(), b"inside");
        assert!(is_absent(&root.read("/etc/hostname").unwrap_err()));
    }

    #[test]
    fn a_link_that_leads_up_is_followed_while_others_rename() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("class/block")).unwrap();
        std::fs::create_dir_all(dir.path().join("devices/sda")).unwrap();
        std::fs::write(dir.path().join("devices/sda/size"), "8").unwrap();
        std::os::unix::fs::symlink("../../devices/sda", dir.path().join("class/block/sda")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        std::fs::write(&one, "").unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::fs::rename(&one, &other).unwrap();
                    std::fs::rename(&other, &one).unwrap();
                }
            });
            let failed = (0..20_000).find_map(|_| root.read_number("/class/block/sda/size").err());
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(failed.is_none(), "{failed:?}");
        });
    }
}
