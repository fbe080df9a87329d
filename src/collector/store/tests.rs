//! On real files: what is acknowledged is there, once, whatever came in which order, and whoever ended when.

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rusqlite::{Error, ffi};
use tempfile::TempDir;

use super::made_up::{Agent, all, asked, at, change, code, open, rows, token};
use super::writer::QUEUE;
use super::{AgentState, Store, StoreError};
use crate::collector::auth::Token;
use crate::model::Outcome;
use crate::wire::collector::{Code, Record, Taken};

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Waits for what comes by itself.
fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn state(store: &Store, agent: &Agent) -> Option<AgentState> {
    store.credential(&agent.id).map(|auth| auth.state)
}

/// Three incidents: one that a person is called for, one that heals, one that goes on.
fn story() -> Agent {
    let mut agent = Agent::new(1);
    agent.push("", "dropped", "{\"seqs\":[]}");
    agent.opens("disk-1");
    agent.opens("disk-2");
    agent.decides("disk-1", "log_growth");
    agent.escalates("disk-1");
    agent.closes("disk-2", Outcome::Healed);
    agent.closes("disk-1", Outcome::Escalated);
    agent.opens("disk-3");
    agent.push("disk-3", "of_a_later_version", "{\"of_a_later_version\":{}}");
    agent.escalates("disk-3");
    agent.notes(2);
    agent
}

// Coming in.

#[test]
fn a_token_lets_one_host_in_and_answers_it_again() {
    let dir = dir();
    let store = open(dir.path());
    let (one, token) = (Agent::new(1), token(&store, "a", 1));
    let first = one.enrol_by(&store, &token).unwrap();
    assert_eq!(store.credential(&one.id).unwrap().credential_sha256, first.secret_sha256());
    let again = one.enrol_by(&store, &token).unwrap();
    assert_eq!(store.credential(&one.id).unwrap().credential_sha256, again.secret_sha256());
    assert_ne!(first.secret_sha256(), again.secret_sha256());
    assert_eq!(rows(store.path(), "SELECT uses FROM tokens"), ["1"]);
    assert_eq!(code(Agent::new(2).enrol_by(&store, &token)), Code::TokenRefused);
    assert_eq!(rows(store.path(), "SELECT id, hostname, enrolled_at FROM agents"), [format!("{}|web-1|10000", one.id)]);
}

#[test]
fn no_other_token_and_no_other_key_opens_the_door_of_a_host() {
    let dir = dir();
    let store = open(dir.path());
    let one = Agent::new(1);
    let credential = one.enrol(&store);
    let other = token(&store, "other", 9);
    assert_eq!(code(one.enrol_by(&store, &other)), Code::TokenRefused);
    let mut thief = Agent::new(2);
    thief.id.clone_from(&one.id);
    assert_eq!(code(thief.enrol_by(&store, &other)), Code::TokenRefused);
    assert_eq!(store.credential(&one.id).unwrap().credential_sha256, credential.secret_sha256());
    assert_eq!(rows(store.path(), "SELECT uses FROM tokens WHERE id = 'other'"), ["0"]);
}

#[test]
fn a_token_that_is_wrong_expired_or_revoked_lets_nobody_in() {
    let dir = dir();
    let store = open(dir.path());
    let agent = Agent::new(1);
    let good = token(&store, "good", 9);
    for bad in [Token::new("none").unwrap(), Token::new("good").unwrap()] {
        assert_eq!(code(agent.enrol_by(&store, &bad)), Code::TokenRefused);
    }
    agent.enrol_by(&store, &good).unwrap();
    for change_to in ["expires_at = 10000", "expires_at = 1000000, revoked_at = 1"] {
        change(&store, &format!("UPDATE tokens SET {change_to}"));
        assert_eq!(code(Agent::new(2).enrol_by(&store, &good)), Code::TokenRefused, "{change_to}");
        assert_eq!(code(agent.enrol_by(&store, &good)), Code::TokenRefused, "asked again, {change_to}");
    }
    change(&store, "UPDATE tokens SET revoked_at = NULL");
    change(&store, "UPDATE agents SET revoked_at = 1");
    assert_eq!(code(agent.enrol_by(&store, &good)), Code::TokenRefused, "a revoked agent gets no new credential");
    assert_eq!(rows(store.path(), "SELECT count(*) FROM agents"), ["1"]);
}

// Rows.

