//! Who is not behind it: nobody when it is over, and nobody for what is page cache, little, or all that it ever has.

use super::super::{Evidence, Group, Kill};
use super::*;
use crate::detect::{Growth, Past};

const MIB: u64 = 1 << 20;
const WORKER: &str = "001-a-worker-eats-the-host";
const JOB: &str = "026-a-job-that-began-stalls-the-host";
const LEAK: &str = "004-a-service-leaks-up-to-its-limit";
const AGAIN: &str = "023-killed-again-after-four-restarts";

fn change(evidence: &mut Evidence, name: &str, change: impl FnOnce(&mut Group)) {
    if let Observed::Value { value, .. } = &mut evidence.groups {
        change(value.iter_mut().find(|g| g.unit.as_deref() == Some(name)).unwrap());
    }
}

fn past(group: &mut Group, change: impl FnOnce(&mut Past)) {
    match &mut group.past {
        Observed::Value { value, .. } => change(value),
        Observed::Unavailable { why } => panic!("{why}"),
    }
}

fn has_run_for(group: &mut Group, s: f64) {
    match &mut group.facts {
        Observed::Value { value, .. } => value.active_for_s = s,
        Observed::Unavailable { why } => panic!("{why}"),
    }
}

fn growth(gained: u64, over_s: f64) -> Option<Growth> {
    Some(Growth { bytes_per_s: gained as f64 / over_s, inodes_per_s: 0.0, over: Seconds(over_s) })
}

fn class(evidence: &Evidence) -> (String, f64) {
    let diagnosis = decide(evidence, &willing()).0;
    (diagnosis.class, (diagnosis.confidence.get() * 100.0).round() / 100.0)
}

fn nobody(evidence: &Evidence) -> (Diagnosis, Plan) {
    let (diagnosis, plan) = decide(evidence, &willing());
    assert_eq!((&*diagnosis.class, &diagnosis.behind, plan.steps.len()), ("unknown", &None, 0), "{}", diagnosis.summary);
    assert_eq!(diagnosis.confidence.get(), 0.0);
    (diagnosis, plan)
}

fn killed(victim: &str, pid: u32, cgroup: &str, ago_s: f64) -> Observed<Vec<Kill>> {
    let (victim, cgroup, text) = (victim.into(), Some(cgroup.into()), "Out of memory: Killed process".into());
    Observed::fresh(vec![Kill { ago_s, victim, pid: Some(pid), cgroup, text }])
}

#[test]
fn a_stall_that_is_over_makes_nobody_guilty_and_the_killed_is_named() {
    let mut e = case(JOB);
    used(&mut e, 24.0);
    // The average tells of the seconds before as well: it decides nothing.
    for pressure in [(16.0, 12.0), CALM] {
        e.pressure = Observed::fresh(psi(pressure));
        e.oom_kills = killed("python3", 8800, "/system.slice/nightly.service", 11.0);
        let (diagnosis, plan) = nobody(&e);
        for text in [&diagnosis.summary, plan.escalate.as_ref().unwrap()] {
            assert!(text.contains("is over") && text.contains("killed python3 (pid 8800) of nightly.service 11"), "{text}");
        }
        e.oom_kills = Observed::fresh(vec![]);
        assert!(!nobody(&e).0.summary.contains("killed"));
    }
    used(&mut e, 84.9);
    nobody(&e);
}

#[test]
fn who_is_held_by_a_limit_of_its_own_on_a_host_with_plenty_is_let_be() {
    let mut e = case("024-a-limit-is-all-that-holds-it");
    assert_eq!(class(&e).0, "noisy_neighbor");
    used(&mut e, 40.0);
    let summary = nobody(&e).0.summary;
    assert!(summary.contains("report.service waits at its own MemoryHigh") && !summary.contains("over"), "{summary}");
}

