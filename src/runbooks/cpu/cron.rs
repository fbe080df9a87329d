//! The tree of jobs under cron and at: how often one and the same job runs at this moment.
//!
//! Each daemon forks a child of its own for a job, and the child runs a shell: a job is one such child with all below it, and its name is
//! that of the first program in it which is neither.

use std::collections::BTreeMap;

use super::evidence::{Cron, CronJob, Instance};
use crate::model::{Cgroups, HostPath, Observed, Percent, ProcessFacts};

/// Who runs jobs, by the names that distributions give them.
pub(super) const UNITS: [&str; 4] = ["cron.service", "crond.service", "cronie.service", "atd.service"];
/// Names that say nothing of a job.
const WRAPPERS: [&[u8]; 18] = [
    b"cron",
    b"CRON",
    b"crond",
    b"atd",
    b"sh",
    b"bash",
    b"dash",
    b"run-parts",
    b"nice",
    b"ionice",
    b"flock",
    b"timeout",
    b"env",
    b"sudo",
    b"su",
    b"runuser",
    b"chronic",
    b"setsid",
];
/// Programs that run what somebody wrote: two of one name need not be the same job.
const INTERPRETERS: [&[u8]; 7] = [b"python", b"perl", b"ruby", b"node", b"php", b"java", b"lua"];
/// Cron begins at full minutes: what was begun closer together than this are several jobs that have a program in common.
const ONE_START_S: f64 = 30.0;

/// How often a job was begun while it still ran; 1 where it cannot be told from others.
pub(super) fn runs_over(job: &CronJob) -> usize {
    if INTERPRETERS.iter().any(|name| job.comm.as_bytes().starts_with(name)) {
        return 1;
    }
    let ages = || job.instances.iter().map(|run| run.age_s);
    1 + ages().zip(ages().skip(1)).filter(|(older, younger)| older - younger >= ONE_START_S).count()
}

/// Jobs by name, from the children of the daemon down.
pub(super) fn tree(main: u32, processes: &[ProcessFacts]) -> Vec<CronJob> {
    let mut children: BTreeMap<u32, Vec<&ProcessFacts>> = BTreeMap::new();
    for process in processes.iter().filter(|p| p.pid != main && p.pid != p.parent) {
        children.entry(process.parent).or_default().push(process);
    }
    let mut jobs: BTreeMap<&HostPath, Vec<Instance>> = BTreeMap::new();
    for root in children.get(&main).into_iter().flatten() {
        // Breadth first; never more than there are, whatever parents say of each other.
        let mut row = vec![*root];
        let mut left = processes.len();
        let named = loop {
            if let Some(named) = row.iter().find(|p| !WRAPPERS.contains(&p.comm.as_bytes())) {
                break Some(*named);
            }
            left = left.saturating_sub(row.len());
            let below: Vec<&ProcessFacts> = row.iter().filter_map(|p| children.get(&p.pid)).flatten().copied().collect();
            if below.is_empty() || left == 0 {
                break None;
            }
            row = below;
        };
        if let Some(p) = named {
            jobs.entry(&p.comm).or_default().push(Instance { pid: p.pid, start_ticks: p.start_ticks, age_s: p.age_s });
        }
    }
    let mut out: Vec<CronJob> = jobs
        .into_iter()
        .map(|(comm, mut instances)| {
            instances.sort_by_key(|i| (i.start_ticks, i.pid));
            CronJob { comm: comm.clone(), instances }
        })
        .collect();
    out.sort_by(|a, b| b.instances.len().cmp(&a.instances.len()).then_with(|| a.comm.cmp(&b.comm)));
    out.truncate(20);
    out
}

impl Cron {
    /// What the daemon's group used between two looks.
    pub(super) fn with_use(mut self, first: &Observed<Cgroups>, second: &Observed<Cgroups>, over_s: f64) -> Self {
        let used = |look: &Observed<Cgroups>| look.value()?.top.iter().find(|g| g.path == self.cgroup)?.cpu_usage_us;
        if let (Some(was), Some(is)) = (used(first), used(second)) {
            self.cpu = Percent(is.saturating_sub(was) as f64 / 10_000.0 / over_s.max(0.05));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, comm: &str) -> ProcessFacts {
        ProcessFacts {
            pid,
            start_ticks: u64::from(1000 - pid),
            comm: comm.into(),
            age_s: 1.0,
            parent,
            unit: Some("cron.service".into()),
            cgroup: "/system.slice/cron.service".into(),
            kernel_thread: false,
            realtime: false,
            idle_class: false,
            nice: 0,
            oom_score_adj: 0,
            uid: 0,
        }
    }

    #[test]
    fn a_job_is_counted_by_its_runs_and_not_by_its_processes() {
        // Two runs of a report; one build with many compilers; a shell that runs nothing by itself.
        let all = [
            process(10, 1, "cron"),
            process(11, 10, "cron"),
            process(12, 11, "sh"),
            process(13, 12, "report"),
            process(21, 10, "cron"),
            process(22, 21, "sh"),
            process(23, 22, "report"),
            process(31, 10, "cron"),
            process(32, 31, "sh"),
            process(33, 32, "make"),
            process(34, 33, "cc1"),
            process(35, 33, "cc1"),
            process(36, 33, "cc1"),
            process(41, 10, "cron"),
            process(42, 41, "sh"),
        ];
        let jobs = tree(10, &all);
        let told: Vec<(String, usize)> = jobs.iter().map(|j| (j.comm.to_string(), j.instances.len())).collect();
        assert_eq!(told, [("report".to_owned(), 2), ("make".to_owned(), 1)]);
        assert_eq!(jobs[0].instances[0].pid, 23, "the oldest first");
    }

    #[test]
    fn a_job_runs_over_itself_when_it_is_begun_anew_and_its_name_is_its_own() {
        let runs = |comm: &str, ages: &[f64]| {
            let instances = ages.iter().map(|age_s| Instance { pid: 1, start_ticks: 1, age_s: *age_s }).collect();
            runs_over(&CronJob { comm: comm.into(), instances })
        };
        assert_eq!(runs("report", &[180.0, 120.0, 60.0]), 3);
        assert_eq!(runs("rsync", &[61.0, 60.5, 60.0]), 1, "three lines of one minute");
        assert_eq!(runs("rsync", &[120.0, 119.0, 60.0, 59.0]), 2);
        assert_eq!((runs("python3.12", &[180.0, 120.0, 60.0]), runs("report", &[])), (1, 1));
    }

    #[test]
    fn parents_that_are_their_own_grandchildren_do_not_hold_it_up() {
        let all = [process(11, 10, "sh"), process(12, 11, "sh"), process(11, 12, "sh"), process(13, 13, "x")];
        assert_eq!(tree(10, &all), []);
    }
}
