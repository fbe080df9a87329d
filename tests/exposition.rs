//! `/metrics` beside the real node_exporter and promtool, and as a scraper meets it: over HTTP, over TLS, and in bad company.

#[path = "exposition/families.rs"]
mod families;
mod support;
#[path = "exposition/units.rs"]
mod units;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use byteport::metrics::{Format, Metrics, Own};
use byteport::model::{
    BootId, ClockSync, CollectorLink, Conntrack, KernelEventKind, KernelLog, LinkFailure, Now, Observed, Sample, Severity, Signal,
    SourceState, Subject, UnitState, Units, Verdict,
};
use families::{Families, labels_of, unchunked};
use support::agent::{Agent, Running, ask, exchange, free_port, wait};
use support::loops::LoopDisk;
use support::namespaces::inside;
use support::{output, readings};

fn own<'a>(sources: &'a [SourceState], raised: &'a [Signal], kernel_log: Option<&'a KernelLog>) -> Own<'a> {
    Own {
        raised,
        sources,
        stretch: 1.5,
        cooldowns: 2,
        psi_mode: "triggers",
        state_bytes: 4096,
        kernel_log,
        journal: None,
        acting: false,
        collector: None,
    }
}

fn rendered(sample: &Sample) -> String {
    let metrics = Metrics::new("0");
    metrics.sample(sample, &own(&[], &[], None), true);
    String::from_utf8(metrics.page().plain(Format::Text).to_vec()).expect("text")
}

