//! Steps on units and processes: who consented, what is never touched, and how often is too often. The same on both sides of the socket,
//! from facts that each side reads for itself.

use super::{Limits, PastAct, never};
use crate::model::{
    Bytes, Confidence, HolderAction, LimitTo, Now, Observed, ProcessFacts, ProcessTarget, Refusal, RefusalReason as Why, Seconds, Step,
    StepKind, Targets, UnitFacts,
};

/// A process that has just begun may be about to be done.
const YOUNGEST_S: f64 = 60.0;
const CRASH_LOOP: (usize, Seconds) = (2, Seconds(1800.0));
const HOUR: Seconds = Seconds(3600.0);
/// Snapshots stay until a person has looked at them.
const SNAPSHOT_EVERY: Seconds = Seconds(86_400.0);
/// Limits that are set and lifted over and over help nobody: a person has to look.
const CHANGES_PER_HOUR: usize = 6;
const BACKOFF_S: f64 = 30.0;
const BACKOFF_AT_MOST_S: f64 = 300.0;
/// A unit that is given less than this is stopped rather than limited.
const LEAST_MEMORY: Bytes = Bytes(16 << 20);
const LEAST_CPU: u64 = 5;
/// What the kernel takes.
const WEIGHTS: std::ops::RangeInclusive<u64> = 1..=10_000;

fn refuse<T>(reason: Why, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(reason, detail))
}

/// What the step itself says, before anything is looked at.
pub(super) fn shape(step: &Step, limits: &Limits) -> Result<(), Refusal> {
    if let Some(unit) = step.unit() {
        name(unit, limits)?;
    }
    for process in step.processes() {
        if let Some(what) = never::process(process.pid, process.comm.as_bytes()) {
            return refuse(Why::NeverList, format!("{}: {what}", named(process)));
        }
    }
    match step {
        Step::LimitUnit(limit) => match limit.limit {
            LimitTo::MemoryHigh(bytes) if bytes < LEAST_MEMORY => {
                refuse(Why::Malformed, format!("MemoryHigh={} lets a unit have nothing", bytes.0))
            }
            LimitTo::CpuQuota(percent) if percent < LEAST_CPU => {
                refuse(Why::Malformed, format!("CPUQuota={percent}% lets a unit do nothing"))
            }
            LimitTo::CpuWeight(weight) if !WEIGHTS.contains(&weight) => refuse(Why::Malformed, format!("CPUWeight={weight} is none")),
            LimitTo::MemoryHigh(_) | LimitTo::CpuQuota(_) | LimitTo::CpuWeight(_) => Ok(()),
        },
        Step::PreferVictims(preference) => {
            if !(0..=1000).contains(&preference.oom_score_adj) {
                return refuse(Why::Malformed, format!("oom_score_adj {} is not a preference to be killed", preference.oom_score_adj));
            }
            if preference.processes.is_empty() || preference.processes.iter().any(|p| p.unit != preference.unit) {
                return refuse(Why::Malformed, "the processes are not those of one unit");
            }
            Ok(())
        }
        Step::SnapshotHeap(snapshot) => {
            let under = limits.heap_snapshot_roots.iter().any(|root| snapshot.folder.is_under(root));
            if under { Ok(()) } else { refuse(Why::OutsideRoots, format!("{} is under none of heap_snapshot_roots", snapshot.folder)) }
        }
        _ => Ok(()),
    }
}

/// Whether a unit of this name may be touched at all.
pub(super) fn name(unit: &str, limits: &Limits) -> Result<(), Refusal> {
    if let Some(what) = never::unit(unit) {
        return refuse(Why::NeverList, format!("{unit}: {what}"));
    }
    if limits.keeps_state(unit) {
        return refuse(Why::NoOptIn, format!("{unit} keeps state: name it in stateful_units_allowed to let it be touched"));
    }
    Ok(())
}

