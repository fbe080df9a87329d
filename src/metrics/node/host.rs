//! What is there once a host: its clock, its names, its tables, its processes.

use crate::metrics::exposition::{Exposition, Kind, Labels, Number};
use crate::model::{Identity, Processes, Sample};

/// node_exporter's labels of `node_os_info`, each a key of `os-release` in small letters.
const OS: &[&str] = &[
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];

pub(super) fn write(to: &mut Exposition, sample: &Sample) {
    let readings = &sample.readings;
    let wall = u64::try_from(sample.at.wall.as_millisecond()).unwrap_or(0);
    to.single("node_time_seconds", Kind::Gauge, "The wall clock when the sample was taken, as Unix time.", Number::Scaled(wall, 3));
    if let Some(clock) = readings.clock.value() {
        to.single("node_timex_sync_status", Kind::Gauge, "1 when the clock is kept by a time server.", clock.synchronised);
        to.single("node_timex_offset_seconds", Kind::Gauge, "How far the clock is off its time server.", clock.offset_s);
        to.single("node_timex_maxerror_seconds", Kind::Gauge, "How far off the clock may be at most.", clock.max_error_s);
        to.single("node_timex_estimated_error_seconds", Kind::Gauge, "How far off the clock probably is.", clock.estimated_error_s);
    }
    if let Some(identity) = readings.identity.value() {
        write_identity(to, identity);
    }
    if let Some(files) = readings.file_handles.value() {
        to.single("node_filefd_allocated", Kind::Gauge, "File handles in use.", files.allocated);
        to.single("node_filefd_maximum", Kind::Gauge, "File handles that there may be.", files.maximum);
    }
    if let Some(conntrack) = readings.conntrack.value() {
        to.single("node_nf_conntrack_entries", Kind::Gauge, "Connections that are tracked.", conntrack.entries);
        to.single("node_nf_conntrack_entries_limit", Kind::Gauge, "Connections that can be tracked.", conntrack.limit);
    }
    if let Some(processes) = readings.processes.value() {
        write_processes(to, processes);
    }
}

fn write_identity(to: &mut Exposition, identity: &Identity) {
    let uname = Labels::new(&[
        ("domainname", &identity.domainname),
        ("machine", &identity.machine),
        ("nodename", &identity.nodename),
        ("release", &identity.release),
        ("sysname", &identity.sysname),
        ("version", &identity.version),
    ]);
    to.family("node_uname_info", Kind::Gauge, "Constant 1: what uname says.").series(&uname, true);
    let mut os = Labels::default();
    for name in OS {
        let value = identity.os.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value);
        os.push(name, value);
    }
    if !identity.os.is_empty() {
        to.family("node_os_info", Kind::Gauge, "Constant 1: what os-release says.").series(&os, true);
    }
}

fn write_processes(to: &mut Exposition, processes: &Processes) {
    to.single("node_processes_pids", Kind::Gauge, "Processes.", processes.count);
    to.single("node_processes_threads", Kind::Gauge, "Threads of all processes.", processes.threads);
    to.single("node_processes_max_processes", Kind::Gauge, "The largest pid.", processes.max_processes);
    to.single("node_processes_max_threads", Kind::Gauge, "Threads that there may be.", processes.max_threads);
    let mut family = to.family("node_processes_state", Kind::Gauge, "Processes in each state, by the kernel's letter.");
    for (state, count) in &processes.states {
        family.series(&Labels::new(&[("state", state.encode_utf8(&mut [0; 4]))]), *count);
    }
}
