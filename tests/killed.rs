//! The actuator as a process that is killed or stopped in the middle of its work.

mod acting;
mod support;

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use acting::{DISK, Later, Stand, admitted, asking, batch, facts, mount_of, policy, write};
use byteport::act::client::{Client, ClientError, Performed, UndoResult};
use byteport::model::{FileFamily, HostPath, IntentId, Preference, Step};
use byteport::record::Ledger;
use byteport::wire::actuator::IntentOutcome;
use rustix::process::{Pid, Signal, kill_process};

/// The actuator as a process of its own: this test binary, told by its environment to serve.
struct Process {
    child: Child,
    dir: PathBuf,
}

const SERVE: &str = "BYTEPORT_TEST_SERVE";

#[test]
fn serve_when_told_to() {
    let Some(dir) = std::env::var_os(SERVE) else { return };
    let dir = PathBuf::from(dir);
    let listener = byteport::act::server::bind(&dir.join("actuator.sock"), 0).unwrap();
    let ledger = byteport::record::Ledger::open(&dir.join("state")).unwrap();
    let root = dir.join("root");
    let settings = byteport::act::server::Settings {
        agent_uid: 0,
        root: "/".into(),
        docker_socket: "/nonexistent".into(),
        dry_run: false,
        policies: [(DISK, policy(&root, &mount_of(&Later::new(), &root).path))].into(),
    };
    let server = byteport::act::server::Server::new(listener, settings, ledger, std::sync::Arc::new(Later::new())).unwrap();
    let (_never, stop) = UnixStream::pair().unwrap();
    server.run(stop.as_fd(), Duration::from_secs(60), &|| {}).unwrap();
}

