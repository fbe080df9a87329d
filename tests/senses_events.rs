//! What a host tells by itself, told by real parts: this machine's kernel, and systemd, D-Bus and journald in a container.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use byteport::host::JournalAsk;
use byteport::model::{JournalEntry, KernelEvent, KernelEventKind, UnitState, Units};
use byteport::sense::{Happened, Listen, Listening};
use support::nspawn::INSIDE;
use support::{missing, output};

/// Longer than anything here takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(240);

fn listen(listen: Listen) -> (Listening, Receiver<Happened>) {
    let (sender, receiver) = channel();
    let listening = Listening::start(Path::new("/"), listen, move |happened| drop(sender.send(happened))).unwrap();
    (listening, receiver)
}

/// Asks until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kernel_event(happened: &Receiver<Happened>, wanted: impl Fn(&KernelEvent) -> bool) -> KernelEvent {
    let end = Instant::now() + PATIENCE;
    while let Ok(event) = happened.recv_timeout(end.saturating_duration_since(Instant::now())) {
        match event {
            Happened::Kernel(event) if wanted(&event) => return event,
            _ => {}
        }
    }
    panic!("the kernel's event was not told");
}

#[test]
fn a_kernel_that_finds_an_error_on_a_filesystem_is_heard() {
    let Some(mut disk) = support::loops::LoopDisk::ext4(16 << 20, &[]) else { return };
    let (listening, happened) = listen(Listen::default());
    if let Err(why) = listening.kernel_log() {
        return missing(&why.to_string());
    }
    let dir = tempfile::tempdir().unwrap();
    disk.mount(dir.path());
    let device = disk.device.file_name().unwrap().to_string_lossy().into_owned();
    fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "on purpose").unwrap();
    let event = kernel_event(&happened, |e| e.kind == KernelEventKind::FilesystemError && e.subject == device);
    assert!(event.text.contains("on purpose") && event.text.starts_with("EXT4-fs error"), "{event:?}");
    let log = listening.kernel_log().unwrap();
    assert!(log.recent.contains(&event) && log.lines > 0, "{log:?}");

    // A later run that knows what was seen goes on there, and hears it again only if it had not.
    let (seen, _) = listening.places();
    drop(listening);
    let again = |kernel_after| {
        let (listening, _happened) = listen(Listen { kernel_after, ..Listen::default() });
        until("the log is not read again", || listening.places().0.filter(|seq| Some(*seq) >= seen));
        listening.kernel_log().unwrap().recent.contains(&event)
    };
    fs::write("/dev/kmsg", "byteport: a line so that there is something to read\n").unwrap();
    assert!(!again(seen));
    assert!(again(Some(event.seq - 1)));
}

#[test]
fn a_kill_for_want_of_memory_is_told_once_with_victim_and_cgroup() {
    let name = format!("byteport-senses-{}", std::process::id());
    let (group, limit) = if Path::new("/sys/fs/cgroup/memory").is_dir() {
        (PathBuf::from("/sys/fs/cgroup/memory").join(&name), "memory.limit_in_bytes")
    } else {
        (PathBuf::from("/sys/fs/cgroup").join(&name), "memory.max")
    };
    if fs::create_dir(&group).is_err() || fs::write(group.join(limit), "16777216").is_err() {
        drop(fs::remove_dir(&group));
        return missing("a cgroup with a limit on memory needs root and the memory controller");
    }
    // Where there is swap, it would be filled first.
    drop(fs::write(group.join("memory.swap.max"), "0").or_else(|_| fs::write(group.join("memory.memsw.limit_in_bytes"), "16777216")));
    let (listening, happened) = listen(Listen::default());
    if let Err(why) = listening.kernel_log() {
        drop(fs::remove_dir(&group));
        return missing(&why.to_string());
    }
    // The name imitates what the kernel prints around it.
    let script =
        format!("echo $$ >{}/cgroup.procs; printf 'a),pid=1,b' >/proc/self/comm; exec 3</dev/zero; x=$(tr '\\0' x <&3)", group.display());
    let mut child = Command::new("bash").args(["-c", &script]).stderr(Stdio::null()).spawn().unwrap();
    let event =
        kernel_event(&happened, |e| e.kind == KernelEventKind::OomKill && e.cgroup.as_ref().is_some_and(|c| c.to_string().contains(&name)));
    drop(child.kill());
    child.wait().unwrap();
    until("the group does not get empty", || fs::remove_dir(&group).ok());
    let kills: Vec<_> = listening.kernel_log().unwrap().recent.iter().filter(|e| e.pid == event.pid).cloned().collect();
    assert_eq!((kills.len(), event.cgroup.as_ref().unwrap().to_string()), (1, format!("/{name}")), "{kills:?}");
    assert!(["a),pid=1,b", "tr", "bash"].contains(&event.subject.as_str()), "{event:?}");
}

