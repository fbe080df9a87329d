//! What is acknowledged is there.

use super::*;

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
