//! Where the cost of one look at a host goes, without rendering it: the readings and the sampler beside the bare reads of the same (`floor/mod.rs`).
//!
//! `cargo bench --bench sample`; `BYTEPORT_BENCH_ROUNDS` sets how often (1000). CPU time of the whole process, so that threads count; ratios are to
//! the bare reads in the same run, taken in turn. What the agent as it ships costs is in `peers`.

mod floor;

use std::hint::black_box;
use std::path::Path;

use byteport::host::{LiveHost, ReadHost};
use byteport::sense::{Sampler, Want};
use floor::{BareReads, cpu_us};

/// The first rounds open files and grow buffers.
const WARM_UP: usize = 5;

fn main() {
    let rounds = std::env::var("BYTEPORT_BENCH_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(1000);
    let host = LiveHost::new(Path::new("/"), None, None).expect("this host");
    let mut sampler = Sampler::new(std::sync::Arc::new(LiveHost::new(Path::new("/"), None, None).expect("this host")), 5.0);
    let mut bare = BareReads::new();
    let mut ways = [
        Way::new("bare reads", Box::new(move || bare.look())),
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
    println!("{:<24} {:>10} {:>8}", "", "CPU us", "x");
    for way in &mut ways {
        way.taken.sort_by(f64::total_cmp);
        let median = way.taken[way.taken.len() / 2];
        println!("{:<24} {median:>10.1} {:>8.2}", way.name, median / *base.get_or_insert(median));
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