#[test]
fn without_systemd_the_units_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let listening = Listening::start(dir.path(), Listen::default(), |_| {}).unwrap();
    until("it says nothing", || listening.units().err().filter(|why| why.to_string().contains("run/dbus/system_bus_socket")).map(drop));
    assert!(listening.kernel_log().unwrap_err().to_string().contains("/dev/kmsg"), "{:?}", listening.kernel_log());
    assert!(listening.journal().unwrap_err().to_string().contains("no units and no markers"), "{:?}", listening.journal());
}

/// The agent's own unit, with this program in its place: what it may do is what the agent may do.
const SANDBOX: &str = r#"
systemd-sysusers /harness/byteport.conf && mkdir -p /run/byteport /usr/lib/byteport
cp /harness/senses_events /usr/bin/byteport-senses
sed -e 's|^ExecStart=.*|ExecStart=/usr/bin/byteport-senses --exact inside_the_sandbox --nocapture|' \
    -e 's|^Type=.*|Type=oneshot|; /^WatchdogSec/d; /^Restart/d; /^ExecReload/d' \
    -e '/^\[Service\]/a StandardOutput=append:/harness/out/sandbox\nStandardError=append:/harness/out/sandbox\nEnvironment=BYTEPORT_TEST_INSIDE=1' \
    /harness/byteport-agent.service >/run/systemd/system/byteport-senses.service
systemctl daemon-reload
systemctl start byteport-senses || exit 1
"#;

#[test]
fn systemd_and_journald_are_heard() {
    let Some(machine) = support::nspawn::Machine::ready() else { return };
    let script =
        format!("export {INSIDE}=1\n{SANDBOX}\nexec {}/senses_events --exact inside_the_container --nocapture", support::nspawn::SHARE);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let boot = support::nspawn::Boot::of(script)
        .with(std::env::current_exe().unwrap(), "senses_events")
        .with(here.join("systemd/byteport-agent.service"), "byteport-agent.service")
        .with(here.join("systemd/byteport.sysusers"), "byteport.conf")
        .with_device("/dev/kmsg")
        .within(Duration::from_secs(900));
    let told = machine.boot(&boot);
    eprintln!("{}{}{}", told.file("sandbox").unwrap_or_default(), told.stdout, told.stderr);
    told.succeeded();
    assert!(told.stdout.contains("1 passed") && told.file("sandbox").unwrap_or_default().contains("1 passed"));
}

#[test]
fn inside_the_sandbox() {
    if support::nspawn::inside().is_none() {
        return;
    }
    let ask = JournalAsk { units: vec!["init.scope".into(), "systemd-journald.service".into()], markers: vec![] };
    let (listening, _happened) = listen(Listen { journal: ask, kernel_after: Some(0), ..Listen::default() });
    assert!(!rustix::process::geteuid().is_root());
    let lines = until("the kernel's log is not read", || listening.kernel_log().ok().map(|log| log.lines).filter(|n| *n > 0));
    let units = until("no units", || listening.units().ok().map(|u| u.units.len()));
    until("the journal cannot be followed", || listening.journal().ok().map(drop));
    println!("in the sandbox: {lines} lines of the kernel, {units} units, the journal");
    assert!(fs::write("/dev/kmsg", "x\n").is_err(), "the kernel's log is there to be read");
    assert!(
        fs::read_dir("/dev").unwrap().flatten().all(|e| !e.file_name().to_string_lossy().starts_with("loop")),
        "its devices are its own"
    );
}

