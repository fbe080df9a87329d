//! Columns as what they mean.

use jiff::Timestamp;
use rusqlite::Row;

/// Milliseconds; what no clock can say is the nearest that one can.
pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(at)
}

pub(super) fn time_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(at))
}

/// A number that is never negative; `NULL` is none.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, Option<i64>>(column)?.unwrap_or(0).max(0).cast_unsigned())
}

/// `?, ?, ?`.
pub(super) fn places(count: usize, place: &str) -> String {
    vec![place; count].join(", ")
}

/// Of so many in all, which page is shown of how many; both from 1.
pub(super) fn page(found: u64, asked: u64, size: u64) -> (u64, u64) {
    let pages = found.div_ceil(size).max(1);
    (asked.clamp(1, pages), pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_that_no_clock_says_do_not_end_a_page() {
        assert_eq!(at(1_000).as_second(), 1);
        assert_eq!((at(i64::MAX), at(i64::MIN)), (Timestamp::MAX, Timestamp::MIN));
    }

    proptest! {
        #[test]
        fn a_page_is_there_and_the_last_one_holds_something(found in 0..1_000_000_u64, asked: u64, size in 1..1000_u64) {
            let (page, pages) = page(found, asked, size);
            prop_assert!((1..=pages).contains(&page));
            prop_assert!(found == 0 && pages == 1 || (pages - 1) * size < found && found <= pages * size);
            prop_assert!(asked == 0 || asked > pages || page == asked);
        }
    }
}
