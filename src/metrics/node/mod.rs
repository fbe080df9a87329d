//! `node_*`: what node_exporter measures too, under its names, with its labels, types and values, so that dashboards and alerts made
//! for it work. The contract is what its mixin reads. What could not be read has no series: absent is not zero.

mod cpu;
mod disk;
mod filesystem;
mod host;
mod memory;
mod network;
mod systemd;

use super::exposition::{Exposition, Kind, Labels};
use crate::model::{Sample, SourceState};

/// Renders samples; remembers of the one before only what keeps a counter from going back.
#[derive(Debug, Default)]
pub(super) struct Node {
    cpus: cpu::Steady,
}

impl Node {
    pub(super) fn write(&mut self, to: &mut Exposition, sample: &Sample, sources: &[SourceState]) {
        let readings = &sample.readings;
        if let Some(stat) = readings.cpu.value() {
            cpu::write(to, stat, &mut self.cpus);
        }
        if let Some(load) = readings.load.value() {
            cpu::write_load(to, load);
        }
        if let Some(fields) = readings.memory.value() {
            memory::write(to, fields);
        }
        if let Some(fields) = readings.vmstat.value() {
            memory::write_vmstat(to, fields);
        }
        memory::write_pressure(to, readings.cpu_pressure.value(), sample.io_pressure.value(), readings.memory_pressure.value());
        if let Some(stalled_us) = readings.irq_stalled_us.value() {
            memory::write_irq_pressure(to, *stalled_us);
        }
        if let Some(disks) = sample.disks.value() {
            disk::write(to, disks);
        }
        if let Some(devices) = readings.network.value() {
            network::write(to, devices);
        }
        if let Some(interfaces) = readings.interfaces.value() {
            network::write_interfaces(to, interfaces);
        }
        if let Some(filesystems) = sample.filesystems.value() {
            filesystem::write(to, filesystems);
        }
        host::write(to, sample);
        if let Some(units) = readings.units.value() {
            systemd::write(to, units);
        }
        write_collectors(to, sources);
    }
}

/// How node_exporter's collectors fared, for its own alert; ours are called sources.
fn write_collectors(to: &mut Exposition, sources: &[SourceState]) {
    let collectors = || sources.iter().flat_map(|s| s.collectors.iter().map(move |c| (s, Labels::new(&[("collector", c)]))));
    let mut family = to.family("node_scrape_collector_duration_seconds", Kind::Gauge, "How long the last reading took.");
    for (source, labels) in collectors() {
        if let Some(duration) = source.duration_s {
            family.series(&labels, duration);
        }
    }
    let mut family = to.family("node_scrape_collector_success", Kind::Gauge, "1 when the last reading succeeded.");
    for (source, labels) in collectors() {
        family.series(&labels, source.success);
    }
}
