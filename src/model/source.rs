//! How one source of samples fares.

use std::borrow::Cow;

/// What is not known of it is `None`, and has no series.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceState {
    pub name: Cow<'static, str>,
    /// What node_exporter calls the collectors that read the same.
    pub collectors: &'static [&'static str],
    /// As it is applied, stretched or not.
    pub interval_s: Option<f64>,
    pub duration_s: Option<f64>,
    /// The last reading gave a value, or the host does not have such a thing.
    pub success: bool,
    /// Of the value that is shown.
    pub age_s: Option<f64>,
    /// For how long it has not answered; `None` when it does.
    pub stuck_s: Option<f64>,
}
