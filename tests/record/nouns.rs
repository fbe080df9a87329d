//! Small acts, effects and entries to write down.

use byteport::guard::PastAct;
use byteport::model::{
    Body, BootId, Bytes, Effect, EffectState, HostPath, IncidentId, IntentId, Now, Outcome, Phase, Recorded, RunbookId, StepKind, Subject,
};

pub fn at(second: i64) -> Now {
    Now {
        wall: jiff::Timestamp::from_second(1_790_000_000 + second).unwrap(),
        boot: BootId("boot-a".into()),
        uptime_s: 100.25 + second as f64,
    }
}

pub fn incident(n: u64) -> IncidentId {
    IncidentId(format!("disk-261121-215506-{n:04x}"))
}

pub fn act(n: u64) -> PastAct {
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
        on: None,
    }
}

pub fn effect(done: u64) -> Effect {
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

pub fn opened() -> Body {
    Body::Opened { runbook: RunbookId::new("disk"), subject: act(1).subject, signals: vec![] }
}

pub fn intent(n: u64) -> Body {
    let act = act(n);
    Body::Intent {
        intent: act.intent,
        round: 1,
        step: 1,
        kind: act.kind,
        subject: act.subject,
        files: act.files,
        bytes: act.bytes.0,
        on: act.on,
    }
}

pub fn evidence(size: usize) -> Body {
    let recorded =
        Recorded { runbook: RunbookId::new("disk"), schema: 1, at: at(1), body: serde_json::json!({"pad": "x".repeat(size), "x": 0.1}) };
    Body::Evidence { phase: Phase::Diagnosis { round: 1 }, recorded }
}

pub fn closed() -> Body {
    Body::Closed { outcome: Outcome::Healed, summary: "80.0 % again".into() }
}

/// In memory where there is such a place: many small writes, and no power cut to survive.
pub fn quick_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
