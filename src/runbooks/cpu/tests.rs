//! What holds for any evidence of this runbook, and the ladder against the guard. The cases under `fixtures/cases/cpu` are where it starts.

mod blame;

use proptest::prelude::*;
use proptest::sample::select;

use self::blame::{competed, queued};
use super::class::Class;
use super::evidence::{Evidence, Group, Hot};
use super::verify::{after_step, verify};
use super::{Cpu, Params, plan};
use crate::detect::Past;
use crate::guard::{Asked, Circumstances, Holds, Limits, Mode, Policy, admit, never};
use crate::model::{
    AfterStep, Confidence, Diagnosis, HostPath, IncidentId, LimitTo, Now, Observed, Percent, Plan, ProcessTarget, RefusalReason, Seconds,
    Step, StepKind, Subject, Targets, UnitLimit, UnitTarget, Verdict,
};
use crate::runbooks::Runbook;

const CASES: &[&str] = &[
    include_str!("../../../fixtures/cases/cpu/001-the-hypervisor-takes-a-third/evidence.json"),
    include_str!("../../../fixtures/cases/cpu/002-cpus-wait-for-a-slow-disk/evidence.json"),
    include_str!("../../../fixtures/cases/cpu/003-a-quota-that-was-right-last-year/evidence.json"),
    FANOUT,
    include_str!("../../../fixtures/cases/cpu/007-the-new-release-takes-twice-as-much/evidence.json"),
    SPIN,
    ORPHAN,
    STORM,
    include_str!("../../../fixtures/cases/cpu/015-the-whole-fleet-is-busy/evidence.json"),
    include_str!("../../../fixtures/cases/cpu/016-more-requests-than-cpus/evidence.json"),
    include_str!("../../../fixtures/cases/cpu/032-decoy-one-busy-core-of-64/evidence.json"),
    include_str!("../../../fixtures/cases/cpu/034-decoy-a-batch-that-yields-already/evidence.json"),
    include_str!("../../../fixtures/cases/cpu/035-decoy-a-realtime-audio-thread/evidence.json"),
    include_str!("../../../fixtures/cases/cpu/036-decoy-the-kernel-reclaims-memory/evidence.json"),
    include_str!("../../../fixtures/cases/cpu/046-three-parts-of-four-slow-it-down-and-do-not-end-it/evidence.json"),
];
const SPIN: &str = include_str!("../../../fixtures/cases/cpu/008-an-indexer-spins-on-all-cpus/evidence.json");
const FANOUT: &str = include_str!("../../../fixtures/cases/cpu/005-a-report-runs-over-itself/evidence.json");
const STORM: &str = include_str!("../../../fixtures/cases/cpu/013-a-script-calls-itself/evidence.json");
const ORPHAN: &str = include_str!("../../../fixtures/cases/cpu/010-an-orphan-left-behind-by-a-deploy-script/evidence.json");

fn read(case: &str) -> Evidence {
    serde_json::from_str(case).unwrap()
}

fn willing() -> Params {
    let limits = Limits { steps: StepKind::ALL.into(), processes: vec!["node".into()], ..Limits::default() };
    Params { limits, ..Params::default() }
}

fn decide(e: &Evidence) -> (Diagnosis, Plan) {
    let now = e.taken.clone();
    let diagnosis = Cpu::classify(e, &willing(), &now);
    let plan = Cpu::plan(e, &diagnosis, &willing(), &now);
    (diagnosis, plan)
}

fn change<T>(part: &mut Observed<T>, how: impl FnOnce(&mut T)) {
    if let Observed::Value { value, .. } = part {
        how(value);
    }
}

fn busy(e: &mut Evidence, percent: f64) {
    change(&mut e.host, |host| (host.busy, host.user, host.system) = (Percent(percent), Percent(percent), Percent(0.0)));
}

fn group(e: &mut Evidence, unit: &str, how: impl FnOnce(&mut Group)) {
    change(&mut e.groups, |groups| how(groups.iter_mut().find(|g| g.unit.as_deref() == Some(unit)).unwrap()));
}

