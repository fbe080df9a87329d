//! Times in which people work on the host and BytePort keeps its hands still.

use jiff::civil::Weekday;
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// `[[maintenance]]`: from and to are both `HH:MM` (UTC, every week on these days) or both RFC 3339 (once).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWindow {
    #[serde(default)]
    days: Vec<Day>,
    from: Moment,
    to: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    const fn of(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
enum Moment {
    /// Minutes since midnight UTC.
    Daily(u32),
    Once(Timestamp),
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // Digits alone: a number's own parser would also take a sign.
        if let Some((h, m)) = text.split_once(':')
            && text.bytes().all(|b| b.is_ascii_digit() || b == b':')
            && let (2, 2, Ok(h @ 0..=23), Ok(m @ 0..=59)) = (h.len(), m.len(), h.parse::<u32>(), m.parse::<u32>())
        {
            return Ok(Self::Daily(h * 60 + m));
        }
        text.parse().map(Self::Once).map_err(|_| format!("{text:?} is neither HH:MM (UTC) nor a time like 2026-12-24T18:00:00Z"))
    }
}

/// A window that means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// Minutes since midnight UTC; one that ends before it begins ends on the next day. No days: every day.
    Weekly {
        days: Vec<Day>,
        from: u32,
        to: u32,
    },
    Once {
        from: Timestamp,
        to: Timestamp,
    },
}

impl Window {
    pub(super) fn new(raw: RawWindow) -> Result<Self, String> {
        match (raw.from, raw.to) {
            (Moment::Daily(from), Moment::Daily(to)) if from != to => Ok(Self::Weekly { days: raw.days, from, to }),
            (Moment::Daily(_), Moment::Daily(_)) => Err("a window from a time to the same time is empty".into()),
            (Moment::Once(_), Moment::Once(_)) if !raw.days.is_empty() => Err("days go with HH:MM, not with a date".into()),
            (Moment::Once(from), Moment::Once(to)) if from < to => Ok(Self::Once { from, to }),
            (Moment::Once(_), Moment::Once(_)) => Err("the window ends before it begins".into()),
            _ => Err("from and to are of two kinds: write both as HH:MM or both with a date".into()),
        }
    }

    pub fn is_open(&self, at: Timestamp) -> bool {
        match self {
            Self::Once { from, to } => (*from..*to).contains(&at),
            Self::Weekly { days, from, to } => {
                let utc = at.to_zoned(TimeZone::UTC);
                let minute = u32::from(utc.hour().unsigned_abs()) * 60 + u32::from(utc.minute().unsigned_abs());
                let on = |day: Weekday| days.is_empty() || days.contains(&Day::of(day));
                match from < to {
                    true => on(utc.weekday()) && (*from..*to).contains(&minute),
                    false => (on(utc.weekday()) && minute >= *from) || (on(utc.weekday().previous()) && minute < *to),
                }
            }
        }
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Once { from, to } => write!(f, "{from} to {to}"),
            Self::Weekly { days, from, to } => {
                for day in days {
                    write!(f, "{} ", format!("{day:?}").to_lowercase())?;
                }
                write!(f, "{:02}:{:02} to {:02}:{:02} UTC", from / 60, from % 60, to / 60, to % 60)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(days: &[Day], from: u32, to: u32, at: &str) -> bool {
        Window::Weekly { days: days.to_vec(), from, to }.is_open(at.parse().unwrap())
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
        // 2026-11-21 is a Saturday.
        let night = |at| open(&[Day::Sat], 23 * 60, 2 * 60, at);
        assert!(night("2026-11-21T23:00:00Z") && night("2026-11-22T01:59:59Z"));
        assert!(!night("2026-11-22T02:00:00Z") && !night("2026-11-21T01:00:00Z") && !night("2026-11-22T23:30:00Z"));
        assert!(open(&[], 60, 120, "2026-11-18T01:00:00Z"));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let window = |from: &str, to: &str, days: Vec<Day>| {
            Window::new(RawWindow { days, from: from.to_owned().try_into().unwrap(), to: to.to_owned().try_into().unwrap() })
        };
        assert!(window("02:00", "04:00", vec![Day::Sat]).is_ok());
        assert!(window("2026-12-24T18:00:00Z", "2026-12-25T06:00:00+01:00", vec![]).is_ok());
        for (from, to) in [("02:00", "02:00"), ("02:00", "2026-12-24T18:00:00Z"), ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z")] {
            assert!(window(from, to, vec![]).is_err(), "{from} {to}");
        }
        assert!(window("2026-12-24T18:00:00Z", "2026-12-25T06:00:00Z", vec![Day::Sat]).is_err());
        for text in ["2:00", "24:00", "02:60", "noon", "+1:00"] {
            assert!(Moment::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
