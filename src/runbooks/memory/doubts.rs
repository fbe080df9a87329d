//! What could not be seen or is old, and what is left of the trust in the rest: every entry takes its part.

use super::class::Class;
use super::evidence::{Evidence, Traffic};
use crate::model::{Now, Observed};
use crate::runbooks::Doubts;

/// What is missing is worth so little that no class which fits without it is surer than the one that fits with it: that is at most
/// 0.80 / 0.92 of what it was (see `Class::at_most`).
const FITS_ELSEWHERE: f64 = 0.86;

pub(super) fn doubts(evidence: &Evidence, class: Class, now: &Now) -> Doubts {
    let e = evidence;
    let mut doubts = Doubts::of_evidence(&e.taken, now);
    doubts.part("memory", &e.memory, 0.0);
    doubts.part("memory pressure", &e.pressure, FITS_ELSEWHERE);
    doubts.part("out-of-memory kills", &e.oom_kills, 0.95);
    if class == Class::PageCacheOnly {
        return doubts;
    }
    doubts.part("control groups", &e.groups, 0.0);
    doubts.part("processes", &e.processes, FITS_ELSEWHERE);
    doubts.part("releases", &e.deploys, FITS_ELSEWHERE);
    if let Some(traffic) = &e.traffic {
        doubts.part("rate of requests", traffic, FITS_ELSEWHERE);
        let of_ours = |unit: &str| e.all_groups().iter().any(|g| g.unit.as_deref() == Some(unit));
        let untold = traffic.value().and_then(|all| all.iter().find(|t| t.pearson.is_none() && of_ours(&t.unit)));
        if let Some(Traffic { unit, .. }) = untold {
            let short = Observed::<()>::unavailable("both were not watched for half an hour");
            doubts.part(&format!("whether {unit} follows its requests"), &short, FITS_ELSEWHERE);
        }
    }
    let untold = e.all_groups().iter().find(|g| g.used.working_set_bytes.is_none());
    if let Some(group) = untold {
        doubts.part(&format!("working set of {}", group.name()), &Observed::<()>::unavailable("it is not told"), FITS_ELSEWHERE);
    }
    // Somebody whose past is not known may be the one who has most too much.
    let pasts = e.all_groups().iter().map(|g| (g.name(), &g.past)).chain(e.all_processes().iter().map(|p| (p.name(), &p.past)));
    for (name, past) in pasts.filter(|(_, past)| past.why().is_some()).take(1) {
        doubts.part(&format!("what {name} used before"), past, FITS_ELSEWHERE);
    }
    for group in e.all_groups().iter().filter(|g| g.unit.is_some() && g.facts.why().is_some()).take(1) {
        doubts.part(&format!("unit {}", group.name()), &group.facts, FITS_ELSEWHERE);
    }
    doubts
}