#[test]
fn a_unit_that_was_killed_and_is_well_again_is_told_of_and_not_restarted() {
    let mut e = case(AGAIN);
    assert_eq!(class(&e).0, "memory_leak");
    let set = |e: &mut Evidence, bytes: u64| {
        change(e, "shop.service", |g| (g.used.memory_bytes, g.used.working_set_bytes) = (Some(bytes), Some(bytes)));
    };
    set(&mut e, 600 * MIB);
    let (diagnosis, plan) = nobody(&e);
    assert!(diagnosis.summary.contains("killed java (pid 5199) of shop.service"), "{}", diagnosis.summary);
    assert!(plan.escalate.unwrap().contains("is over"));
    // Another's kill is not its own.
    e.oom_kills = killed("python3", 8800, "/system.slice/nightly.service", 11.0);
    assert!(!nobody(&e).0.summary.contains("python3"));
    // Without a limit the host's memory is its limit, and the host has plenty.
    set(&mut e, 1536 * MIB);
    assert_eq!(class(&e).0, "memory_leak");
    change(&mut e, "shop.service", |g| g.used.memory_max_bytes = None);
    nobody(&e);
    // What it has explains what the host lacks, or not.
    used(&mut e, 94.0);
    assert!(decide(&e, &willing()).0.confidence < Confidence::TO_ACT);
}

#[test]
fn restarts_long_ago_make_no_leak_of_what_hardly_rises_or_has_just_begun() {
    let rises = |bytes_per_s: f64, age_s: f64| {
        let mut e = case(AGAIN);
        change(&mut e, "shop.service", |g| {
            past(g, |past| past.lately = Some(Growth { bytes_per_s, inodes_per_s: 0.0, over: Seconds(295.0) }));
            has_run_for(g, age_s);
        });
        class(&e).0
    };
    let percent_a_minute = 1536.0 * MIB as f64 / 100.0 / 60.0;
    assert_eq!(rises(percent_a_minute * 1.01, 900.0), "memory_leak");
    assert_eq!(rises(percent_a_minute * 0.99, 900.0), "unknown");
    assert_eq!(rises(percent_a_minute * 5.0, 599.0), "unknown", "it fills up, as it always does");
}

#[test]
fn an_excess_must_be_worth_it() {
    let with = |excess: u64, total: u64| {
        let mut e = case(WORKER);
        if let Observed::Value { value, .. } = &mut e.memory {
            value.total = Bytes(total);
        }
        used(&mut e, 94.0);
        e.processes = Observed::fresh(vec![]);
        change(&mut e, "report.service", |g| {
            let bytes = Some(20 * MIB + excess);
            (g.used.memory_bytes, g.used.working_set_bytes) = (bytes, bytes);
            past(g, |past| (past.memory_usual, past.growth) = (Some(Bytes(20 * MIB)), None));
        });
        class(&e).0
    };
    assert_eq!((&*with(32 * MIB, GIB), &*with(31 * MIB, GIB)), ("noisy_neighbor", "unknown"));
    assert_eq!((&*with(164 * MIB, 16 * GIB), &*with(163 * MIB, 16 * GIB)), ("noisy_neighbor", "unknown"), "a hundredth of the host");
}

#[test]
fn a_host_that_is_hardly_short_is_not_explained_by_little() {
    let mut e = case(WORKER);
    used(&mut e, 85.5);
    e.processes = Observed::fresh(vec![]);
    change(&mut e, "report.service", |g| {
        let bytes = Some(700 * MIB);
        (g.used.memory_bytes, g.used.working_set_bytes) = (bytes, bytes);
        past(g, |past| (past.memory_usual, past.growth) = (Some(Bytes(400 * MIB)), None));
    });
    let (diagnosis, _) = decide(&e, &willing());
    assert!(diagnosis.class == "noisy_neighbor" && diagnosis.confidence < Confidence::TO_ACT, "{}", diagnosis.confidence);
}

