//! The state folder: ours alone, reached through no link, and held by one program at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RecordError;

/// The folder's real path, made with mode 0700 where it was missing (its parent must exist).
///
/// # Errors
/// When it is a link, no folder, or somebody else's.
pub(super) fn own(dir: &Path) -> Result<PathBuf, RecordError> {
    let refuse = |why: String| RecordError::Folder { dir: dir.to_owned(), why };
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
pub(super) fn file(path: &Path) -> Result<File, RecordError> {
    let io = |source| RecordError::Io { file: path.to_owned(), source };
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(nofollow).open(path).map_err(io)?;
    if file.metadata().map_err(io)?.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600)).map_err(io)?;
    }
    Ok(file)
}

/// Held for as long as the value lives; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

/// How often a lock that is held is tried again, 20 ms apart.
const PATIENCE: usize = 50;
/// Length of what a holder writes of itself: fixed, so that it is overwritten in place and needs no room on a full disk.
const SIGNATURE: usize = 64;

impl Lock {
    /// Waits a moment: a holder that is just ending, or a child of one that has not yet become its own program, lets go.
    ///
    /// # Errors
    /// `InUse` with who holds it.
    pub(super) fn take(path: &Path) -> Result<Self, RecordError> {
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
                return Err(RecordError::InUse { file: path.with_extension("db"), by });
            }
            Err(e) => return Err(RecordError::Io { file: path.to_owned(), source: e.into() }),
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

/// Names of files that were set aside as damaged, oldest first.
pub(super) fn set_aside_before(dir: &Path, name: &str) -> Vec<String> {
    let prefix = format!("{name}.corrupt-");
    let mut found: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|n| n.starts_with(&prefix) && !n.ends_with("-journal"))
        .collect();
    found.sort();
    found
}

/// Renames a damaged book, with its journal, to `NAME.corrupt-TIME`, TIME being when it was last written (UTC).
/// Renaming needs neither bytes nor inodes.
pub(super) fn set_aside(dir: &Path, name: &str) -> Result<PathBuf, RecordError> {
    let from = dir.join(name);
    let io = |source| RecordError::Io { file: from.clone(), source };
    let written = fs::symlink_metadata(&from).map_err(io)?.mtime();
    let time = jiff::Timestamp::from_second(written).unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y%m%d-%H%M%S").to_string();
    let mut to = dir.join(format!("{name}.corrupt-{time}"));
    for n in 2.. {
        if fs::symlink_metadata(&to).is_err() {
            break;
        }
        to = dir.join(format!("{name}.corrupt-{time}-{n}"));
    }
    // The journal first: a journal that stayed behind would be rolled back into the new book.
    let journal = dir.join(format!("{name}-journal"));
    if fs::symlink_metadata(&journal).is_ok() {
        let mut beside = to.clone().into_os_string();
        beside.push("-journal");
        fs::rename(&journal, beside).map_err(io)?;
    }
    fs::rename(&from, &to).map_err(io)?;
    sync(dir)?;
    Ok(to)
}

/// Makes renames in the folder durable.
pub(super) fn sync(dir: &Path) -> Result<(), RecordError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|source| RecordError::Io { file: dir.to_owned(), source })
}