fn hottest(e: &mut Evidence, how: impl FnOnce(&mut Hot)) {
    change(&mut e.processes, |processes| how(&mut processes[0]));
}

fn unit(e: &mut Evidence, name: &str, how: impl FnOnce(&mut crate::model::UnitFacts)) {
    change(&mut e.units.iter_mut().find(|u| u.name == name).unwrap().facts, how);
}

/// What the guard would see right before the act, if nothing has changed since it was examined.
fn targets(e: &Evidence, step: &Step) -> Targets {
    let seen = |pid| {
        let found = e.processes.value().into_iter().flatten().filter_map(|p| p.watched.value()).find(|w| w.facts.pid == pid);
        found.map_or_else(|| Observed::unavailable("gone"), |w| Observed::fresh(w.facts.clone()))
    };
    Targets { unit: step.unit().and_then(|name| e.unit(name)).cloned(), processes: step.processes().iter().map(|p| seen(p.pid)).collect() }
}

fn asked(e: &Evidence, diagnosis: &Diagnosis, step: &Step, policy: &Policy) -> Result<(), RefusalReason> {
    let holds = Holds {
        paused: None,
        package_manager: Observed::fresh(None),
        shutting_down: Observed::fresh(false),
        host_view: Observed::fresh(true),
        another_episode: None,
        ledger: Observed::fresh(()),
    };
    let incident = IncidentId::new(&Cpu::ID, e.taken.wall, 1);
    let asked = Asked { incident: &incident, runbook: &Cpu::ID, subject: &e.subject, step, confidence: diagnosis.confidence };
    let (targets, now) = (targets(e, step), e.taken.clone());
    let here = Circumstances { policy, holds: &holds, past: &[], targets: &targets, now: &now };
    admit(asked, here).map(|_| ()).map_err(|refusal| refusal.reason)
}

fn policy() -> Policy {
    Policy { mode: Mode::Act, runbook_allowed: true, limits: willing().limits }
}

fn kinds(plan: &Plan) -> Vec<StepKind> {
    plan.steps.iter().map(|s| s.step.kind()).collect()
}

#[test]
fn a_consenting_runaway_is_admitted_rung_by_rung_and_nobody_else_is() {
    for (case, ladder) in [
        (SPIN, &[StepKind::OomPreference, StepKind::CpuWeight, StepKind::CpuQuota, StepKind::RestartUnit, StepKind::KillProcess][..]),
        (ORPHAN, &[StepKind::OomPreference, StepKind::CalmProcess, StepKind::KillProcess][..]),
    ] {
        let e = read(case);
        let (diagnosis, plan) = decide(&e);
        assert_eq!((diagnosis.class.as_str(), &kinds(&plan)[..]), ("runaway_process", ladder));
        for planned in &plan.steps {
            assert_eq!(asked(&e, &diagnosis, &planned.step, &policy()), Ok(()), "{:?}", planned.step);
        }
        // The same plan where nobody has opted in: every step is refused for that.
        let mut shy = e.clone();
        if case == SPIN {
            unit(&mut shy, "indexer.service", |facts| facts.restart_safe = false);
        }
        let limits = Limits { processes: vec![], ..policy().limits };
        let (diagnosis, plan) = decide(&shy);
        assert_eq!(&kinds(&plan)[..], ladder);
        for planned in &plan.steps {
            let refused = asked(&shy, &diagnosis, &planned.step, &Policy { limits: limits.clone(), ..policy() });
            assert_eq!(refused, Err(RefusalReason::NoOptIn), "{:?}", planned.step);
        }
    }
}

