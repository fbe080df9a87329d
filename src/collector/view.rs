//! What pages and lists show of the fleet, as plain data, and who reads it for them.

use crate::model::{Entry, IncidentSummary, Signal};

/// How a host stands, as far as the collector knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Somebody has to look at this identity: nothing of it is taken.
    Quarantined,
    /// Nothing was heard of it for three intervals and their jitter: not known to be down, not known to be well.
    Silent,
    /// Heard of in time, and something is raised on it.
    Raised,
    /// Heard of in time, and nothing is raised.
    Well,
    /// Said that it would stop.
    Stopped,
    /// Enrolled and not heard of yet.
    Awaited,
    /// Its credential was taken away by a person.
    Revoked,
}

impl Standing {
    pub const ALL: [Self; 7] = [Self::Quarantined, Self::Silent, Self::Raised, Self::Well, Self::Stopped, Self::Awaited, Self::Revoked];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::Silent => "silent",
            Self::Raised => "raised",
            Self::Well => "well",
            Self::Stopped => "stopped",
            Self::Awaited => "awaited",
            Self::Revoked => "revoked",
        }
    }
}

/// One host in a list.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct HostRow {
    pub agent_id: String,
    pub hostname: String,
    pub version: String,
    pub standing: Standing,
    /// Why it is quarantined.
    pub why: Option<String>,
    /// By the collector's clock.
    pub seen_at: Option<jiff::Timestamp>,
    /// `observe` or `act`; empty before the first heartbeat.
    pub mode: String,
    pub signals: Vec<Signal>,
    pub open_incidents: u64,
    /// Rows of its record that have not arrived yet, at its last heartbeat.
    pub waiting: u64,
    /// Its clock against the collector's, at its last heartbeat; positive: it is ahead.
    pub skew_s: Option<f64>,
}

/// How many hosts there are of each standing, and some of them: worst first, then by name.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Fleet {
    pub now: jiff::Timestamp,
    pub counts: Vec<(Standing, u64)>,
    pub hosts: Vec<HostRow>,
    /// All that were asked for, on how many pages.
    pub found: u64,
    pub page: u64,
    pub pages: u64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct FleetAsk {
    /// Part of the name.
    pub name: Option<String>,
    pub standing: Option<Standing>,
    /// From 1.
    pub page: u64,
}

/// One record of one host, and how much of it is here.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StreamRow {
    pub stream: String,
    pub acked_through: u64,
    pub first_seen: jiff::Timestamp,
    /// Rows before this one were dropped by the host before they could be sent; `None`: nothing is missing.
    pub gap_before: Option<u64>,
    /// The newest row that the host has signed.
    pub signed_through: u64,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Host {
    pub now: jiff::Timestamp,
    pub row: HostRow,
    pub boot_id: String,
    pub enrolled_at: jiff::Timestamp,
    /// Why nothing is done on it although it may be.
    pub held_by: Vec<String>,
    pub streams: Vec<StreamRow>,
    /// The newest ones.
    pub incidents: Vec<IncidentRow>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct IncidentRow {
    pub agent_id: String,
    pub hostname: String,
    pub summary: IncidentSummary,
    /// Somebody was told that a person is needed.
    pub escalated: bool,
}

/// Alike by host, runbook, subject and class: one row a fingerprint, however often it came back.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct IncidentGroup {
    pub fingerprint: String,
    pub count: u64,
    pub first_opened: jiff::Timestamp,
    pub newest: IncidentRow,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Incidents {
    pub now: jiff::Timestamp,
    pub groups: Vec<IncidentGroup>,
    pub found: u64,
    pub page: u64,
    pub pages: u64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct IncidentsAsk {
    /// Only those that are not closed.
    pub open: bool,
    /// Only those that ask for a person.
    pub escalated: bool,
    pub runbook: Option<String>,
    pub agent_id: Option<String>,
    /// From 1.
    pub page: u64,
}

/// One incident with everything that is here of it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Incident {
    pub now: jiff::Timestamp,
    pub row: IncidentRow,
    /// In the order of the host's record.
    pub entries: Vec<Entry>,
    /// Rows whose body stays on the host: evidence, by number.
    pub on_the_host: Vec<u64>,
    pub deliveries: Vec<Delivery>,
    /// Others of the same fingerprint, newest first.
    pub alike: Vec<IncidentRow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Pending,
    Sent,
    Dead,
}

/// One message to one destination.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Delivery {
    pub id: u64,
    pub destination: String,
    /// `escalated` or `closed`.
    pub about: String,
    pub agent_id: String,
    pub incident: String,
    pub state: DeliveryState,
    pub attempts: u64,
    pub created_at: jiff::Timestamp,
    pub sent_at: Option<jiff::Timestamp>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it is tried again.
    pub next_at: Option<jiff::Timestamp>,
}

/// Who reads for the pages. Everything is of one moment; an error is words for a person.
pub trait Views: Send + Sync {
    /// # Errors
    /// When the store cannot be read.
    fn fleet(&self, ask: &FleetAsk) -> Result<Fleet, String>;
    /// # Errors
    /// The same.
    fn host(&self, agent_id: &str) -> Result<Option<Host>, String>;
    /// # Errors
    /// The same.
    fn incidents(&self, ask: &IncidentsAsk) -> Result<Incidents, String>;
    /// # Errors
    /// The same.
    fn incident(&self, agent_id: &str, incident: &str) -> Result<Option<Incident>, String>;
    /// The newest deliveries, dead ones first.
    ///
    /// # Errors
    /// The same.
    fn outbox(&self) -> Result<Vec<Delivery>, String>;
}
