//! Pressure stall information: `/proc/pressure/` and a cgroup's files of the same form.

use super::Read;
use super::columns::{Words, damaged, fraction, lines, number};
use crate::model::Pressure;

const WHAT: &str = "pressure file";

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`. Total.
pub(super) fn parse_pressure(bytes: &[u8]) -> Read<Pressure> {
    let (some, full) = parse_lines(bytes)?;
    let full = full.ok_or_else(|| damaged(WHAT, "no line for 'full'"))?;
    Ok(pressure(&some, &full))
}

/// The same of a CPU. Before 5.13 it has no line for `full`, and since then that of the whole host is always zero: not everybody can wait
/// for a CPU at once, somebody has it. So there, and only there, a missing line is zero. Total.
pub(super) fn parse_cpu_pressure(bytes: &[u8]) -> Read<Pressure> {
    let (some, full) = parse_lines(bytes)?;
    Ok(pressure(&some, &full.unwrap_or(Stalls { avg10: 0.0, avg60: 0.0, total_us: 0 })))
}

/// Of interrupts there is a line for `full` only: what is lost to them is lost to all tasks of a CPU. Gives its total, in microseconds. Total.
pub(super) fn parse_irq_stalled_us(bytes: &[u8]) -> Read<u64> {
    let mut full = None;
    for line in lines(WHAT, bytes)? {
        let mut words = Words(line);
        if words.next() == Some(b"full") {
            full = Some(parse_stalls("full", words)?);
        }
    }
    full.map(|stalls| stalls.total_us).ok_or_else(|| damaged(WHAT, "no line for 'full'"))
}

struct Stalls {
    avg10: f64,
    avg60: f64,
    total_us: u64,
}

fn pressure(some: &Stalls, full: &Stalls) -> Pressure {
    Pressure {
        some_avg10: some.avg10,
        some_avg60: some.avg60,
        full_avg10: full.avg10,
        full_avg60: full.avg60,
        some_total_us: some.total_us,
        full_total_us: full.total_us,
    }
}

fn parse_lines(bytes: &[u8]) -> Read<(Stalls, Option<Stalls>)> {
    let (mut some, mut full) = (None, None);
    for line in lines(WHAT, bytes)? {
        let mut words = Words(line);
        match words.next() {
            Some(b"some") => some = Some(parse_stalls("some", words)?),
            Some(b"full") => full = Some(parse_stalls("full", words)?),
            _ => {}
        }
    }
    Ok((some.ok_or_else(|| damaged(WHAT, "no line for 'some'"))?, full))
}

fn parse_stalls(kind: &str, words: Words<'_>) -> Read<Stalls> {
    let (mut avg10, mut avg60, mut total) = (None, None, None);
    for word in words {
        if let Some(value) = word.strip_prefix(b"avg10=") {
            avg10 = share(value);
        } else if let Some(value) = word.strip_prefix(b"avg60=") {
            avg60 = share(value);
        } else if let Some(value) = word.strip_prefix(b"total=") {
            total = number(value);
        }
    }
    match (avg10, avg60, total) {
        (Some(avg10), Some(avg60), Some(total_us)) => Ok(Stalls { avg10, avg60, total_us }),
        _ => Err(damaged(WHAT, format!("'{kind}' lacks avg10, avg60 or total"))),
    }
}

/// A share of wall time: a number that is not one of 0..=100 is damage, not pressure.
fn share(word: &[u8]) -> Option<f64> {
    fraction(word).filter(|v| *v <= 100.0)
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

    #[test]
    fn only_a_cpu_may_lack_the_line_for_full() {
        let old = b"some avg10=1.50 avg60=40.00 avg300=3.00 total=123\n";
        let read = parse_cpu_pressure(old).unwrap();
        assert_eq!((read.some_avg10, read.some_total_us, read.full_avg10, read.full_avg60, read.full_total_us), (1.5, 123, 0.0, 0.0, 0));
        assert!(parse_pressure(old).is_err());
        let new = b"some avg10=1.50 avg60=40.00 total=123\nfull avg10=0.25 avg60=0.00 total=9\n";
        assert_eq!(parse_cpu_pressure(new).unwrap(), parse_pressure(new).unwrap());
        assert!(parse_cpu_pressure(b"some avg10=1.50 avg60=40.00 total=123\nfull avg10=0.25\n").is_err(), "damaged is not missing");
        assert!(parse_cpu_pressure(b"some avg10=1.50 avg60=40.00 total=12").is_err(), "cut off");
    }

    #[test]
    fn of_interrupts_there_is_one_line() {
        assert_eq!(parse_irq_stalled_us(b"full avg10=0.00 avg60=1.20 avg300=0.00 total=4711\n").unwrap(), 4711);
        for damaged in [b"some avg10=0.00 avg60=0.00 total=4711\n".as_slice(), b"full avg10=0.00 avg60=0.00\n", b"full", b""] {
            assert!(parse_irq_stalled_us(damaged).is_err(), "{}", damaged.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_irq_stalled_us(&bytes);
            let _ = parse_pressure(&bytes);
            let _ = parse_cpu_pressure(&bytes);
        }

        #[test]
        fn damaged_lines_are_parsed_or_refused(text in "(some|full)? ?(avg10|avg60|total)?=?[0-9.e-]{0,5}\n{0,2}") {
            let _ = (parse_pressure(text.as_bytes()), parse_irq_stalled_us(text.as_bytes()));
        }
    }
}
