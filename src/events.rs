//! Typed events: one call logs to the journal and counts. The story of an incident can be read with
//! `journalctl -t byteport-agent BYTEPORT_INCIDENT=ID`; `packaging/byteport.catalog` explains each message id.

use crate::metrics::Metrics;
use crate::model::{AfterStep, Body, Entry, HostPath, KernelEvent, Verdict};

/// Message ids of the journal catalog: one a kind of event, never reused.
pub mod message_id {
    pub const OPENED: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c001";
    pub const DIAGNOSED: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c002";
    pub const REFUSED: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c003";
    pub const STEP_BEGUN: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c004";
    pub const STEP_DONE: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c005";
    pub const VERIFIED: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c006";
    pub const ESCALATED: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c007";
    pub const CLOSED: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c008";
    pub const UNDONE: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c009";
    pub const CONFIG_REFUSED: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c00a";
    pub const KERNEL: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c00b";
    pub const UNIT_FAILED: &str = "6f0f1b9f0f6c4d0c9a52a3b1d1e4c00c";
}

/// How an entry of the record reads in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub message: String,
    pub message_id: Option<&'static str>,
    /// `BYTEPORT_STEP`: the step's kind or intent.
    pub step: Option<String>,
    /// `BYTEPORT_OUTCOME`: outcome, verdict or reason, in one word.
    pub outcome: Option<String>,
    /// For a person to read: logged as a warning.
    pub warns: bool,
}

/// Logs and counts one entry of the record. Called once for each, right after it was appended.
pub fn emit(entry: &Entry, runbook: &str, metrics: &Metrics) {
    count(entry, runbook, metrics);
    let Some(line) = line(&entry.body) else { return };
    let incident = entry.incident.to_string();
    let step = line.step.as_deref();
    let outcome = line.outcome.as_deref();
    macro_rules! say {
        ($level:ident) => {
            tracing::$level!(
                MESSAGE_ID = line.message_id,
                BYTEPORT_INCIDENT = incident.as_str(),
                BYTEPORT_RUNBOOK = runbook,
                BYTEPORT_STEP = step,
                BYTEPORT_OUTCOME = outcome,
                "{}: {}",
                incident,
                line.message
            )
        };
    }
    if line.warns { say!(warn) } else { say!(info) }
}

/// Pure: what the journal says of an entry; evidence itself stays in the record.
pub fn line(body: &Body) -> Option<Line> {
    let plain = |message: String, id: &'static str| Line { message, message_id: Some(id), step: None, outcome: None, warns: false };
    Some(match body {
        Body::Opened { subject, signals, .. } => {
            let what: Vec<String> = signals.iter().map(|s| format!("{} ({}): {}", s.kind, s.severity.as_str(), s.detail)).collect();
            plain(format!("opened for {subject}: {}", what.join("; ")), message_id::OPENED)
        }
        Body::Signals { signals } if signals.is_empty() => Line { message_id: None, ..plain("its signals have cleared".into(), "") },
        Body::Signals { signals } => {
            let kinds: Vec<String> = signals.iter().map(|s| s.kind.to_string()).collect();
            Line { message_id: None, ..plain(format!("raised now: {}", kinds.join(", ")), "") }
        }
        Body::Evidence { .. } => return None,
        Body::Decision { diagnosis, plan, .. } => Line {
            outcome: Some(diagnosis.class.clone()),
            ..plain(
                format!(
                    "{} (confidence {}): {}; {} steps planned",
                    diagnosis.class,
                    diagnosis.confidence,
                    diagnosis.summary,
                    plan.steps.len()
                ),
                message_id::DIAGNOSED,
            )
        },
        Body::Refused { kind, refusal, .. } => Line {
            step: Some(kind.as_str().into()),
            outcome: Some(refusal.reason.as_str().into()),
            ..plain(format!("{} refused, {refusal}", kind.as_str()), message_id::REFUSED)
        },
        Body::Intent { intent, kind, files, bytes, on, .. } => Line {
            step: Some(kind.as_str().into()),
            ..plain(
                match on {
                    Some(on) => format!("step {} begins: {} on {on}", intent.short(), kind.as_str()),
                    None => format!("step {} begins: {}, {files} objects, {}", intent.short(), kind.as_str(), crate::model::Bytes(*bytes)),
                },
                message_id::STEP_BEGUN,
            )
        },
        Body::Effect { intent, effect } => Line {
            step: Some(intent.to_string()),
            outcome: Some(format!("{:?}", effect.state).to_lowercase()),
            ..plain(
                match effect.available_delta {
                    None if effect.freed.0 == 0 && !effect.notes.is_empty() => {
                        format!("step {}: {}", intent.short(), effect.notes.join("; "))
                    }
                    _ => format!(
                        "step {} freed {} over {} objects, {} left alone",
                        intent.short(),
                        effect.freed,
                        effect.done,
                        effect.skipped.values().sum::<u64>()
                    ),
                },
                message_id::STEP_DONE,
            )
        },
        Body::EffectUnknown { intent, why } => Line {
            step: Some(intent.to_string()),
            outcome: Some("unknown".into()),
            warns: true,
            ..plain(format!("step {}: what was done is not known yet: {why}", intent.short()), message_id::STEP_DONE)
        },
        Body::AfterStep { intent, after } => {
            let (word, why) = match after {
                AfterStep::Continue { why } => ("continue", why),
                AfterStep::Enough { why } => ("enough", why),
                AfterStep::Abort { why } => ("abort", why),
            };
            Line {
                step: Some(intent.to_string()),
                outcome: Some(word.into()),
                message_id: None,
                ..plain(format!("after step {}: {why}", intent.short()), "")
            }
        }
        Body::Verdict { verdict } => {
            let (word, why) = match verdict {
                Verdict::Resolved { why } => ("resolved", why),
                Verdict::NotResolved { why } => ("not_resolved", why),
                Verdict::Unknown { why } => ("unknown", why),
            };
            Line { outcome: Some(word.into()), ..plain(format!("verified, {}: {why}", word.replace('_', " ")), message_id::VERIFIED) }
        }
        Body::Escalated { escalation } => {
            let commands: Vec<String> = escalation.follow_ups.iter().map(|f| format!("\n  # {}\n  {}", f.why, f.command)).collect();
            Line { warns: true, ..plain(format!("for a person: {}{}", escalation.reason, commands.concat()), message_id::ESCALATED) }
        }
        Body::Undone { intent, effect } => Line {
            step: Some(intent.to_string()),
            ..plain(format!("step {} taken back: {} objects", intent.short(), effect.done), message_id::UNDONE)
        },
        Body::UndoRefused { intent, refusal } => Line {
            step: Some(intent.to_string()),
            outcome: Some(refusal.reason.as_str().into()),
            ..plain(format!("step {} cannot be taken back, {refusal}", intent.short()), message_id::REFUSED)
        },
        Body::Note { text } => Line { message_id: None, ..plain(text.clone(), "") },
        Body::Closed { outcome, summary } => {
            Line { outcome: Some(outcome.as_str().into()), ..plain(format!("closed, {}: {summary}", outcome.as_str()), message_id::CLOSED) }
        }
    })
}

