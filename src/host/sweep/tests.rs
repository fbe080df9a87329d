//! Sweeps over a made `/proc`, whose files say what they are told to, and over the real one.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

const START: u64 = 100;

struct Made {
    dir: tempfile::TempDir,
    root: Root,
}

impl Made {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/sys/kernel")).unwrap();
        fs::write(dir.path().join("proc/sys/kernel/pid_max"), "4194304\n").unwrap();
        fs::write(dir.path().join("proc/sys/kernel/threads-max"), "190000\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let made = Self { dir, root };
        made.process(1, b"systemd", 'S', 10, START, 50);
        made
    }

    fn file(&self, path: &str, bytes: &[u8]) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn process(&self, pid: u32, comm: &[u8], state: char, ticks: u64, start: u64, rss: u64) {
        let rest = format!(") {state} 0 1 1 0 -1 4194560 1 1 0 0 {ticks} 0 0 0 20 0 2 0 {start} 1 {rss} 1 0 0\n");
        self.file(&format!("proc/{pid}/stat"), &[format!("{pid} (").as_bytes(), comm, rest.as_bytes()].concat());
    }

    fn gone(&self, pid: u32) {
        fs::remove_file(self.dir.path().join(format!("proc/{pid}/stat"))).unwrap();
        fs::remove_dir(self.dir.path().join(format!("proc/{pid}"))).unwrap();
    }
}

fn pids(found: &Processes) -> Vec<u32> {
    found.top.iter().map(|p| p.pid).collect()
}

fn wait_past_rounding() {
    std::thread::sleep(Duration::from_secs_f64(SHORTEST_S * 1.2));
}

#[test]
fn all_are_counted_and_the_hottest_and_largest_named() {
    let made = Made::new();
    made.process(30, b"largest", 'D', 0, START, 900);
    made.process(200, b"hot", 'R', 70, START, 1);
    made.process(1000, b"kworker/0:1", 'I', 0, START, 0);
    made.process(1001, b"q", 'q', 0, START, 0);
    let found = Sweep::new().read(&made.root, 1).unwrap();
    assert_eq!((found.count, found.threads, found.vanished, found.unreadable), (5, 10, 0, 0));
    assert_eq!((found.max_processes, found.max_threads), (4_194_304, 190_000));
    assert_eq!(found.states, [('R', 1), ('S', 1), ('D', 1), ('I', 1), ('q', 1)]);
    assert_eq!(pids(&found), [200, 30]);
    assert_eq!(found.top[1].rss_bytes, 900 * rustix::param::page_size() as u64);
    assert_eq!(found.top[0].cpu_percent, None);
}

#[test]
fn a_name_with_anything_in_it_is_told_as_it_is() {
    let made = Made::new();
    made.process(7, b"a) R 1\n\xff", 'S', 1, START, 999);
    let found = Sweep::new().read(&made.root, 1).unwrap();
    let named = found.top.iter().find(|p| p.pid == 7).unwrap();
    assert_eq!((named.comm.as_bytes(), named.state), (b"a) R 1\n\xff".as_slice(), 'S'));
}

#[test]
fn heat_is_what_was_used_since_the_sweep_before() {
    let made = Made::new();
    made.process(5, b"old", 'S', 100_000, START, 0);
    made.process(6, b"busy", 'R', 10, START, 0);
    let sweep = Sweep::new();
    assert_eq!(pids(&sweep.read(&made.root, 1).unwrap())[0], 5);
    made.process(6, b"busy", 'R', 60, START, 0);
    // Took over the number of one that had used much.
    made.process(5, b"new", 'R', 5, START + 9000, 0);
    wait_past_rounding();
    let begun = Instant::now();
    let found = sweep.read(&made.root, 2).unwrap();
    assert_eq!(pids(&found), [6, 5, 1]);
    assert_eq!(found.top[1].cpu_percent, None, "it was not there before");
    // 50 ticks are half a second of CPU, in no less than the wait and no more than the whole test has taken.
    let percent = found.top[0].cpu_percent.unwrap();
    assert!(percent > 0.0 && percent <= 50.0 / SHORTEST_S, "{percent} after {:?}", begun.elapsed());
    let found = sweep.read(&made.root, 2).unwrap();
    assert!(found.top.iter().all(|p| p.cpu_percent.is_none()), "a share of next to no time: {found:?}");
}

