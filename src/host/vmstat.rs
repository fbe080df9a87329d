//! Paging, page faults and out-of-memory kills: `/proc/vmstat`, of whose lines most are left alone.

use super::columns::{Words, lines};
use super::{Read, ReadError};
use crate::model::Counter;

const WHAT: &str = "/proc/vmstat";

/// Total. A line that is not understood is left out.
///
/// # Errors
/// `NotHere` when none of the counters is there: a kernel may be built without them.
pub(super) fn parse_vmstat(bytes: &[u8]) -> Read<Vec<Counter>> {
    let mut counters = Vec::with_capacity(16);
    for line in lines(WHAT, bytes)? {
        let mut words = Words(line);
        let Some(name) = words.next().filter(|n| is_wanted(n)) else { continue };
        if let (Ok(name), Some(value), None) = (std::str::from_utf8(name), words.number(), words.next()) {
            counters.push(Counter { name: name.into(), value, is_bytes: false });
        }
    }
    if counters.is_empty() {
        return Err(ReadError::NotHere { what: WHAT.to_owned(), why: "this kernel does not count paging".to_owned() });
    }
    Ok(counters)
}

/// `oom_kill*`, `pgpg*`, `pswp*` and `pg*fault*`: what peers show by default.
fn is_wanted(name: &[u8]) -> bool {
    match name {
        [b'p', b'g', b'p', b'g', ..] | [b'p', b's', b'w', b'p', ..] => true,
        [b'p', b'g', rest @ ..] => rest.windows(5).any(|w| w == b"fault"),
        _ => name.starts_with(b"oom_kill"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_paging_faults_and_kills() {
        let text = b"nr_free_pages 1\npgpgin 2\npgpgout 3\npswpin 4\npswpout 5\npgalloc_dma 6\npgfault 7\npgmajfault 8\nhtlb_buddy_alloc_success 9\noom_kill 10\nnuma_hint_faults 11\n";
        let read: Vec<(String, u64)> = parse_vmstat(text).unwrap().into_iter().map(|c| (c.name.into(), c.value)).collect();
        let expected = [("pgpgin", 2), ("pgpgout", 3), ("pswpin", 4), ("pswpout", 5), ("pgfault", 7), ("pgmajfault", 8), ("oom_kill", 10)];
        assert_eq!(read, expected.map(|(n, v)| (n.to_owned(), v)));
    }

    #[test]
    fn a_damaged_counter_is_missing_and_not_zero() {
        let read = parse_vmstat(b"pgpgin x\npgpgout\npswpin 1 2\npswpout -1\npg\xfffault 1\npgfault 3\n").unwrap();
        assert_eq!(read.iter().map(|c| (&*c.name, c.value)).collect::<Vec<_>>(), [("pgfault", 3)]);
    }

    #[test]
    fn a_kernel_without_them_says_so() {
        assert!(matches!(parse_vmstat(b"nr_free_pages 1\n"), Err(ReadError::NotHere { .. })));
        assert!(parse_vmstat(b"").is_err());
        assert!(parse_vmstat(b"pgfault 12").is_err(), "cut off");
    }

    #[test]
    fn this_hosts_is_understood() {
        let names = |text: &[u8]| parse_vmstat(text).unwrap().into_iter().map(|c| c.name).collect::<Vec<_>>();
        assert!(names(&std::fs::read("/proc/vmstat").unwrap()).contains(&"pgmajfault".into()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_vmstat(&bytes);
        }

        #[test]
        fn nothing_else_is_taken(name in "[a-z_]{0,12}", value: u64) {
            let wanted = name.starts_with("oom_kill") || name.starts_with("pgpg") || name.starts_with("pswp")
                || name.strip_prefix("pg").is_some_and(|rest| rest.contains("fault"));
            prop_assert_eq!(parse_vmstat(format!("{name} {value}\n").as_bytes()).is_ok(), wanted);
        }
    }
}
