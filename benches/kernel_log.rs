//! What a line of the kernel's log costs, beside bare reads of the same records in the same run, taken in turn: from this host's own log, and
//! from a stand-in (a fifo that keeps records apart) with a storm in it.
//! No ratio is printed: from process to process the bare reads differ by a third, for a reason that is not known; one of a single run says nothing.
//!
//! `cargo bench --bench kernel_log`; `BYTEPORT_BENCH_ROUNDS` sets how often (300). CPU time of the reading alone; the share is that of one core
//! at 100,000 lines a second, if all of them are read. A log that may not be read is left out, and said.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use byteport::host::KernelLogReader;
use rustix::fs::{Mode, OFlags, SeekFrom};

const STORM_LINES_PER_S: f64 = 100_000.0;
/// As many records as the stand-in holds: a page each.
const HELD: usize = 256;

fn main() {
    let rounds = std::env::var("BYTEPORT_BENCH_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(300);
    println!("{:<12} {:<12} {:>10} {:>10} {:>20}", "", "", "lines", "CPU ns", "% core at 100,000/s");
    of_this_host(rounds);
    of_a_storm(rounds);
}

fn of_this_host(rounds: usize) {
    let path = "/dev/kmsg";
    let Ok(bare) = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path) else {
        return println!("this host: left out, {path} cannot be read");
    };
    let mut buffer = vec![0; 8192];
    let mut ways = [Way::new("bare reads"), Way::new("the reader")];
    for _ in 0..rounds {
        rustix::fs::seek(&bare, SeekFrom::Start(0)).expect("the beginning of the log");
        read_bare(&mut ways[0], &bare, &mut buffer);
        // It begins after the first record: before that one, nothing is said to be missing.
        let mut reader = KernelLogReader::open(Path::new("/"), Some(0)).expect(path);
        ways[1].spend(|| read_all(&mut reader));
        ways[1].lines += reader.log().lines;
    }
    show("this host", &ways);
}

fn of_a_storm(rounds: usize) {
    let scratch = tempfile::tempdir().expect("scratch folder");
    let fifo = scratch.path().join("dev/kmsg");
    std::fs::create_dir(scratch.path().join("dev")).expect("scratch");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("a fifo");
    let mut reader = KernelLogReader::open(scratch.path(), Some(0)).expect("the fifo");
    let bare = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&fifo).expect("the fifo");
    let kernel = File::options().write(true).open(&fifo).expect("the fifo");
    // One write is one read from here on.
    rustix::fs::fcntl_setfl(&kernel, OFlags::DIRECT | OFlags::NONBLOCK).expect("records kept apart");
    let room = i32::try_from(HELD * rustix::param::page_size()).expect("a small number");
    nix::fcntl::fcntl(&kernel, nix::fcntl::FcntlArg::F_SETPIPE_SZ(room)).expect("room for a storm");
    let mut buffer = vec![0; 8192];
    let mut ways = [Way::new("bare reads"), Way::new("the reader")];
    let mut seq = 0;
    for _ in 0..rounds * 10 {
        say(&kernel, &mut seq);
        read_bare(&mut ways[0], &bare, &mut buffer);
        say(&kernel, &mut seq);
        ways[1].spend(|| read_all(&mut reader));
    }
    let log = reader.log();
    ways[1].lines = log.lines;
    show("a storm", &ways);
    assert_eq!(log.lines + log.dropped, seq, "every line was read, or passed by the reader");
}

/// As much as can be held: words of drivers, and once a kill.
fn say(kernel: &File, seq: &mut u64) {
    for n in 0..HELD {
        *seq += 1;
        let text = match n {
            100 => {
                "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a,task=x,pid=7,uid=0"
            }
            101 => "Out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1kB",
            _ => "igb 0000:03:00.0 eth0: Detected Tx Unit Hang, and some more words to make it as long as others are",
        };
        let record = format!("4,{seq},{},-;{text}\n", *seq * 10);
        assert_eq!(rustix::io::write(kernel, record.as_bytes()), Ok(record.len()));
    }
}

fn read_bare(way: &mut Way, from: &File, buffer: &mut [u8]) {
    let before = cpu_ns();
    while let Ok(length) = rustix::io::read(from, &mut *buffer) {
        black_box(&buffer[..length]);
        way.lines += 1;
    }
    way.spent_ns += cpu_ns() - before;
}

fn read_all(reader: &mut KernelLogReader) {
    while reader.drain(|event| drop(black_box(event.clone()))).expect("the log") {}
}

/// A way to read, what it read, and what that took.
struct Way {
    name: &'static str,
    lines: u64,
    spent_ns: f64,
}

impl Way {
    fn new(name: &'static str) -> Self {
        Self { name, lines: 0, spent_ns: 0.0 }
    }

    fn spend<T>(&mut self, read: impl FnOnce() -> T) -> T {
        let before = cpu_ns();
        let told = read();
        self.spent_ns += cpu_ns() - before;
        told
    }
}

fn show(what: &str, ways: &[Way; 2]) {
    for way in ways {
        let ns = way.spent_ns / way.lines as f64;
        println!("{what:<12} {:<12} {:>10} {ns:>10.0} {:>20.1}", way.name, way.lines, ns * STORM_LINES_PER_S / 1e7);
    }
}

fn cpu_ns() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}
