//! The two books: what was acknowledged survives, nothing is doubled, damage is found, and no room means no act.

use byteport::guard::PastAct;
use byteport::model::{
    BootId, Bytes, Effect, EffectState, HostPath, IncidentId, IntentId, Now, Refusal, RefusalReason, RunbookId, StepKind, Subject,
};
use byteport::record::{Ledger, RecordError};
use byteport::wire::actuator::IntentOutcome;

fn at(second: i64) -> Now {
    Now {
        wall: jiff::Timestamp::from_second(1_790_000_000 + second).unwrap(),
        boot: BootId("boot-a".into()),
        uptime_s: 100.25 + second as f64,
    }
}

fn incident(n: u64) -> IncidentId {
    IncidentId(format!("disk-261121-215506-{n:04x}"))
}

fn act(n: u64) -> PastAct {
    let incident = incident(n);
    PastAct {
        intent: IntentId::new(&incident, 1, 1),
        incident,
        runbook: RunbookId::new("disk"),
        subject: Subject::Filesystem { mount: HostPath::from_bytes(*b"/srv/a\nb\xff"), device: 7 },
        kind: StepKind::RotatedLogs,
        at: at(n as i64),
        files: 10,
        bytes: Bytes(1000),
    }
}

fn effect(done: u64) -> Effect {
    Effect {
        state: EffectState::Done,
        freed: Bytes(done * 100),
        available_delta: Some(-3),
        inodes: done,
        done,
        skipped: Default::default(),
        examples: vec![],
        started: at(1),
        ended: at(2),
        notes: vec!["gzip ratio 11.2".into()],
    }
}

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
