//! The agent by itself, as a scraper meets it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port()
}

/// A program that is ended with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub fn wait(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !there() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Status line and headers, and the body, of one answer on a connection that ends with it.
pub fn ask(port: u16, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    exchange(&mut socket, path, headers).expect("an answer")
}

/// # Errors
/// When what came has no complete head.
pub fn exchange(socket: &mut (impl Read + Write), path: &str, headers: &str) -> Result<(String, Vec<u8>), String> {
    write!(socket, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n").map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    // A peer that ends TLS without saying so has still said all that it announced.
    let ended = socket.read_to_end(&mut answer);
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.ok_or_else(|| format!("{ended:?} after {:?}", String::from_utf8_lossy(&answer)))?;
    Ok((String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec()))
}

/// The agent, on a port of its own, with a state folder that goes away with it.
pub struct Agent {
    pub running: Running,
    pub port: u16,
    pub dir: tempfile::TempDir,
}

impl Agent {
    /// Runs until it is dropped. `DIR` in the settings is its folder, in which `files` puts what they name.
    pub fn start(settings: &str, files: impl FnOnce(&Path)) -> Self {
        let (mut agent, log) = Self::spawn(settings, files);
        let (sender, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if line.contains("started: sampling") {
                    sender.send(()).expect("somebody waits");
                }
                eprintln!("{line}");
            }
        });
        if started.recv_timeout(Duration::from_secs(60)).is_err() {
            panic!("the agent has not started: {:?}", agent.running.0.try_wait());
        }
        agent
    }

    /// With what it writes to stderr; it may end by itself.
    pub fn spawn(settings: &str, files: impl FnOnce(&Path)) -> (Self, std::process::ChildStderr) {
        let (dir, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let at = dir.path().display();
        let text = format!(
            "state_dir = \"{at}/state\"\nsocket = \"{at}/agent.sock\"\nactuator_socket = \"{at}/actuator.sock\"\nlisten = \"127.0.0.1:{port}\"\n\
             sample_interval = \"1s\"\n{}",
            settings.replace("DIR", &at.to_string())
        );
        std::fs::write(dir.path().join("agent.toml"), text).expect("agent.toml");
        files(dir.path());
        let mut child = Command::new(env!("CARGO_BIN_EXE_byteport-agent"))
            .args(["--config".as_ref(), dir.path().join("agent.toml").as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent starts");
        let log = child.stderr.take().expect("stderr");
        (Self { running: Running(child), port, dir }, log)
    }

    /// Started, and with a first sample.
    pub fn plain(settings: &str) -> Self {
        let agent = Self::start(settings, |_| {});
        wait("a sample", || ask(agent.port, "/readyz", "").0.contains(" 200 "));
        agent
    }
}
