//! The package on a kernel of its own: real faults in a virtual machine, judged by the agent's own record and by the kernel.
//!
//! `make test-vm`, or `cargo test --test vm -- SCENARIO…`. The machine is made and booted once and kept in `target/`; every
//! scenario starts from it within a second or two, two at a time. What is left of one that failed lies in `target/vm-failed/`.

#[path = "../support/mod.rs"]
mod support;

mod accelerator;
mod exec;
mod host;
mod image;
mod machine;
mod payload;
mod scenarios;
mod score;
mod snapshot;
mod talk;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use host::Host;
use image::Image;
use scenarios::Scenario;
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
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let chosen: Vec<Scenario> =
        scenarios::ALL.iter().filter(|s| wanted.is_empty() || wanted.iter().any(|w| w == s.name)).copied().collect();
    if chosen.is_empty() || chosen.len() < wanted.len() {
        eprintln!("scenarios: {}", scenarios::ALL.iter().map(|s| s.name).collect::<Vec<_>>().join(" "));
        return ExitCode::from(64);
    }

    // Where it was, in a line; what it was about is said at the end.
    std::panic::set_hook(Box::new(|panic| eprintln!("{}", panic.location().expect("always there"))));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("temp dir");
    let failed = target.join("vm-failed");
    drop(fs::remove_dir_all(&failed));
    let payload = timed("package", || payload::pack(Path::new(env!("CARGO_MANIFEST_DIR")), scratch.path()));
    let image = timed("image", || Image::ready(target));
    let snapshot = timed("snapshot", || Snapshot::ready(image, &payload));
    println!("{} scenarios on {}", chosen.len(), snapshot.accelerator);

    let (queue, lines) = (Mutex::new(chosen.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(scenario) = { queue.lock().expect("queue").next() } {
                    let dir = scratch.path().join(scenario.name);
                    fs::create_dir(&dir).expect("a folder for the scenario");
                    let line = run(*scenario, &snapshot, &payload, &dir);
                    if line.came.is_err() {
                        fs::create_dir_all(&failed).and_then(|()| fs::rename(&dir, failed.join(scenario.name))).expect("evidence is kept");
                    }
                    lines.lock().expect("lines").push(line);
                }
            });
        }
    });
    let lines = lines.into_inner().expect("lines");
    print!("{}", score::table(&lines));
    for (line, why) in lines.iter().filter_map(|l| l.came.as_ref().err().map(|why| (l, why))) {
        println!("\n{} failed; see {}\n{why}", line.name, failed.join(line.name).display());
    }
    if lines.iter().any(|l| l.came.is_err()) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run(scenario: Scenario, snapshot: &Snapshot, payload: &Path, dir: &Path) -> Line {
    let start = Instant::now();
    let came = catch_unwind(AssertUnwindSafe(|| {
        let mut host = Host::restored(snapshot, payload, dir);
        println!("{}: restored after {:.1} s", scenario.name, start.elapsed().as_secs_f64());
        let came = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&mut host)));
        if came.is_err() {
            host.tell();
        }
        host.end();
        came
    }));
    let said = |panic: Box<dyn std::any::Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().unwrap_or(&"no reason").to_string(),
    };
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
