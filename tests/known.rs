//! What is known of units before it is needed, on a real systemd in a container: whom nobody can ask while memory is gone.

mod acting;
mod support;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use acting::{Later, Stand, admitted_by, facts};
use byteport::act::client::{Performed, UndoResult};
use byteport::detect::History;
use byteport::host::{self, Clock, LiveHost, ReadHost};
use byteport::model::{
    EffectState, LimitTo, Observed, Preference, RefusalReason, Severity, Signal, SignalKind, Step, Subject, UnitFacts, UnitLimit,
};
use byteport::runbooks::memory::{MemoryShort, Params};
use byteport::runbooks::{Depth, FocusedAsk, Runbook};
use byteport::wire::actuator::{Ask, Request};
use byteport::wire::frame;
use support::nspawn::INSIDE;
use support::units::{service, show, systemctl};

const AGENT: &str = "byteport-agent";

#[test]
fn what_systemd_said_of_units_is_there_when_systemd_is_not() {
    let Some(machine) = support::nspawn::Machine::ready() else { return };
    let script = format!("{INSIDE}=yes exec {}/known --exact inside_the_container --nocapture", support::nspawn::SHARE);
    let boot = support::nspawn::Boot::of(script).with(std::env::current_exe().unwrap(), "known");
    let told = machine.boot(&boot.with(env!("CARGO_BIN_EXE_byteport-agent"), AGENT));
    eprintln!("{}{}", told.stdout, told.stderr);
    told.succeeded();
    assert_eq!(told.stdout.matches("1 passed").count(), 1);
}

#[test]
fn inside_the_container() {
    if support::nspawn::inside().is_none() {
        return;
    }

    a_unit_that_is_known_needs_no_systemd();
    a_preference_does_not_wait_for_systemd();
    while_the_host_stalls_the_runbook_does_not_wait_for_systemd();
    the_agent_has_the_largest_services_known();
}

const BUS: &str = "/run/dbus/system_bus_socket";

/// Nobody finds the bus while `work` is done, as if nobody answered on it.
fn without_the_bus<T>(work: impl FnOnce() -> T) -> T {
    fs::rename(BUS, "/run/dbus/away").unwrap();
    let done = work();
    fs::rename("/run/dbus/away", BUS).unwrap();
    done
}

fn a_unit_that_is_known_needs_no_systemd() {
    let (name, dropins) = ("known.service", Path::new("/etc/systemd/system/known.service.d"));
    let first = service(name, "MemoryHigh=64M");
    let host = LiveHost::new(Path::new("/"), None, None).unwrap();
    let at_once = || without_the_bus(|| host.unit_at_once(name));
    assert!(at_once().is_err(), "nobody has asked about it yet");
    host.know_units(&[name.to_owned(), "no-such.service".to_owned()]);
    let known = at_once().unwrap();
    assert!(without_the_bus(|| host.unit(name)).is_err(), "without the bus systemd answers");
    let told = host.unit(name).unwrap();
    assert_eq!(UnitFacts { active_for_s: 0.0, ..known }, UnitFacts { active_for_s: 0.0, ..told });
    assert!(at_once().unwrap().restart_safe);
    // Systemd is not there: what is known stays known.
    without_the_bus(|| host.know_units(&[name.to_owned()]));
    assert!(at_once().is_ok());

    systemctl(&["restart", name]);
    assert!(at_once().is_err(), "it was started anew");
    let second = host.unit_at_once(name).unwrap();
    assert_ne!(second.invocation, first.invocation);
    assert_eq!(at_once().unwrap().invocation, second.invocation, "asking for it makes it known");

    // Not read by systemd yet, and already nothing is sure any more.
    fs::create_dir_all(dropins).unwrap();
    fs::write(dropins.join("no.conf"), "[X-Byteport]\nRestart=no\n").unwrap();
    assert!(at_once().is_err(), "a drop-in was added");
    systemctl(&["daemon-reload"]);
    assert!(!host.unit_at_once(name).unwrap().restart_safe);
    assert!(!at_once().unwrap().restart_safe);
    fs::write(dropins.join("no.conf"), "[X-Byteport]\n").unwrap();
    assert!(at_once().unwrap().restart_safe, "it is read anew");

    // Drop-ins for all services lie in no folder of this unit's, and count once systemd has read them.
    host.know_units(&[name.to_owned()]);
    fs::create_dir_all("/etc/systemd/system/service.d").unwrap();
    host.know_units(&[name.to_owned()]);
    assert!(at_once().is_ok());
    fs::write("/etc/systemd/system/service.d/all.conf", "[X-Byteport]\nRestart=no\n").unwrap();
    systemctl(&["daemon-reload"]);
    assert!(at_once().is_err(), "units were read anew");
    assert!(!host.unit_at_once(name).unwrap().restart_safe);
    fs::remove_dir_all("/etc/systemd/system/service.d").unwrap();
    systemctl(&["daemon-reload"]);

    host.know_units(&[name.to_owned()]);
    systemctl(&["set-property", "--runtime", name, "MemoryHigh=32M"]);
    assert!(at_once().is_err(), "somebody has set a limit");
    host.know_units(&[name.to_owned()]);
    systemctl(&["stop", name]);
    assert!(at_once().is_err(), "it was stopped");
}

