//! The host's plain files, one method a surface: which file it is, and which parser reads it.

use super::conntrack::ConntrackFiles;
use super::irq::IrqPressure;
use super::root::Root;
use super::{HotFile, Read};
use super::{disks, file_handles, loadavg, meminfo, netdev, psi, stat, vmstat};
use crate::model::{Conntrack, Counter, CpuStat, DiskIo, FileHandles, LoadAverage, NetIo, Pressure};

/// All of them, kept open.
#[derive(Debug)]
pub(super) struct HostFiles {
    stat: HotFile,
    loadavg: HotFile,
    meminfo: HotFile,
    vmstat: HotFile,
    diskstats: HotFile,
    netdev: HotFile,
    file_nr: HotFile,
    conntrack: ConntrackFiles,
    irq_pressure: IrqPressure,
    cpu_pressure: HotFile,
    io_pressure: HotFile,
    memory_pressure: HotFile,
}

impl HostFiles {
    pub(super) fn new(root: &Root) -> Self {
        Self {
            stat: HotFile::one_record("/proc/stat"),
            loadavg: HotFile::one_record("/proc/loadavg"),
            meminfo: HotFile::one_record("/proc/meminfo"),
            vmstat: HotFile::short_lines("/proc/vmstat"),
            // A disk and all its partitions are one record, which may be longer than a page.
            diskstats: HotFile::new("/proc/diskstats"),
            // `/proc/net` is whose process looks: through another root the host's own is that of its first process.
            netdev: HotFile::short_lines(if root.is_elsewhere() { "/proc/1/net/dev" } else { "/proc/net/dev" }),
            file_nr: HotFile::one_record("/proc/sys/fs/file-nr"),
            conntrack: ConntrackFiles::new(),
            irq_pressure: IrqPressure::new(),
            cpu_pressure: HotFile::one_record("/proc/pressure/cpu"),
            io_pressure: HotFile::one_record("/proc/pressure/io"),
            memory_pressure: HotFile::one_record("/proc/pressure/memory"),
        }
    }

    pub(super) fn cpu_stat(&self, root: &Root) -> Read<CpuStat> {
        self.stat.read(root, stat::parse_stat)
    }

    pub(super) fn load(&self, root: &Root) -> Read<LoadAverage> {
        self.loadavg.read(root, loadavg::parse_loadavg)
    }

    pub(super) fn memory(&self, root: &Root) -> Read<Vec<Counter>> {
        self.meminfo.read(root, meminfo::parse_meminfo)
    }

    pub(super) fn vmstat(&self, root: &Root) -> Read<Vec<Counter>> {
        self.vmstat.read(root, vmstat::parse_vmstat)
    }

    pub(super) fn disk_io(&self, root: &Root) -> Read<Vec<DiskIo>> {
        self.diskstats.read(root, disks::parse_diskstats)
    }

    pub(super) fn network(&self, root: &Root) -> Read<Vec<NetIo>> {
        self.netdev.read(root, netdev::parse_netdev)
    }

    pub(super) fn file_handles(&self, root: &Root) -> Read<FileHandles> {
        self.file_nr.read(root, file_handles::parse_file_nr)
    }

    pub(super) fn conntrack(&self, root: &Root) -> Read<Conntrack> {
        self.conntrack.read(root)
    }

    pub(super) fn irq_stalled_us(&self, root: &Root) -> Read<u64> {
        self.irq_pressure.read(root)
    }

    pub(super) fn cpu_pressure(&self, root: &Root) -> Read<Pressure> {
        self.cpu_pressure.read(root, psi::parse_cpu_pressure)
    }

    pub(super) fn io_pressure(&self, root: &Root) -> Read<Pressure> {
        self.io_pressure.read(root, psi::parse_pressure)
    }

    pub(super) fn memory_pressure(&self, root: &Root) -> Read<Pressure> {
        self.memory_pressure.read(root, psi::parse_pressure)
    }
}
