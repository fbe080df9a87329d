//! What a host says of itself at one moment, beside its filesystems: counters and gauges as the kernel keeps them, nothing derived.
//!
//! Times are in the kernel's own unit and named so; sizes are bytes. A part that could not be read is `Unavailable`, never zero.

use serde::{Deserialize, Serialize};

use super::{HostPath, Observed, Pressure};

/// All parts. Each has its own cadence: `age_s` of the value says how old it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readings {
    /// `/proc/stat`.
    pub cpu: Observed<CpuStat>,
    pub load: Observed<LoadAverage>,
    /// `/proc/meminfo`, every line of it, in the kernel's order.
    pub memory: Observed<Vec<Counter>>,
    /// `/proc/vmstat`: `oom_kill`, `pgpg*`, `pswp*` and the page faults.
    pub vmstat: Observed<Vec<Counter>>,
    pub cpu_pressure: Observed<Pressure>,
    pub memory_pressure: Observed<Pressure>,
    /// `/proc/pressure/irq`: microseconds in which no task of a CPU got on for interrupts.
    pub irq_stalled_us: Observed<u64>,
    pub network: Observed<Vec<NetIo>>,
    pub interfaces: Observed<Vec<Interface>>,
    pub file_handles: Observed<FileHandles>,
    pub conntrack: Observed<Conntrack>,
    pub clock: Observed<ClockSync>,
    pub identity: Observed<Identity>,
    pub processes: Observed<Processes>,
    pub cgroups: Observed<Cgroups>,
    pub units: Observed<Units>,
    pub kernel_log: Observed<KernelLog>,
    pub journal: Observed<JournalLog>,
    /// Of the services that were named for it; empty where none was.
    #[serde(default = "no_requests")]
    pub requests: Observed<Vec<RequestCount>>,
}

fn no_requests() -> Observed<Vec<RequestCount>> {
    Observed::unavailable("it was not recorded")
}

/// How many requests a service has answered since it counts, by its own word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestCount {
    pub unit: String,
    pub total: Observed<f64>,
}

/// A number with the kernel's name for it. Of `meminfo` the unit is bytes where the kernel prints `kB`, else a plain count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    pub name: Box<str>,
    pub value: u64,
    /// The kernel printed `kB`; `value` is bytes.
    pub is_bytes: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuStat {
    /// One entry a CPU that is online, in the kernel's order.
    pub cpus: Vec<CpuTimes>,
    /// Seconds since the epoch.
    pub boot_time_s: u64,
    pub context_switches: u64,
    pub forks: u64,
    pub interrupts: u64,
    pub running: u64,
    pub blocked: u64,
}

/// Clock ticks (`USER_HZ`, a hundredth of a second everywhere) since boot. Columns that an old kernel does not print are 0 there too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTimes {
    pub cpu: u32,
    pub user: u64,
    pub nice: u64,
    pub system: u64,
    pub idle: u64,
    pub iowait: u64,
    pub irq: u64,
    pub softirq: u64,
    pub steal: u64,
    pub guest: u64,
    pub guest_nice: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoadAverage {
    pub one: f64,
    pub five: f64,
    pub fifteen: f64,
}

/// One line of `/proc/net/dev`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetIo {
    pub device: Box<str>,
    pub receive_bytes: u64,
    pub receive_packets: u64,
    pub receive_errs: u64,
    pub receive_drop: u64,
    pub receive_fifo: u64,
    pub receive_frame: u64,
    pub receive_compressed: u64,
    pub receive_multicast: u64,
    pub transmit_bytes: u64,
    pub transmit_packets: u64,
    pub transmit_errs: u64,
    pub transmit_drop: u64,
    pub transmit_fifo: u64,
    pub transmit_colls: u64,
    pub transmit_carrier: u64,
    pub transmit_compressed: u64,
}

/// One network interface as sysfs describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub device: Box<str>,
    /// RFC 2863's: `up`, `down`, `unknown`, `dormant` …
    pub operstate: String,
    /// Somebody configured it to be up.
    pub wanted_up: bool,
    pub address: String,
    pub broadcast: String,
    pub alias: String,
    /// `full`, `half` or `unknown`; empty where it has none, or nobody has answered yet.
    pub duplex: String,
}

