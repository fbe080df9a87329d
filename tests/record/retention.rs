//! The record stays within its bound, and keeps what is still asked for.

use byteport::model::Body;
use byteport::record::Store;
use byteport::wire::local::Pause;

use crate::nouns::{act, at, closed, effect, evidence, incident, intent, opened, quick_dir};

const DAY: i64 = 86_400;

fn whole(store: &Store, n: u64) -> bool {
    store.entries(&incident(n)).is_ok_and(|all| all.iter().any(|e| matches!(e.body, Body::Evidence { .. })))
}

#[test]
fn old_evidence_goes_first_then_old_incidents_and_the_chain_stays_whole() {
    let dir = quick_dir();
    let dir = dir.path().join("state");
    let bound = 700_000;
    let open = |now| Store::open_with(&dir, &at(now), 3, bound).unwrap();
    let (mut store, _) = open(0);
    store.set_pause(&Pause { runbook: None, for_s: None, by: "ann".into(), since: None }, &at(0)).unwrap();
    store.append(&incident(1), &at(0), &opened()).unwrap();
    store.append(&incident(1), &at(0), &evidence(20_000)).unwrap();
    for n in 2..40 {
        store.append(&incident(n), &at(n as i64), &opened()).unwrap();
        store.append(&incident(n), &at(n as i64), &evidence(20_000)).unwrap();
        store.append(&incident(n), &at(n as i64), &closed()).unwrap();
    }
    assert!(whole(&store, 1), "an open incident keeps its evidence, however old");
    assert!(!whole(&store, 2) && store.entries(&incident(2)).unwrap().len() == 3, "a closed one keeps its story");
    for n in 37..40 {
        assert!(whole(&store, n), "incident {n} is among the newest");
    }
    drop(store);
    let (mut store, report) = open(50);
    assert_eq!(report.set_aside, None);
    assert_eq!(store.summaries(99).unwrap().len(), 39);

    // Once the oldest is closed, whole incidents may go; an act of the last month is remembered.
    store.append(&incident(1), &at(60), &closed()).unwrap();
    let large = |store: &mut Store, n: u64, now: i64| {
        store.append(&incident(n), &at(now), &opened()).unwrap();
        for _ in 0..60 {
            store.append(&incident(n), &at(now), &Body::Note { text: "y".repeat(3000) }).unwrap();
        }
        store.append(&incident(n), &at(now), &intent(n)).unwrap();
        store.append(&incident(n), &at(now), &Body::Effect { intent: act(n).intent, effect: effect(n) }).unwrap();
        store.append(&incident(n), &at(now), &closed()).unwrap();
    };
    for n in 50..56 {
        large(&mut store, n, 100);
    }
    assert_eq!(store.past_acts().len(), 6);
    assert!(store.entries(&incident(2)).is_err(), "it went as a whole");
    assert!(store.entries(&incident(50)).is_ok(), "its act still counts");
    for n in 60..64 {
        large(&mut store, n, 40 * DAY);
    }
    assert!(store.entries(&incident(50)).is_err());
    assert!(store.past_acts().iter().all(|p| p.files >= 60) && store.past_acts().len() == 4);
    let (pauses, all) = (store.pauses(&at(41 * DAY)), store.summaries(99).unwrap());
    assert_eq!((pauses.len(), pauses[0].since.as_ref()), (1, Some(&at(0))), "a pause without an end outlives every cut");
    drop(store);
    let (store, report) = open(41 * DAY);
    assert_eq!(report.set_aside, None);
    assert_eq!((store.pauses(&at(41 * DAY)), store.summaries(99).unwrap()), (pauses, all));
    assert!(store.health().value().is_some());
    assert_eq!(store.resolve("last").unwrap(), incident(63));
}

#[test]
fn distrust_outlives_a_cut() {
    let dir = quick_dir();
    let dir = dir.path().join("state");
    drop(Store::open(&dir, &at(0)).unwrap());
    std::fs::write(dir.join("record.db"), b"").unwrap();
    let (mut store, _) = Store::open_with(&dir, &at(0), 1, 100_000).unwrap();
    for n in 1..8 {
        store.append(&incident(n), &at(0), &opened()).unwrap();
        for _ in 0..20 {
            store.append(&incident(n), &at(0), &Body::Note { text: "y".repeat(3000) }).unwrap();
        }
        store.append(&incident(n), &at(0), &closed()).unwrap();
    }
    assert!(store.entries(&incident(1)).is_err(), "it was cut off");
    drop(store);
    assert!(Store::open(&dir, &at(0)).unwrap().0.health().why().is_some());
}
