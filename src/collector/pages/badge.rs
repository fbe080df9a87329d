//! States, told three times over: by a word, by a shape, by a colour.

use super::super::view::{DeliveryState, Standing};
use crate::model::{EffectState, Outcome, Severity, Verdict};
use crate::report::words;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) shape: &'static str,
    /// A class of the stylesheet.
    pub(super) tone: &'static str,
    pub(super) word: &'static str,
}

pub(super) const fn bad(word: &'static str) -> Badge {
    Badge { shape: "■", tone: "bad", word }
}

pub(super) const fn warn(word: &'static str) -> Badge {
    Badge { shape: "▲", tone: "warn", word }
}

pub(super) const fn good(word: &'static str) -> Badge {
    Badge { shape: "●", tone: "good", word }
}

pub(super) const fn plain(word: &'static str) -> Badge {
    Badge { shape: "○", tone: "plain", word }
}

pub(super) const fn standing(standing: Standing) -> Badge {
    let word = standing.as_str();
    match standing {
        Standing::Quarantined => bad(word),
        // Not known to be down, not known to be well.
        Standing::Silent => Badge { shape: "◆", ..warn(word) },
        Standing::Raised => warn(word),
        Standing::Well => good(word),
        Standing::Stopped => plain(word),
        Standing::Awaited => Badge { shape: "◇", ..plain(word) },
        Standing::Revoked => Badge { shape: "×", ..plain(word) },
    }
}

pub(super) const fn severity(severity: Severity) -> Badge {
    match severity {
        Severity::Critical => bad("critical"),
        Severity::Warning => warn("warning"),
    }
}

pub(super) const fn outcome(outcome: Option<Outcome>) -> Badge {
    let word = words::ended(outcome);
    match outcome {
        None => warn(word),
        Some(Outcome::Healed | Outcome::Cleared) => good(word),
        Some(Outcome::Observed) => plain(word),
        Some(Outcome::Escalated) => bad(word),
        Some(Outcome::Interrupted) => Badge { shape: "◆", ..warn(word) },
    }
}

pub(super) const fn delivery(state: DeliveryState) -> Badge {
    match state {
        DeliveryState::Pending => Badge { shape: "◇", ..warn("pending") },
        DeliveryState::Sent => good("sent"),
        DeliveryState::Dead => bad("given up"),
    }
}

pub(super) const fn effect(state: EffectState) -> Badge {
    match state {
        EffectState::Done => good("done"),
        EffectState::Partial => warn("stopped before the end"),
        EffectState::Failed => bad("failed, nothing was changed"),
    }
}

pub(super) const fn verdict(verdict: &Verdict) -> Badge {
    match verdict {
        Verdict::Resolved { .. } => good("resolved"),
        Verdict::NotResolved { .. } => bad("not resolved"),
        Verdict::Unknown { .. } => Badge { shape: "◆", ..warn("cannot be told") },
    }
}

/// Of a step, in the words of the postmortem.
pub(super) fn fate(fate: &'static str) -> Badge {
    match fate {
        "done" => good(fate),
        "refused" | "failed" => bad(fate),
        "partly done" | "not known" | "begun" => warn(fate),
        _ => plain(fate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_states_of_a_kind_look_alike_without_their_colour() {
        let shapes: Vec<_> = Standing::ALL.map(|s| standing(s).shape).into();
        assert_eq!(shapes.iter().collect::<BTreeSet<_>>().len(), Standing::ALL.len(), "{shapes:?}");
        let shapes: Vec<_> = [DeliveryState::Pending, DeliveryState::Sent, DeliveryState::Dead].map(|s| delivery(s).shape).into();
        assert_eq!(shapes.iter().collect::<BTreeSet<_>>().len(), 3, "{shapes:?}");
    }
}
