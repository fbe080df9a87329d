//! Windows and hysteresis.

/// A signal that was raised or cleared.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Raised(crate::model::Signal),
    Cleared(crate::model::Signal),
}

/// What is raised, and what is on its way there.
#[derive(Debug, Default)]
pub struct Detector {}

impl Detector {
    /// Seconds.
    pub const MAX_GAP: f64 = 15.0;
}
