//! One `/proc/PID/stat`, as far as a sweep needs it. Takes bytes and allocates nothing.

/// `utime` (14), `stime` (15), `num_threads` (20), `starttime` (22) and `rss` (24), counted as proc(5) does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) struct Line<'a> {
    /// Between the first `(` and the last `)`: it may hold brackets, blanks, newlines, anything.
    pub(super) comm: &'a [u8],
    pub(super) state: char,
    /// Of user and system time together.
    pub(super) cpu_ticks: u64,
    pub(super) threads: u64,
    pub(super) start_ticks: u64,
    pub(super) rss_pages: u64,
}

/// Total. `None` for what is no whole line.
pub(in crate::host) fn parse_line(bytes: &[u8]) -> Option<Line<'_>> {
    let open = bytes.iter().position(|b| *b == b'(')?;
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let comm = bytes.get(open + 1..close)?;
    let mut fields = bytes.get(close + 1..)?.strip_prefix(b" ")?.split(|b| *b == b' ');
    let state = match fields.next()? {
        [letter] if letter.is_ascii_alphabetic() => char::from(*letter),
        _ => return None,
    };
    // Between the state (3) and utime.
    let user = number(fields.nth(10)?)?;
    let system = number(fields.next()?)?;
    let threads = number(fields.nth(4)?)?;
    let start_ticks = number(fields.nth(1)?)?;
    let rss_pages = number(fields.nth(1)?)?;
    // A line that ends here was cut off in the middle of a number, perhaps.
    fields.next()?;
    Some(Line { comm, state, cpu_ticks: user.saturating_add(system), threads, start_ticks, rss_pages })
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(comm: &[u8]) -> Vec<u8> {
        let rest = b") S 1 42 42 0 -1 4194304 1 2 3 4 50 6 7 8 20 -5 3 0 777 8192 9 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17\n";
        [b"42 (", comm, rest].concat()
    }

    #[test]
    fn a_name_of_any_bytes_does_not_shift_the_fields() {
        for comm in [b"plain".as_slice(), b"a) b (c", b") R 9 9 9 ", b"x\ny", b"\xff\xfe\0", b"", b"(((", b")))"] {
            let bytes = line(comm);
            let expected = Line { comm, state: 'S', cpu_ticks: 56, threads: 3, start_ticks: 777, rss_pages: 9 };
            assert_eq!(parse_line(&bytes), Some(expected), "{}", comm.escape_ascii());
        }
    }

    #[test]
    fn what_is_cut_off_or_no_number_is_refused() {
        let whole = line(b"x");
        let needed = whole.windows(7).position(|w| w == b"8192 9 ").unwrap() + 7;
        for cut in 0..needed {
            assert_eq!(parse_line(&whole[..cut]), None, "cut at {cut}");
        }
        assert!(parse_line(&whole[..needed]).is_some());
        for (good, bad) in [("50 6 ", "5x 6 "), ("50 6 ", "-50 6 "), (" S ", " SS "), (" S ", " 7 "), (" 777 ", " 99999999999999999999 ")] {
            let text = String::from_utf8(whole.clone()).unwrap();
            assert_eq!(parse_line(text.replacen(good, bad, 1).as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_line(&bytes);
        }

        #[test]
        fn damaged_lines_are_parsed_or_refused(text in "[0-9]{0,3} ?\\(?[a-z) ]{0,4}\\)? ?[A-Z]?( -?[0-9]{1,21}){0,52}") {
            let _ = parse_line(text.as_bytes());
        }

        #[test]
        fn any_name_comes_back(comm: Vec<u8>) {
            let bytes = line(&comm);
            prop_assert_eq!(parse_line(&bytes).map(|l| (l.comm, l.start_ticks)), Some((comm.as_slice(), 777)));
        }
    }
}
