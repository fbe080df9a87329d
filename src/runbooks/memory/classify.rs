//! What is wrong, and how sure that is.
//!
//! On a host, as sure as the suspect's excess explains what the host has too much; of a unit's own signals, the unit is all there is to
//! explain. The specification's figure for the class is the most that it can come to, and what could not be seen takes its part of that.

use super::Params;
use super::class::Class;
use super::doubts::doubts;
use super::evidence::Evidence;
use super::shortage::{explained, is_short, killed, over, text};
use super::signals::{OOM, STALL, SWAP};
use super::suspects::{Suspect, Who, correlation, is_unknown_before, misconfigured, presses, release, suspect, trend};
use crate::model::{Bytes, Confidence, Deploy, Diagnosis, Explained, Finding, HostPath, Now, Percent, Seconds, Severity};

/// What an excess is worth of which nobody knows whether it is one: enough for what is taken back, and too little to end a process.
const UNKNOWN_BEFORE: f64 = 0.88;

pub(super) fn classify(evidence: &Evidence, params: &Params, now: &Now) -> Diagnosis {
    let cache = is_page_cache(evidence, params);
    let found = if cache { None } else { suspect(evidence, params) };
    let class = if cache { Class::PageCacheOnly } else { found.map_or(Class::Unknown, |s| s.class) };
    let doubts = doubts(evidence, class, now);
    let share = match (class, found) {
        (Class::PageCacheOnly, _) => 1.0,
        (_, Some(suspect)) => explained(suspect.excess, evidence, params),
        (_, None) => 0.0,
    };
    // It may be no more than what it always has.
    let doubted = if found.is_some_and(|s| is_unknown_before(s.who, evidence)) { UNKNOWN_BEFORE } else { 1.0 };
    let amount = found.map_or(0, |s| s.excess.0);
    Diagnosis {
        class: class.as_str().to_owned(),
        confidence: Confidence::new(class.at_most() * share * doubted * doubts.trust),
        summary: summary(evidence, class, found, params),
        explained: if share > 0.0 { vec![Explained { class: class.as_str().to_owned(), amount, share }] } else { Vec::new() },
        findings: findings(evidence, found),
        missing: doubts.said,
        behind: found.map(|s| s.who.name()),
        critical: evidence.signals.iter().any(|s| s.severity == Severity::Critical),
    }
}

/// Full to the eye, and nobody waits: everything that would speak against it was looked at and does not.
fn is_page_cache(evidence: &Evidence, params: &Params) -> bool {
    let (Some(memory), Some(pressure), Some(kills)) = (evidence.memory.value(), evidence.pressure.value(), evidence.oom_kills.value())
    else {
        return false;
    };
    let told = [STALL, SWAP, OOM].iter().any(|kind| evidence.has(kind));
    let calm = Percent(pressure.some_avg10) < params.pressure_percent && Percent(pressure.full_avg10) < params.swap_pressure_percent;
    evidence.own_unit().is_none()
        && !told
        && kills.is_empty()
        && calm
        && memory.filled_percent() >= params.used_high_percent
        && memory.used_percent() < params.used_floor_percent
}

fn summary(evidence: &Evidence, class: Class, found: Option<Suspect<'_>>, params: &Params) -> String {
    let place = evidence.subject.to_string();
    let host = match (evidence.own_unit(), evidence.memory.value()) {
        (None, Some(memory)) => format!("{place} uses {} of its memory", memory.used_percent()),
        (None, None) => format!("{place}: its memory cannot be read"),
        (Some(unit), _) => match evidence.group_of(unit) {
            None => format!("{unit}: its group is not among those that could be read"),
            Some(group) => match group.limit() {
                Some(limit) => format!("{unit} uses {} of the {limit} that it may", group.memory()),
                None => format!("{unit} uses {} and has no limit", group.memory()),
            },
        },
    };
    let Some(suspect) = found else {
        return match class {
            Class::PageCacheOnly => format!("{host}; the rest is page cache, and nobody waits for memory"),
            _ if is_well(evidence, params) => format!("{host}: nothing must be done"),
            _ => {
                let why = match is_short(evidence, params) {
                    Some(false) => over(evidence, params),
                    Some(true) | None => "nothing that was looked at explains it".to_owned(),
                };
                let killed = killed(evidence, params).map_or_else(String::new, |killed| format!("; {killed}"));
                format!("{host}; {why}{killed}")
            }
        };
    };
    let name = suspect.who.name();
    let why = match (class, suspect.who) {
        (Class::DeployRegression, who) => match release(who, evidence, params) {
            Some(deploy) => {
                let ago = Seconds(super::suspects::ago_s(deploy, evidence));
                format!("{name} grows since {} {ago} ago", released(deploy))
            }
            None => format!("{name} grows since a release"),
        },
        (Class::RuntimeMisconfig, Who::Group(group)) => match misconfigured(group, evidence) {
            Some((process, heap)) => {
                let limit = group.limit().unwrap_or_default();
                format!("{} was started with {}, and {name} may have {limit}", process.name(), HostPath::from(heap.written.as_str()))
            }
            None => format!("{name} was given a heap larger than its limit"),
        },
        (Class::NoisyNeighbor, who) => format!("{name} has {}, {} of it beyond its usual ({})", who.memory(), suspect.excess, trend(who)),
        (Class::MemoryLeak, who) => format!("{name} has {} and rises ({})", who.memory(), trend(who)),
        (Class::TrafficSpike, who) => {
            let pearson = correlation(who, evidence).unwrap_or(0.0);
            format!("{name} follows its requests (correlation {pearson:.2})")
        }
        (Class::UndersizedLimit, who) => format!("{name} stays where it is ({})", trend(who)),
        (Class::RuntimeMisconfig | Class::PageCacheOnly | Class::Unknown, _) => name,
    };
    format!("{host}; {why}")
}