#[test]
fn counters_that_go_back_are_no_heat() {
    let made = Made::new();
    made.process(6, b"odd", 'R', 500, START, 0);
    let sweep = Sweep::new();
    sweep.read(&made.root, 1).unwrap();
    made.process(6, b"odd", 'R', 400, START, 0);
    wait_past_rounding();
    assert_eq!(pids(&sweep.read(&made.root, 1).unwrap()), [1], "as the largest");
}

#[test]
fn what_goes_away_or_cannot_be_read_is_counted_and_no_error() {
    let made = Made::new();
    made.process(40, b"ends", 'S', 1, START, 1);
    // Between being listed and being opened.
    fs::create_dir(made.dir.path().join("proc/41")).unwrap();
    made.file("proc/42/stat", b"42 (cut) S 1 2");
    made.file("proc/43/stat", b"");
    made.file("proc/44/stat", &[b'x'; 2 * LINE]);
    let sweep = Sweep::new();
    let found = sweep.read(&made.root, 3).unwrap();
    assert_eq!((found.count, found.vanished, found.unreadable), (2, 1, 3));
    made.gone(40);
    let found = sweep.read(&made.root, 3).unwrap();
    assert_eq!((found.count, pids(&found)), (1, vec![1]));
}

#[test]
fn a_table_of_which_only_some_is_shown_is_no_table() {
    let made = Made::new();
    made.process(50, b"ours", 'S', 1, START, 1);
    made.gone(1);
    let error = Sweep::new().read(&made.root, 3).unwrap_err().to_string();
    assert!(error.contains("hidepid"), "{error}");
    fs::remove_file(made.dir.path().join("proc/sys/kernel/threads-max")).unwrap();
    let error = Sweep::new().read(&made.root, 3).unwrap_err().to_string();
    assert!(error.contains("threads-max"), "{error}");
}

#[test]
fn more_than_may_stay_open_are_read_as_well() {
    let made = Made::new();
    let last = 2 + KEPT as u32 + 40;
    for pid in 2..last {
        made.process(pid, b"many", 'S', 0, START, 0);
    }
    let sweep = Sweep::new();
    for _ in 0..3 {
        assert_eq!(sweep.read(&made.root, 3).unwrap().count, u64::from(last - 1));
        let table = sweep.table.lock().unwrap();
        assert_eq!(table.rows.iter().filter(|row| row.stat.is_some()).count(), KEPT);
        assert!(table.rows.is_sorted_by_key(|row| row.pid));
    }
    // Who ends gives its place to the next.
    (2..12).for_each(|pid| made.gone(pid));
    assert_eq!(sweep.read(&made.root, 3).unwrap().count, u64::from(last - 11));
    assert_eq!(sweep.table.lock().unwrap().rows.iter().filter(|row| row.stat.is_some()).count(), KEPT);
}

#[test]
fn the_real_table_has_this_process_and_loses_one_that_ends() {
    let root = Root::open(Path::new("/")).unwrap();
    let sweep = Sweep::new();
    let mut child = Command::new("sleep").arg("100").stdin(Stdio::null()).spawn().unwrap();
    let start = |pid: u32, sweep: &Sweep| sweep.table.lock().unwrap().rows.iter().find(|r| r.pid == pid).map(|r| r.start_ticks);
    let found = sweep.read(&root, 5).unwrap();
    assert!(start(std::process::id(), &sweep).is_some() && start(child.id(), &sweep).is_some());
    assert!(found.threads >= found.count && found.top.len() <= 10);
    assert!(sweep.table.lock().unwrap().rows.iter().any(|r| r.stat.is_some()));
    child.kill().unwrap();
    child.wait().unwrap();
    sweep.read(&root, 5).unwrap();
    assert_eq!(start(child.id(), &sweep), None, "its descriptor was open, and it is gone all the same");
}

#[test]
fn processes_that_come_and_go_all_the_while_are_no_error() {
    let root = Root::open(Path::new("/")).unwrap();
    let sweep = Sweep::new();
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| (0..150).for_each(|_| drop(Command::new("true").status())));
        while !churn.is_finished() {
            let found = sweep.read(&root, 3).unwrap();
            assert_eq!(found.count, found.states.iter().map(|(_, n)| n).sum::<u64>());
        }
    });
}
