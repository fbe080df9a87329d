//! What was not written by us is found, kept aside, said, and not acted upon.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use byteport::folder::FolderError;
use byteport::model::{Body, Entry};
use byteport::record::{Ledger, RecordError, Store};
use proptest::prelude::*;

use crate::nouns::{act, at, closed, effect, evidence, incident, intent, opened, quick_dir};

/// A record with two incidents, closed by its owner.
fn written(dir: &Path) -> (PathBuf, Vec<Entry>) {
    let (mut store, _) = Store::open(dir, &at(0)).unwrap();
    for body in [opened(), evidence(5000), intent(1), Body::Effect { intent: act(1).intent, effect: effect(3) }, closed()] {
        store.append(&incident(1), &at(1), &body).unwrap();
    }
    store.append(&incident(2), &at(2), &opened()).unwrap();
    store.append(&incident(2), &at(2), &evidence(10)).unwrap();
    (dir.join("record.db"), told(&store))
}

fn told(store: &Store) -> Vec<Entry> {
    let mut all: Vec<Entry> = store.summaries(99).unwrap().iter().flat_map(|s| store.entries(&s.id).unwrap()).collect();
    all.sort_by_key(|e| e.seq);
    all
}

fn sql(file: &Path, text: &str) {
    rusqlite::Connection::open(file).unwrap().execute_batch(text).unwrap();
}

/// A way to spoil a file.
type Spoil = fn(&Path);

const DAMAGES: &[(&str, Spoil)] = &[
    ("garbage instead of the header", |f| {
        let mut bytes = fs::read(f).unwrap();
        bytes[..100].fill(0xa5);
        fs::write(f, bytes).unwrap();
    }),
    ("cut in the middle", |f| fs::File::options().write(true).open(f).unwrap().set_len(9000).unwrap()),
    ("cut to nothing", |f| fs::write(f, b"").unwrap()),
    ("somebody else's database", |f| {
        fs::remove_file(f).unwrap();
        sql(f, "CREATE TABLE chain(seq INTEGER PRIMARY KEY)");
    }),
    ("one byte of a body", |f| {
        let mut bytes = fs::read(f).unwrap();
        let at = bytes.windows(4).position(|w| w == b"xxxx").unwrap();
        bytes[at + 1] ^= 1;
        fs::write(f, bytes).unwrap();
    }),
    ("a changed body", |f| sql(f, "UPDATE chain SET body = replace(body, '80.0', '81.0') WHERE seq = 5")),
    ("a body taken away", |f| sql(f, "UPDATE chain SET body = NULL WHERE seq = 2")),
    ("a changed time", |f| sql(f, "UPDATE chain SET at = replace(at, 'boot-a', 'boot-b') WHERE seq = 3")),
    ("an entry given to another incident", |f| {
        sql(f, "UPDATE chain SET incident = (SELECT incident FROM chain WHERE seq = 6) WHERE seq = 4")
    }),
    ("a row taken out", |f| sql(f, "DELETE FROM chain WHERE seq = 3")),
    ("the end taken off", |f| sql(f, "DELETE FROM chain WHERE seq = 7")),
    ("the beginning taken off", |f| sql(f, "DELETE FROM chain WHERE seq = 1")),
    ("a list that says something else", |f| sql(f, "UPDATE incidents SET summary = replace(summary, 'healed', 'cleared')")),
    ("a list that leaves one out", |f| sql(f, "DELETE FROM incidents WHERE closed = 1")),
];

#[test]
fn a_damaged_record_is_kept_aside_and_the_new_one_not_trusted_until_a_person_says_so() {
    for (what, spoil) in DAMAGES {
        let dir = quick_dir();
        let dir = dir.path().join("state");
        let (file, _) = written(&dir);
        spoil(&file);
        let spoiled = fs::read(&file).unwrap();
        let (mut store, report) = Store::open(&dir, &at(3)).unwrap_or_else(|e| panic!("{what}: {e}"));
        let (kept, why) = report.set_aside.clone().unwrap_or_else(|| panic!("{what} was not found"));
        assert_eq!(fs::read(&kept).unwrap(), spoiled, "{what}: kept as it was");
        assert!(kept.file_name().unwrap().to_str().unwrap().starts_with("record.db.corrupt-2"), "{what}: {kept:?}");
        assert!(!why.is_empty() && report.lines().len() == 2, "{what}: {:?}", report.lines());
        let untrusted = |store: &Store| store.health().why().is_some_and(|why| why.contains("--trust-new-record"));
        assert!(untrusted(&store), "{what}");

        // It goes on recording, and a restart makes nothing good.
        store.append(&incident(9), &at(3), &opened()).unwrap();
        drop(store);
        let (mut store, report) = Store::open(&dir, &at(4)).unwrap();
        assert!(report.set_aside.is_none() && untrusted(&store), "{what}");
        store.trust("ann", &at(5)).unwrap();
        assert!(store.health().value().is_some());
        drop(store);
        let (store, report) = Store::open(&dir, &at(6)).unwrap();
        assert!(store.health().value().is_some() && report.untrusted.is_none(), "{what}");
    }
}

