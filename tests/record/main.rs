//! The two books: what was acknowledged survives, nothing is doubled, damage is found, and no room means no act.

#![allow(clippy::disallowed_methods, reason = "tests make the world that they look at")]

mod damage;
mod full_disk;
mod killed;
mod nouns;
mod retention;
#[path = "../support/mod.rs"]
mod support;

use byteport::guard::PastAct;
use byteport::model::{Body, BootId, Bytes, Now, Outcome, Refusal, RefusalReason, RunbookId};
use byteport::record::{Ledger, RecordError, Store};
use byteport::wire::actuator::IntentOutcome;
use byteport::wire::local::Pause;

use nouns::{act, at, closed, effect, evidence, incident, intent, opened};

#[test]
fn an_intent_is_begun_once_and_its_figures_become_real() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let intent = act(1).intent;
    {
        let mut ledger = Ledger::open(&dir).unwrap();
        assert_eq!(ledger.outcome(&intent), IntentOutcome::Unknown);
        ledger.begin(&act(1)).unwrap();
        assert!(matches!(ledger.begin(&act(1)), Err(RecordError::AlreadyBegun(_))));
        assert_eq!(ledger.outcome(&intent), IntentOutcome::Open);
        ledger.note(&intent, &serde_json::json!({"was": 0.1})).unwrap();
        assert!(matches!(ledger.undone(&intent, &effect(1)), Err(RecordError::NotEnded(_))));
    }
    {
        let mut ledger = Ledger::open(&dir).unwrap();
        assert_eq!(ledger.outcome(&intent), IntentOutcome::Open, "after a restart it is still open");
        assert_eq!(ledger.past(), [act(1)]);
        assert!(matches!(ledger.begin(&act(1)), Err(RecordError::AlreadyBegun(_))));
        ledger.end(&intent, &effect(3)).unwrap();
        assert!(matches!(ledger.end(&intent, &effect(3)), Err(RecordError::AlreadyEnded(_))));
        assert_eq!(ledger.past(), [PastAct { files: 3, bytes: Bytes(300), ..act(1) }]);
        ledger.undone(&intent, &effect(3)).unwrap();
    }
    let ledger = Ledger::open(&dir).unwrap();
    assert_eq!(ledger.outcome(&intent), IntentOutcome::Undone(effect(3)));
    assert_eq!(ledger.notes(&intent), [serde_json::json!({"was": 0.1})]);
    assert_eq!(ledger.health().value(), Some(&4));
}

#[test]
fn refused_is_not_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let refusal = Refusal::new(RefusalReason::Paused, "a person said so");
    let mut ledger = Ledger::open(&dir).unwrap();
    ledger.refused(&act(1).intent, &at(0), &refusal).unwrap();
    drop(ledger);
    let mut ledger = Ledger::open(&dir).unwrap();
    assert_eq!(ledger.outcome(&act(1).intent), IntentOutcome::Refused(refusal.clone()));
    assert_eq!(ledger.outcome(&act(2).intent), IntentOutcome::Unknown);
    assert_eq!(ledger.past(), []);
    ledger.begin(&act(1)).unwrap();
    assert_eq!(ledger.outcome(&act(1).intent), IntentOutcome::Open, "nothing was done before: it may be asked again");
    assert!(matches!(ledger.refused(&act(1).intent, &at(1), &refusal), Err(RecordError::AlreadyBegun(_))));
}

proptest::proptest! {
    #[test]
    fn figures_come_back_bit_by_bit(x in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
        let text = serde_json::to_string(&x).unwrap();
        proptest::prop_assert_eq!(serde_json::from_str::<f64>(&text).unwrap().to_bits(), x.to_bits());
    }
}

#[test]
fn an_incident_is_told_in_order_and_found_by_what_a_person_types() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let bodies = [opened(), evidence(9000), intent(1), Body::Effect { intent: act(1).intent, effect: effect(3) }, closed()];
    {
        let (mut store, report) = Store::open(&dir, &at(0)).unwrap();
        assert_eq!((report.rows, report.untrusted.clone(), report.set_aside.clone()), (0, None, None));
        assert!(report.ballast && report.lines().is_empty());
        for (n, body) in bodies.iter().enumerate() {
            assert_eq!(store.append(&incident(1), &at(n as i64), body).unwrap(), n as u64 + 1);
        }
        store.append(&incident(2), &at(9), &opened()).unwrap();
        store.append(&incident(2), &at(9), &intent(2)).unwrap();
        store.append(&incident(2), &at(9), &Body::EffectUnknown { intent: act(2).intent, why: "it hung".into() }).unwrap();
        assert!(matches!(store.append(&incident(2), &at(9), &intent(2)), Err(RecordError::AlreadyBegun(_))));
        assert!(matches!(store.append(&incident(2), &at(9), &bodies[3]), Err(RecordError::AlreadyEnded(_))));
        assert!(matches!(store.append(&incident(2), &at(9), &opened()), Err(RecordError::AlreadyOpened(_))));
        assert!(matches!(store.append(&incident(3), &at(9), &closed()), Err(RecordError::NoIncident(_))));
    }
    let (store, report) = Store::open(&dir, &at(10)).unwrap();
    assert_eq!((report.rows, store.health().value()), (8, Some(&8)));
    let entries = store.entries(&incident(1)).unwrap();
    assert_eq!(entries.iter().map(|e| e.body.clone()).collect::<Vec<_>>(), bodies);
    assert_eq!((entries[4].seq, &entries[4].at, &entries[4].incident), (5, &at(4), &incident(1)));
    let lists: Vec<_> = store.summaries(9).unwrap().into_iter().map(|s| (s.id, s.closed, s.outcome)).collect();
    assert_eq!(lists, [(incident(2), None, None), (incident(1), Some(at(4)), Some(Outcome::Healed))]);
    assert_eq!(store.summaries(1).unwrap().len(), 1);
    assert_eq!(store.open_incidents().unwrap(), [store.summary(&incident(2)).unwrap()]);
    let past = store.past_acts();
    assert_eq!(past.iter().map(|p| (p.files, p.bytes.0)).collect::<Vec<_>>(), [(3, 300), (10, 1000)]);
    let open = store.open_intents();
    assert_eq!((open.len(), &open[0].act.intent, open[0].why.as_deref()), (1, &act(2).intent, Some("it hung")));
    assert_eq!(store.resolve("last").unwrap(), incident(2));
    assert_eq!(store.resolve(&incident(1).0).unwrap(), incident(1));
    assert_eq!(store.resolve("disk-261121-215506-0001").unwrap(), incident(1));
    assert!(matches!(store.resolve("disk-"), Err(RecordError::Ambiguous { .. })));
    for none in ["", "disk-%", "disk-9", "_"] {
        assert!(matches!(store.resolve(none), Err(RecordError::NoIncident(_) | RecordError::Ambiguous { .. })), "{none}");
    }
}

