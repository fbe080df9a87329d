//! byteportctl itself, run as people run it.

#[path = "cli/agent.rs"]
mod agent;
#[path = "cli/incident.rs"]
mod incident;
#[path = "cli/replays.rs"]
mod replays;
#[path = "cli/run.rs"]
mod run;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use byteport::model::*;
use byteport::record::Store;
use run::{Ran, ctl, expect};

const VERBS: [&str; 14] = [
    "status",
    "top",
    "doctor",
    "incidents",
    "explain",
    "plan",
    "bundle",
    "replay",
    "undo",
    "pause",
    "resume",
    "check",
    "catalog",
    "config",
];

#[test]
fn every_help_reads_as_committed() {
    let mut text = ctl(&["--help"]).well();
    for verb in VERBS {
        text += &format!("\n----- {verb}\n{}", ctl(&[verb, "--help"]).well());
    }
    for verb in ["list", "show"] {
        text += &format!("\n----- incidents {verb}\n{}", ctl(&["incidents", verb, "--help"]).well());
    }
    expect("fixtures/cli/help.txt", &text);
}

#[test]
fn wrong_arguments_are_64_and_help_is_0() {
    for wrong in [
        &["nonsense"][..],
        &[],
        &["plan"],
        &["plan", "disk", "--mount", "/var", "--unit", "app.service"],
        &["pause", "--for", "2 weeks"],
        &["pause", "--for", "0"],
        &["bundle", "last"],
        &["config"],
        &["check"],
        &["incidents", "show", "last", "--markdown", "--json"],
    ] {
        let ran = ctl(wrong);
        assert_eq!(ran.code, 64, "{wrong:?}: {}", ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{wrong:?}: usage errors go to stderr");
    }
    assert!(ctl(&["--version"]).well().starts_with("byteportctl 0."));
}

/// Every page that packages install is there, and each verb has one.
#[test]
fn man_pages_and_completions_are_made() {
    let exe = Path::new(env!("CARGO_BIN_EXE_byteportctl"));
    let assets = exe.ancestors().map(|dir| dir.join("assets")).find(|dir| dir.is_dir()).expect("target/assets beside the programs");
    for verb in VERBS {
        let page = fs::read_to_string(assets.join(format!("man/byteportctl-{verb}.1"))).unwrap();
        assert!(page.contains(".SH NAME") && page.contains(&format!("byteportctl {verb}")), "{verb}:\n{page}");
    }
    let collector = ["man/byteport-collector.8", "man/byteport-collector-token-create.8", "man/byteport-collector-audit-verify.8"];
    let others = ["man/byteportctl.1", "man/byteport-agent.8", "man/byteport-agent-enroll.8", "man/byteport-actuator.8"];
    for file in others.into_iter().chain(collector) {
        assert!(fs::read_to_string(assets.join(file)).unwrap().contains(".TH"), "{file}");
    }
    for file in
        ["byteportctl.bash", "_byteportctl", "byteportctl.fish", "byteport-agent.bash", "_byteport-actuator", "byteport-collector.fish"]
    {
        assert!(fs::read_to_string(assets.join("completions").join(file)).unwrap().contains("byteport"), "{file}");
    }
}

#[test]
fn a_socket_that_is_not_there_is_said_with_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let ran = ctl(&["--socket", socket.to_str().unwrap(), "status"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    let expected = format!(
        "byteportctl: cannot reach the agent at {}: No such file or directory. Is it running (`systemctl status byteport-agent`)? \
         To read its record without it, add --state-dir /var/lib/byteport\n",
        socket.display()
    );
    assert_eq!(ran.err, expected);
    // From the environment as well.
    let ran = Ran::of(run::command(&["status"]).env("BYTEPORT_SOCKET", &socket));
    assert_eq!(ran.err, expected);
}

#[test]
fn a_socket_that_may_not_be_opened_names_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent::Agent::start(dir.path(), vec![]);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(agent.socket(), fs::Permissions::from_mode(0o600)).unwrap();
    let Some(mut command) = run::as_nobody(dir.path(), &["--socket", agent.socket().to_str().unwrap(), "status"]) else { return };
    let ran = Ran::of(&mut command);
    assert_eq!(ran.code, 2);
    let expected =
        format!("cannot reach the agent at {}: Permission denied. Add yourself to group byteport, or use sudo\n", agent.socket().display());
    assert!(ran.err.ends_with(&expected), "{}", ran.err);
}

#[test]
fn what_the_agent_refuses_is_told_in_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let problem = r#"{"error":"no incident \u001b[2Jx","hint":"`byteportctl incidents` lists them"}"#;
    let agent = agent::Agent::start(dir.path(), vec![("GET /v1/incidents/a%2Fb%20c", 404, problem.into())]);
    let ran = ctl(&["--socket", agent.socket().to_str().unwrap(), "explain", "a/b c"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, "byteportctl: no incident \\x1b[2Jx. `byteportctl incidents` lists them\n"));
}