#[test]
fn inside_the_container() {
    if support::nspawn::inside().is_none() {
        return;
    }
    let ask = JournalAsk { units: vec!["talker.service".into()], markers: vec!["number".into()] };
    let (listening, happened) = listen(Listen { journal: ask, ..Listen::default() });
    until("no units", || listening.units().ok().map(drop));
    the_table_is_that_of_systemd(&listening);
    failures_are_told(&listening, &happened);
    the_bus_may_go_away(&listening, &happened);
    nobody_else_is_believed(&listening);
    nothing_of_the_journal_is_missed(&listening);
    the_follower_ends_with_us();
    println!("all was heard");
}

fn systemctl(args: &[&str]) -> String {
    output(Command::new("systemctl").args(args))
}

fn units(listening: &Listening) -> Option<Units> {
    listening.units().ok()
}

fn unit(listening: &Listening, name: &str) -> Option<UnitState> {
    units(listening)?.units.into_iter().find(|u| u.name == name)
}

fn service(name: &str, lines: &str) {
    fs::write(format!("/run/systemd/system/{name}.service"), format!("[Unit]\nStartLimitIntervalSec=0\n[Service]\n{lines}\n")).unwrap();
    systemctl(&["daemon-reload"]);
}

/// Name and state of every unit, once it stands still.
fn the_table_is_that_of_systemd(listening: &Listening) {
    until("the boot does not end", || (systemctl_state() != "starting").then_some(()));
    let (ours, theirs) = (
        || {
            let all = units(listening)?;
            Some((all.system_state, all.units.into_iter().map(|u| (u.name, u.active, u.sub)).collect::<Vec<_>>()))
        },
        || {
            let list = systemctl(&["list-units", "--all", "--plain", "--no-legend", "--full"]);
            let mut list: Vec<_> = list
                .lines()
                .filter_map(|line| match line.split_whitespace().take(4).collect::<Vec<_>>()[..] {
                    [name, "loaded", active, sub] => Some((name.to_owned(), active.to_owned(), sub.to_owned())),
                    _ => None,
                })
                .collect();
            list.sort();
            Some((systemctl_state(), list))
        },
    );
    let mut last = (None, None);
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        last = (ours(), theirs());
        if last.0.is_some() && last.0 == last.1 {
            let journald = until("no Type", || unit(listening, "systemd-journald.service").filter(|u| !u.kind.is_empty()));
            assert_eq!((journald.kind.as_str(), journald.restarts), ("notify", Some(0)));
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let (Some((_, ours)), Some((_, theirs))) = &last else { panic!("{last:?}") };
    let only =
        |a: &[(String, String, String)], b: &[(String, String, String)]| a.iter().filter(|u| !b.contains(u)).cloned().collect::<Vec<_>>();
    panic!("only ours: {:?}\nonly systemd's: {:?}", only(ours, theirs), only(theirs, ours));
}

fn systemctl_state() -> String {
    // It fails for anything but `running`.
    let out = Command::new("systemctl").arg("is-system-running").output().unwrap();
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// That this unit failed is told, and is in the table's list, once.
fn is_told(listening: &Listening, happened: &Receiver<Happened>, name: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        match happened.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Happened::UnitFailed(unit)) if unit == name => break,
            Ok(_) => {}
            Err(e) => panic!("{name} failed and nobody was told: {e}"),
        }
    }
    let told = until("no units", || units(listening));
    assert!(told.newly_failed.iter().any(|n| n == name), "{:?}", told.newly_failed);
    assert_eq!(told.units.iter().find(|u| u.name == name).unwrap().active, "failed");
    assert!(units(listening).unwrap().newly_failed.is_empty());
}

