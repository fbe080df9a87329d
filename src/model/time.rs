//! Two clocks, because either one lies: the wall clock jumps, the boot clock starts again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::amount::{Unit, amount};

/// The kernel's `boot_id`: tells whether two boot-clock readings may be subtracted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

/// A moment on both clocks. Decisions take it as an argument; only `host/` makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Now {
    /// UTC, RFC 3339 in JSON.
    pub wall: jiff::Timestamp,
    pub boot: BootId,
    /// Seconds since boot, suspend included (CLOCK_BOOTTIME).
    pub uptime_s: f64,
}

/// A span in seconds that prints as people say it: `45 s`, `3 min 20 s`, `4.0 h`, `2.5 d`.
/// Read from a number of seconds or from text: `"45s"`, `"30 min"`, `"24h"`, `"7d"`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl Now {
    /// Seconds that have certainly passed since `then`: what a cooldown may count.
    ///
    /// In one boot the smaller of the two clocks' differences, so a wall clock set forward cannot shorten a cooldown.
    /// Across boots the wall clock is all there is; where it went back, the uptime is the part that is certain.
    pub fn proven_since(&self, then: &Now) -> Seconds {
        let wall = (self.wall.as_millisecond() - then.wall.as_millisecond()) as f64 / 1000.0;
        let certain = if self.boot == then.boot { (self.uptime_s - then.uptime_s).min(wall) } else { wall.max(self.uptime_s) };
        Seconds(certain.max(0.0))
    }

    /// The wall clock, but never further on than the boot clock has run since `started`: what file ages are counted from.
    /// A wall clock that somebody sets forward makes no file old; one that is set right after a late start makes them younger only.
    pub fn wall_at_most_since(&self, started: &Now) -> jiff::Timestamp {
        match self.steady_since(started) {
            Some(ran) => self.wall.min(started.wall.saturating_add(jiff::SignedDuration::from_secs_f64(ran)).unwrap_or(self.wall)),
            None => self.wall,
        }
    }

    /// Seconds that may have passed at most: what a deadline or a rate over time must assume.
    pub fn at_most_since(&self, then: &Now) -> Seconds {
        let wall = (self.wall.as_millisecond() - then.wall.as_millisecond()) as f64 / 1000.0;
        let most = if self.boot == then.boot { (self.uptime_s - then.uptime_s).max(wall) } else { wall.max(self.uptime_s) };
        Seconds(most.max(0.0))
    }

    /// Seconds on the boot clock between two moments of one boot; `None` across boots. For windows, rates and forecasts:
    /// the one difference that no clock jump changes.
    pub fn steady_since(&self, then: &Now) -> Option<f64> {
        (self.boot == then.boot).then_some(self.uptime_s - then.uptime_s)
    }
}

const SPANS: &[Unit] = &[(&["", "s", "sec"], 1.0), (&["m", "min"], 60.0), (&["h"], 3600.0), (&["d"], 86_400.0), (&["w"], 604_800.0)];

impl Seconds {
    /// Whole seconds, rounded up: an age that must be reached is never rounded away.
    pub fn whole(self) -> u64 {
        self.0.max(0.0).ceil() as u64
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        amount(
            d,
            "a time: a number of seconds, or \"45s\", \"24h\", \"7d\"",
            SPANS,
            |whole| Some(Self(whole as f64)),
            |s| s.is_finite().then_some(Self(s)),
        )
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0;
        match s {
            _ if s < 10.0 => write!(f, "{s:.1} s"),
            _ if s < 120.0 => write!(f, "{s:.0} s"),
            _ if s < 5400.0 => write!(f, "{} min {:.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
            _ if s < 172_800.0 => write!(f, "{:.1} h", s / 3600.0),
            _ => write!(f, "{:.1} d", s / 86_400.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_s: i64, boot: &str, uptime_s: f64) -> Now {
        Now { wall: jiff::Timestamp::from_second(wall_s).unwrap(), boot: BootId(boot.into()), uptime_s }
    }

    #[test]
    fn a_span_is_a_number_or_a_number_with_a_unit() {
        let read = |json: &str| serde_json::from_str::<Seconds>(json).map_err(|e| e.to_string());
        assert_eq!((read("1.5").unwrap(), read("90").unwrap()), (Seconds(1.5), Seconds(90.0)));
        assert_eq!((read("\"24h\"").unwrap(), read("\"30 min\"").unwrap()), (Seconds(86_400.0), Seconds(1800.0)));
        assert_eq!(read("-3.25").unwrap(), Seconds(-3.25), "a recorded difference may be negative");
        assert!(read("\"24 hours\"").unwrap_err().contains("24h"), "the error shows what is understood");
    }

    #[test]
    fn a_wall_clock_set_forward_shortens_no_cooldown() {
        assert_eq!(at(1_000_000 + 7200, "a", 160.0).proven_since(&at(1_000_000, "a", 100.0)), Seconds(60.0));
    }

    #[test]
    fn a_wall_clock_set_back_only_lengthens_one() {
        assert_eq!(at(1_000_000 - 7200, "a", 90_000.0).proven_since(&at(1_000_000, "a", 100.0)), Seconds(0.0));
    }

    #[test]
    fn a_wall_clock_set_forward_makes_no_file_old() {
        let started = at(1_000_000, "a", 100.0);
        assert_eq!(at(1_000_000 + 7200 + 60, "a", 160.0).wall_at_most_since(&started).as_second(), 1_000_060);
        assert_eq!(at(1_000_000 - 7200, "a", 160.0).wall_at_most_since(&started).as_second(), 1_000_000 - 7200);
    }

    #[test]
    fn after_a_reboot_the_wall_counts_and_the_uptime_is_the_floor() {
        assert_eq!(at(1_003_600, "b", 60.0).proven_since(&at(1_000_000, "a", 100.0)), Seconds(3600.0));
        assert_eq!(at(900_000, "b", 60.0).proven_since(&at(1_000_000, "a", 100.0)), Seconds(60.0));
    }
}
