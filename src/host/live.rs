//! A real host, below a root handle.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::deadline::{Ask, Parking};
use super::mounts::MountTables;
use super::root::{HotFile, Root};
use super::{Clock, HeldFiles, PrivilegedReads, Read, ReadError, ReadHost, Scan, ScanAsk, Writer};
use super::{cgroup, clock, compress, disks, ext4, node, pkg, procs, psi, scan, shutdown, sweep, tmpfiles, usage, view, writers};
use crate::model::{Answer, BootId, Cgroups, DiskIo, FsUsage, HostPath, Mount, Now, Observed, Pressure, Processes, Query};

/// Reads a host through `/`, or through the directory where a container was given the host's `/`.
pub struct LiveHost {
    root: Arc<Root>,
    boot: BootId,
    parking: Arc<Parking>,
    tables: MountTables,
    diskstats: HotFile,
    pressure: HotFile,
    sweep: sweep::Sweep,
    groups: cgroup::Groups,
    privileged: Option<Arc<dyn PrivilegedReads>>,
    node_url: Option<String>,
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
        Ok(Self {
            root: Arc::new(root),
            boot,
            parking: Arc::new(Parking::default()),
            tables: MountTables::new(),
            diskstats: HotFile::new("/proc/diskstats"),
            pressure: HotFile::new("/proc/pressure/io"),
            sweep: sweep::Sweep::new(),
            groups: cgroup::Groups::new(),
            privileged,
            node_url,
        })
    }
}

impl Clock for LiveHost {
    fn now(&self) -> Now {
        clock::now(&self.boot)
    }
}

/// Reads of `/proc` that go through all processes, of files, and over the network, which may take longer than a statvfs.
const DEADLINE: Duration = Duration::from_secs(10);

impl LiveHost {
    /// A read that might hang, behind a deadline.
    fn bounded<T: Send + 'static>(&self, what: &str, deadline: Duration, read: impl FnOnce(&Root) -> Read<T> + Send + 'static) -> Read<T> {
        let root = Arc::clone(&self.root);
        let answer = self.parking.ask(Ask::new(what, move || read(&root)), deadline);
        answer.unwrap_or_else(|parked| Err(usage::stuck("", &HostPath::from(what), parked)))
    }
}

impl ReadHost for LiveHost {
    fn mounts(&self) -> Read<Vec<Mount>> {
        self.tables.read(&self.root)
    }

    fn fs_usage(&self, mount: &Mount) -> Read<FsUsage> {
        // One mount in, one answer out.
        let answer = self.fs_usages(std::slice::from_ref(mount)).pop();
        answer.unwrap_or_else(|| Err(ReadError::NotHere { what: mount.path.to_string(), why: "not asked".to_owned() }))
    }

    fn fs_usages(&self, mounts: &[Mount]) -> Vec<Read<FsUsage>> {
        usage::read_usages(&self.root, &self.parking, mounts)
    }

    fn ext4_errors(&self, mount: &Mount) -> Read<u64> {
        ext4::read_errors(&self.root, mount)
    }

    fn disks_under(&self, mount: &Mount) -> Read<Vec<String>> {
        disks::read_under(&self.root, mount)
    }

    fn disk_io(&self) -> Read<Vec<DiskIo>> {
        self.diskstats.read(&self.root, disks::parse_diskstats)
    }

    fn io_pressure(&self) -> Read<Pressure> {
        self.pressure.read(&self.root, psi::parse_pressure)
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

    fn processes(&self, top: usize) -> Read<Processes> {
        self.sweep.read(&self.root, top)
    }

    fn cgroups(&self, top: usize) -> Read<Cgroups> {
        self.groups.read(&self.root, top)
    }
}
