//! A writer that is killed over and over, at whatever it is doing: what it said was written is there, once.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use byteport::record::{Ledger, Store};
use byteport::wire::actuator::IntentOutcome;

use crate::nouns::{act, at, effect, evidence, incident, opened};

const CHILD: &str = "BYTEPORT_TEST_WRITER";

/// Runs this test binary again as a writer on a folder.
fn writer(kind: &str, dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("killed::{kind}"), "--nocapture", "--test-threads=1"]).env(CHILD, dir).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn say(what: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nDID {what}").and_then(|()| out.flush()).unwrap();
}

/// Lets a writer go on for a while, kills it, and gives the last thing that it said was done.
fn kill_after(mut child: Child, acknowledged: usize, then: Duration) -> Option<String> {
    let mut said =
        BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).filter_map(|l| Some(l.strip_prefix("DID ")?.to_owned()));
    let mut last = said.by_ref().take(acknowledged).last();
    std::thread::sleep(then);
    child.kill().unwrap();
    child.wait().unwrap();
    // What was said before the kill counts as well.
    if let Some(later) = said.last() {
        last = Some(later);
    }
    last
}

/// Whether the death left a transaction half done: the journal's header is there.
fn half_done(dir: &Path, name: &str) -> bool {
    std::fs::read(dir.join(format!("{name}.db-journal"))).is_ok_and(|j| j.starts_with(&[0xd9, 0xd5, 0x05, 0xf9]))
}

#[test]
fn ledger_writer() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let mut ledger = Ledger::open(Path::new(&dir)).unwrap();
    let begun = ledger.past().len() as u64;
    for n in begun.. {
        let intent = act(n).intent;
        ledger.begin(&act(n)).unwrap();
        say(format!("begin {n}"));
        ledger.note(&intent, &serde_json::json!(n)).unwrap();
        say(format!("note {n}"));
        ledger.end(&intent, &effect(n)).unwrap();
        say(format!("end {n}"));
    }
}

#[test]
fn store_writer() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (mut store, _) = Store::open(Path::new(&dir), &at(0)).unwrap();
    if store.summaries(1).unwrap().is_empty() {
        store.append(&incident(1), &at(0), &opened()).unwrap();
    }
    loop {
        say(store.append(&incident(1), &at(0), &evidence(20_000)).unwrap());
    }
}

#[test]
fn a_ledger_that_is_killed_forgets_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let mut mid_write = 0;
    for round in 0..60_u64 {
        let last = kill_after(writer("ledger_writer", &dir), (round % 7) as usize, Duration::from_micros(round * 37 % 1500));
        mid_write += u32::from(half_done(&dir, "ledger"));
        let ledger = Ledger::open(&dir).unwrap();
        assert_eq!((ledger.report().set_aside.clone(), ledger.report().untrusted.clone()), (None, None));
        assert!(ledger.health().value().is_some(), "{:?}", ledger.health());
        let begun = ledger.past().len() as u64;
        let acknowledged = last.map(|l| l.split_once(' ').map(|(what, n)| (what.to_owned(), n.parse::<u64>().unwrap())).unwrap());
        for n in 0..begun {
            let is = ledger.outcome(&act(n).intent);
            match &acknowledged {
                Some((what, a)) if n == *a && what == "end" => assert_eq!(is, IntentOutcome::Done(effect(n))),
                Some((_, a)) if n >= *a => assert!(matches!(is, IntentOutcome::Open | IntentOutcome::Done(_))),
                // One that an earlier death left open stays open; all others ended.
                _ => assert!(matches!(is, IntentOutcome::Open) || is == IntentOutcome::Done(effect(n))),
            }
            if let IntentOutcome::Done(_) = is {
                assert_eq!(ledger.notes(&act(n).intent), [serde_json::json!(n)], "written once");
            }
        }
        if let Some((_, n)) = acknowledged {
            assert!((n + 1..=n + 2).contains(&begun), "act {n} was acknowledged last, {begun} are there");
        }
    }
    assert!(mid_write > 0, "no death came in the middle of a transaction: this test proves nothing");
}

#[test]
fn a_record_that_is_killed_has_every_entry_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let mut mid_write = 0;
    for round in 0..40_u64 {
        let last = kill_after(writer("store_writer", &dir), (round % 5) as usize, Duration::from_micros(round * 53 % 2000));
        mid_write += u32::from(half_done(&dir, "record"));
        let (store, report) = Store::open(&dir, &at(0)).unwrap();
        assert_eq!((report.set_aside, report.untrusted), (None, None));
        let Ok(entries) = store.entries(&incident(1)) else { continue };
        let seqs: Vec<u64> = entries.iter().map(|e| e.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
        if let Some(acknowledged) = last.map(|l| l.parse::<u64>().unwrap()) {
            assert!((acknowledged..=acknowledged + 1).contains(&report.rows), "{acknowledged} acknowledged, {} there", report.rows);
        }
    }
    assert!(mid_write > 0, "no death came in the middle of a transaction: this test proves nothing");
}