#[test]
fn rows_are_kept_letter_by_letter_with_what_follows_from_them() {
    let dir = dir();
    let store = open(dir.path());
    let agent = story();
    agent.enrol(&store);
    let n = agent.len();
    assert_eq!(agent.send_all(&store), Taken { acked_through: n, accepted: n, duplicates: 0 });
    let kept = rows(store.path(), "SELECT seq, incident, kind, at, body_hash, body, received_at FROM records ORDER BY seq");
    let sent = agent.batch(1, n).records.into_iter().map(|r| {
        let Record { seq, incident, kind, at, body_hash, body } = r;
        format!("{seq}|{incident}|{kind}|{at}|{body_hash}|{}|20000", body.unwrap())
    });
    assert_eq!(kept, sent.collect::<Vec<_>>());
    let incidents = rows(store.path(), "SELECT id, runbook, opened_at, closed_at, outcome, escalated FROM incidents ORDER BY id");
    assert_eq!(incidents, ["disk-1|disk|2000|7000|escalated|1", "disk-2|disk|3000|6000|healed|0", "disk-3|disk|8000|-|-|1"]);
    let outbox = rows(store.path(), "SELECT destination, incident, about, seq, state, next_at FROM outbox ORDER BY 1, seq");
    let told = |to: &str| {
        ["disk-1|escalated|5", "disk-1|closed|7", "disk-3|escalated|10"].map(|what| format!("{to}|{what}|pending|20000")).to_vec()
    };
    assert_eq!(outbox, [told("file"), told("mail")].concat());
    let payload = &rows(store.path(), "SELECT payload FROM outbox WHERE destination = 'file' AND seq = 5")[0];
    let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
    assert_eq!((&payload["host"], &payload["class"], &payload["subject"]), (&"web-1".into(), &"log_growth".into(), &"/var".into()));
}

#[test]
fn a_class_makes_another_fingerprint_and_the_same_again_the_same() {
    let dir = dir();
    let store = open(dir.path());
    let mut agent = Agent::new(1);
    agent.opens("disk-1");
    agent.opens("disk-2");
    agent.enrol(&store);
    agent.send_all(&store);
    let prints = || rows(store.path(), "SELECT fingerprint FROM incidents ORDER BY id");
    let before = prints();
    assert_eq!((before[0].len(), &before[0]), (16, &before[1]));
    agent.decides("disk-1", "log_growth");
    agent.decides("disk-2", "core_dumps");
    agent.send(&store, agent.batch(3, 4)).unwrap();
    let after = prints();
    assert_eq!([&before[0], &after[0], &after[1]].into_iter().collect::<HashSet<_>>().len(), 3);
}

#[test]
fn a_call_for_a_person_is_told_also_when_its_beginning_was_lost() {
    let dir = dir();
    let store = open(dir.path());
    let mut agent = Agent::new(1);
    agent.opens("disk-1");
    agent.escalates("disk-1");
    agent.closes("disk-1", Outcome::Escalated);
    agent.enrol(&store);
    let mut rest = agent.batch(2, 3);
    rest.first_kept = 2;
    agent.send(&store, rest).unwrap();
    assert_eq!(rows(store.path(), "SELECT about FROM outbox WHERE destination = 'mail' ORDER BY seq"), ["escalated", "closed"]);
}

#[test]
fn what_came_before_is_a_duplicate_and_changes_nothing() {
    let dir = dir();
    let store = open(dir.path());
    let agent = story();
    agent.enrol(&store);
    agent.send(&store, agent.batch(1, 6)).unwrap();
    let before = all(store.path());
    for (first, last) in [(1, 6), (2, 4), (6, 6)] {
        let taken = agent.send(&store, agent.batch(first, last)).unwrap();
        assert_eq!(taken, Taken { acked_through: 6, accepted: 0, duplicates: last - first + 1 });
    }
    assert_eq!(all(store.path()), before);
    assert_eq!(agent.send(&store, agent.batch(4, 9)).unwrap(), Taken { acked_through: 9, accepted: 3, duplicates: 3 });
}

