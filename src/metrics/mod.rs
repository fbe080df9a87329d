//! Every metric name, help and label, and the page that scrapers are given: rendered once a sample, served from memory.
//!
//! [`exposition`] writes text, [`openmetrics`] makes the other format of it, [`page`] holds both and what was packed of them. [`node`]
//! has what node_exporter has too, [`own`] is ours.

pub mod exposition;
mod node;
mod openmetrics;
mod own;
mod page;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use exposition::Exposition;
use node::Node;
use own::Counts;
pub use own::Own;
pub use page::{Encoding, Format, Page};

use crate::model::{Bytes, EffectState, Now, Outcome, RefusalReason, Sample, Verdict};

/// All series of the agent.
#[derive(Debug)]
pub struct Metrics {
    version: String,
    counts: Mutex<Counts>,
    render: Mutex<Render>,
    page: RwLock<Arc<Page>>,
}

#[derive(Debug, Default)]
struct Render {
    to: Exposition,
    node: Node,
}

/// A lock whose holder panicked guards numbers that are whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// With a page that holds what needs no sample.
    pub fn new(version: &str) -> Self {
        let metrics =
            Self { version: version.to_owned(), counts: Mutex::new(Counts::at_zero()), render: Mutex::default(), page: RwLock::default() };
        metrics.render(|_, _| {});
        metrics
    }

    pub fn incident_opened(&self, runbook: &str) {
        lock(&self.counts).incident_opened(runbook);
    }

    /// A person was told, at the end of an incident or in the middle of it.
    pub fn escalated(&self, runbook: &str) {
        lock(&self.counts).escalated(runbook);
    }

    pub fn incident_closed(&self, runbook: &str, outcome: Outcome) {
        lock(&self.counts).incident_closed(runbook, outcome);
    }

    pub fn refused(&self, reason: RefusalReason) {
        lock(&self.counts).refused(reason);
    }

    pub fn step(&self, runbook: &str, state: EffectState, freed: Bytes) {
        lock(&self.counts).step(runbook, Some((state, freed)));
    }

    pub fn step_unknown(&self, runbook: &str) {
        lock(&self.counts).step(runbook, None);
    }

    pub fn verified(&self, at: &Now, verdict: &Verdict) {
        lock(&self.counts).verified(at, verdict);
    }

    pub fn actuator_up(&self, up: bool) {
        lock(&self.counts).actuator_up = up;
    }

    /// Renders one sample; scrapers get it from now on. `node` says whether with `node_*`.
    pub fn sample(&self, sample: &Sample, own: &Own<'_>, node: bool) {
        lock(&self.counts).sampled();
        self.render(|to, renderer| {
            own.write(to);
            if node {
                renderer.write(to, sample, own.sources);
            }
        });
    }

    /// The newest page.
    pub fn page(&self) -> Arc<Page> {
        self.page.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn render(&self, rest: impl FnOnce(&mut Exposition, &mut Node)) {
        let mut render = lock(&self.render);
        let Render { to, node } = &mut *render;
        to.begin();
        lock(&self.counts).write(to, &self.version);
        rest(to, node);
        own::write_dropped(to);
        let page = Arc::new(Page::of(to.written()));
        *self.page.write().unwrap_or_else(PoisonError::into_inner) = page;
    }
}
