//! What the agent costs while nothing happens: resident memory and CPU time beside earlyoom and monit from Debian, all in one run. node_exporter,
//! which does nothing unless it is scraped, is in `peers`.
//!
//! `cargo bench --bench idle`; `BYTEPORT_BENCH_SECONDS` sets how long they idle (60). Ratios are to the agent: above 1 the peer
//! costs more. A peer that is not installed is left out, and said.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Running {
    name: &'static str,
    child: Child,
    spent_ns: u64,
}

/// CPU nanoseconds of all threads so far, children not included: what idles uses less than a clock tick.
fn spent_ns(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let of_thread =
        |path: std::path::PathBuf| fs::read_to_string(path.join("schedstat")).ok()?.split_whitespace().next()?.parse::<u64>().ok();
    Some(threads.filter_map(|thread| of_thread(thread.path())).sum())
}

/// Resident and private dirty kilobytes.
fn memory(pid: u32) -> Option<(u64, u64)> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let field = |name: &str| rollup.lines().find(|l| l.starts_with(name))?.split_whitespace().nth(1)?.parse::<u64>().ok();
    Some((field("Rss:")?, field("Private_Dirty:")?))
}

fn start(name: &'static str, program: &str, args: &[&str]) -> Option<Running> {
    let spawned = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match spawned {
        Ok(child) => Some(Running { name, child, spent_ns: 0 }),
        Err(e) => {
            println!("{name}: left out, {program}: {e}");
            None
        }
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_or(0, |a| a.port())
}

fn main() {
    let seconds = std::env::var("BYTEPORT_BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let scratch = tempfile::tempdir().expect("scratch folder");
    let at = scratch.path().display();
    let agent = scratch.path().join("agent.toml");
    let text = format!(
        "state_dir = \"{at}/state\"\nsocket = \"{at}/agent.sock\"\nactuator_socket = \"{at}/actuator.sock\"\nlisten = \"127.0.0.1:{}\"\nsample_interval = \"5s\"\n",
        free_port()
    );
    fs::write(&agent, text).expect("agent.toml");
    let monit = scratch.path().join("monitrc");
    fs::write(&monit, format!("set daemon 5\nset pidfile {at}/monit.pid\nset idfile {at}/monit.id\nset statefile {at}/monit.state\ncheck filesystem root with path /\n  if space usage > 99% then alert\n")).expect("monitrc");
    own_only(&monit);

    let mut running: Vec<Running> = [
        start("byteport-agent", env!("CARGO_BIN_EXE_byteport-agent"), &["--config", &agent.to_string_lossy()]),
        start("earlyoom", "earlyoom", &["-r", "0", "--dryrun"]),
        start("monit", "monit", &["-I", "-c", &monit.to_string_lossy()]),
    ]
    .into_iter()
    .flatten()
    .collect();

    // Start-up is not idling.
    std::thread::sleep(Duration::from_secs(10));
    for r in &mut running {
        r.spent_ns = spent_ns(r.child.id()).unwrap_or(0);
    }
    std::thread::sleep(Duration::from_secs(seconds));

    let mut base: Option<(f64, f64)> = None;
    println!("{:<15} {:>10} {:>14} {:>10} {:>10} {:>10}", "idle", "RSS KiB", "priv dirty KiB", "CPU % core", "RSS x", "CPU x");
    for r in &mut running {
        let pid = r.child.id();
        let (Some((rss, dirty)), Some(now)) = (memory(pid), spent_ns(pid)) else {
            println!("{:<15} ended by itself", r.name);
            continue;
        };
        let cpu = now.saturating_sub(r.spent_ns) as f64 / 1e9 / seconds as f64 * 100.0;
        let (rss_base, cpu_base) = *base.get_or_insert((rss as f64, cpu));
        println!("{:<15} {rss:>10} {dirty:>14} {cpu:>10.4} {:>10.2} {:>10.2}", r.name, rss as f64 / rss_base, cpu / cpu_base.max(1e-9));
    }
    for r in &mut running {
        drop(r.child.kill());
        drop(r.child.wait());
    }
}

/// monit reads only a file that nobody else can.
fn own_only(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}
