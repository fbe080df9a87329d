//! Samples over time.

/// The last samples, bounded.
#[derive(Debug, Default)]
pub struct History {}

/// How fast a filesystem fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    pub bytes_per_s: f64,
}
