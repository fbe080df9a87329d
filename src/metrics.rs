//! Every metric name, help and label. Counters start at 0, so that an alert on an increase works from the first scrape.
//! Filesystems carry node_exporter's names and meaning; our own series are `byteport_*`.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::model::{Bytes, EffectState, Outcome, RefusalReason, Sample, Signal};

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Gauges = Family<Labels, Gauge>;
type Reals = Family<Labels, Gauge<f64, std::sync::atomic::AtomicU64>>;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All series of the agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    samples: Counter,
    incidents: Counters,
    closed: Counters,
    steps: Counters,
    freed: Counters,
    refusals: Counters,
    signals: Gauges,
    stuck: Reals,
    actuator: Gauge,
    record_bytes: Gauge,
    filesystem: [Gauges; 6],
}

/// `node_filesystem_*`, in the order of [`Metrics::sample`].
const FILESYSTEM: [(&str, &str); 6] = [
    ("node_filesystem_size_bytes", "Filesystem size in bytes."),
    ("node_filesystem_free_bytes", "Filesystem free space in bytes."),
    ("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes."),
    ("node_filesystem_files", "Filesystem total file nodes."),
    ("node_filesystem_files_free", "Filesystem total free file nodes."),
    ("node_filesystem_readonly", "Filesystem read-only status."),
];

impl Metrics {
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::default();
        let build = Gauges::default();
        registry.register("byteport_build_info", "Constant 1, labelled with the version", build.clone());
        build.get_or_create(&vec![("version", version.to_owned())]).set(1);
        let mut counters = |name: &str, help: &str| {
            let family = Counters::default();
            registry.register(name, help, family.clone());
            family
        };
        let incidents = counters("byteport_incidents_opened", "Incidents opened, by runbook");
        let closed = counters("byteport_incidents_closed", "Incidents closed, by runbook and outcome");
        let steps = counters("byteport_steps", "Steps carried out, by runbook and how they ended");
        let freed = counters("byteport_freed_bytes", "Bytes that steps gave back, by runbook");
        let refusals = counters("byteport_refusals", "Steps that were not done, by reason");
        let samples = Counter::default();
        registry.register("byteport_samples", "Samples taken", samples.clone());
        let signals = Gauges::default();
        registry.register("byteport_signal_raised", "1 for each signal that is raised now", signals.clone());
        let stuck = Reals::default();
        registry.register("byteport_source_stuck_seconds", "How long a source has not answered", stuck.clone());
        let actuator = Gauge::default();
        registry.register("byteport_actuator_up", "1 when the actuator answered last time it was asked", actuator.clone());
        let record_bytes = Gauge::default();
        registry.register("byteport_record_size_bytes", "Bytes of the record's files", record_bytes.clone());
        let filesystem = FILESYSTEM.map(|(name, help)| {
            let family = Gauges::default();
            registry.register(name, help.trim_end_matches('.'), family.clone());
            family
        });
        let metrics =
            Self { registry, samples, incidents, closed, steps, freed, refusals, signals, stuck, actuator, record_bytes, filesystem };
        metrics.start_at_zero();
        metrics
    }

    fn start_at_zero(&self) {
        for reason in RefusalReason::ALL {
            self.refusals.get_or_create(&vec![("reason", reason.as_str().to_owned())]).inc_by(0);
        }
        for entry in crate::runbooks::ALL {
            let runbook = ("runbook", entry.id.to_string());
            self.incidents.get_or_create(&vec![runbook.clone()]).inc_by(0);
            self.freed.get_or_create(&vec![runbook.clone()]).inc_by(0);
            for outcome in Outcome::ALL {
                self.closed.get_or_create(&vec![runbook.clone(), ("outcome", outcome.as_str().to_owned())]).inc_by(0);
            }
            for state in ["done", "partial", "failed", "unknown"] {
                self.steps.get_or_create(&vec![runbook.clone(), ("outcome", state.to_owned())]).inc_by(0);
            }
        }
    }

    pub fn incident_opened(&self, runbook: &str) {
        self.incidents.get_or_create(&vec![("runbook", runbook.to_owned())]).inc();
    }

    pub fn incident_closed(&self, runbook: &str, outcome: Outcome) {
        self.closed.get_or_create(&vec![("runbook", runbook.to_owned()), ("outcome", outcome.as_str().to_owned())]).inc();
    }

    pub fn refused(&self, reason: RefusalReason) {
        self.refusals.get_or_create(&vec![("reason", reason.as_str().to_owned())]).inc();
    }

    pub fn step(&self, runbook: &str, state: EffectState, freed: Bytes) {
        let word = match state {
            EffectState::Done => "done",
            EffectState::Partial => "partial",
            EffectState::Failed => "failed",
        };
        self.steps.get_or_create(&vec![("runbook", runbook.to_owned()), ("outcome", word.to_owned())]).inc();
        self.freed.get_or_create(&vec![("runbook", runbook.to_owned())]).inc_by(freed.0);
    }

    pub fn step_unknown(&self, runbook: &str) {
        self.steps.get_or_create(&vec![("runbook", runbook.to_owned()), ("outcome", "unknown".to_owned())]).inc();
    }

    pub fn actuator_up(&self, up: bool) {
        self.actuator.set(i64::from(up));
    }

    pub fn record_bytes(&self, bytes: u64) {
        self.record_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Takes over one sample. A reading that is unavailable has no series: absent is not zero.
    pub fn sample(&self, sample: &Sample, raised: &[Signal], stuck: &std::collections::BTreeMap<String, f64>) {
        self.samples.inc();
        for family in &self.filesystem {
            family.clear();
        }
        for fs in sample.filesystems.value().into_iter().flatten() {
            let labels: Labels = vec![
                ("device", fs.mount.source.to_string()),
                ("fstype", fs.mount.fs_type.clone()),
                ("mountpoint", fs.mount.path.to_string()),
            ];
            let Some(usage) = fs.usage.value() else { continue };
            let values = [usage.total, usage.free, usage.available, usage.inodes, usage.inodes_free, u64::from(fs.mount.read_only)];
            for (family, value) in self.filesystem.iter().zip(values) {
                family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
        self.signals.clear();
        for signal in raised {
            let labels = vec![
                ("signal", signal.kind.to_string()),
                ("subject", signal.subject.to_string()),
                ("severity", signal.severity.as_str().to_owned()),
            ];
            self.signals.get_or_create(&labels).set(1);
        }
        self.stuck.clear();
        for (source, seconds) in stuck {
            self.stuck.get_or_create(&vec![("source", source.clone())]).set(*seconds);
        }
    }

    /// The exposition in OpenMetrics form.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail; a formatter that says otherwise has nothing to render.
        if encode(&mut out, &self.registry).is_err() {
            out.clear();
        }
        out
    }
}
