//! A sick filesystem of its own, with a real agent and a real actuator that are opted in for it alone.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::loops::LoopDisk;
use super::output;

/// How long a whole episode may take: gather, act, verify, and half a minute until the second look. Generous: machines are shared.
pub const EPISODE: Duration = Duration::from_secs(180);

/// Ends with everything it started, by pid.
pub struct Site {
    /// First, so that it is unmounted before the folder with its mount point is taken away.
    disk: LoopDisk,
    pub dir: tempfile::TempDir,
    pub mount: PathBuf,
    pub port: u16,
    pub agent: Option<Child>,
    pub actuator: Option<Child>,
}

impl Site {
    /// A private mount namespace for this thread and what it starts; ext4 of `mib` MiB with `old` files in it, aged a month.
    /// `None`, loudly, where this machine has no loop devices for us.
    pub fn new(mib: u64, mkfs: &[&str], old: &[(&str, u64)]) -> Option<Site> {
        let mut disk = LoopDisk::ext4(mib << 20, mkfs)?;
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        output(Command::new("mount").args(["--make-rprivate", "/"]));
        let dir = tempfile::tempdir().expect("scratch folder");
        let mount = dir.path().join("fs");
        fs::create_dir(&mount).expect("mount point");
        disk.mount(&mount);
        for (name, bytes) in old {
            write(&mount.join(name), *bytes);
        }
        disk.unmount();
        disk.age(&old.iter().map(|(name, _)| format!("/{name}")).collect::<Vec<_>>(), 30);
        disk.mount(&mount);
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let site = Site { disk, dir, mount, port, agent: None, actuator: None };
        site.configure("act", "", "");
        Some(site)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes both configurations; the extra lines go to the ends of `[disk]` (agent) and `[disk]` (actuator).
    pub fn configure(&self, mode: &str, agent: &str, actuator: &str) {
        let at = self.dir.path().display();
        let mount = self.mount.display();
        let limits = format!(
            "mounts = [\"{mount}\"]\nlog_roots = [\"{mount}/log\"]\ntmp_roots = [\"{mount}/tmp\"]\njournal_roots = [\"{mount}/journal\"]\n"
        );
        let text = format!(
            "mode = \"{mode}\"\nallow = [\"disk\"]\nstate_dir = \"{at}/state\"\nsocket = \"{at}/agent.sock\"\nactuator_socket = \"{at}/actuator.sock\"\n\
             listen = \"127.0.0.1:{}\"\nsample_interval = \"1s\"\n\n[disk]\n{agent}\n[disk.limits]\n{limits}",
            self.port
        );
        fs::write(self.path("agent.toml"), text).expect("agent.toml");
        let text = format!(
            "agent_user = \"root\"\nsocket = \"{at}/actuator.sock\"\nstate_dir = \"{at}/ledger\"\nallow = [\"disk\"]\n\n[disk]\n{limits}{actuator}"
        );
        fs::write(self.path("actuator.toml"), text).expect("actuator.toml");
    }

    pub fn start_agent(&mut self) {
        let child = self.spawn(env!("CARGO_BIN_EXE_byteport-agent"), "agent");
        self.agent = Some(child);
        self.wait("the agent's socket", Duration::from_secs(30), |site| site.ctl(&["status", "--json"]).0 < 2);
    }

    pub fn start_actuator(&mut self) {
        let child = self.spawn(env!("CARGO_BIN_EXE_byteport-actuator"), "actuator");
        self.actuator = Some(child);
        self.wait("the actuator's socket", Duration::from_secs(30), |site| {
            std::os::unix::net::UnixStream::connect(site.path("actuator.sock")).is_ok()
        });
    }

    fn spawn(&self, program: &str, name: &str) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{name}.log"))).expect("log");
        let mut command = Command::new(program);
        command.arg("--config").arg(self.path(&format!("{name}.toml")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).env_remove("BYTEPORT_DRY_RUN").env_remove("NOTIFY_SOCKET");
        command.process_group(0).spawn().unwrap_or_else(|e| panic!("{program}: {e}"))
    }

    /// Exit code and standard output of byteportctl.
    pub fn ctl(&self, args: &[&str]) -> (i32, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_byteportctl"))
            .arg("--socket")
            .arg(self.path("agent.sock"))
            .args(args)
            .output()
            .expect("byteportctl");
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code().unwrap_or(-1), text)
    }

