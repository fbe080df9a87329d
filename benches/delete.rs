//! Deleting 100,000 files with every check, against `find -xdev -delete`: CPU time, on the temporary directory's filesystem and in memory.
//!
//! `cargo bench --bench delete`; `BYTEPORT_BENCH_FILES` sets the number of files (100,000). Ours is everything from the agent's request to its answer: JSON, guard, ledger, and the deletion itself;
//! the promise is a ratio of at most 2.0.

#[path = "../tests/acting/mod.rs"]
mod acting;

use std::fs;
use std::path::Path;
use std::process::Command;

use acting::{Later, Stand, admitted, batch, target};
use byteport::act::client::Performed;
use byteport::model::{FileFamily, HostPath, Step};
use nix::sys::resource::{UsageWho, getrusage};
use rustix::time::{ClockId, clock_gettime};

const FILES_EACH: usize = 1_000;
/// The better of these, for each side: other programs disturb both.
const ROUNDS: usize = 3;

/// In directories of a thousand.
fn dirs() -> usize {
    let files = std::env::var("BYTEPORT_BENCH_FILES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    usize::max(files / FILES_EACH, 1)
}

fn main() {
    for place in ["/dev/shm".into(), std::env::temp_dir()] {
        if !place.is_dir() {
            println!("{}: left out, it is not there", place.display());
            continue;
        }
        let find = (0..ROUNDS).map(|_| find(&place)).fold(f64::MAX, f64::min);
        let (ours, user) = (0..ROUNDS).map(|_| ours(&place)).fold((f64::MAX, 0.0), |best, one| if one.0 < best.0 { one } else { best });
        println!(
            "{}: {} files, CPU: ours {ours:.2} s ({user:.2} s outside the kernel), find -xdev -delete {find:.2} s, ratio {:.2} (promised: 2.0 at most)",
            place.display(),
            dirs() * FILES_EACH,
            ours / find
        );
    }
}

fn fill(root: &Path) -> Vec<HostPath> {
    let mut names = Vec::new();
    for d in 0..dirs() {
        fs::create_dir_all(root.join(format!("d{d:03}"))).expect("directory");
        for f in 0..FILES_EACH {
            let name = format!("d{d:03}/file-{f:05}");
            fs::write(root.join(&name), b"some bytes that occupy one block").expect("file");
            names.push(HostPath::from(name.as_str()));
        }
    }
    rustix::fs::sync();
    names
}

fn find(place: &Path) -> f64 {
    let dir = tempfile::tempdir_in(place).expect("temp dir");
    let root = dir.path().join("root");
    fill(&root);
    let before = of_children();
    let status = Command::new("find").arg(&root).args(["-xdev", "-delete"]).status().expect("find");
    assert!(status.success() && !root.exists());
    of_children() - before
}

/// CPU seconds, and how much of them was spent outside the kernel.
fn ours(place: &Path) -> (f64, f64) {
    let stand = Stand::on(tempfile::tempdir_in(place).expect("temp dir"), Later::new(), |_| {});
    let names = fill(&stand.root);
    let mut batch = batch(&stand.root, FileFamily::Tmp, names);
    batch.dirs = (0..dirs()).map(|d| target(&stand.root, &HostPath::from(format!("d{d:03}").as_str()))).collect();
    let (before, user_before) = (of_ourselves(), user());
    // The engine's own patience: on a busy machine the disk takes its time, and time is not what is measured.
    let mut perform = stand.asking("bench", 1, Step::DeleteFiles(batch));
    perform.deadline_s = 600;
    let effect = match stand.client.perform(&admitted(&stand.policy, &perform), perform).expect("an answer") {
        Performed::Effect(effect) => effect,
        other => panic!("{other:?}"),
    };
    let took = (of_ourselves() - before, user() - user_before);
    assert_eq!(effect.done, (dirs() * (FILES_EACH + 1)) as u64, "{effect:?}");
    took
}

/// All threads of this process, in seconds.
fn of_ourselves() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// Of that, outside the kernel.
fn user() -> f64 {
    let used = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage").user_time();
    used.tv_sec() as f64 + used.tv_usec() as f64 / 1e6
}

/// Children that have ended, in seconds; the kernel counts them in ticks.
fn of_children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("stat");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
    (ticks(13) + ticks(14)) / rustix::param::clock_ticks_per_second() as f64
}
