//! A real host, below a root handle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::deadline::{Ask, Parked, Parking};
use super::ext4::Ext4Errors;
use super::files::HostFiles;
use super::mounts::MountTables;
use super::root::{Root, io_error};
use super::units::kept::{Before, Kept};
use super::usage::{self, Usages};
use super::{Clock, HeldFiles, PrivilegedReads, Read, ReadError, ReadHost, Scan, ScanAsk, Writer};
use super::{
    cgroup, clock, compress, deploys, disks, identity, interfaces, node, pkg, process, procs, requests, scan, shutdown, sweep, timex,
    tmpfiles, units, view, write_trial, writers,
};
use crate::model::{
    Answer, BootId, CgroupUse, Cgroups, ClockSync, Conntrack, Counter, CpuStat, Deploy, DiskIo, FileHandles, FsUsage, HeapSetting,
    HostPath, Identity, Interface, LoadAverage, Mount, NetIo, Now, Observed, Pressure, ProcessDetail, ProcessFacts, Processes, Query,
    RequestCount, Seconds, UnitFacts, WriteTrial,
};

/// Reads a host through `/`, or through the directory where a container was given the host's `/`.
pub struct LiveHost {
    root: Arc<Root>,
    boot: BootId,
    parking: Arc<Parking>,
    tables: MountTables,
    usages: Usages,
    ext4_errors: Ext4Errors,
    files: HostFiles,
    duplexes: interfaces::Duplexes,
    sweep: sweep::Sweep,
    groups: cgroup::Groups,
    kept_units: Arc<Kept>,
    privileged: Option<Arc<dyn PrivilegedReads>>,
    node_url: Option<String>,
    request_metrics: Arc<BTreeMap<String, String>>,
    own_folder: Option<(PathBuf, u64)>,
    markers: Option<PathBuf>,
}

impl LiveHost {
    /// `root`: `/`, or the directory through which the host was made visible on purpose. `privileged` answers what only root may read.
    /// `node_url`: plain-HTTP address of this node's Node object, such as `kubectl proxy` serves.
    ///
    /// # Errors
    /// When `root` is no directory, or has no `/proc` from which the boot could be told.
    pub fn new(root: &Path, privileged: Option<Arc<dyn PrivilegedReads>>, node_url: Option<String>) -> Read<Self> {
        let root = Root::open(root)?;
        let boot = clock::read_boot_id(&root)?;
        let files = HostFiles::new(&root);
        Ok(Self {
            root: Arc::new(root),
            boot,
            parking: Arc::new(Parking::default()),
            tables: MountTables::new(),
            usages: Usages::default(),
            ext4_errors: Ext4Errors::default(),
            files,
            duplexes: interfaces::Duplexes::default(),
            sweep: sweep::Sweep::new(),
            groups: cgroup::Groups::new(),
            kept_units: Arc::default(),
            privileged,
            node_url,
            request_metrics: Arc::default(),
            own_folder: None,
            markers: None,
        })
    }

    /// Tries writes in this folder, which is the caller's own, as seen by this process. Which filesystem that is is asked once: after an
    /// error the filesystem may not even say that any more.
    ///
    /// # Errors
    /// When the folder cannot be looked at.
    pub fn trying_writes_in(mut self, own_folder: &Path) -> Read<Self> {
        let seen = rustix::fs::stat(own_folder).map_err(|e| io_error(&HostPath::from(own_folder), e))?;
        self.own_folder = Some((own_folder.to_path_buf(), seen.st_dev));
        Ok(self)
    }

    /// Asks these services how many requests they have answered: by unit, `http://HOST[:PORT]/PATH#METRIC`.
    #[must_use]
    pub fn counting_requests(mut self, metrics: &BTreeMap<String, String>) -> Self {
        self.request_metrics = Arc::new(metrics.clone());
        self
    }