fn failures_are_told(listening: &Listening, happened: &Receiver<Happened>) {
    // Loaded, started and failed within a moment of each other.
    service("brittle", "ExecStart=/bin/false");
    systemctl(&["start", "--no-block", "brittle"]);
    is_told(listening, happened, "brittle.service");
    until("not degraded", || units(listening).filter(|u| u.system_state == "degraded"));
    systemctl(&["reset-failed", "brittle"]);
    until("it is not let go", || unit(listening, "brittle.service").is_none_or(|u| u.active == "inactive").then_some(()));
    until("still degraded", || units(listening).filter(|u| u.system_state == "running"));

    service("restless", "ExecStart=/bin/sh -c 'sleep 0.1; exit 1'\nRestart=always\nRestartSec=100ms");
    systemctl(&["start", "--no-block", "restless"]);
    until("its restarts are not counted", || unit(listening, "restless.service").filter(|u| u.restarts >= Some(3)));
    systemctl(&["stop", "restless"]);
    // Type= is told anew after a reload.
    service("restless", "Type=oneshot\nExecStart=/bin/true\nRemainAfterExit=yes");
    systemctl(&["start", "restless"]);
    until("its type is not read again", || unit(listening, "restless.service").filter(|u| u.kind == "oneshot" && u.active == "active"));
}

fn sockets() -> usize {
    let fds = fs::read_dir("/proc/self/fd").unwrap().flatten();
    fds.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))).count()
}

fn the_bus_may_go_away(listening: &Listening, happened: &Receiver<Happened>) {
    let before = sockets();
    for round in 0..3 {
        let name = format!("unheard-{round}");
        service(&name, "ExecStart=/bin/sh -c 'exit 1'");
        systemctl(&["stop", "dbus.socket", "dbus.service"]);
        until("a bus that is gone still has units", || listening.units().err().map(drop));
        // Fails while nobody can hear of it.
        systemctl(&["start", "--no-block", &name]);
        until("it does not fail", || systemctl(&["show", "-P", "ActiveState", &name]).contains("failed").then_some(()));
        systemctl(&["start", "dbus.socket", "dbus.service"]);
        is_told(listening, happened, &format!("{name}.service"));
    }
    systemctl(&["daemon-reexec"]);
    service("afterwards", "ExecStart=/bin/false");
    systemctl(&["start", "--no-block", "afterwards"]);
    is_told(listening, happened, "afterwards.service");
    assert_eq!(sockets(), before, "connections are left behind");
}

fn nobody_else_is_believed(listening: &Listening) {
    let path = "/org/freedesktop/systemd1/unit/dbus_2eservice";
    let state = |sub: &str| format!("a{{sv}} 2 ActiveState s failed SubState s {sub}");
    let signal = format!(
        "busctl emit {path} org.freedesktop.DBus.Properties PropertiesChanged sa{{sv}}as org.freedesktop.systemd1.Unit {} 0",
        &state("failed")[6..]
    );
    output(Command::new("sh").args(["-c", &signal]));
    // Every client there is, so ours as well.
    let clients = output(Command::new("busctl").args(["list", "--unique", "--no-legend"]));
    for client in clients.lines().filter_map(|l| l.split_whitespace().next()) {
        output(Command::new("sh").args(["-c", &format!("{signal} --destination={client}")]));
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(unit(listening, "dbus.service").unwrap().active, "active");
}

/// Processes whose parent is `of`, by name.
fn children(of: u32, name: &str) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let is = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((head, tail)) = stat.rsplit_once(") ") else { return false };
        head.ends_with(&format!("({name}")) && tail.split(' ').nth(1) == Some(&of.to_string()) && !tail.starts_with('Z')
    };
    all.filter(is).collect()
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn end(pid: i32) {
    signal(pid, rustix::process::Signal::KILL);
}

