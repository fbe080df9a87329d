//! What one sample says of each of the six signals.

use std::collections::BTreeMap;

use super::Params;
use super::evidence::{Memory, percent_of};
use crate::detect::{Condition, History, Wants};
use crate::model::{
    Bytes, CgroupUse, JournalEntry, KernelEvent, KernelEventKind, Observed, Percent, Sample, Seconds, Severity, SignalKind, Stall, Subject,
    service_of,
};
use crate::runbooks::SignalSpec;

pub(super) const USED: SignalKind = SignalKind::new("memory_pressure_high");
pub(super) const STALL: SignalKind = SignalKind::new("memory_stall");
pub(super) const SWAP: SignalKind = SignalKind::new("swap_thrash");
pub(super) const OOM: SignalKind = SignalKind::new("oom_killed");
pub(super) const UNIT: SignalKind = SignalKind::new("unit_near_limit");
pub(super) const HEAP: SignalKind = SignalKind::new("runtime_heap_exhausted");

pub(super) const SIGNALS: &[SignalSpec] = &[
    SignalSpec {
        name: "memory_pressure_high",
        raised_when: "used >= 90 % for 90 s, and memory pressure (some, avg10) >= 10 % or MemAvailable still falls",
        clears_when: "used < 85 %",
    },
    SignalSpec {
        name: "memory_stall",
        raised_when: "all tasks waited for memory for 150 ms within 1 s: the kernel tells at once",
        clears_when: "memory pressure (full, avg10) < 1 %",
    },
    SignalSpec {
        name: "swap_thrash",
        raised_when: "swap-in >= 500 pages/s for 30 s, and memory pressure (full, avg10) >= 5 %",
        clears_when: "swap-in < 10 pages/s",
    },
    SignalSpec {
        name: "oom_killed",
        raised_when: "the kernel killed a process for want of memory, by its log or a cgroup's count",
        clears_when: "not again for 10 min",
    },
    SignalSpec {
        name: "unit_near_limit",
        raised_when: "a unit's working set >= 90 % of its memory limit for 60 s",
        clears_when: "under 70 % of it, or it has no limit any more",
    },
    SignalSpec {
        name: "runtime_heap_exhausted",
        raised_when: "a JVM, Node or Go says in the journal of its unit that its memory is exhausted",
        clears_when: "not again for 10 min",
    },
];

/// Under this share of the last 10 s nobody is stalled any more.
pub(super) const STALL_OVER: Percent = Percent(1.0);

pub(super) fn conditions(sample: &Sample, history: &History, params: &Params) -> Vec<Condition> {
    let mut out = vec![
        says(USED, Subject::Host, used(sample, history, params)),
        says(STALL, Subject::Host, stall(sample, params)),
        says(SWAP, Subject::Host, swap(sample, history, params)),
    ];
    oom(sample, history, params, &mut out);
    units(sample, history, params, &mut out);
    heaps(sample, params, &mut out);
    out
}

type Says = (Wants, String);

fn says(kind: SignalKind, subject: Subject, (wants, detail): Says) -> Condition {
    Condition { kind, subject, wants, detail }
}

const fn at_once(severity: Severity) -> Wants {
    Wants::Raise { severity, hold: Seconds(0.0) }
}

fn memory(sample: &Sample) -> Result<Memory, String> {
    match &sample.readings.memory {
        Observed::Unavailable { why } => Err(why.clone()),
        Observed::Value { value, .. } => {
            Memory::of(value).ok_or_else(|| "/proc/meminfo: MemTotal, MemFree or MemAvailable is missing".to_owned())
        }
    }
}

/// Available memory that falls faster than this would use it up is about to be gone.
const GONE_WITHIN_S: f64 = 3600.0;

fn used(sample: &Sample, history: &History, params: &Params) -> Says {
    let memory = match memory(sample) {
        Ok(memory) => memory,
        Err(why) => return (Wants::Unknown, why),
    };
    let used = memory.used_percent();
    if used < params.used_floor_percent {
        return (Wants::Clear, format!("used {used}"));
    }
    if used < params.used_high_percent {
        return (Wants::Stay, format!("used {used}"));
    }
    let pressure = sample.readings.memory_pressure.value().map(|p| Percent(p.some_avg10));
    let falls = history.rates().available_per_s;
    let figures = format!("used {used}, {} of {} available", memory.available, memory.total);
    match (pressure, falls) {
        (Some(waiting), _) if waiting >= params.pressure_percent => {
            let detail = format!("{figures}; some task waits for memory {waiting} of the time");
            (Wants::Raise { severity: Severity::Warning, hold: params.used_hold_s }, detail)
        }
        // At a pace that matters: what would last for hours drifts.
        (_, Some(per_s)) if per_s < 0.0 && memory.available.0 as f64 / -per_s <= GONE_WITHIN_S => {
            let detail = format!("{figures}; available memory falls by {}/s", Bytes(-per_s as u64));
            (Wants::Raise { severity: Severity::Warning, hold: params.used_hold_s }, detail)
        }
        // Pressure comes and goes, also while it is there.
        (Some(waiting), Some(_)) if waiting.0 * 2.0 >= params.pressure_percent.0 => {
            (Wants::Keep, format!("{figures}; some task waits for memory {waiting} of the time"))
        }
        // Full and calm is how a well-used host looks.
        (Some(_), Some(_)) => (Wants::Stay, figures),
        (None, _) => (Wants::Unknown, sample.readings.memory_pressure.why().unwrap_or("no memory pressure").to_owned()),
        (Some(_), None) => (Wants::Unknown, "whether available memory falls is not known yet".to_owned()),
    }
}

