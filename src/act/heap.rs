//! Having a runtime write what is in its heap. It writes as itself, under its own user and into its own view of the folder; what is done here
//! is to ask it, when there is room, and to wait for the file.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::process::Signal;

use super::beneath::{self, Room};
use super::processes::{Held, Left, failed, folder, named};
use super::programs::{Program, User, run};
use super::{Scene, Tally};
use crate::host::bus::wait_for;
use crate::model::{Bytes, Effect, HeapSnapshot, SkipReason, SnapshotBy};

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// This part of the filesystem: a heap must not become the reason why it is full.
const STAYS_FREE: u64 = 10;
const MAX_STATUS: u64 = 16 << 10;
const WORLD_WRITABLE: u32 = 0o0002;
const STICKY: u32 = 0o1000;

pub(super) fn snapshot(snapshot: &HeapSnapshot, scene: &Scene<'_>) -> Effect {
    let mut tally = Tally::new(scene.now());
    let started = Instant::now();
    match prepared(snapshot, scene).and_then(|ready| ask(snapshot, &ready, scene, &mut tally)) {
        Ok(Written { name, bytes }) => {
            let path = snapshot.folder.join(&name.as_str().into());
            tally.note(format!("{path}: {} in {:.1} s", Bytes(bytes), started.elapsed().as_secs_f64()));
        }
        Err(Left(_, why)) if tally.done > 0 => tally.stop(why),
        Err(left) => left.tell(&mut tally, &snapshot.process),
    }
    tally.finish(scene.now())
}

struct Written {
    name: String,
    bytes: u64,
}

/// The process and the folder, both as they were examined.
struct Ready {
    held: Held,
    folder: OwnedFd,
    user: User,
}

fn prepared(snapshot: &HeapSnapshot, scene: &Scene<'_>) -> Result<Ready, Left> {
    let who = named(&snapshot.process);
    let place = &snapshot.folder;
    let no = |reason, why: String| Err(Left(reason, why));
    // No part of the path may be a link: a heap holds secrets, and where it goes must be what the host's owner has named.
    let dir = beneath::open_dir(scene.host_root(), place).map_err(|e| Left(SkipReason::Outside, format!("{place}: {e}")))?;
    let stat = rustix::fs::fstat(&dir).map_err(|e| Left(SkipReason::Error, format!("{place}: {e}")))?;
    if stat.st_mode & WORLD_WRITABLE != 0 && stat.st_mode & STICKY == 0 {
        return no(SkipReason::Protected, format!("{place}: everybody may exchange files in it; chmod o-w or +t"));
    }
    match Room::of(dir.as_fd()) {
        Some(room) if room.available >= snapshot.room.0.saturating_add(room.size / STAYS_FREE) => {}
        Some(room) => {
            let (available, free) = (Bytes(room.available), Bytes(room.size / STAYS_FREE));
            return no(
                SkipReason::NoSpace,
                format!("{place} has room for {available}; {} are needed, and {free}, a tenth of its filesystem, stay free", snapshot.room),
            );
        }
        None => return no(SkipReason::NoSpace, format!("the room in {place} cannot be told")),
    }
    let held = Held::open(&snapshot.process, scene)?;
    let process = folder(&snapshot.process, scene)?;
    let text = status(&process).map_err(|e| failed(&snapshot.process, "status", &e))?;
    let (user, caught) = user_and_caught(&text).ok_or_else(|| Left(SkipReason::Error, format!("{who}: its status is not understood")))?;
    // Whoever does not handle a signal is ended by it. jcmd sends SIGQUIT before it knows whether it talks to a JVM.
    let signal = match snapshot.by {
        SnapshotBy::Jcmd => libc::SIGQUIT,
        SnapshotBy::Usr1 => libc::SIGUSR1,
        SnapshotBy::Usr2 => libc::SIGUSR2,
    };
    if caught >> (signal - 1) & 1 == 0 {
        return no(SkipReason::Protected, format!("{who} does not handle signal {signal}, which would end it"));
    }
    // A runtime that is told by a signal writes where it works, and nobody has looked whether there is room elsewhere.
    if snapshot.by != SnapshotBy::Jcmd {
        let works_in = rustix::fs::statat(&process, c"cwd", AtFlags::empty());
        let works_in = works_in.map_err(|e| failed(&snapshot.process, "cwd", &e.into()))?;
        if (works_in.st_dev, works_in.st_ino) != (stat.st_dev, stat.st_ino) {
            return no(SkipReason::Protected, format!("{who} does not work in {place}, and would write its heap somewhere else"));
        }
    }
    Ok(Ready { held, folder: dir, user })
}

