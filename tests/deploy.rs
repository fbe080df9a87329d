//! What `deploy/` ships: rules that fire and clear, examples that load, a dashboard and alerts that name only series that exist.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{missing, on_path, output};

/// The series of the agent that `deploy/` relies on, each used at least once; `tests/exposition.rs` sees that they are told.
const SERIES: &str = include_str!("../deploy/series.txt");

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// `None`, loudly, where there is no promtool.
fn promtool(args: &[&str], file: &Path) -> Option<String> {
    if !on_path("promtool") {
        missing("promtool: apt-get install prometheus");
        return None;
    }
    Some(output(Command::new("promtool").args(args).arg(file)))
}

/// One entry of the rules file, with what follows each key; promtool has read the file as YAML, so this may go by its lines.
type Rule = BTreeMap<String, String>;

fn rules() -> Vec<Rule> {
    let text = read("deploy/prometheus/byteport.rules.yml");
    let mut rules: Vec<Rule> = Vec::new();
    let mut folded: Option<String> = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let trimmed = line.trim_start();
        let (indent, entry) = (line.len() - trimmed.len(), trimmed.strip_prefix("- "));
        if let (Some(key), 10) = (&folded, indent)
            && rules.last().is_some_and(|rule| rule.contains_key("expr") && !rule.contains_key("labels"))
        {
            *rules.last_mut().unwrap().get_mut(key).unwrap() += &format!("{trimmed} ");
            continue;
        }
        if indent == 6 && entry.is_some() {
            rules.push(Rule::new());
        }
        if let (true, Some((key, value))) = (indent >= 6, entry.unwrap_or(trimmed).split_once(':')) {
            folded = (value.trim() == ">-").then(|| key.to_owned());
            let value = value.trim().trim_matches('\'').replace("''", "'");
            rules.last_mut().unwrap().insert(key.to_owned(), if folded.is_some() { String::new() } else { value });
        }
    }
    assert!(rules.len() > 30 && rules.iter().all(|rule| rule["expr"].len() > 5), "{rules:?}");
    rules
}

/// Every name of a series in a PromQL expression: identifiers that are no function, keyword, label or part of a string.
fn series(expr: &str) -> BTreeSet<String> {
    const WORDS: &[&str] = &["and", "or", "unless", "offset", "bool"];
    const BEFORE_LABELS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
    let (mut found, chars) = (BTreeSet::new(), expr.chars().collect::<Vec<_>>());
    let mut at = 0;
    // After `by`, `on` and the like the next parentheses hold labels.
    let mut labels = false;
    while at < chars.len() {
        let skip_to = |close: char| chars[at..].iter().position(|c| *c == close).map_or(chars.len(), |n| at + n + 1);
        match chars[at] {
            '{' => at = skip_to('}'),
            '[' => at = skip_to(']'),
            '(' if labels => (at, labels) = (skip_to(')'), false),
            c if c.is_ascii_digit() => at += chars[at..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '.').count(),
            c if c.is_ascii_alphabetic() || c == '_' => {
                let word: String = chars[at..].iter().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':')).collect();
                at += word.len();
                labels = BEFORE_LABELS.contains(&word.as_str());
                let rest = chars[at..].iter().collect::<String>();
                let calls = ["(", "by ", "without "].iter().any(|next| rest.trim_start().starts_with(next));
                if !labels && !calls && !WORDS.contains(&word.as_str()) {
                    found.insert(word);
                }
            }
            _ => at += 1,
        }
    }
    found
}