/// Second consent, and whether what was examined is still there: from what is so in this moment.
pub(super) fn consent(step: &Step, targets: &Targets, limits: &Limits) -> Result<(), Refusal> {
    if step.unit().is_some() {
        match &targets.unit {
            Some(Observed::Value { value, .. }) => match step {
                // Its consent is read where its open files are, by the actuator.
                Step::RestartHolder(holder) if holder.action == HolderAction::Restart => alone(value)?,
                Step::RestartHolder(_) => {}
                _ => unit(step, value)?,
            },
            Some(Observed::Unavailable { why }) => return refuse(Why::Stale, why),
            None => return refuse(Why::Stale, "the unit was not looked at"),
        }
    }
    if targets.processes.len() != step.processes().len() {
        return refuse(Why::Stale, "not all processes were looked at");
    }
    for (target, seen) in step.processes().iter().zip(&targets.processes) {
        match seen {
            Observed::Value { value, .. } => process(step, target, value, targets.unit.as_ref(), limits)?,
            // Of many, those that have gone are left out by the act itself.
            Observed::Unavailable { .. } if step.processes().len() > 1 => {}
            Observed::Unavailable { why } => return refuse(Why::Stale, why),
        }
    }
    Ok(())
}

fn unit(step: &Step, facts: &UnitFacts) -> Result<(), Refusal> {
    let name = &facts.name;
    if !facts.restart_safe {
        return refuse(Why::NoOptIn, format!("{name} has no [X-Byteport] Restart=safe in its unit file or a drop-in"));
    }
    if facts.active != "active" {
        return refuse(Why::Stale, format!("{name} is {}: systemd or a person is busy with it", facts.active));
    }
    if facts.job_queued {
        return refuse(Why::Stale, format!("a job is queued for {name}"));
    }
    let examined = match step {
        Step::LimitUnit(limit) => Some(&limit.target),
        Step::RestartUnit(target) => Some(target),
        _ => None,
    };
    if let Some(examined) = examined.filter(|e| e.invocation != facts.invocation || e.invocation.is_empty()) {
        return refuse(Why::Stale, format!("{} was started anew since it was examined", examined.unit));
    }
    match step {
        // A person who has set a limit knows something.
        Step::LimitUnit(limit) => {
            let by_hand = match limit.limit {
                LimitTo::MemoryHigh(to) => facts.memory_high.filter(|set| *set <= to).map(|set| format!("MemoryHigh={}", set.0)),
                LimitTo::CpuWeight(to) => facts.cpu_weight.filter(|set| *set <= to).map(|set| format!("CPUWeight={set}")),
                LimitTo::CpuQuota(to) => facts.cpu_quota_percent.filter(|set| *set <= to).map(|set| format!("CPUQuota={set}%")),
            };
            match by_hand {
                Some(limit) => refuse(Why::NotAvailable, format!("{name} has {limit} already, which is no wider")),
                None => Ok(()),
            }
        }
        Step::RestartUnit(_) if !facts.restarts_too.is_empty() => alone(facts),
        // One more start inside the interval may be the one that systemd refuses, and then the service stays down.
        Step::RestartUnit(_) if facts.restarts > 0 && facts.active_for_s < facts.start_limit_s => {
            refuse(Why::CrashLoop, format!("systemd has restarted {name} {} times, and it is near its start limit", facts.restarts))
        }
        _ => Ok(()),
    }
}

/// The word of a unit is for itself alone.
fn alone(facts: &UnitFacts) -> Result<(), Refusal> {
    if facts.restarts_too.is_empty() {
        return Ok(());
    }
    let others = facts.restarts_too.join(", ");
    refuse(Why::NoOptIn, format!("restarting {} would restart {others} as well, which has not opted in", facts.name))
}

fn process(
    step: &Step,
    target: &ProcessTarget,
    facts: &ProcessFacts,
    unit: Option<&Observed<UnitFacts>>,
    limits: &Limits,
) -> Result<(), Refusal> {
    let who = named(target);
    if facts.start_ticks != target.start_ticks || facts.pid != target.pid {
        return refuse(Why::Stale, format!("{who} is another process by now"));
    }
    if facts.unit != target.unit {
        let now_in = facts.unit.as_deref().unwrap_or("no unit");
        return refuse(Why::Stale, format!("{who} is in {now_in} by now"));
    }
    // Names of units are found by the names of groups, which somebody else may have given as well: systemd's own word counts.
    if let Some(Observed::Value { value: unit, .. }) = unit.filter(|_| target.unit.is_some())
        && !facts.cgroup.is_under(&unit.cgroup)
    {
        return refuse(Why::Stale, format!("{who} is in {}, which is not a group of {}", facts.cgroup, unit.name));
    }
    // What a process calls itself may change at any moment; what it is called now is what counts.
    if let Some(what) = never::process(facts.pid, facts.comm.as_bytes()) {
        return refuse(Why::NeverList, format!("{who}: {what}"));
    }
    if facts.kernel_thread || facts.realtime {
        let what = if facts.kernel_thread { "a kernel thread" } else { "a realtime process" };
        return refuse(Why::NeverList, format!("{who} is {what}"));
    }
    if facts.unit.is_none() && !limits.processes.iter().any(|name| name.as_bytes() == facts.comm.as_bytes()) {
        return refuse(Why::NoOptIn, format!("{who} belongs to no unit and is not named in processes"));
    }
    if step.kind() == StepKind::KillProcess && facts.age_s < YOUNGEST_S {
        return refuse(
            Why::TooYoung,
            format!("{who} is {} old; what is younger than {} is left alone", Seconds(facts.age_s), Seconds(YOUNGEST_S)),
        );
    }
    Ok(())
}

