//! The episode's state machine, driven by hand: no clock, no host, no actuator.

mod toy;

use byteport::engine::dialogue::{Command, Event, Timing};
use byteport::engine::episode::Left;
use byteport::guard::{Holds, Mode, PastAct};
use byteport::model::*;
use byteport::wire::actuator::IntentOutcome;
use proptest::prelude::*;
use toy::*;

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

#[test]
fn what_was_waited_for_in_vain_stands_in_the_way_of_the_next_step_as_well() {
    let mut world = World { steps: 3, ..World::default() };
    world.holds.package_manager = Observed::fresh(Some("dpkg (pid 7)".into()));
    world.whole();
    let patience = Timing::default().retry_every.as_secs_f64() * f64::from(Timing::default().retries);
    assert!(world.clock < patience * 1.5, "waited for {} s: {:?}", world.clock, world.story);
    assert_eq!((world.finished, world.escalated.len()), (Some(Outcome::Escalated), 1));
}

#[test]
fn who_has_to_know_of_a_critical_one_does_not_wait_with_it() {
    let mut world = World { busy_for: 3, usage: [97.5, 96.0, 70.0].into(), steps: 1, ..World::default() };
    world.whole();
    assert_eq!(world.story[..4], ["opened", "decision", "refused package_manager", "escalated"], "{:?}", world.story);
    assert!(world.escalated[0].reason.contains("has to wait"), "{:?}", world.escalated);
    assert_eq!((world.finished, world.escalated.len()), (Some(Outcome::Healed), 1));
}

#[test]
fn a_unit_that_was_named_after_the_diagnosis_is_not_answered() {
    let unit = |name: &str| Signal { subject: Subject::Unit { name: name.into() }, ..signals().remove(0) };
    let mut episode = episode();
    episode.on(Event::Begin, &now(0.0));
    episode.on(Event::Gathered(evidence(96.0, 1, 0.9)), &now(1.0));
    let later = Signal { kind: SignalKind::new("toy_falls"), ..signals().remove(0) };
    let all = [signals(), vec![later.clone(), unit("a child"), unit("b.service")]].concat();
    episode.on(Event::Signals(all), &now(2.0));
    // The second was found guilty without it; what is said of the whole is verified as a whole.
    assert_eq!(episode.answered(), [signals(), vec![later, unit("a child")]].concat());
}

#[test]
fn what_lasts_is_known_again_after_a_crash() {
    let decided = (TOY.decide)(&evidence(96.0, -2, 0.9), &serde_json::json!({}), &now(0.0)).unwrap();
    let intent = |n: u32| Body::Intent {
        intent: IntentId(format!("toy-1/1.{n}")),
        round: 1,
        step: n,
        kind: StepKind::CpuWeight,
        subject: subject(),
        files: 0,
        bytes: 0,
        on: None,
    };
    let done = |n: u32| Body::Effect { intent: IntentId(format!("toy-1/1.{n}")), effect: effect() };
    let (diagnosis, plan) = decided;
    let decision = Body::Decision { now: now(0.0), params: serde_json::json!({}), diagnosis, plan };
    let bodies = [decision, intent(1), done(1), intent(2), done(2)];
    let entry = |body| Entry { seq: 1, incident: IncidentId("toy-1".into()), at: now(0.0), body };
    let left = Left::of(bodies.map(entry).into());
    assert_eq!(left.taken.iter().map(|(_, step)| step.clone()).collect::<Vec<_>>(), [limit(0).step, limit(1).step]);
    assert_eq!(episode().resume(left, &now(1.0)).0.in_force(), [limit(0).step, limit(1).step]);
}