impl Process {
    fn start(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("root")).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serve_when_told_to"])
            .env(SERVE, dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self { child, dir: dir.to_owned() };
        let until = Instant::now() + Duration::from_secs(30);
        while process.client().hello().is_err() {
            assert!(Instant::now() < until, "the actuator does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        process
    }

    fn client(&self) -> Client {
        Client::new(self.dir.join("actuator.sock"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn killed_in_the_middle_it_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let mut actuator = Process::start(dir.path());
    let names: Vec<HostPath> = (0..20_000).map(|n| HostPath::from(format!("f{n:05}").as_str())).collect();
    names.iter().for_each(|n| drop(write(&root.join(n.as_path()), 1)));
    let (mount, all) = (mount_of(&Later::new(), &root), batch(&root, FileFamily::Tmp, names));
    let perform = asking(&mount, "killed", 1, Step::DeleteFiles(all));
    let policy = policy(&root, &mount.path);
    let asked = std::thread::spawn({
        let (client, admitted, perform) = (actuator.client(), admitted(&policy, &perform), perform.clone());
        move || client.perform(&admitted, perform)
    });
    let left = || fs::read_dir(&root).unwrap().count();
    while left() == 20_000 {}
    actuator.signal(Signal::KILL);
    actuator.child.wait().unwrap();
    assert!(matches!(asked.join().unwrap(), Err(ClientError::Unknown { .. })));
    let after = left();
    assert!(after > 0, "it was done before it could be killed");

    let actuator = Process::start(dir.path());
    let client = actuator.client();
    assert_eq!(client.outcome(&perform.intent).unwrap(), IntentOutcome::Open);
    assert_eq!(client.perform(&admitted(&policy, &perform), perform.clone()).unwrap(), Performed::Open);
    assert_eq!(left(), after, "an act was repeated after a crash");
    // What may have been done counts against the caps of its incident: all of it.
    let mut tight = asking(&mount, "killed", 2, Step::DeleteFiles(batch(&root, FileFamily::Tmp, vec![])));
    tight.intent = IntentId("killed/1.2".into());
    assert!(matches!(client.perform(&admitted(&policy, &tight), tight).unwrap(), Performed::Effect(_)));
}

#[test]
fn killed_while_packing_it_leaves_the_log_or_its_archive() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(&root).unwrap();
    let mount = mount_of(&Later::new(), &root);
    let policy = policy(&root, &mount.path);
    let text: Vec<u8> = (0..300_000).flat_map(|n| format!("line {n} of a log\n").into_bytes()).collect();
    let mut seen = [0; 2];
    for round in 0..12 {
        let names: Vec<HostPath> = (0..6).map(|n| HostPath::from(format!("r{round}-{n}.log").as_str())).collect();
        names.iter().for_each(|n| fs::write(root.join(n.as_path()), &text).unwrap());
        let mut actuator = Process::start(dir.path());
        let perform = asking(&mount, &format!("pack-{round}"), 1, Step::CompressLogs(batch(&root, FileFamily::ClosedLogs, names.clone())));
        let asked = std::thread::spawn({
            let (client, admitted) = (actuator.client(), admitted(&policy, &perform));
            move || client.perform(&admitted, perform)
        });
        // At another point in the work each time, wherever this machine is fast or slow.
        let archives = || fs::read_dir(&root).unwrap().flatten().filter(|e| e.file_name().as_bytes().ends_with(b".gz")).count();
        while archives() < round % 6 && !asked.is_finished() {}
        std::thread::sleep(Duration::from_millis(5 * round as u64));
        actuator.signal(Signal::KILL);
        actuator.child.wait().unwrap();
        drop(asked.join().unwrap());
        for name in &names {
            let (log, archive) = (root.join(name.as_path()), root.join(format!("{name}.gz")));
            if archive.exists() {
                let mut unpacked = Vec::new();
                flate2::read::GzDecoder::new(fs::File::open(&archive).unwrap()).read_to_end(&mut unpacked).unwrap();
                assert_eq!(unpacked, text, "half an archive has a name");
                seen[1] += 1;
            } else {
                assert_eq!(fs::read(&log).unwrap(), text);
                seen[0] += 1;
            }
        }
        for entry in fs::read_dir(&root).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name.ends_with(".log") || name.ends_with(".log.gz"), "{name} was left behind");
            fs::remove_file(root.join(name)).unwrap();
        }
    }
    eprintln!("{} logs as they were, {} archives", seen[0], seen[1]);
    assert!(seen[0] > 0 && seen[1] > 0, "killed only before or only after: {seen:?}");
}

#[test]
fn a_client_is_not_held_up_by_an_actuator_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let actuator = Process::start(dir.path());
    let root = dir.path().join("root");
    write(&root.join("a"), 1);
    let mount = mount_of(&Later::new(), &root);
    let mut perform = asking(&mount, "hangs", 1, Step::DeleteFiles(batch(&root, FileFamily::Tmp, vec!["a".into()])));
    perform.deadline_s = 1;
    actuator.signal(Signal::STOP);
    let began = Instant::now();
    let asked = actuator.client().perform(&admitted(&policy(&root, &mount.path), &perform), perform);
    assert!(matches!(asked, Err(ClientError::Unknown { .. })), "{asked:?}");
    // The step's second, and the client's grace of fifteen; generous, because it is about coming back at all.
    assert!(began.elapsed() < Duration::from_secs(60));
    assert!(matches!(actuator.client().hello(), Err(ClientError::Unknown { .. })));
    assert!(matches!(Client::new(dir.path().join("nobody")).hello(), Err(ClientError::NotThere { .. })));
}

#[test]
fn announcing_much_is_given_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let statm = format!("/proc/{}/statm", process.child.id());
    let resident = || fs::read_to_string(&statm).unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096;
    let before = resident();
    // 32 MiB announced on all four connections, and not a byte of them sent.
    let idle: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = UnixStream::connect(process.dir.join("actuator.sock")).unwrap();
            std::io::Write::write_all(&mut stream, &(32_u32 << 20).to_be_bytes()).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    assert!(resident() < before + (16 << 20), "an announcement was given memory");
    drop(idle);
    assert!(process.client().hello().is_ok());
}

/// A process of ours, ended with us.
struct Sleeping(Child);

impl Sleeping {
    fn new() -> Self {
        let sleeping = Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(30);
        while facts::process(sleeping.0.id()).unwrap().comm != HostPath::from("sleep") {
            assert!(Instant::now() < until);
        }
        sleeping
    }

