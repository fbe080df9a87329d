//! A real actuator on a real socket over a scratch directory, and what an agent would ask of it.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

pub mod facts;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use byteport::act::client::{Client, ClientError, Performed};
use byteport::act::server::{Server, Settings, bind};
use byteport::guard::{self, Admitted, Asked, Circumstances, Holds, Limits, Mode, PastAct, Policy};
use byteport::host::{self, Clock, LiveHost, Read, ReadHost};
use byteport::model::{
    Answer, Bytes, Confidence, DiskIo, Effect, Expected, FileBatch, FileFamily, FileTarget, FsUsage, HeldFiles, HostPath, IncidentId,
    IntentId, Mount, Now, Observed, PlannedStep, Pressure, ProcessFacts, ProcessTarget, Query, RunbookId, Scan, Seconds, Step, StepKind,
    Subject, Undo, UnitFacts, UnitTarget, WriteTrial, Writer,
};
use byteport::record::Ledger;
use byteport::wire::actuator::Perform;

pub const DISK: RunbookId = RunbookId::new("disk");
const DAY: i64 = 86_400;

/// This machine, ten days later, and with nobody at work on it: change times cannot be set back, and whether a package manager runs
/// here while the tests do is not what they are about.
pub struct Later {
    pub live: LiveHost,
    pub days: i64,
    pub package_manager: Option<String>,
    /// The run of a unit that is told of, whatever run it is in: what was so a moment before the act.
    pub as_examined: Option<UnitTarget>,
    /// These processes are told of as they were examined, once: what was so a moment before the act.
    pub once: Option<Mutex<Vec<ProcessTarget>>>,
}

impl Later {
    pub fn new() -> Self {
        Self {
            live: LiveHost::new(Path::new("/"), None, None).expect("this host"),
            days: 10,
            package_manager: None,
            as_examined: None,
            once: None,
        }
    }
}

impl Clock for Later {
    fn now(&self) -> Now {
        let now = self.live.now();
        let shift = self.days * DAY;
        let wall = jiff::Timestamp::from_nanosecond(now.wall.as_nanosecond() + i128::from(shift) * 1_000_000_000).expect("a time");
        Now { wall, uptime_s: now.uptime_s + shift as f64, ..now }
    }
}

impl ReadHost for Later {
    fn mounts(&self) -> Read<Vec<Mount>> {
        self.live.mounts()
    }
    fn fs_usage(&self, mount: &Mount) -> Read<FsUsage> {
        self.live.fs_usage(mount)
    }
    fn ext4_errors(&self, mount: &Mount) -> Read<u64> {
        self.live.ext4_errors(mount)
    }
    fn write_trials(&self) -> Read<Vec<WriteTrial>> {
        self.live.write_trials()
    }
    fn disks_under(&self, mount: &Mount) -> Read<Vec<String>> {
        self.live.disks_under(mount)
    }
    fn disk_io(&self) -> Read<Vec<DiskIo>> {
        self.live.disk_io()
    }
    fn io_pressure(&self) -> Read<Pressure> {
        self.live.io_pressure()
    }
    fn scan(&self, ask: &byteport::host::ScanAsk) -> Read<Scan> {
        self.live.scan(ask)
    }
    fn deleted_open(&self, device: u64) -> Read<HeldFiles> {
        self.live.deleted_open(device)
    }
    fn writers(&self, device: u64, window: Duration) -> Read<Vec<Writer>> {
        self.live.writers(device, window)
    }
    fn tmp_exclusions(&self) -> Read<Vec<String>> {
        self.live.tmp_exclusions()
    }
    fn package_manager(&self) -> Read<Option<String>> {
        Ok(self.package_manager.clone())
    }
    fn shutting_down(&self) -> Read<bool> {
        Ok(false)
    }
    fn host_view(&self) -> Read<bool> {
        Ok(true)
    }
    fn privileged(&self, query: &Query) -> Observed<Answer> {
        self.live.privileged(query)
    }
    fn compress_ratio(&self, path: &HostPath) -> Read<f64> {
        self.live.compress_ratio(path)
    }
    fn node_disk_pressure(&self) -> Read<bool> {
        self.live.node_disk_pressure()
    }
    fn unit(&self, name: &str) -> Read<UnitFacts> {
        let mut facts = self.live.unit(name)?;
        if let Some(examined) = self.as_examined.as_ref().filter(|e| e.unit == name) {
            facts.invocation.clone_from(&examined.invocation);
        }
        Ok(facts)
    }
    fn know_units(&self, names: &[String]) {
        self.live.know_units(names);
    }
    fn unit_at_once(&self, name: &str) -> Read<UnitFacts> {
        self.live.unit_at_once(name)
    }
    fn group_processes(&self, path: &HostPath) -> Read<Vec<u32>> {
        self.live.group_processes(path)
    }
    fn process(&self, pid: u32) -> Read<ProcessFacts> {
        let mut stale = self.once.as_ref().map(|once| once.lock().expect("whole"));
        let at = stale.as_ref().and_then(|stale| stale.iter().position(|p| p.pid == pid));
        match (at, stale.as_mut()) {
            (Some(at), Some(stale)) => Ok(facts::as_examined(&stale.remove(at))),
            // What tests start has just begun, and they do not wait for a minute.
            _ => self.live.process(pid).map(|facts| ProcessFacts { age_s: 1e6, ..facts }),
        }
    }
}

