//! A real host, below a root handle.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::deadline::Parking;
use super::mounts::MountTables;
use super::root::{HotFile, Root};
use super::{Clock, HeldFiles, PrivilegedReads, Read, ReadError, ReadHost, Scan, ScanAsk, Writer, clock, disks, ext4, psi, usage};
use crate::model::{Answer, BootId, DiskIo, FsUsage, HostPath, Mount, Now, Observed, Pressure, Query};

/// Reads a host through `/`, or through the directory where a container was given the host's `/`.
pub struct LiveHost {
    root: Arc<Root>,
    boot: BootId,
    parking: Arc<Parking>,
    tables: MountTables,
    diskstats: HotFile,
    pressure: HotFile,
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

fn later<T>(what: &str) -> Read<T> {
    Err(ReadError::NotHere { what: what.to_owned(), why: "lands next".to_owned() })
}

impl ReadHost for LiveHost {
    fn mounts(&self) -> Read<Vec<Mount>> {
        self.tables.read(&self.root)
    }

    fn fs_usage(&self, mount: &Mount) -> Read<FsUsage> {
        self.fs_usages(std::slice::from_ref(mount)).pop().unwrap_or_else(|| later("usage"))
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

    fn scan(&self, _ask: &ScanAsk) -> Read<Scan> {
        later("scan")
    }

    fn deleted_open(&self, _device: u64) -> Read<HeldFiles> {
        later("deleted files")
    }

    fn writers(&self, _device: u64, _window: Duration) -> Read<Vec<Writer>> {
        later("writers")
    }

    fn tmp_exclusions(&self) -> Read<Vec<String>> {
        later("tmpfiles.d")
    }

    fn package_manager(&self) -> Read<Option<String>> {
        later("package manager")
    }

    fn shutting_down(&self) -> Read<bool> {
        later("shutdown")
    }

    fn host_view(&self) -> Read<bool> {
        later("host view")
    }

    fn privileged(&self, query: &Query) -> Observed<Answer> {
        match &self.privileged {
            Some(reads) => reads.look(query),
            None => Observed::unavailable("only the actuator may read this, and there is no connection to one"),
        }
    }

    fn compress_ratio(&self, _path: &HostPath) -> Read<f64> {
        later("compression")
    }

    fn node_disk_pressure(&self) -> Read<bool> {
        let _ = &self.node_url;
        later("node")
    }
}
