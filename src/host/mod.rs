//! THE ONLY DOOR TO THE OS. Everything that is known of a host comes through [`ReadHost`]; nothing here changes it.
//!
//! `live` reads a host below a root handle (`--root /host` in a container, `/` else). Reading and parsing are two functions
//! everywhere: `parse_*` takes bytes and is total. A read that can hang runs behind a deadline (`deadline.rs`).

mod bench;
pub(crate) mod bus;
mod cgroup;
mod clock;
mod columns;
mod compress;
mod conntrack;
pub(crate) mod deadline;
mod deploys;
mod disks;
mod ext4;
mod facts;
mod file_handles;
mod files;
mod hot;
mod http;
mod identity;
mod interfaces;
mod irq;
mod journal;
mod kmsg;
mod largest;
mod live;
mod loadavg;
mod meminfo;
mod mounts;
mod netdev;
mod node;
#[cfg(any(test, fuzzing))]
mod parsers;
mod pattern;
mod peers;
mod pkg;
mod process;
mod procs;
mod psi;
pub mod readiness;
mod requests;
mod resident;
mod root;
mod scan;
mod shutdown;
mod stat;
mod sweep;
pub mod sys;
mod targets;
mod timex;
mod tmpfiles;
mod units;
mod usage;
mod view;
mod vmstat;
mod wake;
pub(crate) mod write_trial;
mod writers;

pub use facts::{HostFacts, facts};
pub use journal::{Journal, JournalAsk, JournalWatch};
pub use kmsg::KernelLogReader;
pub use live::LiveHost;
#[cfg(fuzzing)]
pub use parsers::{fed, feed};
pub use peers::{in_group, random_u16, user_name};
pub use resident::stay_resident;
pub use targets::targets;
pub use units::UnitWatch;
pub(crate) use units::consent::opted_in;
pub use wake::{Wake, Waker, Woken};

use std::time::Duration;

use self::hot::HotFile;
use crate::model::{
    Answer, CgroupUse, Cgroups, ClockSync, Conntrack, Counter, CpuStat, Deploy, DiskIo, FileHandles, FsUsage, HeapSetting, HostPath,
    Identity, Interface, LoadAverage, Mount, NetIo, Now, Observed, Pressure, ProcessDetail, ProcessFacts, Processes, Query, RequestCount,
    Seconds, UnitFacts, WriteTrial,
};
pub use crate::model::{Candidates, DirUse, FamilyAsk, FileUse, HeldFile, HeldFiles, NotSeen, Scan, Writer};

/// Why a read gave nothing. The text names the thing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error("{path}: {source}")]
    Io { path: HostPath, source: std::sync::Arc<std::io::Error> },
    #[error("{what}: {why}")]
    Parse { what: String, why: String },
    #[error("{what} has not answered for {}", crate::model::Seconds(.for_s.max(0.0)))]
    Stuck { what: String, for_s: f64 },
    /// Who would know did not say.
    #[error("{what}: {why}")]
    NoAnswer { what: String, why: String },
    /// There is nothing of the kind here.
    #[error("{what}: {why}")]
    NotHere { what: String, why: String },
}

pub type Read<T> = Result<T, ReadError>;

/// Both clocks at once.
pub trait Clock: Send + Sync {
    fn now(&self) -> Now;
}

/// What answers [`Query`]: the actuator's client, or nobody.
pub trait PrivilegedReads: Send + Sync {
    fn look(&self, query: &Query) -> Observed<Answer>;
}

