//! What the collector counts by: its own wall clock. Hosts' clocks are shown beside it and never decide.

use jiff::Timestamp;

/// Passed to whatever needs to know what time it is.
pub type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// The wall clock of this host.
#[expect(clippy::disallowed_methods, reason = "the collector knows nothing of hosts, its own included: it needs no boot clock")]
pub fn wall() -> Timestamp {
    Timestamp::now()
}
