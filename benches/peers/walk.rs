//! The walk over all processes at 1,000 and 5,000 that sleep: what it adds to a sample, beside listing `/proc` and opening, reading and closing
//! every `stat`.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom};

use crate::contender::{Contender, Cost, in_turn};
use crate::floor::digits;
use crate::host::looked;
use crate::table::Table;

const SMALL: usize = 1_000;
const LARGE: usize = 5_000;
const WARM_UP: usize = 3;
const TRACED: usize = 5;

/// With reused buffers and nothing kept open, and the least work with what is read.
struct BareWalk {
    proc: OwnedFd,
    entries: Vec<MaybeUninit<u8>>,
    path: Vec<u8>,
    line: Vec<u8>,
    sum: u64,
}

impl BareWalk {
    fn new() -> Self {
        let proc = rustix::fs::openat(CWD, "/proc", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("/proc");
        Self { proc, entries: vec![MaybeUninit::uninit(); 256 << 10], path: Vec::with_capacity(32), line: vec![0; 8192], sum: 0 }
    }

    /// How many there were.
    fn walk(&mut self) -> usize {
        rustix::fs::seek(&self.proc, SeekFrom::Start(0)).expect("rewound");
        let mut listed = RawDir::new(self.proc.as_fd(), &mut self.entries);
        let mut processes = 0;
        while let Some(entry) = listed.next() {
            let entry = entry.expect("listed");
            let name = entry.file_name().to_bytes();
            if !name[0].is_ascii_digit() {
                continue;
            }
            self.path.clear();
            self.path.extend_from_slice(name);
            self.path.extend_from_slice(b"/stat\0");
            let path = CStr::from_bytes_with_nul(&self.path).expect("ends");
            let Ok(stat) = rustix::fs::openat(&self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { continue };
            let Ok(length) = rustix::io::read(&stat, &mut self.line[..]) else { continue };
            self.sum = self.sum.wrapping_add(digits(&self.line[..length]));
            processes += 1;
        }
        std::hint::black_box(self.sum);
        processes
    }
}

/// Processes that do nothing, ended one by one by their pid.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn grow_to(&mut self, count: usize) -> std::io::Result<()> {
        while self.0.len() < count {
            self.0.push(Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        }
        Ok(())
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
        }
        for child in &mut self.0 {
            drop(child.wait());
        }
    }
}

/// At one number of processes.
struct Walked {
    processes: usize,
    ours_us: f64,
    floor_us: f64,
    rss_kib: f64,
}

struct Contenders {
    with: Contender,
    without: Contender,
    node_exporter: Option<Contender>,
    bare: BareWalk,
}

impl Contenders {
    fn walk(&mut self, size: usize, table: &mut Table) -> Walked {
        let Self { with, without, node_exporter, bare } = self;
        for _ in 0..WARM_UP {
            with.scraped(1);
            without.scraped(1);
        }
        let [all, sample, floor, theirs] = in_turn(
            10_000 / size + 10,
            [&mut || Some(with.scraped(2)), &mut || Some(without.scraped(2)), &mut || Some(looked(2, || _ = bare.walk())), &mut || {
                Some(node_exporter.as_ref()?.scraped(1))
            }],
        );
        let cpu = |cost: Option<Cost>| cost.expect("it took its turns").cpu_us;
        let (ours_us, floor_us) = (cpu(all) - cpu(sample), cpu(floor));
        table.goal("3 walk over processes", format!("bare walk over {size}, CPU us"), 1.25, Some(ours_us), Some(floor_us));
        let theirs = theirs.map(|cost| cost.cpu_us);
        table.goal("3 walk over processes", format!("node_exporter processes, {size}, CPU us"), 0.40, Some(ours_us), theirs);
        Walked { processes: bare.walk(), ours_us, floor_us, rss_kib: with.memory().rss_kib }
    }

    fn system_calls(&self, scratch: &Path, processes: usize, table: &mut Table) {
        let calls = |contender: &Contender| contender.system_calls(scratch, TRACED);
        let ours = calls(&self.with).and_then(|all| Ok(all - calls(&self.without)?));
        let ours = ours.map_err(|why| table.left_out(format!("system calls: {why}"))).ok();
        table.goal("6 system calls", "of the walk, a process", 3.1, ours, Some(processes as f64));
        let theirs = self.node_exporter.as_ref().and_then(|n| calls(n).ok());
        table.goal("6 system calls", "node_exporter processes", 0.25, ours, theirs);
    }
}

pub fn measure(scratch: &Path, table: &mut Table) {
    let mut contenders = Contenders {
        with: Contender::agent(scratch, "", Some("processes")),
        without: Contender::agent(scratch, "", Some("host")),
        node_exporter: Contender::node_exporter(&[
            "--collector.disable-defaults",
            "--collector.processes",
            "--web.disable-exporter-metrics",
        ]),
        bare: BareWalk::new(),
    };
    let mut sleepers = Sleepers(Vec::new());
    let mut walked = Vec::new();
    for size in [SMALL, LARGE] {
        if let Err(e) = sleepers.grow_to(size) {
            return table.left_out(format!("{size} processes: {e}"));
        }
        walked.push(contenders.walk(size, table));
        if size == SMALL {
            contenders.system_calls(scratch, walked[0].processes, table);
        }
    }
    let [small, large] = &walked[..] else { return };
    let growth = |of: fn(&Walked) -> f64| Some(of(large) / of(small));
    table.goal("4 growth from 1,000", "bare walk's, times", 1.15, growth(|w| w.ours_us), growth(|w| w.floor_us));
    let grown = (large.rss_kib - small.rss_kib).max(0.0) * 1024.0;
    table.goal("5 memory", "bytes a process", 512.0, Some(grown), Some((large.processes - small.processes) as f64));
}
