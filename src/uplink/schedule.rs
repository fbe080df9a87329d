//! When the collector is asked, so that ten thousand hosts never ask it together: not at the start of a fleet, not after an outage of the
//! collector, not once an hour. Pure: `die` is a number of 0..1 that nobody can foresee.

use std::time::Duration;

/// Before the first word of the collector.
pub const FIRST_INTERVAL: Duration = Duration::from_secs(30);
/// What it may ask for.
const INTERVALS: std::ops::RangeInclusive<f64> = 1.0..=3600.0;
const JITTER: f64 = 0.1;
/// After a link was lost: all hosts lose it in the same moment.
const FIRST_RETRY: Duration = Duration::from_secs(120);
const SHORTEST_RETRY_S: f64 = 2.0;
const LONGEST_RETRY_S: f64 = 300.0;
/// A collector that asks for more patience than this is asked again all the same.
const MOST_PATIENCE_S: u64 = 3600;
/// Between two tries of somebody who was shown the door.
const SHUT_OUT: (f64, f64) = (900.0, 1800.0);

fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or(FIRST_INTERVAL)
}

fn between(low: f64, high: f64, die: f64) -> Duration {
    seconds(low + (high - low) * die.clamp(0.0, 1.0))
}

/// How long after its start a host first asks: its own place within the interval, the same each time.
pub fn phase(agent_id: &str, interval: Duration) -> Duration {
    let hash = openssl::sha::sha256(agent_id.as_bytes());
    let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let whole = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(number % whole)
}

/// What the collector asks for, as far as it makes sense.
pub fn interval(next_in_s: f64) -> Duration {
    if next_in_s.is_finite() { seconds(next_in_s.clamp(*INTERVALS.start(), *INTERVALS.end())) } else { FIRST_INTERVAL }
}

/// From one heartbeat to the next.
pub fn beat(interval: Duration, die: f64) -> Duration {
    let s = interval.as_secs_f64();
    between(s * (1.0 - JITTER), s * (1.0 + JITTER), die)
}

/// After so many tries in a row that came to nothing, this one not counted.
pub fn retry(before: u32, die: f64) -> Duration {
    if before == 0 { between(0.0, FIRST_RETRY.as_secs_f64(), die) } else { backoff(before, die) }
}

/// The same where the collector did answer: nobody else has lost anything, so the first try need not be put off so far.
pub fn backoff(before: u32, die: f64) -> Duration {
    let most = (SHORTEST_RETRY_S * 2_f64.powi(i32::try_from(before.clamp(1, 16)).unwrap_or(16))).min(LONGEST_RETRY_S);
    between(SHORTEST_RETRY_S, most, die)
}

/// What the collector asked for, and up to half as much again. Never at once: `Retry-After: 0` of a proxy is no leave to hammer it.
pub fn after(retry_after_s: u64, die: f64) -> Duration {
    let s = (retry_after_s.min(MOST_PATIENCE_S) as f64).max(SHORTEST_RETRY_S);
    between(s, s * 1.5, die)
}

/// Before somebody whom the collector does not know any more asks again: a person has to do something first.
pub fn shut_out(die: f64) -> Duration {
    between(SHUT_OUT.0, SHUT_OUT.1, die)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn hosts_are_spread_over_the_whole_interval() {
        let mut quarters = [0; 4];
        for n in 0..4000 {
            let at = phase(&format!("{n:032x}"), MINUTE);
            quarters[usize::try_from(at.as_secs() / 15).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|n| (850..1150).contains(n)), "{quarters:?}");
        assert_eq!(phase("a", MINUTE), phase("a", MINUTE));
    }

    #[test]
    fn tries_become_rarer_up_to_five_minutes() {
        let most: Vec<u64> = (0..10).map(|before| retry(before, 1.0).as_secs()).collect();
        assert_eq!(most, [120, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!((retry(0, 0.0), retry(7, 0.0), backoff(0, 1.0)), (Duration::ZERO, seconds(2.0), seconds(4.0)));
    }

    #[test]
    fn an_interval_that_makes_no_sense_is_not_taken() {
        for (asked, s) in [(30.0, 30), (0.0, 1), (-5.0, 1), (1e300, 3600), (f64::NAN, 30), (f64::INFINITY, 30)] {
            assert_eq!(interval(asked), Duration::from_secs(s), "{asked}");
        }
    }

    proptest! {
        #[test]
        fn bounds_are_kept(die in 0.0..1.0_f64, before: u32, asked: u64, s in 1.0..3600.0_f64, id in "[0-9a-f]{32}") {
            let every = seconds(s);
            prop_assert!(phase(&id, every) < every);
            let next = beat(every, die).as_secs_f64();
            prop_assert!((s * 0.9 - 1e-6..=s * 1.1 + 1e-6).contains(&next));
            let again = retry(before, die).as_secs_f64();
            let bounds = if before == 0 { 0.0..=120.0 } else { 2.0..=300.0 };
            prop_assert!(bounds.contains(&again));
            let patience = after(asked, die).as_secs_f64();
            prop_assert!(after(0, die).as_secs_f64() >= SHORTEST_RETRY_S, "nobody is hammered because a proxy said so");
            let asked = asked.min(3600) as f64;
            prop_assert!((asked..=asked * 1.5).contains(&patience));
            prop_assert!((900.0..=1800.0).contains(&shut_out(die).as_secs_f64()));
        }

        #[test]
        fn the_die_decides(low in 0.0..0.4_f64, high in 0.6..1.0_f64, before in 1..20_u32) {
            prop_assert!(retry(0, low) < retry(0, high) && retry(before, low) < retry(before, high));
            prop_assert!(beat(MINUTE, low) < beat(MINUTE, high) && after(10, low) < after(10, high) && shut_out(low) < shut_out(high));
        }
    }
}