#[test]
fn names_are_found_in_expressions() {
    for (expr, expected) in [
        ("up{job=\"byteport\"} == 0", "up"),
        ("sum by (job, instance) (rate(a_total{x=\"b_total\"}[5m])) > 3 * c:d:e offset 1h", "a_total c:d:e"),
        ("1 - avail_bytes / on (a, b) group_left (c) (size - free) and max_over_time(up[1d]) == 1e9", "avail_bytes free size up"),
    ] {
        assert_eq!(series(expr).into_iter().collect::<Vec<_>>().join(" "), expected, "{expr}");
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/byteport.json")).expect("JSON")
}

/// Every expression of the dashboard, with what Grafana puts in for its variables.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|v| expressions(v, found)),
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(expr) if key == "expr" => found.push(expr.replace("$__rate_interval", "1m")),
                    _ => expressions(value, found),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_series_that_is_used_exists() {
    let rules = rules();
    let recorded: BTreeSet<&str> = rules.iter().filter_map(|r| r.get("record")).map(String::as_str).collect();
    let known: BTreeSet<&str> = SERIES.lines().collect();
    let mut exprs: Vec<String> = rules.iter().map(|r| r["expr"].clone()).collect();
    expressions(&dashboard(), &mut exprs);
    let used: BTreeSet<String> = exprs.iter().flat_map(|expr| series(expr)).chain(["byteport_build_info".into()]).collect();
    for name in &used {
        assert!(
            known.contains(name.as_str()) || recorded.contains(name.as_str()),
            "{name} is used, and neither told by the agent nor recorded"
        );
    }
    for name in known.iter().chain(&recorded) {
        assert!(used.contains(*name), "{name} is not used any more");
    }
}

#[test]
fn every_alert_says_what_it_is_and_what_to_type() {
    let (page, tests) = (read("docs/alerts.md"), read("deploy/prometheus/byteport.rules.test.yml"));
    let mut verbs = BTreeSet::new();
    let alerts: Vec<Rule> = rules().into_iter().filter(|rule| rule.contains_key("alert")).collect();
    assert!(alerts.len() >= 25);
    for alert in &alerts {
        let name = &alert["alert"];
        assert!(alert["for"].ends_with('m'), "{name}: for");
        assert!(["info", "warning", "critical"].contains(&alert["severity"].as_str()), "{name}: severity");
        assert!(alert["summary"].contains("{{ $labels.instance }}") && !alert["summary"].ends_with('.'), "{name}: summary");
        let description = &alert["description"];
        let (_, commands) = description.rsplit_once("On the host: ").unwrap_or_else(|| panic!("{name}: description has no command"));
        assert!(commands.contains("byteportctl ") || commands.contains("journalctl "), "{name}: {commands}");
        verbs.extend(commands.split("byteportctl ").skip(1).filter_map(|rest| rest.split([' ', ';']).next()).map(str::to_owned));
        assert!(
            !alert["expr"].contains("_total{") || ["rate(", "increase(", "resets("].iter().any(|f| alert["expr"].contains(f)),
            "{name}: a raw counter"
        );
        assert_eq!(alert["runbook_url"], format!("docs/alerts.md#{}", name.to_lowercase()));
        assert!(page.lines().any(|line| line == format!("### {name}")), "{name} is not in docs/alerts.md");
        assert!(tests.contains(&format!("alertname=\"{name}\", severity=")), "no test has {name} fire");
    }
    let headings = page.lines().filter_map(|line| line.strip_prefix("### ")).collect::<BTreeSet<_>>();
    assert_eq!(headings, alerts.iter().map(|alert| alert["alert"].as_str()).collect(), "docs/alerts.md and the rules");
    assert!(verbs.len() > 5, "{verbs:?}");
    for verb in verbs {
        let help = Command::new(env!("CARGO_BIN_EXE_byteportctl")).args([&verb, "--help"]).output().expect("byteportctl");
        assert!(help.status.success(), "an alert says `byteportctl {verb}`, which there is not");
    }
}

/// Fires for the series that each alert is about and for nothing on a healthy host; see the file.
#[test]
fn the_rules_pass_their_tests() {
    let Some(checked) = promtool(&["check", "rules"], &path("deploy/prometheus/byteport.rules.yml")) else { return };
    assert!(checked.contains("SUCCESS"), "{checked}");
    promtool(&["test", "rules"], &path("deploy/prometheus/byteport.rules.test.yml"));
}

#[test]
fn the_scrape_examples_load() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::copy(path("deploy/prometheus/byteport.rules.yml"), at.join("byteport.rules.yml")).unwrap();
    for file in ["byteport-ca.pem", "byteport-password"] {
        fs::write(at.join(file), "").unwrap();
    }
    let plain = read("deploy/prometheus/scrape.yml").replace("/etc/prometheus/", &format!("{}/", at.display()));
    assert!(plain.contains("127.0.0.1:9634") && plain.contains("byteport-ca.pem") && plain.contains("password_file"));
    // A distribution's Prometheus may have no discovery for Kubernetes: what it finds is checked without how.
    let found = read("deploy/prometheus/scrape-kubernetes.yml");
    let discovery = "    kubernetes_sd_configs:\n      - role: pod\n";
    assert!(found.contains(discovery));
    let found = found.replace(discovery, "    static_configs:\n      - targets: [\"10.0.0.1:80\"]\n");
    for (name, text) in [("scrape.yml", plain), ("scrape-kubernetes.yml", found)] {
        fs::write(at.join(name), text).unwrap();
        let Some(checked) = promtool(&["check", "config"], &at.join(name)) else { return };
        assert!(checked.contains("1 rule files found") && checked.contains("37 rules found"), "{name}: {checked}");
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard = dashboard();
    assert_eq!((&dashboard["id"], dashboard["uid"].as_str()), (&Value::Null, Some("byteport-hosts")));
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|v| v >= 36) && dashboard["title"].is_string());
    let variables: Vec<&str> = dashboard["templating"]["list"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);

    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is another's");
        let grid = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_else(|| panic!("{title}: {key}"));
        assert!(grid("x") + grid("w") <= 24, "{title} is off the grid");
        for y in grid("y")..grid("y") + grid("h") {
            for x in grid("x")..grid("x") + grid("w") {
                assert!(taken.insert((x, y)), "{title} covers another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(["stat", "table", "timeseries"].contains(&panel["type"].as_str().unwrap()), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let refs: BTreeSet<&str> = targets.iter().map(|t| t["refId"].as_str().unwrap()).collect();
        assert!(!targets.is_empty() && refs.len() == targets.len(), "{title}");
        for target in targets {
            let expr = target["expr"].as_str().unwrap();
            assert!(expr.contains("job=~\"$job\",instance=~\"$instance\""), "{title} does not heed its variables: {expr}");
        }
    }
    let rows: Vec<&str> = panels.iter().filter(|p| p["type"] == "row").map(|p| p["title"].as_str().unwrap()).collect();
    assert_eq!(rows, ["Overview", "Pressure", "Filesystems", "Incidents, steps, refusals", "Sources and budget", "Processes and units"]);

    // Prometheus itself reads every expression.
    let mut exprs = Vec::new();
    expressions(&dashboard, &mut exprs);
    assert!(exprs.len() > 40);
    let rules: String = exprs.iter().enumerate().map(|(i, e)| format!("      - record: r{i}\n        expr: '{e}'\n")).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("groups:\n  - name: dashboard\n    rules:\n{rules}")).unwrap();
    promtool(&["check", "rules"], file.path());
}
