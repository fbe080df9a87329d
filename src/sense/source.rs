//! The sources of a sample: how often each is asked, and how the last asking went.

use crate::host::{Read, ReadError};
use crate::model::{Observed, SourceState};

/// Everything that is read, in the order in which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Filesystems,
    Disks,
    Cpu,
    Load,
    Memory,
    Vmstat,
    Pressure,
    Network,
    Interfaces,
    FileHandles,
    Conntrack,
    Clock,
    Identity,
    Processes,
    Cgroups,
    Units,
    KernelLog,
    Journal,
    Node,
    Writes,
    Requests,
}

impl Source {
    pub const ALL: [Self; 21] = [
        Self::Filesystems,
        Self::Disks,
        Self::Cpu,
        Self::Load,
        Self::Memory,
        Self::Vmstat,
        Self::Pressure,
        Self::Network,
        Self::Interfaces,
        Self::FileHandles,
        Self::Conntrack,
        Self::Clock,
        Self::Identity,
        Self::Processes,
        Self::Cgroups,
        Self::Units,
        Self::KernelLog,
        Self::Journal,
        Self::Node,
        Self::Writes,
        Self::Requests,
    ];

    /// In metrics, `status` and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filesystems => "filesystems",
            Self::Disks => "disks",
            Self::Cpu => "cpu",
            Self::Load => "load",
            Self::Memory => "memory",
            Self::Vmstat => "vmstat",
            Self::Pressure => "pressure",
            Self::Network => "network",
            Self::Interfaces => "interfaces",
            Self::FileHandles => "file_handles",
            Self::Conntrack => "conntrack",
            Self::Clock => "clock",
            Self::Identity => "identity",
            Self::Processes => "processes",
            Self::Cgroups => "cgroups",
            Self::Units => "units",
            Self::KernelLog => "kernel_log",
            Self::Journal => "journal",
            Self::Node => "node",
            Self::Writes => "writes",
            Self::Requests => "requests",
        }
    }

    /// What node_exporter calls the collectors that read the same.
    const fn collectors(self) -> &'static [&'static str] {
        match self {
            Self::Filesystems => &["filesystem"],
            Self::Disks => &["diskstats"],
            Self::Cpu => &["cpu", "stat"],
            Self::Load => &["loadavg"],
            Self::Memory => &["meminfo"],
            Self::Vmstat => &["vmstat"],
            Self::Pressure => &["pressure"],
            Self::Network => &["netdev"],
            Self::Interfaces => &["netclass"],
            Self::FileHandles => &["filefd"],
            Self::Conntrack => &["conntrack"],
            Self::Clock => &["timex"],
            Self::Identity => &["uname", "os"],
            Self::Processes => &["processes"],
            Self::Units => &["systemd"],
            Self::Cgroups | Self::KernelLog | Self::Journal | Self::Node | Self::Writes | Self::Requests => &[],
        }
    }

    /// Seconds between two askings, for a sample every `sample_s` seconds. What changes slowly or costs more is asked less often.
    pub const fn interval_s(self, sample_s: f64) -> f64 {
        match self {
            Self::Conntrack | Self::Clock | Self::Cgroups | Self::Units => 3.0 * sample_s,
            Self::Processes | Self::Interfaces => 6.0 * sample_s,
            // kubelet itself decides about conditions every ten seconds; asking is a request over the network.
            Self::Node => 30.0,
            // A request over the network, too; its mean over a minute is kept.
            Self::Requests => 30.0,
            // A trial is a write that reaches the disk.
            Self::Writes => 60.0,
            Self::Identity => 3600.0,
            _ => sample_s,
        }
    }

    /// Over the network, or a write: asked on a thread of its own.
    pub const fn is_slow(self) -> bool {
        matches!(self, Self::Node | Self::Writes | Self::Requests)
    }

    /// Cheap, and asked with every sample.
    pub const fn is_of_every_sample(self) -> bool {
        self.interval_s(1.0) <= 1.0
    }

    /// Tells how memory stands now: a file or two of the kernel's, that cannot hang.
    pub const fn is_of_memory(self) -> bool {
        matches!(self, Self::Memory | Self::Vmstat | Self::Pressure)
    }

    /// Asked at once when something happened: who it was is seen only while it lasts.
    pub const fn is_sweep(self) -> bool {
        matches!(self, Self::Processes | Self::Cgroups | Self::Units)
    }
}

/// How one source fares. Times are on the boot clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Track {
    pub asked_at_s: Option<f64>,
    value_at_s: Option<f64>,
    pub duration_s: Option<f64>,
    succeeded: bool,
}

impl Track {
    /// Due a little early, so that a pause that ends a moment too soon does not cost a whole interval.
    pub fn is_due(&self, interval_s: f64, now_s: f64) -> bool {
        self.asked_at_s.is_none_or(|then| now_s - then >= interval_s * 0.9)
    }

    /// Enters a reading that was taken at `now_s` and took `duration_s`.
    pub fn enter<T>(&mut self, read: Read<T>, now_s: f64, duration_s: f64) -> Observed<T> {
        self.asked_at_s = Some(now_s);
        self.duration_s = Some(duration_s);
        // What this host does not have is told as that, and is no failure of ours.
        self.succeeded = matches!(&read, Ok(_) | Err(ReadError::NotHere { .. }));
        self.value_at_s = read.is_ok().then_some(now_s);
        read.into()
    }

    /// How old the value that is shown has become.
    pub fn age_s(&self, now_s: f64) -> Option<f64> {
        self.value_at_s.map(|then| (now_s - then).max(0.0))
    }

    pub fn state(&self, source: Source, interval_s: f64, now_s: f64, stuck_s: Option<f64>) -> SourceState {
        SourceState {
            name: source.name().into(),
            collectors: source.collectors(),
            interval_s: Some(interval_s),
            duration_s: self.duration_s,
            success: self.succeeded,
            age_s: self.age_s(now_s),
            stuck_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_no_interval_is_shorter_than_the_sample() {
        let names: std::collections::BTreeSet<_> = Source::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(names.len(), Source::ALL.len());
        assert!(Source::ALL.iter().all(|s| s.interval_s(5.0) >= 5.0));
    }

    #[test]
    fn a_failure_has_no_value_and_what_is_not_here_is_no_failure() {
        let mut track = Track::default();
        assert!(track.is_due(5.0, 100.0));
        assert_eq!(track.enter(Ok(7), 100.0, 0.1), Observed::fresh(7));
        assert!(!track.is_due(5.0, 104.0) && track.is_due(5.0, 104.6));
        assert_eq!(track.age_s(103.0), Some(3.0));
        let missing = ReadError::NotHere { what: "conntrack".into(), why: "no module".into() };
        assert!(track.enter::<u8>(Err(missing), 105.0, 0.1).value().is_none());
        assert_eq!((track.succeeded, track.age_s(106.0)), (true, None));
        track.enter::<u8>(Err(ReadError::Parse { what: "/proc/stat".into(), why: "cut off".into() }), 110.0, 0.1);
        assert!(!track.succeeded);
    }
}
