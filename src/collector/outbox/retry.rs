//! When a message that was not taken is tried again. Pure.

use jiff::{SignedDuration, Timestamp};

/// How often one is tried.
pub const MOST_TRIES: u64 = 8;
/// The longest wait between two tries.
pub const LONGEST: SignedDuration = SignedDuration::from_millis(LONGEST_MS.cast_signed());
const LONGEST_MS: u64 = 30 * 60 * 1000;
/// How long one is tried at all.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);
/// The longest wait after the first try; it doubles with each.
const FIRST_MS: u64 = 5_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    At(Timestamp),
    /// Enough: a person has to look.
    Dead,
}

/// The most that is waited after so many tries.
fn at_most_ms(tries: u64) -> u64 {
    // Long past the longest wait, and far from the end of the number.
    let doublings = tries.saturating_sub(1).min(20);
    (FIRST_MS << doublings).min(LONGEST_MS)
}

/// After the `tries`th try of what was written at `created_at`. Waits are drawn from all there are up to the longest one, so that many that
/// failed together do not come back together; `drawn` is a random number.
pub fn after(tries: u64, created_at: Timestamp, now: Timestamp, drawn: u32) -> Next {
    if tries >= MOST_TRIES || now.duration_since(created_at) >= PATIENCE {
        return Next::Dead;
    }
    let wait = u128::from(at_most_ms(tries)) * u128::from(drawn) / u128::from(u32::MAX);
    let wait = SignedDuration::from_millis(i64::try_from(wait).unwrap_or(0));
    Next::At(now.saturating_add(wait).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_waits_double_until_they_are_long_enough() {
        let waits: Vec<u64> = (1..=11).map(|tries| at_most_ms(tries) / 1000).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800]);
        assert_eq!((at_most_ms(0), at_most_ms(64), at_most_ms(u64::MAX)), (5_000, 1_800_000, 1_800_000));
    }

    #[test]
    fn enough_is_eight_tries_or_a_day() {
        let (created, soon) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        assert_eq!(after(7, created, soon, u32::MAX), Next::At(Timestamp::from_second(380).unwrap()));
        assert_eq!(after(8, created, soon, 0), Next::Dead);
        let day = Timestamp::from_second(86_400).unwrap();
        assert_eq!((after(1, created, day, 0), after(1, soon, day, 0)), (Next::Dead, Next::At(day)));
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_longest(tries in 0..MOST_TRIES, drawn: u32, now in 0..86_399_i64) {
            let (created, now) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(now).unwrap());
            let Next::At(at) = after(tries, created, now, drawn) else { panic!("it is neither old nor tried often") };
            let wait = at.duration_since(now);
            prop_assert!(!wait.is_negative() && wait.as_millis() <= i128::from(at_most_ms(tries)) && wait <= LONGEST);
            // A greater number is no shorter wait, and the greatest the longest.
            let Next::At(later) = after(tries, created, now, drawn.saturating_add(1_000_000)) else { unreachable!() };
            prop_assert!(later >= at);
            let longest = now + SignedDuration::from_millis(at_most_ms(tries) as i64);
            prop_assert_eq!(after(tries, created, now, u32::MAX), Next::At(longest));
        }

        #[test]
        fn any_figures_give_an_answer(tries: u64, created: i32, now: i32, drawn: u32) {
            let at = |s: i32| Timestamp::from_second(s.into()).unwrap();
            match after(tries, at(created), at(now), drawn) {
                Next::At(next) => prop_assert!(next >= at(now)),
                Next::Dead => prop_assert!(tries >= MOST_TRIES || i64::from(now) - i64::from(created) >= 86_400),
            }
        }
    }
}
