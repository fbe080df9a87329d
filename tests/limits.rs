//! Limits and restarts of units, asked of a real systemd in a container.

mod acting;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use acting::{Later, Stand, admitted, admitted_by, facts};
use byteport::act::client::{Client, Performed, UndoResult};
use byteport::model::{
    Bytes, Effect, EffectState, LimitTo, Preference, ProcessTarget, RefusalReason, SkipReason, Step, UnitLimit, UnitTarget,
};
use support::nspawn::INSIDE;
use support::units::{service, show, systemctl, target};

const SANDBOXED: &str = "BYTEPORT_TEST_SANDBOXED";
const ACTUATOR: &str = "byteport-actuator.service";

#[test]
fn units_are_limited_restarted_and_given_back_what_they_had() {
    let Some(machine) = support::nspawn::Machine::ready() else { return };
    let script = format!("{INSIDE}=yes exec {}/limits --exact inside_the_container --nocapture", support::nspawn::SHARE);
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(ACTUATOR);
    let boot = support::nspawn::Boot::of(script).with(std::env::current_exe().unwrap(), "limits").with(unit, ACTUATOR);
    let told = machine.boot(&boot);
    eprintln!("{}{}", told.stdout, told.stderr);
    told.succeeded();
    assert_eq!(told.stdout.matches("1 passed").count(), 2);
}

#[test]
fn inside_the_container() {
    if support::nspawn::inside().is_none() {
        return;
    }

    limits_come_and_go();
    what_a_person_has_set_stays();
    another_run_is_left_alone();
    a_process_that_has_moved_is_left_alone();
    a_unit_that_is_gone_needs_nothing();
    a_second_incident_sets_no_limit_beside_the_first();
    what_systemd_did_not_take_back_is_tried_again();
    what_stands_is_lifted_behind_a_step_in_hand();
    what_the_actuators_end_left_behind();
    restarts();
    what_is_restarted_with_it_has_not_consented();
    what_a_preferred_unit_begins_meanwhile_is_given_back_as_well();
    with_the_rights_of_the_actuators_unit();
}

/// The unit file as it is delivered, with this test in the actuator's place.
fn with_the_rights_of_the_actuators_unit() {
    service("theirs.service", "User=nobody");
    fs::copy(Path::new(support::nspawn::SHARE).join(ACTUATOR), Path::new("/run/systemd/system").join(ACTUATOR)).unwrap();
    let dropin = Path::new("/run/systemd/system").join(format!("{ACTUATOR}.d"));
    fs::create_dir_all(&dropin).unwrap();
    let share = support::nspawn::SHARE;
    let instead = format!(
        "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nEnvironment={SANDBOXED}=yes\nExecStart=\n\
         ExecStart={share}/limits --exact inside_the_sandbox --nocapture\n\
         StandardOutput=append:{share}/out/stdout\nStandardError=append:{share}/out/stderr\n"
    );
    fs::write(dropin.join("test.conf"), instead).unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["start", ACTUATOR]);
}

#[test]
fn inside_the_sandbox() {
    if std::env::var(SANDBOXED).is_err() {
        return;
    }
    let pid = show("theirs.service", "MainPID").parse().unwrap();
    let process = facts::target(pid);
    assert_eq!((process.unit.as_deref(), facts::process(pid).unwrap().uid), (Some("theirs.service"), 65534));
    let preference = Preference { unit: process.unit.clone(), processes: vec![process.clone()], oom_score_adj: 900 };
    let steps = [
        to(&target("theirs.service"), LimitTo::CpuWeight(20)),
        Step::CalmProcess(process.clone()),
        Step::PreferVictims(preference),
        Step::KillProcess { process: process.clone(), grace_s: 10 },
    ];
    let before = facts::process(pid).unwrap();
    let stand = Stand::new();
    for (number, step) in (1..).zip(&steps[..3]) {
        let effect = asked(&stand, number, step.clone());
        assert_eq!((effect.state, effect.done), (EffectState::Done, 1), "{effect:?}");
        assert_eq!(undone(&stand, number, step.clone()).done, 1);
    }
    assert_eq!(facts::process(pid).unwrap(), before);
    let effect = asked(&stand, 4, steps[3].clone());
    assert!(effect.done == 1 && effect.notes[0].contains("SIGTERM ended"), "{effect:?}");
}

