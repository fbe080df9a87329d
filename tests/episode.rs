//! The episode's state machine, driven by hand: no clock, no host, no actuator.

use std::collections::VecDeque;

use byteport::engine::dialogue::{Command, Event, Timing};
use byteport::engine::episode::{Episode, Left};
use byteport::guard::{Holds, Limits, Mode, PastAct, Policy};
use byteport::model::*;
use byteport::runbooks::Entry;
use byteport::wire::actuator::IntentOutcome;
use proptest::prelude::*;

/// A runbook of this test: its evidence is `{"usage": N, "steps": N, "confidence": N}`. Under 80 is enough, but from 79 on only as long as what was
/// limited stays so. The first of negative `steps` are limits.
static TOY: Entry = Entry {
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
            critical: false,
        };
        let steps = number("steps");
        let steps = (0..steps.abs() as u64).map(|n| if steps < 0.0 { limit(n) } else { step(n) }).collect();
        Ok((diagnosis, Plan { subject: subject(), steps, escalate: None, follow_ups: vec![follow_up()], not_available: Vec::new() }))
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

fn follow_up() -> FollowUp {
    FollowUp { why: "who plays".into(), command: "ls toys".into() }
}

fn subject() -> Subject {
    Subject::Filesystem { mount: "/var".into(), device: 7 }
}

fn step(n: u64) -> PlannedStep {
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

fn limit(n: u64) -> PlannedStep {
    let target = UnitTarget { unit: "app.service".into(), invocation: "1f".into() };
    let step = Step::LimitUnit(UnitLimit { target, limit: LimitTo::CpuWeight(n + 1) });
    let expected = Expected { bytes: Bytes(0), inodes: 0, estimate: true };
    PlannedStep { expected, undo: step.undo(), why: "too many toys".into(), step }
}

fn targets() -> Box<Targets> {
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
    };
    Box::new(Targets { unit: Some(Observed::fresh(facts)), processes: Vec::new() })
}

fn now(second: f64) -> Now {
    Now { wall: jiff::Timestamp::from_second(1_800_000_000 + second as i64).unwrap(), boot: BootId("b".into()), uptime_s: 1000.0 + second }
}

fn evidence(usage: f64, steps: i64, confidence: f64) -> Recorded {
    let body = serde_json::json!({ "usage": usage, "steps": steps, "confidence": confidence });
    Recorded { runbook: TOY.id.clone(), schema: 1, at: now(0.0), body }
}

fn signals() -> Vec<Signal> {
    let kind = SignalKind::new("toy_high");
    vec![Signal { kind, subject: subject(), severity: Severity::Warning, since: now(0.0), detail: "usage 96 %".into() }]
}

fn policy(mode: Mode) -> Policy {
    Policy { mode, runbook_allowed: true, limits: Limits { mounts: vec!["/var".into()], ..Limits::default() } }
}

fn holds() -> Holds {
    Holds {
        paused: None,
        package_manager: Observed::fresh(None),
        shutting_down: Observed::fresh(false),
        host_view: Observed::fresh(true),
        another_episode: None,
        ledger: Observed::fresh(()),
    }
}

