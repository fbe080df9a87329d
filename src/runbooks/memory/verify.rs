//! Whether it helped: what was seen before against what is seen now.

use super::Params;
use super::evidence::{Evidence, Group, percent_of};
use super::signals::{HEAP, STALL, SWAP};
use super::suspects::at_high;
use crate::model::{AfterStep, Bytes, LimitTo, Observed, Percent, Step, Verdict};

/// Of the host's memory: less than this comes and goes all the time.
const NOISE: Percent = Percent(1.0);
/// Of what a group had: a step that gave this back has an effect that is waited for.
const COMES_BACK: Percent = Percent(5.0);

/// `Enough` also while memory comes back and there is not enough of it yet: the verification waits for it, and nobody else is touched
/// meanwhile.
pub(super) fn after_step(before: &Evidence, after: &Evidence, params: &Params) -> AfterStep {
    match state(before, after, params) {
        State::Unknown { why } => AfterStep::Abort { why },
        State::Well { why } => AfterStep::Enough { why },
        State::Short { why } => match comes_back(before, after) {
            Some(gained) => AfterStep::Enough { why: format!("{why}; {gained}: that is waited for") },
            None => AfterStep::Continue { why },
        },
    }
}

/// Called with the evidence of the diagnosis, once more with that of the first verification, and every minute while a limit is all that keeps
/// the host well.
pub(super) fn verify(before: &Evidence, after: &Evidence, params: &Params) -> Verdict {
    match state(before, after, params) {
        State::Unknown { why } => Verdict::Unknown { why },
        State::Short { why } => Verdict::NotResolved { why: format!("{why}{}", largest(after)) },
        State::Well { why } => match held(before, after).or_else(|| killed(before, after)) {
            Some(why) => Verdict::NotResolved { why: format!("{why}{}", largest(after)) },
            None => match &after.oom_count {
                // That nobody was killed is part of what is promised.
                Observed::Unavailable { why } if before.oom_count.value().is_some() => Verdict::Unknown { why: why.clone() },
                Observed::Unavailable { .. } | Observed::Value { .. } => Verdict::Resolved { why },
            },
        },
    }
}

/// For whoever is told: the plan has who was largest before.
fn largest(after: &Evidence) -> String {
    let groups: Vec<String> = after.all_groups().iter().take(5).map(|g| format!("{} {}", g.name(), g.memory())).collect();
    if groups.is_empty() { String::new() } else { format!("; largest now: {}", groups.join(", ")) }
}

enum State {
    Well { why: String },
    Short { why: String },
    Unknown { why: String },
}

fn state(before: &Evidence, after: &Evidence, params: &Params) -> State {
    if after.taken.boot != before.taken.boot {
        return State::Unknown { why: "the host was started anew meanwhile".to_owned() };
    }
    match before.own_unit() {
        Some(unit) => exhausted(unit, before, after).unwrap_or_else(|| of_unit(unit, before, after, params)),
        None => of_host(before, after, params),
    }
}

/// A heap that was full is full for as long as its process runs, whatever the unit and the host have.
fn exhausted(unit: &str, before: &Evidence, after: &Evidence) -> Option<State> {
    if !before.has(&HEAP) {
        return None;
    }
    match (before.group_of(unit).map(|g| &g.facts), after.group_of(unit).map(|g| &g.facts)) {
        (Some(Observed::Value { value: was, .. }), Some(Observed::Value { value: is, .. })) => (was.invocation == is.invocation)
            .then(|| State::Short { why: format!("the heap of {unit} was full, and it has run on since: it must be started anew") }),
        (Some(Observed::Unavailable { why }), _) | (_, Some(Observed::Unavailable { why })) => Some(State::Unknown { why: why.clone() }),
        (None, _) | (_, None) => Some(State::Unknown { why: format!("whether {unit} was started anew is not known") }),
    }
}

fn of_host(before: &Evidence, after: &Evidence, params: &Params) -> State {
    let memory = match &after.memory {
        Observed::Unavailable { why } => return State::Unknown { why: why.clone() },
        Observed::Value { value, .. } => value,
    };
    let was = before.memory.value().map_or_else(|| "unknown".to_owned(), |m| m.used_percent().to_string());
    let figures = format!("used {was} -> {}", memory.used_percent());
    if memory.used_percent() >= params.used_floor_percent {
        return State::Short { why: format!("{figures}, and must be under {}", params.used_floor_percent) };
    }
    if before.has(&STALL) {
        match waited(before, after) {
            Observed::Unavailable { why } => return State::Unknown { why },
            Observed::Value { value, .. } if value.0 >= params.stall_s.0 * 100.0 => {
                return State::Short { why: format!("{figures}; all tasks still wait for memory {value} of the time") };
            }
            Observed::Value { .. } => {}
        }
    }
    match &after.swap_in_per_s {
        Observed::Value { value, .. } if *value >= params.swap_floor_pages_per_s && memory.swap_total.0 > 0 => {
            State::Short { why: format!("{figures}; {value:.0} pages/s are swapped in") }
        }
        Observed::Unavailable { why } if before.has(&SWAP) && memory.swap_total.0 > 0 => State::Unknown { why: why.clone() },
        Observed::Value { .. } | Observed::Unavailable { .. } => State::Well { why: figures },
    }
}

