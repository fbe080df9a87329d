//! Bundles: the same bytes on any machine, nothing in them that is nobody's business, and no tampering unnoticed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use byteport::cli::{bundle, replay};
use byteport::model::Entry;
use byteport::record::Store;
use byteport::runbooks;
use byteport::wire::bundle::Bundle;
use serde_json::Value;

use crate::incident::{cases, of_case};
use crate::run::{ctl, expect};

const MADE_AT: &str = "2026-11-21T22:00:00Z";

fn bundled(incident: &byteport::wire::local::Incident, host: &str) -> Bundle {
    bundle::make(incident, host, MADE_AT.parse().unwrap(), &runbooks::find).unwrap()
}

/// As in a file and back.
fn replayed(bundle: &Bundle) -> Vec<byteport::report::Compared> {
    let read = replay::parse(&serde_json::to_string_pretty(bundle).unwrap()).unwrap();
    assert_eq!(bundle::digest(&read).unwrap(), bundle.sha256);
    replay::compare(&read, &runbooks::find).unwrap()
}

#[test]
fn every_case_is_masked_faithfully_and_replays_to_the_same_bytes() {
    for (runbook, case) in cases() {
        let incident = of_case(runbook, &case, str::to_owned);
        let bundle = bundled(&incident, "db1.prod.example.com");
        assert!(bundle.redaction.left_in.is_empty(), "{}: {:?}", case.display(), bundle.redaction);
        assert_eq!(bundle.redaction.differences, Vec::<String>::new(), "{}: masking changes no decision", case.display());
        for one in replayed(&bundle) {
            assert_eq!(one.differences, Vec::<String>::new(), "{}", case.display());
        }
    }
}

/// Paths below home directories, a host named in paths, addresses: masked in evidence and decision alike.
#[test]
fn names_are_masked_in_every_case_and_the_decision_is_the_same_one_masked() {
    let change = |text: &str| text.replace("/var/log/app", "/home/alice/srv1/10.1.2.3").replace("/dev/vda1", "nfs7.corp.internal:/x");
    let mut with_names = 0;
    for (runbook, case) in cases() {
        let incident = of_case(runbook, &case, change);
        let bundle = bundled(&incident, "srv1");
        let text = serde_json::to_string(&bundle).unwrap();
        for name in ["alice", "srv1", "10.1.2.3", "nfs7", "corp.internal", "hunter2", "example.com"] {
            assert!(!text.contains(name), "{}: {name} is in the bundle", case.display());
        }
        with_names += usize::from(text.contains("/home/user-1/"));
        assert_eq!(bundle.redaction.differences, Vec::<String>::new(), "{}", case.display());
        assert!(replayed(&bundle).iter().all(|one| one.differences.is_empty()), "{}", case.display());
    }
    assert!(with_names > 0, "no case has a path that this test changes: it proves nothing");
}

/// A host named like a word of the evidence's schema cannot be masked without breaking it: that is said, and the rest still is masked.
#[test]
fn what_cannot_be_masked_is_said() {
    let (runbook, case) = cases().swap_remove(0);
    let incident = of_case(runbook, &case, |text| text.replace("5f0e1c1e-8a3b-4a53-9d2c-6f3e0a7b9c11", "boot-1"));
    // The device is a number and the year is part of every time: a host of that name meets the times.
    let bundle = bundled(&incident, "2026");
    assert!(bundle.redaction.left_in.iter().any(|l| l.starts_with("names of kind host")), "{:?}", bundle.redaction);
    assert!(!serde_json::to_string(&bundle).unwrap().contains("hunter2"));
    assert!(replayed(&bundle).iter().all(|one| one.differences.is_empty()));
}

const COMMITTED: &str = "fixtures/bundles/hostile-names.json";

fn committed() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let (runbook, case) = cases().into_iter().find(|(_, c)| c.ends_with("036-names-chosen-by-somebody-hostile")).unwrap();
        let made = bundled(&of_case(runbook, &case, str::to_owned), "db1");
        expect(COMMITTED, &(serde_json::to_string_pretty(&made).unwrap() + "\n"));
    }
    fs::read_to_string(&path).unwrap()
}

fn replay_of(dir: &Path, bundle: &str) -> crate::run::Ran {
    let file = dir.join("bundle.json");
    fs::write(&file, bundle).unwrap();
    ctl(&["--socket", "/nonexistent", "replay", file.to_str().unwrap()])
}

