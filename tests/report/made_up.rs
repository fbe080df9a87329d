//! Four whole incidents that never happened: healed, observed, escalated, interrupted. Their file names are hostile.

use std::collections::BTreeMap;

use byteport::model::*;
use byteport::wire::actuator::Hello;
use byteport::wire::local::{Pause, Status};
use serde_json::json;

pub struct Incident {
    pub name: &'static str,
    pub summary: IncidentSummary,
    pub entries: Vec<Entry>,
}

pub fn all() -> Vec<Incident> {
    vec![healed(), observed(), escalated(), interrupted()]
}

/// Breaks lines, tables, code spans, terminals and shells if any of them is let.
const HOSTILE: &[u8] = b"app|x\n# `rm`\x1b[31m<img>$(reboot)'\xff\xe2\x80\xae.log";

fn at(seconds: f64) -> Now {
    let start: jiff::Timestamp = "2026-11-21T21:55:06Z".parse().unwrap();
    let wall = start + jiff::SignedDuration::from_millis((seconds * 1000.0) as i64);
    Now { wall, boot: BootId("0c5e7f0e-7a7c-4a70-9d0f-6f3a5b1c2d3e".into()), uptime_s: 86_400.0 + seconds }
}

const DISK: RunbookId = RunbookId::new("disk");

fn subject() -> Subject {
    Subject::Filesystem { mount: "/srv/data".into(), device: 64769 }
}

fn signal(severity: Severity, detail: &str) -> Signal {
    Signal { kind: SignalKind::new("disk_usage_high"), subject: subject(), severity, since: at(-2.0), detail: detail.into() }
}

/// Entries at their seconds, with ids and sequence numbers filled in.
fn incident(
    name: &'static str,
    salt: u16,
    class: Option<&str>,
    outcome: Option<Outcome>,
    summary: &str,
    bodies: Vec<(f64, Body)>,
) -> Incident {
    let id = id(salt);
    let closed = bodies.last().filter(|(_, b)| matches!(b, Body::Closed { .. })).map(|(s, _)| at(*s));
    let entries = (100..).zip(bodies).map(|(seq, (s, body))| Entry { seq, incident: id.clone(), at: at(s), body }).collect();
    let summary = IncidentSummary {
        id,
        runbook: DISK,
        subject: subject(),
        opened: at(0.0),
        closed,
        class: class.map(str::to_owned),
        outcome,
        summary: summary.into(),
    };
    Incident { name, summary, entries }
}

fn id(salt: u16) -> IncidentId {
    IncidentId::new(&DISK, at(0.0).wall, salt)
}

fn opened() -> Body {
    Body::Opened { runbook: DISK, subject: subject(), signals: vec![signal(Severity::Critical, "usage 96.2 % (raised at 95 %)")] }
}

fn evidence(phase: Phase, s: f64) -> Body {
    Body::Evidence { phase, recorded: Recorded { runbook: DISK, schema: 1, at: at(s), body: json!({}) } }
}

fn file(path: &[u8], size: u64) -> FileTarget {
    FileTarget { path: HostPath::from_bytes(path), ino: 12, size, on_disk: size, mtime_ns: 0, ctime_ns: 0, links: 1 }
}

fn batch(family: FileFamily, root: &str, files: Vec<FileTarget>) -> FileBatch {
    FileBatch { family, root: root.into(), device: 64769, min_age_s: 86_400, files, dirs: vec![] }
}

fn planned(step: Step, bytes: u64, inodes: u64, estimate: bool, undo: Undo, why: &str) -> PlannedStep {
    PlannedStep { step, expected: Expected { bytes: Bytes(bytes), inodes, estimate }, undo, why: why.into() }
}

fn finding(what: &str, value: impl Into<String>) -> Finding {
    Finding { what: what.into(), value: value.into() }
}

