//! The record without the agent.

use std::path::Path;

use anyhow::{Result, bail};

use super::ctx::Loaded;
use crate::model::IncidentSummary;

pub fn incident(dir: &Path, id: &str) -> Result<Loaded> {
    bail!("{}: {id}: cannot be read by this version", dir.display())
}

pub fn incidents(dir: &Path) -> Result<Vec<IncidentSummary>> {
    bail!("{}: cannot be read by this version", dir.display())
}
