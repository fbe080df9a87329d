//! One sample from many sources, none of which can hold up the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::filesystems::{self, DiskMap};
use crate::host::deadline::{Ask, Parked, Parking};
use crate::host::{Read, ReadHost};
use crate::model::{DiskIo, FsSample, Now, Observed, Pressure, Readings, Sample, WriteTrial};

/// Longer than a host takes to find out that a mount hangs.
const DEADLINE: Duration = Duration::from_secs(4);
/// kubelet itself decides about conditions every ten seconds; asking is a request over the network.
const NODE_EVERY_S: f64 = 30.0;
/// A trial is a write that reaches the disk.
const WRITES_EVERY_S: f64 = 60.0;

/// Takes samples. Each source keeps its own state: what it said last, and since when it has not answered.
pub struct Sampler {
    host: Arc<dyn ReadHost>,
    parking: Arc<Parking>,
    disk_map: Arc<DiskMap>,
    node: Option<(Now, Observed<bool>)>,
    writes: Option<(Now, Observed<Vec<WriteTrial>>)>,
    stuck: BTreeMap<String, f64>,
}

enum Reading {
    Filesystems(Read<Vec<FsSample>>),
    Disks(Read<Vec<DiskIo>>),
    Pressure(Read<Pressure>),
    Node(Read<bool>),
    Writes(Read<Vec<WriteTrial>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Filesystems,
    Disks,
    Pressure,
    Node,
    Writes,
}

impl Source {
    /// In the order in which they are asked.
    const ALL: [Self; 5] = [Self::Filesystems, Self::Disks, Self::Pressure, Self::Node, Self::Writes];

    const fn name(self) -> &'static str {
        match self {
            Self::Filesystems => "filesystems",
            Self::Disks => "disks",
            Self::Pressure => "pressure",
            Self::Node => "node",
            Self::Writes => "writes",
        }
    }
}

impl Sampler {
    pub fn new(host: Arc<dyn ReadHost>) -> Self {
        Self { host, parking: Arc::default(), disk_map: Arc::default(), node: None, writes: None, stuck: BTreeMap::new() }
    }

    /// Looks at the host now. Blocks, but never for longer than a few seconds, and only when something has begun to hang.
    pub fn sample(&mut self) -> Sample {
        let at = self.host.now();
        let due = |last: Option<&Now>, every_s| last.and_then(|then| at.steady_since(then)).is_none_or(|s| s >= every_s);
        let node_due = due(self.node.as_ref().map(|(then, _)| then), NODE_EVERY_S);
        let writes_due = due(self.writes.as_ref().map(|(then, _)| then), WRITES_EVERY_S);
        let is_due = |source: &Source| match source {
            Source::Node => node_due,
            Source::Writes => writes_due,
            Source::Filesystems | Source::Disks | Source::Pressure => true,
        };
        let asked: Vec<Source> = Source::ALL.into_iter().filter(is_due).collect();
        let asks = asked.iter().map(|s| self.ask(*s)).collect();
        let mut sample = Sample {
            at,
            filesystems: not_asked(),
            disks: not_asked(),
            io_pressure: not_asked(),
            node_disk_pressure: not_asked(),
            readings: Readings::none("not asked"),
        };
        self.stuck.clear();
        for (answer, source) in self.parking.ask_all(asks, DEADLINE).into_iter().zip(asked) {
            match answer {
                Ok(Reading::Filesystems(read)) => sample.filesystems = read.into(),
                Ok(Reading::Disks(read)) => sample.disks = read.into(),
                Ok(Reading::Pressure(read)) => sample.io_pressure = read.into(),
                Ok(Reading::Node(read)) => self.node = Some((sample.at.clone(), read.into())),
                Ok(Reading::Writes(read)) => self.writes = Some((sample.at.clone(), read.into())),
                Err(parked) => self.note(&mut sample, source, parked),
            }
        }
        if let Some((then, condition)) = &self.node {
            let age_s = sample.at.steady_since(then).unwrap_or(0.0);
            sample.node_disk_pressure = match condition {
                Observed::Value { value, .. } => Observed::Value { value: *value, age_s },
                Observed::Unavailable { why } => Observed::unavailable(why.as_str()),
            };
        }
        self.take_over_trials(&mut sample);
        for fs in sample.filesystems.value().into_iter().flatten() {
            if let Some(for_s) = fs.stuck_for_s {
                self.stuck.insert(format!("mount {}", fs.mount.path), for_s);
            }
        }
        sample
    }

    fn take_over_trials(&self, sample: &mut Sample) {
        let (Observed::Value { value: filesystems, .. }, Some((then, tried))) = (&mut sample.filesystems, &self.writes) else { return };
        let age_s = sample.at.steady_since(then).unwrap_or(0.0);
        for trial in tried.value().into_iter().flatten() {
            let Observed::Value { value, .. } = trial.accepted else { continue };
            for fs in filesystems.iter_mut().filter(|fs| fs.mount.device == trial.device) {
                fs.takes_writes = Observed::Value { value, age_s };
            }
        }
    }

    /// Sources and mounts that have not answered, as of the last sample, and for how many seconds.
    pub fn stuck(&self) -> BTreeMap<String, f64> {
        self.stuck.clone()
    }

    fn ask(&self, source: Source) -> Ask<Reading> {
        let (host, disk_map) = (Arc::clone(&self.host), Arc::clone(&self.disk_map));
        Ask::new(source.name(), move || match source {
            Source::Filesystems => Reading::Filesystems(filesystems::look(&*host, &disk_map)),
            Source::Disks => Reading::Disks(host.disk_io()),
            Source::Pressure => Reading::Pressure(host.io_pressure()),
            Source::Node => Reading::Node(host.node_disk_pressure()),
            Source::Writes => Reading::Writes(host.write_trials()),
        })
    }

    /// A source gave nothing.
    fn note(&mut self, sample: &mut Sample, source: Source, parked: Parked) {
        let name = source.name();
        let why = match parked {
            Parked::NotAnswered { for_s } => {
                self.stuck.insert(name.to_owned(), for_s);
                format!("{name} has not answered for {for_s:.1} s")
            }
            Parked::NotAsked { parked } => format!("{name} was not asked: {parked} other reads hang already"),
        };
        match source {
            Source::Filesystems => sample.filesystems = Observed::unavailable(why),
            Source::Disks => sample.disks = Observed::unavailable(why),
            Source::Pressure => sample.io_pressure = Observed::unavailable(why),
            Source::Node => self.node = Some((sample.at.clone(), Observed::unavailable(why))),
            Source::Writes => self.writes = Some((sample.at.clone(), Observed::unavailable(why))),
        }
    }
}

fn not_asked<T>() -> Observed<T> {
    Observed::unavailable("not asked")
}
