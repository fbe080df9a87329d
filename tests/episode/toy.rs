//! A runbook that heals toys, and a world that answers its episode as a host would.

use std::collections::VecDeque;

use byteport::engine::dialogue::{Command, Event, Timing};
use byteport::engine::episode::Episode;
use byteport::guard::{Holds, Limits, Mode, PastAct, Policy};
use byteport::model::*;
use byteport::runbooks::Entry;
use byteport::wire::actuator::IntentOutcome;

/// A runbook of this test: its evidence is `{"usage": N, "steps": N, "confidence": N}`. Under 80 is enough, but from 79 on only as long as what was
/// limited stays so. The first of negative `steps` are limits.
pub static TOY: Entry = Entry {
    id: RunbookId::new("toy"),
    schema: 1,
    signals: &[],
    classes: &[],
    steps: StepKind::ALL.as_slice(),
    page: "",
    resolve: |_| Ok(serde_json::json!({})),
    problems: |_| Ok(Vec::new()),
    watch: |_| Ok(Box::new(|_, _| Vec::new())),
    gather: |_, _, _, _| Err(serde::de::Error::custom("not asked here")),
    decide: |recorded, _, _| {
        let number = |key: &str| recorded.body[key].as_f64().unwrap();
        let diagnosis = Diagnosis {
            class: "toy".into(),
            confidence: Confidence::new(number("confidence")),
            summary: "toys everywhere".into(),
            explained: Vec::new(),
            findings: Vec::new(),
            missing: Vec::new(),
            behind: Some("a child".into()),
            critical: number("usage") == 97.5,
        };
        // Nothing that the second look could do: only a person can.
        let person = (number("usage") == 79.25).then(|| "look at the toys".to_owned());
        let steps = if person.is_some() { 0.0 } else { number("steps") };
        let steps = (0..steps.abs() as u64).map(|n| if steps < 0.0 { limit(n) } else { step(n) }).collect();
        Ok((diagnosis, Plan { subject: subject(), steps, escalate: person, follow_ups: vec![follow_up()], not_available: Vec::new() }))
    },
    after_step: |_, after, _| {
        let below = after.body["usage"].as_f64().unwrap() < 80.0;
        let worse = after.body["usage"].as_f64().unwrap() > 98.0;
        Ok(match (below, worse) {
            (true, _) => AfterStep::Enough { why: "below".into() },
            (_, true) => AfterStep::Abort { why: "worse".into() },
            _ => AfterStep::Continue { why: "above".into() },
        })
    },
    verify: |_, after, _| {
        let below = after.body["usage"].as_f64().unwrap() < 79.0;
        Ok(if below { Verdict::Resolved { why: "below".into() } } else { Verdict::NotResolved { why: "above".into() } })
    },
    limits: |_| Ok(Limits::default()),
};

pub fn follow_up() -> FollowUp {
    FollowUp { why: "who plays".into(), command: "ls toys".into() }
}

pub fn subject() -> Subject {
    Subject::Filesystem { mount: "/var".into(), device: 7 }
}

pub fn step(n: u64) -> PlannedStep {
    let file = FileTarget { path: format!("f{n}").as_str().into(), ino: n, size: 1, on_disk: 4096, mtime_ns: 0, ctime_ns: 0, links: 1 };
    let batch = FileBatch {
        family: FileFamily::Tmp,
        root: "/var/tmp".into(),
        device: 7,
        min_age_s: 24 * 3600,
        files: vec![file],
        dirs: Vec::new(),
    };
    PlannedStep {
        step: Step::DeleteFiles(batch),
        expected: Expected { bytes: Bytes(4096), inodes: 1, estimate: false },
        undo: Undo::None { why: "deleted".into() },
        why: "old".into(),
    }
}

