//! A real Prometheus watches a real agent: the shipped rules load and evaluate, an alert fires for a filesystem that fills up, and
//! clears after the agent has healed it.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use byteport::host::{LiveHost, ReadHost};
use serde_json::Value;
use support::healing::{EPISODE, Site};
use support::{missing, on_path};

const OLD: &[(&str, u64)] = &[("log/app.log.1", 12 << 20), ("log/app.log.2.gz", 12 << 20), ("tmp/build/a", 16 << 20)];
/// For what takes Prometheus a second or two.
const SOON: Duration = Duration::from_secs(60);

/// Ended by its pid.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    /// On loopback, with everything of its own below `dir`. The shipped rules, without their waiting times.
    fn start(dir: &Path, agent: u16) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let shipped =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/byteport.rules.yml")).expect("rules");
        let at_once = |line: &str| if line.starts_with("        for: ") { "        for: 0s".to_owned() } else { line.to_owned() };
        fs::write(dir.join("rules.yml"), shipped.lines().map(|line| at_once(line) + "\n").collect::<String>()).expect("rules");
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\nrule_files: [rules.yml]\n\
             scrape_configs:\n  - job_name: byteport\n    static_configs:\n      - targets: [\"127.0.0.1:{agent}\"]\n"
        );
        fs::write(dir.join("prometheus.yml"), config).expect("config");
        let log = fs::File::create(dir.join("prometheus.log")).expect("log");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus");
        Self { child, port }
    }

    /// `data` of an answer of its API; `Null` while it does not answer.
    fn get(&self, path: &str) -> Value {
        let ask = || {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(stream, "GET /api/v1/{path} HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        };
        let text: String = ask().unwrap_or_default();
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str::<Value>(body).map_or(Value::Null, |answer| answer["data"].clone())
    }

    /// The firing alerts of that name, with their labels.
    fn firing(&self, name: &str) -> Vec<Value> {
        let alerts = self.get("alerts")["alerts"].as_array().cloned().unwrap_or_default();
        alerts.into_iter().filter(|a| a["state"] == "firing" && a["labels"]["alertname"] == name).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn an_alert_fires_for_a_filled_filesystem_and_clears_when_it_is_healed() {
    if !on_path("prometheus") {
        return missing("prometheus: apt-get install --no-install-recommends prometheus");
    }
    let Some(mut site) = Site::new(96, &["-m", "1"], OLD) else { return };
    site.start_actuator();
    site.start_agent();
    let prometheus = Prometheus::start(site.dir.path(), site.port);
    let mount = site.mount.display().to_string();

    site.wait("Prometheus and its target", SOON, |_| {
        let targets = prometheus.get("targets");
        let [target] = targets["activeTargets"].as_array().map_or(&[][..], Vec::as_slice) else { return false };
        target["health"] == "up" && target["labels"]["job"] == "byteport"
    });
    // It counts its own requests, as a service does that is named in `request_metrics`.
    let counter = format!("http://127.0.0.1:{}/metrics#prometheus_http_requests_total", prometheus.port);
    let host = LiveHost::new(Path::new("/"), None, None).unwrap();
    let host = host.counting_requests(&[("prometheus.service".to_owned(), counter)].into());
    let told = || host.request_counts().unwrap()[0].total.value().copied().expect("a count");
    let before = told();
    prometheus.get("targets");
    assert!(told() >= before + 1.0);

    // With the agent's own series: a join that meets two of one kind fails only here.
    let mut rules = Vec::new();
    site.wait("every rule evaluated", SOON, |_| {
        let groups = prometheus.get("rules")["groups"].as_array().cloned().unwrap_or_default();
        rules = groups.iter().flat_map(|g| g["rules"].as_array().cloned().unwrap_or_default()).collect();
        rules.len() > 30 && rules.iter().all(|rule| rule["health"] != "unknown")
    });
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{}: {}", rule["name"], rule["lastError"]);
    }
    for alert in ["BytePortFilesystemSick", "BytePortFilesystemAlmostFull"] {
        let sick = |a: &Value| a["labels"]["subject"] == mount.as_str() || a["labels"]["mountpoint"] == mount.as_str();
        assert!(!prometheus.firing(alert).iter().any(sick), "{alert} fires before anything is wrong");
    }

    // Its hands are held until the alert was seen.
    let (code, text) = site.ctl(&["pause", "--why", "until the alert is seen"]);
    assert_eq!(code, 0, "{text}");
    site.fill_to(97.0);
    let sick = || {
        let critical = |a: &Value| a["labels"]["subject"] == mount.as_str() && a["labels"]["severity"] == "critical";
        prometheus.firing("BytePortFilesystemSick").into_iter().find(critical)
    };
    site.wait("both alerts for the full filesystem", SOON, |_| {
        let full = prometheus.firing("BytePortFilesystemAlmostFull");
        sick().is_some() && full.iter().any(|a| a["labels"]["mountpoint"] == mount.as_str())
    });
    let sick = sick().expect("seen just now");
    assert_eq!(sick["labels"]["signal"], "disk_usage_high", "{sick}");
    let next = sick["annotations"]["description"].as_str().expect("a description");
    assert!(next.contains(&format!("byteportctl plan disk --mount {mount}")), "{next}");

    let (code, text) = site.ctl(&["resume"]);
    assert_eq!(code, 0, "{text}");
    site.wait("the alerts cleared", EPISODE, |_| {
        let names = ["BytePortFilesystemSick", "BytePortFilesystemAlmostFull"];
        // An empty answer of a Prometheus that died would look the same.
        prometheus.get("targets")["activeTargets"][0]["health"] == "up"
            && !names
                .iter()
                .flat_map(|name| prometheus.firing(name))
                .any(|a| a["labels"]["subject"] == mount.as_str() || a["labels"]["mountpoint"] == mount.as_str())
    });
    assert!(site.usage() < 80.0, "{} %: it cleared, and was not healed\n{}", site.usage(), site.logs());
    // What a person sees afterwards: it was there, and the bytes that were given back are counted.
    site.wait("the bytes that were freed", EPISODE, |_| {
        let freed = prometheus.get("query?query=sum(byteport_freed_bytes_total)");
        freed["result"][0]["value"][1].as_str().and_then(|v| v.parse::<f64>().ok()).is_some_and(|v| v > (10 << 20) as f64)
    });
}