#[test]
fn rows_that_the_host_still_has_are_asked_for_and_those_it_dropped_are_noted() {
    let dir = dir();
    let store = open(dir.path());
    let agent = story();
    agent.enrol(&store);
    agent.send(&store, agent.batch(1, 3)).unwrap();
    let before = all(store.path());
    let refused = agent.send(&store, agent.batch(6, 8));
    assert!(refused.as_ref().is_err_and(|e| e.to_string().contains("rows 4 to 5") && e.to_string().contains("acked_through is 3")));
    assert_eq!((code(refused), all(store.path())), (Code::Gap, before));
    let mut later = agent.batch(6, 8);
    later.first_kept = 6;
    assert_eq!(agent.send(&store, later).unwrap(), Taken { acked_through: 8, accepted: 3, duplicates: 0 });
    let noted = rows(store.path(), "SELECT gap_before, lower(hex(gap_hash)) FROM streams");
    assert_eq!(noted, [format!("6|{}", crate::wire::collector::hex(&agent.hash(5)))]);
    agent.send(&store, agent.batch(8, 9)).unwrap();
    assert_eq!(rows(store.path(), "SELECT gap_before, acked_through FROM streams"), ["6|9"]);
    assert_eq!(state(&store, &agent), Some(AgentState::Active));
}

#[test]
fn a_history_that_changed_is_quarantined() {
    let changed = |what: &str, send: &dyn Fn(&Store, &Agent, &Agent) -> Result<Taken, StoreError>| {
        let dir = dir();
        let store = open(dir.path());
        let mut agent = Agent::new(1);
        agent.notes(4);
        agent.enrol(&store);
        agent.send_all(&store);
        // Another history of the same host: alike in its first two rows.
        let mut other = agent.anew(1001);
        other.notes(2);
        other.opens("disk-9");
        other.opens("disk-8");
        other.notes(3);
        assert_eq!(other.stream, agent.stream);
        let before = all(store.path());
        assert_eq!(code(send(&store, &agent, &other)), Code::SeqConflict, "{what}");
        assert_eq!(all(store.path()), before, "{what}");
        assert_eq!(state(&store, &agent), Some(AgentState::Quarantined), "{what}");
        let why = rows(store.path(), "SELECT quarantined_why FROM agents WHERE quarantined_at = 20000");
        assert!(why.len() == 1 && why[0].contains("row"), "{what}: {why:?}");
        assert_eq!(code(agent.send(&store, agent.batch(1, 1))), Code::AgentQuarantined, "{what}");
        let queued = agent.proven(agent.batch(1, 1));
        assert_eq!(
            code(asked(|reply| store.submit(move |c| Ok(super::ingest::ingest(c, &queued, 0, &[])?), reply)).and_then(drop_taken)),
            Code::AgentQuarantined
        );
        drop(store);
        assert_eq!(state(&open(dir.path()), &agent), Some(AgentState::Quarantined), "{what}: after a restart");
    };
    changed("an older row is another", &|store, _, other| other.send(store, other.batch(2, 3)));
    changed("the newest row follows from others", &|store, _, other| other.send(store, other.batch(4, 6)));
    changed("what comes next follows from another", &|store, _, other| other.send(store, other.batch(5, 6)));
}

/// What the queue would have answered.
fn drop_taken(answer: super::ingest::Answer) -> Result<Taken, StoreError> {
    match answer {
        super::ingest::Answer::Taken(taken) => Ok(taken),
        super::ingest::Answer::Refused(r) | super::ingest::Answer::Quarantined(r) => Err(StoreError::Refused(r)),
    }
}

#[test]
fn a_record_begun_anew_is_fine_and_the_old_one_coming_back_is_a_clone() {
    let dir = dir();
    let store = open(dir.path());
    let mut old = Agent::new(1);
    old.notes(3);
    old.enrol(&store);
    old.send(&store, old.batch(1, 2)).unwrap();
    let mut new = old.anew(77);
    new.opens("disk-5");
    new.send_all(&store);
    new.notes(1);
    new.send(&store, new.batch(2, 2)).unwrap();
    assert_eq!(code(old.send(&store, old.batch(3, 3))), Code::IdentityClone);
    until("the quarantine", || rows(store.path(), "SELECT quarantined_why FROM agents")[0].contains("two hosts"));
    assert_eq!(code(new.send(&store, new.batch(2, 2))), Code::AgentQuarantined);
}

