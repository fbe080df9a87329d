//! The package on a kernel of its own: real faults in a virtual machine, judged by the agent's own record and by the kernel.
//!
//! `make test-vm`, or `cargo test --test vm -- SCENARIO…`; when all have passed on one and the same package, `docs/scenarios.md` is written. With `--ci`, only those that CI has the time for; with
//! `--peers`, see `peers.rs`. The machine is made and booted once and kept in `target/`; every
//! scenario starts from it within a second or two, two at a time. What is left of one that failed lies in `target/vm-failed/`.

#[path = "../support/mod.rs"]
mod support;

mod accelerator;
mod exec;
mod faults;
mod host;
mod image;
mod kept;
mod machine;
mod payload;
mod peers;
mod scenarios;
mod score;
mod snapshot;
mod talk;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use host::Host;
use image::Image;
use kept::Kept;
use peers::{Fault, Healer};
use scenarios::{Scenario, aged};
use score::Line;
use snapshot::Snapshot;
use support::{is_root, missing, on_path};

/// More would slow each other down on two cores until deadlines are missed.
const AT_A_TIME: usize = 2;

fn main() -> ExitCode {
    if !cfg!(target_arch = "x86_64") || !is_root() {
        missing("the virtual machine needs root, to make its image, and x86-64");
        return ExitCode::SUCCESS;
    }
    if let Some(program) = [machine::QEMU, "mmdebstrap", "mke2fs", "apt-get", "setpriv"].into_iter().find(|p| !on_path(p)) {
        missing(&format!("the virtual machine needs {program}: packaging/setup.sh vm"));
        return ExitCode::SUCCESS;
    }
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    let with_peers = wanted.first().is_some_and(|w| w == "--peers");
    let in_ci = wanted.first().is_some_and(|w| w == "--ci");
    if with_peers || in_ci {
        wanted.remove(0);
    }
    let names: Vec<&str> = if with_peers { Healer::ALL.map(Healer::name).into() } else { scenarios::ALL.iter().map(|s| s.name).collect() };
    if let Some(unknown) = wanted.iter().find(|w| !names.contains(&w.as_str())) {
        eprintln!("{unknown} is none of: {}", names.join(" "));
        return ExitCode::from(64);
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);

    // Where it was, in a line; what it was about is said at the end.
    std::panic::set_hook(Box::new(|panic| eprintln!("{}", panic.location().expect("always there"))));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("temp dir");
    let failed = target.join("vm-failed");
    drop(fs::remove_dir_all(&failed));
    let payload = timed("package", || payload::pack(Path::new(env!("CARGO_MANIFEST_DIR")), scratch.path()));
    let image = timed("image", || Image::ready(target));
    let snapshot = timed("snapshot", || Snapshot::ready(image, &payload));
    if with_peers {
        return beside_peers(&snapshot, &payload, scratch.path(), is_wanted);
    }
    let chosen: Vec<Scenario> = scenarios::ALL.iter().filter(|s| is_wanted(s.name) && (s.in_ci || !in_ci)).copied().collect();
    let kept = Kept::of(target, &payload);
    // Who names a scenario wants it run.
    let known = |s: &Scenario| kept.find(s.name).filter(|_| wanted.is_empty() && !in_ci).map(|came| (s.name, came));
    let passed: Vec<Line> =
        chosen.iter().filter_map(known).map(|(name, came)| Line { name, took: Duration::ZERO, came: Ok(came) }).collect();
    let chosen: Vec<Scenario> = chosen.into_iter().filter(|s| known(s).is_none()).collect();
    println!("{} scenarios on {}; {} have passed on this very package before", chosen.len(), snapshot.accelerator, passed.len());

    let (lines, kept) = (Mutex::new(passed), Mutex::new(kept));
    let (later, now): (Vec<Scenario>, Vec<Scenario>) = chosen.iter().partition(|s| s.aged);
    // What needs no past first; meanwhile the other one lives through it. Then both take what is left of both.
    let (older, wants_older) = (OnceLock::new(), !later.is_empty());
    let queues = [Mutex::new(now.into_iter()), Mutex::new(later.into_iter())];
    let take = |queue: usize| queues[queue].lock().expect("queue").next();
    let pass = |scenario: Scenario, snapshot: &Snapshot| {
        let dir = scratch.path().join(scenario.name);
        fs::create_dir(&dir).expect("a folder for the scenario");
        let line = run(scenario, snapshot, &payload, &dir);
        if let Ok(came) = line.came {
            kept.lock().expect("kept").add(line.name, came);
        } else {
            fs::create_dir_all(&failed).and_then(|()| fs::rename(&dir, failed.join(scenario.name))).expect("evidence is kept");
        }
        lines.lock().expect("lines").push(line);
    };
    std::thread::scope(|scope| {
        let (take, pass, older, lines, snapshot, payload) = (&take, &pass, &older, &lines, &snapshot, &payload);
        for worker in 0..AT_A_TIME {
            scope.spawn(move || {
                if worker == 0 && wants_older {
                    drop(older.set(timed("a life before", || grown_old("older", aged::RECIPE, snapshot, payload, aged::live))));
                }
                while let Some(scenario) = take(0) {
                    pass(scenario, snapshot);
                }
                while let Some(scenario) = take(1) {
                    match older.wait() {
                        Ok(older) => pass(scenario, older),
                        Err(why) => {
                            let line =
                                Line { name: scenario.name, took: Duration::ZERO, came: Err(format!("no host that is older: {why}")) };
                            lines.lock().expect("lines").push(line);
                        }
                    }
                }
            });
        }
    });
    let mut lines = lines.into_inner().expect("lines");
    lines.sort_by_key(|line| scenarios::ALL.iter().position(|s| s.name == line.name));
    print!("{}", score::table(&lines));
    for (line, why) in lines.iter().filter_map(|l| l.came.as_ref().err().map(|why| (l, why))) {
        println!("\n{} failed; see {}\n{why}", line.name, failed.join(line.name).display());
    }
    if lines.iter().any(|l| l.came.is_err()) {
        return ExitCode::FAILURE;
    }
    if lines.len() == scenarios::ALL.len() {
        let page = score::page(&lines, &snapshot.accelerator.to_string());
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scenarios.md"), page).expect("docs/scenarios.md");
    }
    ExitCode::SUCCESS
}

