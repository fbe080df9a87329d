//! What could not be seen or is old, and what is left of the trust in the rest: every entry takes its part.
//!
//! A class is worth at least 0.6 where everything is known, so a part on which the choice of a class may hang is worth less than that when
//! it is missing: what is not known never makes anybody surer.

use super::class::Class;
use super::evidence::Evidence;
use super::suspect::Suspect;
use crate::model::{Now, Observed, Seconds};

/// Without it nobody knows who it is.
const NEEDED: f64 = 0.3;

pub(super) struct Doubts {
    pub said: Vec<String>,
    /// 0..1.
    pub trust: f64,
}

pub(super) fn doubts(evidence: &Evidence, class: Class, now: &Now) -> Doubts {
    let e = evidence;
    let mut doubts = Doubts { said: Vec::new(), trust: 1.0 };
    // The boot clock counts: a wall clock that jumps ages nothing.
    let age_s = now.steady_since(&e.taken).unwrap_or_else(|| now.at_most_since(&e.taken).0);
    if freshness(age_s) < 1.0 {
        doubts.say("evidence", &format!("{} old", Seconds(age_s)), freshness(age_s));
    }
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

impl Doubts {
    fn say(&mut self, what: &str, why: &str, worth: f64) {
        self.said.push(format!("{what}: {why}"));
        self.trust *= worth;
    }

    /// `without` is what the evidence is worth when this part is missing. All parts are of one moment: their age is the evidence's.
    fn part<T>(&mut self, what: &str, part: &Observed<T>, without: f64) {
        if let Some(why) = part.why() {
            self.say(what, why, without);
        }
    }
}

/// 1 for what was read within half a minute, falling to 0 at ten minutes. An age that is not a number is no age to trust.
fn freshness(age_s: f64) -> f64 {
    if age_s.is_nan() { 0.0 } else { (1.0 - (age_s - 30.0) / 570.0).clamp(0.0, 1.0) }
}
