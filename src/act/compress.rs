//! Replacing a closed log by a gzip of itself, and the way back.
//!
//! The archive is written to a file without a name in the same directory, read back and compared, and gets its name only when it is
//! complete and on disk; the source goes after that. Wherever this is killed there is the source, or the archive, or both, and never
//! half an archive under a name.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use flate2::Crc;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::beneath::{Beneath, Held, LOOK, Unlinked, lease, named};
use super::files::growth;
use super::{Scene, Tally};
use crate::host::sys;
use crate::model::{Bytes, Effect, FileBatch, FileFamily, FileTarget, HostPath, SkipReason};

const CHUNK: usize = 256 << 10;
/// Labels and lists that decide who may read a log; a copy without them could be read by more people than the source.
const KEPT_XATTRS: [&str; 3] = ["security.selinux", "security.SMACK64", "system.posix_acl_access"];

/// What the ledger keeps of one packed log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packed {
    root: HostPath,
    device: u64,
    source: HostPath,
    archive: HostPath,
    archive_ino: u64,
    size: u64,
    crc: u32,
}

/// Why one log was left alone, with what the reason alone does not say.
struct Left(SkipReason, Option<String>);

impl From<SkipReason> for Left {
    fn from(reason: SkipReason) -> Self {
        Self(reason, None)
    }
}

impl From<io::Error> for Left {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self(SkipReason::NoSpace, None),
            io::ErrorKind::AlreadyExists => Self(SkipReason::Changed, Some("its archive's name is taken".into())),
            _ => Self(SkipReason::Error, Some(e.to_string())),
        }
    }
}

impl From<Errno> for Left {
    fn from(e: Errno) -> Self {
        io::Error::from(e).into()
    }
}

pub(super) fn compress(batch: &FileBatch, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    let mut beneath = match Beneath::open(scene.host_root(), batch, scene.now_ns()) {
        Ok(beneath) => beneath,
        Err(why) => {
            tally.stop(why);
            return tally.finish(scene.now());
        }
    };
    let before = beneath.room();
    let (mut from, mut to) = (0, 0);
    for (at, target) in batch.files.iter().enumerate() {
        if let Some(reason) = scene.must_stop(at, &mut tally) {
            tally.skip_rest((batch.files.len() - at) as u64, reason);
            break;
        }
        let path = batch.root.join(&target.path);
        match pack(&mut beneath, batch, target, scene, from) {
            Ok(Replaced { before, after }) => {
                tally.done += 1;
                tally.freed += before.saturating_sub(after);
                from += before;
                to += after;
            }
            Err(Left(reason, why)) => {
                if let Some(why) = why {
                    tally.note(format!("{path}: {why}"));
                }
                tally.skip(path, reason);
            }
        }
    }
    if to > 0 {
        tally.note(format!("{} became {}, gzip ratio {:.1}", Bytes(from), Bytes(to), from as f64 / to as f64));
    }
    tally.available_delta = growth(before, tally.freed, || beneath.room());
    tally.finish(scene.now())
}

/// Bytes on disk of the source and of its archive.
struct Replaced {
    before: u64,
    after: u64,
}

fn pack(beneath: &mut Beneath<'_>, batch: &FileBatch, target: &FileTarget, scene: &Scene<'_>, spent: u64) -> Result<Replaced, Left> {
    let held = beneath.last_look(target)?;
    if held.on_disk() > scene.bytes_left.saturating_sub(spent) {
        return Err(SkipReason::OverCap.into());
    }
    let archive = nameless(held.dir)?;
    let mut source = Watched { file: &held.file, at: 0, crc: Crc::new(), scene };
    let mut gzip = GzEncoder::new(File::from(archive), flate2::Compression::default());
    let copied = copy(&mut source, &mut gzip).and_then(|n| gzip.try_finish().map(|()| n));
    let (crc, stopped) = (source.crc.sum(), source.must_end());
    if let Some(reason) = stopped {
        return Err(reason.into());
    }
    let size = copied?;
    let archive = OwnedFd::from(gzip.finish()?);
    like(archive.as_fd(), held.file.as_fd(), &held.stat)?;
    rustix::fs::fsync(&archive)?;
    read_back(archive.as_fd(), size, crc)?;

    let made = rustix::fs::fstat(&archive)?;
    let after = blocks(&made);
    if after >= held.on_disk() {
        return Err(Left(SkipReason::Error, Some("gzip makes it no smaller".into())));
    }
    let now = rustix::fs::fstat(&held.file)?;
    if size != target.size
        || (now.st_size, now.st_mtime, now.st_mtime_nsec) != (held.stat.st_size, held.stat.st_mtime, held.stat.st_mtime_nsec)
    {
        return Err(SkipReason::Changed.into());
    }
    let name = [held.name, b".gz"].concat();
    let packed = Packed {
        root: batch.root.clone(),
        device: batch.device,
        source: target.path.clone(),
        archive: HostPath::from_bytes([target.path.as_bytes(), b".gz"].concat()),
        archive_ino: made.st_ino,
        size,
        crc,
    };
    let note = serde_json::to_value(&packed).map_err(|e| Left(SkipReason::Error, Some(e.to_string())))?;
    scene.ledger.put(&note).map_err(|why| Left(SkipReason::Error, Some(format!("no undo data could be written: {why}"))))?;
    give_name(archive.as_fd(), held.dir, &name)?;
    rustix::fs::fsync(held.dir)?;
    replace(&held, &name, &made)?;
    Ok(Replaced { before: held.on_disk(), after })
}

