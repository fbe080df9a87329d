//! Lines, words and numbers of the kernel's tables, read where they lie.

use std::collections::HashSet;

use super::{Read, ReadError};

/// The lines of a table without their ends. The kernel ends every line: a table whose last one is not ended was cut off, and the number
/// that it breaks off in would be another number.
pub(super) fn lines<'a>(what: &str, bytes: &'a [u8]) -> Read<impl Iterator<Item = &'a [u8]>> {
    let Some(whole) = bytes.strip_suffix(b"\n") else {
        let why = if bytes.is_empty() { "empty" } else { "cut off: its last line has no end" };
        return Err(damaged(what, why));
    };
    Ok(whole.split(|b| *b == b'\n'))
}

pub(super) fn damaged(what: &str, why: impl Into<String>) -> ReadError {
    ReadError::Parse { what: what.to_owned(), why: why.into() }
}

/// A line that is not understood, named by what it says.
pub(super) fn not_understood(what: &str, line: &[u8]) -> ReadError {
    const SHOWN: usize = 80;
    let shown = crate::model::HostPath::from_bytes(line.get(..SHOWN).unwrap_or(line));
    damaged(what, format!("not understood: {shown}"))
}

/// What blanks and tabs separate.
#[derive(Debug, Clone)]
pub(super) struct Words<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.trim_ascii_start();
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        let (word, rest) = rest.split_at_checked(end)?;
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

impl Words<'_> {
    /// The next word, if it is a number.
    pub(super) fn number(&mut self) -> Option<u64> {
        number(self.next()?)
    }

    /// The next words, if they are as many numbers.
    pub(super) fn numbers<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.number()?;
        }
        Some(numbers)
    }
}

/// Digits alone, and not too many of them.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { sum.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// A number that is finite and not negative.
pub(super) fn fraction(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok().filter(|v: &f64| v.is_finite() && *v >= 0.0)
}

/// One row a name: of a device that was taken away and came back while the kernel went through its list, the later row stays.
pub(super) fn keep_latest<T>(rows: &mut Vec<T>, name: impl Fn(&T) -> &str) {
    let mut later = HashSet::with_capacity(rows.len());
    let keep: Vec<bool> = rows.iter().rev().map(|row| later.insert(name(row))).collect();
    if keep.contains(&false) {
        let mut keep = keep.into_iter().rev();
        rows.retain(|_| keep.next().unwrap_or(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_cut_off_is_damaged() {
        assert_eq!(lines("x", b"a\n\nb\n").unwrap().collect::<Vec<_>>(), [b"a".as_slice(), b"", b"b"]);
        assert_eq!(lines("x", b"a\nb 12").err().unwrap().to_string(), "x: cut off: its last line has no end");
        assert_eq!(lines("x", b"").err().unwrap().to_string(), "x: empty");
    }

    #[test]
    fn only_digits_are_numbers() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for not in [b"".as_slice(), b"18446744073709551616", b"-1", b"+1", b"1x", b" 1", b"0x1"] {
            assert_eq!(number(not), None, "{not:?}");
        }
        for not in [b"".as_slice(), b"-1.0", b"NaN", b"inf", b"1,5", b"\xff"] {
            assert_eq!(fraction(not), None, "{not:?}");
        }
        assert_eq!(Words(b" 1\t22  3x").numbers(), Some([1, 22]));
        assert_eq!(Words(b" 1\t22  3x").numbers::<3>(), None);
    }

    #[test]
    fn the_later_of_two_rows_stays() {
        let mut rows = vec![("a", 1), ("b", 2), ("a", 3), ("c", 4), ("a", 5)];
        keep_latest(&mut rows, |r| r.0);
        assert_eq!(rows, [("b", 2), ("c", 4), ("a", 5)]);
    }

    proptest! {
        #[test]
        fn words_are_what_the_library_says(line in proptest::collection::vec(prop_oneof![Just(b' '), Just(b'\t'), any::<u8>()], 0..60)) {
            let expected: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).collect();
            prop_assert_eq!(Words(&line).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn numbers_come_back(n: u64) {
            prop_assert_eq!(number(n.to_string().as_bytes()), Some(n));
        }
    }
}
