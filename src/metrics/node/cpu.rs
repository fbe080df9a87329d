//! `/proc/stat` and the load.

use crate::metrics::exposition::{Exposition, Kind, Labels, Number};
use crate::model::{CpuStat, CpuTimes, LoadAverage};

/// The kernel's clock ticks are hundredths of a second.
const TICK_DIGITS: usize = 2;
/// The kernel's idle and iowait go back a little now and then; by more than three seconds only a CPU that was taken out and put in again.
const DIP_TICKS: u64 = 300;

/// As many as the kernel can be built for. Shares of all CPUs are wrong where some are missing.
const MOST_CPUS: usize = 8192;

/// The newest times of each CPU, small steps back left out: to a reader of counters one would be a restart.
#[derive(Debug, Default)]
pub(super) struct Steady(Vec<CpuTimes>);

impl Steady {
    fn follow(&mut self, now: &[CpuTimes]) -> &[CpuTimes] {
        let before = std::mem::take(&mut self.0);
        self.0.extend(now.iter().enumerate().map(|(at, new)| {
            let same = |old: &&CpuTimes| old.cpu == new.cpu;
            match before.get(at).filter(same).or_else(|| before.iter().find(same)) {
                Some(old) => steady(new, old),
                None => *new,
            }
        }));
        &self.0
    }
}

fn steady(new: &CpuTimes, old: &CpuTimes) -> CpuTimes {
    let no_dip = |new: u64, old: u64| if new < old && old - new <= DIP_TICKS { old } else { new };
    CpuTimes {
        cpu: new.cpu,
        user: no_dip(new.user, old.user),
        nice: no_dip(new.nice, old.nice),
        system: no_dip(new.system, old.system),
        idle: no_dip(new.idle, old.idle),
        iowait: no_dip(new.iowait, old.iowait),
        irq: no_dip(new.irq, old.irq),
        softirq: no_dip(new.softirq, old.softirq),
        steal: no_dip(new.steal, old.steal),
        guest: no_dip(new.guest, old.guest),
        guest_nice: no_dip(new.guest_nice, old.guest_nice),
    }
}

pub(super) fn write(to: &mut Exposition, stat: &CpuStat, before: &mut Steady) {
    let cpus = before.follow(&stat.cpus);
    let mut labels = Labels::default();
    let help = "Time of each CPU by what it was spent on.";
    let mut family = to.family("node_cpu_seconds_total", Kind::Counter, help).holding(MOST_CPUS * 8);
    for times in cpus {
        let mut number = itoa::Buffer::new();
        let cpu = number.format(times.cpu);
        for (mode, ticks) in [
            ("idle", times.idle),
            ("iowait", times.iowait),
            ("irq", times.irq),
            ("nice", times.nice),
            ("softirq", times.softirq),
            ("steal", times.steal),
            ("system", times.system),
            ("user", times.user),
        ] {
            family.series(labels.set(&[("cpu", cpu), ("mode", mode)]), Number::Scaled(ticks, TICK_DIGITS));
        }
    }
    let help = "Time of each CPU spent in guests; user and nice hold it too.";
    let mut family = to.family("node_cpu_guest_seconds_total", Kind::Counter, help).holding(MOST_CPUS * 2);
    for times in cpus {
        let mut number = itoa::Buffer::new();
        let cpu = number.format(times.cpu);
        for (mode, ticks) in [("nice", times.guest_nice), ("user", times.guest)] {
            family.series(labels.set(&[("cpu", cpu), ("mode", mode)]), Number::Scaled(ticks, TICK_DIGITS));
        }
    }
    to.single("node_boot_time_seconds", Kind::Gauge, "When the host was started, as Unix time.", stat.boot_time_s);
    to.single("node_context_switches_total", Kind::Counter, "Context switches.", stat.context_switches);
    to.single("node_forks_total", Kind::Counter, "Processes and threads begun.", stat.forks);
    to.single("node_intr_total", Kind::Counter, "Interrupts serviced.", stat.interrupts);
    to.single("node_procs_running", Kind::Gauge, "Tasks that run or could.", stat.running);
    to.single("node_procs_blocked", Kind::Gauge, "Tasks that wait for io.", stat.blocked);
}

pub(super) fn write_load(to: &mut Exposition, load: &LoadAverage) {
    to.single("node_load1", Kind::Gauge, "Load, averaged over one minute.", load.one);
    to.single("node_load5", Kind::Gauge, "Load, averaged over five minutes.", load.five);
    to.single("node_load15", Kind::Gauge, "Load, averaged over fifteen minutes.", load.fifteen);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_step_back_is_none_and_a_great_one_is_a_restart() {
        let times = |cpu, idle, user| CpuTimes { cpu, idle, user, ..CpuTimes::default() };
        let mut before = Steady::default();
        before.follow(&[times(0, 1000, 10), times(1, 1000, 10)]);
        assert_eq!(before.follow(&[times(1, 999, 12), times(0, 600, 11)]), [times(1, 1000, 12), times(0, 600, 11)]);
        assert_eq!(before.follow(&[times(1, 1001, 12)]), [times(1, 1001, 12)]);
    }

    #[test]
    fn the_largest_hosts_have_all_their_cpus() {
        let mut to = Exposition::default();
        let stat = CpuStat { cpus: (0..768).map(|cpu| CpuTimes { cpu, ..CpuTimes::default() }).collect(), ..CpuStat::default() };
        write(&mut to, &stat, &mut Steady::default());
        let text = String::from_utf8_lossy(to.written());
        assert_eq!(text.matches("\nnode_cpu_seconds_total{").count(), 768 * 8);
        assert_eq!(to.dropped().over_the_cap, 0);
    }

    #[test]
    fn ticks_are_hundredths_and_every_cpu_has_its_modes() {
        let stat = CpuStat { cpus: vec![CpuTimes { cpu: 7, user: 12345, guest_nice: 7, ..CpuTimes::default() }], ..CpuStat::default() };
        let mut to = Exposition::default();
        write(&mut to, &stat, &mut Steady::default());
        let text = String::from_utf8_lossy(to.written()).into_owned();
        assert!(text.contains("node_cpu_seconds_total{cpu=\"7\",mode=\"user\"} 123.45\n"), "{text}");
        assert!(text.contains("node_cpu_guest_seconds_total{cpu=\"7\",mode=\"nice\"} 0.07\n"), "{text}");
        assert_eq!(text.matches("{cpu=\"7\"").count(), 10);
    }
}