/// Share of the time between the two looks in which all tasks waited: the kernel's averages still tell of the time before.
fn waited(before: &Evidence, after: &Evidence) -> Observed<Percent> {
    let (was, is) = match (&before.pressure, &after.pressure) {
        (Observed::Value { value: was, .. }, Observed::Value { value: is, .. }) => (was, is),
        (Observed::Unavailable { why }, _) | (_, Observed::Unavailable { why }) => return Observed::unavailable(why),
    };
    let span_s = after.taken.steady_since(&before.taken).unwrap_or(0.0);
    // Since a diagnosis of minutes ago the share says little of now, and of a moment ago too little: then the average decides.
    if !(0.2..=30.0).contains(&span_s) {
        return Observed::fresh(Percent(is.full_avg10));
    }
    let waited_s = is.full_total_us.saturating_sub(was.full_total_us) as f64 / 1e6;
    Observed::fresh(Percent((waited_s / span_s * 100.0).min(100.0)))
}

fn of_unit(unit: &str, before: &Evidence, after: &Evidence, params: &Params) -> State {
    let group = match (&after.groups, after.group_of(unit)) {
        (Observed::Unavailable { why }, _) => return State::Unknown { why: why.clone() },
        (Observed::Value { .. }, None) => return State::Unknown { why: format!("{unit}: its group cannot be read") },
        (Observed::Value { .. }, Some(group)) => group,
    };
    if !group.is_told() {
        return State::Unknown { why: format!("{unit}: what it uses is not told") };
    }
    let was = before.group_of(unit).map_or_else(|| "unknown".to_owned(), |g| g.memory().to_string());
    let figures = format!("{unit} {was} -> {}", group.memory());
    // Without a limit of its own, the host's memory is its limit.
    let Some(limit) = group.limit() else { return of_host(before, after, params) };
    let percent = percent_of(group.memory().0, limit.0);
    let figures = format!("{figures}, {percent} of its limit of {limit}");
    if percent < params.unit_floor_percent {
        State::Well { why: figures }
    } else {
        State::Short { why: format!("{figures}, and must be under {}", params.unit_floor_percent) }
    }
}

/// What has come back since, if it is worth waiting for. On a host it is the host that counts: somebody always gives back a little.
fn comes_back(before: &Evidence, after: &Evidence) -> Option<String> {
    // That a unit gives memory back mends no heap.
    if before.has(&HEAP) {
        return None;
    }
    if let Some(unit) = before.own_unit() {
        let (was, is) = (before.group_of(unit)?.used.memory_bytes?, after.group_of(unit)?.used.memory_bytes?);
        let gave = was.saturating_sub(is);
        return (gave > 0 && percent_of(gave, was) >= COMES_BACK).then(|| format!("{unit} gave {} back", Bytes(gave)));
    }
    let (was, is) = (before.memory.value()?, after.memory.value()?);
    let gained = Bytes(is.available.0.saturating_sub(was.available.0));
    (percent_of(gained.0, is.total.0) >= NOISE).then(|| format!("{gained} came back"))
}

/// A limit of ours that is all that keeps its unit from growing on. Whose owner has set one is where he wants it to be.
fn held(before: &Evidence, after: &Evidence) -> Option<String> {
    let ours = |unit: &str| {
        let high = |step: &Step| matches!(step, Step::LimitUnit(limit) if matches!(limit.limit, LimitTo::MemoryHigh(_)) && limit.target.unit == unit);
        after.in_force.iter().any(high)
    };
    after.all_groups().iter().find_map(|group| {
        let high = group.used.memory_high_bytes.filter(|_| group.unit.as_deref().is_some_and(ours))?;
        let presses = at_high(group) && rose(before.same_group(group), group);
        presses.then(|| format!("{} presses against MemoryHigh={}", group.name(), Bytes(high)))
    })
}

/// A count that cannot be compared may have risen.
fn rose(was: Option<&Group>, is: &Group) -> bool {
    match (was.and_then(|was| was.used.high_events), is.used.high_events) {
        (Some(was), Some(is)) => is > was,
        _ => true,
    }
}

fn killed(before: &Evidence, after: &Evidence) -> Option<String> {
    let more = after.oom_count.value()?.checked_sub(*before.oom_count.value()?)?;
    (more > 0).then(|| format!("the kernel has killed {more} more for want of memory"))
}