/// `/proc/sys/fs/file-nr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHandles {
    pub allocated: u64,
    pub maximum: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conntrack {
    pub entries: u64,
    pub limit: u64,
}

/// `adjtimex`: what the kernel believes of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClockSync {
    pub synchronised: bool,
    pub offset_s: f64,
    pub max_error_s: f64,
    pub estimated_error_s: f64,
}

/// What does not change until somebody installs something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub sysname: String,
    pub release: String,
    pub version: String,
    pub machine: String,
    pub nodename: String,
    pub domainname: String,
    /// `os-release`, key and value without quotes, in its order.
    pub os: Vec<(String, String)>,
}

/// One sweep over `/proc`: `stat` of every process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Processes {
    pub count: u64,
    pub threads: u64,
    /// By the kernel's letter, in a fixed order: `R S D Z T t W X x K P I`, as far as met.
    pub states: Vec<(char, u64)>,
    /// `/proc/sys/kernel/pid_max` and `threads-max`.
    pub max_processes: u64,
    pub max_threads: u64,
    /// The hottest by CPU since the sweep before, and the largest by resident memory: at most as many of each as were asked for.
    pub top: Vec<ProcessUse>,
    /// Went away between being listed and being read: normal.
    pub vanished: u64,
    /// Listed, but not ours to read, or not understood; not part of the figures above.
    pub unreadable: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessUse {
    pub pid: u32,
    /// Clock ticks since boot: with the pid, who it is.
    pub start_ticks: u64,
    /// Any bytes; shown with what cannot be printed quoted.
    pub comm: HostPath,
    pub state: char,
    /// Ticks of CPU since it started.
    pub cpu_ticks: u64,
    /// Share of one CPU since the sweep before, 0..100 per CPU; `None` for one met for the first time.
    pub cpu_percent: Option<f64>,
    pub rss_bytes: u64,
    pub threads: u64,
}

/// Which hierarchy the figures are from, and the groups that use most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cgroups {
    pub version: CgroupVersion,
    /// How many there are, the hierarchy's own root not counted.
    pub count: u64,
    /// The hottest by CPU since the sweep before, the largest by memory, those nearest to their memory limit, and those that their CPU quota held
    /// back most since the sweep before: at most as many of each as were asked for. A group above others
    /// holds the sum of them, so it is here only if it holds none or has a memory limit of its own.
    pub top: Vec<CgroupUse>,
    /// Met and not looked at, with all below them: too many, too deep, or no time left.
    pub cut: u64,
    /// Of which a file could not be read or understood: that figure is missing.
    pub unreadable: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupVersion {
    V1,
    Hybrid,
    V2,
}

/// One group. What its controllers do not count is `None`, which is not zero; a limit that is not set is `None` as well.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CgroupUse {
    /// Below the hierarchy's root: `/system.slice/nginx.service`.
    pub path: HostPath,
    pub memory_bytes: Option<u64>,
    pub memory_max_bytes: Option<u64>,
    pub memory_high_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
    pub cpu_usage_us: Option<u64>,
    pub throttled_us: Option<u64>,
    pub throttled_periods: Option<u64>,
    /// Periods of its CPU quota in which it had something to do.
    #[serde(default)]
    pub periods: Option<u64>,
    /// `memory.current` without the file pages that nobody has used lately; told only near a limit.
    #[serde(default)]
    pub working_set_bytes: Option<u64>,
    /// How often it was held back at `memory.high`, and at `memory.max`.
    #[serde(default)]
    pub high_events: Option<u64>,
    #[serde(default)]
    pub max_events: Option<u64>,
    #[serde(default)]
    pub swap_bytes: Option<u64>,
    /// Share of one CPU since the sweep before, 0..100 per CPU.
    pub cpu_percent: Option<f64>,
    pub pids: Option<u64>,
    pub pids_max: Option<u64>,
    pub memory_pressure: Option<Pressure>,
    pub cpu_pressure: Option<Pressure>,
    pub io_pressure: Option<Pressure>,
}