fn left(open: Option<IntentId>, standing: Vec<IntentId>) -> Left {
    let before = evidence(96.0, 2, 0.9);
    let decision = (TOY.decide)(&before, &serde_json::json!({}), &now(0.0)).unwrap();
    let acted = u32::try_from(standing.len()).unwrap();
    Left { round: 1, before: Some(before), decision: Some(decision), open, acted, standing, taken: Vec::new() }
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
fn what_a_limit_keeps_well_stays_limited_when_the_second_look_finds_nothing_else_to_do() {
    let usage = [96.0].into_iter().chain(std::iter::repeat_n(79.25, 40)).chain([70.0]).collect();
    let mut world = World { usage, steps: -1, ..World::default() };
    world.whole();
    assert_eq!((world.acts.len(), world.finished), (1, Some(Outcome::Healed)), "{:?}", world.story);
    let at = |what: &str| world.story.iter().position(|s| s == what).expect(what);
    assert!(at("escalated") < at("undone"), "{:?}", world.story);
}

#[test]
fn what_is_waited_for_in_vain_is_followed_by_the_next_step() {
    // It helped, is short again, and stays so: after a quarter of a minute the second step comes, long before two minutes are over.
    let mut world = World { usage: [96.0, 79.5, 96.0, 96.0, 96.0, 96.0, 70.0].into(), ..World::default() };
    world.whole();
    assert_eq!(world.acts, ["toy-1/1.1", "toy-1/1.2"], "{:?}", world.story);
    assert_eq!(world.finished, Some(Outcome::Healed));
    assert!((15.0..100.0).contains(&world.clock), "{} s", world.clock);
    // While something comes of it, nothing else is done.
    let mut world = World { usage: std::iter::once(96.0).chain(std::iter::repeat_n(79.5, 12)).chain([70.0]).collect(), ..World::default() };
    world.whole();
    assert_eq!((world.acts.len(), world.finished), (1, Some(Outcome::Healed)), "{:?}", world.story);
    // The last step has none after it: it is waited for as long as ever.
    let mut world = World { usage: [96.0, 79.5, 96.0].into(), steps: 1, ..World::default() };
    world.whole();
    assert!(world.clock > 240.0, "{} s: {:?}", world.clock, world.story);
}

#[test]
fn what_cleared_is_not_acted_on_because_its_effect_does_not_come() {
    let (mut episode, mut world) = (episode(), World { usage: [96.0, 79.5].into(), ..World::default() });
    let first = episode.on(Event::Begin, &now(0.0));
    let mut queue: std::collections::VecDeque<Command> = first.into();
    // To the first pause of the verification.
    while let Some(command) = queue.pop_front() {
        let event = match command {
            Command::Gather { .. } => Event::Gathered(evidence(world.usage.pop_front().unwrap_or(96.0), 2, 0.9)),
            Command::AskTurn(_) => turn(Mode::Act),
            Command::Act(_) => Event::Performed(effect()),
            Command::Wait(_) => break,
            _ => continue,
        };
        queue.extend(episode.on(event, &now(1.0)));
    }
    episode.on(Event::Signals(Vec::new()), &now(5.0));
    world.usage = [96.0, 96.0, 96.0, 96.0, 70.0].into();
    world.clock = 20.0;
    let next = episode.on(Event::Timer, &now(20.0));
    world.run(&mut episode, next);
    assert!(world.acts.is_empty(), "{:?}", world.story);
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
fn one_calm_moment_ends_no_holding() {
    // Enough and not resolved to the end of the second round; then calm for one look, and pressed again for three.
    let pressed = |looks| std::iter::repeat_n(79.5, looks);
    let held = World {
        usage: [96.0].into_iter().chain(pressed(56)).chain([70.0]).chain(pressed(3)).chain([70.0]).collect(),
        steps: -1,
        ..World::default()
    };
    let mut world = held;
    world.whole();
    assert_eq!(world.finished, Some(Outcome::Healed), "{:?}", world.story);
    assert!(world.usage.len() == 1, "it looked on to the end: {:?}", world.usage);
}

#[test]
fn what_a_person_has_taken_back_is_his_from_then_on() {
    let intents = |list: &[&str]| list.iter().map(|i| IntentId((*i).into())).collect();
    let mut world = World { usage: [96.0, 79.5].into(), steps: -1, ..World::default() };
    world.by_hand = Some((3, intents(&["toy-1/1.1", "toy-1/2.1"])));
    world.whole();
    assert_eq!((world.finished, world.undone.len()), (Some(Outcome::Escalated), 0), "{:?}", world.story);
    assert!(world.clock < 3600.0, "{} s", world.clock);
    // What he has left is still looked after.
    let mut world = World { usage: [96.0, 79.5].into(), steps: -1, ..World::default() };
    world.by_hand = Some((3, intents(&["toy-1/1.1"])));
    world.whole();
    assert_eq!((world.finished, world.undone), (Some(Outcome::Escalated), vec!["toy-1/2.1".to_owned()]), "{:?}", world.story);
    assert!(world.clock > 3600.0);
}

#[test]
fn who_was_cut_off_or_had_to_let_go_has_answered_nothing() {
    let unit = |name: &str| Signal { subject: Subject::Unit { name: name.into() }, ..signals()[0].clone() };
    let mut held = episode();
    let first = held.on(Event::Begin, &now(0.0));
    let mut world = World { usage: [96.0, 79.5].into(), steps: -1, ..World::default() };
    world.run(&mut held, first);
    assert_eq!((world.finished, held.answered()), (Some(Outcome::Escalated), vec![]), "its time was over, and the cause is still there");
    let mut healed = episode();
    let first = healed.on(Event::Begin, &now(0.0));
    healed.on(Event::Signals(vec![signals()[0].clone(), unit("a child"), unit("other")]), &now(0.0));
    World::default().run(&mut healed, first);
    assert_eq!(healed.answered(), [signals()[0].clone(), unit("a child")], "another unit is that unit's own affair");
    let (mut cut, first) = episode().resume(left(None, vec![IntentId("toy-1/1.1".into())]), &now(0.0));
    cut.on(Event::Signals(signals()), &now(0.0));
    let mut world = World { usage: [70.0].into(), ..World::default() };
    world.run(&mut cut, first);
    assert_eq!((world.finished, cut.answered()), (Some(Outcome::Healed), vec![]), "raised again since it was cut off, and not looked at");
}

#[test]
fn what_nobody_had_raised_when_it_was_diagnosed_gets_a_round_while_a_limit_stands() {
    let more = Signal { kind: SignalKind::new("other"), ..signals()[0].clone() };
    let with = vec![signals()[0].clone(), more];
    let mut world = World { usage: [96.0, 79.5].into(), steps: -1, signals: vec![with.clone(), with].into(), ..World::default() };
    world.whole();
    assert_eq!(world.acts.len(), 3, "two rounds, and one more for it: {:?}", world.acts);
}

#[test]
fn a_limit_that_could_not_be_taken_back_still_stands_after_a_crash() {
    let intent = IntentId("toy-1/1.1".into());
    let began = Body::Intent {
        intent: intent.clone(),
        round: 1,
        step: 1,
        kind: StepKind::CpuWeight,
        subject: subject(),
        files: 0,
        bytes: 0,
        on: None,
    };
    let refused = Body::UndoRefused { intent: intent.clone(), refusal: Refusal::new(RefusalReason::NotAvailable, "systemd is silent") };
    let undone = Body::Undone { intent: intent.clone(), effect: effect() };
    let entry = |body| Entry { seq: 1, incident: IncidentId("toy-1".into()), at: now(0.0), body };
    assert_eq!(Left::of([began.clone(), refused.clone()].map(entry).into()).standing, [intent]);
    assert_eq!(Left::of([began, refused, undone].map(entry).into()).standing, []);
}

#[test]
fn taking_back_is_tried_again_while_nobody_is_there_and_told_when_it_cannot_be() {
    let nobody = || std::iter::repeat_n(RefusalReason::NoActuator, 5);
    let mut world = World { undo: nobody().collect(), steps: -1, ..World::default() };
    world.whole();
    assert_eq!((world.finished, world.undone.len()), (Some(Outcome::Healed), 1));
    // systemd does not answer while it is executed anew.
    let silent = std::iter::repeat_n(RefusalReason::NotAvailable, 20);
    let mut world = World { undo: silent.collect(), steps: -1, ..World::default() };
    world.whole();
    assert_eq!((world.finished, world.undone.len()), (Some(Outcome::Healed), 1));
    // As long as a step of somebody else's may take.
    let busy = std::iter::repeat_n(RefusalReason::AnotherEpisode, 120);
    let mut world = World { undo: busy.collect(), steps: -1, ..World::default() };
    world.whole();
    assert_eq!((world.finished, world.undone.len()), (Some(Outcome::Healed), 1));
    let full = std::iter::repeat_n(RefusalReason::LedgerUntrusted, 151);
    let mut world = World { undo: full.collect(), steps: -1, ..World::default() };
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
fn a_plan_from_before_a_crash_is_not_gone_on_with() {
    let open = IntentId("toy-1/1.1".into());
    let (mut episode, first) = episode().resume(left(Some(open), Vec::new()), &now(0.0));
    // The step was done, it is better and not well: the second step of that plan is of another time.
    let mut world = World { usage: [90.0].into(), outcome: IntentOutcome::Done(effect()), ..World::default() };
    world.run(&mut episode, first);
    assert_eq!(world.acts, ["toy-1/2.1", "toy-1/2.2"], "{:?}", world.story);
    let at = |what: &str| world.story.iter().position(|s| s == what).expect(what);
    assert!(at("verdict NotResolved") < at("decision") && at("decision") < at("intent toy-1/2.1"), "{:?}", world.story);
    assert_eq!(world.finished, Some(Outcome::Escalated));
}

#[test]
fn what_had_to_wait_is_looked_at_anew_before_anything_is_done() {
    // Well by the time the package manager is gone: nothing is left to do.
    let mut world = World { busy_for: 3, usage: [96.0, 70.0].into(), steps: 1, ..World::default() };
    world.whole();
    assert_eq!(world.story[..5], ["opened", "decision", "refused package_manager", "note", "decision"], "{:?}", world.story);
    assert_eq!(world.acts, ["toy-1/2.1"], "this runbook plans the same whatever it sees");
    // Not counted as a round of repair: there is one more if it does not do.
    let mut world = World { busy_for: 1, usage: [96.0].into(), steps: 1, ..World::default() };
    world.whole();
    assert_eq!(world.acts, ["toy-1/2.1", "toy-1/3.1"]);
    assert_eq!(world.finished, Some(Outcome::Escalated));
}

#[test]
fn what_cleared_while_the_next_step_had_to_wait_is_verified_first() {
    let mut episode = episode();
    episode.on(Event::Begin, &now(0.0));
    episode.on(Event::Gathered(evidence(96.0, 2, 0.9)), &now(1.0));
    episode.on(turn(Mode::Act), &now(2.0));
    episode.on(Event::Performed(effect()), &now(3.0));
    episode.on(Event::Gathered(evidence(90.0, 2, 0.9)), &now(4.0));
    let mut busy = holds();
    busy.package_manager = Observed::fresh(Some("dpkg (pid 7)".into()));
    let busy = Event::Turn { policy: Box::new(policy(Mode::Act)), holds: Box::new(busy), past: Vec::new(), targets: targets() };
    assert!(episode.on(busy, &now(5.0)).iter().any(|c| matches!(c, Command::Wait(_))));
    episode.on(Event::Signals(Vec::new()), &now(6.0));
    episode.on(Event::Timer, &now(20.0));
    let commands = episode.on(turn(Mode::Act), &now(21.0));
    assert!(matches!(&commands[..], [Command::Gather { phase: Phase::Verify, .. }]), "{commands:?}");
}

#[test]
fn what_the_actuator_never_did_is_not_taken_back_and_nobody_is_told_that_it_stands() {
    let open = IntentId("toy-1/1.1".into());
    for outcome in [IntentOutcome::Unknown, IntentOutcome::Refused(Refusal::new(RefusalReason::Cooldown, "x"))] {
        let (mut episode, first) = episode().resume(left(Some(open.clone()), vec![open.clone()]), &now(0.0));
        let mut world = World { usage: [70.0].into(), outcome, ..World::default() };
        world.run(&mut episode, first);
        assert!(world.undone.is_empty() && world.escalated.is_empty(), "{:?}", world.story);
        assert!(world.finished.is_some());
    }
}

#[test]
fn after_a_lost_step_a_held_episode_begins_no_round_of_its_own() {
    // The first round's limit holds, the second round's is lost; then a signal comes again.
    let again = (0..4).flat_map(|_| [Vec::new(), signals()]).collect();
    let perform = [Event::Performed(effect()), Event::Lost { why: "gone".into() }].into();
    let mut world = World { usage: [96.0, 79.5].into(), steps: -1, signals: again, perform, ..World::default() };
    world.whole();
    assert_eq!(world.acts.len(), 2, "{:?}", world.acts);
    assert_eq!((world.finished, world.undone.len()), (Some(Outcome::Escalated), 2));
}

#[test]
fn the_next_look_is_told_what_this_episode_has_done() {
    let mut episode = episode();
    episode.on(Event::Begin, &now(0.0));
    episode.on(Event::Gathered(evidence(96.0, -2, 0.9)), &now(1.0));
    assert!(episode.in_force().is_empty());
    episode.on(turn(Mode::Act), &now(2.0));
    episode.on(Event::Performed(effect()), &now(3.0));
    assert_eq!(episode.in_force(), [limit(0).step]);
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
