//! Where memory is: `/proc/meminfo`.

use super::Read;
use super::columns::{Words, damaged, lines};
use crate::model::Counter;

const WHAT: &str = "/proc/meminfo";

/// Total. Kernels differ in what they list, so a line that is not understood is left out and no other with it.
///
/// # Errors
/// When it does not even say how much memory there is.
pub(super) fn parse_meminfo(bytes: &[u8]) -> Read<Vec<Counter>> {
    let mut counters = Vec::with_capacity(64);
    counters.extend(lines(WHAT, bytes)?.filter_map(parse_line));
    if counters.iter().any(|c| &*c.name == "MemTotal") { Ok(counters) } else { Err(damaged(WHAT, "no line 'MemTotal'")) }
}

/// `Active(anon):     123 kB`, or without a unit.
fn parse_line(line: &[u8]) -> Option<Counter> {
    let (name, rest) = line.split_at_checked(line.iter().position(|b| *b == b':')?)?;
    let name = std::str::from_utf8(name).ok().filter(|n| !n.is_empty() && !n.contains(char::is_whitespace))?;
    let mut words = Words(rest.get(1..)?);
    let value = words.number()?;
    let (value, is_bytes) = match words.next() {
        None => (value, false),
        Some(b"kB") => (value.checked_mul(1024)?, true),
        Some(_) => return None,
    };
    Some(Counter { name: name.into(), value, is_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counter(name: &str, value: u64, is_bytes: bool) -> Counter {
        Counter { name: name.into(), value, is_bytes }
    }

    #[test]
    fn every_line_in_its_order_with_its_unit() {
        let text = b"MemTotal:       16384 kB\nActive(anon):      12 kB\nHugePages_Total:       7\n";
        let expected =
            [counter("MemTotal", 16384 << 10, true), counter("Active(anon)", 12 << 10, true), counter("HugePages_Total", 7, false)];
        assert_eq!(parse_meminfo(text).unwrap(), expected);
    }

    #[test]
    fn a_strange_line_costs_itself_alone() {
        let text = b"        total:    used:\nMem:  1 2 3\nMemTotal: 4 kB\nVmallocUsed: -5 kB\nHuge: 99999999999999999999 kB\n\xff: 1 kB\nOdd: 3 pages\nCmaFree:\n: 4\nMemFree: 1 kB\n";
        assert_eq!(parse_meminfo(text).unwrap(), [counter("MemTotal", 4096, true), counter("MemFree", 1024, true)]);
    }

    #[test]
    fn without_swap_there_is_no_swap_line_made_up() {
        assert!(parse_meminfo(b"MemTotal: 4 kB\n").unwrap().iter().all(|c| !c.name.starts_with("Swap")));
    }

    #[test]
    fn what_is_no_meminfo_is_refused() {
        for text in [b"".as_slice(), b"\n", b"MemFree: 4 kB\n", b"MemTotal: 4 k", b"MemTotal: x kB\n"] {
            assert!(parse_meminfo(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn this_hosts_is_understood_to_the_last_line() {
        let text = std::fs::read("/proc/meminfo").unwrap();
        assert_eq!(parse_meminfo(&text).unwrap().len(), text.iter().filter(|b| **b == b'\n').count());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_meminfo(&bytes);
        }

        #[test]
        fn damaged_lines_are_left_out_or_understood(lines in proptest::collection::vec("[A-Za-z_():]{0,6}[: ]{0,3}[0-9-]{0,21} ?(kB|MB)?", 0..20)) {
            let text = format!("MemTotal: 1 kB\n{}\n", lines.join("\n"));
            prop_assert!(parse_meminfo(text.as_bytes()).unwrap().len() <= lines.len() + 1);
        }
    }
}