/// A stall that was told, by the kernel or by whoever looks at its counters, is one of now for this long.
const STALL_S: f64 = 5.0;

/// And it is over when none was told for so long.
const STALL_OVER_S: f64 = 60.0;

/// What was told of one lately, if it is as long as this runbook minds.
fn told_stall(sample: &Sample, params: &Params) -> Option<String> {
    let (stall, ago_s) = last_stall(sample, params)?;
    let span = |us: u64| format!("{:.0} ms", us as f64 / 1e3);
    let detail = format!("all tasks waited for memory for {} within {}", span(stall.stalled_us), span(stall.within_us));
    (ago_s <= STALL_S).then_some(detail)
}

/// Where memory is left, tasks wait for a moment while pages are written back: that is worth a look, and wakes nobody unless it lasts.
fn stall(sample: &Sample, params: &Params) -> Says {
    if let Some(detail) = told_stall(sample, params) {
        let has_room = memory(sample).is_ok_and(|memory| memory.used_percent() < params.used_floor_percent);
        return (at_once(if has_room { Severity::Warning } else { Severity::Critical }), detail);
    }
    match &sample.readings.memory_pressure {
        Observed::Unavailable { why } => (Wants::Unknown, why.clone()),
        Observed::Value { value, .. } => {
            let waiting = Percent(value.full_avg10);
            let detail = format!("all tasks wait for memory {waiting} of the time");
            match waiting {
                // One that lasts is a stall whoever tells of it.
                waiting if waiting.0 >= params.stall_s.0 * 100.0 => (at_once(Severity::Critical), detail),
                // One that comes again every half minute is one, and not a hundred in an hour.
                waiting if waiting < STALL_OVER && last_stall(sample, params).is_none_or(|(_, ago_s)| ago_s > STALL_OVER_S) => {
                    (Wants::Clear, detail)
                }
                _ => (Wants::Stay, detail),
            }
        }
    }
}

/// And how long ago it was told.
fn last_stall(sample: &Sample, params: &Params) -> Option<(Stall, f64)> {
    let stall = sample.stall.filter(|stall| stall.stalled_us as f64 >= params.stall_s.0 * 1e6)?;
    Some((stall, (sample.at.uptime_s - stall.at_s).max(0.0)))
}

fn swap(sample: &Sample, history: &History, params: &Params) -> Says {
    match memory(sample) {
        Err(why) => return (Wants::Unknown, why),
        Ok(memory) if memory.swap_total.0 == 0 => return (Wants::Clear, "there is no swap".to_owned()),
        Ok(_) => {}
    }
    let Some(pages) = history.rates().swap_in_per_s else { return (Wants::Unknown, "swap-in was not read twice yet".to_owned()) };
    if pages < params.swap_floor_pages_per_s {
        return (Wants::Clear, format!("{pages:.0} pages/s are swapped in"));
    }
    match &sample.readings.memory_pressure {
        Observed::Unavailable { why } => (Wants::Unknown, why.clone()),
        Observed::Value { value, .. } => {
            let waiting = Percent(value.full_avg10);
            let detail = format!("{pages:.0} pages/s are swapped in, all tasks wait for memory {waiting} of the time");
            let thrashes = pages >= params.swap_in_pages_per_s && waiting >= params.swap_pressure_percent;
            let wants = if thrashes { Wants::Raise { severity: Severity::Warning, hold: params.swap_hold_s } } else { Wants::Stay };
            (wants, detail)
        }
    }
}

