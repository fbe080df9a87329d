//! What could not be seen or is old, and what is left of the trust in the rest: every entry takes its part.
//!
//! A class is worth at least 0.6 where everything is known, so a part on which the choice of a class may hang is worth less than that when
//! it is missing: what is not known never makes anybody surer.

use super::class::Class;
use super::evidence::Evidence;
use super::suspect::Suspect;
use crate::model::Now;
use crate::runbooks::Doubts;

/// Without it nobody knows who it is.
const NEEDED: f64 = 0.3;

pub(super) fn doubts(evidence: &Evidence, class: Class, now: &Now) -> Doubts {
    let e = evidence;
    let mut doubts = Doubts::of_evidence(&e.taken, now);
    doubts.part("the CPUs' times", &e.host, 0.0);
    match class {
        Class::Steal => return doubts,
        Class::IoWait => {
            doubts.part("io pressure", &e.io_pressure, 0.9);
            return doubts;
        }
        Class::LimitThrottling => {
            doubts.part("cgroups", &e.groups, NEEDED);
            return doubts;
        }
        Class::CronFanout
        | Class::DeployRegression
        | Class::RunawayProcess
        | Class::ForkStorm
        | Class::FleetWide
        | Class::LegitimateLoad
        | Class::Unknown => {}
    }
    doubts.part("io pressure", &e.io_pressure, 0.98);
    doubts.part("CPU pressure", &e.pressure, 0.98);
    doubts.part("processes", &e.processes, NEEDED);
    doubts.part("cgroups", &e.groups, NEEDED);
    // Who makes processes and who runs over himself is told by the group; a child of a storm is gone before it can be looked at.
    let by_group = matches!(class, Class::CronFanout | Class::ForkStorm);
    if let Some(process) = Suspect::of(e).process.filter(|_| !by_group) {
        doubts.part(&format!("what {} (pid {}) does", process.comm, process.pid), &process.watched, NEEDED);
        if let Some(watched) = process.watched.value() {
            doubts.part("its io", &watched.io_bytes_per_s, 0.9);
        }
    }
    doubts.part("jobs of cron and at", &e.cron, 0.9);
    doubts.part("releases of the last hour", &e.deploys, 0.9);
    doubts
}