/// The real thing, with the collectors and the filters of today's version whatever Debian made of them.
fn node_exporter() -> Option<String> {
    if !support::on_path("prometheus-node-exporter") {
        support::missing("prometheus-node-exporter is not installed");
        return None;
    }
    let port = free_port();
    let child = Command::new("prometheus-node-exporter")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--collector.processes", "--collector.netdev.device-exclude=^$"])
        .arg("--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$")
        .arg("--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)")
        .arg("--collector.filesystem.fs-types-exclude=^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("node_exporter starts");
    let _running = Running(child);
    wait("node_exporter", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let (head, _) = ask(port, "/metrics", "");
    assert!(head.contains(" 200 "), "{head}");
    // The first answer came late, while it still looked around.
    Some(String::from_utf8(ask(port, "/metrics", "Accept-Encoding: identity\r\n").1).expect("text")).map(|text| unchunked(&text))
}

/// What stands still as long as nobody changes the host.
fn stands_still(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "node_boot_time_seconds",
        "node_disk_info",
        "node_filefd_maximum",
        "node_filesystem_device_error",
        "node_filesystem_readonly",
        "node_filesystem_size_bytes",
        "node_memory_Hugepagesize_bytes",
        "node_memory_MemTotal_bytes",
        "node_memory_SwapTotal_bytes",
        "node_network_info",
        "node_network_up",
        "node_nf_conntrack_entries_limit",
        "node_os_info",
        "node_processes_max_processes",
        "node_processes_max_threads",
        "node_uname_info",
    ];
    NAMES.contains(&name)
}

#[test]
fn what_node_exporter_measures_too_has_its_names_types_labels_and_values() {
    let before = readings::sample();
    let Some(theirs) = node_exporter() else { return };
    let after = readings::sample();
    let (before, theirs, after) = (Families::of(&rendered(&before)), Families::of(&theirs), Families::of(&rendered(&after)));
    let both: BTreeSet<_> = before.names().intersection(&theirs.names()).map(|n| (*n).clone()).collect();
    assert!(both.len() > 110, "{} families of both: {both:?}", both.len());
    let ours_alone: Vec<_> = before.names().difference(&theirs.names()).filter(|n| n.starts_with("node_")).map(|n| n.as_str()).collect();
    assert_eq!(ours_alone, ["node_filesystem_mount_info"], "names that this node_exporter does not have");
    let (mut exact, mut bracketed) = (0, 0);
    for name in &both {
        let kind = &theirs.kinds[name];
        assert_eq!(&before.kinds[name], kind, "{name}");
        // Whatever came or went in between is no difference; the letters of states do all the time.
        if name == "node_processes_state" {
            continue;
        }
        let (old, real, new) = (&before.series[name], &theirs.series[name], &after.series[name]);
        for labels in old.keys().filter(|l| new.contains_key(*l)) {
            assert!(real.contains_key(labels), "{name}{labels:?} is not node_exporter's: {:?}", real.keys());
        }
        for (labels, value) in real {
            let (Some(low), Some(high)) = (old.get(labels), new.get(labels)) else {
                // A filesystem that is mounted twice has one series here.
                let came = old.contains_key(labels) != new.contains_key(labels);
                assert!(came || name.starts_with("node_filesystem_"), "{name}{labels:?} is missing");
                continue;
            };
            if stands_still(name) {
                assert_eq!((value, value), (low, high), "{name}{labels:?}");
                exact += 1;
            } else if kind == "counter" || kind == "untyped" {
                // node_exporter divides twice, and is off by the last bit then.
                // Of idle CPUs the kernel takes back a little now and then; a reader who looks once sees it, one who follows does not.
                let taken_back = if name == "node_cpu_seconds_total" { 3.0 } else { 0.0 };
                let slack = value * 1e-12 + taken_back;
                assert!(*low <= value + slack && value - slack <= *high, "{name}{labels:?}: {low} <= {value} <= {high}");
                bracketed += 1;
            }
        }
    }
    assert!(exact >= 12 && bracketed >= 60, "{exact} values equal, {bracketed} counters between two readings");
}

fn promtool(text: &[u8]) -> Option<()> {
    if !support::on_path("promtool") {
        support::missing("promtool (Debian: prometheus) is not installed");
        return None;
    }
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    child.stdin.take().expect("stdin").write_all(text).expect("written");
    let out = child.wait_with_output().expect("ended");
    let said = String::from_utf8([out.stdout, out.stderr].concat()).expect("text");
    // Names of fields as the kernel writes them, and a gauge that is called a total, are what node_exporter does against the rules, and so the
    // contract.
    let contract = |line: &str| {
        line.starts_with("node_memory_") && line.ends_with("'camelCase'")
            || line.starts_with("node_systemd_socket_refused_connections_total ") && line.contains("non-counter")
    };
    let faults: Vec<&str> = said.lines().filter(|l| !l.is_empty() && !contract(l)).collect();
    // It ends with 3 when it found a matter of style, with 1 when it could not read the text at all.
    assert!(faults.is_empty() && matches!(out.status.code(), Some(0 | 3)), "{}\n{said}", out.status);
    Some(())
}

/// Every family there is, with values that are hard to write.
fn everything() -> (Sample, Vec<SourceState>, Vec<Signal>, KernelLog) {
    let mut sample = readings::sample();
    let unit = |name: &str, active: &str| UnitState {
        name: name.into(),
        active: active.into(),
        kind: "simple".into(),
        restarts: Some(2),
        ..UnitState::default()
    };
    let timer = UnitState { last_trigger_us: Some(1), ..unit("b.timer", "active") };
    let socket = UnitState { accepted: Some(1), connections: Some(1), refused: Some(0), ..unit("c.socket", "active") };
    let units = vec![unit("a@\"b\\x2d\".service", "failed"), unit("a@\"b\\x2d\".service", "active"), timer, socket];
    let (version, virtualization) = (Some("252.39-1~deb12u1".into()), Some("kvm".into()));
    sample.readings.units = Observed::fresh(Units { system_state: "degraded".into(), version, virtualization, units, ..Units::default() });
    sample.readings.irq_stalled_us = Observed::fresh(1);
    let clock = ClockSync { synchronised: true, offset_s: -1.5e-7, max_error_s: 16.0, estimated_error_s: 0.0 };
    sample.readings.clock = Observed::fresh(clock);
    sample.readings.conntrack = Observed::fresh(Conntrack { entries: 3, limit: 65_536 });
    let source = SourceState {
        name: "stat".into(),
        collectors: &["cpu", "stat"],
        interval_s: Some(5.0),
        duration_s: Some(0.000_123),
        success: true,
        age_s: Some(0.0),
        stuck_s: None,
    };
    let stuck = SourceState { name: "mount /a \"b\"\n".into(), collectors: &[], success: false, stuck_s: Some(3.25), ..source.clone() };
    let raised = Signal {
        kind: byteport::model::SignalKind::new("disk_usage_high"),
        subject: Subject::Filesystem { mount: "/srv".into(), device: 1 },
        severity: Severity::Critical,
        since: sample.at.clone(),
        detail: String::new(),
    };
    let counts = KernelEventKind::ALL.map(|kind| (kind, 0)).into();
    (sample, vec![source, stuck], vec![raised.clone(), raised], KernelLog { lines: 7, dropped: 1, counts, recent: Vec::new() })
}

#[test]
fn promtool_has_nothing_to_say() {
    let (sample, sources, raised, log) = everything();
    let metrics = Metrics::new("1.2.3-\"x\"");
    metrics.verified(&sample.at, &Verdict::Resolved { why: "it is".into() });
    metrics.sample(&sample, &own(&sources, &raised, Some(&log)), true);
    let page = metrics.page();
    if promtool(page.plain(Format::Text)).is_none() {
        return;
    }
    let families = Families::of(std::str::from_utf8(page.plain(Format::Text)).expect("text"));
    for line in [
        "byteport_source_age_seconds",
        "node_systemd_unit_state",
        "node_scrape_collector_success",
        "byteport_last_verify_verdict",
        "node_systemd_version",
        "node_systemd_virtualization_info",
        "node_systemd_socket_refused_connections_total",
    ] {
        assert!(families.kinds.contains_key(line), "{line}");
    }
    // `up` is told by whoever scrapes.
    for name in include_str!("../deploy/series.txt").lines().filter(|name| *name != "up") {
        assert!(families.series.contains_key(name), "{name}: rules or the dashboard rely on it, and it is not told");
    }
    let dropped = &families.series["byteport_series_dropped_total"][&labels_of("reason=\"duplicate\"")];
    assert!(*dropped >= 7.0, "a unit and a signal that were there twice: {dropped}");
}

#[test]
fn the_collector_is_told_of_where_there_is_one() {
    let metrics = Metrics::new("1");
    let text = |link: Option<&CollectorLink>| {
        metrics.sample(&readings::sample(), &Own { collector: link, ..own(&[], &[], None) }, false);
        String::from_utf8(metrics.page().plain(Format::Text).to_vec()).expect("text")
    };
    assert!(!text(None).contains("byteport_collector"));
    let mut link = CollectorLink::new("https://c.example", "0");
    let new = text(Some(&link));
    assert!(!new.contains("byteport_collector_waiting_rows"), "what it has is not known yet");
    let lines = |text: &str| text.lines().filter(|l| l.starts_with("byteport_collector")).map(str::to_owned).collect::<Vec<_>>();
    assert!(new.contains("\nbyteport_collector_up 0\n") && lines(&new).iter().all(|l| l.ends_with(" 0")), "{:?}", lines(&new));
    (link.up, link.waiting, link.sent) = (true, Some(3), 7);
    *link.failures.entry(LinkFailure::TimedOut).or_default() += 2;
    let told = text(Some(&link));
    for line in [
        "byteport_collector_up 1",
        "byteport_collector_waiting_rows 3",
        "byteport_collector_sent_rows_total 7",
        "byteport_collector_failures_total{reason=\"timed_out\"} 2",
        "byteport_collector_failures_total{reason=\"refused\"} 0",
    ] {
        assert!(lines(&told).iter().any(|l| l == line), "{line} is not in {:?}", lines(&told));
    }
    assert_eq!(lines(&told).len(), 3 + LinkFailure::ALL.len());
    promtool(told.as_bytes());
}

#[test]
fn own_counters_are_there_before_they_count() {
    let metrics = Metrics::new("1");
    let text = String::from_utf8(metrics.page().plain(Format::Text).to_vec()).expect("text");
    let families = Families::of(&text);
    for name in ["incidents_opened", "incidents_closed", "steps", "freed_bytes", "refusals", "samples", "series_dropped"] {
        let series = &families.series[&format!("byteport_{name}_total")];
        assert!(!series.is_empty() && series.values().all(|v| *v == 0.0), "{name}: {series:?}");
    }
    let at = Now { wall: "2026-11-24T06:00:00.25Z".parse().expect("a time"), boot: BootId("b".into()), uptime_s: 1.0 };
    metrics.refused(byteport::model::RefusalReason::Cooldown);
    metrics.step("disk", byteport::model::EffectState::Partial, byteport::model::Bytes(512));
    metrics.verified(&at, &Verdict::NotResolved { why: "no".into() });
    metrics.sample(&readings::sample(), &own(&[], &[], None), false);
    let text = String::from_utf8(metrics.page().plain(Format::Text).to_vec()).expect("text");
    for line in [
        "byteport_refusals_total{reason=\"cooldown\"} 1",
        "byteport_steps_total{outcome=\"partial\",runbook=\"disk\"} 1",
        "byteport_freed_bytes_total{runbook=\"disk\"} 512",
        "byteport_last_verify_timestamp_seconds 1795500000.250",
        "byteport_last_verify_verdict{verdict=\"not_resolved\"} 1",
        "byteport_last_verify_verdict{verdict=\"resolved\"} 0",
        "byteport_budget_stretch_ratio 1.5",
        "byteport_cooldowns_active 2",
        "byteport_psi_mode{mode=\"triggers\"} 1",
        "byteport_signals{signal=\"disk_usage_high\",state=\"critical\"} 0",
        "byteport_samples_total 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
    }
    assert!(!text.contains("\nnode_") && !text.contains("byteport_kernel_events"), "what was not asked for or not read is not there");
}

#[test]
fn a_scraper_gets_the_form_that_it_asks_for() {
    let agent = Agent::plain("");
    let (head, text) = ask(agent.port, "/metrics", "");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8") && head.contains("vary: accept, accept-encoding"),
        "{head}"
    );
    assert!(!head.contains("content-encoding"), "{head}");
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("node_filesystem_size_bytes{") && text.contains("byteport_refusals_total{reason=\"cooldown\"} 0"), "{text}");
    if promtool(text.as_bytes()).is_none() {
        eprintln!("its page was not judged");
    }
    let (head, openmetrics) = ask(agent.port, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    let openmetrics = String::from_utf8(openmetrics).expect("text");
    assert!(openmetrics.ends_with("# EOF\n") && openmetrics.contains("\n# TYPE byteport_refusals counter\n"), "{openmetrics}");
    let (head, packed) = ask(agent.port, "/metrics", "Accept-Encoding: gzip\r\n");
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).expect("gzip");
    assert_eq!(Families::of(&unpacked).names(), Families::of(&text).names());
    let (head, packed) = ask(agent.port, "/metrics", "Accept-Encoding: gzip, zstd\r\n");
    assert!(head.contains("content-encoding: zstd"), "{head}");
    let unpacked = String::from_utf8(zstd::decode_all(&packed[..]).expect("zstd")).expect("text");
    assert_eq!(Families::of(&unpacked).names(), Families::of(&text).names());
    let (head, _) = ask(agent.port, "/metrics", "Accept-Encoding: gzip;q=0\r\n");
    assert!(head.contains(" 200 ") && !head.contains("content-encoding"), "{head}");
    assert!(ask(agent.port, "/metrics", "Accept-Encoding: identity;q=0\r\n").0.contains(" 406 "));
}