/// Asked out of curiosity: nothing was raised, nothing is short.
pub(super) fn is_well(evidence: &Evidence, params: &Params) -> bool {
    let calm = evidence.pressure.value().is_some() && !presses(evidence, params);
    let used = evidence.memory.value().is_some_and(|m| m.used_percent() < params.used_floor_percent);
    evidence.signals.is_empty() && calm && used
}

/// What happened. Markers are written by people and programs: what they say is shown escaped.
pub(super) fn released(deploy: &Deploy) -> String {
    let said = |of: &str| text(of).to_string();
    Deploy { name: said(&deploy.name), version: said(&deploy.version), ..deploy.clone() }.event()
}

fn findings(evidence: &Evidence, found: Option<Suspect<'_>>) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut say = |what: &str, value: String| out.push(Finding { what: what.to_owned(), value });
    for signal in &evidence.signals {
        say("signal", format!("{} ({}): {}", signal.kind, signal.severity.as_str(), signal.detail));
    }
    if let Some(memory) = evidence.memory.value() {
        let swap = match memory.swap_total {
            Bytes(0) => "no swap".to_owned(),
            total => format!("{} of {total} swap used", Bytes(total.0.saturating_sub(memory.swap_free.0))),
        };
        say("memory", format!("{} used, {} of {} available, {swap}", memory.used_percent(), memory.available, memory.total));
    }
    if let Some(p) = evidence.pressure.value() {
        say("memory pressure", format!("some {}, full {} of the last 10 s", Percent(p.some_avg10), Percent(p.full_avg10)));
    }
    if let Some(pages) = evidence.swap_in_per_s.value().filter(|pages| **pages >= 1.0) {
        say("swapped in", format!("{pages:.0} pages/s"));
    }
    if let Some(who) = found.map(|s| s.who) {
        say("suspect", format!("{}: {}, {}", who.name(), who.memory(), trend(who)));
        if let Who::Group(group) = who
            && let Some(facts) = group.facts.value()
        {
            let limit = facts.memory_max.map_or("no limit".to_owned(), |max| format!("MemoryMax={max}"));
            say(
                "unit",
                format!(
                    "{}, restarted {} times by systemd, runs for {}, {limit}",
                    facts.active,
                    facts.restarts,
                    Seconds(facts.active_for_s)
                ),
            );
        }
    }
    for group in evidence.all_groups().iter().take(3) {
        say("largest group", format!("{}: {}", group.name(), group.memory()));
    }
    for process in evidence.all_processes().iter().take(3) {
        let pss =
            process.detail.value().and_then(|d| d.pss.value().copied()).map_or_else(String::new, |pss| format!(", {pss} of its own share"));
        say("largest process", format!("{}: {}{pss}", process.name(), process.rss));
    }
    for kill in evidence.oom_kills.value().into_iter().flatten().take(3) {
        say("killed for want of memory", format!("{} {} ago: {}", text(&kill.victim), Seconds(kill.ago_s), text(&kill.text)));
    }
    for deploy in evidence.deploys.value().into_iter().flatten().take(3) {
        let ago = Seconds(super::suspects::ago_s(deploy, evidence));
        say("release", format!("{} {ago} ago", released(deploy)));
    }
    out
}
