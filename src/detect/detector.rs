//! Windows and hysteresis.

use std::collections::BTreeMap;

use super::{Condition, Wants};
use crate::model::{Now, Severity, Signal, SignalKind, Subject};

/// A signal that was raised or cleared.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Raised, or raised again because it got worse.
    Raised(Signal),
    Cleared(Signal),
}

/// What is raised, and what is on its way there.
#[derive(Debug, Default)]
pub struct Detector {
    tracks: BTreeMap<(SignalKind, Subject), Track>,
    /// Longest pause between two samples that does not break a window; 0: [`Detector::MAX_GAP`].
    gap_s: f64,
}

/// One possible signal of one subject.
#[derive(Debug)]
struct Track {
    /// Since when it has been at least this bad without a break.
    warning_since: Option<Now>,
    critical_since: Option<Now>,
    /// When its condition was last read, whatever it said.
    known: Now,
    /// When it was last mentioned at all.
    mentioned: Now,
    raised: Option<Signal>,
}

impl Detector {
    /// Seconds without a reading after which a window starts anew.
    pub const MAX_GAP: f64 = 15.0;

    /// For samples that come every `interval_s` seconds: slow sampling must not break every window.
    pub fn sampling_every(interval_s: f64) -> Self {
        Self { tracks: BTreeMap::new(), gap_s: 3.0 * interval_s }
    }

    fn gap(&self) -> f64 {
        self.gap_s.max(Self::MAX_GAP)
    }

    /// Takes all conditions of one sample, of all runbooks, and says what changed.
    ///
    /// Time is counted on the boot clock. A subject that is not mentioned for longer than the gap is gone, and its signals are cleared:
    /// who cannot list the subjects says [`Wants::Unknown`] for the ones it knew.
    pub fn update(&mut self, conditions: Vec<Condition>, now: &Now) -> Vec<Change> {
        let gap = self.gap();
        let mut changes = Vec::new();
        for condition in conditions {
            let key = (condition.kind.clone(), condition.subject.clone());
            let starts = matches!(condition.wants, Wants::Raise { .. });
            if !starts && !self.tracks.contains_key(&key) {
                continue;
            }
            let track = self.tracks.entry(key).or_insert_with(|| Track::new(now));
            changes.extend(track.update(condition, gap, now));
        }
        self.tracks.retain(|_, track| {
            if since(&track.mentioned, now) > gap {
                changes.extend(track.raised.take().map(Change::Cleared));
                return false;
            }
            track.raised.is_some() || track.warning_since.is_some()
        });
        changes
    }

    /// Another interval between samples, from the next one on.
    pub fn keep_to(&mut self, interval_s: f64) {
        self.gap_s = Self::sampling_every(interval_s).gap_s;
    }

    pub fn raised(&self) -> impl Iterator<Item = &Signal> {
        self.tracks.values().filter_map(|t| t.raised.as_ref())
    }
}

/// Seconds between two moments; another boot is longer ago than any window.
fn since(then: &Now, now: &Now) -> f64 {
    now.steady_since(then).unwrap_or(f64::INFINITY)
}

impl Track {
    fn new(now: &Now) -> Self {
        Self { warning_since: None, critical_since: None, known: now.clone(), mentioned: now.clone(), raised: None }
    }