#[test]
fn each_part_of_a_runaway_that_is_missing_keeps_it_alive() {
    let class = |how: &dyn Fn(&mut Hot)| {
        let mut e = read(SPIN);
        hottest(&mut e, how);
        let (diagnosis, plan) = decide(&e);
        (diagnosis.class, diagnosis.confidence < Confidence::TO_KILL, kinds(&plan).contains(&StepKind::KillProcess))
    };
    let watched = |how: fn(&mut super::Watched)| class(&move |p: &mut Hot| change(&mut p.watched, how));
    let runaway = || "runaway_process".to_owned();
    let legitimate = || ("legitimate_load".to_owned(), false, false);
    assert_eq!(class(&|_| ()), (runaway(), false, true));
    assert_eq!(class(&|p| p.past.as_mut().unwrap().flat_out.0 = 119.0), (runaway(), true, false), "not flat out for long");
    assert_eq!(class(&|p| p.past.as_mut().unwrap().cpu_usual = Some(Percent(200.0))), (runaway(), true, false), "as usual, and no orphan");
    assert_eq!(watched(|w| w.io_bytes_per_s = Observed::fresh(4096.0)), legitimate());
    assert_eq!(watched(|w| w.voluntary_per_s = 50.0), legitimate());
    assert_eq!(watched(|w| w.facts.nice = 10), legitimate());
    assert_eq!(watched(|w| w.facts.idle_class = true), legitimate());
    assert!(!watched(|w| w.facts.realtime = true).2);
    assert_eq!(watched(|w| w.facts.kernel_thread = true).0, "unknown");
    assert_eq!(watched(|w| w.io_bytes_per_s = Observed::unavailable("EACCES")).0, "unknown");
    let mut shared = read(SPIN);
    group(&mut shared, "indexer.service", |g| g.cpu = Percent(800.0));
    assert_eq!(decide(&shared).0.class, "unknown", "one of many in its unit");
}

#[test]
fn what_leaves_no_room_for_a_smaller_limit_is_not_limited_again() {
    let mut e = read(SPIN);
    unit(&mut e, "indexer.service", |facts| (facts.cpu_quota_percent, facts.cpu_weight) = (Some(22), Some(10)));
    assert_eq!(kinds(&decide(&e).1), [StepKind::OomPreference, StepKind::RestartUnit, StepKind::KillProcess]);
    unit(&mut e, "indexer.service", |facts| (facts.cpu_quota_percent, facts.cpu_weight) = (Some(23), Some(11)));
    assert!(kinds(&decide(&e).1).contains(&StepKind::CpuQuota));
}

#[test]
fn what_was_too_cool_to_be_followed_is_measured_by_its_group() {
    let told = |own: Option<f64>, of_group: f64, age_s: f64| {
        let mut e = read(SPIN);
        hottest(&mut e, |p| {
            p.past = p.past.take().map(|past| Past { cpu_usual: own.map(Percent), ..past });
            change(&mut p.watched, |w| w.facts.age_s = age_s);
        });
        group(&mut e, "indexer.service", |g| {
            g.past = g.past.take().map(|past| Past { over: Seconds(1200.0), cpu_usual: Some(Percent(of_group)), ..past });
        });
        decide(&e).0.summary.contains("far beyond its usual")
    };
    assert!(told(Some(3.0), 3.0, 5000.0));
    assert!(told(None, 3.0, 1200.0), "it was there all the time that the group was followed");
    assert!(!told(None, 3.0, 1199.0), "what has begun meanwhile has no usual yet");
    assert!(!told(None, 300.0, 5000.0), "its group is as it always is");
    assert!(!told(Some(300.0), 3.0, 5000.0), "its own counts where it is known");
}

/// As it is a moment after a quota: the host has room, and the unit is held back.
fn after_quota() -> Evidence {
    let mut e = read(SPIN);
    busy(&mut e, 12.0);
    hottest(&mut e, |p| p.cpu = Percent(22.0));
    group(&mut e, "indexer.service", |g| (g.cpu, g.throttled) = (Percent(22.0), Some(Percent(97.0))));
    unit(&mut e, "indexer.service", |facts| facts.cpu_quota_percent = Some(22));
    e
}

