//! No bytes left, no inodes left: the record goes on for a while, then says so, and never lies.
//!
//! On filesystems of their own, in a mount namespace of their own.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use byteport::record::{Ledger, RecordError, Store};

use crate::nouns::{act, at, effect, evidence, incident, opened};
use crate::support::loops::LoopDisk;
use crate::support::{is_root, missing};

const INSIDE: &str = "BYTEPORT_TEST_OWN_MOUNTS";

/// Runs the calling test again in a mount namespace of its own; true there.
fn own_mounts(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !is_root() {
        missing("mounting needs root");
        return false;
    }
    let exe = std::env::current_exe().unwrap();
    let test_path = format!("full_disk::{test}");
    let output = Command::new("unshare").arg("-m").arg(exe).args(["--exact", &test_path, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} failed in its own mounts");
    false
}

fn tmpfs(at: &Path, options: &str) {
    fs::create_dir_all(at).unwrap();
    let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(at).status().unwrap();
    assert!(done.success(), "mount -t tmpfs -o {options}");
}

/// Takes whatever is free now, and says how much that was.
fn take_all(at: &Path) -> u64 {
    let mut file = File::options().append(true).create(true).open(at.join("hog")).unwrap();
    let (block, mut taken) = (vec![b'x'; 1 << 16], 0);
    for size in [1 << 16, 4096, 1] {
        while let Ok(n) = file.write(&block[..size]) {
            taken += n as u64;
        }
    }
    // Blocks are promised before they are given: only now is it known what there really is.
    let _ = file.sync_all();
    taken
}

fn allocated(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |m| m.blocks() * 512)
}

fn fills_up(mount: &Path) {
    let dir = mount.join("state");
    let (mut store, report) = Store::open(&dir, &at(0)).unwrap();
    assert!(report.ballast);
    store.append(&incident(1), &at(0), &opened()).unwrap();
    let ballast = dir.join("record.ballast");
    assert!(allocated(&ballast) >= 8 << 20);
    assert!(take_all(mount) > 0);

    // Somebody takes every byte that becomes free, between any two entries: the stock inside the book is out of reach.
    let mut written = 0_u64;
    while allocated(&ballast) > 0 {
        take_all(mount);
        store.append(&incident(1), &at(1), &evidence(6000)).unwrap();
        written += 1;
    }
    assert!(written >= 60, "the book's own stock held only {written} entries");
    assert!(store.health().value().is_some(), "with the ballast's room there is still some: {:?}", store.health());
    let refused = loop {
        take_all(mount);
        match store.append(&incident(1), &at(1), &evidence(6000)) {
            Ok(_) => written += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, RecordError::NoRoom { .. }), "{refused}");
    assert!(store.health().why().is_some_and(|why| why.contains("no room")), "{:?}", store.health());
    assert_eq!(store.entries(&incident(1)).unwrap().len() as u64, written + 1);

    // A restart on the full disk reads everything and needs nothing.
    drop(store);
    let (mut store, report) = Store::open(&dir, &at(2)).unwrap();
    assert_eq!((report.rows, report.set_aside, report.ballast), (written + 1, None, false));
    assert!(matches!(store.append(&incident(1), &at(2), &evidence(6000)), Err(RecordError::NoRoom { .. })));

    // Room again: it is written, and the ballast is taken back.
    fs::remove_file(mount.join("hog")).unwrap();
    store.append(&incident(1), &at(3), &evidence(6000)).unwrap();
    assert!(allocated(&ballast) >= 8 << 20);
    assert_eq!(store.health().value(), Some(&(written + 2)));
    drop(store);
    assert_eq!(Store::open(&dir, &at(4)).unwrap().1.rows, written + 2);
}

#[test]
fn a_full_tmpfs_costs_no_entry() {
    if own_mounts("a_full_tmpfs_costs_no_entry") {
        let dir = tempfile::tempdir().unwrap();
        tmpfs(dir.path(), "size=64m");
        fills_up(dir.path());
    }
}

#[test]
fn a_full_ext4_costs_no_entry() {
    if own_mounts("a_full_ext4_costs_no_entry") {
        let dir = tempfile::tempdir().unwrap();
        let Some(mut disk) = LoopDisk::ext4(96 << 20, &["-m", "0"]) else { return };
        disk.mount(dir.path());
        fills_up(dir.path());
    }
}

#[test]
fn without_room_there_is_no_act() {
    if own_mounts("without_room_there_is_no_act") {
        let dir = tempfile::tempdir().unwrap();
        tmpfs(dir.path(), "size=64m");
        let state = dir.path().join("state");
        let mut ledger = Ledger::open(&state).unwrap();
        let refused = (0..100_000).find_map(|n| {
            take_all(dir.path());
            ledger.begin(&act(n)).err().map(|e| (n, e))
        });
        let (n, error) = refused.expect("the disk is full at last");
        assert!(matches!(error, RecordError::NoRoom { .. }), "{error}");
        assert_eq!(ledger.outcome(&act(n).intent), byteport::wire::actuator::IntentOutcome::Unknown, "it was not begun");
        assert_eq!(ledger.past().len() as u64, n);
        assert!(ledger.health().value().is_none());
    }
}

#[test]
fn even_a_small_disk_needs_no_inode_for_the_first_entry() {
    if own_mounts("even_a_small_disk_needs_no_inode_for_the_first_entry") {
        let dir = tempfile::tempdir().unwrap();
        // Too small for a ballast and a stock.
        tmpfs(dir.path(), "size=16m,nr_inodes=20");
        let (mut store, report) = Store::open(&dir.path().join("state"), &at(0)).unwrap();
        assert!(!report.ballast && report.lines()[0].contains("no room for the ballast"));
        let taken = (0..).take_while(|n| File::create(dir.path().join(n.to_string())).is_ok()).count();
        assert!(taken > 5);
        store.append(&incident(1), &at(0), &opened()).unwrap();
        assert_eq!(store.health().value(), Some(&1));
    }
}

#[test]
fn no_inode_is_needed_for_the_next_entry() {
    if own_mounts("no_inode_is_needed_for_the_next_entry") {
        let dir = tempfile::tempdir().unwrap();
        tmpfs(dir.path(), "size=64m,nr_inodes=40");
        let (agent, actuator) = (dir.path().join("agent"), dir.path().join("actuator"));
        drop(Store::open(&agent, &at(0)).unwrap());
        drop(Ledger::open(&actuator).unwrap());
        let taken = (0..).take_while(|n| File::create(dir.path().join(n.to_string())).is_ok()).count();
        assert!(taken > 5 && File::create(dir.path().join("one-more")).is_err());

        // Both started and written at zero inodes, started again, and written again.
        for round in 0..3 {
            let (mut store, report) = Store::open(&agent, &at(0)).unwrap();
            assert_eq!((report.set_aside, report.ballast), (None, true));
            if round == 0 {
                store.append(&incident(1), &at(0), &opened()).unwrap();
            }
            store.append(&incident(1), &at(0), &evidence(50_000)).unwrap();
            assert_eq!(store.health().value(), Some(&(round + 2)));
            let mut ledger = Ledger::open(&actuator).unwrap();
            ledger.begin(&act(round)).unwrap();
            ledger.end(&act(round).intent, &effect(1)).unwrap();
            assert_eq!(ledger.health().value(), Some(&(2 * round + 2)));
        }
    }
}
