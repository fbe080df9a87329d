//! Who is blamed: what was flat out and has to share, whoever looks, what is only large, and what merely runs beside it.

use super::*;

/// Two CPUs, all taken: the orphan was flat out until whoever looks began to look.
pub(super) fn competed() -> Evidence {
    let mut e = read(ORPHAN);
    busy(&mut e, 99.0);
    hottest(&mut e, |p| {
        (p.cpu, p.past) = (Percent(59.0), None);
        change(&mut p.watched, |w| (w.voluntary_per_s, w.involuntary_per_s) = (0.0, 80.0));
    });
    rival(&mut e, "byteport-agent", 64.0);
    e
}

/// One more process, of one thread, in its place among the hottest.
fn rival(e: &mut Evidence, comm: &str, cpu: f64) {
    change(&mut e.processes, |all| {
        let watched = Observed::unavailable("not among the hottest when the look began");
        let (pid, start_ticks) = (9000 + all.len() as u32, 90_000);
        all.push(Hot { pid, start_ticks, comm: comm.into(), cpu: Percent(cpu), threads: 1, past: None, watched });
        all.sort_by(|a, b| b.cpu.0.total_cmp(&a.cpu.0));
    });
}

fn orphan(e: &mut Evidence, how: impl FnOnce(&mut Hot)) {
    change(&mut e.processes, |all| how(all.iter_mut().find(|p| p.pid == 6001).unwrap()));
}

#[test]
fn what_was_flat_out_for_its_time_is_still_so_while_others_compete_with_it() {
    let class = |how: &dyn Fn(&mut Evidence)| {
        let mut e = competed();
        how(&mut e);
        let (diagnosis, plan) = decide(&e);
        (diagnosis.class, kinds(&plan).contains(&StepKind::KillProcess))
    };
    let runaway = || ("runaway_process".to_owned(), true);
    let watched = |how: fn(&mut super::super::Watched)| class(&move |e: &mut Evidence| orphan(e, |p| change(&mut p.watched, how)));
    assert_eq!(class(&|_| ()), runaway());
    // The host's episode, which the signal has joined, and somebody as hot for a second.
    assert_eq!(class(&|e| (e.subject, _) = (Subject::Host, rival(e, "cc1", 60.0))), runaway());
    for (how, what) in [
        (class(&|e| e.signals.clear()), "nothing was held for its time"),
        (class(&|e| busy(e, 80.0)), "a CPU had room for it"),
        (class(&|e| rival(e, "cc1", 90.0)), "somebody else wants more"),
        (class(&|e| orphan(e, |p| p.cpu = Percent(20.0))), "next to nothing is not flat out"),
        (watched(|w| w.involuntary_per_s = 0.0), "it gave the CPU away by itself"),
        (watched(|w| w.voluntary_per_s = 81.0), "it waits for something"),
    ] {
        assert!(!how.1, "{what}: {how:?}");
    }
}

#[test]
fn who_alone_keeps_the_host_from_being_well_is_behind_it_also_where_others_run() {
    // Of two CPUs: one process, and others that each take little.
    let class = |cpu: f64, usual: f64, others: f64| {
        let mut e = read(SPIN);
        change(&mut e.host, |host| host.cpus = 2);
        busy(&mut e, (cpu + others) / 2.0);
        hottest(&mut e, |p| p.cpu = Percent(cpu));
        group(&mut e, "indexer.service", |g| {
            g.cpu = Percent(cpu);
            g.past.as_mut().unwrap().cpu_usual = Some(Percent(usual));
        });
        decide(&e).0.class
    };
    assert_eq!(class(86.0, 0.0, 86.0), "runaway_process", "half of all that runs");
    assert_eq!(class(86.0, 0.0, 100.0), "runaway_process", "without it, half of the host would idle");
    assert_eq!(class(86.0, 0.0, 139.0), "runaway_process");
    assert_eq!(class(86.0, 0.0, 141.0), "legitimate_load", "the others alone are too much");
    assert_eq!(class(86.0, 50.0, 110.0), "legitimate_load", "most of it is what it always takes");
}

#[test]
fn a_wait_in_its_group_says_what_a_process_would_have_taken_and_a_quota_does_not() {
    let confident = |waiting: f64, throttled: Option<f64>| {
        let mut e = queued();
        group(&mut e, "indexer.service", |g| (g.waiting, g.throttled) = (Some(Percent(waiting)), throttled.map(Percent)));
        decide(&e).0.confidence >= Confidence::TO_KILL
    };
    assert_eq!((confident(35.0, None), confident(20.0, None), confident(35.0, Some(60.0))), (true, false, false));
}

/// It waits for a CPU for as long as it does not have one.
pub(super) fn queued() -> Evidence {
    let mut e = read(SPIN);
    busy(&mut e, 80.0);
    hottest(&mut e, |p| (p.cpu, p.threads) = (Percent(62.0), 1));
    group(&mut e, "indexer.service", |g| (g.cpu, g.waiting) = (Percent(63.0), Some(Percent(35.0))));
    e.signals.push(process_signal(&e));
    e
}