#[test]
fn a_clone_is_seen_by_the_database_alone_as_well() {
    let dir = dir();
    let mut old = Agent::new(1);
    old.notes(3);
    let mut new = old.anew(77);
    new.notes(1);
    let store = open(dir.path());
    old.enrol(&store);
    // The clock was set back meanwhile.
    let taken = |store: &Store, agent: &Agent, last, now| {
        let batch = agent.proven(agent.batch(1, last));
        asked(|reply| store.submit(move |c| super::ingest::ingest(c, &batch, now, &[]), reply)).and_then(drop_taken)
    };
    taken(&store, &old, 2, 9000).unwrap();
    taken(&store, &new, 1, 5000).unwrap();
    assert_eq!(code(taken(&store, &old, 3, 9999)), Code::IdentityClone);
}

#[test]
fn a_clone_is_seen_by_its_heartbeats_and_that_outlives_a_crash() {
    let dir = dir();
    let store = open(dir.path());
    let (old, other) = (Agent::new(1), Agent::new(2));
    let new = old.anew(77);
    old.enrol(&store);
    other.enrol(&store);
    for agent in [&old, &other, &old, &new, &new] {
        assert_eq!(store.heard(&agent.id, agent.heartbeat(), 30.0, at(30)).unwrap(), 0);
    }
    assert_eq!(code(store.heard(&old.id, old.heartbeat(), 30.0, at(31))), Code::IdentityClone);
    assert_eq!(code(store.heard(&new.id, new.heartbeat(), 30.0, at(31))), Code::AgentQuarantined);
    until("the quarantine", || rows(store.path(), "SELECT id FROM agents WHERE quarantined_at = 31000") == [old.id.clone()]);
    assert_eq!(state(&store, &other), Some(AgentState::Active));
    let copy = crashed(&store);
    assert_eq!(state(&open(copy.path()), &old), Some(AgentState::Quarantined));
}

#[test]
fn a_record_cannot_be_begun_anew_for_ever() {
    let dir = dir();
    let store = open(dir.path());
    let agent = Agent::new(1);
    agent.enrol(&store);
    let heard = |n: u32| store.heard(&agent.id, agent.anew(n).heartbeat(), 30.0, at(30));
    for n in 1..=super::live::MOST_STREAMS as u32 {
        heard(n).unwrap();
    }
    assert_eq!(code(heard(1000)), Code::IdentityClone);
}

/// Parts of a record in any order: from, to, of 12 rows.
fn parts() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((1..=12_u64, 0..6_u64), 1..14).prop_map(|v| v.into_iter().map(|(f, n)| (f, (f + n).min(12))).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The sender begins behind what is acknowledged whenever it is told of a gap, and in the end sends the rest.
    #[test]
    fn rows_in_any_order_and_as_often_as_one_likes_end_the_same(parts in parts(), restart in 0..14_usize) {
        let (dir, other) = (dir(), dir());
        let agent = story();
        let mut store = open(dir.path());
        agent.enrol(&store);
        for (n, (first, last)) in parts.into_iter().enumerate() {
            if n == restart {
                drop(store);
                store = open(dir.path());
            }
            let acked = store.heard(&agent.id, agent.heartbeat(), 30.0, at(30)).unwrap();
            match agent.send(&store, agent.batch(first, last)) {
                Ok(taken) => prop_assert!(first <= acked + 1 && taken.acked_through == last.max(acked)),
                Err(e) => {
                    prop_assert!(first > acked + 1, "{}", e);
                    prop_assert_eq!(code::<Taken>(Err(e)), Code::Gap);
                }
            }
        }
        agent.send_all(&store);
        let at_once = open(other.path());
        agent.enrol(&at_once);
        agent.send_all(&at_once);
        prop_assert_eq!(all(store.path()), all(at_once.path()));
    }
}

// What is acknowledged is there.

/// What a power cut would leave now: the files as they are, without a word to the program.
fn crashed(store: &Store) -> TempDir {
    let copy = dir();
    for file in ["collector.db", "collector.db-wal"] {
        std::fs::copy(store.path().with_file_name(file), copy.path().join(file)).unwrap();
    }
    copy
}

#[test]
fn no_acknowledged_batch_is_lost_in_a_crash() {
    let dir = dir();
    let store = open(dir.path());
    let agent = story();
    let credential = agent.enrol(&store);
    for seq in 1..=agent.len() {
        agent.send(&store, agent.batch(seq, seq)).unwrap();
        let copy = crashed(&store);
        let after = open(copy.path());
        assert_eq!(all(after.path()), all(store.path()), "row {seq}");
        assert_eq!(after.credential(&agent.id).unwrap().credential_sha256, credential.secret_sha256());
        assert_eq!(after.heard(&agent.id, agent.heartbeat(), 30.0, at(30)).unwrap(), seq);
    }
}

