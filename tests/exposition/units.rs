//! `node_systemd_*` beside the real node_exporter, of a real systemd in a container in which units fail, elapse, restart, accept and refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use byteport::host::LiveHost;
use byteport::metrics::{Format, Metrics};
use byteport::sense::{Listen, Listening, Sampler, Want};

use super::families::{Families, labels_of, unchunked};
use super::support::agent::{Running, ask, wait};
use super::support::nspawn::INSIDE;
use super::support::{self, output};

/// The container has a network of its own.
const PORT: u16 = 9100;
/// Longer than anything here takes, and shorter than the pause between two lists of all units: what changes has to be told.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn units_have_the_names_types_labels_and_values_of_node_exporter() {
    let Some(machine) = support::nspawn::Machine::ready() else { return };
    let Ok(node_exporter) = Command::new("which").arg("prometheus-node-exporter").output().map(|out| out.stdout) else { return };
    let node_exporter = String::from_utf8(node_exporter).expect("a path");
    if node_exporter.is_empty() {
        return support::missing("prometheus-node-exporter is not installed");
    }
    let script = format!("export {INSIDE}=1\nexec {}/exposition --exact units::inside_the_container --nocapture", support::nspawn::SHARE);
    let boot = support::nspawn::Boot::of(script)
        .with(std::env::current_exe().expect("this program"), "exposition")
        .with(node_exporter.trim(), "node_exporter")
        .within(Duration::from_secs(300));
    let told = machine.boot(&boot);
    eprintln!("{}{}", told.stdout, told.stderr);
    told.succeeded();
    assert!(told.stdout.contains("1 passed"));
}