/// How often is too often. `past` are all acts that are remembered, of this boot and of earlier ones.
pub(super) fn history(step: &Step, confidence: Confidence, past: &[PastAct], limits: &Limits, now: &Now) -> Result<(), Refusal> {
    let Some(on) = step.works_on() else { return Ok(()) };
    let within = |span: Seconds, which: &dyn Fn(&PastAct) -> bool| {
        past.iter().filter(|p| now.proven_since(&p.at).0 < span.0).filter(|p| which(p)).collect::<Vec<_>>()
    };
    let here = |p: &PastAct| p.on.as_deref() == Some(on.as_str());
    match step {
        Step::RestartHolder(_) | Step::RestartUnit(_) => {
            let restart = |p: &PastAct| p.kind.is_restart() && here(p);
            let hour = within(HOUR, &restart);
            if hour.len() as u64 >= limits.max_restarts_per_hour {
                return refuse(
                    Why::OverCap,
                    format!("{on} was restarted {} times within an hour; max_restarts_per_hour allows no more", hour.len()),
                );
            }
            let recent = within(CRASH_LOOP.1, &restart).len();
            if recent >= CRASH_LOOP.0 {
                let why = format!("{on} was restarted {recent} times within {}: restarting does not help it", CRASH_LOOP.1);
                return refuse(Why::CrashLoop, why);
            }
            let doublings = i32::try_from(hour.len().saturating_sub(1)).unwrap_or(10);
            let wait_s = (BACKOFF_S * 2f64.powi(doublings)).min(BACKOFF_AT_MOST_S);
            let last = hour.iter().map(|p| now.proven_since(&p.at).0).min_by(f64::total_cmp);
            match last {
                Some(since) if since < wait_s => {
                    refuse(Why::Backoff, format!("{on} was restarted {} ago; the next one waits {}", Seconds(since), Seconds(wait_s)))
                }
                _ => Ok(()),
            }
        }
        Step::KillProcess { .. } => {
            if confidence < Confidence::TO_KILL {
                return refuse(
                    Why::LowConfidence,
                    format!("confidence {confidence} is under {}, which ending a process needs", Confidence::TO_KILL),
                );
            }
            let killed = within(HOUR, &|p| p.kind == StepKind::KillProcess).len() as u64;
            if killed >= limits.max_kills_per_hour {
                return refuse(Why::OverCap, format!("{killed} processes were ended within an hour; max_kills_per_hour allows no more"));
            }
            Ok(())
        }
        Step::PreferVictims(_) | Step::LimitUnit(_) | Step::CalmProcess(_) => {
            let changes = within(HOUR, &|p| p.kind == step.kind() && here(p)).len();
            if changes >= CHANGES_PER_HOUR {
                return refuse(Why::OverCap, format!("{on} was limited {changes} times within an hour, and it comes back each time"));
            }
            Ok(())
        }
        Step::SnapshotHeap(_) => {
            // One that was asked for and never begun, for want of room or of the process, counts no object.
            let taken = within(SNAPSHOT_EVERY, &|p| p.kind == StepKind::HeapSnapshot && here(p) && p.files > 0);
            match taken.iter().map(|p| now.proven_since(&p.at)).min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some(since) => {
                    let why =
                        format!("the heap of {on} was written {since} ago, and is to be looked at; once within {SNAPSHOT_EVERY} is enough");
                    refuse(Why::OverCap, why)
                }
                None => Ok(()),
            }
        }
        Step::CompressLogs(_) | Step::DeleteFiles(_) | Step::VacuumJournal { .. } | Step::PruneImages { .. } | Step::GrowVolume(_) => {
            Ok(())
        }
    }
}

