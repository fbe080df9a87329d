//! What each CPU did since boot, and what the scheduler counts: `/proc/stat`.

use super::Read;
use super::columns::{Words, damaged, lines, not_understood, number};
use crate::model::{CpuStat, CpuTimes};

const WHAT: &str = "/proc/stat";
/// user, nice, system, idle: what the oldest kernels count.
const FEWEST_COLUMNS: usize = 4;

/// Total. A CPU that is offline has no line; one that has, has a line that is understood.
///
/// # Errors
/// When there is no CPU, a CPU's line is damaged, or a count that is no CPU's is missing.
pub(super) fn parse_stat(bytes: &[u8]) -> Read<CpuStat> {
    let mut cpus: Vec<CpuTimes> = Vec::new();
    let (mut boot, mut switches, mut forks, mut interrupts, mut running, mut blocked) = (None, None, None, None, None, None);
    for line in lines(WHAT, bytes)? {
        let mut words = Words(line);
        let Some(key) = words.next() else { continue };
        match key {
            b"intr" => interrupts = words.number(),
            b"ctxt" => switches = words.number(),
            b"btime" => boot = words.number(),
            b"processes" => forks = words.number(),
            b"procs_running" => running = words.number(),
            b"procs_blocked" => blocked = words.number(),
            _ => {
                let Some(cpu) = key.strip_prefix(b"cpu").and_then(number) else { continue };
                let cpu = parse_cpu(cpu, words).ok_or_else(|| not_understood(WHAT, line))?;
                // The kernel goes through them in order; the same one twice would be counted twice.
                if cpus.last().is_some_and(|last| last.cpu >= cpu.cpu) {
                    return Err(damaged(WHAT, format!("CPU {} is out of order", cpu.cpu)));
                }
                cpus.push(cpu);
            }
        }
    }
    if cpus.is_empty() {
        return Err(damaged(WHAT, "no line of a CPU"));
    }
    let lacks = |key: &str| damaged(WHAT, format!("no number for '{key}'"));
    Ok(CpuStat {
        cpus,
        boot_time_s: boot.ok_or_else(|| lacks("btime"))?,
        context_switches: switches.ok_or_else(|| lacks("ctxt"))?,
        forks: forks.ok_or_else(|| lacks("processes"))?,
        interrupts: interrupts.ok_or_else(|| lacks("intr"))?,
        running: running.ok_or_else(|| lacks("procs_running"))?,
        blocked: blocked.ok_or_else(|| lacks("procs_blocked"))?,
    })
}

/// Columns that an old kernel does not print stay 0; those that a later one may add are not ours.
fn parse_cpu(cpu: u64, words: Words<'_>) -> Option<CpuTimes> {
    let mut times = [0; 10];
    let mut seen = 0;
    for (time, word) in times.iter_mut().zip(words) {
        *time = number(word)?;
        seen += 1;
    }
    let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = times;
    let cpu = u32::try_from(cpu).ok()?;
    (seen >= FEWEST_COLUMNS).then_some(CpuTimes { cpu, user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REST: &str = "intr 900 1 2 3\nctxt 800\nbtime 1700000000\nprocesses 70\nprocs_running 3\nprocs_blocked 1\nsoftirq 5 1 1\n";

    fn table(cpus: &str) -> Vec<u8> {
        format!("cpu  1 1 1 1 1 1 1 1 1 1\n{cpus}{REST}").into_bytes()
    }

    #[test]
    fn every_column_has_its_place_and_an_offline_cpu_none() {
        let stat = parse_stat(&table("cpu0 1 2 3 4 5 6 7 8 9 10\ncpu2 11 0 0 0 0 0 0 0 0 0\n")).unwrap();
        let first =
            CpuTimes { cpu: 0, user: 1, nice: 2, system: 3, idle: 4, iowait: 5, irq: 6, softirq: 7, steal: 8, guest: 9, guest_nice: 10 };
        assert_eq!(stat.cpus, [first, CpuTimes { cpu: 2, user: 11, ..CpuTimes::default() }]);
        assert_eq!((stat.interrupts, stat.context_switches, stat.boot_time_s, stat.forks), (900, 800, 1_700_000_000, 70));
        assert_eq!((stat.running, stat.blocked), (3, 1));
    }

    #[test]
    fn an_old_kernel_prints_fewer_columns_and_a_new_one_may_print_more() {
        let times = |columns: &str| parse_stat(&table(&format!("cpu0 {columns}\n"))).map(|s| s.cpus[0]);
        assert_eq!(times("1 2 3 4").unwrap(), CpuTimes { user: 1, nice: 2, system: 3, idle: 4, ..CpuTimes::default() });
        assert_eq!(times("1 2 3 4 5 6 7 8 9 10 11 x").unwrap().guest_nice, 10);
        for bad in ["1 2 3", "1 2 3 4 x", "1 -2 3 4", ""] {
            assert!(times(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn more_than_a_hundred_cpus_and_a_line_of_interrupts_that_is_longer_than_all_of_them() {
        let cpus: String = (0..192).map(|i| format!("cpu{i} {i} 0 0 0 0 0 0 0 0 0\n")).collect();
        let interrupts = " 0".repeat(20_000);
        let whole = [b"cpu  0 0 0 0\n", cpus.as_bytes(), REST.replace("intr 900", &format!("intr 900{interrupts}")).as_bytes()].concat();
        let stat = parse_stat(&whole).unwrap();
        assert_eq!(stat.cpus.len(), 192);
        assert!(stat.cpus.iter().all(|c| u64::from(c.cpu) == c.user));
        assert_eq!(stat.interrupts, 900);
    }

    #[test]
    fn what_is_missing_is_named_and_not_zero() {
        for key in ["intr", "ctxt", "btime", "processes", "procs_running", "procs_blocked"] {
            let text = String::from_utf8(table("cpu0 1 2 3 4\n")).unwrap().replace(&format!("{key} "), "other ");
            assert!(parse_stat(text.as_bytes()).unwrap_err().to_string().ends_with(&format!("'{key}'")), "{key}");
        }
        assert!(parse_stat(&table("")).is_err(), "no CPU");
        assert!(parse_stat(b"").is_err());
        assert!(parse_stat(&table("cpu1 1 2 3 4\ncpu1 1 2 3 4\n")).is_err(), "twice");
    }

    #[test]
    fn this_hosts_is_understood() {
        let stat = parse_stat(&std::fs::read("/proc/stat").unwrap()).unwrap();
        assert!(stat.boot_time_s > 1_000_000_000 && stat.cpus.iter().any(|c| c.idle > 0), "{stat:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_stat(&bytes);
        }

        #[test]
        fn a_piece_of_a_table_is_refused(cut in 0usize..300) {
            let whole = table("cpu0 1 2 3 4 5 6 7 8 9 10\ncpu1 11 0 0 0 0 0 0 0 0 0\n");
            // All but the last line is needed.
            let needed = whole.len() - "softirq 5 1 1\n".len();
            prop_assert!(parse_stat(&whole[..cut.min(needed - 1)]).is_err());
        }
    }
}
