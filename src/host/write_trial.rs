//! Whether a filesystem still takes writes: after an error the kernel may refuse them and go on listing it as read-write.
//!
//! The trial is a file without a name, which the kernel takes away with its last descriptor: nothing is left, whatever happens meanwhile.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::model::Observed;

/// One block of any filesystem.
const BLOCK: [u8; 4096] = [0; 4096];

/// Tries in a directory as it was opened, or judges why it could not be: a filesystem that gave up may refuse that already. True when a
/// block could be written and brought to the disk, false when the filesystem refused. May hang as every write can.
///
/// `Unavailable` where that cannot be told: no room to try in, no files without a name, a mount that is read-only for us alone.
pub(crate) fn try_write(opened: rustix::io::Result<OwnedFd>) -> Observed<bool> {
    let dir = match opened {
        Ok(dir) => dir,
        Err(e) => return judge(e),
    };
    // A service's sandbox makes mounts read-only that are writable to others.
    match rustix::fs::fstatvfs(&dir) {
        Ok(seen) if seen.f_flag.contains(StatVfsMountFlags::RDONLY) => {
            return Observed::unavailable("mounted read-only, as seen from here");
        }
        Ok(_) => {}
        Err(e) => return judge(e),
    }
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let tried = rustix::fs::openat(&dir, c".", flags, Mode::RUSR | Mode::WUSR)
        .and_then(|file| rustix::io::pwrite(&file, &BLOCK, 0).and_then(|_| rustix::fs::fdatasync(&file)));
    match tried {
        Ok(()) => Observed::fresh(true),
        Err(e) => judge(e),
    }
}

fn judge(e: Errno) -> Observed<bool> {
    match e {
        // UCLEAN: "structure needs cleaning", what ext4 and XFS say of damage that they met.
        Errno::ROFS | Errno::IO | Errno::UCLEAN | Errno::SHUTDOWN => Observed::fresh(false),
        other => Observed::unavailable(std::io::Error::from(other).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_takes_writes_is_left_as_it_was() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let handle = std::fs::File::open(dir.path()).unwrap();
        assert_eq!(try_write(Ok(handle.into())), Observed::fresh(true));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_a_filesystem_in_trouble_counts_as_refusing() {
        assert_eq!(judge(Errno::ROFS), Observed::fresh(false));
        assert_eq!(try_write(Err(Errno::IO)), Observed::fresh(false));
        assert_eq!(judge(Errno::IO), Observed::fresh(false));
        for passing in [Errno::NOSPC, Errno::DQUOT, Errno::OPNOTSUPP, Errno::ACCESS] {
            assert!(judge(passing).value().is_none(), "{passing:?}");
        }
    }
}
