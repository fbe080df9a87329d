//! Where the loop and the rest of the agent meet: what is known of the link, for whoever asks, and a bell for when something was recorded.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::client::AskError;
use super::link::Acked;
use crate::model::{CollectorLink, LinkFailure};
use crate::record::Store;

/// Costs nothing on a host without a collector.
#[derive(Debug, Default)]
pub struct Board {
    shown: Mutex<Shown>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Shown {
    link: Option<CollectorLink>,
    acked: Option<Acked>,
}

impl Board {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands; `None` on a host that has no collector.
    pub fn link(&self) -> Option<CollectorLink> {
        self.shown().link.clone()
    }

    /// The record has another row.
    pub fn appended(&self) {
        self.bell.notify_one();
    }

    /// Counts what waits in the record, for whoever has it in hand anyway; what waits is brought to mind.
    pub fn note(&self, store: &Store) {
        let shown = &mut *self.shown();
        let Some(link) = &mut shown.link else { return };
        let acked = shown.acked.as_ref().filter(|acked| store.name() == Some(&acked.stream));
        link.waiting = acked.map(|acked| store.waiting(acked.through));
        if link.waiting.is_some_and(|rows| rows > 0) {
            self.bell.notify_one();
        }
    }

    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// There is a collector from now on, or none any more.
    pub(super) fn begin(&self, link: Option<CollectorLink>) {
        *self.shown() = Shown { link, acked: None };
    }

    pub(super) fn heard(&self, at: jiff::Timestamp, acked: Option<&Acked>, head: u64) {
        let shown = &mut *self.shown();
        shown.acked = acked.cloned();
        if let Some(link) = &mut shown.link {
            (link.up, link.heard_at, link.trouble) = (true, Some(at), None);
            link.waiting = acked.map(|acked| head.saturating_sub(acked.through));
        }
    }

    pub(super) fn sent(&self, rows: u64, acked: Option<&Acked>, head: u64) {
        let shown = &mut *self.shown();
        shown.acked = acked.cloned();
        if let Some(link) = &mut shown.link {
            link.sent = link.sent.saturating_add(rows);
            link.trouble = None;
            link.waiting = acked.map(|acked| head.saturating_sub(acked.through));
        }
    }

    pub(super) fn failed(&self, up: bool, error: &AskError) {
        if let Some(link) = &mut self.shown().link {
            link.up = up;
            link.trouble = Some(error.to_string());
            *link.failures.entry(error.reason()).or_default() += 1;
        }
    }

    pub(super) fn no_record(&self, why: String) {
        if let Some(link) = &mut self.shown().link {
            link.trouble = Some(why);
            *link.failures.entry(LinkFailure::Record).or_default() += 1;
        }
    }
}
