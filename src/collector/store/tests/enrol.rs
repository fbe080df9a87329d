//! Coming in.

use super::*;

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
