//! A program that is scraped: what that takes of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use rustix::process::{Signal, kill_process};

use crate::scrape::{READY_BODY, READY_BODY_PORT, Scraper};

/// Names another agent than the one that was built for this: the packaged one, whose linking makes it smaller.
const AGENT: &str = "BYTEPORT_BENCH_AGENT";
const NODE_EXPORTER: &str = "prometheus-node-exporter";
/// What the agent's sample of a host has as well; its own metrics are left out.
pub const MATCHED: &[&str] = &[
    "--collector.disable-defaults",
    "--collector.stat",
    "--collector.cpu",
    "--collector.meminfo",
    "--collector.loadavg",
    "--collector.vmstat",
    "--collector.pressure",
    "--collector.diskstats",
    "--collector.netdev",
    "--collector.filesystem",
    "--collector.uname",
    "--collector.time",
    "--web.disable-exporter-metrics",
];
const PATIENCE: Duration = Duration::from_secs(10);

/// Of one scrape, or one look.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub cpu_us: f64,
    pub wall_us: f64,
}

/// Resident, and with what is shared counted by its part.
pub struct Memory {
    pub rss_kib: f64,
    pub pss_kib: f64,
}

/// Ended when dropped.
pub struct Contender {
    child: Child,
    clock: ClockId,
    pub port: u16,
}

impl Contender {
    /// Started, and it takes connections.
    fn start(command: &mut Command, port: u16) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let clock = clock_getcpuclockid(pid(&child)).expect("its clock");
        let mut contender = Self { child, clock, port };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = contender.child.try_wait().expect("a child");
            assert!(ended.is_none() && Instant::now() < end, "{command:?} takes no connection: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        contender
    }

    /// The agent as it ships, or with a sample for each scrape. It takes connections, and may have no sample yet.
    pub fn agent(scratch: &Path, settings: &str, sample_on_scrape: Option<&str>) -> Self {
        let (home, port) = (tempfile::tempdir_in(scratch).expect("a folder").keep(), free_port());
        let at = home.display();
        let text = format!(
            "state_dir = \"{at}/state\"\nsocket = \"{at}/agent.sock\"\nactuator_socket = \"{at}/actuator.sock\"\nlisten = \"127.0.0.1:{port}\"\n{settings}"
        );
        fs::write(home.join("agent.toml"), text).expect("agent.toml");
        let mut command = Command::new(std::env::var_os(AGENT).unwrap_or_else(|| env!("CARGO_BIN_EXE_byteport-agent").into()));
        command.arg("--config").arg(home.join("agent.toml"));
        if let Some(what) = sample_on_scrape {
            command.args(["--sample-on-scrape", what]);
        }
        Self::start(&mut command, port)
    }

    /// Nothing where it is not installed.
    pub fn node_exporter(args: &[&str]) -> Option<Self> {
        let port = free_port();
        let mut command = Command::new(NODE_EXPORTER);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--log.level=error").args(args);
        node_exporter_is_there().then(|| Self::start(&mut command, port))
    }

    /// What sends `body` and does nothing else.
    pub fn ready_body(scratch: &Path, body: &[u8]) -> Self {
        let (file, port) = (scratch.join("body"), free_port());
        fs::write(&file, body).expect("a body");
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        Self::start(command.env(READY_BODY, file).env(READY_BODY_PORT, port.to_string()), port)
    }

    /// The same once it has a first sample to show.
    pub fn sampled_agent(scratch: &Path, settings: &str) -> Self {
        let agent = Self::agent(scratch, settings, None);
        let end = Instant::now() + Duration::from_secs(30);
        while !String::from_utf8_lossy(agent.scraper().scrape().expect("a page")).contains("\nnode_load1 ") {
            assert!(Instant::now() < end, "the agent has no sample");
            std::thread::sleep(Duration::from_millis(10));
        }
        agent
    }

    /// A connection that has been answered once.
    pub fn scraper(&self) -> Scraper {
        let mut scraper = Scraper::connect(self.port, PATIENCE).expect("connected");
        scraper.scrape().expect("a page");
        scraper
    }

    /// CPU of one scrape on average, median time of one.
    pub fn scraped(&self, times: usize) -> Cost {
        let mut scraper = self.scraper();
        let begun = self.cpu_us();
        let walls = (0..times).map(|_| {
            let asked = Instant::now();
            scraper.scrape().expect("a page");
            asked.elapsed().as_secs_f64() * 1e6
        });
        let wall_us = median(walls.collect());
        Cost { cpu_us: (self.cpu_us() - begun) / times as f64, wall_us }
    }

    fn cpu_us(&self) -> f64 {
        let t = self.clock.now().expect("alive");
        t.tv_sec() as f64 * 1e6 + t.tv_nsec() as f64 / 1e3
    }

    /// # Panics
    /// When it has ended.
    pub fn memory(&self) -> Memory {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).expect("smaps_rollup");
        Memory { rss_kib: field(&text, "Rss:"), pss_kib: field(&text, "Pss:") }
    }

    /// Threads of that name: others come and go with work that has nothing to do with what hangs.
    pub fn threads(&self, name: &str) -> usize {
        let all = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads").flatten();
        all.filter(|thread| fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name)).count()
    }

    /// System calls of one scrape, by all threads; an error says why strace could not tell.
    pub fn system_calls(&self, scratch: &Path, scrapes: usize) -> Result<f64, String> {
        let (mut scraper, summary) = (self.scraper(), scratch.join("strace"));
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&summary).args(["-p", &self.child.id().to_string()]);
        let mut strace = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|e| format!("strace: {e}"))?;
        let mut said = String::new();
        let mut stderr = BufReader::new(strace.stderr.take().expect("stderr"));
        stderr.read_line(&mut said).map_err(|e| e.to_string())?;
        if !said.contains("attached") {
            drop(strace.wait());
            return Err(said.trim().to_owned());
        }
        for _ in 0..scrapes {
            scraper.scrape().expect("a page");
        }
        kill_process(rustix::process::Pid::from_child(&strace), Signal::INT).map_err(|e| e.to_string())?;
        strace.wait().map_err(|e| e.to_string())?;
        let text = fs::read_to_string(&summary).map_err(|e| e.to_string())?;
        let total = text.lines().find_map(|line| line.trim().strip_suffix("total")?.trim().parse::<f64>().ok());
        total.map(|calls| calls / scrapes as f64).ok_or_else(|| format!("no total: {text}"))
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn node_exporter_is_there() -> bool {
    Command::new(NODE_EXPORTER).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Each contender in each round, medians for each; nothing for one that is not here.
pub fn in_turn<const N: usize>(rounds: usize, contenders: [&mut dyn FnMut() -> Option<Cost>; N]) -> [Option<Cost>; N] {
    let mut taken: [Vec<Cost>; N] = std::array::from_fn(|_| Vec::new());
    let mut contenders = contenders;
    for _ in 0..rounds {
        for (contender, taken) in contenders.iter_mut().zip(&mut taken) {
            taken.extend(contender());
        }
    }
    taken.map(|taken| {
        let of = |figure: fn(&Cost) -> f64| median(taken.iter().map(figure).collect());
        (!taken.is_empty()).then(|| Cost { cpu_us: of(|c| c.cpu_us), wall_us: of(|c| c.wall_us) })
    })
}

/// # Panics
/// When there is nothing to choose from.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a port").port()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().expect("a pid"))
}

fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}