fn a_preference_does_not_wait_for_systemd() {
    let unit = service("early.service", "");
    let process = facts::target(show(&unit.unit, "MainPID").parse().unwrap());
    let score = || facts::process(process.pid).unwrap().oom_score_adj;
    let prefer = Step::PreferVictims(Preference { unit: process.unit.clone(), processes: vec![process.clone()], oom_score_adj: 900 });
    let agent = Later::new();
    let stand = Stand::on(tempfile::tempdir_in("/dev/shm").unwrap(), Later::new(), |_| {});
    let asked = |number, step: &Step| {
        let perform = stand.asking("one", number, step.clone());
        stand.client.perform(&admitted_by(&agent, &stand.policy, &perform), perform).unwrap()
    };
    agent.know_units(std::slice::from_ref(&unit.unit));
    match without_the_bus(|| asked(1, &prefer)) {
        Performed::Refused(refusal) => assert_eq!(refusal.reason, RefusalReason::Stale, "the actuator knows nothing of it"),
        other => panic!("{other:?}"),
    }
    // Whoever is told more than it looks at, or of what is no service, looks at what it can.
    let odd = ["x".repeat(300) + ".service", "/".into(), String::new(), "early.slice".into()];
    let hello = stand.client.hello_soon(odd.into_iter().chain([unit.unit.clone()]).collect()).unwrap();
    assert_eq!(hello, stand.client.hello().unwrap());
    // It is asked about behind the answer's back.
    let mut number = 2;
    let until = Instant::now() + Duration::from_secs(30);
    let effect = loop {
        match without_the_bus(|| asked(number, &prefer)) {
            Performed::Effect(effect) => break effect,
            Performed::Refused(refusal) if refusal.reason == RefusalReason::Stale => assert!(Instant::now() < until, "{refusal}"),
            other => panic!("{other:?}"),
        }
        number += 1;
    };
    assert_eq!((effect.state, effect.done, score()), (EffectState::Done, 1, 900), "{effect:?}");
    // What systemd would have to do waits for it, whatever is known.
    let limit = Step::LimitUnit(UnitLimit { target: unit.clone(), limit: LimitTo::CpuWeight(20) });
    let targets = without_the_bus(|| host::targets(&agent, &limit));
    assert!(targets.unit.unwrap().value().is_none());
    // Taking it back needs no systemd at all.
    match without_the_bus(|| stand.client.undo(&stand.asking("one", number, prefer).intent)).unwrap() {
        UndoResult::Undone(effect) => assert_eq!((effect.done, score()), (1, 0), "{effect:?}"),
        UndoResult::Refused(refusal) => panic!("{refusal}"),
    }
}

fn while_the_host_stalls_the_runbook_does_not_wait_for_systemd() {
    let name = "stalls.service";
    service(name, "");
    let host = LiveHost::new(Path::new("/"), None, None).unwrap();
    let subject = Subject::Unit { name: name.to_owned() };
    let stall = Signal {
        kind: SignalKind::new("memory_stall"),
        subject: subject.clone(),
        severity: Severity::Critical,
        since: host.now(),
        detail: String::new(),
    };
    let facts = |signals: &[Signal]| {
        let (subject, history) = (&subject, &History::default());
        let ask = FocusedAsk { subject, signals, history, sample: None, depth: Depth::Full };
        let seen = without_the_bus(|| MemoryShort::gather(&host, &ask, &Params::default()));
        let own = seen.groups.value().unwrap().iter().find(|g| g.unit.as_deref() == Some(name)).cloned();
        own.map(|group| group.facts)
    };
    host.know_units(&[name.to_owned()]);
    match facts(std::slice::from_ref(&stall)) {
        Some(Observed::Value { value, .. }) => assert!(value.restart_safe, "{value:?}"),
        other => panic!("{other:?}"),
    }
    // Nothing hurries: systemd itself is asked.
    assert!(facts(&[]).unwrap().why().is_some());
}

/// Ended with us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A real agent, and in the actuator's place somebody who only listens.
fn the_agent_has_the_largest_services_known() {
    let name = "large.service";
    service(name, "ExecStart=\nExecStart=/bin/bash -c 'head -c 67108864 /dev/zero >/dev/shm/large; exec sleep infinity'");
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = dir.path().display();
    let config = format!(
        "mode = \"act\"\nallow = [\"memory\"]\nstate_dir = \"{at}/state\"\nsocket = \"{at}/agent.sock\"\n\
         actuator_socket = \"{at}/actuator.sock\"\nlisten = \"127.0.0.1:9634\"\nsample_interval = \"1s\"\n"
    );
    fs::write(dir.path().join("agent.toml"), config).unwrap();
    let listener = UnixListener::bind(dir.path().join("actuator.sock")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let mut command = Command::new(Path::new(support::nspawn::SHARE).join(AGENT));
    command.arg("--config").arg(dir.path().join("agent.toml")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let _agent = Running(command.env_remove("BYTEPORT_DRY_RUN").env_remove("NOTIFY_SOCKET").spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(100);
    loop {
        assert!(Instant::now() < until, "{}", fs::read_to_string(dir.path().join("log")).unwrap());
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        match frame::read::<Request>(&mut stream).map(|request| request.ask) {
            Ok(Ask::Soon { units }) if units.iter().any(|unit| unit == name) => break,
            _ => {}
        }
    }
}