pub fn limit(n: u64) -> PlannedStep {
    let target = UnitTarget { unit: "app.service".into(), invocation: "1f".into() };
    let step = Step::LimitUnit(UnitLimit { target, limit: LimitTo::CpuWeight(n + 1) });
    let expected = Expected { bytes: Bytes(0), inodes: 0, estimate: true };
    PlannedStep { expected, undo: step.undo(), why: "too many toys".into(), step }
}

pub fn targets() -> Box<Targets> {
    let facts = UnitFacts {
        name: "app.service".into(),
        active: "active".into(),
        invocation: "1f".into(),
        active_for_s: 3600.0,
        restarts: 0,
        start_limit_s: 10.0,
        job_queued: false,
        restart_safe: true,
        main_pid: None,
        cgroup: "/system.slice/app.service".into(),
        memory_high: None,
        memory_max: None,
        cpu_weight: None,
        cpu_quota_percent: None,
        restarts_too: Vec::new(),
    };
    Box::new(Targets { unit: Some(Observed::fresh(facts)), processes: Vec::new() })
}

pub fn now(second: f64) -> Now {
    Now { wall: jiff::Timestamp::from_second(1_800_000_000 + second as i64).unwrap(), boot: BootId("b".into()), uptime_s: 1000.0 + second }
}

pub fn evidence(usage: f64, steps: i64, confidence: f64) -> Recorded {
    let body = serde_json::json!({ "usage": usage, "steps": steps, "confidence": confidence });
    Recorded { runbook: TOY.id.clone(), schema: 1, at: now(0.0), body }
}

pub fn signals() -> Vec<Signal> {
    let kind = SignalKind::new("toy_high");
    vec![Signal { kind, subject: subject(), severity: Severity::Warning, since: now(0.0), detail: "usage 96 %".into() }]
}

pub fn policy(mode: Mode) -> Policy {
    Policy { mode, runbook_allowed: true, limits: Limits { mounts: vec!["/var".into()], ..Limits::default() } }
}

pub fn holds() -> Holds {
    Holds {
        paused: None,
        package_manager: Observed::fresh(None),
        shutting_down: Observed::fresh(false),
        host_view: Observed::fresh(true),
        another_episode: None,
        ledger: Observed::fresh(()),
    }
}

pub fn effect() -> Effect {
    Effect {
        state: EffectState::Done,
        freed: Bytes(4096),
        available_delta: Some(4096),
        inodes: 1,
        done: 1,
        skipped: Default::default(),
        examples: Vec::new(),
        started: now(1.0),
        ended: now(2.0),
        notes: Vec::new(),
    }
}

pub fn turn(mode: Mode) -> Event {
    Event::Turn { policy: Box::new(policy(mode)), holds: Box::new(holds()), past: Vec::new(), targets: targets() }
}

pub fn episode() -> Episode {
    Episode::new(IncidentId("toy-1".into()), &TOY, subject(), signals(), serde_json::json!({}), Timing::default())
}

/// Answers commands as a host would; what it lets the test see is the story and the acts.
pub struct World {
    pub mode: Mode,
    /// What each look finds; the last one stays.
    pub usage: VecDeque<f64>,
    pub confidence: f64,
    pub steps: i64,
    /// Signals that come with each pause of a minute.
    pub signals: VecDeque<Vec<Signal>>,
    /// In which pause of a minute a person takes back what was done under these intents.
    pub by_hand: Option<(u32, Vec<IntentId>)>,
    /// Answers to taking back; then it works.
    pub undo: VecDeque<RefusalReason>,
    pub undone: Vec<String>,
    pub perform: VecDeque<Event>,
    pub outcome: IntentOutcome,
    pub holds: Holds,
    /// A package manager is at work for so many askings.
    pub busy_for: u32,
    pub past: Vec<PastAct>,
    pub clock: f64,
    pub story: Vec<String>,
    pub escalated: Vec<Escalation>,
    pub acts: Vec<String>,
    pub finished: Option<Outcome>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            mode: Mode::Act,
            usage: [96.0, 70.0].into(),
            confidence: 0.9,
            steps: 2,
            signals: VecDeque::new(),
            by_hand: None,
            undo: VecDeque::new(),
            undone: Vec::new(),
            perform: VecDeque::new(),
            outcome: IntentOutcome::Open,
            holds: holds(),
            busy_for: 0,
            past: Vec::new(),
            clock: 0.0,
            story: Vec::new(),
            escalated: Vec::new(),
            acts: Vec::new(),
            finished: None,
        }
    }
}

