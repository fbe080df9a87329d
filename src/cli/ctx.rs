//! What every verb is given: where to print, how, and whom to ask.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::client::{Client, ClientError, segment};
use super::progress::Progress;
use crate::model::{IncidentSummary, is_unprintable};
use crate::report::Paint;
use crate::wire::local::{Incident, Status};

/// How it went, apart from errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Well,
    /// There is something to look at: exit code 1.
    Findings,
}

/// What was typed does not fit where it was typed: exit code 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misused(pub &'static str);

pub struct Ctx<'a> {
    pub out: &'a mut dyn Write,
    pub paint: Paint,
    /// Somebody sits there: stdin and stdout are a terminal.
    pub interactive: bool,
    pub json: bool,
    pub socket: PathBuf,
    /// Read the record here instead of asking the agent.
    pub state_dir: Option<PathBuf>,
    /// Whether somebody watches stderr.
    pub watched: bool,
}

/// An incident's record and the host it is of.
#[derive(Debug)]
pub struct Loaded {
    pub incident: Incident,
    pub host: String,
}

impl Ctx<'_> {
    pub fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    /// Runs `work`, with a sign of life on stderr when it takes longer than a second and somebody watches.
    pub fn progress<T: Send>(&self, what: &str, work: impl FnOnce() -> T + Send) -> T {
        Progress { shown: self.watched }.during(what, work)
    }

    pub fn get<T: serde::de::DeserializeOwned + Send>(&self, what: &str, path: &str) -> Result<T, ClientError> {
        let client = self.client();
        self.progress(what, || client.get(path))
    }

    pub fn incident(&self, id: &str) -> Result<Loaded> {
        if let Some(dir) = &self.state_dir {
            return super::state_dir::incident(dir, id);
        }
        let incident = self.get("reading the incident", &format!("/v1/incidents/{}", segment(id)))?;
        let host = self.get::<Status>("asking for the host's name", "/v1/status")?.host;
        Ok(Loaded { incident, host })
    }

    pub fn incidents(&self) -> Result<Vec<IncidentSummary>> {
        match &self.state_dir {
            Some(dir) => super::state_dir::incidents(dir),
            None => Ok(self.get("reading the record", "/v1/incidents")?),
        }
    }

    pub fn print(&mut self, text: &str) -> Result<Done> {
        self.out.write_all(text.as_bytes())?;
        Ok(Done::Well)
    }

    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", crate::report::clean(text))
    }

    /// Pretty JSON in which no character can do anything to a terminal.
    pub fn print_json(&mut self, value: &impl Serialize) -> Result<Done> {
        self.print(&json(value)?)
    }
}

/// Pretty JSON in which no character can do anything to a terminal, and the end of its line.
///
/// # Errors
/// For what is no JSON.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    let mut safe = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        // Only inside strings can there be such characters, and there this is their JSON escape.
        if is_unprintable(c) && c != '\n' {
            let mut units = [0; 2];
            safe.extend(c.encode_utf16(&mut units).iter().map(|u| format!("\\u{u:04x}")));
        } else {
            safe.push(c);
        }
    }
    safe.push('\n');
    Ok(safe)
}