/// A running actuator whose policy allows every file step below one directory.
pub struct Stand {
    pub dir: tempfile::TempDir,
    /// The only root that the policy knows.
    pub root: PathBuf,
    pub socket: PathBuf,
    pub client: Client,
    pub policy: Policy,
    pub server: Arc<Server>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Stand {
    pub fn new() -> Self {
        Self::on(tempfile::tempdir().expect("temp dir"), Later::new(), |_| {})
    }

    /// `dir` decides the filesystem; `change` may change what the policy allows.
    pub fn on(dir: tempfile::TempDir, host: Later, change: impl FnOnce(&mut Settings)) -> Self {
        let root = dir.path().join("root");
        Self::over(dir, root, host, change)
    }

    /// `dir` holds socket and ledger, `root` is elsewhere.
    pub fn over(dir: tempfile::TempDir, root: PathBuf, host: Later, change: impl FnOnce(&mut Settings)) -> Self {
        fs::create_dir_all(&root).expect("root");
        let policy = policy(&root, &mount_of(&host, &root).path);
        let mut settings = Settings {
            agent_uid: rustix::process::geteuid().as_raw(),
            root: "/".into(),
            docker_socket: "/nonexistent/docker.sock".into(),
            dry_run: false,
            policies: BTreeMap::from([(DISK, policy)]),
        };
        change(&mut settings);
        let policy = settings.policies[&DISK].clone();
        let socket = dir.path().join("actuator.sock");
        let listener = bind(&socket, rustix::process::getegid().as_raw()).expect("socket");
        let ledger = Ledger::open(&dir.path().join("state")).expect("ledger");
        let server = Arc::new(Server::new(listener, settings, ledger, Arc::new(host)).expect("server"));
        let (stop, stopped) = UnixStream::pair().expect("pair");
        let running = Arc::clone(&server);
        let thread = std::thread::spawn(move || running.run(stopped.as_fd(), Duration::from_secs(60), &|| {}).expect("run"));
        let client = Client::new(&socket);
        Self { dir, root, socket, client, policy, server, stop: Some(stop), thread: Some(thread) }
    }

    /// With an act in its ledger (intent `one/1.1`) that was begun and left these notes, and whose end was lost.
    pub fn with_open(dir: tempfile::TempDir, host: Later, step: &Step, notes: &[serde_json::Value]) -> Self {
        let mount = mount_of(&host, dir.path());
        let asked = asking(&mount, "one", 1, step.clone());
        let mut ledger = Ledger::open(&dir.path().join("state")).expect("ledger");
        let act = PastAct {
            intent: asked.intent.clone(),
            incident: asked.incident,
            runbook: asked.runbook,
            subject: asked.subject,
            kind: step.kind(),
            at: host.now(),
            files: 1,
            bytes: Bytes(0),
            on: step.works_on(),
        };
        ledger.begin(&act).expect("begun");
        notes.iter().for_each(|note| ledger.note(&asked.intent, note).expect("noted"));
        drop(ledger);
        Self::on(dir, host, |_| {})
    }

    /// Ends it, as SIGTERM would, and waits.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ended badly");
        }
    }

    pub fn write(&self, name: &str, bytes: usize) -> PathBuf {
        write(&self.root.join(name), bytes)
    }

    pub fn batch(&self, family: FileFamily, names: &[&str]) -> FileBatch {
        batch(&self.root, family, names.iter().map(|n| HostPath::from(*n)).collect())
    }

    pub fn perform(&self, step: Step) -> Result<Performed, ClientError> {
        let perform = self.asking("one", 1, step);
        self.client.perform(&admitted(&self.policy, &perform), perform)
    }

    /// For tests in which it has to go through.
    pub fn effect(&self, step: Step) -> Effect {
        match self.perform(step).expect("an answer") {
            Performed::Effect(effect) => effect,
            other => panic!("{other:?}"),
        }
    }

    pub fn asking(&self, incident: &str, number: u32, step: Step) -> Perform {
        asking(&mount_of(&Later::new(), &self.root), incident, number, step)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

pub fn policy(root: &Path, mount: &HostPath) -> Policy {
    let here = vec![HostPath::from(root)];
    let limits = Limits {
        mounts: vec![mount.clone()],
        steps: StepKind::ALL.into(),
        log_roots: here.clone(),
        tmp_roots: here.clone(),
        journal_roots: here.clone(),
        package_cache_roots: here,
        processes: ["bash", "sleep", "python3"].map(str::to_owned).into(),
        max_files: 1_000_000,
        max_bytes: Bytes(1 << 40),
        cooldown: Seconds(0.0),
        ..Limits::default()
    };
    Policy { mode: Mode::Act, runbook_allowed: true, limits }
}

pub fn mount_of(host: &dyn ReadHost, path: &Path) -> Mount {
    let device = fs::metadata(path).expect("metadata").dev();
    host.mounts().expect("mounts").into_iter().find(|m| m.device == device).unwrap_or_else(|| panic!("{} has no mount", path.display()))
}

pub fn asking(mount: &Mount, incident: &str, number: u32, step: Step) -> Perform {
    let incident = IncidentId(incident.into());
    Perform {
        intent: IntentId::new(&incident, 1, number),
        incident,
        runbook: DISK,
        subject: Subject::Filesystem { mount: mount.path.clone(), device: mount.device },
        planned: PlannedStep {
            step,
            expected: Expected { bytes: Bytes(0), inodes: 0, estimate: false },
            undo: Undo::None { why: "a test".into() },
            why: "a test".into(),
        },
        confidence: 0.9,
        deadline_s: 60,
    }
}

/// The agent's own pass through guard.
pub fn admitted(policy: &Policy, perform: &Perform) -> Admitted<Step> {
    admitted_by(&Later::new(), policy, perform)
}

/// The same, from what this host tells.
pub fn admitted_by(host: &Later, policy: &Policy, perform: &Perform) -> Admitted<Step> {
    let asked = Asked {
        incident: &perform.incident,
        runbook: &perform.runbook,
        subject: &perform.subject,
        step: &perform.planned.step,
        confidence: Confidence::new(perform.confidence),
    };
    let policy = &Policy { mode: Mode::Act, runbook_allowed: true, ..policy.clone() };
    let holds = Holds {
        paused: None,
        package_manager: Observed::fresh(None),
        shutting_down: Observed::fresh(false),
        host_view: Observed::fresh(true),
        another_episode: None,
        ledger: Observed::fresh(()),
    };
    let targets = host::targets(host, asked.step);
    guard::admit(asked, Circumstances { policy, holds: &holds, past: &[], targets: &targets, now: &host.now() }).expect("admitted")
}

pub fn write(path: &Path, bytes: usize) -> PathBuf {
    fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
    let mut file = fs::File::create(path).expect("file");
    file.write_all(&vec![b'x'; bytes]).expect("write");
    path.to_owned()
}

/// What an agent's scan would have written down of these files.
pub fn batch(root: &Path, family: FileFamily, mut names: Vec<HostPath>) -> FileBatch {
    names.sort();
    FileBatch {
        family,
        root: HostPath::from(root),
        device: fs::metadata(root).expect("root").dev(),
        min_age_s: Limits::min_age_s(family),
        files: names.iter().map(|n| target(root, n)).collect(),
        dirs: Vec::new(),
    }
}

pub fn target(root: &Path, name: &HostPath) -> FileTarget {
    let stat = fs::symlink_metadata(root.join(name.as_path())).unwrap_or_else(|e| panic!("{name}: {e}"));
    FileTarget {
        path: name.clone(),
        ino: stat.ino(),
        size: stat.size(),
        on_disk: stat.blocks() * 512,
        mtime_ns: stat.mtime() * 1_000_000_000 + stat.mtime_nsec(),
        ctime_ns: stat.ctime() * 1_000_000_000 + stat.ctime_nsec(),
        links: u32::try_from(stat.nlink()).expect("links"),
    }
}