/// Numbers that a service says, while everything around is turned over.
fn nothing_of_the_journal_is_missed(listening: &Listening) {
    const STOP: &str = "/run/talker-stop";
    let script = format!("n=0; until [ -e {STOP} ]; do n=$((n + 1)); echo number $n; echo not $n; sleep 0.02; done; echo number last");
    service("talker", &format!("ExecStart=/bin/bash -c '{script}'\nStandardOutput=journal\nSyslogLevel=warning"));
    systemctl(&["start", "talker"]);
    let mut told: Vec<JournalEntry> = Vec::new();
    let mut turns: Vec<Box<dyn FnOnce() + Send>> = vec![
        Box::new(|| drop(output(Command::new("journalctl").arg("--rotate")))),
        Box::new(|| children(std::process::id(), "journalctl").into_iter().for_each(end)),
        Box::new(|| drop(systemctl(&["restart", "systemd-journald"]))),
        Box::new(|| drop(output(Command::new("journalctl").args(["--rotate", "--vacuum-size=1M"])))),
        Box::new(|| end(systemctl(&["show", "-P", "MainPID", "systemd-journald"]).trim().parse().unwrap())),
    ];
    turns.reverse();
    let mut turning: Vec<std::thread::JoinHandle<()>> = Vec::new();
    until("the last number is not told", || {
        if let Ok(value) = listening.journal() {
            told.extend(value.entries);
            let last = told.last().map(|e| e.message.clone());
            assert_eq!((value.dropped, value.gaps), (0, 0), "{} told, up to {last:?}, {} turns left", told.len(), turns.len());
        }
        let still = turning.iter().any(|t| !t.is_finished());
        if !still
            && told.len() > 200 * (6 - turns.len())
            && let Some(turn) = turns.pop()
        {
            // Beside us: a turn may take longer than the queue is long.
            turning.push(std::thread::spawn(turn));
        }
        if turns.is_empty() && turning.iter().all(std::thread::JoinHandle::is_finished) && told.len() > 1200 {
            fs::write(STOP, "").unwrap();
        }
        told.last().is_some_and(|e| e.message == "number last").then_some(())
    });
    told.pop();
    turning.into_iter().for_each(|turn| turn.join().unwrap());
    let numbers: Vec<u32> = told.iter().map(|e| e.message.strip_prefix("number ").unwrap().parse().unwrap()).collect();
    let last = *numbers.last().unwrap();
    let lost: Vec<u32> = (1..=last).filter(|n| !numbers.contains(n)).collect();
    println!("{} numbers, {} missing: {lost:?}", numbers.len(), lost.len());
    assert!(numbers.is_sorted_by(|a, b| a < b), "told twice, or out of order");
    assert_eq!(
        lost.len(),
        0,
        "journald has them: {}",
        output(Command::new("journalctl").args(["-u", "talker", "-o", "cat", "-q"])).matches("number").count()
    );
    assert!(told.iter().all(|e| e.unit == "talker.service" && e.priority == Some(4)));
    let times: Vec<_> = told.iter().map(|e| e.at.expect("journald says when")).collect();
    let age = |at: jiff::Timestamp| jiff::Timestamp::now().as_second() - at.as_second();
    assert!(times.is_sorted() && times.iter().all(|at| (0..3600).contains(&age(*at))), "{:?}", times.last());
    assert_eq!(children(std::process::id(), "journalctl").len(), 1);
}

const ALONE: &str = "BYTEPORT_TEST_FOLLOWS";

/// Follows until it is ended.
#[test]
fn follows_alone() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let ask = JournalAsk { units: vec!["talker.service".into()], markers: vec![] };
    let _listening = listen(Listen { journal: ask, ..Listen::default() });
    std::thread::sleep(PATIENCE);
}

fn the_follower_ends_with_us() {
    let us = std::env::current_exe().unwrap();
    let mut other = Command::new(us).args(["--exact", "follows_alone"]).env(ALONE, "1").stdout(Stdio::null()).spawn().unwrap();
    let follower = until("it does not follow", || children(other.id(), "journalctl").first().copied());
    // One that is stopped cannot find out by itself that nobody reads it any more.
    signal(follower, rustix::process::Signal::STOP);
    other.kill().unwrap();
    other.wait().unwrap();
    until("journalctl goes on without anybody to read it", || (!Path::new(&format!("/proc/{follower}")).exists()).then_some(()));
}