/// A host with a past. Kept for as long as the package and what the past consists of are the same.
fn grown_old(life: &str, recipe: impl Hash, snapshot: &Snapshot, payload: &Path, live: impl Fn(&mut Host<'_>)) -> Result<Snapshot, String> {
    let mut all = DefaultHasher::new();
    (fs::read(payload).map_err(|e| e.to_string())?, recipe, faults::RECIPE).hash(&mut all);
    snapshot.older(life, &format!("{:016x}", all.finish()), |dir| {
        let lived = catch_unwind(AssertUnwindSafe(|| {
            let mut host = Host::resumed(snapshot, payload, dir, 0);
            let lived = catch_unwind(AssertUnwindSafe(|| live(&mut host)));
            if lived.is_err() {
                host.tell();
            }
            (lived, host)
        }));
        let (lived, host) = lived.map_err(said)?;
        lived.map_err(|panic| format!("{}; see {}", said(panic), dir.display()))?;
        host.saved()
    })
}

/// One after the other, so that each has the same machine. The page is written when nobody was left out.
fn beside_peers(snapshot: &Snapshot, payload: &Path, scratch: &Path, is_wanted: impl Fn(&str) -> bool) -> ExitCode {
    let lived = timed("a life before", || grown_old("older-peers", peers::RECIPE, snapshot, payload, peers::live));
    let snapshot = &lived.unwrap_or_else(|why| panic!("no host that is older: {why}"));
    let chosen = Healer::ALL.into_iter().filter(|h| is_wanted(h.name()));
    let mut rows = Vec::new();
    for (healer, fault) in chosen.flat_map(|healer| Fault::ALL.map(|fault| (healer, fault))) {
        let dir = scratch.join(format!("{}-{fault:?}", healer.name()));
        fs::create_dir(&dir).expect("a folder for the run");
        let mut host = Host::resumed(snapshot, payload, &dir, 0);
        let row = catch_unwind(AssertUnwindSafe(|| peers::run(healer, fault, &mut host)));
        host.end();
        match row {
            Ok(row) => rows.push(row),
            Err(panic) => println!("{} with {fault:?}: {}", healer.name(), said(panic)),
        }
    }
    let page = peers::page(&rows, &snapshot.accelerator.to_string());
    println!("{page}");
    if rows.len() < Healer::ALL.len() * Fault::ALL.len() {
        println!("docs/peers.md is not written: not all of it was measured");
        return ExitCode::FAILURE;
    }
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/peers.md"), page).expect("docs/peers.md");
    ExitCode::SUCCESS
}

fn said(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().unwrap_or(&"no reason").to_string(),
    }
}

fn run(scenario: Scenario, snapshot: &Snapshot, payload: &Path, dir: &Path) -> Line {
    let start = Instant::now();
    let came = catch_unwind(AssertUnwindSafe(|| {
        let mut host = Host::resumed(snapshot, payload, dir, if scenario.aged { 0 } else { 30 });
        println!("{}: restored after {:.1} s", scenario.name, start.elapsed().as_secs_f64());
        let came = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&mut host)));
        if came.is_err() {
            host.tell();
        }
        host.end();
        came
    }));
    let line = Line { name: scenario.name, took: start.elapsed(), came: came.and_then(|came| came).map_err(said) };
    println!("{}: {} after {:.0} s", line.name, if line.came.is_ok() { "passed" } else { "FAILED" }, line.took.as_secs_f64());
    line
}

fn timed<T>(what: &str, make: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let made = make();
    println!("{what}: {:.1} s", start.elapsed().as_secs_f64());
    made
}