fn effect() -> Effect {
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

fn turn(mode: Mode) -> Event {
    Event::Turn { policy: Box::new(policy(mode)), holds: Box::new(holds()), past: Vec::new(), targets: targets() }
}

fn episode() -> Episode {
    Episode::new(IncidentId("toy-1".into()), &TOY, subject(), signals(), serde_json::json!({}), Timing::default())
}

/// Answers commands as a host would; what it lets the test see is the story and the acts.
struct World {
    mode: Mode,
    /// What each look finds; the last one stays.
    usage: VecDeque<f64>,
    confidence: f64,
    steps: i64,
    /// Signals that come with each pause of a minute.
    signals: VecDeque<Vec<Signal>>,
    /// Answers to taking back; then it works.
    undo: VecDeque<RefusalReason>,
    undone: Vec<String>,
    perform: VecDeque<Event>,
    outcome: IntentOutcome,
    holds: Holds,
    past: Vec<PastAct>,
    clock: f64,
    story: Vec<String>,
    escalated: Vec<Escalation>,
    acts: Vec<String>,
    finished: Option<Outcome>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            mode: Mode::Act,
            usage: [96.0, 70.0].into(),
            confidence: 0.9,
            steps: 2,
            signals: VecDeque::new(),
            undo: VecDeque::new(),
            undone: Vec::new(),
            perform: VecDeque::new(),
            outcome: IntentOutcome::Open,
            holds: holds(),
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
    fn run(&mut self, episode: &mut Episode, first: Vec<Command>) {
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
                    let (policy, holds) = (Box::new(policy(self.mode)), Box::new(self.holds.clone()));
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

    fn whole(&mut self) {
        let mut episode = episode();
        let first = episode.on(Event::Begin, &now(0.0));
        self.run(&mut episode, first);
    }
}

fn name(body: &Body) -> String {
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

#[test]
fn heals_and_stops_at_the_floor() {
    let mut world = World::default();
    world.whole();
    let told = ["opened", "decision", "intent toy-1/1.1", "effect toy-1/1.1", "after Enough", "verdict Resolved", "closed healed"];
    assert_eq!(world.story, told, "the second step was not needed");
    assert_eq!(world.finished, Some(Outcome::Healed));
}

#[test]
fn goes_down_the_ladder_while_it_is_not_enough() {
    let mut world = World { usage: [96.0, 90.0, 70.0].into(), ..World::default() };
    world.whole();
    assert_eq!(world.acts, ["toy-1/1.1", "toy-1/1.2"]);
    assert_eq!(world.finished, Some(Outcome::Healed));
}

#[test]
fn observing_changes_nothing_and_says_so() {
    let mut world = World { mode: Mode::Observe, ..World::default() };
    world.whole();
    assert_eq!(world.story, ["opened", "decision", "refused report_only", "refused report_only", "closed observed"]);
    assert!(world.acts.is_empty());
}

#[test]
fn low_confidence_escalates() {
    let mut world = World { confidence: 0.69, ..World::default() };
    world.whole();
    assert!(world.acts.is_empty());
    assert_eq!(world.finished, Some(Outcome::Escalated));
    assert!(world.story.contains(&"refused low_confidence".to_owned()));
}

/// The plan itself called nobody; what came later did, and the commands go with it all the same.
#[test]
fn every_escalation_carries_the_commands() {
    for mut world in [
        World { confidence: 0.69, ..World::default() },
        World { usage: [96.0].into(), ..World::default() },
        World { holds: Holds { paused: Some("by a person".into()), ..holds() }, ..World::default() },
    ] {
        world.whole();
        assert_eq!(world.finished, Some(Outcome::Escalated), "{:?}", world.story);
        assert_eq!(world.escalated.last().unwrap().follow_ups, [follow_up()], "{:?}", world.escalated);
    }
}

#[test]
fn what_comes_back_within_the_cooldown_is_told_with_who_is_behind_it() {
    let healed = PastAct {
        intent: IntentId("toy-0/1.1".into()),
        incident: IncidentId("toy-0".into()),
        runbook: TOY.id.clone(),
        subject: subject(),
        kind: StepKind::Tmp,
        at: now(-3600.0),
        files: 1,
        bytes: Bytes(4096),
        on: None,
    };
    let mut world = World { past: vec![healed], ..World::default() };
    world.whole();
    assert!(world.acts.is_empty());
    let reason = &world.escalated.last().unwrap().reason;
    assert!(reason.starts_with("it comes back: ") && reason.contains("toy-0") && reason.ends_with("behind it: a child"), "{reason}");
}

#[test]
fn a_signal_that_cleared_meanwhile_ends_it() {
    let mut episode = episode();
    episode.on(Event::Begin, &now(0.0));
    episode.on(Event::Gathered(evidence(96.0, 1, 0.9)), &now(1.0));
    let commands = episode.on(Event::Signals(Vec::new()), &now(2.0));
    assert!(matches!(commands.last(), Some(Command::Finish(Outcome::Cleared))), "{commands:?}");
    assert!(episode.on(turn(Mode::Act), &now(3.0)).is_empty(), "a turn that comes too late acts on nothing");
}

#[test]
fn what_did_not_help_gets_one_more_round_and_then_a_person() {
    let mut world = World { usage: [96.0].into(), steps: 1, ..World::default() };
    world.whole();
    assert_eq!(world.acts, ["toy-1/1.1", "toy-1/2.1"]);
    assert_eq!(world.finished, Some(Outcome::Escalated));
}

#[test]
fn a_filesystem_that_fills_again_is_not_healed() {
    let mut world = World { usage: [96.0, 70.0, 70.0, 96.0].into(), steps: 1, ..World::default() };
    world.whole();
    assert_eq!(world.finished, Some(Outcome::Escalated), "{:?}", world.story);
}

#[test]
fn a_lost_step_is_asked_for_and_never_repeated() {
    let lost = || [Event::Lost { why: "gone".into() }].into();
    let mut world = World { perform: lost(), ..World::default() };
    world.whole();
    assert_eq!(world.acts.len(), 1);
    assert!(world.story.contains(&"lost toy-1/1.1".to_owned()));
    assert_eq!(world.finished, Some(Outcome::Healed), "the verification is what counts: {:?}", world.story);

    // Not resolved, and the step unaccounted for: a person, not another round.
    let mut world = World { perform: lost(), usage: [96.0].into(), ..World::default() };
    world.whole();
    assert_eq!((world.acts.len(), world.finished), (1, Some(Outcome::Escalated)));

    let mut world = World { perform: lost(), outcome: IntentOutcome::Done(effect()), ..World::default() };
    world.whole();
    assert!(world.story.contains(&"effect toy-1/1.1".to_owned()), "its effect is learnt from the actuator: {:?}", world.story);
    assert_eq!(world.finished, Some(Outcome::Healed));
}

#[test]
fn without_a_record_nothing_is_done() {
    let mut episode = episode();
    episode.on(Event::Begin, &now(0.0));
    episode.on(Event::Gathered(evidence(96.0, 1, 0.9)), &now(1.0));
    let commands = episode.on(turn(Mode::Act), &now(2.0));
    assert!(matches!(&commands[0], Command::Record(b) if matches!(**b, Body::Intent { .. })), "the intent comes before the act");
    let commands = episode.on(Event::NoRecord { why: "disk full".into() }, &now(3.0));
    assert!(matches!(commands.last(), Some(Command::Finish(Outcome::Escalated))));
    assert!(episode.on(Event::Performed(effect()), &now(4.0)).is_empty());
}

#[test]
fn a_package_manager_is_waited_for() {
    let mut world = World { steps: 1, ..World::default() };
    world.holds.package_manager = Observed::fresh(Some("dpkg (pid 7)".into()));
    world.whole();
    assert!(world.acts.is_empty());
    let told = world.story.iter().filter(|s| *s == "refused package_manager").count();
    assert_eq!(told, 2, "once when the waiting begins, once when it ends: {:?}", world.story);
    assert_eq!(world.finished, Some(Outcome::Escalated));
    let patience = Timing::default().retry_every.as_secs_f64() * f64::from(Timing::default().retries);
    assert!(world.clock > patience, "{} s", world.clock);
}

fn left(open: Option<IntentId>, standing: Vec<IntentId>) -> Left {
    let before = evidence(96.0, 2, 0.9);
    let decision = (TOY.decide)(&before, &serde_json::json!({}), &now(0.0)).unwrap();
    let acted = u32::try_from(standing.len()).unwrap();
    Left { round: 1, before: Some(before), decision: Some(decision), open, acted, standing }
}

#[test]
fn what_stands_is_taken_back_before_it_is_over_the_newest_first() {
    let mut world = World { usage: [96.0, 90.0, 70.0].into(), steps: -2, ..World::default() };
    world.whole();
    assert_eq!(world.undone, ["toy-1/1.2", "toy-1/1.1"]);
    let end = &world.story[world.story.len() - 4..];
    assert_eq!(end, ["verdict Resolved", "undone", "undone", "closed healed"]);
}

#[test]
fn what_did_not_help_does_not_stay() {
    let mut world = World { usage: [96.0].into(), steps: -1, ..World::default() };
    world.whole();
    assert_eq!((world.acts.len(), world.undone.len()), (2, 2), "{:?}", world.story);
    assert_eq!(world.finished, Some(Outcome::Escalated));
    // What makes it worse goes at once.
    let mut world = World { usage: [96.0, 99.0, 70.0].into(), steps: -2, ..World::default() };
    world.whole();
    let told = ["effect toy-1/1.1", "after Abort", "undone", "verdict Resolved", "closed healed"];
    assert_eq!(world.story[3..], told, "{:?}", world.story);
}

#[test]
fn while_only_a_limit_keeps_it_well_a_person_is_told_and_the_limit_stays_until_the_cause_is_gone() {
    // Enough and not resolved for two minutes and a second round, then for two looks of the holding; then the cause is gone.
    let pressed = |looks| std::iter::repeat_n(79.5, looks);
    let mut world = World { usage: [96.0].into_iter().chain(pressed(60)).chain([70.0]).collect(), steps: -1, ..World::default() };
    world.whole();
    assert_eq!(world.finished, Some(Outcome::Healed), "{:?}", world.story);
    let told = world.story.iter().position(|s| s == "escalated").expect("a person was told");
    let undone = world.story.iter().position(|s| s == "undone").expect("it was lifted");
    assert!(told < undone, "{:?}", world.story);
    assert_eq!(world.undone, ["toy-1/2.1", "toy-1/1.1"]);
}

#[test]
fn nothing_is_held_for_ever() {
    let mut world = World { usage: [96.0, 79.5].into(), steps: -1, ..World::default() };
    world.whole();
    assert_eq!((world.finished, world.undone.len()), (Some(Outcome::Escalated), 2), "{:?}", world.story);
    assert!(world.clock > 4.0 * 3600.0, "{} s", world.clock);
}

#[test]
fn new_trouble_under_a_limit_that_stands_gets_a_round_of_its_own_and_not_without_an_end() {
    let again = (0..40).flat_map(|_| [Vec::new(), signals()]).collect();
    let mut world = World { usage: [96.0, 79.5].into(), steps: -1, signals: again, ..World::default() };
    world.whole();
    assert_eq!(world.acts.len(), 6, "{:?}", world.acts);
    assert_eq!((world.finished, world.undone.len()), (Some(Outcome::Escalated), 6));
}

#[test]
fn taking_back_is_tried_again_while_nobody_is_there_and_told_when_it_cannot_be() {
    let nobody = || std::iter::repeat_n(RefusalReason::NoActuator, 5);
    let mut world = World { undo: nobody().collect(), steps: -1, ..World::default() };
    world.whole();
    assert_eq!((world.finished, world.undone.len()), (Some(Outcome::Healed), 1));
    let mut world = World { undo: [RefusalReason::LedgerUntrusted].into(), steps: -1, ..World::default() };
    world.whole();
    assert!(world.undone.is_empty() && world.story.contains(&"undorefused".to_owned()), "{:?}", world.story);
    assert!(world.escalated.last().unwrap().reason.contains("byteportctl undo toy-1"), "{:?}", world.escalated);
}

#[test]
fn what_stood_when_the_agent_was_killed_is_taken_back_in_the_end() {
    let standing = vec![IntentId("toy-1/1.1".into())];
    let (mut episode, first) = episode().resume(left(None, standing), &now(0.0));
    let mut world = World { usage: [70.0].into(), ..World::default() };
    world.run(&mut episode, first);
    assert_eq!((world.finished, world.undone), (Some(Outcome::Healed), vec!["toy-1/1.1".to_owned()]));
    // Whether it was done at all is not known: taken back all the same.
    let open = IntentId("toy-1/1.1".into());
    let (mut episode, first) = self::episode().resume(left(Some(open.clone()), vec![open]), &now(0.0));
    let mut world = World { usage: [70.0].into(), ..World::default() };
    world.run(&mut episode, first);
    assert_eq!(world.undone.len(), 1, "{:?}", world.story);
}

#[test]
fn a_crash_between_intent_and_effect_asks_first() {
    let open = IntentId("toy-1/1.1".into());
    for outcome in [IntentOutcome::Open, IntentOutcome::Done(effect()), IntentOutcome::Unknown] {
        let (mut episode, first) = episode().resume(left(Some(open.clone()), Vec::new()), &now(0.0));
        assert!(first.iter().any(|c| matches!(c, Command::AskOutcome { intent } if *intent == open)), "{first:?}");
        let mut world = World { usage: [70.0].into(), outcome, ..World::default() };
        world.run(&mut episode, first);
        assert!(world.acts.is_empty(), "nothing is repeated: {:?}", world.story);
        assert!(world.finished.is_some());
    }
}

#[test]
fn a_crash_before_anything_was_done_is_closed() {
    let (mut episode, first) = episode().resume(Left::default(), &now(0.0));
    let mut world = World::default();
    world.run(&mut episode, first);
    assert_eq!((world.finished, world.acts.len()), (Some(Outcome::Interrupted), 0));
}

fn event(kind: u8) -> Event {
    match kind {
        0 => Event::Begin,
        1 => Event::Gathered(evidence(96.0, 3, 0.9)),
        2 => Event::Gathered(evidence(70.0, 3, 0.9)),
        3 => Event::GatherFailed { why: "x".into() },
        4 => turn(Mode::Act),
        5 => turn(Mode::Observe),
        6 => Event::Performed(effect()),
        7 => Event::Refused(Refusal::new(RefusalReason::Cooldown, "x")),
        8 => Event::Lost { why: "x".into() },
        9 => Event::Outcome(Ok(IntentOutcome::Open)),
        10 => Event::Outcome(Err("x".into())),
        11 => Event::Signals(Vec::new()),
        12 => Event::NoRecord { why: "x".into() },
        13 => Event::Undone(Ok(effect())),
        14 => Event::Undone(Err(Refusal::new(RefusalReason::NoActuator, "x"))),
        15 => Event::Gathered(evidence(79.5, -3, 0.9)),
        16 => Event::Gathered(evidence(96.0, -3, 0.9)),
        17 => Event::Signals(signals()),
        _ => Event::Timer,
    }
}

proptest! {
    /// Whatever happens in whatever order: an act only directly behind its own intent, each intent at most once,
    /// an end at most once, and silence after it.
    #[test]
    fn no_order_of_events_breaks_the_rules(kinds in proptest::collection::vec(0u8..19, 0..80)) {
        let mut episode = episode();
        let mut acted = std::collections::BTreeSet::new();
        let mut ends = 0;
        let mut clock = 0.0;
        prop_assert_eq!(episode.on(Event::Begin, &now(clock)).len(), 2);
        for kind in kinds {
            clock += 20.0;
            let over = episode.is_finished();
            let commands = episode.on(event(kind), &now(clock));
            prop_assert!(!over || commands.is_empty());
            for (i, command) in commands.iter().enumerate() {
                if let Command::Undo { intent } = command {
                    prop_assert!(acted.contains(intent), "{intent} taken back and never done");
                }
                if let Command::Act(act) = command {
                    let intended = matches!(&commands[i - 1], Command::Record(b) if matches!(&**b, Body::Intent { intent, .. } if *intent == act.intent));
                    prop_assert!(intended, "an act without its intent before it");
                    prop_assert!(acted.insert(act.intent.clone()), "{} twice", act.intent);
                }
                ends += usize::from(matches!(command, Command::Finish(_)));
            }
        }
        prop_assert!(ends <= 1);
        prop_assert_eq!(ends == 1, episode.is_finished());
    }
}

#[test]
fn the_patience_is_the_specifications() {
    let timing = Timing::default();
    assert_eq!((timing.verify_within.as_secs(), timing.refill_after.as_secs()), (120, 30));
}
