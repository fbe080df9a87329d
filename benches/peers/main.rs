//! The agent beside the packaged node_exporter and beside what the kernel charges for the same reads, in one run: one line for each goal.
//!
//! `cargo bench --bench peers`, two minutes. Every contender is a process of its own, asked as a scraper asks; they take turns, and figures are
//! medians of their turns, so that what else runs here disturbs all alike. CPU is that of all threads of a process. As root everything happens in
//! namespaces of its own: what is mounted and started goes away with them, however this ends. What cannot be had is said, and the rest goes on.

mod contender;
#[path = "../floor/mod.rs"]
mod floor;
#[allow(dead_code, reason = "only its mount is needed, not its waking up")]
#[path = "../../tests/support/hang_fuse.rs"]
mod hang_fuse;
mod host;
mod mounts;
mod scrape;
mod table;
mod walk;

use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use table::Table;

/// Set in the namespaces.
const INSIDE: &str = "BYTEPORT_BENCH_INSIDE";
/// As pid 1 there, because it is pid 1's mount table that is the host's.
const UNSHARE: [&str; 7] = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"];

fn main() -> ExitCode {
    if let Some(body) = std::env::var_os(scrape::READY_BODY) {
        scrape::serve(&std::fs::read(body).expect("a body"));
    }
    let inside = std::env::var_os(INSIDE).is_some();
    if !inside && Command::new("unshare").args(UNSHARE).arg("true").stderr(Stdio::null()).status().is_ok_and(|s| s.success()) {
        let again = std::env::current_exe().expect("own path");
        let mut there =
            Command::new("unshare").args(UNSHARE).arg("--").arg(again).env(INSIDE, "1").stdin(Stdio::piped()).spawn().expect("unshare");
        // Held open as long as we live.
        let _end = there.stdin.take();
        return if there.wait().is_ok_and(|s| s.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if inside {
        std::thread::spawn(|| {
            // Pid 1 is not interrupted from a terminal: it ends when whoever started it does.
            drop(std::io::stdin().read_to_end(&mut Vec::new()));
            std::process::exit(130);
        });
    }
    let scratch = tempfile::tempdir().expect("scratch folder");
    measure(scratch.path(), inside).print();
    ExitCode::SUCCESS
}

fn measure(scratch: &Path, inside: bool) -> Table {
    let mut table = Table::default();
    if !contender::node_exporter_is_there() {
        table.left_out("everything beside node_exporter: it is not installed (packaging/setup.sh bench)");
    }
    host::sample(scratch, &mut table);
    host::scrape(scratch, &mut table);
    walk::measure(scratch, &mut table);
    host::memory(scratch, &mut table);
    if inside {
        mounts::hung(scratch, &mut table);
        mounts::many(scratch, &mut table);
    } else {
        table.left_out("hung mounts and 5,000 bind mounts: namespaces need root and unshare (util-linux)");
    }
    table
}