/// The same, and the quota is this agent's.
fn held_by_us() -> Evidence {
    let target = UnitTarget { unit: "indexer.service".into(), invocation: "1f".into() };
    Evidence { in_force: vec![Step::LimitUnit(UnitLimit { target, limit: LimitTo::CpuQuota(22) })], ..after_quota() }
}

#[test]
fn what_this_episode_has_done_is_not_the_offenders_own_doing() {
    let mut calmed = read(ORPHAN);
    hottest(&mut calmed, |p| change(&mut p.watched, |w| (w.facts.idle_class, w.facts.nice) = (true, 19)));
    assert_ne!(decide(&calmed).0.class, "runaway_process", "it yields, as far as is known");
    let Some(hot) = calmed.processes.value().and_then(|hot| hot.first()).cloned() else { panic!("no process") };
    let process = ProcessTarget { pid: hot.pid, start_ticks: hot.start_ticks, comm: hot.comm.clone(), unit: None };
    calmed.in_force = vec![Step::CalmProcess(process)];
    let (diagnosis, plan) = decide(&calmed);
    assert_eq!(diagnosis.class, "runaway_process", "it was made to");
    assert_eq!(kinds(&plan), [StepKind::OomPreference, StepKind::KillProcess]);

    assert_eq!(decide(&after_quota()).0.class, "limit_throttling");
    assert_ne!(decide(&held_by_us()).0.class, "limit_throttling", "nobody has to raise a quota of ours");
}

fn is_unresolved(verdict: &Verdict, with: &str) -> bool {
    matches!(verdict, Verdict::NotResolved { why } if why.contains(with))
}

#[test]
fn a_quota_that_is_pressed_against_is_enough_and_resolves_nothing() {
    let (p, before, after) = (Params::default(), read(SPIN), held_by_us());
    assert!(matches!(after_step(&before, &after, &p), AfterStep::Enough { .. }));
    assert!(is_unresolved(&verify(&before, &after, &p), "indexer.service presses against CPUQuota=22%"));
    // In the second round what is compared with has the quota as well.
    assert!(is_unresolved(&verify(&after, &after, &p), "presses against"));
    let mut gone = after.clone();
    group(&mut gone, "indexer.service", |g| (g.cpu, g.throttled) = (Percent(1.0), Some(Percent(24.0))));
    change(&mut gone.pressure, |w| (w.window, w.avg10) = (Percent(2.0), Percent(2.0)));
    assert!(matches!(verify(&before, &gone, &p), Verdict::Resolved { .. }));
    // An owner's quota is where he wants the unit to be, whether or not it was seen before: it keeps nobody else's limit standing.
    let mut pod = before.clone();
    group(&mut pod, "indexer.service", |g| g.throttled = Some(Percent(97.0)));
    unit(&mut pod, "indexer.service", |facts| facts.cpu_quota_percent = Some(22));
    for before in [&mut pod, &mut before.clone()] {
        change(&mut before.pressure, |w| w.avg10 = Percent(99.0));
        assert!(matches!(verify(before, &after_quota(), &p), Verdict::Resolved { .. }));
    }
}

#[test]
fn the_second_look_at_a_limited_unit_plans_nothing_more() {
    let (diagnosis, plan) = decide(&after_quota());
    assert_eq!((diagnosis.class.as_str(), plan.steps.len()), ("limit_throttling", 0));
}