fn stand() -> Stand {
    Stand::on(tempfile::tempdir_in("/dev/shm").unwrap(), Later::new(), |_| {})
}

fn to(target: &UnitTarget, limit: LimitTo) -> Step {
    Step::LimitUnit(UnitLimit { target: target.clone(), limit })
}

/// The step, performed as number `number` of its incident.
fn asked(stand: &Stand, number: u32, step: Step) -> Effect {
    let perform = stand.asking("one", number, step);
    match stand.client.perform(&admitted(&stand.policy, &perform), perform).expect("an answer") {
        Performed::Effect(effect) => effect,
        other => panic!("{other:?}"),
    }
}

fn undone(stand: &Stand, number: u32, step: Step) -> Effect {
    match stand.client.undo(&stand.asking("one", number, step).intent).expect("an answer") {
        UndoResult::Undone(effect) => effect,
        other => panic!("{other:?}"),
    }
}

fn limits_come_and_go() {
    let unit = service("hog.service", "CPUQuota=150%");
    let all = || systemctl(&["show", "-p", "MemoryHigh", "-p", "CPUWeight", "-p", "CPUQuotaPerSecUSec", "hog.service"]);
    let before = all();
    let stand = stand();
    let steps = [LimitTo::MemoryHigh(Bytes(512 << 20)), LimitTo::CpuWeight(20), LimitTo::CpuQuota(50)].map(|limit| to(&unit, limit));
    for (number, step) in (1..).zip(&steps) {
        let effect = asked(&stand, number, step.clone());
        assert_eq!((effect.state, effect.done), (EffectState::Done, 1), "{effect:?}");
        let notes = ["MemoryHigh infinity -> 512 MiB", "CPUWeight unset -> 20", "CPUQuota 150% -> 50%"];
        assert_eq!(effect.notes, [format!("hog.service: {}", notes[number as usize - 1])]);
    }
    let shown = |property| show("hog.service", property);
    assert_eq!((shown("MemoryHigh"), shown("CPUWeight"), shown("CPUQuotaPerSecUSec")), ("536870912".into(), "20".into(), "500ms".into()));
    // What is set at runtime outlives a reload of the unit files, and goes all the same.
    systemctl(&["daemon-reload"]);
    for (number, step) in (1..=3).rev().zip(steps.iter().rev()) {
        let effect = undone(&stand, number, step.clone());
        assert_eq!((effect.state, effect.done), (EffectState::Done, 1), "{effect:?}");
        assert_eq!(undone(&stand, number, step.clone()), effect, "the second time it is told what the first did");
    }
    assert_eq!(all(), before);
    systemctl(&["daemon-reload"]);
    systemctl(&["restart", "hog.service"]);
    assert_eq!(all(), before, "what stays behind in the drop-ins is the value of before");
}

fn what_a_person_has_set_stays() {
    let unit = service("careful.service", "");
    let stand = stand();
    let step = to(&unit, LimitTo::MemoryHigh(Bytes(512 << 20)));
    asked(&stand, 1, step.clone());
    systemctl(&["set-property", "--runtime", "careful.service", "MemoryHigh=64M"]);
    let effect = undone(&stand, 1, step);
    assert_eq!(effect.done, 0, "{effect:?}");
    assert!(effect.notes[0].contains("MemoryHigh 64.0 MiB") && effect.notes[0].contains("left as it is"), "{effect:?}");
    assert_eq!(show("careful.service", "MemoryHigh"), (64 << 20).to_string());
}