#[test]
fn a_process_that_waits_for_a_cpu_has_not_ended() {
    let (before, mut after) = (competed(), competed());
    let p = Params { busy_floor_percent: Percent(100.0), ..Params::default() };
    assert!(matches!(after_step(&before, &after, &p), AfterStep::Continue { why } if why.contains("still takes 59.0 %")));
    orphan(&mut after, |hot| change(&mut hot.watched, |w| w.voluntary_per_s = 200.0));
    assert!(matches!(after_step(&before, &after, &p), AfterStep::Enough { .. }));
}

#[test]
fn what_somebody_else_is_held_back_by_hides_no_runaway() {
    let class = |how: &dyn Fn(&mut Evidence)| {
        let mut e = read(ORPHAN);
        how(&mut e);
        decide(&e).0.class
    };
    let held_back = |e: &mut Evidence, path: &HostPath| {
        change(&mut e.groups, |all| {
            let small = Group { path: path.clone(), cpu: Percent(5.0), throttled: Some(Percent(60.0)), pids_max: None, ..all[0].clone() };
            all.retain(|g| g.path != *path);
            all.push(small);
        });
    };
    assert_eq!(class(&|e| held_back(e, &"/system.slice/metrics.service".into())), "runaway_process");
    let own = read(ORPHAN).processes.value().unwrap()[0].watched.value().unwrap().facts.cgroup.clone();
    assert_eq!(class(&|e| held_back(e, &own)), "limit_throttling");
    let waits = |e: &mut Evidence| change(&mut e.host, |h| h.iowait = Percent(40.0));
    assert_eq!(class(&waits), "runaway_process", "another process waits for storage");
    assert_eq!(class(&|e| (waits(e), e.subject = Subject::Host).1), "io_wait");
    // What is told of a unit is about that unit.
    let of_unit = |name: &str| {
        class(&|e| {
            held_back(e, &"/system.slice/metrics.service".into());
            waits(e);
            e.subject = Subject::Unit { name: name.into() };
        })
    };
    assert_eq!(of_unit("metrics.service"), "limit_throttling");
    assert!(!["limit_throttling", "io_wait"].contains(&of_unit("other.service").as_str()));
}

#[test]
fn a_job_that_only_waits_is_not_ended_for_one_that_computes() {
    let decided = |how: &dyn Fn(&mut super::super::Cron)| {
        let mut e = read(FANOUT);
        change(&mut e.cron, |cron| how(cron.as_mut().unwrap()));
        let (diagnosis, plan) = decide(&e);
        assert_eq!(diagnosis.class, "cron_fanout", "jobs take most, whosever they are");
        let ended = plan.steps.iter().filter(|s| s.step.kind() == StepKind::KillProcess).count();
        (diagnosis.behind.unwrap_or_default(), ended)
    };
    assert_eq!(decided(&|_| ()), ("4 runs of report".into(), 3));
    // Four pollers that sleep, and a backup: those that are hot are the backup's.
    let pollers = |cron: &mut super::super::Cron| {
        let waiting = |n: u32| super::super::Instance { pid: 8000 + n, start_ticks: 1, age_s: 600.0 - 60.0 * f64::from(n) };
        let instances = cron.jobs[0].instances.drain(1..3).collect();
        let jobs = [("poll", (0..4).map(waiting).collect()), ("backup", instances)];
        cron.jobs = jobs.into_iter().map(|(comm, instances)| super::super::CronJob { comm: comm.into(), instances }).collect();
    };
    assert_eq!(decided(&pollers), ("jobs".into(), 0));
    assert_eq!(decided(&|cron| cron.jobs[0].instances.iter_mut().for_each(|run| run.age_s = 3600.0)), ("jobs".into(), 0), "begun at once");
    assert_eq!(decided(&|cron| cron.jobs[0].comm = "python3".into()), ("jobs".into(), 0), "several scripts");
}

fn process_signal(e: &Evidence) -> crate::model::Signal {
    let hot = &e.processes.value().unwrap()[0];
    let subject = Subject::Process { pid: hot.pid, start_ticks: hot.start_ticks, comm: hot.comm.clone() };
    crate::model::Signal { kind: super::super::signals::PROCESS, subject, ..e.signals[0].clone() }
}