#[test]
fn what_grew_by_page_cache_is_not_blamed() {
    let with = |set: Option<u64>, processes_gained: u64| {
        let mut e = case(WORKER);
        change(&mut e, "report.service", |g| {
            (g.used.memory_bytes, g.used.working_set_bytes) = (Some(6 * GIB), set);
            past(g, |past| (past.memory_usual, past.growth) = (Some(Bytes(4 * GIB)), growth(4 * GIB, 14_400.0)));
        });
        if let Observed::Value { value, .. } = &mut e.processes {
            for process in value.iter_mut() {
                if let Observed::Value { value: past, .. } = &mut process.past {
                    past.growth = growth(processes_gained, 14_400.0);
                }
            }
        }
        class(&e).0
    };
    assert_eq!(with(Some(2 * GIB), 0), "unknown", "four of its six GiB are files that were read, and so is what it gained");
    assert_eq!(with(Some(2 * GIB), 2 * GIB), "memory_leak", "its own processes have gained it");
    assert_eq!(with(Some(6 * GIB), 0), "noisy_neighbor");
    assert_eq!(with(None, 4 * GIB), "unknown", "it may all be page cache");
}

#[test]
fn who_has_just_begun_is_as_sure_as_it_is_known_to_have_had_nothing_before() {
    let mut e = case(JOB);
    assert_eq!(class(&e), ("noisy_neighbor".into(), 0.85));
    let watched = |e: &mut Evidence, s: f64| change(e, "nginx.service", |g| past(g, |past| past.over = Seconds(s)));
    watched(&mut e, 640.0);
    assert_eq!(class(&e).1, 0.85);
    watched(&mut e, 639.0);
    assert_eq!(class(&e).1, 0.75, "it may be a service that has been started anew, with what it always has");
    let (diagnosis, plan) = decide(&e, &willing());
    assert!(diagnosis.confidence >= Confidence::TO_ACT);
    let kinds: Vec<StepKind> = plan.steps.iter().map(|s| s.step.kind()).collect();
    assert_eq!(kinds, [StepKind::OomPreference, StepKind::MemoryHigh], "a restart begins the same again");
}

#[test]
fn who_was_started_anew_has_not_gained_what_the_run_before_had() {
    let with = |age_s: f64| {
        let mut e = case(WORKER);
        e.processes = Observed::fresh(vec![]);
        change(&mut e, "report.service", |g| {
            let bytes = Some(2 * GIB);
            (g.used.memory_bytes, g.used.working_set_bytes) = (bytes, bytes);
            past(g, |past| past.memory_usual = Some(Bytes(2 * GIB)));
            has_run_for(g, age_s);
        });
        class(&e).0
    };
    assert_eq!((&*with(601.0), &*with(599.0)), ("memory_leak", "unknown"));
}

#[test]
fn a_stall_counts_as_pressure_while_it_is_of_now() {
    let with = |age_s: f64, pressure: (f64, f64)| {
        let mut e = case(JOB);
        e.pressure = Observed::fresh(psi(pressure));
        for signal in &mut e.signals {
            signal.since = Now { uptime_s: e.taken.uptime_s - age_s, ..e.taken.clone() };
        }
        class(&e).0
    };
    assert_eq!(with(10.0, CALM), "noisy_neighbor", "the averages come later than the kernel's word");
    assert_eq!(with(10.5, CALM), "unknown");
    assert_eq!(with(60.0, (3.0, 1.0)), "noisy_neighbor");
}

#[test]
fn what_is_asked_of_a_unit_that_has_all_it_needs_is_no_reason_to_restart_it() {
    let mut e = case(LEAK);
    assert_eq!(class(&e).0, "memory_leak");
    let limit = 2 * GIB;
    for (share, says) in [(701, "memory_leak"), (699, "unknown")] {
        change(&mut e, "shop.service", |g| {
            let bytes = Some(limit / 1000 * share);
            (g.used.memory_bytes, g.used.working_set_bytes) = (bytes, bytes);
        });
        assert_eq!(class(&e).0, says, "{share}");
    }
}
