//! Real processes, and folders that look like one.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::host::{LiveHost, ReadHost};

struct Sleeper(Child);

impl Sleeper {
    fn start(with: &[&str]) -> Self {
        let command = [with, &["sleep", "600"]].concat();
        let sleeper = Self(Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).spawn().unwrap());
        // Until then it is still what it was started by.
        while fs::read(format!("/proc/{}/comm", sleeper.0.id())).unwrap() != b"sleep\n" {
            std::thread::yield_now();
        }
        sleeper
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn here() -> Root {
    Root::open(Path::new("/")).unwrap()
}

#[test]
fn a_process_is_told_as_the_kernel_has_it() {
    let sleeper = Sleeper::start(&["nice", "-n", "7"]);
    let pid = sleeper.0.id();
    fs::write(format!("/proc/{pid}/oom_score_adj"), "321").unwrap();
    let facts = read_facts(&here(), pid).unwrap();
    assert_eq!((facts.pid, facts.comm.as_bytes(), facts.parent), (pid, b"sleep".as_slice(), std::process::id()));
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let nice: i32 = own.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse().unwrap();
    assert_eq!((facts.nice - nice, facts.oom_score_adj), (7.min(19 - nice), 321));
    assert_eq!(facts.uid, rustix::process::geteuid().as_raw());
    assert_eq!((facts.kernel_thread, facts.realtime, facts.idle_class), (false, false, false));
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroup.lines().any(|line| line.ends_with(&format!(":{}", facts.cgroup))), "{facts:?} of {cgroup}");
    assert!(facts.age_s < read_facts(&here(), std::process::id()).unwrap().age_s + 1.0, "{facts:?}");
}

#[test]
fn one_that_has_gone_and_a_thread_are_no_process() {
    let sleeper = Sleeper::start(&[]);
    let pid = sleeper.0.id();
    let (process, before) = (procs::one(&here(), pid).unwrap(), read_facts(&here(), pid).unwrap());
    drop(sleeper);
    assert!(matches!(file(&process, c"stat"), Err(ReadError::NotHere { .. })), "a handle goes stale with its process");
    let error = read_facts(&here(), pid).unwrap_err();
    assert!(matches!(error, ReadError::NotHere { .. }) && error.to_string().contains(&pid.to_string()), "{error}");
    let error = read_pss(&here(), std::process::id(), before.start_ticks + 1).unwrap_err();
    assert!(error.to_string().contains("has gone"), "{error}");

    let (told, wait) = std::sync::mpsc::channel();
    let (gate, open) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        told.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        let _closed = open.recv();
    });
    let tid = u32::try_from(wait.recv().unwrap()).unwrap();
    let error = read_facts(&here(), tid).unwrap_err().to_string();
    assert!(error.contains("is a thread of process"), "{error}");
    drop(gate);
    other.join().unwrap();
}

#[test]
fn classes_are_told() {
    let batch = Sleeper::start(&["chrt", "--idle", "0"]);
    assert!(read_facts(&here(), batch.0.id()).unwrap().idle_class);
    // Only who may set it can have one.
    if Command::new("chrt").args(["--fifo", "1", "true"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success()) {
        let fifo = Sleeper::start(&["chrt", "--fifo", "1"]);
        assert!(read_facts(&here(), fifo.0.id()).unwrap().realtime);
    }
}

/// A process that does nothing but this: what other tests of this program let go would hide what one of them takes.
#[test]
fn what_it_uses_grows_with_what_it_does() {
    let script = "echo; read go; kept=$(head -c 64M /dev/zero | tr '\\0' x); echo; read end";
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut grows = Sleeper(command.spawn().unwrap());
    let (mut ask, mut told) = (grows.0.stdin.take().unwrap(), BufReader::new(grows.0.stdout.take().unwrap()).lines());
    told.next().unwrap().unwrap();
    let (host, pid) = (LiveHost::new(Path::new("/"), None, None).unwrap(), grows.0.id());
    let before = host.process_detail(pid).unwrap();
    ask.write_all(b"\n").unwrap();
    told.next().unwrap().unwrap();
    let after = host.process_detail(pid).unwrap();
    assert!(after.rss.0 >= before.rss.0 + (32 << 20), "{before:?} {after:?}");
    let (pss_before, pss) = (before.pss.value().unwrap(), after.pss.value().unwrap());
    assert!(pss.0 >= pss_before.0 + (32 << 20) && pss.0 <= after.rss.0 + (16 << 20), "{before:?} {after:?}");
    assert!(after.io_bytes.value().unwrap() - before.io_bytes.value().unwrap() >= 64 << 20, "{before:?} {after:?}");
    assert!(after.cpu_ticks > before.cpu_ticks && after.voluntary_switches > before.voluntary_switches, "{before:?} {after:?}");
    assert!(after.threads == 1 && after.facts.start_ticks == before.facts.start_ticks, "{after:?}");
    assert!(host.process_detail(std::process::id()).unwrap().threads >= 2, "this one has more");
}

/// A folder with the files of a process in this state.
fn made(state: char) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("proc/7");
    fs::create_dir_all(&at).unwrap();
    let rest = "1 7 7 0 -1 4194304 0 0 0 0 5 6 0 0 20 0 1 0 777 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0";
    fs::write(at.join("stat"), format!("7 (x) {state} {rest}\n")).unwrap();
    fs::write(at.join("smaps_rollup"), "Pss: 40 kB\n").unwrap();
    dir
}

