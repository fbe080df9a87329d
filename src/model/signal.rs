//! What detection says to the rest of the loop.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{HostPath, Now};

/// A signal's name (`disk_usage_high`). Owned by the runbook that declares it; the registry's law tests keep them unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignalKind(pub Cow<'static, str>);

impl SignalKind {
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Warning,
    Critical,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What is sick. One episode runs for one subject at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A filesystem, named by where it is mounted; the device tells whether it is still the same one.
    Filesystem { mount: HostPath, device: u64 },
    /// A block device by its kernel name.
    Disk { name: String },
    /// The whole host or node.
    Host,
    /// A systemd unit.
    Unit { name: String },
    /// A process; the start time tells a reused pid.
    Process { pid: u32, start_ticks: u64, comm: HostPath },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filesystem { mount, .. } => write!(f, "{mount}"),
            Self::Disk { name } => write!(f, "disk {name}"),
            Self::Host => f.write_str("this host"),
            Self::Unit { name } => f.write_str(name),
            Self::Process { pid, comm, .. } => write!(f, "{comm} (pid {pid})"),
        }
    }
}

/// A condition that held long enough to be said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    pub kind: SignalKind,
    pub subject: Subject,
    pub severity: Severity,
    /// Since when it is raised.
    pub since: Now,
    /// The figures that raised it, for people: `usage 96.2 % (raised at 95 %)`.
    pub detail: String,
}
