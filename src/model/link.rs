//! How the agent stands with its collector.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is known of the link since this run of the agent began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectorLink {
    /// Its address.
    pub collector: String,
    /// Who this host is there.
    pub agent_id: String,
    /// It answered last time it was asked.
    pub up: bool,
    /// By this host's clock; `None`: not since the agent started.
    pub heard_at: Option<jiff::Timestamp>,
    /// Rows of the record that it has not acknowledged; `None` as long as it has not said what it has.
    pub waiting: Option<u64>,
    /// Why it does not take what it is sent, if it does not.
    pub trouble: Option<String>,
    /// Rows that it has acknowledged.
    pub sent: u64,
    /// All reasons, also those that never came.
    pub failures: BTreeMap<LinkFailure, u64>,
}

/// Why something that was asked of the collector came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkFailure {
    /// Its name is not known, or nobody is there.
    Unreachable,
    /// Who answers cannot prove to be the collector.
    Tls,
    TimedOut,
    /// What came back is no answer.
    BadAnswer,
    /// It asked for patience.
    Busy,
    /// It does not take what it was sent, or not from this agent.
    Refused,
    /// There was nothing to be sent: the record could not be read.
    Record,
}

impl LinkFailure {
    pub const ALL: [Self; 7] = [Self::Unreachable, Self::Tls, Self::TimedOut, Self::BadAnswer, Self::Busy, Self::Refused, Self::Record];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::TimedOut => "timed_out",
            Self::BadAnswer => "bad_answer",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Record => "record",
        }
    }
}

impl CollectorLink {
    /// Nothing is known of it yet.
    pub fn new(collector: &str, agent_id: &str) -> Self {
        Self {
            collector: collector.to_owned(),
            agent_id: agent_id.to_owned(),
            up: false,
            heard_at: None,
            waiting: None,
            trouble: None,
            sent: 0,
            failures: LinkFailure::ALL.into_iter().map(|why| (why, 0)).collect(),
        }
    }
}
