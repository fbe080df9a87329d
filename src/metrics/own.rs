//! `byteport_*`: what the agent says of itself. Counters are there at 0 from the start, so that an alert on an increase works from the
//! first scrape.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Kind, Labels, Number};
use crate::model::{
    Bytes, CollectorLink, EffectState, JournalLog, KernelLog, Now, Outcome, RefusalReason, Severity, Signal, SourceState, Verdict,
};
use crate::runbooks;

/// What the agent knows of itself at the time of a sample.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    pub raised: &'a [Signal],
    pub sources: &'a [SourceState],
    /// By how much intervals are longer than configured, to stay within the budget: 1 is not at all.
    pub stretch: f64,
    /// Subjects that are left alone because something was done to them.
    pub cooldowns: u64,
    pub psi_mode: &'a str,
    /// Bytes on disk of everything in the state folder.
    pub state_bytes: u64,
    pub kernel_log: Option<&'a KernelLog>,
    pub journal: Option<&'a JournalLog>,
    /// The configuration wants steps to be done, whatever keeps them from it.
    pub acting: bool,
    /// Where this host has one.
    pub collector: Option<&'a CollectorLink>,
}

const STEP_OUTCOMES: [&str; 4] = ["done", "partial", "failed", "unknown"];
const VERDICTS: [&str; 3] = ["resolved", "not_resolved", "unknown"];

