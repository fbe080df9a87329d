//! Open files of the whole host: `/proc/sys/fs/file-nr`.

use super::Read;
use super::columns::{Words, lines, not_understood};
use crate::model::FileHandles;

const WHAT: &str = "/proc/sys/fs/file-nr";

/// `1472  0  9223372036854775807`: allocated, free (0 since 2.6), maximum. Total.
pub(super) fn parse_file_nr(bytes: &[u8]) -> Read<FileHandles> {
    let line = lines(WHAT, bytes)?.next().unwrap_or_default();
    let [allocated, _free, maximum] = Words(line).numbers().ok_or_else(|| not_understood(WHAT, line))?;
    Ok(FileHandles { allocated, maximum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_and_the_last_of_three() {
        let read = parse_file_nr(b"1472\t0\t9223372036854775807\n").unwrap();
        assert_eq!(read, FileHandles { allocated: 1472, maximum: i64::MAX as u64 });
        for text in [b"".as_slice(), b"1472\t0\n", b"1472\t0\t-1\n", b"1472\t0\t92"] {
            assert!(parse_file_nr(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_file_nr(&bytes);
        }
    }
}