#[test]
fn the_memory_of_one_that_sleeps_uninterruptibly_is_not_touched() {
    let read = |state| read_pss(&Root::open(made(state).path()).unwrap(), 7, 777);
    assert_eq!(read('S').unwrap(), Bytes(40 << 10));
    let error = read('D').unwrap_err();
    assert!(matches!(&error, ReadError::NotHere { why, .. } if why.contains("uninterruptible")), "{error}");
}

#[test]
fn a_number_that_went_to_another_process_meanwhile_is_nobody() {
    let dir = made('S');
    let at = dir.path().join("proc/7");
    fs::write(at.join("status"), "Tgid:\t7\nUid:\t0\t0\t0\t0\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t1\n").unwrap();
    fs::write(at.join("cgroup"), "0::/system.slice/a.service\n").unwrap();
    let root = Root::open(dir.path()).unwrap();
    // Whoever reads the last of the files changes the first: a pipe waits for both.
    nix::unistd::mkfifo(&at.join("oom_score_adj"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let exchange = |start: &'static str| {
        let stat = at.join("stat");
        let pipe = at.join("oom_score_adj");
        move || {
            let mut open = fs::OpenOptions::new().write(true).open(pipe).unwrap();
            let text = fs::read_to_string(&stat).unwrap().replace(" 777 ", start);
            fs::write(&stat, text).unwrap();
            std::io::Write::write_all(&mut open, b"5\n").unwrap();
        }
    };
    let read = |start| {
        let writer = std::thread::spawn(exchange(start));
        let read = read_facts(&root, 7);
        writer.join().unwrap();
        read
    };
    assert_eq!(read(" 777 ").unwrap().unit.as_deref(), Some("a.service"));
    assert!(matches!(read(" 778 "), Err(ReadError::NotHere { .. })));
}

#[test]
fn a_heap_setting_is_told_of_the_program_that_runs_and_nothing_else_of_it() {
    let host = LiveHost::new(Path::new("/"), None, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let java = dir.path().join("java");
    let sleep = fs::canonicalize("/bin/sleep").unwrap();
    fs::copy(&sleep, &java).unwrap();
    let run = |program: &Path, variables: &[(&str, &str)]| {
        let child = Command::new(program).arg("600").env_clear().envs(variables.iter().copied()).stdin(Stdio::null()).spawn().unwrap();
        let sleeper = Sleeper(child);
        let runs = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
        // Its environment is there a moment after its program: both are when it sleeps.
        let sleeps = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") S "));
        while runs(sleeper.0.id()).is_none_or(|exe| exe == runs(std::process::id()).unwrap()) || !sleeps(sleeper.0.id()) {
            std::thread::yield_now();
        }
        host.heap_settings(sleeper.0.id()).unwrap()
    };
    let variables = [("SECRET", "hunter2"), ("JAVA_TOOL_OPTIONS", "-Dpassword=hunter2 -Xmx96m"), ("GOMEMLIMIT", "64MiB")];
    let told = run(&java, &variables);
    assert_eq!(told.iter().map(|s| (s.written.as_str(), s.bytes)).collect::<Vec<_>>(), [("-Xmx96m", Bytes(96 << 20))]);
    let told = run(&sleep, &variables);
    assert_eq!(told.iter().map(|s| s.written.as_str()).collect::<Vec<_>>(), ["GOMEMLIMIT=64MiB"]);
    let share = run(&java, &[("JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=50")]);
    let total = host.memory().unwrap().iter().find(|c| &*c.name == "MemTotal").unwrap().value;
    assert!(share[0].bytes.0 > 0 && share[0].bytes.0 <= total / 2, "{share:?} of {total}");
}