/// What is counted from one event to the next.
#[derive(Debug)]
pub(super) struct Counts {
    samples: u64,
    opened: BTreeMap<String, u64>,
    escalated: BTreeMap<String, u64>,
    closed: BTreeMap<(String, &'static str), u64>,
    steps: BTreeMap<(String, &'static str), u64>,
    freed: BTreeMap<String, u64>,
    refusals: BTreeMap<&'static str, u64>,
    pub(super) actuator_up: bool,
    verified: Option<(Now, &'static str)>,
}

impl Counts {
    pub(super) fn at_zero() -> Self {
        let runbooks = || runbooks::ALL.iter().map(|entry| entry.id.to_string());
        let each = |words: &[&'static str]| runbooks().flat_map(|r| words.iter().map(move |w| ((r.clone(), *w), 0))).collect();
        Self {
            samples: 0,
            opened: runbooks().map(|r| (r, 0)).collect(),
            escalated: runbooks().map(|r| (r, 0)).collect(),
            closed: each(&Outcome::ALL.map(Outcome::as_str)),
            steps: each(&STEP_OUTCOMES),
            freed: runbooks().map(|r| (r, 0)).collect(),
            refusals: RefusalReason::ALL.iter().map(|reason| (reason.as_str(), 0)).collect(),
            actuator_up: false,
            verified: None,
        }
    }

    pub(super) fn sampled(&mut self) {
        self.samples += 1;
    }

    pub(super) fn incident_opened(&mut self, runbook: &str) {
        *self.opened.entry(runbook.to_owned()).or_default() += 1;
    }

    pub(super) fn escalated(&mut self, runbook: &str) {
        *self.escalated.entry(runbook.to_owned()).or_default() += 1;
    }

    pub(super) fn incident_closed(&mut self, runbook: &str, outcome: Outcome) {
        *self.closed.entry((runbook.to_owned(), outcome.as_str())).or_default() += 1;
    }

    pub(super) fn refused(&mut self, reason: RefusalReason) {
        *self.refusals.entry(reason.as_str()).or_default() += 1;
    }

    /// `None`: how it ended is not known.
    pub(super) fn step(&mut self, runbook: &str, ended: Option<(EffectState, Bytes)>) {
        let word = match ended {
            Some((EffectState::Done, _)) => "done",
            Some((EffectState::Partial, _)) => "partial",
            Some((EffectState::Failed, _)) => "failed",
            None => "unknown",
        };
        *self.steps.entry((runbook.to_owned(), word)).or_default() += 1;
        if let Some((_, Bytes(freed))) = ended {
            let sum = self.freed.entry(runbook.to_owned()).or_default();
            *sum = sum.saturating_add(freed);
        }
    }

    pub(super) fn verified(&mut self, at: &Now, verdict: &Verdict) {
        let word = match verdict {
            Verdict::Resolved { .. } => "resolved",
            Verdict::NotResolved { .. } => "not_resolved",
            Verdict::Unknown { .. } => "unknown",
        };
        self.verified = Some((at.clone(), word));
    }

    /// Needs no sample.
    pub(super) fn write(&self, to: &mut Exposition, version: &str) {
        let build = Labels::new(&[("version", version)]);
        to.family("byteport_build_info", Kind::Gauge, "Constant 1, labelled with the version.").series(&build, true);
        to.single("byteport_samples_total", Kind::Counter, "Samples taken.", self.samples);
        by_runbook(to, "byteport_incidents_opened_total", "Incidents opened, by runbook.", &self.opened);
        let told = "Times that a person was told, by runbook: at the end of an incident, or in the middle of one that goes on.";
        by_runbook(to, "byteport_escalations_total", told, &self.escalated);
        by_outcome(to, "byteport_incidents_closed_total", "Incidents closed, by runbook and outcome.", &self.closed);
        by_outcome(to, "byteport_steps_total", "Steps carried out, by runbook and how they ended.", &self.steps);
        by_runbook(to, "byteport_freed_bytes_total", "Bytes that steps gave back, by runbook.", &self.freed);
        let mut labels = Labels::default();
        let mut family = to.family("byteport_refusals_total", Kind::Counter, "Steps that were not done, by reason.");
        for (reason, count) in &self.refusals {
            family.series(labels.set(&[("reason", reason)]), *count);
        }
        to.single("byteport_actuator_up", Kind::Gauge, "1 when the actuator answered last time it was asked.", self.actuator_up);
        if let Some((at, verdict)) = &self.verified {
            let seconds = Number::Scaled(u64::try_from(at.wall.as_millisecond()).unwrap_or(0), 3);
            to.single("byteport_last_verify_timestamp_seconds", Kind::Gauge, "When an act was last verified, as Unix time.", seconds);
            let mut family = to.family("byteport_last_verify_verdict", Kind::Gauge, "1 for what the last verification found.");
            for word in VERDICTS {
                family.series(labels.set(&[("verdict", word)]), word == *verdict);
            }
        }
    }
}

fn by_runbook(to: &mut Exposition, name: &str, help: &str, counts: &BTreeMap<String, u64>) {
    let mut labels = Labels::default();
    let mut family = to.family(name, Kind::Counter, help);
    for (runbook, count) in counts {
        family.series(labels.set(&[("runbook", runbook)]), *count);
    }
}

fn by_outcome(to: &mut Exposition, name: &str, help: &str, counts: &BTreeMap<(String, &'static str), u64>) {
    let mut labels = Labels::default();
    let mut family = to.family(name, Kind::Counter, help);
    for ((runbook, outcome), count) in counts {
        family.series(labels.set(&[("outcome", outcome), ("runbook", runbook)]), *count);
    }
}

impl Own<'_> {
    pub(super) fn write(&self, to: &mut Exposition) {
        self.write_signals(to);
        self.write_sources(to);
        to.single("byteport_budget_stretch_ratio", Kind::Gauge, "By how much sampling is slowed to stay within its budget.", self.stretch);
        to.single("byteport_cooldowns_active", Kind::Gauge, "Subjects that are left alone after an act.", self.cooldowns);
        let mode = Labels::new(&[("mode", self.psi_mode)]);
        to.family("byteport_psi_mode", Kind::Gauge, "1 for how pressure is watched.").series(&mode, true);
        to.single("byteport_state_bytes", Kind::Gauge, "Bytes on disk of everything in the state folder.", self.state_bytes);
        if let Some(log) = self.kernel_log {
            let mut labels = Labels::default();
            let mut family = to.family("byteport_kernel_events_total", Kind::Counter, "Events found in the kernel's log, by kind.");
            for (kind, count) in &log.counts {
                family.series(labels.set(&[("kind", kind.as_str())]), *count);
            }
            to.single("byteport_kernel_log_lines_total", Kind::Counter, "Lines of the kernel's log that were read.", log.lines);
            let help = "Lines of the kernel's log that were gone before they could be read.";
            to.single("byteport_kernel_log_lines_dropped_total", Kind::Counter, help, log.dropped);
        }
        if let Some(log) = self.journal {
            to.single("byteport_journal_entries_total", Kind::Counter, "Entries of the journal that were asked for.", log.told);
            to.single("byteport_journal_dropped_total", Kind::Counter, "Entries that were asked for and not kept.", log.dropped);
        }
        to.single("byteport_acting", Kind::Gauge, "1 when the configuration wants steps to be done.", self.acting);
        if let Some(link) = self.collector {
            write_collector(link, to);
        }
    }

    fn write_signals(&self, to: &mut Exposition) {
        let mut labels = Labels::default();
        let mut family = to.family("byteport_signals", Kind::Gauge, "Subjects for which a signal is raised, by kind and state.");
        for signal in runbooks::ALL.iter().flat_map(|entry| entry.signals) {
            for severity in [Severity::Warning, Severity::Critical] {
                let count = self.raised.iter().filter(|s| s.kind.0 == signal.name && s.severity == severity).count();
                family.series(labels.set(&[("signal", signal.name), ("state", severity.as_str())]), count as u64);
            }
        }
        let mut family = to.family("byteport_signal_raised", Kind::Gauge, "1 for each signal that is raised now.");
        for signal in self.raised {
            let subject = signal.subject.to_string();
            let severity = signal.severity.as_str();
            family.series(labels.set(&[("severity", severity), ("signal", &signal.kind.0), ("subject", &subject)]), true);
        }
    }

    fn write_sources(&self, to: &mut Exposition) {
        type Column = (&'static str, &'static str, fn(&SourceState) -> Option<Number>);
        const COLUMNS: [Column; 5] = [
            ("byteport_source_interval_seconds", "How often a source is read.", |s| s.interval_s.map(Into::into)),
            ("byteport_source_duration_seconds", "How long its last reading took.", |s| s.duration_s.map(Into::into)),
            ("byteport_source_success", "1 when its last reading gave a value.", |s| Some(s.success.into())),
            ("byteport_source_age_seconds", "How old the value is that is shown.", |s| s.age_s.map(Into::into)),
            ("byteport_source_stuck_seconds", "How long it has not answered.", |s| Some(s.stuck_s.unwrap_or(0.0).into())),
        ];
        let mut labels = Labels::default();
        for (name, help, value) in COLUMNS {
            let mut family = to.family(name, Kind::Gauge, help);
            for source in self.sources {
                if let Some(value) = value(source) {
                    family.series(labels.set(&[("source", &source.name)]), value);
                }
            }
        }
    }
}

fn write_collector(link: &CollectorLink, to: &mut Exposition) {
    to.single("byteport_collector_up", Kind::Gauge, "1 when the collector answered last time it was asked.", link.up);
    if let Some(waiting) = link.waiting {
        let help = "Rows of the record that the collector has not acknowledged.";
        to.single("byteport_collector_waiting_rows", Kind::Gauge, help, waiting);
    }
    to.single("byteport_collector_sent_rows_total", Kind::Counter, "Rows that the collector has acknowledged.", link.sent);
    let mut labels = Labels::default();
    let help = "What was asked of the collector and came to nothing, by reason.";
    let mut family = to.family("byteport_collector_failures_total", Kind::Counter, help);
    for (reason, count) in &link.failures {
        family.series(labels.set(&[("reason", reason.as_str())]), *count);
    }
}

/// What was not written, this page included: written last.
pub(super) fn write_dropped(to: &mut Exposition) {
    let dropped = to.dropped();
    let mut labels = Labels::default();
    let mut family = to.family("byteport_series_dropped_total", Kind::Counter, "Series left out of this exposition, by reason.");
    family.series(labels.set(&[("reason", "duplicate")]), dropped.duplicates);
    family.series(labels.set(&[("reason", "over_the_cap")]), dropped.over_the_cap);
}