#[test]
fn node_metrics_can_be_switched_off_while_it_runs() {
    let agent = Agent::plain("node_metrics = false\n");
    let page = || String::from_utf8(ask(agent.port, "/metrics", "").1).expect("text");
    assert!(!page().contains("\nnode_") && page().contains("byteport_build_info"));
    let path = agent.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&path).expect("agent.toml").replace("node_metrics = false", "node_metrics = true");
    std::fs::write(path, text).expect("agent.toml");
    wait("node_*", || page().contains("node_filesystem_size_bytes{"));
}

#[test]
fn two_hundred_scrapers_and_a_very_slow_one_are_all_served() {
    let agent = Agent::plain("");
    let port = agent.port;
    // One who never asks to the end, one who reads a byte a second with next to no buffer, one who has gone away in the middle.
    let mut mute = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    mute.write_all(b"GET /metrics HT").expect("half a request");
    let slow = slow_reader(port);
    drop(TcpStream::connect(("127.0.0.1", port)).expect("connected").write_all(b"GET /metrics HTTP/1.1\r\n"));
    let scrapers: Vec<_> = (0..200)
        .map(|_| {
            std::thread::spawn(move || {
                let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("connected");
                socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
                let (head, body) = exchange(&mut socket, "/metrics", "").expect("an answer");
                assert!(head.contains(" 200 "), "{head}");
                Families::of(std::str::from_utf8(&body).expect("text")).kinds.len()
            })
        })
        .collect();
    let counts: BTreeSet<usize> = scrapers.into_iter().map(|s| s.join().expect("served")).collect();
    assert!(counts.iter().all(|c| *c > 20), "{counts:?}");
    // Samples go on being taken, and the slow one is still served at its own pace.
    let samples =
        |text: &[u8]| Families::of(std::str::from_utf8(text).expect("text")).series["byteport_samples_total"].values().copied().next();
    let first = samples(&ask(port, "/metrics", "").1);
    wait("another sample", || samples(&ask(port, "/metrics", "").1) > first);
    let (end, slow) = slow;
    drop(end);
    slow.join().expect("the slow one was served to the end");
    mute.write_all(b"TP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").expect("the other half");
    let mut answer = String::new();
    mute.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Writing to it waits until this is dropped.
struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    fn new(at: &'a Path) -> Self {
        output(Command::new("fsfreeze").arg("-f").arg(at));
        Self(at)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        drop(Command::new("fsfreeze").arg("-u").arg(self.0).status());
    }
}