/// The source goes; where it may not go by now, the archive goes again.
fn replace(held: &Held<'_>, name: &[u8], archive: &Stat) -> Result<(), Left> {
    // Somebody asked for the log while it was packed: he waits for our lease, and is to find the log.
    let outcome = if sys::lease_is_whole(held.file.as_fd()) { held.unlink() } else { Unlinked::Kept(SkipReason::InUse) };
    match outcome {
        Unlinked::Gone => Ok(()),
        Unlinked::Kept(reason) => {
            if named(held.dir, name).is_ok_and(|s| s.st_ino == archive.st_ino) {
                rustix::fs::unlinkat(held.dir, name, AtFlags::empty())?;
            }
            Err(reason.into())
        }
        Unlinked::Another => Err(Left(SkipReason::Changed, Some("a name went that was not the examined file; the archive stays".into()))),
    }
}

/// A source that stops giving when the step must end or somebody wants the file.
struct Watched<'a> {
    file: &'a OwnedFd,
    at: u64,
    crc: Crc,
    scene: &'a Scene<'a>,
}

impl Watched<'_> {
    fn must_end(&self) -> Option<SkipReason> {
        if !sys::lease_is_whole(self.file.as_fd()) {
            return Some(SkipReason::InUse);
        }
        (self.scene.left().is_zero() || (self.scene.asker_gone)()).then_some(SkipReason::OutOfTime)
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.must_end().is_some() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let n = rustix::io::pread(self.file, &mut *buffer, self.at)?;
        self.crc.update(&buffer[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

/// `io::copy` with a buffer large enough that the checks between reads cost nothing.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Ok(total);
        }
        to.write_all(&buffer[..n])?;
        total += n as u64;
    }
}

fn nameless(dir: BorrowedFd<'_>) -> Result<OwnedFd, Left> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::openat(dir, ".", flags, Mode::RUSR | Mode::WUSR).map_err(|e| match e {
        Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL => {
            Left(SkipReason::Error, Some("this filesystem cannot make a file without a name".into()))
        }
        e => e.into(),
    })
}

