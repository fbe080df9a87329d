//! The state folder of a program: ours alone, reached through no link, and held by one program at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What can be wrong with it, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("state folder {dir}: {why}", dir = .dir.display())]
    Folder { dir: PathBuf, why: String },
    #[error("{file}: {source}", file = .file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{file} is in use by {by}: stop that program, or give this one a state folder of its own", file = .file.display())]
    InUse { file: PathBuf, by: String },
}

/// The folder's real path, made with mode 0700 where it was missing (its parent must exist).
///
/// # Errors
/// When it is a link, no folder, or somebody else's.
pub fn own(dir: &Path) -> Result<PathBuf, FolderError> {
    let refuse = |why: String| FolderError::Folder { dir: dir.to_owned(), why };
    let name = dir.file_name().ok_or_else(|| refuse("is not the name of a folder".into()))?;
    let parent = match dir.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let real = parent.canonicalize().map_err(|e| refuse(format!("its parent {}: {e}", parent.display())))?.join(name);
    match DirBuilder::new().mode(0o700).create(&real) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(refuse(format!("cannot be made: {e}"))),
    }
    let meta = fs::symlink_metadata(&real).map_err(|e| refuse(e.to_string()))?;
    if meta.is_symlink() {
        return Err(refuse("is a symbolic link: name the folder itself".into()));
    }
    if !meta.is_dir() {
        return Err(refuse("is not a folder".into()));
    }
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us {
        return Err(refuse(format!("belongs to user {}, this program runs as user {us}: chown it", meta.uid())));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(&real, Permissions::from_mode(0o700)).map_err(|e| refuse(format!("cannot be made private: {e}")))?;
    }
    Ok(real)
}

/// Opens a file of ours in the folder, made with mode 0600 where it was missing.
///
/// # Errors
/// When it is a link or cannot be opened.
pub fn file(path: &Path) -> Result<File, FolderError> {
    let io = |source| FolderError::Io { file: path.to_owned(), source };
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(nofollow).open(path).map_err(io)?;
    if file.metadata().map_err(io)?.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600)).map_err(io)?;
    }
    Ok(file)
}

/// Bytes that a user without privileges may still write there; 0 when that cannot be told.
pub fn free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize))
}

/// Held for as long as the value lives; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

/// How often a lock that is held is tried again, 20 ms apart.
const PATIENCE: usize = 50;
/// Length of what a holder writes of itself: fixed, so that it is overwritten in place and needs no room on a full disk.
const SIGNATURE: usize = 64;

impl Lock {
    /// Waits a moment: a holder that is just ending, or a child of one that has not yet become its own program, lets go.
    ///
    /// # Errors
    /// `InUse` with who holds it.
    pub fn take(path: &Path) -> Result<Self, FolderError> {
        let mut held = file(path)?;
        let lock = || rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        let mut taken = lock();
        for _ in 0..PATIENCE {
            if taken != Err(rustix::io::Errno::WOULDBLOCK) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            taken = lock();
        }
        match taken {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let by = match held.read_to_string(&mut text) {
                    Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
                    _ => "another process".into(),
                };
                return Err(FolderError::InUse { file: path.with_extension("db"), by });
            }
            Err(e) => return Err(FolderError::Io { file: path.to_owned(), source: e.into() }),
        }
        let program = std::env::current_exe().ok().and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
        let text = format!("process {} ({})", std::process::id(), program.as_deref().unwrap_or("unknown program"));
        let signature = format!("{:SIGNATURE$.width$}\n", text, width = SIGNATURE);
        // Only a courtesy to whoever comes second: where it cannot be written, the lock holds all the same.
        if held.rewind().is_ok() {
            let _ = held.write_all(signature.as_bytes());
        }
        Ok(Self(held))
    }
}

/// Makes renames in the folder durable.
///
/// # Errors
/// When it cannot be opened or synced.
pub fn sync(dir: &Path) -> Result<(), FolderError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|source| FolderError::Io { file: dir.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_ours_alone_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, link) = (dir.path().join("collector"), dir.path().join("link"));
        let real = own(&ours).unwrap();
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&real, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(fs::metadata(own(&ours).unwrap()).unwrap().mode() & 0o777, 0o700);
        std::os::unix::fs::symlink(&ours, &link).unwrap();
        assert!(own(&link).unwrap_err().to_string().contains("symbolic link"));
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(own(&dir.path().join("file")).unwrap_err().to_string().contains("not a folder"));
        assert!(own(&dir.path().join("no/such")).unwrap_err().to_string().contains("its parent"));
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), real.join("collector.db")).unwrap();
        assert!(file(&real.join("collector.db")).is_err() && !dir.path().join("elsewhere").exists());
    }

    #[test]
    fn the_lock_says_who_has_it_and_ends_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("collector.lock");
        let held = Lock::take(&path).unwrap();
        let refused = Lock::take(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())) && refused.contains("collector.db"), "{refused}");
        drop(held);
        assert!(Lock::take(&path).is_ok());
    }
}