#[test]
fn what_waits_when_the_store_is_closed_is_written_and_answered() {
    let dir = dir();
    let store = open(dir.path());
    let agent = story();
    agent.enrol(&store);
    store.heard(&agent.id, agent.heartbeat(), 30.0, at(30)).unwrap();
    let (blocked, release) = block(&store);
    let (tell, told) = mpsc::channel();
    for seq in 1..=agent.len() {
        let tell = tell.clone();
        let batch = agent.proven(agent.batch(seq, seq));
        store.ingest(batch, at(20), Box::new(move |result| tell.send(result.unwrap().acked_through).unwrap()));
    }
    drop(tell);
    release.send(()).unwrap();
    drop(store);
    assert!(blocked.recv().unwrap().is_ok());
    assert_eq!(told.iter().collect::<Vec<_>>(), (1..=agent.len()).collect::<Vec<_>>());
    let path = dir.path().join("collector.db");
    assert_eq!(rows(&path, "SELECT acked_through FROM streams"), [agent.len().to_string()]);
    assert_eq!(rows(&path, "SELECT seen_at, waiting FROM heartbeats"), [format!("30000|{}", agent.len())]);
}

/// The writer waits until it is released; the receiver gets its answer.
fn block(store: &Store) -> (mpsc::Receiver<Result<(), StoreError>>, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    let wait = move |_: &rusqlite::Connection| {
        begun.send(()).unwrap();
        released.recv().map_err(|e| StoreError::Sqlite(e.to_string()))
    };
    store.submit(wait, Box::new(move |result| drop(tell.send(result))));
    begins.recv().unwrap();
    (told, release)
}

#[test]
fn what_waits_together_is_written_together_and_one_that_fails_takes_nothing_with_it() {
    let dir = dir();
    let store = open(dir.path());
    let agents: Vec<Agent> = (1..=20).map(Agent::new).collect();
    for agent in &agents {
        agent.enrol(&store);
    }
    let (_blocked, release) = block(&store);
    let (tell, told) = mpsc::channel();
    let commits = store.health().commits;
    for (n, agent) in agents.iter().enumerate() {
        let mut agent = agent.cloned();
        agent.notes(3);
        // Every fifth is refused, one fails in the middle of its writing.
        let first = if n % 5 == 0 { 2 } else { 1 };
        let tell_of = tell.clone();
        store.ingest(agent.proven(agent.batch(first, 3)), at(20), Box::new(move |r| drop(tell_of.send((n, r.map(|t| t.accepted))))));
        if n == 10 {
            let tell_of = tell.clone();
            let fails = move |conn: &rusqlite::Connection| {
                conn.execute("UPDATE agents SET hostname = 'lost'", [])?;
                conn.execute("INSERT INTO heartbeats(agent_id) VALUES('nobody')", [])?;
                Ok(0)
            };
            store.submit(fails, Box::new(move |r| drop(tell_of.send((99, r)))));
        }
    }
    drop(tell);
    release.send(()).unwrap();
    for (n, result) in told {
        match n {
            99 => assert!(matches!(result, Err(StoreError::Sqlite(_))), "{result:?}"),
            n if n % 5 == 0 => assert_eq!(code(result), Code::Gap),
            _ => assert_eq!(result.unwrap(), 3),
        }
    }
    assert_eq!(rows(store.path(), "SELECT count(*), count(DISTINCT agent_id) FROM records"), ["48|16"]);
    assert_eq!(rows(store.path(), "SELECT count(*) FROM agents WHERE hostname = 'lost'"), ["0"]);
    // The one that waited, all others together, and perhaps a probe's worth of heartbeats.
    assert!(store.health().commits - commits <= 4, "{} transactions", store.health().commits - commits);
}

#[test]
fn a_full_queue_refuses_at_once_and_takes_again_later() {
    let dir = dir();
    let store = open(dir.path());
    let (blocked, release) = block(&store);
    let (tell, told) = mpsc::channel();
    for _ in 0..QUEUE + 3 {
        let tell = tell.clone();
        store.probe(Box::new(move |result| drop(tell.send(result))));
    }
    drop(tell);
    for _ in 0..3 {
        assert!(matches!(told.recv().unwrap(), Err(StoreError::Unavailable(_))));
    }
    release.send(()).unwrap();
    assert!(blocked.recv().unwrap().is_ok() && told.iter().all(|r| r.is_ok()));
    asked(|reply| store.probe(reply)).unwrap();
}