    /// Takes files in this folder, as seen by this process, for markers of what was released: name, version in the first line, and when it
    /// was written. It need not be there yet.
    #[must_use]
    pub fn with_deploy_markers(mut self, folder: &Path) -> Self {
        self.markers = Some(folder.to_path_buf());
        self
    }
}

impl Clock for LiveHost {
    fn now(&self) -> Now {
        clock::now(&self.boot)
    }
}

/// Reads of `/proc` that go through all processes, of files, and over the network, which may take longer than a statvfs.
const DEADLINE: Duration = Duration::from_secs(10);
/// Ten years: nobody asks for what was released before.
const LONGEST_PAST_S: f64 = 3650.0 * 86_400.0;
/// What takes the lock of a process's memory: counting the pages of a hundred gigabytes takes a second.
const MEMORY_DEADLINE: Duration = Duration::from_secs(3);

impl LiveHost {
    /// A read that might hang, behind a deadline.
    fn bounded<T: Send + 'static>(&self, what: &str, deadline: Duration, read: impl FnOnce(&Root) -> Read<T> + Send + 'static) -> Read<T> {
        let root = Arc::clone(&self.root);
        let answer = self.parking.ask(Ask::new(what, move || read(&root)), deadline);
        answer.unwrap_or_else(|parked| Err(usage::stuck("", &HostPath::from(what), parked)))
    }

    /// The same for what is short as a rule: where a thread is there already none is made, which a host out of pids could not.
    fn prompt<T: Send + 'static>(&self, what: &str, read: impl FnOnce(&Root) -> Read<T> + Send + 'static) -> Read<T> {
        let root = Arc::clone(&self.root);
        let answer = self.parking.ask_all(vec![Ask::new(what, move || read(&root))], DEADLINE).pop();
        let answer = answer.unwrap_or(Err(Parked::NotAsked { parked: 0 }));
        answer.unwrap_or_else(|parked| Err(usage::stuck("", &HostPath::from(what), parked)))
    }
}

impl ReadHost for LiveHost {
    fn mounts(&self) -> Read<Vec<Mount>> {
        self.tables.read(&self.root, |mounts| {
            self.usages.keep_only(mounts);
            self.ext4_errors.keep_only(mounts);
        })
    }

    fn fs_usage(&self, mount: &Mount) -> Read<FsUsage> {
        // One mount in, one answer out.
        let answer = self.fs_usages(std::slice::from_ref(mount)).pop();
        answer.unwrap_or_else(|| Err(ReadError::NotHere { what: mount.path.to_string(), why: "not asked".to_owned() }))
    }

    fn fs_usages(&self, mounts: &[Mount]) -> Vec<Read<FsUsage>> {
        self.usages.read(&self.root, &self.parking, &self.tables, mounts)
    }

    fn ext4_errors(&self, mount: &Mount) -> Read<u64> {
        self.ext4_errors.read(&self.root, &self.tables, mount)
    }

