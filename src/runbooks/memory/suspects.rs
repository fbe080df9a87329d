//! Who may be behind it: each group and process with what it has too much, and the class that fits it.

use super::Params;
use super::class::Class;
use super::evidence::{Evidence, Group, Process, percent_of, share_of};
use super::shortage::{is_held, is_short};
use super::signals::{STALL, STALL_OVER};
use crate::detect::Past;
use crate::model::{Bytes, Deploy, HeapSetting, Observed, Percent, Seconds, Subject};

/// A group, or a process that belongs to no service.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who<'a> {
    Group(&'a Group),
    Process(&'a Process),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Suspect<'a> {
    pub who: Who<'a>,
    pub class: Class,
    /// What it has beyond its usual.
    pub excess: Bytes,
}

/// A group is at its limit from this share on: reclaim keeps it a little under.
pub(super) const PRESSED: Percent = Percent(97.0);
/// Within this of its usual it has no trend.
const STEADY: Percent = Percent(110.0);
/// Growth that began with a release is so much steeper than all that was seen, if more was seen than what came after it.
const STEEPER: f64 = 1.5;
const DAY_S: f64 = 86_400.0;
/// What began within this has no usual.
const NEW_S: f64 = 600.0;
/// On a host, less than this is no excess: everybody has a little more at times. So much of its memory, and so many bytes.
const WORTH: Percent = Percent(1.0);
const WORTH_BYTES: u64 = 32 << 20;
/// A stall that was raised within this is one of now, whatever the averages say yet.
const STALL_NEW_S: f64 = 10.0;

impl<'a> Who<'a> {
    pub(super) fn name(self) -> String {
        match self {
            Self::Group(group) => group.name(),
            Self::Process(process) => process.name(),
        }
    }

    pub(super) fn unit(self) -> Option<&'a str> {
        match self {
            Self::Group(group) => group.unit.as_deref(),
            Self::Process(process) => process.facts.unit.as_deref(),
        }
    }

    pub(super) fn memory(self) -> Bytes {
        match self {
            Self::Group(group) => group.memory(),
            Self::Process(process) => process.rss,
        }
    }

    pub(super) fn past(self) -> &'a Observed<Past> {
        match self {
            Self::Group(group) => &group.past,
            Self::Process(process) => &process.past,
        }
    }

    /// It began a moment ago, so that nothing is usual for it yet: all that it has came on top. That it was not followed for long says less:
    /// so is everything after a start of the agent.
    pub(super) fn is_new(self) -> bool {
        let unknown = self.past().value().is_some_and(|past| past.memory_usual.is_none());
        unknown && self.is_young()
    }

    fn is_held(self, params: &Params) -> bool {
        match self {
            Self::Group(group) => is_held(group, params),
            Self::Process(_) => false,
        }
    }

    fn is_young(self) -> bool {
        self.age_s().is_some_and(|s| (0.0..=NEW_S).contains(&s))
    }

    fn may_be_young(self) -> bool {
        self.is_young() || self.age_s().is_none() && self.unit().is_some()
    }

    fn age_s(self) -> Option<f64> {
        match self {
            Self::Group(group) => group.facts.value().map(|facts| facts.active_for_s),
            Self::Process(process) => Some(process.facts.age_s),
        }
    }

    /// Beyond what is usual for it, or what it has gained over all that is remembered, whichever is more.
    pub(super) fn excess(self, evidence: &Evidence) -> Bytes {
        let Some(past) = self.past().value() else { return Bytes(0) };
        let memory = self.memory();
        let usual = match past.memory_usual {
            Some(usual) => memory.0.saturating_sub(usual.0),
            None if self.is_new() => memory.0,
            None => 0,
        };
        // Whoever has just begun had to gain what it has, and a line through the run before says nothing of this one.
        let gained = if self.may_be_young() { 0 } else { self.gained(evidence).0 };
        Bytes(usual.max(gained).min(memory.0))
    }

    /// Over all that is remembered, without what may be page cache: a group's past counts that, and whoever reads files is not to blame for
    /// what the kernel gives back. Sure is what is more than its idle cache now, and what its own processes have gained.
    fn gained(self, evidence: &Evidence) -> Bytes {
        let gain = |past: &Past| past.growth.map_or(0.0, |g| (g.bytes_per_s * g.over.0).max(0.0)) as u64;
        let all = self.past().value().map_or(0, gain);
        match self {
            Self::Process(_) => Bytes(all),
            Self::Group(group) => {
                let own = evidence.all_processes().iter().filter(|p| group.unit.is_some() && p.facts.unit == group.unit);
                let own = own.filter_map(|p| p.past.value().map(gain)).fold(0, u64::saturating_add);
                Bytes(all.saturating_sub(group.idle_cache().0).max(own.min(all)))
            }
        }
    }
}