/// Fails when the name is taken, instead of replacing what has it.
fn give_name(file: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Left> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, own, dir, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// Owner, mode, labels and times of `of`, in the order in which one does not undo the other.
fn like(file: BorrowedFd<'_>, of: BorrowedFd<'_>, stat: &Stat) -> Result<(), Left> {
    rustix::fs::fchown(file, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for name in KEPT_XATTRS {
        let mut value = vec![0; 4096];
        match rustix::fs::fgetxattr(of, name, &mut value) {
            Ok(n) => rustix::fs::fsetxattr(file, name, &value[..n], XattrFlags::empty())?,
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let at = |s, ns| Timespec { tv_sec: s, tv_nsec: ns };
    let times = Timestamps {
        last_access: at(stat.st_atime as _, stat.st_atime_nsec as _),
        last_modification: at(stat.st_mtime as _, stat.st_mtime_nsec as _),
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// Unpacks what reached the disk and compares it with what was read from the source.
fn read_back(archive: BorrowedFd<'_>, size: u64, crc: u32) -> Result<(), Left> {
    // Drops the clean pages, so that the comparison reads the disk and not our own memory; where it is refused it compares less.
    let _ = rustix::fs::fadvise(archive, 0, None, rustix::fs::Advice::DontNeed);
    let mut found = Summed { crc: Crc::new(), to: io::sink() };
    let unpacked = copy(&mut MultiGzDecoder::new(Whole { file: archive, at: 0 }), &mut found)?;
    if (unpacked, found.crc.sum()) == (size, crc) {
        Ok(())
    } else {
        Err(Left(SkipReason::Error, Some("what was packed does not unpack to the source".into())))
    }
}

/// Passes on what it is given and sums it up.
struct Summed<W> {
    crc: Crc,
    to: W,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.crc.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A file from its beginning, whatever its offset is.
struct Whole<'a> {
    file: BorrowedFd<'a>,
    at: u64,
}

impl<'a> Whole<'a> {
    fn of(file: &'a OwnedFd) -> Self {
        Self { file: file.as_fd(), at: 0 }
    }
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = rustix::io::pread(self.file, buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

fn blocks(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

/// The undo: every archive that the notes name becomes its log again, if it still is that archive and the log's name is free.
pub(super) fn unpack(notes: &[serde_json::Value], scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    for (at, note) in notes.iter().rev().enumerate() {
        if let Some(reason) = scene.must_stop(at, &mut tally) {
            tally.skip_rest((notes.len() - at) as u64, reason);
            break;
        }
        let packed: Packed = match serde_json::from_value(note.clone()) {
            Ok(packed) => packed,
            Err(e) => {
                tally.note(format!("an undo note of the ledger is not one of compression: {e}"));
                continue;
            }
        };
        match unpack_one(&packed, scene) {
            Ok(()) => tally.done += 1,
            Err(Left(reason, why)) => {
                let archive = packed.root.join(&packed.archive);
                if let Some(why) = why {
                    tally.note(format!("{archive}: {why}"));
                }
                tally.skip(archive, reason);
            }
        }
    }
    tally.finish(scene.now())
}

fn unpack_one(packed: &Packed, scene: &Scene<'_>) -> Result<(), Left> {
    let batch = FileBatch {
        family: FileFamily::ClosedLogs,
        root: packed.root.clone(),
        device: packed.device,
        min_age_s: 0,
        files: Vec::new(),
        dirs: Vec::new(),
    };
    let beneath = Beneath::open(scene.host_root(), &batch, scene.now_ns()).map_err(|why| Left(SkipReason::Error, Some(why)))?;
    let held = beneath.by_inode(&packed.archive, packed.archive_ino)?;
    lease(held.file.as_fd())?;
    let name = packed.source.file_name();
    match named(held.dir.as_fd(), name) {
        Err(Errno::NOENT) => restore(&held.file, &held.stat, held.dir.as_fd(), name, packed)?,
        // The act died between giving the archive its name and taking the source's: the log is there, only the archive goes. Told by the
        // content: inode numbers are used again.
        Ok(_) if beneath.open_inside(packed.source.as_bytes(), LOOK).is_ok_and(|log| holds(Whole::of(&log), packed)) => {
            if !holds(MultiGzDecoder::new(Whole::of(&held.file)), packed) {
                return Err(Left(SkipReason::Changed, Some("the archive does not hold what was packed".into())));
            }
        }
        Ok(_) => return Err(Left(SkipReason::Changed, Some(format!("{} is taken by a newer file", packed.root.join(&packed.source))))),
        Err(e) => return Err(e.into()),
    }
    let archive = Held { file: held.file, stat: held.stat, dir: held.dir.as_fd(), name: packed.archive.file_name() };
    match archive.unlink() {
        Unlinked::Gone => Ok(()),
        Unlinked::Kept(reason) => Err(reason.into()),
        Unlinked::Another => Err(Left(SkipReason::Changed, Some("another file had the archive's name by then".into()))),
    }
}

/// Whether a reader gives the very bytes that were packed.
fn holds(mut from: impl Read, packed: &Packed) -> bool {
    let mut found = Summed { crc: Crc::new(), to: io::sink() };
    copy(&mut from, &mut found).is_ok_and(|size| (size, found.crc.sum()) == (packed.size, packed.crc))
}

fn restore(archive: &OwnedFd, stat: &Stat, dir: BorrowedFd<'_>, name: &[u8], packed: &Packed) -> Result<(), Left> {
    let log = nameless(dir)?;
    let mut sum = Summed { crc: Crc::new(), to: File::from(log) };
    let size = copy(&mut MultiGzDecoder::new(Whole::of(archive)), &mut sum)?;
    if (size, sum.crc.sum()) != (packed.size, packed.crc) {
        return Err(Left(SkipReason::Changed, Some("the archive does not hold what was packed".into())));
    }
    let log = OwnedFd::from(sum.to);
    like(log.as_fd(), archive.as_fd(), stat)?;
    rustix::fs::fsync(&log)?;
    give_name(log.as_fd(), dir, name)?;
    Ok(rustix::fs::fsync(dir)?)
}