    fn update(&mut self, condition: Condition, gap: f64, now: &Now) -> Option<Change> {
        self.mentioned = now.clone();
        if since(&self.known, now) > gap {
            (self.warning_since, self.critical_since) = (None, None);
        }
        if condition.wants == Wants::Unknown {
            return None;
        }
        self.known = now.clone();
        if condition.wants == Wants::Keep {
            return None;
        }
        let Wants::Raise { severity, hold } = condition.wants else {
            (self.warning_since, self.critical_since) = (None, None);
            return if condition.wants == Wants::Clear { self.raised.take().map(Change::Cleared) } else { None };
        };
        let warning_since = self.warning_since.get_or_insert_with(|| now.clone()).clone();
        let began = match severity {
            Severity::Warning => {
                self.critical_since = None;
                warning_since
            }
            Severity::Critical => self.critical_since.get_or_insert_with(|| now.clone()).clone(),
        };
        let worse = self.raised.as_ref().is_none_or(|r| r.severity < severity);
        if !worse || since(&began, now) < hold.0 {
            return None;
        }
        let first = self.raised.as_ref().map_or_else(|| now.clone(), |r| r.since.clone());
        let signal = Signal { kind: condition.kind, subject: condition.subject, severity, since: first, detail: condition.detail };
        self.raised = Some(signal.clone());
        Some(Change::Raised(signal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, Seconds};

    fn at(uptime_s: f64) -> Now {
        // The wall clock jumps about on purpose: no window may care.
        let wall = jiff::Timestamp::from_second(1_000_000 + (uptime_s as i64 * 7919) % 7200).unwrap();
        Now { wall, boot: BootId("a".into()), uptime_s }
    }

    fn says(wants: Wants) -> Vec<Condition> {
        vec![Condition { kind: SignalKind::new("k"), subject: Subject::Host, wants, detail: "d".into() }]
    }

    const WARNING: Wants = Wants::Raise { severity: Severity::Warning, hold: Seconds(60.0) };
    const CRITICAL: Wants = Wants::Raise { severity: Severity::Critical, hold: Seconds(0.0) };

    /// Feeds `(uptime, wants)` and tells when what was raised (`W`, `C`) or cleared (`-`).
    fn story(told: impl IntoIterator<Item = (f64, Wants)>) -> Vec<(f64, char)> {
        let mut detector = Detector::default();
        let mut out = vec![];
        for (t, wants) in told {
            for change in detector.update(says(wants), &at(t)) {
                out.push((
                    t,
                    match change {
                        Change::Raised(s) if s.severity == Severity::Warning => 'W',
                        Change::Raised(_) => 'C',
                        Change::Cleared(_) => '-',
                    },
                ));
            }
        }
        out
    }

    fn every_5s(from: f64, to: f64, wants: Wants) -> impl Iterator<Item = (f64, Wants)> {
        (0..).map(move |i| from + 5.0 * f64::from(i)).take_while(move |t| *t <= to).map(move |t| (t, wants))
    }

    #[test]
    fn a_warning_waits_for_its_window_and_is_said_once() {
        assert_eq!(story(every_5s(0.0, 300.0, WARNING)), [(60.0, 'W')]);
    }

    #[test]
    fn between_the_thresholds_a_raised_signal_stays_and_a_window_breaks() {
        let told = every_5s(0.0, 60.0, WARNING).chain(every_5s(65.0, 200.0, Wants::Stay)).chain([(205.0, Wants::Clear)]);
        assert_eq!(story(told), [(60.0, 'W'), (205.0, '-')]);
        let broken = every_5s(0.0, 55.0, WARNING).chain([(60.0, Wants::Stay)]).chain(every_5s(65.0, 130.0, WARNING));
        assert_eq!(story(broken), [(125.0, 'W')]);
    }

    #[test]
    fn a_short_unknown_keeps_the_window_and_a_long_one_starts_it_anew() {
        let swings = every_5s(0.0, 10.0, Wants::Keep).chain(every_5s(15.0, 40.0, WARNING)).chain(every_5s(45.0, 50.0, Wants::Keep));
        assert_eq!(
            story(swings.chain(every_5s(55.0, 90.0, WARNING))),
            [(75.0, 'W')],
            "what only keeps it begins no window and breaks none"
        );
        let short = every_5s(0.0, 30.0, WARNING).chain(every_5s(35.0, 40.0, Wants::Unknown)).chain(every_5s(45.0, 90.0, WARNING));
        assert_eq!(story(short), [(60.0, 'W')]);
        let long = every_5s(0.0, 30.0, WARNING).chain(every_5s(35.0, 50.0, Wants::Unknown)).chain(every_5s(55.0, 130.0, WARNING));
        assert_eq!(story(long), [(115.0, 'W')]);
    }

    #[test]
    fn unknown_never_clears() {
        assert_eq!(story(every_5s(0.0, 60.0, WARNING).chain(every_5s(65.0, 4000.0, Wants::Unknown))), [(60.0, 'W')]);
    }

    #[test]
    fn a_sampler_that_slept_has_seen_no_window() {
        assert_eq!(story([(0.0, WARNING), (100.0, WARNING)]), []);
        let mut slow = Detector::sampling_every(30.0);
        assert!((0..2).all(|i| slow.update(says(WARNING), &at(30.0 * f64::from(i))).is_empty()));
        assert_eq!(slow.update(says(WARNING), &at(60.0)).len(), 1);
        // An interval that is changed while it runs, and samples that come a little late.
        let mut slowed = Detector::sampling_every(5.0);
        slowed.keep_to(15.0);
        let raised = (0..6).flat_map(|i| slowed.update(says(WARNING), &at(15.1 * f64::from(i)))).count();
        assert_eq!(raised, 1);
    }

    #[test]
    fn worse_is_said_again_and_better_is_not() {
        let told = every_5s(0.0, 60.0, WARNING).chain([(65.0, CRITICAL), (70.0, WARNING), (75.0, CRITICAL), (80.0, Wants::Clear)]);
        assert_eq!(story(told), [(60.0, 'W'), (65.0, 'C'), (80.0, '-')]);
    }

    #[test]
    fn a_subject_that_is_gone_is_cleared() {
        let mut detector = Detector::default();
        assert_eq!(detector.update(says(CRITICAL), &at(0.0)).len(), 1);
        assert_eq!(detector.update(vec![], &at(15.0)), []);
        assert_eq!(detector.raised().count(), 1);
        assert!(matches!(detector.update(vec![], &at(20.0))[..], [Change::Cleared(_)]));
        assert_eq!(detector.raised().count(), 0);
    }

    #[test]
    fn nothing_is_kept_of_what_is_well() {
        let mut detector = Detector::default();
        detector.update(says(WARNING), &at(0.0));
        detector.update(says(Wants::Stay), &at(5.0));
        assert!(detector.tracks.is_empty());
    }
}