fn log_growth(missing: Vec<String>, confidence: f64) -> Diagnosis {
    Diagnosis {
        class: "log_growth".into(),
        confidence: Confidence::new(confidence),
        summary: "closed logs below /srv/data/log fill /srv/data".into(),
        explained: vec![
            Explained { class: "log_growth".into(), amount: 3 << 30, share: 0.93 },
            Explained { class: "tmp_accumulation".into(), amount: 100 << 20, share: 0.031 },
        ],
        findings: vec![
            finding("usage", "96.2 %, 1.30 GiB to free down to 80 %"),
            finding("largest file", HostPath::from("/srv/data/log").join(&HostPath::from_bytes(HOSTILE)).to_string()),
            finding("fastest writer", "java (pid 4711, app.service), 1.20 MiB/s"),
        ],
        missing,
        behind: Some("java (pid 4711, app.service), 1.20 MiB/s".into()),
        critical: true,
    }
}

fn log_plan() -> Plan {
    let compress =
        Step::CompressLogs(batch(FileFamily::ClosedLogs, "/srv/data/log", vec![file(HOSTILE, 1 << 30), file(b"b.log", 1 << 30)]));
    let rotated = Step::DeleteFiles(batch(
        FileFamily::RotatedLogs,
        "/srv/data/log",
        vec![file(b"old/a.log.1", 300 << 20), file(b"old/b.gz", 200 << 20)],
    ));
    let mut tmp = batch(FileFamily::Tmp, "/srv/data/tmp", vec![file(b"x", 100 << 20)]);
    tmp.dirs.push(file(b"empty", 4096));
    let gone = || Undo::None { why: "rotated logs older than 7 d are given up by whoever rotates them".into() };
    Plan {
        subject: subject(),
        steps: vec![
            planned(
                compress,
                2 << 30,
                0,
                true,
                Undo::ByActuator { how: "unpack the archives in place".into() },
                "2 closed logs of more than 100 MB",
            ),
            planned(rotated, 500 << 20, 2, false, gone(), "2 archives older than 7 d"),
            planned(
                Step::DeleteFiles(tmp),
                100 << 20,
                2,
                false,
                Undo::None { why: "not touched for 24 h".into() },
                "1 file, only if still needed",
            ),
        ],
        escalate: None,
        follow_ups: vec![],
        not_available: vec![Unavailable { what: "prune_images".into(), why: "no docker socket at /run/docker.sock".into() }],
    }
}

fn decision(s: f64, diagnosis: Diagnosis, plan: Plan) -> Body {
    Body::Decision { now: at(s), params: json!({}), diagnosis, plan }
}

fn effect(state: EffectState, freed: u64, inodes: u64, done: u64, skipped: &[(SkipReason, u64)], from: f64, to: f64) -> Effect {
    Effect {
        state,
        freed: Bytes(freed),
        available_delta: Some(freed as i64 - 4096),
        inodes,
        done,
        skipped: skipped.iter().copied().collect(),
        examples: skipped.iter().map(|(reason, _)| Skip { what: HostPath::from_bytes(HOSTILE), reason: *reason }).collect(),
        started: at(from),
        ended: at(to),
        notes: vec![],
    }
}

fn intent(salt: u16, step: u32, kind: StepKind, files: u64, bytes: u64) -> Body {
    Body::Intent { intent: IntentId::new(&id(salt), 1, step), round: 1, step, kind, subject: subject(), files, bytes, on: None }
}

