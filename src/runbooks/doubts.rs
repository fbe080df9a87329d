//! What could not be seen or is old, and what is left of the trust in the rest. Each runbook says which parts count, and for how much.

use crate::model::{Now, Observed, Seconds};

/// Every entry takes its part of the trust: less or older evidence never makes anybody surer.
#[derive(Debug)]
pub struct Doubts {
    /// For people, each with its reason.
    pub said: Vec<String>,
    /// 0..1.
    pub trust: f64,
}

impl Doubts {
    /// Of evidence that was taken at that moment: what is old is worth less.
    pub fn of_evidence(taken: &Now, now: &Now) -> Self {
        let mut doubts = Self { said: Vec::new(), trust: 1.0 };
        // The boot clock counts: a wall clock that jumps ages nothing.
        let since = now.steady_since(taken).unwrap_or_else(|| now.at_most_since(taken).0);
        doubts.part("evidence", &Observed::Value { value: (), age_s: since }, 0.0);
        doubts
    }

    pub fn say(&mut self, what: &str, why: &str, worth: f64) {
        self.said.push(format!("{what}: {why}"));
        self.trust *= worth;
    }

    /// `without` is what the evidence is worth when this part is missing. Known but old, it is never worth less than that.
    pub fn part<T>(&mut self, what: &str, part: &Observed<T>, without: f64) {
        self.gaps(what, part, without, |_| None);
    }

    /// The same for a part that may be known with gaps: what is wrong with it, and what it is worth with that.
    pub fn gaps<T>(&mut self, what: &str, part: &Observed<T>, without: f64, gap: impl Fn(&T) -> Option<(String, f64)>) {
        let (value, age_s) = match part {
            Observed::Unavailable { why } => return self.say(what, why, without),
            Observed::Value { value, age_s } => (value, *age_s),
        };
        let mut worth = freshness(age_s);
        let mut why = Vec::new();
        if worth < 1.0 {
            why.push(format!("{} old", Seconds(age_s)));
        }
        if let Some((gap, factor)) = gap(value) {
            why.push(gap);
            worth *= factor;
        }
        if !why.is_empty() {
            self.say(what, &why.join(", "), worth.max(without));
        }
    }
}

/// 1 for what was read within half a minute, falling to 0 at ten minutes. An age that is not a number is no age to trust.
fn freshness(age_s: f64) -> f64 {
    if age_s.is_nan() { 0.0 } else { (1.0 - (age_s - 30.0) / 570.0).clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BootId;

    fn at(uptime_s: f64) -> Now {
        Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId("a".into()), uptime_s }
    }

    #[test]
    fn what_is_old_falls_to_nothing_at_ten_minutes() {
        let trust = |age_s: f64| Doubts::of_evidence(&at(1000.0), &at(1000.0 + age_s)).trust;
        assert_eq!((trust(0.0), trust(30.0), trust(600.0), trust(6000.0)), (1.0, 1.0, 0.0, 0.0));
        assert!(trust(60.0) < 1.0 && trust(60.0) > trust(300.0));
    }

    #[test]
    fn a_part_is_worth_least_when_it_is_missing() {
        let trust = |part: Observed<u8>, gap: bool| {
            let mut doubts = Doubts::of_evidence(&at(0.0), &at(0.0));
            doubts.gaps("part", &part, 0.5, |_| gap.then(|| ("half of it".to_owned(), 0.9)));
            assert_eq!(doubts.said.is_empty(), doubts.trust >= 1.0, "{doubts:?}");
            doubts.trust
        };
        let old = |age_s| Observed::Value { value: 1, age_s };
        assert_eq!((trust(Observed::fresh(1), false), trust(Observed::fresh(1), true)), (1.0, 0.9));
        assert_eq!((trust(Observed::unavailable("gone"), false), trust(old(5000.0), true), trust(old(f64::NAN), false)), (0.5, 0.5, 0.5));
    }
}
