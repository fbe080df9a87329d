//! From a token to an identity that serves.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use byteport::uplink::{EnrolError, NAME, load};
use byteport::wire::collector::Code;

use crate::collector::{Collector, Reply};
use crate::host::{enrol, setup};

const PATH: &str = "/v1/enroll";

#[test]
fn a_token_becomes_a_credential_that_is_kept_for_the_agent_alone() {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let id = enrol(dir.path(), setup(&collector.url()), "cj1_geheim", false).unwrap();
    let identity = load(dir.path()).unwrap().expect("an identity");
    let (_, credential) = collector.state.agents.lock().unwrap()[&id].clone();
    assert_eq!((identity.agent_id, identity.credential.map(|c| c.told().to_owned())), (id, Some(credential)));
    let file = dir.path().join(NAME);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert!(!fs::read_to_string(&file).unwrap().contains("cj1_geheim"), "the token is used up and not kept");
    let asked = &collector.asked(PATH)[0];
    assert!(!asked.headers.contains_key("authorization") && asked.json["about"]["hostname"] == "here", "{asked:?}");
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again_with_the_same() {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    for lost in [
        Reply::HangUp,
        Reply::Plain { status: 502, headers: Vec::new(), body: "<html>" },
        Reply::Plain { status: 200, headers: Vec::new(), body: "{}" },
    ] {
        collector.next(PATH, lost);
        let why = enrol(dir.path(), setup(&collector.url()), "one", false).unwrap_err();
        assert!(matches!(why, EnrolError::Asked(_)) && why.to_string().contains("the same command"), "{why}");
        assert_eq!(load(dir.path()).unwrap(), None, "not before there is a credential");
    }
    let id = enrol(dir.path(), setup(&collector.url()), "one", false).unwrap();
    let asked = collector.asked(PATH);
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|a| a.json["agent_id"] == id.as_str() && a.json["public_key"] == asked[0].json["public_key"]));
    assert_eq!(collector.state.agents.lock().unwrap().len(), 1, "no second host has come of it");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn another_token_is_asked_with_by_another_host() {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    assert!(matches!(enrol(dir.path(), setup(&collector.url()), "refused", false), Err(EnrolError::Token)));
    enrol(dir.path(), setup(&collector.url()), "two", false).unwrap();
    let asked = collector.asked(PATH);
    assert_ne!(asked[0].json["agent_id"], asked[1].json["agent_id"]);
}

#[test]
fn a_host_that_has_a_collector_is_made_another_one_only_when_somebody_says_so() {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let first = enrol(dir.path(), setup(&collector.url()), "one", false).unwrap();
    let why = enrol(dir.path(), setup(&collector.url()), "two", false).unwrap_err();
    assert!(matches!(&why, EnrolError::Already { agent_id, .. } if *agent_id == first) && why.to_string().contains("--again"));
    assert_eq!(collector.asked(PATH).len(), 1, "no token is spent on that");
    collector.next(PATH, Reply::Problem { status: 503, code: Code::Unavailable, retry_after_s: Some(9) });
    assert!(enrol(dir.path(), setup(&collector.url()), "two", true).is_err());
    assert_eq!(load(dir.path()).unwrap().expect("the old one").agent_id, first, "what serves goes on to serve");
    let second = enrol(dir.path(), setup(&collector.url()), "two", true).unwrap();
    assert_eq!(load(dir.path()).unwrap().expect("the new one").agent_id, second);
    assert_ne!(first, second);
    fs::write(dir.path().join(NAME), "damaged").unwrap();
    assert!(enrol(dir.path(), setup(&collector.url()), "three", false).unwrap_err().to_string().contains("--again"));
    enrol(dir.path(), setup(&collector.url()), "three", true).unwrap();
}

#[test]
fn what_is_asked_in_vain_says_what_to_do() {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let said = |url: &str| enrol(dir.path(), setup(url), "geheim", false).unwrap_err();
    for (url, says) in [
        ("http://192.0.2.1:1", "--insecure-plain-http"),
        ("https://me:geheim@c.example", "user or a password"),
        ("c.example", "https://HOST"),
    ] {
        let why = said(url);
        assert!(matches!(why, EnrolError::Setup(_)) && why.to_string().contains(says), "{why}");
        assert!(!format!("{why} {why:?}").contains("geheim"));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(said(&format!("http://{nobody}")).to_string().contains("refused"));
    collector.next(PATH, Reply::Plain { status: 307, headers: vec![("location", "http://127.0.0.1:1/")], body: "" });
    assert!(said(&collector.url()).to_string().contains("not followed"));
    let bad = r#"{"credential":"a\nb","server_time":"2026-11-28T00:00:00Z","next_in_s":1}"#;
    collector.next(PATH, Reply::Plain { status: 200, headers: Vec::new(), body: bad });
    let why = said(&collector.url());
    assert!(matches!(why, EnrolError::Credential), "{why:?}");
    let gone = dir.path().join("gone");
    let why = enrol(&gone, setup(&collector.url()), "geheim", false).unwrap_err().to_string();
    assert!(why.contains("systemctl start byteport-agent"), "{why}");
}