#[test]
fn want_of_room_passes() {
    let dir = dir();
    let store = open(dir.path());
    let mut agent = Agent::new(1);
    agent.notes(100);
    agent.enrol(&store);
    let limit = |pages: &'static str| {
        asked(|reply| store.submit(move |c| Ok(c.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?), reply)).unwrap();
    };
    limit("1");
    let refused = agent.send(&store, agent.batch(1, 100));
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!((store.health().stopped, rows(store.path(), "SELECT count(*) FROM records")), (None, vec!["0".to_owned()]));
    limit("1000000");
    assert_eq!(agent.send_all(&store).accepted, 100);
}

#[test]
fn a_disk_that_fails_stops_everything_and_is_told() {
    let dir = dir();
    let store = open(dir.path());
    let mut agent = Agent::new(1);
    agent.notes(1);
    agent.enrol(&store);
    let (_blocked, release) = block(&store);
    let (tell, told) = mpsc::channel();
    let batch = agent.proven(agent.batch(1, 1));
    store.ingest(batch, at(20), Box::new(move |result| drop(tell.send(result))));
    let fails = |_: &rusqlite::Connection| -> Result<(), StoreError> {
        Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), Some("disk I/O error".into())).into())
    };
    let (tell_failed, told_failed) = mpsc::channel();
    store.submit(fails, Box::new(move |result| drop(tell_failed.send(result))));
    release.send(()).unwrap();
    assert!(matches!(told.recv().unwrap(), Err(StoreError::Stopped(_))), "in the same transaction");
    assert!(matches!(told_failed.recv().unwrap(), Err(StoreError::Stopped(_))));
    assert!(matches!(agent.send(&store, agent.batch(1, 1)), Err(StoreError::Stopped(_))));
    assert!(matches!(asked(|reply| store.probe(reply)), Err(StoreError::Stopped(_))));
    assert!(matches!(store.heard(&agent.id, agent.heartbeat(), 30.0, at(30)), Err(StoreError::Stopped(_))));
    assert!(store.health().stopped.is_some_and(|why| why.contains("I/O")));
    assert_eq!(rows(store.path(), "SELECT count(*) FROM records"), ["0"]);
}

#[test]
fn a_writer_that_panics_is_a_store_that_stopped() {
    let dir = dir();
    let store = open(dir.path());
    store.submit(|_| -> Result<(), StoreError> { panic!("on purpose") }, Box::new(|_| {}));
    until("the stop", || store.health().stopped.is_some());
    assert!(matches!(asked(|reply| store.probe(reply)), Err(StoreError::Stopped(_))));
}

// Beside others.

#[test]
fn a_second_collector_is_told_who_has_the_store() {
    let dir = dir();
    let store = open(dir.path());
    let refused = Store::open(dir.path(), Vec::new(), at(0)).unwrap_err();
    assert!(matches!(&refused, StoreError::InUse { by, .. } if by.contains(&std::process::id().to_string())), "{refused}");
    drop(store);
    open(dir.path());
}

#[test]
fn whoever_is_revoked_by_another_program_is_soon_known_here() {
    let dir = dir();
    let store = open(dir.path());
    let (one, other) = (Agent::new(1), Agent::new(2));
    one.enrol(&store);
    other.enrol(&store);
    assert_eq!(store.health().agents, 2);
    change(&store, &format!("UPDATE agents SET revoked_at = 5 WHERE id = '{}'", one.id));
    until("the revocation", || state(&store, &one) == Some(AgentState::Revoked));
    assert_eq!((state(&store, &other), store.health().agents), (Some(AgentState::Active), 1));
    let mut one = one;
    one.notes(1);
    assert_eq!(code(one.send(&store, one.batch(1, 1))), Code::AgentRevoked);
    assert_eq!(code(store.heard(&one.id, one.heartbeat(), 30.0, at(30))), Code::AgentRevoked);
    change(&store, "UPDATE agents SET revoked_at = NULL");
    until("the pardon", || state(&store, &one) == Some(AgentState::Active));
}

