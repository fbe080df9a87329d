//! What single files of a process say. All of it takes bytes and is total: `None` is a file that cannot be understood.

use crate::host::columns::{Words, lines, number};

/// `/proc/PID/stat`, as far as one process is asked about; a sweep over all of them reads less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host) struct Stat {
    /// It may hold brackets, blanks, newlines, anything.
    pub(in crate::host) comm: Vec<u8>,
    pub(super) state: char,
    pub(super) parent: u32,
    pub(super) kernel_thread: bool,
    /// Of user and system time together.
    pub(super) cpu_ticks: u64,
    pub(super) nice: i32,
    pub(super) threads: u64,
    pub(in crate::host) start_ticks: u64,
    pub(super) policy: Policy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Fair,
    /// SCHED_FIFO, SCHED_RR, SCHED_DEADLINE.
    Realtime,
    /// SCHED_IDLE.
    Idle,
}

/// PF_KTHREAD of the kernel's `sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// `PID (comm) S ...`. The name may hold blanks and brackets, so what follows counts from the last one.
pub(in crate::host) fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|b| *b == b'(')?;
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let comm = bytes.get(open + 1..close)?.to_vec();
    let rest = bytes.get(close + 1..)?;
    // What ends without its line's end was cut off, perhaps in the middle of a number.
    let rest = std::str::from_utf8(rest.strip_suffix(b"\n")?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // As proc(5) counts them: the state is field 3.
    let field = |n: usize| fields.get(n.checked_sub(3)?).copied();
    let count = |n: usize| number(field(n)?.as_bytes());
    let state = field(3)?.chars().next().filter(char::is_ascii_alphabetic)?;
    let policy = match count(41)? {
        1 | 2 | 6 => Policy::Realtime,
        5 => Policy::Idle,
        _ => Policy::Fair,
    };
    Some(Stat {
        comm,
        state,
        parent: field(4)?.parse().ok()?,
        kernel_thread: count(9)? & KERNEL_THREAD != 0,
        cpu_ticks: count(14)?.saturating_add(count(15)?),
        nice: field(19)?.parse().ok()?,
        threads: count(20)?,
        start_ticks: count(22)?,
        policy,
    })
}

/// `/proc/PID/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) struct Status {
    /// The process that a thread belongs to: itself, unless this is a thread.
    pub(super) process: u32,
    /// Effective.
    pub(super) uid: u32,
    /// Zero for what has no memory of its own: kernel threads, and what has ended.
    pub(super) rss: u64,
    pub(super) swap: u64,
    pub(super) voluntary_switches: u64,
    pub(super) involuntary_switches: u64,
}

pub(in crate::host) fn parse_status(bytes: &[u8]) -> Option<Status> {
    // The kernel escapes line ends in the name, so that nobody can write a line of this file by his name.
    let find = |key: &[u8]| lines("status", bytes).ok()?.find_map(|line| line.strip_prefix(key)?.strip_prefix(b":")).map(Words);
    let count = |key: &[u8]| find(key)?.number();
    let memory = |key: &[u8]| match find(key) {
        None => Some(0),
        Some(words) => kilobytes(words),
    };
    let [_, uid] = find(b"Uid")?.numbers()?;
    Some(Status {
        process: count(b"Tgid")?.try_into().ok()?,
        uid: uid.try_into().ok()?,
        rss: memory(b"VmRSS")?,
        swap: memory(b"VmSwap")?,
        voluntary_switches: count(b"voluntary_ctxt_switches")?,
        involuntary_switches: count(b"nonvoluntary_ctxt_switches")?,
    })
}

/// Bytes, of `123 kB`.
fn kilobytes(mut words: Words<'_>) -> Option<u64> {
    let value = words.number()?.checked_mul(1024)?;
    (words.next() == Some(b"kB")).then_some(value)
}