#[test]
fn a_ledger_that_was_lost_lets_nothing_begin() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    Ledger::open(&dir).unwrap().begin(&act(1)).unwrap();
    // As a death between setting aside and beginning anew leaves it.
    fs::rename(dir.join("ledger.db"), dir.join("ledger.db.corrupt-20261121-215506")).unwrap();
    let mut ledger = Ledger::open(&dir).unwrap();
    assert!(ledger.health().why().is_some_and(|why| why.contains("--trust-new-ledger")), "{:?}", ledger.health());
    assert!(matches!(ledger.begin(&act(2)), Err(RecordError::Untrusted(_))));
    ledger.trust("ann", &at(1)).unwrap();
    ledger.begin(&act(2)).unwrap();
    drop(ledger);
    assert_eq!(Ledger::open(&dir).unwrap().past(), [act(2)]);
}

#[test]
fn a_newer_format_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let (file, _) = written(&dir);
    sql(&file, "PRAGMA user_version = 2");
    assert!(matches!(Store::open(&dir, &at(3)), Err(RecordError::Newer { found: 2, .. })));
    assert!(file.exists());
}

#[test]
fn the_second_to_open_is_told_who_was_first() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let first = Store::open(&dir, &at(0)).unwrap();
    let error = Store::open(&dir, &at(0)).unwrap_err();
    assert!(matches!(error, RecordError::Folder(FolderError::InUse { .. })));
    assert!(error.to_string().contains(&format!("process {} (record-", std::process::id())), "{error}");
    Ledger::open(&dir).expect("another book in the same folder");
    drop(first);
    Store::open(&dir, &at(0)).unwrap();
}

#[test]
fn a_record_that_is_swapped_under_its_owner_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let (mut store, _) = Store::open(&dir, &at(0)).unwrap();
    store.append(&incident(1), &at(0), &opened()).unwrap();
    fs::rename(dir.join("record.db"), dir.join("elsewhere")).unwrap();
    assert!(store.health().why().is_some_and(|why| why.contains("removed or replaced")), "{:?}", store.health());
}

#[test]
fn the_folder_is_ours_alone_and_no_link() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("state");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    drop(written(&dir));
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    for file in fs::read_dir(&dir).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
    symlink(&dir, base.path().join("link")).unwrap();
    let refused = |dir: &Path| Store::open(dir, &at(0)).unwrap_err().to_string();
    assert!(refused(&base.path().join("link")).contains("is a symbolic link"));
    fs::write(base.path().join("file"), "").unwrap();
    assert!(refused(&base.path().join("file")).contains("is not a folder"));
    assert!(refused(&base.path().join("none/state")).contains("its parent"));
    fs::rename(dir.join("record.db"), base.path().join("moved.db")).unwrap();
    symlink(base.path().join("moved.db"), dir.join("record.db")).unwrap();
    assert!(Store::open(&dir, &at(0)).is_err(), "a record behind a link");
    if crate::support::is_root() {
        std::os::unix::fs::chown(&dir, Some(65534), None).unwrap();
        assert!(refused(&dir).contains("belongs to user 65534"));
    }
}

fn any_entry() -> impl Strategy<Value = (u64, usize)> {
    (0..4_u64, prop_oneof![4 => 0..600_usize, 1 => 3000..9000_usize])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_entries_verify_and_any_flipped_bit_is_found_or_changes_nothing(
        entries in prop::collection::vec(any_entry(), 1..25),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 12),
    ) {
        let dir = quick_dir();
        let dir = dir.path().join("state");
        let (mut store, _) = Store::open(&dir, &at(0)).unwrap();
        for (n, size) in &entries {
            if store.summary(&incident(*n)).is_err() {
                store.append(&incident(*n), &at(*size as i64), &opened()).unwrap();
            }
            store.append(&incident(*n), &at(*size as i64), &evidence(*size)).unwrap();
        }
        let all = told(&store);
        drop(store);
        let file = dir.join("record.db");
        let sound = fs::read(&file).unwrap();
        let (store, report) = Store::open(&dir, &at(0)).unwrap();
        prop_assert!(report.set_aside.is_none() && told(&store) == all);
        drop(store);
        // Most of the file is stock; what was written lies at its ends.
        let written: Vec<usize> = (0..sound.len()).filter(|at| sound[at & !4095..(at | 4095) + 1].iter().any(|b| *b != 0)).collect();
        for (place, bit) in flips {
            let offset = written[place.index(written.len())];
            let mut bytes = sound.clone();
            bytes[offset] ^= 1 << bit;
            fs::write(&file, &bytes).unwrap();
            match Store::open(&dir, &at(0)) {
                Ok((store, report)) if report.set_aside.is_none() => prop_assert!(told(&store) == all, "byte {offset} bit {bit}"),
                Ok((_, report)) => fs::remove_file(report.set_aside.unwrap().0).unwrap(),
                Err(e) => prop_assert!(matches!(e, RecordError::Newer { .. } | RecordError::Sqlite { .. }), "{e}"),
            }
        }
    }
}
