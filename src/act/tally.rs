//! Counting what a step does while it does it.

use std::collections::BTreeMap;

use crate::model::{Bytes, Effect, EffectState, HostPath, Now, Skip, SkipReason};

/// Named in the effect; the rest is only counted.
const EXAMPLES: usize = 20;
const NOTES: usize = 20;

#[derive(Debug)]
pub(super) struct Tally {
    started: Now,
    pub freed: u64,
    pub inodes: u64,
    pub done: u64,
    pub available_delta: Option<i64>,
    skipped: BTreeMap<SkipReason, u64>,
    examples: Vec<Skip>,
    notes: Vec<String>,
    stopped: bool,
}

impl Tally {
    pub fn new(started: Now) -> Self {
        Self {
            started,
            freed: 0,
            inodes: 0,
            done: 0,
            available_delta: None,
            skipped: BTreeMap::new(),
            examples: Vec::new(),
            notes: Vec::new(),
            stopped: false,
        }
    }

    pub fn skip(&mut self, what: HostPath, reason: SkipReason) {
        *self.skipped.entry(reason).or_default() += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(Skip { what, reason });
        }
    }

    /// Objects behind the point where the step was stopped.
    pub fn skip_rest(&mut self, count: u64, reason: SkipReason) {
        if count > 0 {
            *self.skipped.entry(reason).or_default() += count;
        }
    }

    pub fn note(&mut self, text: impl Into<String>) {
        if self.notes.len() < NOTES {
            self.notes.push(text.into());
        }
    }

    /// The step did not get to its end; `why` goes first, whatever else was noted.
    pub fn stop(&mut self, why: impl Into<String>) {
        self.stopped = true;
        self.notes.insert(0, why.into());
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub fn finish(self, ended: Now) -> Effect {
        let state = match (self.stopped, self.done) {
            (false, _) => EffectState::Done,
            (true, 0) => EffectState::Failed,
            (true, _) => EffectState::Partial,
        };
        Effect {
            state,
            freed: Bytes(self.freed),
            available_delta: self.available_delta,
            inodes: self.inodes,
            done: self.done,
            skipped: self.skipped,
            examples: self.examples,
            started: self.started,
            ended,
            notes: self.notes,
        }
    }
}
