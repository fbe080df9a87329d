//! Whether anything is short still, what must come back, and whom the kernel has killed for it. A shortage that is over makes nobody guilty.

use super::Params;
use super::evidence::{Evidence, Group, Kill, percent_of, share_of};
use super::signals::{HEAP, OOM, SWAP};
use super::suspects::at_high;
use crate::model::{Bytes, HostPath, Percent, Seconds, service_of};

/// What must come back before the host is well.
pub(super) fn need(evidence: &Evidence, params: &Params) -> Option<Bytes> {
    let memory = evidence.memory.value()?;
    let floor = share_of(memory.total, params.used_floor_percent);
    Some(Bytes(memory.used().0.saturating_sub(floor.0)))
}

/// The subject has less than it needs, now. `None`: not known. Of a unit, its limit decides; without one, the host's memory is its limit.
/// That tasks wait decides nothing: so they do in a unit that its own limit holds back, on a host that has plenty.
pub(super) fn is_short(evidence: &Evidence, params: &Params) -> Option<bool> {
    let Some(unit) = evidence.own_unit() else { return of_host(evidence, params) };
    // The heap that is exhausted is inside the runtime, whatever the unit may have.
    if evidence.has(&HEAP) {
        return Some(true);
    }
    let group = evidence.group_of(unit)?;
    match group.limit() {
        None => of_host(evidence, params),
        Some(limit) if group.is_told() => Some(percent_of(group.memory().0, limit.0) >= params.unit_floor_percent),
        Some(_) => None,
    }
}

fn of_host(evidence: &Evidence, params: &Params) -> Option<bool> {
    let used = evidence.memory.value()?.used_percent() >= params.used_floor_percent;
    Some(used || is_thrashing(evidence, params))
}

/// Pages come back from swap as fast as when that was raised: whatever is available, somebody does not have what he works with.
fn is_thrashing(evidence: &Evidence, params: &Params) -> bool {
    evidence.has(&SWAP) && evidence.swap_in_per_s.value().is_some_and(|pages| *pages >= params.swap_in_pages_per_s / 2.0)
}

/// How much of the shortage an excess explains, 0..1. A host that is hardly beyond its floor is not explained by whoever has that little too
/// much: from the floor to where it counts as short is the least that is asked for.
pub(super) fn explained(excess: Bytes, evidence: &Evidence, params: &Params) -> f64 {
    let own = evidence.own_unit().and_then(|unit| evidence.group_of(unit));
    // Within its own limit, a unit is all that there is to explain.
    if own.is_some_and(|group| group.limit().is_some() || evidence.has(&HEAP)) {
        return 1.0;
    }
    let (Some(Bytes(need)), Some(memory)) = (need(evidence, params), evidence.memory.value()) else { return 0.0 };
    if need == 0 {
        return 0.0;
    }
    let least = share_of(memory.total, Percent(params.used_high_percent.0 - params.used_floor_percent.0));
    (excess.0 as f64 / need.max(least.0) as f64).min(1.0)
}

/// Said instead of blaming anybody. Where a unit's own limit is what its tasks wait at, that is not over, and as somebody wanted it.
pub(super) fn over(evidence: &Evidence, params: &Params) -> String {
    match evidence.all_groups().iter().find(|group| is_held(group, params)) {
        Some(group) => format!("that is enough, and nobody is blamed: {} waits at its own MemoryHigh", group.name()),
        None => "that is enough: what there was is over, and nobody is blamed for it".to_owned(),
    }
}

/// A limit holds it back: taken off, it would go on growing.
pub(super) fn is_held(group: &Group, params: &Params) -> bool {
    let waits = group.used.memory_pressure.as_ref().is_some_and(|p| Percent(p.some_avg10) >= params.pressure_percent);
    waits && at_high(group)
}

/// Whom the kernel has killed while that is news, of a unit's own signals among its own; in words.
pub(super) fn killed(evidence: &Evidence, params: &Params) -> Option<String> {
    let unit_of = |kill: &Kill| kill.cgroup.as_ref().and_then(service_of);
    let news = |kill: &&Kill| {
        (evidence.has(&OOM) || kill.ago_s <= params.event_hold_s.0)
            && evidence.own_unit().is_none_or(|own| unit_of(kill).as_deref() == Some(own))
    };
    let kills = evidence.oom_kills.value().into_iter().flatten();
    let Some(kill) = kills.filter(news).min_by(|a, b| a.ago_s.total_cmp(&b.ago_s)) else {
        return evidence.has(&OOM).then(|| "the kernel has killed for want of memory, and whom is not known".to_owned());
    };
    let pid = kill.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let home = unit_of(kill).or_else(|| kill.cgroup.as_ref().map(ToString::to_string)).unwrap_or_else(|| "no known group".to_owned());
    Some(format!("the kernel killed {}{pid} of {} {} ago", text(&kill.victim), text(&home), Seconds(kill.ago_s)))
}

/// Markers and names are written by people and programs: what they say is shown escaped, once.
pub(super) fn text(of: &str) -> HostPath {
    HostPath::unescape(of).unwrap_or_else(|| of.into())
}
