//! Where the identity is kept: one file in the state folder, for its owner alone, never half of one. A file beside it holds what is being asked
//! for, so that an answer that was lost can be asked for again, and an identity that serves is replaced only by one that does as well.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{self as rfs, AtFlags, FlockOperation, Gid, Mode, OFlags, Uid};

use super::identity::Identity;

/// The identity that serves.
pub const NAME: &str = "collector.json";
/// What is asked for, until there is an answer.
const ASKED: &str = "collector.asked.json";
const NEW: &str = "collector.json.new";
const MOST_BYTES: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("state folder {dir}: {source}: start the agent once, which makes it (`systemctl start byteport-agent`), and run this as root", dir = .dir.display())]
    Folder { dir: PathBuf, source: io::Error },
    #[error("{file}: {source}", file = .file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{file} is not used: {why}", file = .file.display())]
    Refused { file: PathBuf, why: String },
    #[error("another enrolment is under way in {dir}: wait for its end", dir = .dir.display())]
    Busy { dir: PathBuf },
}

/// The state folder, held by its handle: what is done in it is done in this one, whatever its name leads to by then.
#[derive(Debug)]
pub(super) struct Kept {
    dir: File,
    path: PathBuf,
}

impl Kept {
    pub(super) fn open(state_dir: &Path) -> Result<Self, IdentityError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rfs::open(state_dir, flags, Mode::empty());
        let dir = dir.map_err(|e| IdentityError::Folder { dir: state_dir.to_owned(), source: e.into() })?;
        Ok(Self { dir: dir.into(), path: state_dir.to_owned() })
    }

    /// One enrolment at a time; let go of with the handle.
    pub(super) fn lock(&self) -> Result<(), IdentityError> {
        rfs::flock(&self.dir, FlockOperation::NonBlockingLockExclusive).map_err(|e| match e {
            rustix::io::Errno::WOULDBLOCK => IdentityError::Busy { dir: self.path.clone() },
            e => IdentityError::Folder { dir: self.path.clone(), source: e.into() },
        })
    }

    /// The identity that serves; `None` where there is none.
    pub(super) fn serving(&self) -> Result<Option<Identity>, IdentityError> {
        let identity = self.read(NAME)?;
        if identity.as_ref().is_some_and(|i| i.credential.is_none()) {
            return Err(self.refused(NAME, "it has no credential".into()));
        }
        Ok(identity)
    }

    /// What was asked for and not answered, if that can be told.
    pub(super) fn asked(&self) -> Result<Option<Identity>, IdentityError> {
        self.read(ASKED)
    }

    pub(super) fn ask(&self, identity: &Identity) -> Result<(), IdentityError> {
        self.write(ASKED, identity)
    }

    /// From now on this one serves.
    pub(super) fn serve(&self, identity: &Identity) -> Result<(), IdentityError> {
        self.write(NAME, identity)?;
        match rfs::unlinkat(&self.dir, ASKED, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(e) => Err(self.io(ASKED, e)),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Identity>, IdentityError> {
        // A pipe in its place is refused below; it must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = match rfs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => file.into(),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err(self.refused(name, "it is a symbolic link: put the file itself there".into())),
            Err(e) => return Err(self.io(name, e)),
        };
        let (meta, folder) = file.metadata().and_then(|meta| Ok((meta, self.dir.metadata()?))).map_err(|e| self.io(name, e))?;
        if !meta.is_file() {
            return Err(self.refused(name, "it is no file".into()));
        }
        if meta.uid() != folder.uid() && meta.uid() != 0 {
            return Err(self.refused(name, format!("it belongs to user {}, its folder to user {}: chown it", meta.uid(), folder.uid())));
        }
        if meta.mode() & 0o077 != 0 {
            let mode = meta.mode() & 0o777;
            return Err(
                self.refused(name, format!("others may read it (mode {mode:o}): enrol anew with --again, its secrets may be known"))
            );
        }
        let mut json = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut json).map_err(|e| self.io(name, e))?;
        if json.len() as u64 > MOST_BYTES {
            return Err(self.refused(name, "it is too large for one of ours".into()));
        }
        // What serde says of a value that it did not expect may be a part of it.
        let broken = |e: serde_json::Error| {
            self.refused(name, format!("it is damaged at line {} column {}: enrol anew with --again", e.line(), e.column()))
        };
        let identity: Identity = serde_json::from_slice(&json).map_err(broken)?;
        identity.check().map_err(|e| self.refused(name, e.to_string()))?;
        Ok(Some(identity))
    }

    /// Whole or not at all, and for the folder's owner, whoever writes it.
    fn write(&self, name: &str, identity: &Identity) -> Result<(), IdentityError> {
        let json = serde_json::to_vec_pretty(identity).map_err(|e| self.io(name, io::Error::from(e)))?;
        // What a crash left there, or somebody else put there: a new one is made, nothing is written through it.
        match rfs::unlinkat(&self.dir, NEW, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(self.io(NEW, e)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: File = rfs::openat(&self.dir, NEW, flags, Mode::from_raw_mode(0o600)).map_err(|e| self.io(NEW, e))?.into();
        let owner = self.dir.metadata().map_err(|e| self.io(name, e))?;
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
            rfs::fchown(&file, Some(uid), Some(gid)).map_err(|e| self.io(NEW, e))?;
        }
        file.write_all(&json).and_then(|()| file.sync_all()).map_err(|e| self.io(NEW, e))?;
        rfs::renameat(&self.dir, NEW, &self.dir, name).map_err(|e| self.io(name, e))?;
        self.dir.sync_all().map_err(|e| self.io(name, e))
    }

    fn io(&self, name: &str, source: impl Into<io::Error>) -> IdentityError {
        IdentityError::Io { file: self.path.join(name), source: source.into() }
    }

    fn refused(&self, name: &str, why: String) -> IdentityError {
        IdentityError::Refused { file: self.path.join(name), why }
    }
}

