//! Steps on single processes, on processes of our own: whom they reach, whom they do not, and the way back.

mod acting;
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use acting::{Later, Stand, admitted, facts};
use byteport::act::client::{Performed, UndoResult};
use byteport::model::{Effect, EffectState, Preference, ProcessTarget, SkipReason, Step};

/// A shell with a script of its own, ended with us.
struct Running(Child);

impl Running {
    /// The script says a line when it is ready.
    fn script(text: &str) -> Self {
        let mut child = Command::new("bash").args(["-c", text]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn stand() -> Stand {
    Stand::on(tempfile::tempdir().unwrap(), Later::new(), |_| {})
}

fn asked(stand: &Stand, number: u32, step: Step) -> Effect {
    let perform = stand.asking("one", number, step);
    match stand.client.perform(&admitted(&stand.policy, &perform), perform).expect("an answer") {
        Performed::Effect(effect) => effect,
        other => panic!("{other:?}"),
    }
}

fn undone(stand: &Stand, number: u32) -> Effect {
    match stand.client.undo(&stand.asking("one", number, killing(facts::target(std::process::id()))).intent).expect("an answer") {
        UndoResult::Undone(effect) => effect,
        other => panic!("{other:?}"),
    }
}

fn killing(process: ProcessTarget) -> Step {
    Step::KillProcess { process, grace_s: 1 }
}

#[test]
fn one_that_listens_is_ended_by_sigterm_and_one_that_does_not_by_sigkill() {
    let stand = stand();
    let mut polite = Running::script("echo ready; exec sleep 1000");
    let effect = asked(&stand, 1, killing(facts::target(polite.pid())));
    assert_eq!((effect.state, effect.done), (EffectState::Done, 1), "{effect:?}");
    assert!(effect.notes[0].contains("SIGTERM ended"), "{effect:?}");
    assert!(polite.ended());

    let mut deaf = Running::script("trap '' TERM; echo ready; while :; do sleep 0.2; done");
    let effect = asked(&stand, 2, killing(facts::target(deaf.pid())));
    assert_eq!((effect.state, effect.done), (EffectState::Done, 1), "{effect:?}");
    assert!(effect.notes[0].contains("SIGKILL did"), "{effect:?}");
    assert!(deaf.ended());
}

/// The host that guard is told of still shows what was examined; the act looks for itself.
#[test]
fn a_number_that_somebody_else_has_by_now_is_not_hit() {
    let mut newcomer = Running::script("echo ready; exec sleep 1000");
    let now = facts::target(newcomer.pid());
    // Who had the number when it was examined had begun earlier, and has ended since.
    let examined = ProcessTarget { start_ticks: now.start_ticks - 1, ..now };
    let host = || Later { once: Some(std::sync::Mutex::new(vec![examined.clone()])), ..Later::new() };
    let steps = [
        killing(examined.clone()),
        Step::CalmProcess(examined.clone()),
        Step::PreferVictims(Preference { unit: None, processes: vec![examined.clone()], oom_score_adj: 700 }),
    ];
    for (number, step) in (1..).zip(steps) {
        let stand = Stand::on(tempfile::tempdir().unwrap(), host(), |_| {});
        let perform = stand.asking("one", number, step);
        match stand.client.perform(&acting::admitted_by(&host(), &stand.policy, &perform), perform).unwrap() {
            Performed::Effect(effect) => {
                assert_eq!((effect.done, effect.skipped.get(&SkipReason::Changed)), (0, Some(&1)), "{effect:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!newcomer.ended());
    let own = facts::process(std::process::id()).unwrap();
    let facts = facts::process(newcomer.pid()).unwrap();
    assert_eq!((facts.nice, facts.idle_class, facts.oom_score_adj), (own.nice, false, own.oom_score_adj));
}

#[test]
fn one_that_has_ended_is_gone() {
    let mut brief = Running::script("echo ready; exec sleep 1000");
    let target = facts::target(brief.pid());
    brief.0.kill().unwrap();
    brief.0.wait().unwrap();
    let host = || Later { once: Some(std::sync::Mutex::new(vec![target.clone()])), ..Later::new() };
    let stand = Stand::on(tempfile::tempdir().unwrap(), host(), |_| {});
    let perform = stand.asking("one", 1, killing(target.clone()));
    match stand.client.perform(&acting::admitted_by(&host(), &stand.policy, &perform), perform).unwrap() {
        Performed::Effect(effect) => assert_eq!((effect.done, effect.skipped.get(&SkipReason::Gone)), (0, Some(&1)), "{effect:?}"),
        other => panic!("{other:?}"),
    }
}

/// Its threads' nice values and scheduling classes, by thread.
fn manners(pid: u32) -> Vec<(String, i64, i64)> {
    let mut all: Vec<_> = fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap();
            let fields: Vec<i64> = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(1).map(|f| f.parse().unwrap_or(-1)).collect();
            (entry.file_name().into_string().unwrap(), fields[19 - 4], fields[41 - 4])
        })
        .collect();
    all.sort();
    all
}

const IDLE: (i64, i64) = (19, 5);

#[test]
fn every_thread_is_calmed_and_given_back_what_it_had_and_so_are_those_made_meanwhile() {
    if !support::on_path("python3") {
        return support::missing("python3, for a program with threads");
    }
    // Three threads, of which one is nicer and one in the batch class; on SIGUSR1 each makes another one.
    let program = "import os, signal, threading, time\n\
        def wait(manner):\n    \
            t = threading.get_native_id()\n    \
            if manner == 1: os.setpriority(os.PRIO_PROCESS, t, 7)\n    \
            if manner == 2: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))\n    \
            told.wait()\n    \
            threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()\n    \
            time.sleep(1000)\n\
        told = threading.Event()\n\
        signal.signal(signal.SIGUSR1, lambda *_: told.set())\n\
        for n in range(3): threading.Thread(target=wait, args=(n,), daemon=True).start()\n\
        time.sleep(0.3)\n\
        print('ready', flush=True)\n\
        while True: time.sleep(1000)\n";
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("threads.py"), program).unwrap();
    let busy = Running::script(&format!("exec python3 {}", dir.path().join("threads.py").display()));
    let target = ProcessTarget { comm: "python3".into(), ..facts::target(busy.pid()) };
    let before = manners(busy.pid());
    let own = i64::from(facts::process(std::process::id()).unwrap().nice);
    assert_eq!(before.iter().map(|(_, nice, class)| (*nice, *class)).collect::<Vec<_>>(), [(own, 0), (own, 0), (7, 0), (own, 3)]);
    let stand = stand();
    let effect = asked(&stand, 1, Step::CalmProcess(target));
    assert_eq!((effect.state, effect.done), (EffectState::Done, 1), "{effect:?}");
    assert!(effect.notes[0].contains(&format!("SCHED_OTHER, nice {own} -> SCHED_IDLE, nice 19 for 4 threads")), "{effect:?}");
    assert!(manners(busy.pid()).iter().all(|(_, nice, class)| (*nice, *class) == IDLE), "{:?}", manners(busy.pid()));

    rustix::process::kill_process(rustix::process::Pid::from_child(&busy.0), rustix::process::Signal::USR1).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while manners(busy.pid()).len() < 7 {
        assert!(Instant::now() < until, "{:?}", manners(busy.pid()));
        std::thread::sleep(Duration::from_millis(20));
    }
    // One of them was given another nice value by somebody, and keeps it.
    let theirs: i32 = before[1].0.parse().unwrap();
    rustix::process::setpriority_process(rustix::process::Pid::from_raw(theirs), 5).unwrap();
    let effect = undone(&stand, 1);
    assert_eq!(effect.done, 1, "{effect:?}");
    let after = manners(busy.pid());
    assert_eq!(after[0], before[0]);
    assert_eq!((after[1].1, after[1].2), (5, 5));
    assert_eq!(after[2..4], before[2..4]);
    // What nobody has noted gets what the process itself had.
    assert!(after[4..].iter().all(|(_, nice, class)| (*nice, *class) == (own, 0)), "{after:?}");
    assert_eq!(undone(&stand, 1), effect, "the second time it is told what the first did");
}

fn own_score() -> i32 {
    facts::process(std::process::id()).unwrap().oom_score_adj
}

/// As a process that may not lower what somebody has set: that is what the actuator is.
#[test]
fn victims_are_preferred_and_forgotten_again_without_a_right_over_resources() {
    if support::is_root() {
        let program = std::env::current_exe().unwrap();
        let mut narrow = Command::new("setpriv");
        narrow.args(["--bounding-set=-sys_resource", "--inh-caps=-sys_resource"]).arg(program);
        support::output(narrow.args(["--exact", "as_a_narrow_process", "--nocapture"]).env("BYTEPORT_TEST_NARROW", "yes"));
    } else {
        support::missing("other users' processes need root");
    }
}

#[test]
fn as_a_narrow_process() {
    if std::env::var("BYTEPORT_TEST_NARROW").is_err() {
        return;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap().trim().to_owned();
    assert_eq!(u64::from_str_radix(&mask, 16).unwrap() >> 24 & 1, 0, "CAP_SYS_RESOURCE was not taken away");
    let mut others: Vec<Running> = (0..3).map(|_| Running::script("echo ready; exec setpriv --reuid=65534 sleep 1000")).collect();
    let until = Instant::now() + Duration::from_secs(30);
    while others.iter().any(|o| facts::process(o.pid()).unwrap().comm != "sleep".into()) {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    let own = own_score();
    let set = |pid: u32, to: i32| fs::write(format!("/proc/{pid}/oom_score_adj"), to.to_string()).unwrap();
    let score = |pid: u32| facts::process(pid).unwrap().oom_score_adj;
    set(others[1].pid(), own + 900);
    let pids: Vec<u32> = others.iter().map(Running::pid).collect();
    let preference = Preference { unit: None, processes: pids.iter().map(|pid| facts::target(*pid)).collect(), oom_score_adj: own + 700 };
    let stand = stand();
    let effect = asked(&stand, 1, Step::PreferVictims(preference.clone()));
    assert_eq!((effect.state, effect.done), (EffectState::Done, 2), "{effect:?}");
    assert_eq!(pids.iter().map(|p| score(*p)).collect::<Vec<_>>(), [own + 700, own + 900, own + 700]);

    // Somebody has another opinion by now.
    set(pids[2], own + 800);
    let effect = undone(&stand, 1);
    assert_eq!((effect.done, effect.skipped.get(&SkipReason::Changed)), (1, Some(&1)), "{effect:?}");
    assert_eq!(pids.iter().map(|p| score(*p)).collect::<Vec<_>>(), [own, own + 900, own + 800]);
    assert_eq!(undone(&stand, 1), effect);

    // One that ends meanwhile needs nothing, and its number is nobody's business.
    let one = Preference { processes: preference.processes[..1].to_vec(), ..preference };
    asked(&stand, 2, Step::PreferVictims(one));
    drop(others.remove(0));
    assert_eq!(undone(&stand, 2).skipped.get(&SkipReason::Gone), Some(&1));
}
