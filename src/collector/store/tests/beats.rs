//! Heartbeats are written together.

use super::*;

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
    assert_eq!(signed(), [format!("2|2|{}", agent.head(2).signature)], "of the last row that is here");
    let mut forged = agent.heartbeat();
    forged.head = Some(Agent::new(2).head(0));
    assert_eq!(code(store.heard(&agent.id, forged, 30.0, at(31))), Code::NotProven);
    agent.send(&store, agent.batch(1, 4)).unwrap();
    // An older one takes nothing back, and a heartbeat's is not of what is here.
    agent.send(&store, agent.batch(1, 3)).unwrap();
    assert_eq!(store.heard(&agent.id, agent.heartbeat(), 30.0, at(32)).unwrap(), 4);
    until("the heartbeat", || rows(store.path(), "SELECT seen_at FROM heartbeats") == ["32000"]);
    assert_eq!(signed(), [format!("4|4|{}", agent.head(4).signature)]);
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