/// Who has most too much among those that a class fits; for a unit's own signals, that unit.
pub(super) fn suspect<'a>(evidence: &'a Evidence, params: &Params) -> Option<Suspect<'a>> {
    let all = candidates(evidence);
    let fitting =
        all.into_iter().filter_map(|who| class_of(who, evidence, params).map(|class| Suspect { who, class, excess: who.excess(evidence) }));
    // The first of equals, which is the largest: `max_by_key` would keep the last.
    fitting.fold(None, |best: Option<Suspect<'a>>, next| match best {
        Some(best) if best.excess >= next.excess => Some(best),
        _ => Some(next),
    })
}

fn candidates(evidence: &Evidence) -> Vec<Who<'_>> {
    match &evidence.subject {
        Subject::Unit { name } => evidence.group_of(name).map(Who::Group).into_iter().collect(),
        Subject::Host | Subject::Filesystem { .. } | Subject::Disk { .. } | Subject::Process { .. } => {
            let alone = evidence.all_processes().iter().filter(|p| p.facts.unit.is_none()).map(Who::Process);
            evidence.all_groups().iter().map(Who::Group).chain(alone).collect()
        }
    }
}

/// The first class that fits, in the order of the specification. Every one rests on something that was seen.
fn class_of(who: Who<'_>, evidence: &Evidence, params: &Params) -> Option<Class> {
    let host = evidence.own_unit().is_none();
    // Of a host that cannot be read the confidence is nothing; a unit of which nothing is told gives no reason to act.
    let short = is_short(evidence, params).unwrap_or(host);
    // Nobody is behind a shortage that is over, and on a host that is short, who has nothing too much is not.
    if host && !(short && (is_worth(who, evidence) || who.is_held(params))) {
        return None;
    }
    match who {
        _ if release(who, evidence, params).is_some() => Some(Class::DeployRegression),
        Who::Group(group) if misconfigured(group, evidence).is_some() => Some(Class::RuntimeMisconfig),
        _ if host && presses(evidence, params) && (is_noisy(who, params) || who.is_held(params)) => Some(Class::NoisyNeighbor),
        // What is left of a unit that was killed, or has given back by itself, is told and not acted on.
        _ if !short => None,
        _ if rises(who, evidence, params) && !follows_traffic(who, evidence, params) => Some(Class::MemoryLeak),
        _ if follows_traffic(who, evidence, params) && (rises(who, evidence, params) || is_beyond(who, STEADY)) => {
            Some(Class::TrafficSpike)
        }
        // Of a host it says nothing: one that is short has other limits.
        Who::Group(group) if !host && is_undersized(group, params) => Some(Class::UndersizedLimit),
        _ => None,
    }
}

/// Enough to be blamed for. What cannot be told from page cache is not.
fn is_worth(who: Who<'_>, evidence: &Evidence) -> bool {
    let told = match who {
        Who::Group(group) => group.used.working_set_bytes.is_some(),
        Who::Process(_) => true,
    };
    let least = evidence.memory.value().map_or(0, |memory| share_of(memory.total, WORTH).0).max(WORTH_BYTES);
    told && who.excess(evidence).0 >= least
}

/// What it has may be what it always has: it began before anybody could have known, as everything does on a host that has just started.
pub(super) fn is_unknown_before(who: Who<'_>, evidence: &Evidence) -> bool {
    let groups = evidence.all_groups().iter().map(|g| &g.past);
    let pasts = groups.chain(evidence.all_processes().iter().map(|p| &p.past));
    let watched_s = pasts.filter_map(|past| past.value()).map(|past| past.over.0).fold(0.0, f64::max);
    who.is_new() && who.age_s().is_none_or(|age_s| watched_s < age_s + NEW_S)
}

/// Pressure on the host, by what is read now or by the kernel's own word, while that is of now.
pub(super) fn presses(evidence: &Evidence, params: &Params) -> bool {
    let told = evidence.signals.iter().filter(|s| s.kind == STALL);
    let just = told.filter_map(|s| evidence.taken.steady_since(&s.since)).any(|s| s <= STALL_NEW_S);
    let stalls = |full: f64| just || evidence.has(&STALL) && Percent(full) >= STALL_OVER;
    evidence.pressure.value().is_some_and(|p| Percent(p.some_avg10) >= params.pressure_percent || stalls(p.full_avg10))
}

/// The release with which its growth began.
pub(super) fn release<'a>(who: Who<'_>, evidence: &'a Evidence, params: &Params) -> Option<&'a Deploy> {
    let (unit, past) = (who.unit()?, who.past().value()?);
    let deploy = evidence.deploys.value()?.iter().find(|d| d.is_of(unit) && ago_s(d, evidence) <= params.deploy_within_s.0)?;
    let lately = past.lately.filter(|_| !is_falling(who, params))?;
    let rises = lately.bytes_per_s > 0.0;
    let began = if past.over.0 <= ago_s(deploy, evidence) {
        rises || past.growth.is_some_and(|all| all.bytes_per_s > 0.0)
    } else {
        // At its limit, or for a moment after it has collected garbage, it rises no more.
        let steeper = past.growth.is_none_or(|all| lately.bytes_per_s >= STEEPER * all.bytes_per_s);
        (steeper || !rises) && is_beyond(who, STEADY)
    };
    began.then_some(deploy)
}