fn count(entry: &Entry, runbook: &str, metrics: &Metrics) {
    match &entry.body {
        Body::Opened { .. } => metrics.incident_opened(runbook),
        Body::Escalated { .. } => metrics.escalated(runbook),
        Body::Refused { refusal, .. } | Body::UndoRefused { refusal, .. } => metrics.refused(refusal.reason),
        Body::Effect { effect, .. } => metrics.step(runbook, effect.state, effect.freed),
        Body::EffectUnknown { .. } => metrics.step_unknown(runbook),
        Body::Verdict { verdict } => metrics.verified(&entry.at, verdict),
        Body::Closed { outcome, .. } => metrics.incident_closed(runbook, *outcome),
        Body::Signals { .. }
        | Body::Evidence { .. }
        | Body::Decision { .. }
        | Body::Intent { .. }
        | Body::AfterStep { .. }
        | Body::Undone { .. }
        | Body::Note { .. } => {}
    }
}

/// A configuration that was not taken.
pub fn config_refused(why: &str) {
    tracing::warn!(MESSAGE_ID = message_id::CONFIG_REFUSED, "configuration refused, the old one stays: {why}");
}

/// Something that the kernel said. `more`: events of its kind that were not logged since the last one that was.
pub fn kernel(event: &KernelEvent, more: u64) {
    let subject = HostPath::from(event.subject.as_str());
    let besides = if more > 0 { format!(" ({more} more of its kind were counted meanwhile)") } else { String::new() };
    tracing::warn!(
        MESSAGE_ID = message_id::KERNEL,
        BYTEPORT_KERNEL_EVENT = event.kind.as_str(),
        "the kernel tells of {}: {subject}{besides}",
        event.kind.as_str().replace('_', " ")
    );
}

pub fn unit_failed(unit: &str) {
    tracing::warn!(MESSAGE_ID = message_id::UNIT_FAILED, BYTEPORT_UNIT = unit, "{unit} failed");
}

/// Sends log lines where a person will look: the journal with its fields; a terminal as short lines; else JSON on stderr.
/// `level` is a `tracing` filter such as `info` or `debug`.
pub fn init_log(level: &str) {
    use std::io::IsTerminal;
    use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    // The journal is for a service; one that a person or a test started by hand answers where it was started.
    let journal = if stderr_is_the_journal() { tracing_journald::layer().ok().map(|layer| layer.with_field_prefix(None)) } else { None };
    let out: Box<dyn Layer<_> + Send + Sync> = match journal {
        Some(journal) => journal.boxed(),
        None if terminal => tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).compact().boxed(),
        None => tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).with_target(false).boxed(),
    };
    // A second call (tests in one process) keeps the first.
    drop(tracing_subscriber::registry().with(out).with(filter).try_init());
}

/// systemd names the stream that it gave a service for its output; a terminal's child may have inherited the name, not the stream.
fn stderr_is_the_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM");
    let own = rustix::fs::fstat(std::io::stderr());
    matches!((named, own), (Ok(named), Ok(own)) if named == format!("{}:{}", own.st_dev, own.st_ino))
}
