//! The one place where figures and times become words.

use crate::model::{Bytes, Now, Observed, Seconds, is_unprintable};

/// Free text on one line that can neither break a table nor colour a terminal. Backslashes stay: paths come escaped already.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) {
            let mut buffer = [0; 4];
            for b in c.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("\\x{b:02x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// `2026-11-21 21:55:06 UTC`.
pub(crate) fn utc(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Seconds from `start` to `at`: by the boot clock, across boots by the wall clock.
pub(crate) fn seconds_between(start: &Now, at: &Now) -> f64 {
    at.steady_since(start).unwrap_or_else(|| (at.wall.as_millisecond() - start.wall.as_millisecond()) as f64 / 1000.0)
}

/// `1 file`, `20,000 files`.
pub(crate) fn count(n: u64, one: &str) -> String {
    let plural = match one.strip_suffix('y') {
        _ if n == 1 => one.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{one}s"),
    };
    format!("{} {plural}", thousands(n))
}

pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `+1.20 GiB`, `-3.00 KiB`.
pub(crate) fn signed(bytes: i64) -> String {
    format!("{}{}", if bytes < 0 { '-' } else { '+' }, Bytes(bytes.unsigned_abs()))
}

/// How far the real figure is from the expected one, in percent of the expected one; `None` where nothing was expected.
pub(super) fn deviation(expected: u64, real: u64) -> Option<f64> {
    (expected > 0).then(|| (real as f64 - expected as f64) * 100.0 / expected as f64)
}

pub(crate) fn deviation_text(expected: u64, real: u64) -> String {
    match deviation(expected, real) {
        // Rounded to nothing is said without a sign.
        Some(d) if d.abs() < 0.05 => "0.0 %".into(),
        Some(d) => format!("{d:+.1} %"),
        None if real == 0 => "as expected".into(),
        None => "none expected".into(),
    }
}

pub(crate) fn share(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// What was read, or plainly that it was not and why.
pub(super) fn observed<T>(value: &Observed<T>, say: impl FnOnce(&T) -> String) -> String {
    match value {
        Observed::Value { value, age_s } if *age_s >= 1.0 => format!("{} ({} ago)", say(value), Seconds(*age_s)),
        Observed::Value { value, .. } => say(value),
        Observed::Unavailable { why } => format!("unknown: {}", clean(why)),
    }
}

/// The first letter large: the start of a sentence. Names (`log_growth`, `/srv`) keep their own.
pub(crate) fn sentence(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    if !word.trim_end_matches([':', ',', '.']).chars().all(char::is_alphabetic) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_text_stays_on_one_line_and_keeps_escapes() {
        assert_eq!(clean("a\nb\x1b[31m\\x0a\u{202e}"), "a\\x0ab\\x1b[31m\\x0a\\xe2\\x80\\xae");
    }

    #[test]
    fn figures() {
        assert_eq!((count(1, "file"), count(1_234_567, "entry")), ("1 file".into(), "1,234,567 entries".into()));
        assert_eq!((signed(-3072), signed(0)), ("-3.00 KiB".into(), "+0 B".into()));
        assert_eq!(
            (deviation_text(100, 98), deviation_text(0, 5), deviation_text(0, 0)),
            ("-2.0 %".into(), "none expected".into(), "as expected".into())
        );
        assert_eq!(deviation_text(1_000_000, 999_999), "0.0 %");
    }
}