#[test]
fn who_asks_is_answered_while_the_disk_below_the_record_hangs() {
    if !inside("who_asks_is_answered_while_the_disk_below_the_record_hangs", &[]) {
        return;
    }
    let (record, full) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (Some(mut below), Some(mut fills)) = (LoopDisk::ext4(32 << 20, &[]), LoopDisk::ext4(32 << 20, &["-m", "0"])) else { return };
    below.mount(record.path());
    fills.mount(full.path());
    let agent = Agent::start("", |dir| {
        let folder = dir.join("agent.toml.d");
        std::fs::create_dir(&folder).expect("drop-ins");
        std::fs::write(folder.join("record.toml"), format!("state_dir = \"{}/state\"\n", record.path().display())).expect("a drop-in");
    });
    wait("a sample", || ask(agent.port, "/readyz", "").0.contains(" 200 "));
    let of = |name: &str, label: &str| {
        let page = Families::of(&String::from_utf8(ask(agent.port, "/metrics", "").1).expect("text"));
        page.series
            .get(name)
            .into_iter()
            .flatten()
            .filter(|(labels, _)| label.is_empty() || labels.values().any(|v| v == label))
            .map(|(_, value)| value)
            .sum::<f64>()
    };
    let frozen = Frozen::new(record.path());
    // What raises a signal opens an incident, and that is written down before anything else.
    std::fs::write(full.path().join("data"), vec![1; 31 << 20]).unwrap_or_else(|e| assert_eq!(e.kind(), std::io::ErrorKind::StorageFull));
    wait("a signal", || of("byteport_signal_raised", "disk_usage_high") == 1.0);
    let ctl = |verb: &[&str]| {
        let mut asked = Command::new(env!("CARGO_BIN_EXE_byteportctl"));
        let asked = asked.arg("--socket").arg(agent.dir.path().join("agent.sock")).args(verb).output().expect("byteportctl");
        String::from_utf8_lossy(&[asked.stdout, asked.stderr].concat()).into_owned()
    };
    wait("somebody who waits for the disk", || ctl(&["status"]).contains("its disk may hang"));
    for _ in 0..20 {
        // More than there are threads to wait with.
        assert!(ctl(&["incidents"]).contains("its disk may hang"));
    }
    let (before, status) = (of("byteport_samples_total", ""), ctl(&["status"]));
    assert!(status.contains("disk_usage_high") && status.contains(&*full.path().to_string_lossy()), "{status}");
    assert!(ctl(&["top", "--once"]).contains("its disk may hang"));
    wait("more samples", || of("byteport_samples_total", "") >= before + 3.0);
    assert!(ask(agent.port, "/healthz", "").0.contains(" 200 "));
    assert_eq!(of("byteport_incidents_opened_total", "disk"), 0.0, "nothing was written meanwhile");
    drop(frozen);
    wait("the incident", || of("byteport_incidents_opened_total", "disk") == 1.0);
    assert!(ctl(&["status"]).contains("whole, "), "{}", ctl(&["status"]));
    drop(agent);
}

/// A scraper with a tiny window, reading a byte a second until it is dropped.
fn slow_reader(port: u16) -> (std::sync::mpsc::Sender<()>, std::thread::JoinHandle<()>) {
    use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&socket, 1).expect("a small one");
    connect(&socket, &SocketAddr::from(([127, 0, 0, 1], port))).expect("connected");
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").expect("asked");
    let (sender, ended) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        for _ in 0..600 {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).expect("a byte"), 1);
            if ended.recv_timeout(Duration::from_secs(1)) != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                return;
            }
        }
    });
    (sender, reader)
}