#[test]
fn an_answer_that_is_not_understood_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    for (status, answer) in [(200, "{}"), (200, "not json"), (500, "oops"), (200, "")] {
        let agent = agent::Agent::start(dir.path(), vec![("GET /v1/status", status, answer.into())]);
        let ran = ctl(&["--socket", agent.socket().to_str().unwrap(), "status"]);
        assert_eq!(ran.code, 2, "{status} {answer}");
        assert!(ran.err.contains("is not understood"), "{}", ran.err);
    }
}

/// The agent's own words and file names hold escapes; piped output holds none, and no colour.
#[test]
fn nothing_that_reaches_a_pipe_is_a_control_character() {
    let dir = tempfile::tempdir().unwrap();
    let state = recorded(dir.path());
    for args in [&["incidents"][..], &["incidents", "show", "last"], &["incidents", "show", "last", "--markdown"], &["explain", "last"]] {
        for json in [&[][..], &["--json"]] {
            if args.contains(&"--markdown") && !json.is_empty() {
                continue;
            }
            let ran = ctl(&[&["--state-dir", &state], args, json].concat());
            let bad = ran.well().chars().find(|c| is_unprintable(*c) && *c != '\n');
            assert_eq!(bad, None, "{args:?}");
        }
    }
    let ran = ctl(&["--state-dir", &state, "incidents", "list", "--json"]);
    let list: Vec<IncidentSummary> = serde_json::from_str(&ran.well()).unwrap();
    assert_eq!(list[0].summary, "hidden \u{202e}txt and \u{1b}[31mred", "JSON loses nothing");
}

#[test]
fn the_record_of_a_dead_agent_is_read_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let state = recorded(dir.path());
    let before = run::content(Path::new(&state));
    assert!(ctl(&["--state-dir", &state, "incidents"]).well().contains("1 incident, 0 open"));
    assert!(ctl(&["--state-dir", &state, "explain", "disk-2"]).well().contains("What raised it"));
    assert_eq!(run::content(Path::new(&state)), before, "nothing was written, made or removed");

    let ran = ctl(&["--state-dir", &state, "explain", "memory-1"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, "byteportctl: no incident memory-1: `byteportctl incidents` lists them\n"));
    let ran = ctl(&["--state-dir", dir.path().join("nowhere").to_str().unwrap(), "incidents"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("nowhere/record.db: No such file"), "{}", ran.err);
}

#[test]
fn the_record_of_a_living_agent_is_not_read_behind_its_back() {
    let dir = tempfile::tempdir().unwrap();
    let state = recorded(dir.path());
    let _alive = Store::open(Path::new(&state), &now(9.0)).unwrap();
    let ran = ctl(&["--state-dir", &state, "incidents"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("it is alive, so ask it, without --state-dir"), "{}", ran.err);
}

#[test]
fn a_damaged_record_is_read_and_said_to_be_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let state = recorded(dir.path());
    let file = Path::new(&state).join("record.db");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(8).position(|w| w == b"a note, ").expect("the note's text is in the file");
    bytes[at] = b'A';
    fs::write(&file, bytes).unwrap();
    let text = ctl(&["--state-dir", &state, "incidents", "show", "last"]).well();
    assert!(text.contains("this record is not to be trusted: the body of row"), "{text}");
}