fn healed() -> Incident {
    let one = || IntentId::new(&id(0x3f9a), 1, 1);
    let two = || IntentId::new(&id(0x3f9a), 1, 2);
    let mut packed = effect(EffectState::Done, 1_950_000_000, 0, 2, &[], 1.5, 14.0);
    packed.notes.push("gzip ratio 11.2".into());
    let closed = "usage is 78.9 %, below 80 %; freed 2.29 GiB in two steps";
    let bodies = vec![
        (0.0, opened()),
        (0.9, evidence(Phase::Diagnosis { round: 1 }, 0.9)),
        (1.1, decision(1.1, log_growth(vec!["package caches: /var/cache/apt: Permission denied".into()], 0.91), log_plan())),
        (1.4, intent(0x3f9a, 1, StepKind::CompressLogs, 2, 2 << 30)),
        (14.1, Body::Effect { intent: one(), effect: packed }),
        (14.3, evidence(Phase::AfterStep { round: 1, step: 1 }, 14.3)),
        (14.4, Body::AfterStep { intent: one(), after: AfterStep::Continue { why: "usage is 81.2 %, the floor is 80 %".into() } }),
        (14.5, intent(0x3f9a, 2, StepKind::RotatedLogs, 2, 500 << 20)),
        (14.9, Body::Effect { intent: two(), effect: effect(EffectState::Done, 300 << 20, 1, 1, &[(SkipReason::InUse, 1)], 14.6, 14.8) }),
        (15.0, Body::AfterStep { intent: two(), after: AfterStep::Enough { why: "usage is 78.9 %".into() } }),
        (15.2, evidence(Phase::Verify, 15.2)),
        (15.3, Body::Signals { signals: vec![] }),
        (45.3, evidence(Phase::Refill, 45.3)),
        (45.4, Body::Verdict { verdict: Verdict::Resolved { why: "usage is 78.9 %, below 80 %, and did not rise in 30 s".into() } }),
        (45.5, Body::Closed { outcome: Outcome::Healed, summary: closed.into() }),
    ];
    incident("healed", 0x3f9a, Some("log_growth"), Some(Outcome::Healed), closed, bodies)
}

fn observed() -> Incident {
    let refused = |step, kind| Body::Refused {
        round: 1,
        step,
        kind,
        refusal: Refusal::new(RefusalReason::ReportOnly, "observe mode: this is what would be done"),
    };
    let closed = "nothing was done: observe mode";
    let bodies = vec![
        (0.0, opened()),
        (0.9, evidence(Phase::Diagnosis { round: 1 }, 0.9)),
        (1.1, decision(1.1, log_growth(vec![], 0.93), log_plan())),
        (1.2, refused(1, StepKind::CompressLogs)),
        (1.2, refused(2, StepKind::RotatedLogs)),
        (1.2, refused(3, StepKind::Tmp)),
        (1.3, Body::Closed { outcome: Outcome::Observed, summary: closed.into() }),
    ];
    incident("observed", 0x0001, Some("log_growth"), Some(Outcome::Observed), closed, bodies)
}

fn escalated() -> Incident {
    let name = HostPath::from("/srv/data/db").join(&HostPath::from_bytes(HOSTILE));
    let escalation = Escalation {
        reason: "application data grows and is never touched: decide where it goes, or add 40 GiB for 30 days".into(),
        follow_ups: vec![
            FollowUp { why: "see what is in the largest file".into(), command: format!("stat -- {}", shell_word(name.as_bytes())) },
            FollowUp { why: "grow it by 40 GiB".into(), command: "lvextend --resizefs --size +40G vg0/data".into() },
        ],
    };
    let mut diagnosis =
        log_growth(vec!["docker: /run/docker.sock: Permission denied".into(), "open files of 3 processes\nnot readable".into()], 0.55);
    diagnosis.class = "data_growth".into();
    diagnosis.summary = "what grows is application data below /srv/data/db".into();
    diagnosis.explained = vec![Explained { class: "data_growth".into(), amount: 5 << 30, share: 0.55 }];
    let plan = Plan {
        subject: subject(),
        steps: vec![],
        escalate: Some(escalation.reason.clone()),
        follow_ups: escalation.follow_ups.clone(),
        not_available: vec![],
    };
    let closed = "data_growth on /srv/data is for a person";
    let bodies = vec![
        (0.0, opened()),
        (2.0, evidence(Phase::Diagnosis { round: 1 }, 2.0)),
        (2.1, decision(2.1, diagnosis, plan)),
        (2.2, Body::Escalated { escalation }),
        (2.3, Body::Closed { outcome: Outcome::Escalated, summary: closed.into() }),
    ];
    incident("escalated", 0xbeef, Some("data_growth"), Some(Outcome::Escalated), closed, bodies)
}

