//! All files of one configuration, found right one by one and laid over each other.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::findings::{self, Asked, Table};
use super::layers::Source;
use super::problem::Problem;
use crate::model::{RunbookId, StepKind};
use crate::runbooks::Entry;

#[derive(Debug)]
pub(super) struct Merged<'s> {
    sources: &'s [Source],
    pub(super) asked: BTreeMap<String, Asked>,
    root: DeTable<'s>,
    sections: BTreeMap<RunbookId, DeTable<'s>>,
}

impl<'s> Merged<'s> {
    /// `R` reads what stands outside of runbooks' sections, `section` one of these runbooks' own. Without runbooks their names are no keys.
    ///
    /// # Errors
    /// Everything that is wrong, over all files.
    pub(super) fn new<R: DeserializeOwned>(
        sources: &'s [Source],
        runbooks: &'static [Entry],
        section: impl Fn(&'static Entry, Table<'s>) -> Result<(), Error>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut merged = Self { sources, asked: BTreeMap::new(), root: DeTable::new(), sections: BTreeMap::new() };
        let ids: Vec<&str> = runbooks.iter().map(|e| e.id.0.as_ref()).collect();
        for (number, source) in sources.iter().enumerate() {
            let before = problems.len();
            let root = findings::parse(source, &mut problems);
            if problems.len() > before {
                // What a syntax error leaves behind is not what was meant: more about it would only mislead.
                continue;
            }
            findings::ask(number, source, root.get_ref(), "", &mut merged.asked);
            let (span, mut root) = (root.span(), root.into_inner());
            for entry in runbooks {
                let Some((key, value)) = root.remove_entry(entry.id.0.as_ref()) else { continue };
                let place = value.span();
                let DeValue::Table(table) = value.into_inner() else {
                    let help = format!("write a section: [{}]", entry.id);
                    problems.push(source.problem(Some(key.span()), format!("`{}` is a runbook, not a value", entry.id), Some(help)));
                    continue;
                };
                findings::collect(source, Spanned::new(place, table.clone()), &[], |t| section(entry, t), &mut problems);
                findings::merge(merged.sections.entry(entry.id.clone()).or_default(), table);
            }
            findings::collect(source, Spanned::new(span, root.clone()), &ids, |t| findings::read::<R>(t).map(drop), &mut problems);
            findings::merge(&mut merged.root, root);
            problems[before..].sort_by_key(|p| p.place.as_ref().map(|at| (at.line, at.column)));
        }
        if problems.is_empty() { Ok(merged) } else { Err(problems) }
    }

    pub(super) fn root<R: DeserializeOwned>(&self) -> Result<R, Problem> {
        findings::read(Spanned::new(0..0, self.root.clone())).map_err(|e| self.problem("", e.message()))
    }

    /// A runbook's section over all files, empty when none was written.
    pub(super) fn section<T>(&self, entry: &'static Entry, read: impl Fn(Table<'s>) -> Result<T, Error>) -> Result<T, Problem> {
        let table = self.sections.get(&entry.id).cloned().unwrap_or_default();
        read(Spanned::new(0..0, table)).map_err(|e| self.problem(&entry.id.0, e.message()))
    }

    /// Limits that were written in a runbook's section and that none of its steps goes by. `below` is where its limits stand.
    pub(super) fn idle_limits(&self, entry: &'static Entry, below: &str) -> Vec<Problem> {
        let idle = |key: &&String| {
            let limit = key.strip_prefix(below).and_then(|rest| rest.strip_prefix('.'));
            limit.is_some_and(|limit| !limit.contains('.') && !entry.goes_by(limit))
        };
        let why = |key: &String| self.problem(key, &format!("no step of runbook {} goes by this limit", entry.id));
        let steps = format!("{below}.steps");
        let foreign = self.asked.get(&steps).into_iter().flat_map(|asked| {
            let written = |kind: &&StepKind| !entry.steps.contains(kind) && asked.text.contains(&format!("\"{}\"", kind.as_str()));
            StepKind::ALL.iter().filter(written).map(|kind| format!("{} is no step of runbook {}", kind.as_str(), entry.id))
        });
        let foreign: Vec<Problem> = foreign.map(|why| self.problem(&steps, &why)).collect();
        self.asked.keys().filter(idle).map(why).chain(foreign).collect()
    }

    /// A problem with what was asked under a key, where it was asked.
    pub(super) fn problem(&self, key: &str, message: &str) -> Problem {
        // A default may be at odds with what was written: then the section it belongs to is shown.
        let mut written = std::iter::successors(Some(key), |k| k.rsplit_once('.').map(|(above, _)| above));
        match written.find_map(|k| self.asked.get(k)).and_then(|a| Some((self.sources.get(a.source)?, a.span.clone()))) {
            Some((source, span)) => source.problem(Some(span), message, None),
            None => Problem::of_file(self.sources.first().map_or("".as_ref(), |s| &s.path), message, None),
        }
    }
}
