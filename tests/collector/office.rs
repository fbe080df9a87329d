//! A collector of its own in a folder that goes away with it, and the tools of whoever runs it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::agent::ask;
use crate::support::healing::{EPISODE, Site};

const PROGRAM: &str = env!("CARGO_BIN_EXE_byteport-collector");

pub struct Office {
    dir: tempfile::TempDir,
    agents: u16,
    people: u16,
    running: Option<Child>,
}

impl Office {
    pub fn open() -> Office {
        let port = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let mut office = Office { dir: tempfile::tempdir().expect("scratch folder"), agents: port(), people: port(), running: None };
        let at = office.dir.path().display();
        let text = format!(
            "state_dir = \"{at}/state\"\nagents_listen = \"127.0.0.1:{}\"\npeople_listen = \"127.0.0.1:{}\"\nheartbeat_interval = \"10s\"\n\
             [[sinks]]\nname = \"file\"\nfile = \"{at}/told\"\n",
            office.agents, office.people
        );
        fs::write(office.path("collector.toml"), text).expect("collector.toml");
        office.start();
        office
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("log");
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--config"]).arg(self.path("collector.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
        self.running = Some(command.spawn().expect("byteport-collector"));
        let end = Instant::now() + Duration::from_secs(60);
        while !self.is_ready() {
            assert!(Instant::now() < end, "the collector does not come up\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.people)).is_ok() && ask(self.agents, "/readyz", "").0.contains(" 200 ")
    }

    /// As if the power were cut.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Exit code and what was said, of one of the administration's verbs.
    pub fn tool(&self, args: &[&str]) -> (i32, String) {
        let out = Command::new(PROGRAM).args(args).arg("--config").arg(self.path("collector.toml")).output().expect("byteport-collector");
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code().unwrap_or(-1), text)
    }

    /// A new join token: what is printed on standard output, and nothing else.
    pub fn token(&self, args: &[&str]) -> String {
        let out = Command::new(PROGRAM)
            .args(["token", "create"])
            .args(args)
            .arg("--config")
            .arg(self.path("collector.toml"))
            .output()
            .expect("byteport-collector");
        assert!(out.status.success(), "{out:?}");
        let token = String::from_utf8(out.stdout).expect("text").trim().to_owned();
        assert!(token.starts_with("bpj_") && !token.contains(char::is_whitespace), "{token}");
        token
    }

    pub fn try_enrol(&self, site: &Site, token: &str) -> (i32, String) {
        let file = site.path("token");
        fs::write(&file, format!("{token}\n")).expect("token");
        let out = Command::new(env!("CARGO_BIN_EXE_byteport-agent"))
            .args(["enroll", "--collector", &format!("http://127.0.0.1:{}", self.agents), "--token-file"])
            .arg(&file)
            .arg("--config")
            .arg(site.path("agent.toml"))
            .output()
            .expect("byteport-agent");
        fs::remove_file(&file).expect("token");
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code().unwrap_or(-1), text)
    }

    /// Enrolled and heard of.
    pub fn enrol(&self, site: &Site, token: &str) {
        let (code, text) = self.try_enrol(site, token);
        assert_eq!(code, 0, "{text}\n{}", self.log());
        site.wait("the first heartbeat", EPISODE, |_| {
            self.json("/api/v1/fleet")["hosts"].as_array().is_some_and(|hosts| hosts.iter().any(|h| h["seen_at"].is_string()))
        });
    }

    pub fn json(&self, path: &str) -> Value {
        let text = self.page(path);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"))
    }

    pub fn page(&self, path: &str) -> String {
        let (head, body) = ask(self.people, path, "");
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}\n{}\n{}", String::from_utf8_lossy(&body), self.log());
        String::from_utf8(dechunked(&head, body)).expect("text")
    }

    /// As a browser asks that was led here by this name.
    pub fn asked_as(&self, host: &str, path: &str) -> (String, Vec<u8>) {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", self.people)).expect("connected");
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("asked");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("an answer");
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
        (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
    }

    pub fn metrics(&self) -> String {
        let (head, body) = ask(self.agents, "/metrics", "");
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        String::from_utf8(dechunked(&head, body)).expect("text")
    }

    /// What the sink has.
    pub fn told(&self) -> String {
        fs::read_to_string(self.path("told")).unwrap_or_default()
    }
}

fn dechunked(head: &str, body: Vec<u8>) -> Vec<u8> {
    if !head.contains("transfer-encoding: chunked") {
        return body;
    }
    let (mut rest, mut out) = (body.as_slice(), Vec::new());
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).expect("a size"), 16).expect("hex");
        if size == 0 {
            break;
        }
        out.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    out
}

impl Drop for Office {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- collector\n{}", self.log());
        }
        self.kill();
    }
}
