//! From samples to signals. Pure: history, sample, thresholds and `now` are arguments.
//!
//! A runbook says what its [`Condition`]s are right now (its `signals.rs`); this module holds them over time:
//! windows ([`Detector`]), hysteresis (the gap between raise and clear), growth and forecast ([`History`]).

mod consumers;
mod detector;
mod fullness;
mod growth;
mod history;
mod kills;
mod rates;
mod timeline;
mod traffic;

pub use consumers::Past;
pub use detector::{Change, Detector};
pub use growth::Growth;
pub use history::History;
pub use kills::GroupKills;
pub use rates::Rates;
pub use timeline::{Even, Moment, Timeline};

use crate::model::{Seconds, Severity, SignalKind, Subject};

/// What a runbook reads off one sample for one possible signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub kind: SignalKind,
    pub subject: Subject,
    pub wants: Wants,
    /// The figures, for people.
    pub detail: String,
}

/// Three answers and the lack of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wants {
    /// Raise once this has been so for `hold` without a break; at once when it is 0.
    Raise {
        severity: Severity,
        hold: Seconds,
    },
    Clear,
    /// Between the two thresholds: a raised signal stays raised, a window that has begun is broken.
    Stay,
    /// As it is: a raised signal stays raised, a window that has begun goes on, and none begins.
    Keep,
    /// Could not be read. Everything stays as it is; a window that has begun survives this for [`Detector::MAX_GAP`] seconds.
    Unknown,
}