/// systemd's units, kept up to date by its own signals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Units {
    /// `running`, `degraded`, `starting`, `stopping`, `maintenance` …
    pub system_state: String,
    /// `252.39-1~deb12u1`, and `kvm` or empty for none, where systemd says it.
    pub version: Option<String>,
    pub virtualization: Option<String>,
    pub units: Vec<UnitState>,
    /// Names that others refer to and that are not installed, or that are masked: no units, and systemd lists them as inactive.
    pub not_loaded: u64,
    /// Units that failed, since the last sample that was taken over.
    pub newly_failed: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    pub name: String,
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active: String,
    pub sub: String,
    /// `Type=` of a service; empty else or while it is not known.
    pub kind: String,
    /// `NRestarts` of a service.
    pub restarts: Option<u32>,
    /// When a timer last elapsed, in microseconds of Unix time; 0: not yet.
    pub last_trigger_us: Option<u64>,
    /// Connections of a socket unit that has an instance for each: all that were accepted, those there are now, those refused.
    pub accepted: Option<u32>,
    pub connections: Option<u32>,
    pub refused: Option<u32>,
}

/// What `/dev/kmsg` told since this program began to listen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelLog {
    /// Lines that were read, and lines that the kernel dropped before they could be.
    pub lines: u64,
    pub dropped: u64,
    /// How often each kind was met, every kind listed.
    pub counts: Vec<(KernelEventKind, u64)>,
    /// The latest events, oldest first, at most a fixed number of them.
    pub recent: Vec<KernelEvent>,
}

/// What the journal told of the units that are followed, since this program began to listen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLog {
    pub told: u64,
    /// Asked for, and not kept.
    pub dropped: u64,
    /// How often a place in the journal had to be given up: what was missed then is not known.
    pub gaps: u64,
    /// The latest entries, oldest first, at most a fixed number of them.
    pub recent: Vec<JournalEntry>,
}

/// One entry of the journal that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// When journald took it, by the wall clock; `None` where the journal does not say.
    pub at: Option<jiff::Timestamp>,
    /// Empty for what belongs to none.
    pub unit: String,
    /// syslog's, 0 (emergency) to 7 (debug).
    pub priority: Option<u8>,
    /// Any text, of anybody: to be quoted where it is shown. Cut to 4 KiB.
    pub message: String,
    pub message_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelEvent {
    pub kind: KernelEventKind,
    /// The kernel's sequence number: no event is told twice.
    pub seq: u64,
    /// Boot clock, microseconds.
    pub at_us: u64,
    /// What it is about: victim, device, filesystem.
    pub subject: String,
    /// Of an out-of-memory kill, and of a hung task.
    pub pid: Option<u32>,
    /// Of an out-of-memory kill, where the kernel says it.
    pub cgroup: Option<HostPath>,
    /// The line itself, cut to a fixed length.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelEventKind {
    OomKill,
    MachineCheck,
    HungTask,
    IoError,
    FilesystemError,
}

impl KernelEventKind {
    pub const ALL: [Self; 5] = [Self::OomKill, Self::MachineCheck, Self::HungTask, Self::IoError, Self::FilesystemError];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OomKill => "oom_kill",
            Self::MachineCheck => "machine_check",
            Self::HungTask => "hung_task",
            Self::IoError => "io_error",
            Self::FilesystemError => "filesystem_error",
        }
    }
}

impl Readings {
    /// Nothing was read, for one reason.
    pub fn none(why: &str) -> Self {
        macro_rules! none {
            ($($part:ident),*) => { Self { $($part: Observed::unavailable(why)),* } };
        }
        none!(
            cpu,
            load,
            memory,
            vmstat,
            cpu_pressure,
            memory_pressure,
            irq_stalled_us,
            network,
            interfaces,
            file_handles,
            conntrack,
            clock,
            identity,
            processes,
            cgroups,
            units,
            kernel_log,
            journal,
            requests
        )
    }
}
