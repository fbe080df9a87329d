//! From changed signals to episodes. Pure: one episode a subject, however many of its signals are raised, and none twice.

use std::collections::BTreeMap;

use crate::detect::Change;
use crate::model::{RunbookId, Sample, Signal, Subject};
use crate::runbooks;

/// Which episodes there are, and which signals each of them answers.
#[derive(Debug, Default)]
pub struct Router {
    /// By subject: an episode, or the memory of one whose signals are still raised.
    cases: BTreeMap<(RunbookId, Subject), Case>,
}

#[derive(Debug)]
struct Case {
    /// Raised now, in the order they were raised.
    signals: Vec<Signal>,
    /// An episode is running for them.
    open: bool,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Routed {
    /// Start an episode for these signals.
    Open { runbook: RunbookId, subject: Subject, signals: Vec<Signal> },
    /// The running episode has these signals now; none left: everything that opened it has cleared.
    Signals { runbook: RunbookId, subject: Subject, signals: Vec<Signal> },
    /// No runbook answers this signal.
    Unanswered(Signal),
}

impl Router {
    /// A signal that stays raised opens no second episode when the first has ended; one that is new or got worse does.
    ///
    /// Saturation of a disk joins the episode of a filesystem on it, if one is running: what heals a filesystem loads its disk, and
    /// a second episode would only tell of the first. Else it is an episode of the disk itself.
    pub fn route(&mut self, changes: Vec<Change>, sample: &Sample) -> Vec<Routed> {
        let mut touched: Vec<(RunbookId, Subject)> = Vec::new();
        let mut out = Vec::new();
        for change in changes {
            let (Change::Raised(signal) | Change::Cleared(signal)) = &change;
            let Some(entry) = runbooks::for_signal(&signal.kind.0) else {
                if matches!(change, Change::Raised(_)) {
                    out.push(Routed::Unanswered(signal.clone()));
                }
                continue;
            };
            let key = match self.holder_of(signal) {
                Some(key) => key,
                None => self.home(entry.id.clone(), signal, sample),
            };
            let case = match change {
                Change::Raised(signal) => {
                    let case = self.cases.entry(key.clone()).or_insert(Case { signals: Vec::new(), open: false });
                    match case.signals.iter_mut().find(|s| is_same(s, &signal)) {
                        Some(known) => *known = signal,
                        None => case.signals.push(signal),
                    }
                    Some(case)
                }
                Change::Cleared(signal) => {
                    if let Some(case) = self.cases.get_mut(&key) {
                        case.signals.retain(|s| !is_same(s, &signal));
                    }
                    // What clears while nobody works on it is nobody's news.
                    self.cases.get_mut(&key).filter(|case| case.open)
                }
            };
            if case.is_some() && !touched.contains(&key) {
                touched.push(key);
            }
        }
        for (runbook, subject) in touched {
            let Some(case) = self.cases.get_mut(&(runbook.clone(), subject.clone())) else { continue };
            let signals = case.signals.clone();
            if case.open {
                out.push(Routed::Signals { runbook, subject, signals });
            } else if !signals.is_empty() {
                case.open = true;
                out.push(Routed::Open { runbook, subject, signals });
            }
        }
        self.cases.retain(|_, case| case.open || !case.signals.is_empty());
        out
    }

    /// An episode was started otherwise (taken up again after a restart of the agent): its signals join it.
    pub fn opened(&mut self, runbook: RunbookId, subject: Subject, signals: Vec<Signal>) {
        self.cases.insert((runbook, subject), Case { signals, open: true });
    }

    /// The episode has ended. Signals that are still raised are remembered, so that they do not start it over and over.
    pub fn closed(&mut self, runbook: &RunbookId, subject: &Subject) {
        let key = (runbook.clone(), subject.clone());
        if let Some(case) = self.cases.get_mut(&key) {
            case.open = false;
            if case.signals.is_empty() {
                self.cases.remove(&key);
            }
        }
    }

    /// Circumstances have changed (a pause ended, new configuration, a cooldown is over): what is still raised gets another episode.
    pub fn afresh(&mut self) -> Vec<Routed> {
        let waiting = self.cases.iter_mut().filter(|(_, case)| !case.open && !case.signals.is_empty());
        waiting
            .map(|((runbook, subject), case)| {
                case.open = true;
                Routed::Open { runbook: runbook.clone(), subject: subject.clone(), signals: case.signals.clone() }
            })
            .collect()
    }

    /// Where this very signal was put when it was raised.
    fn holder_of(&self, signal: &Signal) -> Option<(RunbookId, Subject)> {
        self.cases.iter().find(|(_, case)| case.signals.iter().any(|s| is_same(s, signal))).map(|(key, _)| key.clone())
    }

    fn home(&self, runbook: RunbookId, signal: &Signal, sample: &Sample) -> (RunbookId, Subject) {
        if let Subject::Disk { name } = &signal.subject {
            let on_it = sample.filesystems.value().into_iter().flatten().filter(|f| f.disks.contains(name));
            for fs in on_it {
                let key = (runbook.clone(), Subject::Filesystem { mount: fs.mount.path.clone(), device: fs.mount.device });
                if self.cases.get(&key).is_some_and(|case| case.open) {
                    return key;
                }
            }
        }
        (runbook, signal.subject.clone())
    }
}

fn is_same(a: &Signal, b: &Signal) -> bool {
    a.kind == b.kind && a.subject == b.subject
}