const UNITS: [(&str, &str); 9] = [
    ("broken.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
    ("tick.service", "[Unit]\nAfter=missing.service later.service\n[Service]\nType=oneshot\nExecStart=/bin/touch /run/elapsed\n"),
    ("tick.timer", "[Timer]\nOnActiveSec=6s\nAccuracySec=1ms\n"),
    ("never.service", "[Service]\nExecStart=/bin/true\n"),
    ("never.timer", "[Timer]\nOnCalendar=2099-01-01\n"),
    ("door.socket", "[Socket]\nListenStream=/run/door\nAccept=yes\nMaxConnections=2\n"),
    ("door@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n"),
    (
        "restless.service",
        "[Service]\nExecStart=/bin/sh -c 'echo >>/run/tries; [ $(wc -l </run/tries) = 3 ] && exec sleep 1000; exit 1'\n\
         Restart=always\nRestartSec=100ms\n",
    ),
    ("quiet.socket", "[Socket]\nListenDatagram=/run/quiet\nService=never.service\n"),
];

fn write_unit(name: &str, text: &str) {
    fs::write(Path::new("/run/systemd/system").join(name), text).expect("a unit");
}

fn systemctl(args: &[&str]) -> String {
    output(Command::new("systemctl").args(args))
}

#[test]
fn inside_the_container() {
    if support::nspawn::inside().is_none() {
        return;
    }
    for (name, text) in UNITS {
        write_unit(name, text);
    }
    systemctl(&["daemon-reload"]);
    // It fails for anything but `running`.
    let state = || Command::new("systemctl").arg("is-system-running").output().expect("systemctl").stdout;
    wait("the end of the boot", || !state().starts_with(b"starting"));
    let flags = ["--collector.disable-defaults", "--collector.systemd", "--collector.systemd.enable-restarts-metrics"];
    // Upstream's own choice: Debian leaves targets out as well.
    let units = "--collector.systemd.unit-exclude=.+\\.(automount|device|mount|scope|slice)";
    let child = Command::new(Path::new(support::nspawn::SHARE).join("node_exporter"))
        .arg(format!("--web.listen-address=127.0.0.1:{PORT}"))
        .args(flags)
        .arg(units)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _running = Running(child.expect("node_exporter starts"));
    wait("node_exporter", || TcpStream::connect(("127.0.0.1", PORT)).is_ok());

    let listening = Listening::start(Path::new("/"), Listen::default(), |_| {}).expect("listening");
    let host = LiveHost::new(Path::new("/"), None, None).expect("this host");
    let mut ours = Ours { sampler: Sampler::new(Arc::new(host), 5.0).listening(listening), metrics: Metrics::new("0") };
    let before = ours.settles_as_theirs("listed");
    assert!(!before.series["node_systemd_unit_state"].keys().any(|l| l["name"] == "tick.timer"));

    // From here on not all is listed again: what there is to see was told.
    write_unit("later.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n");
    systemctl(&["start", "tick.timer", "never.timer", "door.socket", "quiet.socket", "restless.service"]);
    systemctl(&["start", "--no-block", "broken.service"]);
    ours.settles_as_theirs("met");
    let opened = [call(), call()];
    let mut refused = call();
    assert_eq!(refused.read(&mut [0]).unwrap_or_default(), 0, "there was room for a third");
    wait("the last try", || fs::read_to_string("/run/tries").is_ok_and(|tries| tries.len() == 3));
    wait("the timer", || Path::new("/run/elapsed").exists());
    systemctl(&["start", "later.service"]);
    let [stays, goes] = opened;
    drop(goes);
    let after = ours.settles_as_theirs("told");
    drop(stays);

    let value = |name: &str, labels: &str| after.series[name].get(&labels_of(labels)).copied();
    let state = |labels: &str| value("node_systemd_unit_state", labels);
    assert_eq!(state("name=\"broken.service\",state=\"failed\",type=\"oneshot\""), Some(1.0));
    assert_eq!(state("name=\"tick.service\",state=\"inactive\",type=\"oneshot\""), Some(1.0));
    assert_eq!(state("name=\"later.service\",state=\"active\",type=\"oneshot\""), Some(1.0));
    assert_eq!(value("node_systemd_system_running", ""), Some(0.0));
    assert_eq!(value("node_systemd_service_restart_total", "name=\"restless.service\""), Some(2.0));
    let elapsed = value("node_systemd_timer_last_trigger_seconds", "name=\"tick.timer\"");
    assert!(elapsed.is_some_and(|at| at > 1.6e9), "{elapsed:?}");
    assert_eq!(value("node_systemd_timer_last_trigger_seconds", "name=\"never.timer\""), Some(0.0));
    let of_the_door = |name: &str| value(&format!("node_systemd_socket_{name}"), "name=\"door.socket\"");
    let connections = ["accepted_connections_total", "current_connections", "refused_connections_total"];
    assert_eq!(connections.map(of_the_door), [Some(2.0), Some(1.0), Some(1.0)]);
    println!("{} series of systemd, the same", after.series.values().map(BTreeMap::len).sum::<usize>());
}

fn call() -> UnixStream {
    UnixStream::connect("/run/door").expect("the door")
}

struct Ours {
    sampler: Sampler,
    metrics: Metrics,
}

impl Ours {
    fn families(&mut self) -> Families {
        let sample = self.sampler.sample(Want::Sweep);
        self.metrics.sample(&sample, &super::own(&[], &[], None), true);
        of_systemd(std::str::from_utf8(self.metrics.page().plain(Format::Text)).expect("text"))
    }

    /// Ours and node_exporter's, once they are the same.
    fn settles_as_theirs(&mut self, when: &str) -> Families {
        let end = Instant::now() + PATIENCE;
        loop {
            let body = ask(PORT, "/metrics", "Accept-Encoding: identity\r\n").1;
            let (ours, theirs) = (self.families(), of_systemd(&unchunked(&String::from_utf8(body).expect("text"))));
            let differences = differences(&ours, &theirs);
            if differences.is_empty() {
                return ours;
            }
            assert!(Instant::now() < end, "{when}:\n{}", differences.join("\n"));
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn of_systemd(text: &str) -> Families {
    let mut families = Families::of(text);
    families.kinds.retain(|name, _| name.starts_with("node_systemd_"));
    families.series.retain(|name, _| name.starts_with("node_systemd_"));
    families
}

fn differences(ours: &Families, theirs: &Families) -> Vec<String> {
    let mut found = Vec::new();
    let names: BTreeSet<&String> = ours.names().union(&theirs.names()).copied().collect();
    // It is newer than Debian's.
    for name in names.into_iter().filter(|name| *name != "node_systemd_virtualization_info") {
        let of = |families: &Families| (families.kinds.get(name).cloned(), families.series.get(name).cloned().unwrap_or_default());
        let ((our_kind, our_series), (their_kind, their_series)) = (of(ours), of(theirs));
        if our_kind != their_kind {
            found.push(format!("{name}: {our_kind:?} is {their_kind:?} there"));
        }
        let labels: BTreeSet<_> = our_series.keys().chain(their_series.keys()).collect();
        for labels in labels {
            let (our, their) = (our_series.get(labels), their_series.get(labels));
            if our != their {
                found.push(format!("{name}{labels:?}: {our:?} is {their:?} there"));
            }
        }
    }
    found
}
