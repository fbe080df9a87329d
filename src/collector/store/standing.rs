//! How a host stands, from what was written of it and the collector's clock. Pure.

use rusqlite::Row;

use crate::collector::view::Standing;

/// Intervals without a word, their jitter included, and how long a word may take.
const INTERVALS: f64 = 3.3;
const MORE_MS: f64 = 5_000.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Facts {
    pub(super) quarantined: bool,
    pub(super) revoked: bool,
    /// `None` before the first heartbeat.
    pub(super) heard: Option<Heard>,
}

/// The newest heartbeat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Heard {
    /// Milliseconds, by the collector's clock.
    pub(super) at: i64,
    pub(super) interval_s: f64,
    pub(super) raised: bool,
    /// It was followed by a goodbye.
    pub(super) stopped: bool,
}

impl Facts {
    /// The columns that [`Self::of`] reads, from `agents a LEFT JOIN heartbeats h`.
    pub(super) const COLUMNS: &'static str = "a.quarantined_at IS NOT NULL, a.revoked_at IS NOT NULL, h.seen_at, h.interval_s, \
         h.signals <> '[]', h.stopped_at IS NOT NULL";
    /// How many those are.
    pub(super) const WIDTH: usize = 6;

    /// From a row that begins with [`Self::COLUMNS`].
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let heard = match row.get::<_, Option<i64>>(2)? {
            Some(at) => Some(Heard { at, interval_s: row.get(3)?, raised: row.get(4)?, stopped: row.get(5)? }),
            None => None,
        };
        Ok(Self { quarantined: row.get(0)?, revoked: row.get(1)?, heard })
    }

    /// `now` in milliseconds. A clock that went back makes nobody silent.
    pub(super) fn standing(self, now: i64) -> Standing {
        match self {
            Self { quarantined: true, .. } => Standing::Quarantined,
            Self { revoked: true, .. } => Standing::Revoked,
            Self { heard: None, .. } => Standing::Awaited,
            Self { heard: Some(Heard { stopped: true, .. }), .. } => Standing::Stopped,
            Self { heard: Some(heard), .. } => {
                let quiet = now.saturating_sub(heard.at) as f64;
                match quiet > INTERVALS * heard.interval_s * 1000.0 + MORE_MS {
                    true => Standing::Silent,
                    false if heard.raised => Standing::Raised,
                    false => Standing::Well,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEARD: Heard = Heard { at: 1_000_000, interval_s: 30.0, raised: false, stopped: false };
    const FACTS: Facts = Facts { quarantined: false, revoked: false, heard: Some(HEARD) };

    #[test]
    fn what_a_person_has_said_comes_before_what_the_host_says() {
        let raised = Heard { raised: true, ..HEARD };
        let long_after = HEARD.at + 10_000_000;
        for (facts, now, stands) in [
            (FACTS, HEARD.at, Standing::Well),
            (Facts { heard: Some(raised), ..FACTS }, HEARD.at, Standing::Raised),
            (Facts { heard: Some(raised), ..FACTS }, long_after, Standing::Silent),
            (Facts { heard: None, ..FACTS }, long_after, Standing::Awaited),
            (Facts { heard: Some(Heard { stopped: true, ..raised }), ..FACTS }, long_after, Standing::Stopped),
            (Facts { revoked: true, heard: Some(Heard { stopped: true, ..raised }), ..FACTS }, long_after, Standing::Revoked),
            (Facts { revoked: true, heard: None, ..FACTS }, HEARD.at, Standing::Revoked),
            (Facts { quarantined: true, revoked: true, heard: None }, HEARD.at, Standing::Quarantined),
        ] {
            assert_eq!(facts.standing(now), stands, "{facts:?} at {now}");
        }
    }

    #[test]
    fn silence_begins_after_three_intervals_and_their_jitter() {
        // 3.3 * 30 s + 5 s.
        assert_eq!(FACTS.standing(HEARD.at + 104_000), Standing::Well);
        assert_eq!(FACTS.standing(HEARD.at + 104_001), Standing::Silent);
        assert_eq!(FACTS.standing(i64::MIN), Standing::Well, "the clock went back");
    }

    proptest! {
        #[test]
        fn who_is_silent_stays_silent(at: i32, interval_s in 1.0..300.0, wait in 0..1_000_000_i64, more in 0..1_000_000_i64) {
            let facts = Facts { heard: Some(Heard { at: at.into(), interval_s, ..HEARD }), ..FACTS };
            let stands = |wait: i64| facts.standing(i64::from(at) + wait);
            prop_assert!(stands(wait) == Standing::Well || stands(wait + more) == Standing::Silent);
        }
    }
}