#[test]
fn a_weight_is_enough_when_others_had_to_wait_and_do_not_any_more() {
    let (p, before) = (Params::default(), read(SPIN));
    let mut after = before.clone();
    assert!(matches!(after_step(&before, &after, &p), AfterStep::Continue { .. }));
    group(&mut after, "nginx.service", |g| g.waiting = Some(Percent(2.0)));
    assert!(matches!(after_step(&before, &after, &p), AfterStep::Continue { .. }), "nothing of ours is in force");
    unit(&mut after, "indexer.service", |facts| facts.cpu_weight = Some(10));
    assert!(matches!(after_step(&before, &after, &p), AfterStep::Enough { .. }));
    assert!(is_unresolved(&verify(&before, &after, &p), "busy 99.0 %"), "the cause is still there");
    assert!(matches!(after_step(&after, &after, &p), AfterStep::Enough { .. }), "and stays enough: no harder step follows by itself");
    group(&mut after, "nginx.service", |g| g.waiting = Some(Percent(20.0)));
    assert!(matches!(after_step(&before, &after, &p), AfterStep::Continue { .. }));
    let mut calm = before.clone();
    group(&mut calm, "nginx.service", |g| g.waiting = Some(Percent(3.0)));
    group(&mut after, "nginx.service", |g| g.waiting = Some(Percent(1.0)));
    assert!(matches!(after_step(&calm, &after, &p), AfterStep::Continue { .. }), "nobody had to wait");
}

#[test]
fn resolved_is_under_the_floor_with_pressure_falling_and_no_storm() {
    let (p, before) = (Params::default(), read(SPIN));
    let told = |percent: f64, avg10: f64, forks: f64| {
        let mut e = before.clone();
        busy(&mut e, percent);
        change(&mut e.host, |h| h.forks_per_s = forks);
        change(&mut e.pressure, |w| (w.window, w.avg10) = (Percent(avg10), Percent(avg10)));
        verify(&before, &e, &p)
    };
    assert!(matches!(told(69.9, 71.9, 5.0), Verdict::Resolved { .. }), "falling from 72");
    assert!(is_unresolved(&told(70.0, 20.0, 5.0), "under 70.0 %"));
    assert!(is_unresolved(&told(50.0, 72.0, 5.0), "still waits"));
    assert!(is_unresolved(&told(50.0, 20.0, 501.0), "501 processes"));
    assert!(is_unresolved(&told(80.0, 20.0, 5.0), "indexer (pid 5120) 396 %"), "who it is, before and now");
}

#[test]
fn a_process_is_judged_by_its_own_figure() {
    let (p, before) = (Params::default(), read(ORPHAN));
    assert!(matches!(after_step(&before, &before, &p), AfterStep::Continue { .. }));
    assert!(is_unresolved(&verify(&before, &before, &p), "still takes 100.0 %"));
    let mut cool = before.clone();
    hottest(&mut cool, |hot| hot.cpu = Percent(89.0));
    assert!(matches!(verify(&before, &cool, &p), Verdict::Resolved { .. }));
    change(&mut cool.processes, Vec::clear);
    assert!(matches!(verify(&before, &cool, &p), Verdict::Resolved { .. }), "gone");
    // Another one with its pid is not it.
    let mut reused = before.clone();
    hottest(&mut reused, |hot| hot.start_ticks += 1);
    assert!(matches!(verify(&before, &reused, &p), Verdict::Resolved { .. }));
    let unread = Evidence { processes: Observed::unavailable("EIO"), ..before.clone() };
    assert!(matches!(verify(&before, &unread, &p), Verdict::Unknown { .. }));
}

#[test]
fn what_cannot_be_seen_is_neither_enough_nor_resolved() {
    let (p, before) = (Params::default(), read(SPIN));
    for part in [0, 3] {
        let mut after = after_quota();
        take(&mut after, part);
        assert!(matches!(verify(&before, &after, &p), Verdict::Unknown { .. }), "part {part}");
    }
    let mut after = after_quota();
    take(&mut after, 0);
    assert!(matches!(after_step(&before, &after, &p), AfterStep::Abort { .. }));
    group(&mut after, "indexer.service", |g| g.throttled = None);
    let mut after = Evidence { pressure: Observed::unavailable("EIO"), ..after_quota() };
    group(&mut after, "indexer.service", |g| g.throttled = None);
    assert!(matches!(verify(&before, &after, &p), Verdict::Unknown { .. }));
}

const PARTS: usize = 10;