fn ask(snapshot: &HeapSnapshot, ready: &Ready, scene: &Scene<'_>, tally: &mut Tally) -> Result<Written, Left> {
    let error = |why: String| Left(SkipReason::Error, format!("{}: {why}", named(&snapshot.process)));
    let signal = match snapshot.by {
        SnapshotBy::Jcmd => return jcmd(snapshot, ready, scene, tally),
        SnapshotBy::Usr1 => Signal::USR1,
        SnapshotBy::Usr2 => Signal::USR2,
    };
    let before = names(&ready.folder).map_err(|e| error(e.to_string()))?;
    ready.held.signal(signal).map_err(|e| failed(&snapshot.process, "signal", &e.into()))?;
    tally.done = 1;
    let mut at = 0;
    loop {
        std::thread::sleep(LOOK_EVERY);
        // Complete is what the process has closed again.
        for name in names(&ready.folder).map_err(|e| error(e.to_string()))?.difference(&before) {
            if let Some(bytes) = written(ready, name).filter(|bytes| *bytes > 0 && !has_open(snapshot, scene, name)) {
                return Ok(Written { name: name.clone(), bytes });
            }
        }
        if ready.held.ends_within(Duration::ZERO) {
            return Err(error("it ended while it was to write its heap".into()));
        }
        at += 1;
        if scene.must_stop(at, tally).is_some() {
            return Err(error(format!("asked for its heap, and no file is complete in {} by now", snapshot.folder)));
        }
    }
}

fn jcmd(snapshot: &HeapSnapshot, ready: &Ready, scene: &Scene<'_>, tally: &mut Tally) -> Result<Written, Left> {
    let process = &snapshot.process;
    let error = |why: String| Left(SkipReason::Error, format!("{}: {why}", named(process)));
    let folder = snapshot.folder.as_path().to_str().filter(|text| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_.-".contains(&b)));
    let folder =
        folder.ok_or_else(|| error(format!("jcmd would take {} apart: name a folder of letters, digits, _ . -", snapshot.folder)))?;
    let name = format!("heap-{}-{}.hprof", process.pid, process.start_ticks);
    // The JVM makes it anew or not at all, so what is there, whoever has put it there, is not written to.
    if rustix::fs::statat(&ready.folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Err(Left(SkipReason::Changed, format!("{folder}/{name} is there already: nothing is overwritten")));
    }
    let limit = scene.left();
    let arguments = ["-J-Xmx64m", "-J-XX:+UseSerialGC", &process.pid.to_string(), "GC.heap_dump", &format!("{folder}/{name}")];
    let arguments = arguments.map(str::to_owned);
    let said = wait_for(limit, "jcmd", run(scene.root_path, Program::Jcmd, &arguments, Some(ready.user), limit)).map_err(error)?;
    if ready.held.ends_within(Duration::ZERO) {
        return Err(error(format!("it ended while it was to write its heap; {folder}/{name} may be of another")));
    }
    tally.done = 1;
    let said = String::from_utf8_lossy(&said).trim().chars().take(500).collect::<String>();
    let bytes = written(ready, &name).filter(|bytes| *bytes > 0);
    Ok(Written { bytes: bytes.ok_or_else(|| error(format!("there is no {folder}/{name}; jcmd said: {}", said.escape_debug())))?, name })
}

fn status(process: &OwnedFd) -> std::io::Result<String> {
    let file = rustix::fs::openat(process, c"status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    fs::File::from(file).take(MAX_STATUS).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Effective user and group, and the signals that are handled, bit by bit.
fn user_and_caught(status: &str) -> Option<(User, u64)> {
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
    let effective = |key: &str| field(key)?.split_ascii_whitespace().nth(1)?.parse().ok();
    let user = User { uid: effective("Uid:")?, gid: effective("Gid:")? };
    Some((user, u64::from_str_radix(field("SigCgt:")?.trim(), 16).ok()?))
}

fn names(folder: &OwnedFd) -> std::io::Result<BTreeSet<String>> {
    let dir = Dir::read_from(folder)?;
    Ok(dir.map_while(Result::ok).filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned)).collect())
}

/// Bytes of a regular file of that name that belongs to the process's user.
fn written(ready: &Ready, name: &str) -> Option<u64> {
    let stat: Stat = rustix::fs::statat(&ready.folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    (regular && stat.st_uid == ready.user.uid).then(|| u64::try_from(stat.st_size).unwrap_or(0))
}

/// The link's text is asked first: a descriptor on a mount that hangs is not touched.
fn has_open(snapshot: &HeapSnapshot, scene: &Scene<'_>, name: &str) -> bool {
    let Ok(fds) = fs::read_dir(scene.path(&format!("/proc/{}/fd", snapshot.process.pid))) else { return false };
    fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.file_name().is_some_and(|last| last == name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_a_process_is_and_what_it_handles() {
        let status = "Name:\tjava\nUid:\t1\t1000\t3\t4\nGid:\t5\t1001\t7\t8\nSigIgn:\t0\nSigCgt:\t0000000000000804\n";
        let (user, caught) = user_and_caught(status).unwrap();
        assert_eq!((user.uid, user.gid, caught), (1000, 1001, 1 << (libc::SIGQUIT - 1) | 1 << (libc::SIGUSR2 - 1)));
        assert!(user_and_caught("Name:\tx\n").is_none());
    }
}