#[test]
fn a_revocation_that_is_not_known_yet_counts_all_the_same() {
    let dir = dir();
    let store = open(dir.path());
    let mut agent = Agent::new(1);
    agent.notes(1);
    agent.enrol(&store);
    change(&store, "UPDATE agents SET revoked_at = 5");
    assert_eq!(code(agent.send(&store, agent.batch(1, 1))), Code::AgentRevoked);
    assert_eq!(rows(store.path(), "SELECT count(*) FROM records"), ["0"]);
}

// Heartbeats.

#[test]
fn heartbeats_are_written_together_the_newest_of_each() {
    let dir = dir();
    let store = open(dir.path());
    let agents: Vec<Agent> = (1..=30).map(Agent::new).collect();
    for agent in &agents {
        agent.enrol(&store);
    }
    let commits = store.health().commits;
    for second in 30..40 {
        for agent in &agents {
            let mut heartbeat = agent.heartbeat();
            heartbeat.about.hostname = "renamed".into();
            store.heard(&agent.id, heartbeat, 45.0, at(second)).unwrap();
        }
    }
    store.goodbye(&agents[0].id, at(41)).unwrap();
    until("the heartbeats", || rows(store.path(), "SELECT count(*) FROM heartbeats WHERE seen_at = 39000") == ["30"]);
    assert!(store.health().commits - commits <= 3, "{} transactions", store.health().commits - commits);
    let first = &rows(
        store.path(),
        "SELECT hostname, stream, sent_at, interval_s, mode, held_by, open_incidents, waiting, waiting_since, stopped_at
         FROM heartbeats JOIN agents ON id = agent_id ORDER BY id",
    )[0];
    assert_eq!(*first, format!("renamed|{}|7000|45|observe|[\"maintenance\"]|1|0|3000|41000", agents[0].stream));
    assert_eq!(rows(store.path(), "SELECT count(*) FROM heartbeats WHERE stopped_at IS NULL"), ["29"]);
    store.heard(&agents[0].id, agents[0].heartbeat(), 45.0, at(50)).unwrap();
    until("it is back", || rows(store.path(), "SELECT stopped_at FROM heartbeats WHERE seen_at = 50000") == ["-"]);
    store.goodbye(&agents[0].id, at(51)).unwrap();
    until("it has gone", || rows(store.path(), "SELECT seen_at FROM heartbeats WHERE stopped_at = 51000") == ["50000"]);
}

#[test]
fn a_signed_head_shows_what_is_missing_and_a_forged_one_is_refused() {
    let dir = dir();
    let store = open(dir.path());
    let mut agent = Agent::new(1);
    agent.notes(5);
    agent.enrol(&store);
    agent.send(&store, agent.batch(1, 2)).unwrap();
    assert_eq!(store.heard(&agent.id, agent.heartbeat(), 30.0, at(30)).unwrap(), 2);
    let signed = || rows(store.path(), "SELECT acked_through, signed_through, lower(hex(signature)) FROM streams");
    until("the head", || signed() == [format!("2|5|{}", agent.head(5).signature)]);
    let mut forged = agent.heartbeat();
    forged.head = Some(Agent::new(2).head(0));
    assert_eq!(code(store.heard(&agent.id, forged, 30.0, at(31))), Code::NotProven);
    // An older one takes nothing back.
    agent.send(&store, agent.batch(1, 3)).unwrap();
    assert_eq!(signed(), [format!("3|5|{}", agent.head(5).signature)]);
}

#[test]
fn heartbeats_of_somebody_who_is_gone_hold_up_nobody() {
    let dir = dir();
    let store = open(dir.path());
    let (one, other) = (Agent::new(1), Agent::new(2));
    one.enrol(&store);
    other.enrol(&store);
    let (_blocked, release) = block(&store);
    for agent in [&one, &other] {
        store.heard(&agent.id, agent.heartbeat(), 30.0, at(30)).unwrap();
    }
    let gone = format!("DELETE FROM token_uses; DELETE FROM agents WHERE id = '{}'", one.id);
    store.submit(move |c| Ok(c.execute_batch(&gone)?), Box::new(|r| r.unwrap()));
    release.send(()).unwrap();
    until("the heartbeat", || rows(store.path(), "SELECT agent_id FROM heartbeats") == [other.id.clone()]);
}

#[test]
fn the_file_is_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;
    let dir = dir();
    let store = open(&dir.path().join("new"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir.path().join("new")), mode(store.path())), (0o700, 0o600));
}