/// The identity that serves; `None` where this host has no collector.
///
/// # Errors
/// When there is a file and it is not ours, or not one.
pub fn load(state_dir: &Path) -> Result<Option<Identity>, IdentityError> {
    Kept::open(state_dir)?.serving()
}

/// Tells whether the file may be another one, or say something else: inode, size, and when either changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// `None` where there is no file.
pub(super) fn mark(file: &Path) -> Option<Mark> {
    let meta = std::fs::symlink_metadata(file).ok()?;
    Some(Mark { inode: meta.ino(), size: meta.size(), changed: (meta.ctime(), meta.ctime_nsec()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use crate::uplink::{Secret, Setup};

    fn identity() -> Identity {
        let setup = Setup { collector: "https://c.example".into(), ca_file: None, proxy: None, insecure_plain_http: false };
        Identity { credential: Some(Secret::new("ca1_geheim")), ..Identity::new(setup, &Secret::new("t")).unwrap() }
    }

    fn kept() -> (tempfile::TempDir, Kept) {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::open(dir.path()).unwrap();
        (dir, kept)
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn it_comes_back_and_is_for_its_owner_alone() {
        let (dir, kept) = kept();
        assert_eq!(load(dir.path()).unwrap(), None);
        let (first, second) = (identity(), identity());
        kept.serve(&first).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Some(first));
        kept.serve(&second).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Some(second));
        assert_eq!(mode(&dir.path().join(NAME)), 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_asked_for_does_not_serve_and_does_not_end_what_does() {
        let (dir, kept) = kept();
        let asked = Identity { credential: None, ..identity() };
        kept.ask(&asked).unwrap();
        assert_eq!((load(dir.path()).unwrap(), kept.asked().unwrap()), (None, Some(asked.clone())));
        let serving = identity();
        kept.serve(&serving).unwrap();
        assert_eq!(kept.asked().unwrap(), None);
        kept.ask(&asked).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Some(serving));
        assert_eq!(mode(&dir.path().join(ASKED)), 0o600);
        fs::rename(dir.path().join(ASKED), dir.path().join(NAME)).unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("no credential"));
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_one() {
        let (dir, kept) = kept();
        let first = identity();
        kept.serve(&first).unwrap();
        fs::create_dir_all(dir.path().join(NEW).join("in the way")).unwrap();
        assert!(kept.serve(&identity()).is_err());
        assert_eq!(load(dir.path()).unwrap(), Some(first));
    }

    #[test]
    fn nothing_is_written_or_read_through_a_link() {
        let (dir, kept) = kept();
        let outside = dir.path().join("outside");
        fs::write(&outside, "kept").unwrap();
        symlink(&outside, dir.path().join(NEW)).unwrap();
        symlink(&outside, dir.path().join(NAME)).unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("symbolic link"));
        kept.serve(&identity()).unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "kept");
        assert!(load(dir.path()).unwrap().is_some());
        let link = dir.path().join("link");
        symlink(dir.path(), &link).unwrap();
        assert!(Kept::open(&link).is_err(), "nor is the folder");
    }

    #[test]
    fn what_is_not_ours_alone_is_not_used() {
        let (dir, kept) = kept();
        kept.serve(&identity()).unwrap();
        let file = dir.path().join(NAME);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("mode 640"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(12_345), None).unwrap();
            assert!(load(dir.path()).unwrap_err().to_string().contains("user 12345"));
            std::os::unix::fs::chown(dir.path(), Some(12_345), Some(54_321)).unwrap();
            assert!(load(dir.path()).unwrap().is_some(), "the folder's own");
            kept.serve(&identity()).unwrap();
            let meta = fs::metadata(&file).unwrap();
            assert_eq!((meta.uid(), meta.gid(), mode(&file)), (12_345, 54_321, 0o600), "root writes it for whom the folder belongs to");
        }
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(12_345), None).unwrap();
        }
        assert!(load(dir.path()).unwrap_err().to_string().contains("no file"));
    }

    #[test]
    fn damage_is_refused_without_a_word_of_what_is_inside() {
        let (dir, kept) = kept();
        kept.serve(&identity()).unwrap();
        let file = dir.path().join(NAME);
        let whole = fs::read_to_string(&file).unwrap();
        let swapped = whole
            .replace("\"ca1_geheim\"", "[\"ca1_geheim\"]")
            .replace("\"insecure_plain_http\": false", "\"insecure_plain_http\": \"geheim\"");
        let huge = format!("{whole}{}", " ".repeat(1 << 17));
        for garbage in ["", "{", "null", "[]", "\0\0\0", &whole[..whole.len() - 9], &swapped, &huge, &whole.replace("https:", "ftp:")] {
            fs::write(&file, garbage).unwrap();
            let why = load(dir.path()).unwrap_err();
            assert!(matches!(why, IdentityError::Refused { .. }), "{why}");
            assert!(!format!("{why} {why:?}").contains("geheim"), "{why:?}");
        }
    }

    #[test]
    fn one_enrolment_at_a_time() {
        let (dir, kept) = kept();
        kept.lock().unwrap();
        let other = Kept::open(dir.path()).unwrap();
        assert!(matches!(other.lock(), Err(IdentityError::Busy { .. })));
        drop(kept);
        other.lock().unwrap();
    }

    #[test]
    fn a_change_is_seen() {
        let (dir, kept) = kept();
        let file = dir.path().join(NAME);
        assert_eq!(mark(&file), None);
        kept.serve(&identity()).unwrap();
        let first = mark(&file);
        assert!(first.is_some() && first == mark(&file));
        kept.serve(&identity()).unwrap();
        assert_ne!(mark(&file), first);
    }
}