impl World {
    pub fn run(&mut self, episode: &mut Episode, first: Vec<Command>) {
        let mut queue: VecDeque<Command> = first.into();
        for _ in 0..10_000 {
            let Some(command) = queue.pop_front() else { return };
            self.clock += 1.0;
            let event = match command {
                Command::Record(body) => {
                    self.story.push(name(&body));
                    if let Body::Escalated { escalation } = *body {
                        self.escalated.push(escalation);
                    }
                    None
                }
                Command::Gather { .. } => {
                    let usage = if self.usage.len() > 1 { self.usage.pop_front().unwrap() } else { self.usage[0] };
                    Some(Event::Gathered(evidence(usage, self.steps, self.confidence)))
                }
                Command::AskTurn(_) => {
                    let (policy, mut holds) = (Box::new(policy(self.mode)), Box::new(self.holds.clone()));
                    if self.busy_for > 0 {
                        self.busy_for -= 1;
                        holds.package_manager = Observed::fresh(Some("dpkg (pid 7)".into()));
                    }
                    Some(Event::Turn { policy, holds, past: self.past.clone(), targets: targets() })
                }
                Command::Act(act) => {
                    self.acts.push(act.intent.0);
                    Some(self.perform.pop_front().unwrap_or_else(|| Event::Performed(effect())))
                }
                Command::AskOutcome { .. } => Some(Event::Outcome(Ok(self.outcome.clone()))),
                Command::Undo { intent } => Some(Event::Undone(match self.undo.pop_front() {
                    Some(reason) => Err(Refusal::new(reason, "not now")),
                    None => {
                        self.undone.push(intent.0);
                        Ok(effect())
                    }
                })),
                Command::Wait(time) => {
                    self.clock += time.as_secs_f64();
                    if let Some(signals) = (time.as_secs() == 60).then(|| self.signals.pop_front()).flatten() {
                        queue.extend(episode.on(Event::Signals(signals), &now(self.clock)));
                    }
                    if let Some((0, intents)) = self.by_hand.take_if(|(n, _)| {
                        *n = n.saturating_sub(u32::from(time.as_secs() == 60));
                        *n == 0
                    }) {
                        queue.extend(episode.on(Event::TakenBack(intents), &now(self.clock)));
                    }
                    Some(Event::Timer)
                }
                Command::ReleaseTurn => None,
                Command::Finish(outcome) => {
                    assert_eq!(self.finished.replace(outcome), None, "finished twice");
                    None
                }
            };
            if let Some(event) = event {
                queue.extend(episode.on(event, &now(self.clock)));
            }
        }
        panic!("no end: {:?}", self.story);
    }

    pub fn whole(&mut self) {
        let mut episode = episode();
        let first = episode.on(Event::Begin, &now(0.0));
        self.run(&mut episode, first);
    }
}

pub fn name(body: &Body) -> String {
    let first_word = |debug: String| debug.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
    match body {
        Body::Refused { refusal, .. } => format!("refused {}", refusal.reason.as_str()),
        Body::Intent { intent, .. } => format!("intent {intent}"),
        Body::Effect { intent, .. } => format!("effect {intent}"),
        Body::EffectUnknown { intent, .. } => format!("lost {intent}"),
        Body::AfterStep { after, .. } => format!("after {}", first_word(format!("{after:?}"))),
        Body::Verdict { verdict } => format!("verdict {}", first_word(format!("{verdict:?}"))),
        Body::Closed { outcome, .. } => format!("closed {}", outcome.as_str()),
        other => first_word(format!("{other:?}")).to_lowercase(),
    }
}