/// What the wall clock says; a release from the future is one of now.
pub(super) fn ago_s(deploy: &Deploy, evidence: &Evidence) -> f64 {
    evidence.taken.wall.duration_since(deploy.at).as_secs_f64().max(0.0)
}

/// A heap that may become larger than the unit's limit, and the process that was told so.
pub(super) fn misconfigured<'a>(group: &Group, evidence: &'a Evidence) -> Option<(&'a Process, &'a HeapSetting)> {
    let (unit, limit) = (group.unit.as_deref()?, group.limit()?);
    let own = evidence.all_processes().iter().filter(|p| p.facts.unit.as_deref() == Some(unit));
    own.filter_map(|p| Some((p, p.heap.value()?.iter().max_by_key(|h| h.bytes)?))).find(|(_, heap)| heap.bytes > limit)
}

fn is_beyond(who: Who<'_>, percent: Percent) -> bool {
    let usual = who.past().value().and_then(|past| past.memory_usual).filter(|usual| usual.0 > 0);
    usual.is_some_and(|usual| percent_of(who.memory().0, usual.0) >= percent)
}

fn is_noisy(who: Who<'_>, params: &Params) -> bool {
    (who.is_new() || is_beyond(who, params.noisy_percent)) && !is_falling(who, params)
}

/// It has as much as MemoryHigh lets it have.
pub(super) fn at_high(group: &Group) -> bool {
    match (group.used.memory_bytes, group.used.memory_high_bytes) {
        (Some(bytes), Some(high)) if high > 0 => percent_of(bytes, high) >= PRESSED,
        _ => false,
    }
}

/// It gives memory back by itself, and fast.
pub(super) fn is_falling(who: Who<'_>, params: &Params) -> bool {
    let Some(lately) = who.past().value().and_then(|past| past.lately) else { return false };
    let per_min = share_of(who.memory(), params.falling_percent_per_min).0 as f64;
    lately.bytes_per_s < 0.0 && -lately.bytes_per_s * 60.0 >= per_min
}

/// Risen for hours, or again and again after restarts, and not falling now.
fn rises(who: Who<'_>, evidence: &Evidence, params: &Params) -> bool {
    let Some(past) = who.past().value() else { return false };
    let (Some(all), Some(lately)) = (past.growth, past.lately) else { return false };
    let enough = share_of(who.memory(), params.leak_rise_percent).0 as f64;
    let for_long = all.over >= params.leak_over_s && who.gained(evidence).0 as f64 >= enough && enough > 0.0;
    // systemd counts from the last start by hand on, which may be months ago: what ran for a day is not restarted again and again.
    let restarts = match who {
        Who::Group(group) => group.facts.value().filter(|facts| facts.active_for_s < DAY_S).map_or(0, |facts| facts.restarts),
        Who::Process(_) => 0,
    };
    // As steep as what counts as falling: a byte a second is no leak. And whoever has just begun fills up, as it always does.
    let steep = lately.bytes_per_s > 0.0 && lately.bytes_per_s * 60.0 >= share_of(who.memory(), params.falling_percent_per_min).0 as f64;
    let again = restarts >= params.leak_restarts && params.leak_restarts > 0 && steep && !who.is_young();
    (for_long || again) && !is_falling(who, params)
}

/// Unknown where no rate of requests is known.
fn follows_traffic(who: Who<'_>, evidence: &Evidence, params: &Params) -> bool {
    correlation(who, evidence).is_some_and(|pearson| pearson >= params.traffic_pearson)
}

pub(super) fn correlation(who: Who<'_>, evidence: &Evidence) -> Option<f64> {
    let unit = who.unit()?;
    evidence.traffic.as_ref()?.value()?.iter().find(|t| t.unit == unit)?.pearson
}

/// It stays where it has been.
fn is_steady(who: Who<'_>) -> bool {
    let Some(past) = who.past().value() else { return false };
    past.memory_usual.is_some() && !is_beyond(who, STEADY)
}

fn is_undersized(group: &Group, params: &Params) -> bool {
    let who = Who::Group(group);
    let Some(all) = who.past().value().and_then(|past| past.growth) else { return false };
    let trend = (all.bytes_per_s * all.over.0).abs();
    let flat = trend < share_of(who.memory(), params.leak_rise_percent).0 as f64;
    flat && is_steady(who) && group.of_limit().is_some_and(|percent| percent >= params.plateau_percent)
}

/// How long the trend that is spoken of stands on.
pub(super) fn trend(who: Who<'_>) -> String {
    match who.past().value() {
        None => "its past is not known".to_owned(),
        Some(past) => {
            let usual = past.memory_usual.map_or_else(String::new, |usual| format!(", usually {usual}"));
            let growth = past.growth.map_or_else(
                || format!("followed for {}", Seconds(past.over.0)),
                |g| {
                    format!(
                        "{}{}/h over {}",
                        if g.bytes_per_s < 0.0 { "-" } else { "+" },
                        Bytes((g.bytes_per_s.abs() * 3600.0) as u64),
                        g.over
                    )
                },
            );
            format!("{growth}{usual}")
        }
    }
}