#[test]
fn whoever_looks_is_not_behind_what_is_seen() {
    for own in ["byteport-agent", "byteport-actuat"] {
        let mut e = read(SPIN);
        hottest(&mut e, |p| p.cpu = Percent(150.0));
        rival(&mut e, own, 190.0);
        change(&mut e.groups, |all| {
            let unit = "byteport-agent.service";
            let own = Group {
                unit: Some(unit.into()),
                path: format!("/system.slice/{unit}").as_str().into(),
                cpu: Percent(500.0),
                ..all[0].clone()
            };
            all.insert(0, own);
        });
        assert_eq!(decide(&e).0.behind.unwrap_or_default().split(' ').next(), Some("indexer"), "{own}");
        change(&mut e.processes, |all| all.retain(|p| p.comm.as_bytes() == own.as_bytes()));
        let (diagnosis, plan) = decide(&e);
        assert!(plan.steps.is_empty() && diagnosis.behind.as_deref() == Some("indexer.service"), "{diagnosis:?}");
        change(&mut e.host, |h| h.forks_per_s = 900.0);
        assert_eq!(decide(&e).0.behind.as_deref(), Some("indexer.service"), "a storm");
    }
}

#[test]
fn less_than_what_ends_a_process_begins_no_unit_anew() {
    let mut e = read(SPIN);
    // It has begun while its group was followed.
    hottest(&mut e, |p| {
        p.past = None;
        change(&mut p.watched, |w| w.facts.age_s = 900.0);
    });
    let (diagnosis, plan) = decide(&e);
    assert_eq!((diagnosis.class.as_str(), diagnosis.confidence >= Confidence::TO_ACT), ("unknown", false));
    assert!(plan.steps.is_empty());
    // A compiler that computes for minutes, in a unit that consents: nothing is known of it but that it computes.
    e.signals.push(process_signal(&e));
    let (diagnosis, plan) = decide(&e);
    assert_eq!((diagnosis.class.as_str(), diagnosis.confidence >= Confidence::TO_ACT), ("runaway_process", true));
    assert_eq!(kinds(&plan), [StepKind::OomPreference, StepKind::CpuWeight, StepKind::CpuQuota]);
}

/// A runner that gives each job a group of its own: what is done to the unit is done to all of them.
#[test]
fn a_unit_is_limited_by_what_all_its_groups_take() {
    let decided = |path: &str, cpu: f64| {
        let mut e = read(SPIN);
        change(&mut e.host, |h| h.cpus = 8);
        change(&mut e.groups, |all| {
            all[0].path = "/system.slice/indexer.service/a".into();
            let beside = Group { path: path.into(), cpu: Percent(cpu), ..all[0].clone() };
            all.push(beside);
        });
        hottest(&mut e, |p| change(&mut p.watched, |w| w.facts.cgroup = "/system.slice/indexer.service/a".into()));
        let (diagnosis, plan) = decide(&e);
        let quota = plan.steps.iter().find_map(|s| match &s.step {
            Step::LimitUnit(limit) => match limit.limit {
                crate::model::LimitTo::CpuQuota(percent) => Some(percent),
                crate::model::LimitTo::CpuWeight(_) | crate::model::LimitTo::MemoryHigh(_) => None,
            },
            _ => None,
        });
        (diagnosis.class, quota)
    };
    let (beside, above) = ("/system.slice/indexer.service/b", "/system.slice/indexer.service");
    assert_eq!(decided(above, 400.0), ("runaway_process".into(), Some(22)), "all of them, counted once");
    assert_eq!(decided(beside, 100.0), ("runaway_process".into(), Some(44)), "twice its usual of 22");
    assert_eq!(decided(beside, 398.0).1, None, "its other jobs take as much: it is not one process that does it");
}

#[test]
fn a_large_unit_is_no_storm_and_none_that_another_makes() {
    let told = |how: &dyn Fn(&mut Evidence)| {
        let mut e = read(STORM);
        how(&mut e);
        let (diagnosis, plan) = decide(&e);
        assert_eq!(diagnosis.class, "fork_storm");
        let restart = kinds(&plan).contains(&StepKind::RestartUnit);
        (diagnosis.behind.unwrap_or_default(), diagnosis.confidence >= Confidence::TO_ACT, restart)
    };
    let calm = |e: &mut Evidence| change(&mut e.host, |h| h.forks_per_s = 3.0);
    assert_eq!(told(&|_| ()), ("hook.service".into(), true, true));
    assert_eq!(told(&calm), ("hook.service".into(), true, false), "at its limit, and it does not stop trying");
    let large = |e: &mut Evidence| {
        calm(e);
        change(&mut e.host, |h| (h.user, h.system) = (Percent(90.0), Percent(8.0)));
    };
    assert_eq!(told(&large), ("hook.service".into(), false, false), "many threads that work");
    assert_eq!(told(&|e| (calm(e), busy(e, 30.0)).1), ("hook.service".into(), false, false), "the host has room");
    // A large one, and another that forks.
    let other = |e: &mut Evidence| {
        group(e, "hook.service", |g| (g.pids, g.pids_max) = (Some(940), None));
        group(e, "nginx.service", |g| (g.pids, g.pids_max) = (Some(95), Some(100)));
    };
    assert_eq!(told(&other), ("hook.service".into(), true, false));
}
