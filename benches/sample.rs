//! What one look at a host costs, without rendering it, beside the bare reads of the same: ten files of `/proc` and a statvfs for every line of
//! the mount table, every digit looked at, nothing kept.
//!
//! `cargo bench --bench sample`; `BYTEPORT_BENCH_ROUNDS` sets how often (1000). CPU time of the whole process, so that threads count; ratios are to
//! the bare reads in the same run, taken in turn. As root the same again with 5,000 bind mounts, in namespaces of its own.

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use byteport::host::{LiveHost, ReadHost};
use byteport::sense::{Sampler, Want};
use nix::mount::{MsFlags, mount};

const FILES: [&str; 10] = [
    "/proc/stat",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/vmstat",
    "/proc/pressure/cpu",
    "/proc/pressure/io",
    "/proc/pressure/memory",
    "/proc/diskstats",
    "/proc/net/dev",
    "/proc/self/mountinfo",
];
const BIND_MOUNTS: usize = 5000;
/// The first rounds open files and grow buffers.
const WARM_UP: usize = 5;
const SCRATCH: &str = "BYTEPORT_BENCH_BIND_MOUNTS_BELOW";

fn main() {
    if let Some(scratch) = std::env::var_os(SCRATCH) {
        bind_many(Path::new(&scratch));
        return measure("5,000 bind mounts", rounds() / 20 + 5);
    }
    println!("{:<20} {:<24} {:>10} {:>8}", "", "", "CPU us", "x");
    measure("this host", rounds());
    let scratch = tempfile::tempdir().expect("scratch folder");
    let again = std::env::current_exe().expect("own path");
    // As pid 1 there, because it is pid 1's mount table that is the host's.
    let unshare = ["--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "--"];
    let status = Command::new("unshare").args(unshare).arg(again).env(SCRATCH, scratch.path()).status();
    if !status.is_ok_and(|s| s.success()) {
        println!("5,000 bind mounts: left out, namespaces need root and unshare (util-linux)");
    }
}

fn rounds() -> usize {
    std::env::var("BYTEPORT_BENCH_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(1000)
}

fn measure(what: &str, rounds: usize) {
    let host = LiveHost::new(Path::new("/"), None, None).expect("this host");
    let mut sampler = Sampler::new(std::sync::Arc::new(LiveHost::new(Path::new("/"), None, None).expect("this host")), 5.0);
    let mut buffer = vec![0; 8 << 20];
    let mut ways = [
        Way::new("bare reads", Box::new(move || bare(&mut buffer))),
        Way::new("every reading", Box::new(|| readings(&host))),
        Way::new("of that, filesystems", Box::new(|| filesystems(&host))),
        Way::new("the sampler's sample", Box::new(|| drop(black_box(sampler.sample(Want::Host))))),
    ];
    for round in 0..rounds + WARM_UP {
        for way in &mut ways {
            let before = cpu_us();
            (way.look)();
            if round >= WARM_UP {
                way.taken.push(cpu_us() - before);
            }
        }
    }
    let mut base = None;
    for way in &mut ways {
        way.taken.sort_by(f64::total_cmp);
        let median = way.taken[way.taken.len() / 2];
        println!("{what:<20} {:<24} {median:>10.1} {:>8.2}", way.name, median / *base.get_or_insert(median));
    }
}

/// One of the ways to look, and what each look of it took.
struct Way<'a> {
    name: &'static str,
    look: Box<dyn FnMut() + 'a>,
    taken: Vec<f64>,
}

impl<'a> Way<'a> {
    fn new(name: &'static str, look: Box<dyn FnMut() + 'a>) -> Self {
        Self { name, look, taken: Vec::new() }
    }
}

fn cpu_us() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec as f64 * 1e6 + t.tv_nsec as f64 / 1e3
}

fn readings(host: &LiveHost) {
    black_box((host.cpu_stat(), host.load(), host.memory(), host.vmstat(), host.disk_io(), host.network())).0.expect("/proc/stat");
    black_box((host.cpu_pressure(), host.io_pressure(), host.memory_pressure())).1.expect("/proc/pressure");
    let _may_be_missing = black_box((host.file_handles(), host.conntrack(), host.clock_sync()));
    filesystems(host);
}

fn filesystems(host: &LiveHost) {
    let mounts = host.mounts().expect("mount table");
    let errors: Vec<_> = mounts.iter().map(|m| host.ext4_errors(m)).collect();
    black_box((host.fs_usages(&mounts), errors));
}

/// The physical floor.
fn bare(buffer: &mut [u8]) {
    for path in FILES {
        let Ok(mut file) = File::open(path) else { continue };
        let mut length = 0;
        while let Ok(n) = file.read(&mut buffer[length..]) {
            length += n;
            if n == 0 {
                break;
            }
        }
        let digits = buffer[..length].iter().fold(0u64, |sum, b| match b.wrapping_sub(b'0') {
            digit @ 0..=9 => sum.wrapping_mul(10).wrapping_add(u64::from(digit)),
            _ => sum,
        });
        black_box(digits);
        if path.ends_with("mountinfo") {
            for line in buffer[..length].split(|b| *b == b'\n') {
                if let Some(at) = line.split(|b| *b == b' ').nth(4) {
                    let _may_be_hidden = black_box(rustix::fs::statvfs(at));
                }
            }
        }
    }
}

/// Scratch below scratch: nothing but the temp dir is mounted again, and all goes with the namespace.
fn bind_many(scratch: &Path) {
    assert!(scratch.starts_with(std::env::temp_dir()), "only scratch");
    let at = |n: usize| -> PathBuf { scratch.join(n.to_string()) };
    for n in 0..=BIND_MOUNTS {
        std::fs::create_dir(at(n)).expect("scratch");
    }
    for n in 1..=BIND_MOUNTS {
        mount(Some(&at(0)), &at(n), None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("bind mount");
    }
}