#[test]
fn check_finds_faults_with_line_and_column_and_says_ok() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("agent.toml"), dir.path().join("actuator.toml"));
    fs::write(&good, "mode = \"observe\"\n").unwrap();
    fs::write(&bad, "\nmdoe = \"act\"\n").unwrap();
    let ran = ctl(&["check", good.to_str().unwrap()]);
    assert_eq!(ran.well(), format!("{}: ok\n", good.display()));
    let ran = ctl(&["check", good.to_str().unwrap(), bad.to_str().unwrap()]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains(&format!("{}: ok\n{}:2:1: unknown key `mdoe`", good.display(), bad.display())), "{}", ran.out);
    let ran = ctl(&["check", "--json", bad.to_str().unwrap()]);
    let faults: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &faults[0]["line"], &faults[0]["column"]), (1, &2.into(), &1.into()));
}

#[test]
fn doctor_finds_something_where_there_is_no_agent_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    let none = none.to_str().unwrap();
    let ran = ctl(&["--socket", none, "--state-dir", none, "doctor", "--config", none]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("FAIL  state folder") && ran.out.contains("-> systemctl status byteport-agent"), "{}", ran.out);
    let ran = ctl(&["--socket", none, "--state-dir", none, "doctor", "--config", none, "--json"]);
    let findings: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let bare: Vec<_> = findings.as_array().unwrap().iter().filter(|f| f["level"] != "ok" && f["todo"].is_null()).collect();
    assert_eq!((ran.code, bare.len()), (1, 0), "each finding says what to do: {bare:?}");
}

#[test]
fn the_catalog_lists_every_runbook_and_prints_its_page() {
    let list: serde_json::Value = serde_json::from_str(&ctl(&["catalog", "--json"]).well()).unwrap();
    for runbook in byteport::runbooks::ALL {
        assert!(list.as_array().unwrap().iter().any(|e| e["id"] == *runbook.id.0));
        assert!(ctl(&["catalog"]).well().contains(runbook.classes[0].meaning));
        assert_eq!(ctl(&["catalog", &runbook.id.0]).well(), runbook.page);
    }
    let ran = ctl(&["catalog", "nonsense"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.starts_with("byteportctl: no runbook nonsense; there are: disk"), "{}", ran.err);
}

fn now(s: f64) -> Now {
    let wall: jiff::Timestamp = "2026-11-21T21:55:06Z".parse().unwrap();
    Now { wall: wall + jiff::SignedDuration::from_millis((s * 1000.0) as i64), boot: BootId("b".into()), uptime_s: 100.0 + s }
}

/// A state folder with one incident whose texts are hostile.
fn recorded(dir: &Path) -> String {
    let made = dir.join("made");
    let (mut store, _) = Store::open(&made, &now(0.0)).unwrap();
    let runbook = RunbookId::new("disk");
    let id = IncidentId::new(&runbook, now(0.0).wall, 7);
    let subject = Subject::Filesystem { mount: HostPath::from_bytes(*b"/srv/a\nb\x1b[2J"), device: 1 };
    let signal = Signal {
        kind: SignalKind::new("disk_usage_high"),
        subject: subject.clone(),
        severity: Severity::Warning,
        since: now(0.0),
        detail: "usage 90 %".into(),
    };
    let bodies = [
        Body::Opened { runbook, subject, signals: vec![signal] },
        Body::Note { text: "a note, \u{7f}\u{9b}31m\r\nwith everything".into() },
        Body::Closed { outcome: Outcome::Cleared, summary: "hidden \u{202e}txt and \u{1b}[31mred".into() },
    ];
    for (s, body) in (0..).zip(bodies) {
        store.append(&id, &now(f64::from(s)), &body).unwrap();
    }
    drop(store);
    let state = dir.join("state");
    run::copy(&made, &state);
    state.to_str().unwrap().to_owned()
}
