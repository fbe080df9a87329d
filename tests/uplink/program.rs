//! The programs themselves: `byteport-agent enroll` while an agent runs, and one whose collector goes away.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::collector::Collector;
use crate::host::wait;
use crate::support::agent::{Agent, ask};

/// What `byteport-agent enroll` says, given the token on standard input.
fn enroll(agent: &Agent, collector: &str, token: &str, more: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_byteport-agent"))
        .args(["enroll", "--collector", collector, "--token-file", "-", "--config"])
        .arg(agent.dir.path().join("agent.toml"))
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("stdin").write_all(token.as_bytes()).expect("written");
    child.wait_with_output().expect("its end")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running agent, and every line that it logs.
fn running() -> (Agent, Receiver<String>) {
    let (agent, log) = Agent::spawn("", |_| {});
    let (sender, lines) = channel();
    std::thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    wait("readiness", || ask_ready(&agent));
    (agent, lines)
}

fn ask_ready(agent: &Agent) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", agent.port)).is_ok() && ask(agent.port, "/readyz", "").0.contains(" 200 ")
}

fn metrics(agent: &Agent) -> String {
    text(&ask(agent.port, "/metrics", "").1)
}

fn status(agent: &Agent) -> String {
    let socket = agent.dir.path().join("agent.sock");
    let ran = Command::new(env!("CARGO_BIN_EXE_byteportctl")).arg("--socket").arg(socket).arg("status").output().expect("it runs");
    // 1: something is raised on this machine, which is none of ours.
    assert!(ran.status.code().is_some_and(|code| code < 2), "{}", text(&ran.stderr));
    text(&ran.stdout)
}

#[test]
fn a_running_agent_takes_up_what_was_enrolled_and_goes_on_without_its_collector() {
    let (mut agent, log) = running();
    assert!(!metrics(&agent).contains("byteport_collector") && !status(&agent).contains("collector"));
    let collector = Collector::start();
    let ran = enroll(&agent, &collector.url(), "cj1_geheim\n", &[]);
    let said = text(&ran.stdout);
    assert!(ran.status.success() && said.lines().count() == 1 && said.contains("within ten seconds"), "{said}{}", text(&ran.stderr));
    let (id, _) = collector.state.agents.lock().unwrap().first_key_value().map(|(id, key)| (id.clone(), key.clone())).expect("one");
    assert!(said.contains(&id), "{said}");
    wait("the first heartbeat", || !collector.asked("/v1/agent/heartbeat").is_empty());
    let beat = collector.asked("/v1/agent/heartbeat").remove(0).json;
    assert!(beat["mode"] == "observe" && beat["held_by"][0].as_str().is_some_and(|why| why.contains("mode is observe")), "{beat}");
    wait("its metrics", || metrics(&agent).contains("\nbyteport_collector_up 1\n"));
    wait("nothing waits", || metrics(&agent).contains("\nbyteport_collector_waiting_rows 0\n"));
    assert!(status(&agent).contains(&format!("{}, heard of", collector.url())), "{}", status(&agent));

    let again = enroll(&agent, &collector.url(), "another", &[]);
    assert!(again.status.code() == Some(2) && text(&again.stderr).contains("--again"), "{}", text(&again.stderr));

    // Something of this host's own record arrives.
    let socket = agent.dir.path().join("agent.sock");
    let pause = Command::new(env!("CARGO_BIN_EXE_byteportctl")).arg("--socket").arg(socket).args(["pause", "--why", "a trial"]).output();
    assert!(pause.expect("it runs").status.success());
    wait("the pause", || collector.rows().iter().any(|row| row.kind == "paused"));

    drop(collector);
    wait("its loss", || metrics(&agent).contains("\nbyteport_collector_up 0\n"));
    let samples = |text: &str| text.lines().find_map(|l| l.strip_prefix("byteport_samples_total ")?.parse::<u64>().ok()).expect("samples");
    let before = samples(&metrics(&agent));
    wait("samples go on", || samples(&metrics(&agent)) > before + 3);
    assert!(ask_ready(&agent) && status(&agent).contains("not reached"), "{}", status(&agent));
    assert!(agent.running.0.try_wait().expect("a child").is_none());

    let lines: Vec<String> = log.try_iter().collect();
    let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((of("reports to the collector"), of("is lost")), (1, 1), "{lines:#?}");
    let secrets = ["cj1_geheim", "ca1_"];
    assert!(!lines.iter().any(|line| secrets.iter().any(|secret| line.contains(secret))), "{lines:#?}");
}

#[test]
fn what_was_typed_wrongly_is_said_and_nothing_is_made() {
    let (agent, _log) = running();
    for (url, token, more, code, says) in [
        ("http://192.0.2.1", "t", [].as_slice(), 64, "--insecure-plain-http"),
        ("https://me:geheim@c.example", "t", &[], 64, "password"),
        ("https://c.example", "", &[], 2, "no token"),
        ("https://c.example", "two words", &[], 2, "no token"),
        ("https://c.example", "t", &["--ca-file", "/nowhere/ca.pem"], 2, "/nowhere/ca.pem"),
        ("https://c.example", "t", &["--proxy", "proxy:3128"], 64, "http://HOST:PORT"),
        ("http://127.0.0.1:1", "t", &[], 2, "the same command"),
    ] {
        let ran = enroll(&agent, url, token, more);
        let said = text(&ran.stderr);
        assert!(ran.status.code() == Some(code) && said.contains(says) && !said.contains("geheim"), "{url}: {:?} {said}", ran.status);
        assert!(ran.stdout.is_empty());
    }
    assert!(!agent.dir.path().join("state").join(byteport::uplink::NAME).exists());
}