    fn score(&self) -> i32 {
        facts::process(self.0.id()).unwrap().oom_score_adj
    }

    fn preferred(&self) -> Step {
        let process = facts::target(self.0.id());
        Step::PreferVictims(Preference { unit: None, processes: vec![process], oom_score_adj: PREFERRED })
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

const PREFERRED: i32 = 900;

#[test]
fn what_stands_when_it_is_killed_is_left_to_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let mut actuator = Process::start(dir.path());
    let sleeping = Sleeping::new();
    let before = sleeping.score();
    let root = dir.path().join("root");
    let mount = mount_of(&Later::new(), &root);
    let perform = asking(&mount, "stands", 1, sleeping.preferred());
    let done = actuator.client().perform(&admitted(&policy(&root, &mount.path), &perform), perform.clone()).unwrap();
    assert!(matches!(done, Performed::Effect(effect) if effect.done == 1));
    actuator.signal(Signal::KILL);
    actuator.child.wait().unwrap();
    assert_eq!(Ledger::open(&dir.path().join("state")).unwrap().standing(), std::slice::from_ref(&perform.intent));

    let mut actuator = Process::start(dir.path());
    assert_eq!(sleeping.score(), PREFERRED, "the agent's episode goes on, and it stands for that");
    let undone = actuator.client().undo(&perform.intent).unwrap();
    assert!(matches!(&undone, UndoResult::Undone(effect) if effect.done == 1), "{undone:?}");
    assert_eq!(sleeping.score(), before);
    assert_eq!(actuator.client().undo(&perform.intent).unwrap(), undone);
    actuator.signal(Signal::KILL);
    actuator.child.wait().unwrap();
    assert_eq!(Ledger::open(&dir.path().join("state")).unwrap().standing(), []);
}

#[test]
fn what_stands_when_it_is_told_to_stop_is_taken_back_the_newest_first() {
    let sleeping = Sleeping::new();
    let before = sleeping.score();
    let mut stand = Stand::new();
    for (number, score) in (1..).zip([PREFERRED - 1, PREFERRED]) {
        let step = match sleeping.preferred() {
            Step::PreferVictims(preference) => Step::PreferVictims(Preference { oom_score_adj: score, ..preference }),
            other => other,
        };
        let perform = stand.asking("stands", number, step);
        drop(stand.client.perform(&admitted(&stand.policy, &perform), perform).unwrap());
        assert_eq!(sleeping.score(), score);
    }
    stand.stop();
    assert_eq!(sleeping.score(), before);
}

#[test]
fn what_stands_when_the_agent_is_silent_for_ten_minutes_is_taken_back() {
    let sleeping = Sleeping::new();
    let before = sleeping.score();
    let step = sleeping.preferred();
    // The act's end was lost: only its note tells what was before.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    let raised = serde_json::json!({"process": step.processes()[0], "before": before});
    let note = serde_json::json!({"boot": boot, "set": PREFERRED, "processes": [raised]});
    let began = Instant::now();
    let stand = Stand::with_open(tempfile::tempdir().unwrap(), Later::new(), &step, &[note]);
    fs::write(format!("/proc/{}/oom_score_adj", sleeping.0.id()), PREFERRED.to_string()).unwrap();
    let minutes = |n: u64| Duration::from_secs(n * 60);
    stand.server.take_back_if_forsaken(began + minutes(10) - Duration::from_secs(1));
    assert_eq!(sleeping.score(), PREFERRED, "the agent may still come");
    std::thread::sleep(Duration::from_secs(2));
    let heard = Instant::now();
    stand.client.hello().unwrap();
    stand.server.take_back_if_forsaken(heard + minutes(10) - Duration::from_secs(1));
    assert_eq!(sleeping.score(), PREFERRED, "it has asked a moment ago");
    stand.server.take_back_if_forsaken(Instant::now() + minutes(10));
    assert_eq!(sleeping.score(), before);
    let intent = stand.asking("one", 1, step).intent;
    assert!(matches!(stand.client.outcome(&intent).unwrap(), IntentOutcome::Undone(effect) if effect.done == 1));
}
