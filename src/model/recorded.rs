//! Evidence as it was written down. Deciding from anything else is not possible.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Now, RunbookId};

/// Evidence in its recorded form, with the schema it was written under.
/// Live runs serialise first and decide from the result, so that live, dry run, replay and tests are one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    pub runbook: RunbookId,
    /// The runbook's evidence schema number.
    pub schema: u32,
    pub at: Now,
    pub body: serde_json::Value,
}

impl Recorded {
    /// # Errors
    /// When `evidence` cannot be JSON (a map with keys that are no strings): a defect of the runbook.
    pub fn new<E: Serialize>(runbook: RunbookId, schema: u32, at: Now, evidence: &E) -> Result<Self, serde_json::Error> {
        Ok(Self { runbook, schema, at, body: serde_json::to_value(evidence)? })
    }

    /// # Errors
    /// When the body is not what the schema says.
    pub fn open<E: DeserializeOwned>(&self) -> Result<E, serde_json::Error> {
        E::deserialize(&self.body)
    }
}