#[test]
fn what_is_written_together_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let (mut store, _) = Store::open(&dir, &at(0)).unwrap();
    store.append(&incident(2), &at(0), &opened()).unwrap();
    store.append(&incident(2), &at(0), &intent(2)).unwrap();
    // The last of them is refused.
    let refused = store.append_all(&incident(1), &[(&at(1), &opened()), (&at(2), &evidence(10)), (&at(3), &intent(2))]);
    assert!(matches!(refused, Err(RecordError::AlreadyBegun(_))));
    let twice = store.append_all(&incident(1), &[(&at(1), &opened()), (&at(2), &opened())]);
    assert!(matches!(twice, Err(RecordError::AlreadyOpened(_))));
    assert!(matches!(store.entries(&incident(1)), Err(RecordError::NoIncident(_))));
    let bodies = [opened(), evidence(9000), intent(1)];
    let entries: Vec<_> = (1..).zip(&bodies).map(|(n, body)| (at(n), body)).collect();
    let first = store.append_all(&incident(1), &entries.iter().map(|(at, body)| (at, *body)).collect::<Vec<_>>()).unwrap();
    assert_eq!((first, store.open_intents().len()), (3, 2));
    drop(store);
    let (store, report) = Store::open(&dir, &at(9)).unwrap();
    assert_eq!((report.rows, store.health().value()), (5, Some(&5)), "the list of incidents says what the entries say");
    let told: Vec<_> = store.entries(&incident(1)).unwrap().into_iter().map(|e| (e.seq, e.at, e.body)).collect();
    assert_eq!(told, (3..).zip(entries).map(|(seq, (at, body))| (seq, at, body.clone())).collect::<Vec<_>>());
    assert_eq!(store.summaries(9).unwrap().iter().map(|s| s.id.clone()).collect::<Vec<_>>(), [incident(1), incident(2)]);
}

#[test]
fn a_pause_ends_only_when_both_clocks_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let pause = |runbook: Option<&'static str>, for_s| Pause { runbook: runbook.map(RunbookId::new), for_s, by: "ann".into(), since: None };
    let moment = |wall: i64, boot: &str, uptime_s: f64| Now { boot: BootId(boot.into()), uptime_s, ..at(wall) };
    let (mut store, _) = Store::open(&dir, &at(0)).unwrap();
    store.set_pause(&pause(Some("disk"), Some(3600)), &at(0)).unwrap();
    drop(store);
    let (mut store, _) = Store::open(&dir, &at(0)).unwrap();
    let holds = |store: &Store, now: &Now| !store.pauses(now).is_empty();
    assert_eq!(store.pauses(&at(1)), [Pause { since: Some(at(0)), ..pause(Some("disk"), Some(3600)) }]);
    assert!(holds(&store, &at(3599)) && !holds(&store, &at(3601)));
    assert!(holds(&store, &moment(7200, "boot-a", 200.0)), "the wall clock alone jumped forward");
    assert!(holds(&store, &moment(-7200, "boot-a", 9000.0)), "it was set back while time passed");
    assert!(holds(&store, &moment(60, "boot-b", 30.0)) && !holds(&store, &moment(3700, "boot-b", 30.0)), "after a reboot");
    store.set_pause(&pause(None, None), &at(5)).unwrap();
    assert_eq!(store.pauses(&at(1_000_000)).len(), 1, "the one without an end");
    store.clear_pause(Some(&RunbookId::new("disk")), &at(6)).unwrap();
    assert_eq!(store.pauses(&at(7)).iter().map(|p| p.runbook.clone()).collect::<Vec<_>>(), [None]);
    store.clear_pause(None, &at(8)).unwrap();
    drop(store);
    assert!(!holds(&Store::open(&dir, &at(9)).unwrap().0, &at(9)));
}
