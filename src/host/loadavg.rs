//! The load averages: `/proc/loadavg`.

use super::Read;
use super::columns::{Words, fraction, lines, not_understood};
use crate::model::LoadAverage;

const WHAT: &str = "/proc/loadavg";

/// `0.20 0.18 0.12 1/80 11206`. Total.
pub(super) fn parse_loadavg(bytes: &[u8]) -> Read<LoadAverage> {
    let line = lines(WHAT, bytes)?.next().unwrap_or_default();
    let mut words = Words(line).map_while(fraction);
    match (words.next(), words.next(), words.next()) {
        (Some(one), Some(five), Some(fifteen)) => Ok(LoadAverage { one, five, fifteen }),
        _ => Err(not_understood(WHAT, line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_numbers() {
        assert_eq!(parse_loadavg(b"0.20 1.18 100.12 1/80 11206\n").unwrap(), LoadAverage { one: 0.2, five: 1.18, fifteen: 100.12 });
        for text in [b"".as_slice(), b"\n", b"0.20 1.18\n", b"0.20 NaN 0.12 1/80 1\n", b"-1 0 0\n", b"0.20 1.18 0.12 1/80 112"] {
            assert!(parse_loadavg(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_loadavg(&bytes);
        }
    }
}
