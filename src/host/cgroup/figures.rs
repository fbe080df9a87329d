//! What single files of a group say. All of it takes bytes and is total: `None` is a file that cannot be understood.

use crate::host::columns::number;
use crate::host::psi::parse_pressure;
use crate::host::root::parse_number;
use crate::model::Pressure;

/// A limit: `Some(None)` is that there is none.
pub(in crate::host) type Limit = Option<u64>;

/// Beyond this version 1 means "no limit": the largest number of whole pages, and pages have up to 64 KiB.
const NO_LIMIT_V1: u64 = 0x7fff_ffff_ffff_0000;

pub(in crate::host) fn parse_count(bytes: &[u8]) -> Option<u64> {
    parse_number(bytes)
}

/// `max`, or a number.
pub(in crate::host) fn parse_limit(bytes: &[u8]) -> Option<Limit> {
    if bytes.trim_ascii() == b"max" { Some(None) } else { parse_count(bytes).map(Some) }
}

/// Always a number.
pub(in crate::host) fn parse_limit_v1(bytes: &[u8]) -> Option<Limit> {
    parse_count(bytes).map(|limit| Some(limit).filter(|l| *l < NO_LIMIT_V1))
}

/// Of `KEY NUMBER` a line, the number of one key. `Some(None)`: the file is whole, and has no such line.
pub(in crate::host) fn parse_key(bytes: &[u8], key: &str) -> Option<Option<u64>> {
    let mut found = None;
    for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let (name, number) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let number = number.trim().parse().ok()?;
        if name == key {
            found = Some(number);
        }
    }
    Some(found)
}

/// CPU time of a group, microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::host) struct Cpu {
    pub(super) usage_us: Option<u64>,
    pub(in crate::host) throttled_us: Option<u64>,
    pub(super) throttled_periods: Option<u64>,
    pub(super) periods: Option<u64>,
}

/// Version 2's `cpu.stat`. Without the cpu controller it has the usage alone.
pub(in crate::host) fn parse_cpu(bytes: &[u8]) -> Option<Cpu> {
    Some(Cpu {
        usage_us: Some(parse_key(bytes, "usage_usec")??),
        throttled_us: parse_key(bytes, "throttled_usec")?,
        throttled_periods: parse_key(bytes, "nr_throttled")?,
        periods: parse_key(bytes, "nr_periods")?,
    })
}

/// Version 1's `cpuacct.usage`: nanoseconds.
pub(in crate::host) fn parse_usage_v1(bytes: &[u8]) -> Option<Cpu> {
    Some(Cpu { usage_us: Some(parse_count(bytes)? / 1000), ..Cpu::default() })
}

/// Version 1's `cpu.stat`: nanoseconds, and no usage.
pub(in crate::host) fn parse_throttling_v1(bytes: &[u8]) -> Option<Cpu> {
    Some(Cpu {
        usage_us: None,
        throttled_us: parse_key(bytes, "throttled_time")?.map(|ns| ns / 1000),
        throttled_periods: parse_key(bytes, "nr_throttled")?,
        periods: parse_key(bytes, "nr_periods")?,
    })
}

/// Version 2's `memory.events`: what memory limits have done to a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::host) struct Events {
    pub(in crate::host) high: Option<u64>,
    pub(super) max: Option<u64>,
    pub(super) oom_kills: Option<u64>,
}

pub(in crate::host) fn parse_events(bytes: &[u8]) -> Option<Events> {
    Some(Events { high: parse_key(bytes, "high")?, max: parse_key(bytes, "max")?, oom_kills: parse_key(bytes, "oom_kill")? })
}

/// `cgroup.procs`: pids, one a line. Zero is a process that our pid namespace does not show. A number that is cut off would be another one.
pub(in crate::host) fn parse_processes(bytes: &[u8]) -> Option<Vec<u32>> {
    let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let pids = bytes.get(..end)?.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let pids: Option<Vec<u32>> = pids.map(|line| u32::try_from(number(line)?).ok()).collect();
    pids.map(|pids| pids.into_iter().filter(|pid| *pid != 0).collect())
}