#[test]
fn a_committed_bundle_replays_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let ran = replay_of(dir.path(), &committed());
    expect("fixtures/bundles/hostile-names.txt", &ran.well());
    assert!(ran.out.contains("identical, ") && ran.out.contains(" bytes, sha256 "), "{}", ran.out);
    let file = dir.path().join("bundle.json");
    let json: Value = serde_json::from_str(&ctl(&["replay", "--json", file.to_str().unwrap()]).well()).unwrap();
    assert_eq!((&json["identical"], &json["untouched"]), (&true.into(), &true.into()));
}

/// Changes one thing, keeping the file whole in form.
fn tampered(change: impl FnOnce(&mut Value)) -> String {
    let mut value: Value = serde_json::from_str(&committed()).unwrap();
    change(&mut value);
    serde_json::to_string(&value).unwrap()
}

fn entry<'a>(bundle: &'a mut Value, kind: &str) -> &'a mut Value {
    bundle["entries"].as_array_mut().unwrap().iter_mut().find_map(|e| e["body"].get_mut(kind)).unwrap()
}

#[test]
fn a_tampered_bundle_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let evidence = tampered(|b| entry(b, "evidence")["recorded"]["body"]["usage"]["value"]["value"]["free"] = 1.into());
    let ran = replay_of(dir.path(), &evidence);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.contains("NOT the same: - as recorded, + as decided now\n  /diagnosis/"), "{}", ran.out);

    let decision = tampered(|b| entry(b, "decision")["diagnosis"]["class"] = "data_growth".into());
    let ran = replay_of(dir.path(), &decision);
    assert!(ran.code == 1 && ran.out.contains("/diagnosis/class: - \"data_growth\" + \"log_growth\""), "{}", ran.out);

    let note = tampered(|b| entry(b, "note")["text"] = "all was well".into());
    let ran = replay_of(dir.path(), &note);
    assert!(ran.code == 1 && ran.out.contains("identical, ") && ran.out.contains("was edited or damaged"), "{}", ran.out);
}

#[test]
fn what_cannot_be_replayed_is_an_error_with_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(String, &str); 7] = [
        (tampered(|b| entry(b, "evidence")["recorded"]["runbook"] = "fridge".into()), "runbook fridge is not known to this version"),
        (tampered(|b| entry(b, "evidence")["recorded"]["schema"] = 99.into()), "has schema 99, this version"),
        (tampered(|b| entry(b, "evidence")["recorded"]["body"] = Value::Null), "is not what its schema 1 says"),
        (tampered(|b| b["bundle"] = 2.into()), "a bundle of form 2, this version"),
        (tampered(|b| b["entries"] = Value::Array(vec![])), "nothing to replay"),
        (committed()[..1000].to_owned(), "not JSON"),
        ("{}".to_owned(), "not a bundle"),
    ];
    for (bundle, expected) in cases {
        let ran = replay_of(dir.path(), &bundle);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{expected}");
        assert!(ran.err.contains(expected), "{expected}: {}", ran.err);
    }
}

/// From a record on disk to a replay, by the program itself.
#[test]
fn a_bundle_is_made_from_a_record_and_replays() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (runbook, case) = cases().into_iter().find(|(_, c)| c.ends_with("036-names-chosen-by-somebody-hostile")).unwrap();
    let incident = of_case(runbook, &case, |text| text.replace("/var/log/app", "/home/alice"));
    let (mut store, _) = Store::open(&dir.path().join("made"), &incident.summary.opened).unwrap();
    for Entry { incident, at, body, .. } in &incident.entries {
        store.append(incident, at, body).unwrap();
    }
    drop(store);
    crate::run::copy(&dir.path().join("made"), &state);
    let (state, file) = (state.to_str().unwrap(), dir.path().join("out.json"));
    let out = file.to_str().unwrap();

    let said = ctl(&["--state-dir", state, "bundle", "last", "-o", out]).well();
    assert!(said.contains("masked: ") && said.contains("1 user"), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file).unwrap().contains("alice"));
    assert!(ctl(&["replay", out]).well().contains("identical, "));

    let again = ctl(&["--state-dir", state, "bundle", "last", "-o", out]);
    assert_eq!(again.code, 2);
    assert!(again.err.contains("File exists"), "{}", again.err);
}
