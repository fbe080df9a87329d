//! What a sweep over all processes costs beside what the kernel charges for the same calls, at 1,000 and 5,000 sleeping processes.
//!
//! `cargo bench --bench sweep`. The floor lists `/proc`, opens, reads and closes every `stat` with reused buffers and adds up the digits;
//! it keeps nothing. Both take turns in one run, and the ratio is of medians of CPU time: below 1 we are cheaper than the floor.

use std::ffi::CString;
use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use byteport::host::{LiveHost, ReadHost};
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom};
use rustix::time::{ClockId, clock_gettime};

const SIZES: [usize; 2] = [1_000, 5_000];

/// CPU time of this thread in microseconds.
fn cpu_us() -> f64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as f64 * 1e6 + t.tv_nsec as f64 / 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

/// The same calls as the sweep with nothing kept open, and the least work with what they give.
struct Floor {
    proc: std::os::fd::OwnedFd,
    entries: Vec<MaybeUninit<u8>>,
    line: Vec<u8>,
    sum: u64,
}

impl Floor {
    fn new() -> Self {
        let proc = rustix::fs::openat(CWD, "/proc", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("/proc");
        Self { proc, entries: vec![MaybeUninit::uninit(); 256 << 10], line: vec![0; 8192], sum: 0 }
    }

    fn sweep(&mut self) {
        rustix::fs::seek(&self.proc, SeekFrom::Start(0)).expect("rewound");
        let mut listed = RawDir::new(self.proc.as_fd(), &mut self.entries);
        let mut path = Vec::with_capacity(32);
        while let Some(entry) = listed.next() {
            let entry = entry.expect("listed");
            let name = entry.file_name().to_bytes();
            if !name[0].is_ascii_digit() {
                continue;
            }
            path.clear();
            path.extend_from_slice(name);
            path.extend_from_slice(b"/stat\0");
            let path = std::ffi::CStr::from_bytes_with_nul(&path).expect("ends");
            let Ok(stat) = rustix::fs::openat(&self.proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { continue };
            let Ok(length) = rustix::io::read(&stat, &mut self.line[..]) else { continue };
            let mut number = 0u64;
            for byte in &self.line[..length] {
                match byte.wrapping_sub(b'0') {
                    digit @ 0..=9 => number = number.wrapping_mul(10).wrapping_add(digit.into()),
                    _ => self.sum = self.sum.wrapping_add(std::mem::take(&mut number)),
                }
            }
        }
    }
}

/// Processes that do nothing, ended one by one by their pid.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn grow_to(&mut self, count: usize) {
        let sleep = CString::new("sleep").expect("a name");
        while self.0.len() < count {
            let spawned = Command::new(sleep.to_str().expect("text")).arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            self.0.push(spawned.expect("a process more"));
        }
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

fn main() {
    let mut sleepers = Sleepers(Vec::new());
    let host = LiveHost::new(Path::new("/"), None, None).expect("this host");
    let mut floor = Floor::new();
    let mut table = String::new();
    let mut costs = Vec::new();
    for size in SIZES {
        sleepers.grow_to(size);
        let before = resident_kib();
        let listed = host.processes(10).expect("a sweep").count;
        let grown = resident_kib().saturating_sub(before);
        floor.sweep();
        let (mut ours, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..if size > 2_000 { 20 } else { 60 } {
            let begun = cpu_us();
            floor.sweep();
            let between = cpu_us();
            drop(host.processes(10).expect("a sweep"));
            floors.push(between - begun);
            ours.push(cpu_us() - between);
        }
        let (ours, floors) = (median(ours), median(floors));
        costs.push((ours, floors));
        writeln!(
            table,
            "{listed:>9} {:>10.2} {:>10.2} {:>8.2} {:>14.0}",
            floors / 1e3,
            ours / 1e3,
            ours / floors,
            grown as f64 * 1024.0 / listed as f64
        )
        .expect("a string takes all");
    }
    println!("{:>9} {:>10} {:>10} {:>8} {:>14}", "processes", "floor ms", "ours ms", "ratio", "RSS B/process");
    print!("{table}");
    if let [(small, small_floor), (large, large_floor)] = costs[..] {
        println!(
            "growth {:.2}, the floor's {:.2}, ratio {:.2}",
            large / small,
            large_floor / small_floor,
            large / small / (large_floor / small_floor)
        );
    }
}
