//! Each row once, in order, and with what follows from it.

use super::*;

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
        // Another history of the same host: alike but for its third row.
        let mut other = agent.anew(1001);
        other.notes(2);
        other.opens("disk-9");
        other.body("disk-1", &Body::Note { text: "note 3".into() });
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
            code(asked(|reply| store.submit(move |c| ingest(c, &queued, 0, &[]), reply)).and_then(drop_taken)),
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
fn drop_taken(answer: Answer) -> Result<Taken, StoreError> {
    match answer {
        Answer::Taken(taken) => Ok(taken),
        Answer::Refused(r) | Answer::Quarantined(r) => Err(StoreError::Refused(r)),
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
        asked(|reply| store.submit(move |c| ingest(c, &batch, now, &[]), reply)).and_then(drop_taken)
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
    // What others write brings nobody back.
    change(&store, &format!("UPDATE agents SET revoked_at = 5 WHERE id = '{}'", other.id));
    until("the revocation", || state(&store, &other) == Some(AgentState::Revoked));
    assert_eq!(state(&store, &old), Some(AgentState::Quarantined));
    until("the quarantine", || rows(store.path(), "SELECT id FROM agents WHERE quarantined_at = 31000") == [old.id.clone()]);
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
    for n in 1..=MOST_STREAMS as u32 {
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
