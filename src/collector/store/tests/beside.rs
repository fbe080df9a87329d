//! Others have the same file open.

use super::*;

#[test]
fn a_second_collector_is_told_who_has_the_store() {
    let dir = dir();
    let store = open(dir.path());
    let refused = Store::open(dir.path(), Vec::new()).unwrap_err();
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

#[test]
fn the_file_is_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;
    let dir = dir();
    let store = open(&dir.path().join("new"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir.path().join("new")), mode(store.path())), (0o700, 0o600));
}
