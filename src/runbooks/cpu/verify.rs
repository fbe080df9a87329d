//! Whether it helped: what was seen before against what is seen now.
//!
//! A quota brings the host under the floor at once. A weight and SCHED_IDLE do not: the CPUs stay as busy as they were, only that the
//! others come first. They are enough when others had to wait and do not any more; then the episode holds, and a person is told, because
//! the cause is still there. Tasks that are held back by a quota count as waiting for a CPU, so pressure says nothing while one presses.

use super::Params;
use super::evidence::{Evidence, Group, HostLoad, Hot, Waiting};
use super::findings::{busy, table};
use super::suspect::{Suspect, is_storm, others_wait, our_quota, pids_share, yields};
use crate::model::{AfterStep, Observed, Percent, Subject, Verdict};

pub(super) fn after_step(before: &Evidence, after: &Evidence, params: &Params) -> AfterStep {
    let host = match &after.host {
        Observed::Value { value, .. } => value,
        Observed::Unavailable { why } => return AfterStep::Abort { why: format!("how busy the CPUs are now cannot be read: {why}") },
    };
    let moved = format!("busy {} -> {}", busy(before), host.busy);
    let own = match own_figure(after, params) {
        Ok(own) => own,
        Err(why) => return AfterStep::Abort { why },
    };
    let left = own.or_else(|| too_busy(host, params)).or_else(|| storm(before, host, after, params));
    match left {
        None => AfterStep::Enough { why: format!("{moved}: the host has room again") },
        Some(left) => match others_relieved(before, after, params) {
            Some(relieved) => AfterStep::Enough { why: format!("{moved}: {relieved}") },
            None => AfterStep::Continue { why: format!("{moved}: {left}") },
        },
    }
}

/// Called twice, with the evidence of the diagnosis and with that of the first verification, and every minute while a limit is held.
pub(super) fn verify(before: &Evidence, after: &Evidence, params: &Params) -> Verdict {
    let host = match &after.host {
        Observed::Value { value, .. } => value,
        Observed::Unavailable { why } => return Verdict::Unknown { why: format!("how busy the CPUs are cannot be read: {why}") },
    };
    let own = match own_figure(after, params) {
        Ok(own) => own,
        Err(why) => return Verdict::Unknown { why },
    };
    let presses = match &after.groups {
        Observed::Value { value, .. } => value.iter().find_map(|group| presses(after, group, params)),
        // A quota that holds it down would not be seen.
        Observed::Unavailable { why } => return Verdict::Unknown { why: format!("what each unit uses cannot be read: {why}") },
    };
    let waits = match (&before.pressure, &after.pressure) {
        (Observed::Value { value: was, .. }, Observed::Value { value: is, .. }) => waits(was, is, params),
        (Observed::Value { .. }, Observed::Unavailable { why }) => return Verdict::Unknown { why: format!("CPU pressure: {why}") },
        // This kernel does not tell it.
        (Observed::Unavailable { .. }, _) => None,
    };
    let left = presses.or(own).or_else(|| too_busy(host, params)).or_else(|| storm(before, host, after, params)).or(waits);
    match left {
        Some(left) => Verdict::NotResolved { why: format!("{left}. Before: {}. Now: {}", table(before), table(after)) },
        None => Verdict::Resolved { why: format!("busy {} -> {}", busy(before), host.busy) },
    }
}

fn too_busy(host: &HostLoad, params: &Params) -> Option<String> {
    (host.busy >= params.busy_floor_percent).then(|| format!("busy {}, which must be under {}", host.busy, params.busy_floor_percent))
}

/// What the episode is about, by its own figure. `Err`: it cannot be read.
fn own_figure(after: &Evidence, params: &Params) -> Result<Option<String>, String> {
    match &after.subject {
        Subject::Process { pid, start_ticks, comm } => {
            if let Some(why) = after.processes.why() {
                return Err(format!("{comm} (pid {pid}): {why}"));
            }
            // Not among the hottest, and not to be found: it is gone, or cool.
            let hot = after
                .process(*pid, *start_ticks)
                .filter(|p| p.cpu >= params.process_percent || Suspect::of(after).still_wants_all(after, params));
            Ok(hot.map(|p| format!("{comm} (pid {pid}) still takes {} of a CPU", p.cpu)))
        }
        Subject::Unit { name } => {
            let groups = after.groups.value().ok_or_else(|| format!("{name}: {}", after.groups.why().unwrap_or_default()))?;
            let crowded = groups.iter().filter(|g| g.unit.as_deref() == Some(name)).find_map(|g| crowded(g, params));
            Ok(crowded.map(|share| format!("{name} still has {share} of the processes that it may have")))
        }
        Subject::Host | Subject::Filesystem { .. } | Subject::Disk { .. } => Ok(None),
    }
}

fn crowded(group: &Group, params: &Params) -> Option<Percent> {
    pids_share(group).filter(|share| *share > params.pids_percent)
}

/// Processes are made as fast as ever, or a unit that had nearly all it may have still has.
fn storm(before: &Evidence, host: &HostLoad, after: &Evidence, params: &Params) -> Option<String> {
    if is_storm(before, after, params) {
        return Some(format!("{:.0} processes are made in a second", host.forks_per_s));
    }
    let was = Suspect::of_storm(before, params).group.filter(|g| crowded(g, params).is_some())?;
    let share = after.group(&was.path).and_then(|g| crowded(g, params))?;
    Some(format!("{} still has {share} of the processes that it may have", was.path))
}

/// Falling, or low.
fn waits(was: &Waiting, is: &Waiting, params: &Params) -> Option<String> {
    let low = is.avg10 < params.pressure_floor_percent || is.window < params.pressure_floor_percent;
    (!low && is.avg10 >= was.avg10).then(|| format!("some task still waits for a CPU {} of the time, and it was {}", is.avg10, was.avg10))
}

/// A unit is held down by a quota of ours, and would take as much as before without it. One that its owner holds down is where he wants it to be.
fn presses(after: &Evidence, group: &Group, params: &Params) -> Option<String> {
    let share = group.throttled.filter(|share| *share >= params.throttled_percent)?;
    let name = group.unit.as_deref()?;
    let set = our_quota(&after.in_force, name)?;
    Some(format!("{name} presses against CPUQuota={set}%: it is held back in {share} of its periods"))
}

/// The offender comes last by now, and others who had to wait do not any more. Where it came last before as well, they still do not.
fn others_relieved(before: &Evidence, after: &Evidence, params: &Params) -> Option<String> {
    if !matches!(after.subject, Subject::Host) {
        return None;
    }
    let suspect = Suspect::of(before);
    let path = suspect.group.map(|g| &g.path);
    let comes_last = |e: &Evidence| {
        let weight = suspect.unit.and_then(|unit| e.unit(unit)).and_then(|facts| facts.value()?.cpu_weight);
        let calmed =
            suspect.process.and_then(|p| e.process(p.pid, p.start_ticks)).and_then(|p: &Hot| p.watched.value()).is_some_and(yields);
        calmed || weight.is_some_and(|weight| weight <= params.weight)
    };
    if !comes_last(after) {
        return None;
    }
    let (was, is) = others_wait(before, path).zip(others_wait(after, path))?;
    let relieved = is < params.others_wait_percent && (was >= params.others_wait_percent || comes_last(before));
    relieved.then(|| format!("{} comes last, and others wait {is} of the time instead of {was}", suspect.named().unwrap_or_default()))
}
