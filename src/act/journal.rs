//! Vacuuming the journal: journald is asked to rotate, then archived files go, oldest first, until what is left is small enough.
//! journald itself deletes nothing of its active files, and neither do we: guard has let only archived names through.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, OFlags};

use super::bounded::{Bounded, connect};
use super::files::delete_into;
use super::{Scene, Tally, beneath};
use crate::model::{Bytes, Effect, FileBatch, FileTarget};

const SOCKET: &str = "run/systemd/journal/io.systemd.journal";
/// Rotation syncs the active files.
const ROTATE: Duration = Duration::from_secs(30);
const MAX_REPLY: u64 = 64 << 10;

pub(super) fn vacuum(keep: Bytes, batch: &FileBatch, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    match rotate(scene) {
        Ok(()) => tally.note("journald rotated its files"),
        // What is archived already can go all the same.
        Err(e) => tally.note(format!("journald did not rotate: {}: {e}", scene.root_path.join(SOCKET).display())),
    }
    match usage(batch, scene) {
        Ok(usage) => {
            let mut oldest_first: Vec<&FileTarget> = batch.files.iter().collect();
            oldest_first.sort_by_key(|f| f.mtime_ns);
            delete_into(batch, &oldest_first, scene, &mut tally, |freed| usage.saturating_sub(freed) > keep.0);
            tally.note(format!("journal files under {}: {} before, {keep} to keep", batch.root, Bytes(usage)));
        }
        Err(e) => tally.stop(format!("journal files under {} could not be counted: {}", batch.root, io::Error::from(e))),
    }
    tally.finish(scene.now())
}

/// One varlink call: JSON and a NUL, answered by the same.
fn rotate(scene: &Scene<'_>) -> io::Result<()> {
    let until = Instant::now() + ROTATE.min(scene.left());
    let mut stream = connect(&scene.root_path.join(SOCKET), ROTATE)?;
    let mut bounded = Bounded { stream: &mut stream, until };
    bounded.write_all(b"{\"method\":\"io.systemd.Journal.Rotate\",\"parameters\":{}}\0")?;
    let mut reply = Vec::new();
    for byte in io::BufReader::new(bounded.take(MAX_REPLY)).bytes() {
        match byte? {
            0 => return answered(&reply),
            b => reply.push(b),
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "journald ended the connection without an answer"))
}

fn answered(reply: &[u8]) -> io::Result<()> {
    let reply: serde_json::Value = serde_json::from_slice(reply)?;
    match reply.get("error").and_then(|e| e.as_str()) {
        None => Ok(()),
        Some(error) => Err(io::Error::other(error.to_owned())),
    }
}

/// Bytes on disk of all journal files, active ones too: in the root itself and one level of machine ids below it.
fn usage(batch: &FileBatch, scene: &Scene<'_>) -> rustix::io::Result<u64> {
    let root = beneath::open_dir(scene.host_root(), &batch.root)?;
    let mut total = journal_files(&root)?;
    for entry in Dir::read_from(&root)? {
        let entry = entry?;
        if entry.file_type() == FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            total += journal_files(&rustix::fs::openat(&root, entry.file_name(), flags, rustix::fs::Mode::empty())?)?;
        }
    }
    Ok(total)
}

fn journal_files(dir: &OwnedFd) -> rustix::io::Result<u64> {
    let mut total: u64 = 0;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.ends_with(b".journal") || name.ends_with(b".journal~") {
            // One that went meanwhile counts nothing.
            if let Ok(stat) = rustix::fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                total = total.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
            }
        }
    }
    Ok(total)
}
