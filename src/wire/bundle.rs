//! One incident in one file: everything that is needed to decide again, on any machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Entry, IncidentSummary, Observed};

/// Raised when a field changes its meaning.
pub const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`VERSION`] of the program that made it.
    pub bundle: u32,
    pub made_at: jiff::Timestamp,
    pub made_by: String,
    /// Version of the agent that kept the record.
    pub agent_version: String,
    /// Masked like every other name.
    pub host: String,
    pub redaction: Redaction,
    /// Whether the record's chain was whole when this was made; the rows' hashes cannot be checked after redaction.
    pub chain: Observed<()>,
    pub summary: IncidentSummary,
    /// In order. Each decision stands as it is made from the redacted evidence before it.
    pub entries: Vec<Entry>,
    /// SHA-256 of this file's JSON with this field empty: tells a file that was edited or damaged.
    pub sha256: String,
}

/// What was taken out, and what could not be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// Different names masked, and secrets removed, by kind.
    pub masked: BTreeMap<String, u64>,
    /// Kinds that were left in, each with the reason: with them masked, the evidence could not be decided from.
    pub left_in: Vec<String>,
    /// Where a decision from the redacted evidence reads otherwise than the recorded one, redacted.
    pub differences: Vec<String>,
}