/// The questions that runbooks and samplers ask. Blocking, and bounded: every method comes back within its deadline, whatever
/// hangs, so callers may run several in scoped threads.
pub trait ReadHost: Clock {
    /// mountinfo, one entry a device, bind mounts folded into `also_at`.
    fn mounts(&self) -> Read<Vec<Mount>>;
    /// statvfs behind a deadline; a mount that hangs is `Stuck` and asked again only after it has answered.
    fn fs_usage(&self, mount: &Mount) -> Read<FsUsage>;
    /// The same for many mounts, answers in their order. One that hangs must not delay the others, so asking one by one is only for hosts
    /// that cannot hang.
    fn fs_usages(&self, mounts: &[Mount]) -> Vec<Read<FsUsage>> {
        mounts.iter().map(|m| self.fs_usage(m)).collect()
    }
    /// ext4's error counter; `NotHere` for other filesystems.
    fn ext4_errors(&self, mount: &Mount) -> Read<u64>;
    /// Whether filesystems take writes, where that may be tried: the agent's own state folder, and what opted in by way of the actuator.
    fn write_trials(&self) -> Read<Vec<WriteTrial>>;
    /// Kernel names of the block devices under a mount, top first.
    fn disks_under(&self, mount: &Mount) -> Read<Vec<String>>;
    fn disk_io(&self) -> Read<Vec<DiskIo>>;
    fn io_pressure(&self) -> Read<Pressure>;
    /// Walks one filesystem, never leaving it.
    fn scan(&self, ask: &ScanAsk) -> Read<Scan>;
    /// Files without a name that a process still holds, on one device.
    fn deleted_open(&self, device: u64) -> Read<HeldFiles>;
    /// Who writes to this device now: two looks at the per-process counters, `window` apart.
    fn writers(&self, device: u64, window: Duration) -> Read<Vec<Writer>>;
    /// tmpfiles.d's `x` and `X` patterns, in effect order.
    fn tmp_exclusions(&self) -> Read<Vec<String>>;
    /// The package manager that holds its lock now, by name and pid, for people; `None` where none does.
    fn package_manager(&self) -> Read<Option<String>>;
    fn shutting_down(&self) -> Read<bool>;
    /// Whether this process sees the host itself (namespaces of pid 1 compared) or was given the host's root on purpose.
    fn host_view(&self) -> Read<bool>;
    /// What only root may read, by way of the actuator.
    fn privileged(&self, query: &Query) -> Observed<Answer>;
    /// How well a file would compress: compressed size / size of up to three 64 KiB samples. Reads, writes nothing.
    fn compress_ratio(&self, path: &HostPath) -> Read<f64>;
    /// The node's DiskPressure condition, where `node_url` points at its Node object.
    fn node_disk_pressure(&self) -> Read<bool>;
    /// Of each service that `request_metrics` names, how many requests it has answered; none where none is named.
    fn request_counts(&self) -> Read<Vec<RequestCount>> {
        Ok(Vec::new())
    }
    /// `/proc/stat`.
    fn cpu_stat(&self) -> Read<CpuStat> {
        not_told("/proc/stat")
    }
    fn load(&self) -> Read<LoadAverage> {
        not_told("/proc/loadavg")
    }
    /// All of `/proc/meminfo`.
    fn memory(&self) -> Read<Vec<Counter>> {
        not_told("/proc/meminfo")
    }
    /// Of `/proc/vmstat` the out-of-memory kills, paging, swapping and page faults.
    fn vmstat(&self) -> Read<Vec<Counter>> {
        not_told("/proc/vmstat")
    }
    /// Microseconds in which no task of a CPU got on for interrupts; `NotHere` on kernels that do not count them.
    fn irq_stalled_us(&self) -> Read<u64> {
        not_told("/proc/pressure/irq")
    }
    /// `full` is zero on kernels that do not count it for a CPU.
    fn cpu_pressure(&self) -> Read<Pressure> {
        not_told("/proc/pressure/cpu")
    }
    fn memory_pressure(&self) -> Read<Pressure> {
        not_told("/proc/pressure/memory")
    }
    /// Network devices of the host, one entry a name.
    fn network(&self) -> Read<Vec<NetIo>> {
        not_told("/proc/net/dev")
    }
    /// What sysfs says of each; at most a thousand of them.
    fn interfaces(&self) -> Read<Vec<Interface>> {
        not_told("/sys/class/net")
    }
    fn file_handles(&self) -> Read<FileHandles> {
        not_told("/proc/sys/fs/file-nr")
    }
    /// `NotHere` where no connections are tracked.
    fn conntrack(&self) -> Read<Conntrack> {
        not_told("connection tracking")
    }
    fn clock_sync(&self) -> Read<ClockSync> {
        not_told("the kernel's clock")
    }
    fn identity(&self) -> Read<Identity> {
        not_told("identity")
    }
    /// `stat` of every process there is, and the `top` hottest and `top` largest of them by name.
    fn processes(&self, _top: usize) -> Read<Processes> {
        not_told("processes")
    }
    /// Control groups: how many, and the `top` hottest and `top` largest of them.
    fn cgroups(&self, _top: usize) -> Read<Cgroups> {
        not_told("cgroups")
    }
    /// One group with everything that is told of any, by its path below the hierarchy's root.
    fn group(&self, _path: &HostPath) -> Read<CgroupUse> {
        not_told("cgroups")
    }
    /// The processes of a group and of all below it, at most a thousand.
    fn group_processes(&self, _path: &HostPath) -> Read<Vec<u32>> {
        not_told("cgroups")
    }
    /// What systemd and its files say of one loaded unit.
    fn unit(&self, _name: &str) -> Read<UnitFacts> {
        not_told("systemd's units")
    }
    /// Asks systemd about a few units that are not needed yet, so that [`Self::unit_at_once`] need not. It waits a few seconds at most, and what
    /// is known of a unit of which systemd says nothing stays known.
    fn know_units(&self, _names: &[String]) {}
    /// As [`Self::unit`], without asking systemd where that is known: it was asked within the last 90 s, the unit was active with no job queued,
    /// is in the same run since, and systemd has read no unit files since. Consent is of this moment; limits, restarts, the main process, a job and
    /// whether somebody has begun to stop it are as old as the answer. So this is for looking, and for steps which systemd has no part in: it
    /// looks at none of this again before they are done. Else systemd is asked.
    fn unit_at_once(&self, name: &str) -> Read<UnitFacts> {
        self.unit(name)
    }
    /// Who a process is; `NotHere` when it is gone.
    fn process(&self, _pid: u32) -> Read<ProcessFacts> {
        not_told("processes")
    }
    /// What a process uses. Its memory is counted page by page, so only a few are asked; one in uninterruptible sleep is not.
    fn process_detail(&self, _pid: u32) -> Read<ProcessDetail> {
        not_told("processes")
    }
    /// What its runtime was told of its heap, by its arguments and a closed list of environment variables.
    fn heap_settings(&self, _pid: u32) -> Read<Vec<HeapSetting>> {
        not_told("processes")
    }
    /// What was installed, or marked as deployed, in the last `within` seconds; newest first, at most a hundred.
    fn deploys(&self, _within: Seconds) -> Read<Vec<Deploy>> {
        not_told("deploys")
    }
}

/// What a host that is not a whole one answers.
fn not_told<T>(what: &str) -> Read<T> {
    Err(ReadError::NotHere { what: what.to_owned(), why: "this host does not tell it".to_owned() })
}

/// What to look for in one walk.
#[derive(Debug, Clone)]
pub struct ScanAsk {
    /// Mount point, as in [`Mount::path`].
    pub mount: HostPath,
    pub device: u64,
    pub families: Vec<FamilyAsk>,
    /// How many directories and files to name.
    pub top: usize,
    /// Candidates kept per family; beyond it the largest (or, for `by_count`, any) are kept and the rest only counted.
    pub keep: usize,
    pub deadline: Duration,
    /// Wall clock of the walk, for ages.
    pub now: Now,
}