/// Takes one part of the evidence away.
fn take(e: &mut Evidence, part: usize) {
    let why = "could not be read";
    let each = |e: &mut Evidence, how: fn(&mut Hot)| change(&mut e.processes, |all| all.iter_mut().for_each(how));
    match part {
        0 => e.host = Observed::unavailable(why),
        1 => e.pressure = Observed::unavailable(why),
        2 => e.processes = Observed::unavailable(why),
        3 => e.groups = Observed::unavailable(why),
        4 => e.io_pressure = Observed::unavailable(why),
        5 => e.cron = Observed::unavailable(why),
        6 => e.deploys = Observed::unavailable(why),
        7 => each(e, |p| p.watched = Observed::unavailable("could not be read")),
        8 => each(e, |p| change(&mut p.watched, |w| w.io_bytes_per_s = Observed::unavailable("could not be read"))),
        _ => each(e, |p| change(&mut p.watched, |w| w.orphan = Observed::unavailable("could not be read"))),
    }
}

/// The cases with their figures bent.
fn evidence() -> impl Strategy<Value = Evidence> {
    let load = (0.0..100.0f64, 0.0..40.0f64, 0.0..40.0f64, prop_oneof![3 => 0.0..100.0f64, 1 => 0.0..3000.0f64]);
    let share = || prop_oneof![2 => Just(None), 1 => (0.0..100.0f64).prop_map(|p| Some(Percent(p)))];
    let hot = (0.0..900.0f64, 0.0..9000.0f64, 0.0..100.0f64, any::<bool>(), 0i32..20, 0.0..300.0f64);
    let parts = proptest::collection::vec(any::<bool>().prop_map(|gone| gone), PARTS).prop_map(|v| v);
    let cases: Vec<Evidence> = CASES.iter().map(|case| read(case)).chain([competed(), queued()]).collect();
    (select(cases), any::<bool>(), load, share(), hot, share(), parts).prop_map(|(case, bent, load, throttled, hot, fleet, parts)| {
        let mut e = case;
        if bent {
            let (cpu, io, waits, orphan, nice, flat) = hot;
            change(&mut e.host, |h| {
                (h.iowait, h.steal, h.forks_per_s) = (Percent(load.1), Percent(load.2), load.3);
                h.busy = Percent(load.0);
            });
            change(&mut e.groups, |groups| groups.iter_mut().for_each(|g| g.throttled = throttled));
            hottest(&mut e, |p| {
                p.cpu = Percent(cpu);
                change(&mut p.watched, |w| {
                    (w.io_bytes_per_s, w.voluntary_per_s, w.orphan) = (Observed::fresh(io), waits, Observed::fresh(orphan));
                    w.facts.nice = nice - 5;
                });
                if let Some(past) = &mut p.past {
                    past.flat_out.0 = flat;
                }
            });
            e.fleet_saturated = fleet;
        }
        // One part in sixteen or so is missing already.
        if parts.iter().filter(|gone| **gone).count() >= 7 {
            take(&mut e, parts.iter().position(|gone| *gone).unwrap_or(0));
        }
        e
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn less_evidence_never_raises_confidence(e in evidence()) {
        let all = decide(&e).0;
        for part in 0..PARTS {
            let mut less = e.clone();
            take(&mut less, part);
            let told = decide(&less).0;
            prop_assert!(told.confidence <= all.confidence, "{} {} -> {} {} without part {part}", all.class, all.confidence, told.class, told.confidence);
        }
    }

    #[test]
    fn older_evidence_never_raises_confidence(e in evidence(), later_s in 0.0..2000.0f64) {
        let later = Now { uptime_s: e.taken.uptime_s + later_s, ..e.taken.clone() };
        prop_assert!(Cpu::classify(&e, &willing(), &later).confidence <= decide(&e).0.confidence);
    }

    #[test]
    fn without_a_needed_part_nothing_is_done(e in evidence()) {
        for part in [0, 3] {
            let mut less = e.clone();
            take(&mut less, part);
            let (diagnosis, plan) = decide(&less);
            prop_assert!(plan.steps.is_empty() || diagnosis.confidence < Confidence::TO_ACT, "{} without part {part}", diagnosis.class);
        }
        for part in [2, 7, 8] {
            let mut less = e.clone();
            take(&mut less, part);
            let (diagnosis, plan) = decide(&less);
            let of_process = plan.steps.iter().any(|s| matches!(s.step, Step::KillProcess { .. } | Step::CalmProcess(_) | Step::PreferVictims(_)));
            let by_group = matches!(Class::named(&diagnosis.class), Class::CronFanout | Class::ForkStorm);
            prop_assert!(by_group || !of_process || diagnosis.confidence < Confidence::TO_ACT, "{} without part {part}", diagnosis.class);
        }
    }

    #[test]
    fn a_plan_holds_nothing_that_can_never_be_and_is_sorted_by_harm(e in evidence()) {
        let (diagnosis, plan) = decide(&e);
        let class = Class::named(&diagnosis.class);
        let acts = matches!(class, Class::RunawayProcess | Class::CronFanout | Class::ForkStorm);
        prop_assert!(acts || plan.steps.is_empty(), "{}", diagnosis.class);
        prop_assert!(e.fleet_saturated.is_none_or(|share| share.0 <= 80.0) || plan.steps.is_empty());
        let order: Vec<_> = plan.steps.iter().map(|s| StepKind::ALL.iter().position(|k| *k == s.step.kind())).collect();
        prop_assert!(order.is_sorted());
        for planned in &plan.steps {
            prop_assert!(plan::STEPS.contains(&planned.step.kind()));
            prop_assert!(planned.step.unit().is_none_or(|unit| never::unit(unit).is_none() && !never::stateful_unit(unit, &[])));
            for target in planned.step.processes() {
                prop_assert_eq!(never::process(target.pid, target.comm.as_bytes()), None);
                let hot = e.process(target.pid, target.start_ticks).and_then(|p| p.watched.value());
                prop_assert!(hot.is_none_or(|w| !w.facts.kernel_thread && !w.facts.realtime));
            }
            if planned.step.kind() == StepKind::KillProcess {
                prop_assert!(diagnosis.confidence >= Confidence::TO_KILL);
            }
        }
        let always = super::class::CLASSES.iter().any(|c| c.name == diagnosis.class && c.always_escalates);
        if !e.signals.is_empty() && (always || diagnosis.confidence < Confidence::TO_ACT) {
            prop_assert!(plan.escalate.is_some(), "{}", diagnosis.class);
        }
        for text in plan.follow_ups.iter().flat_map(|f| [&f.command, &f.why]).chain(&plan.escalate).chain([&diagnosis.summary]) {
            prop_assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn nothing_is_resolved_that_is_too_busy_or_not_seen(before in evidence(), after in evidence()) {
        let resolved = matches!(verify(&before, &after, &willing()), Verdict::Resolved { .. });
        let room = after.host.value().is_some_and(|h| h.busy.0 < 70.0);
        prop_assert!(!resolved || room);
        let enough = matches!(after_step(&before, &after, &willing()), AfterStep::Enough { .. });
        prop_assert!(!enough || room || after.subject == Subject::Host);
    }
}

#[test]
fn names_chosen_by_somebody_hostile_stay_on_one_line_and_one_word() {
    let mut e = read(SPIN);
    let hostile = HostPath::from_bytes(*b"\x1b[31m\n$(reboot)'");
    hottest(&mut e, |p| {
        p.comm = hostile.clone();
        change(&mut p.watched, |w| w.facts.comm = hostile.clone());
    });
    let (diagnosis, plan) = decide(&e);
    let told = plan.follow_ups.iter().flat_map(|f| [&f.command, &f.why]).chain(&plan.escalate).chain([&diagnosis.summary]);
    assert!(told.clone().all(|text| !text.chars().any(char::is_control)));
    assert!(plan.follow_ups.iter().all(|f| !f.command.contains("reboot")), "a command names pids and units, never a process's own name");
}