    /// All incidents of the disk, oldest first, as JSON. The processors of the machine that tests run on may have some of their own.
    pub fn incidents(&self) -> Vec<serde_json::Value> {
        let (_, text) = self.ctl(&["incidents", "--json"]);
        let mut list: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
        list.retain(|incident| incident["runbook"] == "disk");
        list.reverse();
        list
    }

    /// Waits for an incident that is closed, beyond the first `known` ones; its id and outcome.
    pub fn closed(&self, known: usize) -> (String, String) {
        let mut found = None;
        self.wait("a closed incident", EPISODE, |site| {
            found = site.incidents().get(known).filter(|i| i["closed"].is_object()).cloned();
            found.is_some()
        });
        let incident = found.expect("waited for it");
        (incident["id"].as_str().expect("id").to_owned(), incident["outcome"].as_str().expect("outcome").to_owned())
    }

    /// The entries of one incident, each as (kind, body), from the agent's own socket.
    pub fn story(&self, id: &str) -> Vec<(String, serde_json::Value)> {
        use std::io::{Read, Write};
        let mut socket = std::os::unix::net::UnixStream::connect(self.path("agent.sock")).expect("the agent's socket");
        write!(socket, "GET /v1/incidents/{id} HTTP/1.0\r\n\r\n").expect("request");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("answer");
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let incident: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {text}"));
        let kind = |body: &serde_json::Value| body.as_object().and_then(|o| o.iter().next().map(|(k, v)| (k.clone(), v.clone())));
        incident["entries"].as_array().expect("entries").iter().filter_map(|e| kind(&e["body"])).collect()
    }

    /// # Panics
    /// When `done` does not come to hold in time; with both logs.
    pub fn wait(&self, what: &str, limit: Duration, mut done: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < limit, "{what} did not come in {limit:?}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn logs(&self) -> String {
        let read = |name| fs::read_to_string(self.path(name)).unwrap_or_default();
        format!("--- agent\n{}\n--- actuator\n{}", read("agent.log"), read("actuator.log"))
    }

    /// Percent as `df` prints it.
    pub fn usage(&self) -> f64 {
        let fs = rustix::fs::statvfs(&self.mount).expect("statvfs");
        let used = fs.f_blocks - fs.f_bfree;
        used as f64 * 100.0 / (used + fs.f_bavail) as f64
    }

    /// Grows one file of live data until `df` would print this.
    pub fn fill_to(&self, percent: f64) {
        let path = (0..).map(|n| self.mount.join(format!("data/live-{n}.bin"))).find(|p| !p.exists()).expect("a free name");
        fs::create_dir_all(path.parent().expect("has one")).expect("data");
        let fs = rustix::fs::statvfs(&self.mount).expect("statvfs");
        let used = fs.f_blocks - fs.f_bfree;
        let target = (used + fs.f_bavail) as f64 * percent / 100.0;
        let more = ((target - used as f64).max(0.0) * fs.f_frsize as f64) as u64;
        write(&path, more);
        assert!(self.usage() > percent - 2.0, "{} after filling to {percent}", self.usage());
    }

    pub fn kill(child: &mut Option<Child>) {
        if let Some(mut child) = child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        Self::kill(&mut self.agent);
        Self::kill(&mut self.actuator);
    }
}

/// A file of this many bytes that take room (no holes).
pub fn write(path: &Path, bytes: u64) {
    fs::create_dir_all(path.parent().expect("has one")).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut file = fs::File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let block = vec![b'x'; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let n = left.min(block.len() as u64) as usize;
        std::io::Write::write_all(&mut file, &block[..n]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        left -= n as u64;
    }
    file.sync_all().expect("sync");
}
