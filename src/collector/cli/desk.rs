//! What every verb is given.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{Done, json};
use crate::collector::store::{Admin, FILE};
use crate::report::clean;

pub(super) struct Desk<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
    pub(super) json: bool,
    pub(super) state_dir: PathBuf,
    /// Who types.
    pub(super) by: String,
    pub(super) now: Timestamp,
}

impl Desk<'_> {
    pub(super) fn file(&self) -> PathBuf {
        self.state_dir.join(FILE)
    }

    pub(super) fn admin(&self) -> Result<Admin> {
        Ok(Admin::open(&self.file())?)
    }

    pub(super) fn print(&mut self, text: &str) -> Result<Done> {
        self.out.write_all(text.as_bytes())?;
        Ok(Done::Well)
    }

    pub(super) fn line(&mut self, text: &str) -> Result<Done> {
        self.print(&(clean(text) + "\n"))
    }

    /// For a person only: stdout is what was asked for.
    pub(super) fn hint(&mut self, text: &str) -> Result<()> {
        Ok(writeln!(self.err, "{}", clean(text))?)
    }

    /// What `--json` asks for, or the words.
    pub(super) fn show<T: Serialize>(&mut self, value: &T, words: impl FnOnce(&T) -> String) -> Result<Done> {
        let text = if self.json { json(value)? } else { words(value) };
        self.print(&text)
    }
}
