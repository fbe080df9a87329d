//! Which signals need no further look when an episode has ended, and which do.

use super::Episode;
use crate::model::{Signal, Subject};

impl Episode {
    /// The signals that need no further look when this episode has ended. What is raised of another unit than the one that was found guilty is
    /// that unit's own affair: a diagnosis of the host does not look at its limit. And nothing is answered by who was cut off before he had looked,
    /// or had to let go of what he held.
    pub fn answered(&self) -> Vec<Signal> {
        if self.stale || self.expired {
            return Vec::new();
        }
        let behind = self.decision.as_ref().and_then(|(diagnosis, _)| diagnosis.behind.as_deref());
        let is_answered = |signal: &&Signal| match &signal.subject {
            Subject::Unit { name } => signal.subject == self.subject || behind == Some(name),
            Subject::Host | Subject::Filesystem { .. } | Subject::Disk { .. } | Subject::Process { .. } => true,
        };
        self.signals.iter().filter(is_answered).cloned().collect()
    }
}