/// `Pss:` of `/proc/PID/smaps_rollup`, bytes.
pub(in crate::host) fn parse_pss(bytes: &[u8]) -> Option<u64> {
    kilobytes(Words(lines("smaps_rollup", bytes).ok()?.find_map(|line| line.strip_prefix(b"Pss:"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stat(comm: &[u8], flags: u64, nice: i32, policy: u64) -> Vec<u8> {
        let rest = format!(
            ") S 7 42 42 0 -1 {flags} 1 0 0 0 50 6 0 0 20 {nice} 3 0 777 8 9 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 {policy} 0 0 0 0 0 0 0 0 0 0 0\n"
        );
        [b"42 (", comm, rest.as_bytes()].concat()
    }

    #[test]
    fn a_name_of_any_bytes_does_not_shift_the_fields() {
        for comm in [b"plain".as_slice(), b"a) b (c", b") R 9 9 9 ", b"x\ny", b"\xff\xfe\0", b"", b")))"] {
            let expected = Stat {
                comm: comm.to_vec(),
                state: 'S',
                parent: 7,
                kernel_thread: false,
                cpu_ticks: 56,
                nice: -5,
                threads: 3,
                start_ticks: 777,
                policy: Policy::Fair,
            };
            assert_eq!(parse_stat(&stat(comm, 4_194_304, -5, 0)), Some(expected), "{}", comm.escape_ascii());
        }
    }

    #[test]
    fn classes_and_kernel_threads_are_told_by_their_numbers() {
        let policy = |n| parse_stat(&stat(b"x", 0, 0, n)).unwrap().policy;
        assert_eq!([0, 3, 7].map(policy), [Policy::Fair; 3]);
        assert_eq!([1, 2, 6].map(policy), [Policy::Realtime; 3]);
        assert_eq!(policy(5), Policy::Idle);
        assert!(parse_stat(&stat(b"kworker/0:1", 69_238_880, 0, 0)).unwrap().kernel_thread);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let whole = stat(b"x", 0, 0, 0);
        assert!((0..whole.len()).all(|end| parse_stat(&whole[..end]).is_none()));
    }

    #[test]
    fn a_status_is_read_by_its_keys_and_a_kernel_thread_has_no_memory() {
        let text = b"Name:\tUid:\\nTgid:\nTgid:\t42\nPid:\t42\nUid:\t1000\t33\t1000\t1000\nVmRSS:\t    12 kB\nVmSwap:\t     3 kB\nvoluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t4\n";
        let whole = Status { process: 42, uid: 33, rss: 12 << 10, swap: 3 << 10, voluntary_switches: 9, involuntary_switches: 4 };
        assert_eq!(parse_status(text), Some(whole));
        let kernel = b"Tgid:\t2\nUid:\t0\t0\t0\t0\nvoluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(parse_status(kernel).map(|s| (s.rss, s.swap)), Some((0, 0)));
        let damaged = String::from_utf8_lossy(text).replace("12 kB", "12 MB");
        assert_eq!(parse_status(damaged.as_bytes()), None);
    }

    #[test]
    fn the_share_is_that_of_all_pages_and_not_of_the_dirty_ones() {
        let text = b"5583-7ffc ---p 00000000 00:00 0    [rollup]\nRss:  90 kB\nPss_Dirty:  5 kB\nPss:   40 kB\nPss_Anon:  1 kB\n";
        assert_eq!(parse_pss(text), Some(40 << 10));
        assert_eq!(parse_pss(b"Rss: 1 kB\n"), None);
        assert_eq!(parse_pss(b"Pss:  4"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = (parse_stat(&bytes), parse_status(&bytes), parse_pss(&bytes));
        }

        #[test]
        fn damaged_lines_are_parsed_or_refused(text in "[0-9]{0,3} ?\\(?[a-z)]{0,4}\\)? ?[A-Z]?( -?[0-9]{1,21}){0,52}\n?") {
            let _ = parse_stat(text.as_bytes());
        }

        #[test]
        fn damaged_keys_are_parsed_or_refused(text in "((Tgid|Uid|VmRSS|Pss|voluntary_ctxt_switches):?\\s?[0-9]{0,21} ?(kB)?\n?){0,6}") {
            let _ = (parse_status(text.as_bytes()), parse_pss(text.as_bytes()));
        }
    }
}
