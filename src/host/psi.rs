//! Pressure stall information: `/proc/pressure/io`. (The procfs crate's parser indexes a line without looking at its length, so a
//! damaged one would panic; this one is total.)

use super::{Read, ReadError};
use crate::model::Pressure;

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
pub(super) fn parse_pressure(bytes: &[u8]) -> Read<Pressure> {
    let text = String::from_utf8_lossy(bytes);
    let some = parse_line(&text, "some")?;
    let full = parse_line(&text, "full")?;
    Ok(Pressure {
        some_avg10: some.avg10,
        some_avg60: some.avg60,
        full_avg10: full.avg10,
        full_avg60: full.avg60,
        some_total_us: some.total_us,
        full_total_us: full.total_us,
    })
}

struct Stalls {
    avg10: f64,
    avg60: f64,
    total_us: u64,
}

fn parse_line(text: &str, kind: &str) -> Read<Stalls> {
    let damaged = |why: String| ReadError::Parse { what: "pressure file".to_owned(), why };
    let words = text.lines().map(str::split_whitespace).find_map(|mut words| (words.next() == Some(kind)).then_some(words));
    let words = words.ok_or_else(|| damaged(format!("no line for '{kind}'")))?;
    let (mut avg10, mut avg60, mut total_us) = (None, None, None);
    for (key, value) in words.filter_map(|w| w.split_once('=')) {
        match key {
            "avg10" => avg10 = share(value),
            "avg60" => avg60 = share(value),
            "total" => total_us = value.parse().ok(),
            _ => {}
        }
    }
    match (avg10, avg60, total_us) {
        (Some(avg10), Some(avg60), Some(total_us)) => Ok(Stalls { avg10, avg60, total_us }),
        _ => Err(damaged(format!("'{kind}' lacks avg10, avg60 or total"))),
    }
}

/// A share of wall time: a number that is not one of 0..=100 is damage, not pressure.
fn share(text: &str) -> Option<f64> {
    text.parse().ok().filter(|v| (0.0..=100.0).contains(v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_lines_are_read() {
        let p = parse_pressure(b"some avg10=1.50 avg60=40.00 avg300=3.00 total=123\nfull avg10=0.50 avg60=7.25 avg300=0.00 total=45\n")
            .unwrap();
        assert_eq!(
            (p.some_avg10, p.some_avg60, p.full_avg10, p.full_avg60, p.some_total_us, p.full_total_us),
            (1.5, 40.0, 0.5, 7.25, 123, 45)
        );
    }

    #[test]
    fn what_is_missing_is_not_zero() {
        assert!(parse_pressure(b"some avg10=1.50 avg60=40.00 avg300=3.00 total=123\n").is_err());
        assert!(parse_pressure(b"some avg10=NaN avg60=40.00 total=123\nfull avg10=0.50 avg60=7.25 total=45\n").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_pressure(&bytes);
        }

        #[test]
        fn damaged_lines_are_parsed_or_refused(text in "(some|full)? ?(avg10|avg60|total)?=?[0-9.e-]{0,5}\n{0,2}") {
            let _ = parse_pressure(text.as_bytes());
        }
    }
}
