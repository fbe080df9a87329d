//! The record without the agent: for when it is dead.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::ctx::Loaded;
use crate::host::readiness::host_name;
use crate::model::IncidentSummary;
use crate::record::{Reader, RecordError};
use crate::wire::local::Incident;

pub fn incident(dir: &Path, id: &str) -> Result<Loaded> {
    let record = open(dir)?;
    let summary = record.resolve(id)?;
    let entries = record.entries(&summary.id)?;
    let chain = record.chain().clone();
    let agent_version = format!("unknown: read by byteportctl {}", super::VERSION);
    Ok(Loaded { incident: Incident { summary, entries, chain, agent_version }, host: host_name() })
}

pub fn incidents(dir: &Path) -> Result<Vec<IncidentSummary>> {
    Ok(open(dir)?.summaries()?)
}

fn open(dir: &Path) -> Result<Reader> {
    match Reader::open(dir) {
        Err(e) if denied(&e) => Err(e).context("the record may be read by the agent's user and by root: use sudo"),
        other => Ok(other?),
    }
}

fn denied(e: &RecordError) -> bool {
    matches!(e, RecordError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
}