    fn write_trials(&self) -> Read<Vec<WriteTrial>> {
        let mut trials = Vec::new();
        if let Some((folder, device)) = self.own_folder.clone() {
            let here = HostPath::from(folder.as_path());
            let tried = self.bounded(&format!("write to {here}"), usage::DEADLINE, move |_| {
                let opened = rustix::fs::open(&folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
                Ok(WriteTrial { device, accepted: write_trial::try_write(opened) })
            });
            // One that hangs says nothing of the others.
            trials.push(tried.unwrap_or_else(|e| WriteTrial { device, accepted: Observed::unavailable(e.to_string()) }));
        }
        if let Observed::Value { value: Answer::Writes(of_actuator), .. } = self.privileged(&Query::Writes) {
            trials.extend(of_actuator);
        }
        Ok(trials)
    }

    fn disks_under(&self, mount: &Mount) -> Read<Vec<String>> {
        disks::read_under(&self.root, mount)
    }

    fn disk_io(&self) -> Read<Vec<DiskIo>> {
        self.files.disk_io(&self.root)
    }

    fn io_pressure(&self) -> Read<Pressure> {
        self.files.io_pressure(&self.root)
    }

    fn irq_stalled_us(&self) -> Read<u64> {
        self.files.irq_stalled_us(&self.root)
    }

    fn cpu_pressure(&self) -> Read<Pressure> {
        self.files.cpu_pressure(&self.root)
    }

    fn memory_pressure(&self) -> Read<Pressure> {
        self.files.memory_pressure(&self.root)
    }

    fn cpu_stat(&self) -> Read<CpuStat> {
        self.files.cpu_stat(&self.root)
    }

    fn load(&self) -> Read<LoadAverage> {
        self.files.load(&self.root)
    }

    fn memory(&self) -> Read<Vec<Counter>> {
        self.files.memory(&self.root)
    }

    fn vmstat(&self) -> Read<Vec<Counter>> {
        self.files.vmstat(&self.root)
    }

    fn network(&self) -> Read<Vec<NetIo>> {
        self.files.network(&self.root)
    }

    fn interfaces(&self) -> Read<Vec<Interface>> {
        let found = self.bounded("network interfaces", DEADLINE, interfaces::read_interfaces)?;
        Ok(self.duplexes.fill(&self.root, &self.parking, found))
    }

    fn file_handles(&self) -> Read<FileHandles> {
        self.files.file_handles(&self.root)
    }

    fn conntrack(&self) -> Read<Conntrack> {
        self.files.conntrack(&self.root)
    }

    fn clock_sync(&self) -> Read<ClockSync> {
        timex::read_clock_sync()
    }

    fn identity(&self) -> Read<Identity> {
        identity::read_identity(&self.root)
    }

    fn scan(&self, ask: &ScanAsk) -> Read<Scan> {
        scan::scan(&self.root, &self.parking, ask)
    }

    fn deleted_open(&self, device: u64) -> Read<HeldFiles> {
        self.bounded("deleted files that are open", DEADLINE, move |root| procs::read_deleted_open(root, device))
    }

    fn writers(&self, device: u64, window: Duration) -> Read<Vec<Writer>> {
        self.bounded("writers", window + DEADLINE, move |root| writers::read_writers(root, device, window))
    }

    fn tmp_exclusions(&self) -> Read<Vec<String>> {
        self.bounded("tmpfiles.d", DEADLINE, tmpfiles::read_exclusions)
    }

    fn package_manager(&self) -> Read<Option<String>> {
        self.bounded("package manager locks", DEADLINE, pkg::read_at_work)
    }

    fn shutting_down(&self) -> Read<bool> {
        let now = self.now();
        self.bounded("shutdown", DEADLINE, move |root| shutdown::read_shutting_down(root, &now))
    }

    fn host_view(&self) -> Read<bool> {
        self.bounded("view of the host", DEADLINE, view::read_host_view)
    }

    fn privileged(&self, query: &Query) -> Observed<Answer> {
        match &self.privileged {
            Some(reads) => reads.look(query),
            None => Observed::unavailable("only the actuator may read this, and there is no connection to one"),
        }
    }

    fn compress_ratio(&self, path: &HostPath) -> Read<f64> {
        let file = path.clone();
        self.bounded(&format!("sample of {path}"), DEADLINE, move |root| compress::read_ratio(root, &file))
    }

    fn node_disk_pressure(&self) -> Read<bool> {
        let Some(url) = self.node_url.clone() else {
            return Err(ReadError::NotHere { what: "DiskPressure".to_owned(), why: "no kubelet URL configured".to_owned() });
        };
        self.bounded("Node object", node::DEADLINE + Duration::from_secs(1), move |_| node::read_disk_pressure(&url))
    }

    fn request_counts(&self) -> Read<Vec<RequestCount>> {
        if self.request_metrics.is_empty() {
            return Ok(Vec::new());
        }
        let asked = Arc::clone(&self.request_metrics);
        self.bounded("counters of requests", 2 * requests::DEADLINE, move |_| requests::read_requests(&asked))
    }

    fn processes(&self, top: usize) -> Read<Processes> {
        self.sweep.read(&self.root, top)
    }

    fn cgroups(&self, top: usize) -> Read<Cgroups> {
        self.groups.read(&self.root, top)
    }

    fn process(&self, pid: u32) -> Read<ProcessFacts> {
        self.prompt(&format!("process {pid}"), move |root| process::read_facts(root, pid))
    }

    fn process_detail(&self, pid: u32) -> Read<ProcessDetail> {
        let detail = self.prompt(&format!("process {pid}"), move |root| process::read_detail(root, pid))?;
        let start_ticks = detail.facts.start_ticks;
        let what = format!("smaps_rollup of process {pid}");
        let pss = self.bounded(&what, MEMORY_DEADLINE, move |root| process::read_pss(root, pid, start_ticks));
        Ok(ProcessDetail { pss: pss.into(), ..detail })
    }

    fn group(&self, path: &HostPath) -> Read<CgroupUse> {
        let group = path.clone();
        self.bounded(&format!("cgroup {path}"), DEADLINE, move |root| cgroup::read_group(root, &group))
    }

    fn group_processes(&self, path: &HostPath) -> Read<Vec<u32>> {
        let group = path.clone();
        self.prompt(&format!("processes of cgroup {path}"), move |root| cgroup::read_processes(root, &group))
    }

    fn heap_settings(&self, pid: u32) -> Read<Vec<HeapSetting>> {
        let facts = self.process(pid)?;
        let total = self.memory()?.iter().find(|counter| &*counter.name == "MemTotal").map(|counter| counter.value);
        let settings = move |root: &Root| {
            let visible = match cgroup::read_limit(root, &facts.cgroup) {
                Ok(limit) => limit.into_iter().chain(total).min(),
                Err(_) => None,
            };
            process::read_heap(root, pid, facts.start_ticks, visible)
        };
        self.bounded(&format!("heap settings of process {pid}"), MEMORY_DEADLINE, settings)
    }

    fn unit(&self, name: &str) -> Read<UnitFacts> {
        let before = Before::now(&self.root);
        let said = units::facts::read_unit(self.root.path(), name)?;
        let (kept, asked) = (Arc::clone(&self.kept_units), name.to_owned());
        self.prompt(&format!("files of unit {name}"), move |root| {
            kept.keep(root, &before, &asked, &said);
            let (facts, files) = said;
            Ok(UnitFacts { restart_safe: units::consent::read_consent(root, &files), ..facts })
        })
    }

    fn know_units(&self, names: &[String]) {
        let before = Before::now(&self.root);
        let said = units::facts::read_units(self.root.path(), names);
        let kept = Arc::clone(&self.kept_units);
        let looked = self.prompt("files of units", move |root| {
            said.iter().for_each(|(name, said)| kept.keep(root, &before, name, said));
            Ok(())
        });
        looked.unwrap_or_else(|e| tracing::debug!("what systemd said of units is not kept: {e}"));
    }

    fn unit_at_once(&self, name: &str) -> Read<UnitFacts> {
        let now_s = clock::uptime_s();
        if let Some(known) = self.kept_units.find(name, now_s)
            && let Some(facts) = self.prompt(&format!("files of unit {name}"), move |root| Ok(known.proved(root, now_s)))?
        {
            return Ok(facts);
        }
        self.unit(name)
    }

    fn deploys(&self, within: Seconds) -> Read<Vec<Deploy>> {
        let to = self.now().wall;
        let from = to.saturating_sub(jiff::SignedDuration::from_secs_f64(within.0.clamp(0.0, LONGEST_PAST_S))).unwrap_or(to);
        let markers = self.markers.clone();
        let within = deploys::Within { from, to };
        self.bounded("deploys", DEADLINE, move |root| deploys::read_deploys(root, markers.as_deref(), within))
    }
}