fn another_run_is_left_alone() {
    let old = service("anew.service", "");
    systemctl(&["restart", "anew.service"]);
    // It changes between guard's look and the act: the host that guard is told of still shows the run that was examined.
    let before = || Later { as_examined: Some(old.clone()), ..Later::new() };
    let late = Stand::on(tempfile::tempdir_in("/dev/shm").unwrap(), before(), |_| {});
    let pid = show("anew.service", "MainPID");
    for (number, step) in (1..).zip([to(&old, LimitTo::CpuWeight(1)), Step::RestartUnit(old.clone())]) {
        let perform = late.asking("one", number, step.clone());
        match late.client.perform(&admitted_by(&before(), &late.policy, &perform), perform).unwrap() {
            Performed::Effect(effect) => {
                assert_eq!((effect.done, effect.skipped.get(&SkipReason::Changed)), (0, Some(&1)), "{effect:?}");
                assert!(effect.notes[0].contains("started anew"), "{effect:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((show("anew.service", "CPUWeight"), show("anew.service", "MainPID")), ("[not set]".into(), pid));
}

/// Examined in no unit, and in one by now, whose owner was not asked.
fn a_process_that_has_moved_is_left_alone() {
    service("moved.service", "");
    let now = facts::target(show("moved.service", "MainPID").parse().unwrap());
    let examined = ProcessTarget { unit: None, ..now.clone() };
    let before = || Later { once: Some(Mutex::new(vec![examined.clone()])), ..Later::new() };
    let stand = Stand::on(tempfile::tempdir_in("/dev/shm").unwrap(), before(), |_| {});
    let perform = stand.asking("one", 1, Step::KillProcess { process: examined.clone(), grace_s: 1 });
    match stand.client.perform(&admitted_by(&before(), &stand.policy, &perform), perform).unwrap() {
        Performed::Effect(effect) => {
            assert_eq!((effect.done, effect.skipped.get(&SkipReason::Changed)), (0, Some(&1)), "{effect:?}");
            assert!(effect.notes[0].contains("is in moved.service by now"), "{effect:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(facts::target(now.pid), now);
}

fn a_unit_that_is_gone_needs_nothing() {
    let unit = service("brief.service", "");
    let stand = stand();
    let step = to(&unit, LimitTo::CpuQuota(10));
    assert_eq!(asked(&stand, 1, step.clone()).done, 1);
    systemctl(&["stop", "brief.service"]);
    let unit_file = Path::new("/run/systemd/system/brief.service");
    let text = fs::read(unit_file).unwrap();
    fs::remove_file(unit_file).unwrap();
    systemctl(&["daemon-reload"]);
    let effect = undone(&stand, 1, step);
    assert_eq!((effect.state, effect.done), (EffectState::Done, 0), "{effect:?}");
    assert!(effect.notes[0].contains("not there any more, and its limit with it"), "{effect:?}");
    // Installed again, it begins without.
    fs::write(unit_file, text).unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["start", "brief.service"]);
    assert_eq!(show("brief.service", "CPUQuotaPerSecUSec"), "infinity");

    // What somebody has set since is his.
    let unit = service("brief-too.service", "");
    let step = to(&unit, LimitTo::CpuWeight(7));
    assert_eq!(asked(&stand, 3, step.clone()).done, 1);
    systemctl(&["set-property", "--runtime", "brief-too.service", "CPUWeight=9"]);
    systemctl(&["stop", "brief-too.service"]);
    fs::remove_file("/run/systemd/system/brief-too.service").unwrap();
    systemctl(&["daemon-reload"]);
    let effect = undone(&stand, 3, step);
    assert!(effect.notes[0].contains("somebody else's waits"), "{effect:?}");

    // One that is only stopped keeps what was set at runtime for its next start.
    let unit = service("rests.service", "");
    let step = to(&unit, LimitTo::CpuQuota(10));
    asked(&stand, 2, step.clone());
    systemctl(&["stop", "rests.service"]);
    assert_eq!(undone(&stand, 2, step).done, 1);
    systemctl(&["start", "rests.service"]);
    assert_eq!(show("rests.service", "CPUQuotaPerSecUSec"), "infinity");
}

fn a_second_incident_sets_no_limit_beside_the_first() {
    let unit = service("shared.service", "");
    let stand = stand();
    assert_eq!(asked(&stand, 1, to(&unit, LimitTo::CpuQuota(50))).done, 1);
    let beside = |limit| {
        let perform = stand.asking("two", 1, to(&unit, limit));
        stand.client.perform(&admitted(&stand.policy, &perform), perform).expect("an answer")
    };
    match beside(LimitTo::CpuQuota(20)) {
        Performed::Refused(refusal) => {
            assert_eq!(refusal.reason, RefusalReason::NotAvailable);
            assert!(refusal.detail.contains("for incident one"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(show("shared.service", "CPUQuotaPerSecUSec"), "500ms");
    undone(&stand, 1, to(&unit, LimitTo::CpuQuota(50)));
    assert_eq!(show("shared.service", "CPUQuotaPerSecUSec"), "infinity");
}

/// Whoever asked may never ask again.
fn what_systemd_did_not_take_back_is_tried_again() {
    let unit = service("stays.service", "");
    let stand = stand();
    let step = to(&unit, LimitTo::CpuWeight(7));
    assert_eq!(asked(&stand, 1, step.clone()).done, 1);
    let bus = show("dbus.service", "MainPID");
    let signal = |which: &str| assert!(Command::new("kill").args([which, bus.as_str()]).status().unwrap().success());
    signal("-STOP");
    let answer = stand.client.undo(&stand.asking("one", 1, step).intent).expect("an answer");
    signal("-CONT");
    assert!(matches!(&answer, UndoResult::Refused(refusal) if refusal.reason == RefusalReason::NotAvailable), "{answer:?}");
    assert_eq!(show("stays.service", "CPUWeight"), "7");
    stand.server.take_back_stubborn(Instant::now() + Duration::from_secs(120));
    assert_eq!(show("stays.service", "CPUWeight"), "[not set]");
}

/// Told to stop while a service takes its time to stop: the step in hand is ended by the grace, and what another one is limited to is lifted.
fn what_stands_is_lifted_behind_a_step_in_hand() {
    let (held, slow) = (service("held.service", ""), service("lingers.service", "ExecStop=/bin/sleep 80\nTimeoutStopSec=90"));
    let mut stand = stand();
    assert_eq!(asked(&stand, 1, to(&held, LimitTo::CpuWeight(7))).done, 1);
    let perform = stand.asking("one", 2, Step::RestartUnit(slow));
    let (admitted, client) = (admitted(&stand.policy, &perform), Client::new(&stand.socket));
    let restart = std::thread::spawn(move || client.perform(&admitted, perform));
    let until = Instant::now() + Duration::from_secs(20);
    while show("lingers.service", "ActiveState") != "deactivating" {
        assert!(Instant::now() < until, "it is not restarted");
        std::thread::sleep(Duration::from_millis(50));
    }
    stand.stop();
    assert_eq!(show("held.service", "CPUWeight"), "[not set]");
    drop(restart.join().unwrap().expect("the step's effect is told"));
}

/// An actuator that was killed after its note, before or after it had set the limit; and one whose host was booted since.
fn what_the_actuators_end_left_behind() {
    let unit = service("orphan.service", "");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    let step = to(&unit, LimitTo::CpuWeight(20));
    let left = |boot: &str| {
        let note = serde_json::json!({"boot": boot, "unit": "orphan.service", "property": "CPUWeight", "before": u64::MAX, "set": 20});
        Stand::with_open(tempfile::tempdir_in("/dev/shm").unwrap(), Later::new(), &step, &[note])
    };
    // Before it was set.
    let effect = undone(&left(&boot), 1, step.clone());
    assert_eq!((effect.done, effect.state), (0, EffectState::Done), "{effect:?}");
    assert!(effect.notes[0].contains("already, as before"), "{effect:?}");
    // After.
    systemctl(&["set-property", "--runtime", "orphan.service", "CPUWeight=20"]);
    let effect = undone(&left("another boot"), 1, step.clone());
    assert!(effect.done == 0 && effect.notes[0].contains("booted since"), "{effect:?}");
    assert_eq!(show("orphan.service", "CPUWeight"), "20");
    let effect = undone(&left(&boot), 1, step);
    assert_eq!(effect.notes, ["orphan.service: CPUWeight 20 -> unset"]);
    assert_eq!(show("orphan.service", "CPUWeight"), "[not set]");
}

/// A master that begins a worker on SIGUSR1, and on SIGUSR2 one whose parent ends at once.
const PREFORK: &str = "ExecStart=\nExecStart=/bin/bash -c 'trap \"sleep infinity &\" USR1; trap \"(sleep infinity &)\" USR2; \
                       sleep infinity & while :; do wait; done'";

fn set_score(pid: u32, to: i32) {
    fs::write(format!("/proc/{pid}/oom_score_adj"), to.to_string()).unwrap();
}

fn score(pid: u32) -> i32 {
    facts::process(pid).unwrap().oom_score_adj
}

fn begun(master: u32, known: &[u32], signal: &str) -> u32 {
    if !signal.is_empty() {
        systemctl(&["kill", "--kill-whom=main", &format!("--signal={signal}"), "prefork.service"]);
    }
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < until, "nothing was begun on {signal:?}");
        let listed = fs::read_to_string("/sys/fs/cgroup/system.slice/prefork.service/cgroup.procs").unwrap();
        let new = listed.lines().filter_map(|line| line.parse().ok()).find(|pid| *pid != master && !known.contains(pid));
        // What is only there to begin another one is no worker.
        match new.filter(|pid| facts::process(*pid).is_ok_and(|facts| facts.comm == "sleep".into())) {
            Some(pid) => return pid,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn what_a_preferred_unit_begins_meanwhile_is_given_back_as_well() {
    service("prefork.service", PREFORK);
    let master: u32 = show("prefork.service", "MainPID").parse().unwrap();
    let mut workers = vec![begun(master, &[], "")];
    let mut begin = |signal| {
        let pid = begun(master, &workers, signal);
        workers.push(pid);
        pid
    };
    let (theirs, first) = (begin("USR1"), facts::target(begin("USR1")));
    set_score(master, 100);
    // Somebody prefers this one already, by the very value of ours.
    set_score(theirs, 500);
    // The clock is that of the host: what is begun is dated by it.
    let host = || Later { days: 0, ..Later::new() };
    let stand = Stand::on(tempfile::tempdir_in("/dev/shm").unwrap(), host(), |_| {});
    let preference = Preference { unit: first.unit.clone(), processes: vec![facts::target(master), first.clone()], oom_score_adj: 500 };
    let step = Step::PreferVictims(preference);
    let effect = asked(&stand, 1, step.clone());
    assert_eq!((effect.state, effect.done), (EffectState::Done, 2), "{effect:?}");

    let (child, orphan, other) = (begin("USR1"), begin("USR2"), begin("USR1"));
    assert_eq!([child, orphan, other].map(score), [500; 3], "they have inherited it");
    assert_ne!(facts::process(orphan).unwrap().parent, master);
    set_score(other, 600);
    let effect = undone(&stand, 1, step.clone());
    assert_eq!([master, first.pid, child, orphan].map(score), [100, 0, 100, 0], "{effect:?}");
    assert_eq!([theirs, other].map(score), [500, 600], "somebody else's: {effect:?}");
    assert_eq!((effect.state, effect.done), (EffectState::Done, 4), "{effect:?}");

    // Numbers that were given away again: of one that is noted, and of a parent that is.
    let reused = |pid: u32, before: i32| {
        let now = facts::target(pid);
        serde_json::json!({"process": ProcessTarget { start_ticks: now.start_ticks - 1, ..now }, "before": before})
    };
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    let at_s = byteport::host::Clock::now(&host()).uptime_s;
    let newcomer = begin("USR1");
    let processes = [reused(newcomer, 30), reused(master, 50), serde_json::json!({"process": first, "before": 7})];
    let left = |group: serde_json::Value| {
        set_score(newcomer, 500);
        let mut note = serde_json::json!({"boot": boot, "set": 500, "processes": processes});
        if !group.is_null() {
            note["group"] = group;
        }
        undone(&Stand::with_open(tempfile::tempdir_in("/dev/shm").unwrap(), host(), &step, &[note]), 1, step.clone())
    };
    let effect = left(serde_json::json!({"path": "/system.slice/prefork.service", "at_s": at_s}));
    assert_eq!((score(newcomer), score(theirs), score(master)), (7, 500, 100), "{effect:?}");
    // A note from before groups were noted says nothing of when it began.
    let effect = left(serde_json::Value::Null);
    assert_eq!(score(newcomer), 500, "{effect:?}");
    assert!(effect.notes.iter().any(|note| note.contains("was not looked for")), "{effect:?}");
}

/// systemd restarts with a unit what needs it, and whoever wrote those units was not asked.
fn what_is_restarted_with_it_has_not_consented() {
    let runs = |names: &[&str]| names.iter().map(|name| show(name, "InvocationID")).collect::<Vec<_>>();
    let leader = service("leader.service", "");
    let stand = stand();
    let perform = stand.asking("one", 1, Step::RestartUnit(leader.clone()));
    let agents_word = admitted(&stand.policy, &perform);
    // Between the agent's look and the actuator's.
    let riders = ["binds.service", "part.service", "requires.service", "requisite.service", "wants.service"];
    for (name, how) in riders.iter().zip(["BindsTo", "PartOf", "Requires", "Requisite", "Wants"]) {
        service(name, &format!("[Unit]\nAfter=leader.service\n{how}=leader.service"));
    }
    fs::write("/run/systemd/system/leaders.target", "[Unit]\nRequires=leader.service\n").unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["start", "leaders.target"]);
    let before = runs(&riders);
    match stand.client.perform(&agents_word, perform).unwrap() {
        Performed::Refused(refusal) => {
            assert_eq!(refusal.reason, RefusalReason::NoOptIn, "{refusal}");
            assert!(refusal.detail.contains("binds.service, part.service, requires.service, requisite.service as well"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((target("leader.service"), runs(&riders)), (leader, before.clone()));
    // What is named is what systemd does.
    let named = byteport::host::ReadHost::unit(&Later::new(), "leader.service").unwrap().restarts_too;
    systemctl(&["restart", "leader.service"]);
    let after = runs(&riders);
    let restarted = riders.iter().enumerate().filter(|(at, _)| before[*at] != after[*at]).map(|(_, name)| (*name).to_owned());
    assert_eq!(named, restarted.collect::<Vec<_>>());
    // A limit restarts nobody.
    assert_eq!(asked(&stand, 2, to(&target("leader.service"), LimitTo::CpuWeight(20))).done, 1);
}

fn restarts() {
    let unit = service("plain.service", "");
    let effect = asked(&stand(), 1, Step::RestartUnit(unit.clone()));
    assert_eq!((effect.done, effect.state), (1, EffectState::Done), "{effect:?}");
    assert!(effect.notes[0].contains("it is active"), "{effect:?}");
    assert_ne!(show("plain.service", "InvocationID"), unit.invocation);

    // It does not care about SIGTERM, and its owner gave it more time.
    let stubborn = "ExecStart=\nExecStart=/bin/bash -c 'trap \"\" TERM; while :; do sleep 1; done'\nTimeoutStopSec=40s";
    let unit = service("stubborn.service", stubborn);
    let effect = asked(&stand(), 1, Step::RestartUnit(unit.clone()));
    let (state, invocation) = (show("stubborn.service", "ActiveState"), show("stubborn.service", "InvocationID"));
    // Or the container would wait for it at its end.
    drop(Command::new("systemctl").args(["kill", "-s", "KILL", "stubborn.service"]).output());
    assert_eq!((effect.done, effect.state), (1, EffectState::Done), "{effect:?}");
    assert!(effect.notes.iter().any(|n| n.contains("SIGKILL")), "{effect:?}");
    assert_eq!(state, "active");
    assert_ne!(invocation, unit.invocation);

    // Falls over on its second start: told as what it is.
    let once = "ExecStartPre=/bin/bash -c '! test -e /run/began-once && touch /run/began-once'";
    let unit = service("fragile.service", once);
    let effect = asked(&stand(), 1, Step::RestartUnit(unit));
    assert_eq!((effect.done, effect.state), (1, EffectState::Partial), "{effect:?}");
    assert!(effect.notes[0].contains("fragile.service"), "{effect:?}");

    // A restart cannot be taken back.
    let stand = stand();
    let step = Step::RestartUnit(target("plain.service"));
    asked(&stand, 1, step.clone());
    match stand.client.undo(&stand.asking("one", 1, step).intent).unwrap() {
        UndoResult::Refused(refusal) => assert_eq!(refusal.reason, RefusalReason::NotAvailable),
        other => panic!("{other:?}"),
    }
}