fn interrupted() -> Incident {
    let one = || IntentId::new(&id(0x0bad), 1, 1);
    let closed = "the agent stopped in step 1; what the step did was verified and not repeated";
    let bodies = vec![
        (0.0, opened()),
        (0.9, evidence(Phase::Diagnosis { round: 1 }, 0.9)),
        (1.1, decision(1.1, log_growth(vec![], 0.93), log_plan())),
        (1.4, intent(0x0bad, 1, StepKind::CompressLogs, 2, 2 << 30)),
        (61.4, Body::EffectUnknown { intent: one(), why: "/run/byteport/actuator.sock: the other side closed the connection".into() }),
        (300.0, Body::Note { text: "the agent started again and found step 1 open".into() }),
        (
            300.4,
            Body::Effect {
                intent: one(),
                effect: effect(EffectState::Partial, 1 << 20, 0, 1, &[(SkipReason::Gone, 1), (SkipReason::OutOfTime, 12)], 1.5, 61.0),
            },
        ),
        (300.5, Body::Verdict { verdict: Verdict::NotResolved { why: "usage is still 95.9 %".into() } }),
        (300.6, Body::Undone { intent: one(), effect: effect(EffectState::Done, 0, 0, 1, &[], 300.5, 300.6) }),
        (300.7, Body::Closed { outcome: Outcome::Interrupted, summary: closed.into() }),
    ];
    incident("interrupted", 0x0bad, Some("log_growth"), Some(Outcome::Interrupted), closed, bodies)
}

pub fn plan() -> (Diagnosis, Plan, Vec<Option<Refusal>>) {
    let forbidden = Refusal::new(RefusalReason::NoOptIn, "/srv/data has not opted in: add it to mounts");
    (log_growth(vec![], 0.93), log_plan(), vec![None, Some(forbidden.clone()), Some(forbidden)])
}

pub fn status() -> Status {
    let fs = |path: &[u8], kind, usage| FsSample {
        mount: Mount {
            path: HostPath::from_bytes(path),
            device: 1,
            source: "/dev/vdb".into(),
            fs_type: "ext4".into(),
            kind,
            read_only: false,
            also_at: vec![],
        },
        usage,
        stuck_for_s: None,
        takes_writes: Observed::unavailable("not tried"),
        ext4_errors: Observed::fresh(0),
        disks: vec!["vdb".into()],
    };
    let usage =
        |used: u64| FsUsage { total: 100 << 30, free: (100 - used) << 30, available: (95 - used) << 30, inodes: 1000, inodes_free: 400 };
    let mut stuck = fs(b"/mnt/nfs", FsKind::Remote, Observed::unavailable("statvfs /mnt/nfs has not answered for 2.0 s"));
    stuck.stuck_for_s = Some(125.0);
    Status {
        version: "0.1.0".into(),
        host: "db1".into(),
        now: at(100.0),
        running_s: 7300.0,
        mode: "observe".into(),
        why_observe: Some("the actuator is not there".into()),
        dry_run: false,
        filesystems: Observed::fresh(vec![
            fs(b"/", FsKind::Local, Observed::fresh(usage(40))),
            fs(b"/srv/a\nb", FsKind::Local, Observed::fresh(usage(92))),
            fs(b"/proc", FsKind::Pseudo, Observed::fresh(usage(0))),
            stuck,
        ]),
        signals: vec![signal(Severity::Critical, "usage 96.8 % (raised at 95 %)")],
        open_incidents: Observed::fresh(vec![]),
        pauses: Observed::fresh(vec![Pause { runbook: None, for_s: Some(7200), by: "alice: release".into(), since: Some(at(0.0)) }]),
        actuator: Observed::<Hello>::unavailable("/run/byteport/actuator.sock: No such file or directory"),
        record: Observed::fresh(1234),
        stuck: BTreeMap::from([("usage of /mnt/nfs".to_owned(), 125.0)]),
        psi_mode: "polled: triggers need CAP_SYS_RESOURCE".into(),
        refused_config: None,
        collector: None,
    }
}
