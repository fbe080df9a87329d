//! Moments as people read them: absolute in UTC, and how long ago that is.

use super::safe_text::Shown;
use crate::model::Seconds;
use crate::report::words;

#[derive(Debug, Clone)]
pub(super) struct Stamp {
    /// For `datetime`.
    pub(super) iso: String,
    /// `2026-11-21 21:55:06 UTC`.
    pub(super) utc: String,
    /// `3 min 20 s ago`, `in 40 s`; empty where it is not known what time it is.
    pub(super) ago: Shown,
}

impl Stamp {
    pub(super) fn of(at: jiff::Timestamp, now: Option<jiff::Timestamp>) -> Self {
        let ago = now.map(|now| ago(at, now)).unwrap_or_default();
        Self { iso: at.to_string(), utc: words::utc(at), ago }
    }

    /// `21:55:06 UTC`, with the date where it is another day than `day`'s.
    pub(super) fn of_day(at: jiff::Timestamp, day: jiff::Timestamp) -> Self {
        let date = |t: jiff::Timestamp| t.strftime("%Y-%m-%d").to_string();
        let utc = if date(at) == date(day) { at.strftime("%H:%M:%S UTC").to_string() } else { words::utc(at) };
        Self { iso: at.to_string(), utc, ago: Shown::default() }
    }
}

fn ago(at: jiff::Timestamp, now: jiff::Timestamp) -> Shown {
    let s = (now.as_millisecond() - at.as_millisecond()) as f64 / 1000.0;
    if s >= 0.0 { Shown::name(format!("{} ago", Seconds(s))) } else { Shown::name(format!("in {}", Seconds(-s))) }
}

/// `+14.1 s`: since it was opened.
pub(super) fn plus(s: f64) -> Shown {
    let sign = if s < 0.0 { '-' } else { '+' };
    let s = s.abs();
    Shown::name(if s < 600.0 { format!("{sign}{s:.1} s") } else { format!("{sign}{}", Seconds(s)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> jiff::Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn moments_are_absolute_and_relative() {
        let stamp = Stamp::of(at("2026-11-21T21:55:06Z"), Some(at("2026-11-21T21:58:26Z")));
        assert_eq!((stamp.utc.as_str(), stamp.ago.to_string()), ("2026-11-21 21:55:06 UTC", "3 min 20 s ago".into()));
        assert_eq!(Stamp::of(at("2026-11-21T21:59:06Z"), Some(at("2026-11-21T21:58:26Z"))).ago.to_string(), "in 40 s");
        assert!(Stamp::of(at("2026-11-21T21:55:06Z"), None).ago.is_empty());
    }

    #[test]
    fn another_day_has_its_date() {
        let day = at("2026-11-21T21:55:06Z");
        assert_eq!(Stamp::of_day(at("2026-11-21T23:00:00Z"), day).utc, "23:00:00 UTC");
        assert_eq!(Stamp::of_day(at("2026-11-22T00:00:01Z"), day).utc, "2026-11-22 00:00:01 UTC");
    }

    #[test]
    fn a_figure_without_end_has_one() {
        assert_eq!((plus(14.14).to_string(), plus(-3.0).to_string()), ("+14.1 s".into(), "-3.0 s".into()));
        assert!(plus(1e300).to_string().len() < 200);
    }
}