/// `Some(None)`: before 5.13 kernels do not tell when all of a group waits for a CPU, and half of this figure is none.
pub(in crate::host) fn parse_cpu_pressure(bytes: &[u8]) -> Option<Option<Pressure>> {
    if bytes.starts_with(b"some ") && !bytes.split(|b| *b == b'\n').any(|line| line.starts_with(b"full ")) {
        return Some(None);
    }
    parse_pressure(bytes).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_limit_is_no_number() {
        assert_eq!(parse_limit(b"max\n"), Some(None));
        assert_eq!(parse_limit(b"0\n"), Some(Some(0)));
        assert_eq!(parse_limit(b"\n"), None);
        // Pages of 4 and of 64 KiB, and kernels that count bytes.
        for none in ["9223372036854771712\n", "9223372036854710272\n", "9223372036854775807\n", "18446744073709551615\n"] {
            assert_eq!(parse_limit_v1(none.as_bytes()), Some(None), "{none}");
        }
        assert_eq!(parse_limit_v1(b"1073741824\n"), Some(Some(1 << 30)));
        assert_eq!(parse_limit_v1(b"max\n"), None);
    }

    #[test]
    fn cpu_time_is_in_microseconds_and_only_what_is_counted() {
        let base = b"usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n";
        assert_eq!(parse_cpu(base), Some(Cpu { usage_us: Some(1500), throttled_us: None, throttled_periods: None, periods: None }));
        let limited = b"usage_usec 9\nnr_periods 4\nnr_throttled 3\nthrottled_usec 77\n";
        assert_eq!(
            parse_cpu(limited),
            Some(Cpu { usage_us: Some(9), throttled_us: Some(77), throttled_periods: Some(3), periods: Some(4) })
        );
        assert_eq!(parse_cpu(b"user_usec 1\n"), None);
        assert_eq!(parse_usage_v1(b"2500999\n").and_then(|c| c.usage_us), Some(2500));
        let v1 = parse_throttling_v1(b"nr_periods 1\nnr_throttled 2\nthrottled_time 3000\n");
        assert_eq!(v1, Some(Cpu { usage_us: None, throttled_us: Some(3), throttled_periods: Some(2), periods: Some(1) }));
    }

    #[test]
    fn a_key_that_is_not_there_is_not_zero() {
        let events = b"low 0\nhigh 0\nmax 2\noom 1\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(parse_key(events, "oom_kill"), Some(Some(1)));
        assert_eq!(parse_key(b"oom_kill_disable 0\nunder_oom 0\n", "oom_kill"), Some(None));
        assert_eq!(parse_key(b"oom_kill\n", "oom_kill"), None);
        assert_eq!(parse_key(b"low 0\noom_kill x\n", "low"), None);
    }

    #[test]
    fn a_pid_that_is_cut_off_or_hidden_is_left_out() {
        assert_eq!(parse_processes(b"12\n0\n345\n"), Some(vec![12, 345]));
        assert_eq!(parse_processes(b"12\n34"), Some(vec![12]));
        assert_eq!((parse_processes(b""), parse_processes(b"12\nx\n"), parse_processes(b"4294967296\n")), (Some(vec![]), None, None));
    }

    #[test]
    fn a_cpu_without_the_second_line_is_not_damaged() {
        let some = b"some avg10=0.00 avg60=1.00 avg300=0.00 total=5\n".as_slice();
        assert_eq!(parse_cpu_pressure(some), Some(None));
        let both = [some, b"full avg10=0.00 avg60=0.50 avg300=0.00 total=3\n"].concat();
        assert_eq!(parse_cpu_pressure(&both).flatten().map(|p| p.full_total_us), Some(3));
        assert_eq!(parse_cpu_pressure(b"sum\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = (parse_count(&bytes), parse_limit(&bytes), parse_limit_v1(&bytes), parse_key(&bytes, "oom_kill"));
            let _ = (parse_cpu_pressure(&bytes), parse_events(&bytes), parse_processes(&bytes));
            let _ = (parse_cpu(&bytes), parse_usage_v1(&bytes), parse_throttling_v1(&bytes));
        }

        #[test]
        fn damaged_lines_are_parsed_or_refused(text in "((usage_usec|nr_throttled|throttled_usec|oom_kill)? ?[0-9]{0,21}\n?){0,5}") {
            let bytes = text.as_bytes();
            let _ = (parse_cpu(bytes), parse_throttling_v1(bytes), parse_key(bytes, "oom_kill"), parse_events(bytes), parse_processes(bytes));
        }
    }
}
