//! What was asked for, what is applied, and why they differ.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::findings::Asked;
use super::layers::Source;
use super::problem::Problem;
use crate::model::RunbookId;
use crate::runbooks;
use crate::wire::local::{ConfigView, Setting};

/// A configuration in force, with where it came from.
#[derive(Debug)]
pub struct Loaded<T> {
    pub config: T,
    path: PathBuf,
    sources: Vec<Source>,
    asked: BTreeMap<String, Asked>,
    /// Odd, but not wrong: worth a line in the log.
    pub notes: Vec<String>,
    /// Keys whose new value waits for a restart.
    waiting: Vec<&'static str>,
}

/// What a reading of the files gives.
#[derive(Debug)]
pub(super) struct Built<T> {
    pub(super) config: T,
    pub(super) asked: BTreeMap<String, Asked>,
    pub(super) notes: Vec<String>,
}

/// One key as it is applied.
#[derive(Debug)]
pub struct Applied {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) because: Option<String>,
}

impl Applied {
    pub(super) fn new(key: impl Into<String>, value: String) -> Self {
        Self { key: key.into(), value, because: None }
    }

    /// Every key of a resolved section, dotted.
    pub(super) fn of_section(prefix: &str, value: &serde_json::Value, all: &mut Vec<Self>) {
        match value {
            serde_json::Value::Object(keys) => {
                for (key, value) in keys {
                    Self::of_section(&format!("{prefix}.{key}"), value, all);
                }
            }
            serde_json::Value::Null => all.push(Self::new(prefix, "none".into())),
            other => all.push(Self::new(prefix, other.to_string())),
        }
    }
}

impl Applied {
    /// Limits that no step of the runbook goes by are not shown: they would say nothing.
    pub(super) fn drop_idle_limits(id: &RunbookId, below: &str, all: &mut Vec<Self>) {
        let Some(entry) = runbooks::find(id) else { return };
        all.retain(|applied| {
            let limit = applied.key.strip_prefix(below).and_then(|rest| rest.strip_prefix('.'));
            limit.is_none_or(|limit| entry.goes_by(limit))
        });
    }
}

/// A value as it would be written; JSON's strings, numbers and lists are TOML's.
pub(super) fn text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What a kind of configuration can tell of itself.
pub trait Meaning: Sized {
    /// Every key with its value, in the order of the file. `asked` gives a key's text as it was written.
    fn applied(&self, asked: &dyn Fn(&str) -> Option<String>) -> Vec<Applied>;
    /// Puts the old values of what cannot change in a running program back, and names those that would have changed.
    fn keep_until_restart(&mut self, old: &Self) -> Vec<&'static str>;
    /// # Errors
    /// Everything that is wrong with the files.
    fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded<Self>, Vec<Problem>>;
}

impl<T: Meaning> Loaded<T> {
    pub(super) fn new(path: &Path, built: Built<T>, sources: Vec<Source>) -> Self {
        let Built { config, asked, notes } = built;
        Self { config, path: path.to_owned(), sources, asked, notes, waiting: Vec::new() }
    }

    /// The main file and its drop-ins, in the order in which they apply.
    pub fn files(&self) -> Vec<PathBuf> {
        self.sources.iter().map(|s| s.path.clone()).collect()
    }

    /// Reads the files again. What only a restart can change keeps its value and says so in [`Self::effective`].
    ///
    /// # Errors
    /// Everything that is wrong with the files; then all stays as it was.
    pub fn reload(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<(), Vec<Problem>> {
        let mut new = T::load(&self.path, env)?;
        new.waiting = new.config.keep_until_restart(&self.config);
        *self = new;
        Ok(())
    }

    /// Every key there is, defaults included.
    pub fn effective(&self) -> ConfigView {
        let asked = &self.asked;
        let written = |key: &str| asked.get(key).map(|a| a.text.clone());
        let places: BTreeMap<&str, (String, String)> = asked
            .iter()
            .filter_map(|(key, a)| {
                let source = self.sources.get(a.source)?;
                Some((key.as_str(), (a.text.clone(), format!("{}:{}", source.path.display(), source.line(a.span.start)))))
            })
            .collect();
        let settings = self.config.applied(&written).into_iter().map(|applied| {
            let waits = self.waiting.contains(&applied.key.as_str()).then(|| "needs a restart".to_owned());
            Setting {
                asked: places.get(applied.key.as_str()).cloned(),
                because: applied.because.or(waits),
                applied: applied.value,
                key: applied.key,
            }
        });
        ConfigView { files: self.files().iter().map(|f| f.display().to_string()).collect(), settings: settings.collect() }
    }
}