fn named(process: &ProcessTarget) -> String {
    format!("{} (pid {})", process.comm, process.pid)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{
        BootId, HeapSnapshot, Holder, IncidentId, IntentId, Preference, RunbookId, SnapshotBy, Subject, UnitLimit, UnitTarget,
    };

    pub(in crate::guard) fn facts() -> UnitFacts {
        UnitFacts {
            name: "app.service".into(),
            active: "active".into(),
            invocation: "1f".into(),
            active_for_s: 86_400.0,
            restarts: 0,
            start_limit_s: 10.0,
            job_queued: false,
            restart_safe: true,
            main_pid: Some(700),
            cgroup: "/system.slice/app.service".into(),
            memory_high: None,
            memory_max: None,
            cpu_weight: None,
            cpu_quota_percent: None,
            restarts_too: Vec::new(),
        }
    }

    fn stray() -> ProcessFacts {
        ProcessFacts {
            pid: 700,
            start_ticks: 9,
            comm: "spin".into(),
            age_s: 600.0,
            parent: 1,
            unit: None,
            cgroup: "/user.slice".into(),
            kernel_thread: false,
            realtime: false,
            idle_class: false,
            nice: 0,
            oom_score_adj: 0,
            uid: 1000,
        }
    }

    fn target(unit: Option<&str>) -> ProcessTarget {
        ProcessTarget { pid: 700, start_ticks: 9, comm: "spin".into(), unit: unit.map(str::to_owned) }
    }

    fn kill() -> Step {
        Step::KillProcess { process: target(None), grace_s: 10 }
    }

    fn app() -> UnitTarget {
        UnitTarget { unit: "app.service".into(), invocation: "1f".into() }
    }

    fn limited(limit: LimitTo) -> Step {
        Step::LimitUnit(UnitLimit { target: app(), limit })
    }

    fn allowed() -> Limits {
        Limits { processes: vec!["spin".into()], heap_snapshot_roots: vec!["/var/heaps".into()], ..Limits::default() }
    }

    fn why(answer: Result<(), Refusal>) -> Option<Why> {
        answer.err().map(|refusal| {
            assert!(!refusal.detail.is_empty());
            refusal.reason
        })
    }

    fn unit_says(step: &Step, change: impl FnOnce(&mut UnitFacts)) -> Option<Why> {
        let mut facts = facts();
        change(&mut facts);
        why(consent(step, &Targets { unit: Some(Observed::fresh(facts)), processes: vec![] }, &allowed()))
    }

    fn process_says(step: &Step, change: impl FnOnce(&mut ProcessFacts)) -> Option<Why> {
        let mut facts = stray();
        change(&mut facts);
        why(consent(step, &Targets { unit: None, processes: vec![Observed::fresh(facts)] }, &allowed()))
    }

    #[test]
    fn a_unit_is_touched_only_by_its_own_word_and_as_it_was_examined() {
        let restart = Step::RestartUnit(app());
        for step in [&restart, &limited(LimitTo::CpuWeight(10)), &limited(LimitTo::MemoryHigh(Bytes(1 << 30)))] {
            assert_eq!(unit_says(step, |_| {}), None);
            assert_eq!(unit_says(step, |u| u.restart_safe = false), Some(Why::NoOptIn));
            assert_eq!(unit_says(step, |u| u.active = "deactivating".into()), Some(Why::Stale));
            assert_eq!(unit_says(step, |u| u.job_queued = true), Some(Why::Stale));
            assert_eq!(unit_says(step, |u| u.invocation = "20".into()), Some(Why::Stale), "it was started anew");
            let unread = Targets { unit: Some(Observed::unavailable("systemd does not answer")), processes: vec![] };
            assert_eq!(why(consent(step, &unread, &allowed())), Some(Why::Stale));
        }
        let near_its_limit = |u: &mut UnitFacts| (u.restarts, u.active_for_s) = (1, 9.0);
        assert_eq!(unit_says(&restart, near_its_limit), Some(Why::CrashLoop));
        assert_eq!(unit_says(&limited(LimitTo::CpuWeight(10)), near_its_limit), None, "a limit starts nothing");
        let needed = |u: &mut UnitFacts| u.restarts_too = vec!["web.service".into()];
        assert_eq!(unit_says(&restart, needed), Some(Why::NoOptIn));
        let holder = |action| Step::RestartHolder(Holder { unit: app().unit, pid: 9, start_ticks: 9, action, device: 7, held: Bytes(1) });
        assert_eq!(unit_says(&holder(HolderAction::Restart), |_| {}), None);
        assert_eq!(unit_says(&holder(HolderAction::Restart), needed), Some(Why::NoOptIn));
        assert_eq!(unit_says(&holder(HolderAction::Reload), needed), None, "a reload is for it alone");
        assert_eq!(unit_says(&limited(LimitTo::CpuWeight(10)), needed), None);
    }

    #[test]
    fn what_keeps_state_is_known_by_its_name_and_by_what_the_owner_adds() {
        let mut limits = allowed();
        assert_eq!(why(name("valkey-server.service", &limits)), Some(Why::NoOptIn));
        assert_eq!(why(name("shop-ledger.service", &limits)), None);
        limits.stateful_units = vec!["Ledger".into()];
        assert_eq!(why(name("shop-ledger.service", &limits)), Some(Why::NoOptIn));
        limits.stateful_units_allowed = vec!["shop-ledger.service".into()];
        assert_eq!(why(name("shop-ledger.service", &limits)), None);
        for never in ["k3s-agent.service", "sshd@1-10.0.0.1:22-10.0.0.2:9.service", "rke2-server.service"] {
            assert_eq!(why(name(never, &limits)), Some(Why::NeverList), "{never}");
        }
    }

    #[test]
    fn a_limit_that_is_no_narrower_than_one_set_by_hand_is_none() {
        let quota = limited(LimitTo::CpuQuota(50));
        for (set, says) in [(Some(50), Some(Why::NotAvailable)), (Some(20), Some(Why::NotAvailable)), (Some(51), None), (None, None)] {
            assert_eq!(unit_says(&quota, |u| u.cpu_quota_percent = set), says, "{set:?}");
        }
        assert_eq!(unit_says(&limited(LimitTo::CpuWeight(10)), |u| u.cpu_weight = Some(1)), Some(Why::NotAvailable));
        let high = limited(LimitTo::MemoryHigh(Bytes(100)));
        assert_eq!(unit_says(&high, |u| u.memory_high = Some(Bytes(99))), Some(Why::NotAvailable));
    }

    #[test]
    fn a_process_is_the_one_that_was_examined_named_and_of_a_kind_that_may_end() {
        let (kill, calm) = (kill(), Step::CalmProcess(target(None)));
        for step in [&kill, &calm] {
            assert_eq!(process_says(step, |_| {}), None);
            assert_eq!(process_says(step, |p| p.start_ticks = 10), Some(Why::Stale), "the pid was given to another");
            assert_eq!(process_says(step, |p| p.unit = Some("db.service".into())), Some(Why::Stale));
            assert_eq!(process_says(step, |p| p.kernel_thread = true), Some(Why::NeverList));
            assert_eq!(process_says(step, |p| p.realtime = true), Some(Why::NeverList));
            assert_eq!(process_says(step, |p| p.comm = "sshd".into()), Some(Why::NeverList), "it calls itself so by now");
            assert_eq!(process_says(step, |p| p.comm = "spin2".into()), Some(Why::NoOptIn), "another name, another consent");
            let gone = Targets { unit: None, processes: vec![Observed::unavailable("pid 700 is gone")] };
            assert_eq!(why(consent(step, &gone, &allowed())), Some(Why::Stale));
            assert_eq!(why(consent(step, &Targets::default(), &allowed())), Some(Why::Stale));
        }
        assert_eq!(process_says(&kill, |p| p.age_s = 59.9), Some(Why::TooYoung));
        assert_eq!(process_says(&calm, |p| p.age_s = 59.9), None);
    }

    #[test]
    fn of_many_processes_those_that_are_gone_do_not_hold_up_the_others() {
        let unit = Some("app.service");
        let both = Step::PreferVictims(Preference { unit: unit.map(str::to_owned), processes: vec![target(unit); 2], oom_score_adj: 500 });
        let inside = ProcessFacts { unit: unit.map(str::to_owned), cgroup: "/system.slice/app.service/worker".into(), ..stray() };
        let elsewhere = Observed::fresh(ProcessFacts { cgroup: "/user.slice/app.service".into(), ..inside.clone() });
        let member = Observed::fresh(inside);
        let seen = |processes| Targets { unit: Some(Observed::fresh(facts())), processes };
        let gone = Observed::unavailable("gone");
        assert_eq!(why(consent(&both, &seen(vec![member.clone(), gone]), &allowed())), None);
        assert_eq!(why(consent(&both, &seen(vec![member.clone(), elsewhere]), &allowed())), Some(Why::Stale), "a group of the same name");
        let left = Observed::fresh(stray());
        assert_eq!(why(consent(&both, &seen(vec![member, left]), &allowed())), Some(Why::Stale), "one has left the unit");
    }

    #[test]
    fn what_a_step_says_of_itself_is_checked_before_anything_is_looked_at() {
        let says = |step: Step| why(shape(&step, &allowed()));
        let process = |pid, comm: &str| ProcessTarget { pid, comm: comm.into(), ..target(None) };
        assert_eq!(says(kill()), None);
        for (pid, comm) in [(1, "spin"), (2, "kthreadd"), (700, "sshd"), (700, "byteport-agent"), (700, "systemd")] {
            assert_eq!(says(Step::KillProcess { process: process(pid, comm), grace_s: 10 }), Some(Why::NeverList), "{pid} {comm}");
        }
        let of = |unit: &str| Step::RestartUnit(UnitTarget { unit: unit.into(), ..app() });
        assert_eq!(says(of("docker.service")), Some(Why::NeverList));
        assert_eq!(says(of("session-3.scope")), Some(Why::NeverList));
        assert_eq!(says(of("postgresql@15-main.service")), Some(Why::NoOptIn));
        for (limit, expected) in [
            (LimitTo::MemoryHigh(Bytes(0)), Some(Why::Malformed)),
            (LimitTo::CpuQuota(0), Some(Why::Malformed)),
            (LimitTo::CpuWeight(0), Some(Why::Malformed)),
            (LimitTo::CpuWeight(10_001), Some(Why::Malformed)),
            (LimitTo::CpuWeight(1), None),
        ] {
            assert_eq!(says(limited(limit)), expected, "{limit:?}");
        }
        let prefer = |oom_score_adj, processes| Step::PreferVictims(Preference { unit: None, processes, oom_score_adj });
        assert_eq!(says(prefer(1000, vec![target(None)])), None);
        assert_eq!(says(prefer(-1, vec![target(None)])), Some(Why::Malformed), "nobody is protected by us");
        assert_eq!(says(prefer(1000, vec![])), Some(Why::Malformed));
        assert_eq!(says(prefer(1000, vec![target(Some("app.service"))])), Some(Why::Malformed));
        let snapshot =
            |by, folder: &str| Step::SnapshotHeap(HeapSnapshot { process: target(None), by, folder: folder.into(), room: Bytes(1) });
        assert_eq!(says(snapshot(SnapshotBy::Jcmd, "/var/heaps/app")), None);
        assert_eq!(says(snapshot(SnapshotBy::Jcmd, "/var/heapstore")), Some(Why::OutsideRoots));
    }

    fn at(second: f64) -> Now {
        let wall = jiff::Timestamp::from_second(1_000_000).unwrap() + jiff::SignedDuration::from_secs_f64(second);
        Now { wall, boot: BootId("a".into()), uptime_s: 100_000.0 + second }
    }

    fn act(kind: StepKind, on: &str, second: f64) -> PastAct {
        PastAct {
            intent: IntentId(format!("memory-1/{second}")),
            incident: IncidentId("memory-1".into()),
            runbook: RunbookId::new("memory"),
            subject: Subject::Host,
            kind,
            at: at(second),
            files: 1,
            bytes: Bytes(0),
            on: Some(on.into()),
        }
    }

    fn told(step: &Step, past: &[PastAct], now: &Now) -> Option<Why> {
        why(history(step, Confidence::new(0.9), past, &allowed(), now))
    }

    #[test]
    fn each_restart_waits_longer_and_two_in_half_an_hour_are_the_last() {
        let restart = Step::RestartUnit(app());
        let (one, two) = (act(StepKind::RestartUnit, "app.service", 0.0), act(StepKind::RestartHolder, "app.service", 1000.0));
        let past = [one.clone(), two.clone()];
        assert_eq!(told(&restart, &past[..1], &at(29.0)), Some(Why::Backoff));
        assert_eq!(told(&restart, &past[..1], &at(31.0)), None);
        assert_eq!(told(&restart, &past, &at(1799.0)), Some(Why::CrashLoop), "a restart for its deleted files is one as well");
        assert_eq!(told(&restart, &past, &at(1801.0)), None);
        assert_eq!(told(&restart, &past, &at(1059.0)), Some(Why::CrashLoop));
        let third = [one, two, act(StepKind::RestartUnit, "app.service", 2000.0)];
        assert_eq!(told(&restart, &third, &at(3500.0)), Some(Why::OverCap), "three within an hour");
        assert_eq!(told(&restart, &third, &at(3700.0)), None, "the first is over an hour ago, and one is left of half an hour's");
        let other = Step::RestartUnit(UnitTarget { unit: "other.service".into(), ..app() });
        assert_eq!(told(&other, &third, &at(2001.0)), None, "each unit has its own counts");
    }

    #[test]
    fn restarts_are_counted_over_a_reboot_and_over_a_clock_that_jumps() {
        let restart = Step::RestartUnit(app());
        let past = [act(StepKind::RestartUnit, "app.service", 0.0), act(StepKind::RestartUnit, "app.service", 60.0)];
        let rebooted = Now { boot: BootId("b".into()), uptime_s: 100.0, ..at(600.0) };
        assert_eq!(told(&restart, &past, &rebooted), Some(Why::CrashLoop));
        let forward = Now { wall: at(3.0 * 3600.0).wall, ..at(600.0) };
        assert_eq!(told(&restart, &past, &forward), Some(Why::CrashLoop), "three hours on the wall, ten minutes in truth");
        let back = Now { wall: at(-5.0 * 86_400.0).wall, ..at(600.0) };
        assert_eq!(told(&restart, &past, &back), Some(Why::CrashLoop));
    }

    #[test]
    fn few_processes_are_ended_and_only_when_it_is_sure() {
        let killed = |n: usize| (0..n).map(|i| act(StepKind::KillProcess, "spin", i as f64)).collect::<Vec<_>>();
        assert_eq!(told(&kill(), &killed(2), &at(100.0)), None);
        assert_eq!(told(&kill(), &killed(3), &at(100.0)), Some(Why::OverCap));
        assert_eq!(told(&kill(), &killed(3), &at(3700.0)), None);
        assert_eq!(why(history(&kill(), Confidence::new(0.84), &[], &allowed(), &at(0.0))), Some(Why::LowConfidence));
        assert_eq!(why(history(&Step::CalmProcess(target(None)), Confidence::new(0.70), &[], &allowed(), &at(0.0))), None);
    }

    #[test]
    fn a_limit_that_is_set_and_lifted_over_and_over_is_a_matter_for_a_person() {
        let set = |n: usize, kind| (0..n).map(|i| act(kind, "app.service", i as f64)).collect::<Vec<_>>();
        let high = limited(LimitTo::MemoryHigh(Bytes(1)));
        assert_eq!(told(&high, &set(5, StepKind::MemoryHigh), &at(100.0)), None);
        assert_eq!(told(&high, &set(6, StepKind::MemoryHigh), &at(100.0)), Some(Why::OverCap));
        assert_eq!(told(&high, &set(6, StepKind::CpuWeight), &at(100.0)), None);
    }

    #[test]
    fn a_heap_is_written_once_a_day() {
        let snapshot = HeapSnapshot { process: target(None), by: SnapshotBy::Usr2, folder: "/var/heaps".into(), room: Bytes(1) };
        let step = Step::SnapshotHeap(snapshot);
        let past = [act(StepKind::HeapSnapshot, "spin", 0.0)];
        assert_eq!(told(&step, &past, &at(86_399.0)), Some(Why::OverCap));
        assert_eq!(told(&step, &past, &at(86_401.0)), None);
        assert_eq!(told(&step, &[act(StepKind::HeapSnapshot, "other", 0.0)], &at(1.0)), None, "each has its own count");
        assert_eq!(told(&step, &[act(StepKind::CalmProcess, "spin", 0.0)], &at(1.0)), None);
        let in_vain = PastAct { files: 0, ..act(StepKind::HeapSnapshot, "spin", 0.0) };
        assert_eq!(told(&step, &[in_vain], &at(1.0)), None, "there was no room for it");
    }
}