/// One condition a subject: of a unit if the killed process was a service's, of the host else.
fn oom(sample: &Sample, history: &History, params: &Params, out: &mut Vec<Condition>) {
    let now_s = sample.at.uptime_s;
    // The newest of each subject, by how long ago it was.
    let mut found: BTreeMap<Subject, (f64, String)> = BTreeMap::new();
    let mut add = |unit: Option<String>, ago_s: f64, detail: String| {
        let subject = unit.map_or(Subject::Host, |name| Subject::Unit { name });
        match found.get(&subject) {
            Some((known, _)) if *known <= ago_s => {}
            _ => drop(found.insert(subject, (ago_s, detail))),
        }
    };
    for group in history.group_kills() {
        // What is not a service's is told by the kernel's log, with the victim.
        let (Some(unit), Some(rose_s)) = (service_of(group.path), group.rose_s) else { continue };
        add(Some(unit), now_s - rose_s, "the group's count of out-of-memory kills has risen".to_owned());
    }
    for event in sample.readings.kernel_log.value().into_iter().flat_map(|log| &log.recent).filter(|e| e.kind == KernelEventKind::OomKill) {
        add(event.cgroup.as_ref().and_then(service_of), ago_s(event, now_s), event.text.clone());
    }
    if let Observed::Unavailable { why } = &sample.readings.kernel_log {
        let told = found.values().any(|(ago_s, _)| *ago_s <= params.event_hold_s.0);
        match history.oom_killed_ago_s() {
            Some(ago_s) if !told => {
                found.insert(
                    Subject::Host,
                    (ago_s, format!("the kernel's count of out-of-memory kills; whom it killed is not known: {why}")),
                );
            }
            Some(_) => drop(found.insert(Subject::Host, (f64::INFINITY, String::new()))),
            None => out.push(says(OOM, Subject::Host, (Wants::Unknown, why.clone()))),
        }
    } else {
        found.entry(Subject::Host).or_insert((f64::INFINITY, "nobody was killed for want of memory".to_owned()));
    }
    for (subject, (ago_s, detail)) in found {
        let wants = if ago_s <= params.event_hold_s.0 { at_once(Severity::Critical) } else { Wants::Clear };
        out.push(says(OOM, subject, (wants, detail)));
    }
}

pub(super) fn ago_s(event: &KernelEvent, now_s: f64) -> f64 {
    (now_s - event.at_us as f64 / 1e6).max(0.0)
}

fn units(sample: &Sample, history: &History, params: &Params, out: &mut Vec<Condition>) {
    match &sample.readings.cgroups {
        Observed::Value { value, .. } => {
            for group in &value.top {
                if let Some(name) = service_of(&group.path) {
                    out.push(says(UNIT, Subject::Unit { name }, near_limit(group, params)));
                }
            }
        }
        // That they cannot be listed does not mean that they are gone.
        Observed::Unavailable { why } => {
            let known = history.group_kills().filter_map(|group| service_of(group.path));
            out.extend(known.map(|name| says(UNIT, Subject::Unit { name }, (Wants::Unknown, why.clone()))));
        }
    }
}

fn near_limit(group: &CgroupUse, params: &Params) -> Says {
    let Some(limit) = group.memory_max_bytes.filter(|limit| *limit > 0) else { return (Wants::Clear, "it has no memory limit".to_owned()) };
    let share = |bytes: u64| percent_of(bytes, limit);
    match (group.working_set_bytes, group.memory_bytes) {
        (Some(set), _) => {
            let percent = share(set);
            let detail = format!("working set {}, {percent} of its limit of {}", Bytes(set), Bytes(limit));
            match percent {
                percent if percent >= params.unit_near_percent => {
                    (Wants::Raise { severity: Severity::Warning, hold: params.unit_hold_s }, detail)
                }
                percent if percent < params.unit_floor_percent => (Wants::Clear, detail),
                _ => (Wants::Stay, detail),
            }
        }
        // With all its page cache it is under it: so is what it works with.
        (None, Some(all)) if share(all) < params.unit_floor_percent => (Wants::Clear, format!("{} of its limit", share(all))),
        (None, Some(all)) if share(all) < params.unit_near_percent => (Wants::Stay, format!("{} of its limit", share(all))),
        (None, _) => (Wants::Unknown, "its working set is not told".to_owned()),
    }
}

fn heaps(sample: &Sample, params: &Params, out: &mut Vec<Condition>) {
    // Without the journal nothing is said: what was raised clears by itself, and says so no sooner than an entry would have.
    let mut found: BTreeMap<&str, (f64, &'static str)> = BTreeMap::new();
    for entry in sample.readings.journal.value().into_iter().flat_map(|log| &log.recent) {
        let (Some(runtime), Some(at)) = (exhausted(entry), entry.at) else { continue };
        // A wall clock that was set back makes it no older than it can be.
        let ago_s = sample.at.wall.duration_since(at).as_secs_f64().max(0.0);
        let newest = found.entry(&entry.unit).or_insert((ago_s, runtime));
        if ago_s < newest.0 {
            *newest = (ago_s, runtime);
        }
    }
    for (unit, (ago_s, runtime)) in found {
        let wants = if ago_s <= params.event_hold_s.0 { at_once(Severity::Warning) } else { Wants::Clear };
        let detail = format!("{runtime} said {} ago that its memory is exhausted", Seconds(ago_s));
        out.push(says(HEAP, Subject::Unit { name: unit.to_owned() }, (wants, detail)));
    }
}

/// Which runtime says that of itself. Anybody can write such a line into his own unit's journal, and nobody into another's.
fn exhausted(entry: &JournalEntry) -> Option<&'static str> {
    let says = |text: &str| entry.message.contains(text);
    if entry.unit.is_empty() {
        None
    } else if says("java.lang.OutOfMemoryError") {
        Some("the JVM")
    } else if says("heap out of memory") {
        Some("Node")
    } else if says("runtime: out of memory") || entry.message.starts_with("fatal error: out of memory") {
        Some("Go's runtime")
    } else {
        None
    }
}
