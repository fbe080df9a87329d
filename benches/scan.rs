//! One walk over many small files: ours, `du -x`, and a walker that uses every core.
//!
//! `cargo bench --bench scan`; `BYTEPORT_BENCH_FILES` sets the number of files (1,000,000). Each contender runs in a process of its own over the
//! same warm tree, in turns; CPU time and peak memory are what the kernel says of that process when it ends.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use byteport::host::{Clock, FamilyAsk, LiveHost, ReadHost, ScanAsk};
use byteport::model::{FileFamily, HostPath};
use nix::sys::resource::{UsageWho, getrusage};

const PER_DIR: usize = 1000;
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    // `cargo bench` and `cargo test --benches` add arguments of their own; only our children name a contender.
    match args.get(1).map(String::as_str) {
        Some("ours") => ours(Path::new(&args[2]), false),
        Some("ours-candidates") => ours(Path::new(&args[2]), true),
        Some("parallel") => parallel(Path::new(&args[2])),
        Some("idle") => {}
        Some("measure") => measure(&args[2..]),
        _ => return compare(),
    }
    ExitCode::SUCCESS
}

/// What a runbook asks, without and with a family that every file matches.
fn ours(dir: &Path, candidates: bool) {
    let host = LiveHost::new(Path::new("/"), None, None).expect("this host");
    let family = FamilyAsk {
        family: FileFamily::Tmp,
        root: HostPath::from(dir),
        min_age_s: 0,
        min_size: 0,
        or_age_s: None,
        names: vec!["*.log".into()],
        exclude: vec![format!("{}/systemd-private-*/**", dir.display())],
        dirs_min_age_s: Some(0),
    };
    let scan = host
        .scan(&ScanAsk {
            mount: HostPath::from(dir),
            device: dir.metadata().expect("metadata").dev(),
            families: if candidates { vec![family] } else { Vec::new() },
            top: 20,
            keep: 20_000,
            deadline: Duration::from_secs(600),
            now: host.now(),
        })
        .expect("scan");
    assert!(scan.complete, "{:?}", scan.not_seen);
    println!("{}", scan.files);
}

/// A walk with one thread per core, each taking directories from a common list: what a program that only counts can do.
fn parallel(dir: &Path) {
    let list = Arc::new((Mutex::new((vec![dir.to_path_buf()], 0usize)), Condvar::new()));
    let files = AtomicU64::new(0);
    let bytes = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let mut todo = list.0.lock().expect("lock");
                    let dir = loop {
                        if let Some(dir) = todo.0.pop() {
                            todo.1 += 1;
                            break dir;
                        }
                        if todo.1 == 0 {
                            return list.1.notify_all();
                        }
                        todo = list.1.wait(todo).expect("lock");
                    };
                    drop(todo);
                    let mut below = Vec::new();
                    for entry in fs::read_dir(&dir).expect("read_dir").map(|e| e.expect("entry")) {
                        if entry.file_type().expect("type").is_dir() {
                            below.push(entry.path());
                        } else {
                            let metadata = entry.metadata().expect("metadata");
                            files.fetch_add(1, Ordering::Relaxed);
                            bytes.fetch_add(metadata.blocks() * 512, Ordering::Relaxed);
                        }
                    }
                    let mut todo = list.0.lock().expect("lock");
                    todo.0.append(&mut below);
                    todo.1 -= 1;
                    list.1.notify_all();
                }
            });
        }
    });
    println!("{}", files.into_inner());
}

struct Cost {
    cpu_s: f64,
    wall_s: f64,
    peak_mib: f64,
}

fn compare() -> ExitCode {
    let count: usize = std::env::var("BYTEPORT_BENCH_FILES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let scratch = tempfile::Builder::new().prefix("byteport-bench-scan-").tempdir().expect("scratch folder");
    let tree = scratch.path().join("tree");
    eprintln!("making {count} files in {} ...", tree.display());
    make(&tree, count);

    let me = std::env::current_exe().expect("own path");
    type Contender<'a> = (&'a str, Box<dyn Fn() -> Command>);
    let contenders: Vec<Contender<'_>> = vec![
        ("du -x", command("du", &["-sx"], &tree)),
        ("byteport", command(&me, &["ours"], &tree)),
        ("byteport, all are candidates", command(&me, &["ours-candidates"], &tree)),
        ("parallel read_dir", command(&me, &["parallel"], &tree)),
    ];
    let idle = run(&command(&me, &["idle"], &tree)());
    let mut best: Vec<Option<Cost>> = contenders.iter().map(|_| None).collect();
    // In turns, so that what else the machine does meets everybody; the first round only warms the cache.
    for round in 0..=ROUNDS {
        for ((_, make), best) in contenders.iter().zip(&mut best) {
            let cost = run(&make());
            if round > 0 && best.as_ref().is_none_or(|b| cost.cpu_s < b.cpu_s) {
                *best = Some(cost);
            }
        }
    }
    let best: Vec<Cost> = best.into_iter().flatten().collect();
    println!("{count} files, warm cache, best of {ROUNDS} (a process of ours that does nothing: {:.1} MiB)", idle.peak_mib);
    println!("{:<30} {:>9} {:>9} {:>11} {:>12}", "", "cpu s", "wall s", "peak MiB", "cpu / du");
    for ((name, _), cost) in contenders.iter().zip(&best) {
        let ratio = cost.cpu_s / best[0].cpu_s;
        println!("{name:<30} {:>9.3} {:>9.3} {:>11.1} {ratio:>12.2}", cost.cpu_s, cost.wall_s, cost.peak_mib);
    }
    ExitCode::SUCCESS
}

fn command(program: impl AsRef<std::ffi::OsStr>, args: &'static [&'static str], tree: &Path) -> Box<dyn Fn() -> Command> {
    let (program, tree) = (program.as_ref().to_owned(), tree.to_path_buf());
    Box::new(move || {
        let mut command = Command::new(&program);
        command.args(args).arg(&tree);
        command
    })
}

/// Runs it as the only child of a small process, which is then told by the kernel what its children cost.
fn run(command: &Command) -> Cost {
    let me = std::env::current_exe().expect("own path");
    let out = Command::new(me).arg("measure").arg(command.get_program()).args(command.get_args()).output().expect("start");
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut figures = text.split_whitespace().map(|f| f.parse::<f64>().expect("a figure"));
    let mut next = || figures.next().expect("three figures");
    Cost { cpu_s: next(), wall_s: next(), peak_mib: next() / 1024.0 }
}

fn measure(command: &[String]) {
    let begun = Instant::now();
    let status = Command::new(&command[0]).args(&command[1..]).stdout(Stdio::null()).status().expect("start");
    let wall_s = begun.elapsed().as_secs_f64();
    assert!(status.success(), "{command:?}: {status}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage");
    let cpu_s = [usage.user_time(), usage.system_time()].iter().map(|t| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6).sum::<f64>();
    println!("{cpu_s} {wall_s} {}", usage.max_rss());
}

fn make(tree: &Path, count: usize) {
    let dirs = count.div_ceil(PER_DIR);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= dirs {
                        return;
                    }
                    // A hundred folders of ten folders of a thousand files.
                    let dir: PathBuf = tree.join(format!("d{:03}", index / 10)).join(format!("e{}", index % 10));
                    fs::create_dir_all(&dir).expect("folder");
                    for file in 0..PER_DIR.min(count - index * PER_DIR) {
                        let path = dir.join(format!("file-{file:04}.log"));
                        std::io::Write::write_all(&mut File::create(path).expect("file"), b"a line of a log\n").expect("write");
                    }
                }
            });
        }
    });
}
