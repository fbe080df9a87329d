//! Who takes the CPU: one process, its group and its unit, and what speaks for its being a runaway.

use super::Params;
use super::evidence::{Evidence, Group, Hot, Watched};
use super::signals::{FORKS, PROCESS, SATURATION};
use crate::detect::Past;
use crate::model::{HostPath, LimitTo, Percent, ProcessTarget, Step, Subject, owner_of};

/// From this nice value on a process leaves the CPU to others by itself.
const YIELDING_NICE: i32 = 10;
/// What takes less than this part of what the hottest takes is not behind it.
const FAR: f64 = 4.0;
/// More than the usual, for something that was just released.
const MORE: f64 = 1.5;
/// What is usual is told from at least this: twice of next to nothing is nothing.
const LEAST_USUAL: f64 = 10.0;
/// Two that get the same share are this far apart over a second, and no further.
const NEAR: f64 = 1.25;
/// Whoever looks has to use the CPUs for it, and most of all where they are slow: that is nobody's fault. The kernel cuts names at 15 bytes.
const OWN_PROCESSES: [&[u8]; 2] = [b"byteport-agent", b"byteport-actuat"];
const OWN_UNITS: [&str; 2] = ["byteport-agent.service", "byteport-actuator.service"];

#[derive(Debug, Clone, Copy)]
pub(super) struct Suspect<'a> {
    pub process: Option<&'a Hot>,
    pub group: Option<&'a Group>,
    pub unit: Option<&'a str>,
}

/// What speaks for a runaway, each known to be so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Parts {
    /// It is one process that does it, not its unit.
    pub alone: bool,
    pub flat_out: bool,
    pub no_progress: bool,
    pub orphan: bool,
    pub beyond_usual: bool,
}

impl Parts {
    pub(super) const fn odd(&self) -> bool {
        self.orphan || self.beyond_usual
    }

    /// 1 when everything speaks for it, three quarters when one part of the four does not: enough to slow it down, too little to end it.
    pub(super) fn confidence(&self) -> f64 {
        let odd = match (self.orphan, self.beyond_usual) {
            (true, true) => 0.25,
            (true, false) | (false, true) => 0.20,
            (false, false) => 0.0,
        };
        [self.alone, self.flat_out, self.no_progress].into_iter().filter(|part| *part).count() as f64 * 0.25 + odd
    }

    pub(super) fn said(&self) -> String {
        let told = [
            (self.alone, "one process"),
            (self.flat_out, "flat out for minutes"),
            (self.no_progress, "no io progress"),
            (self.orphan, "orphaned"),
            (self.beyond_usual, "far beyond its usual"),
        ];
        told.into_iter().filter(|(so, _)| *so).map(|(_, what)| what).collect::<Vec<_>>().join(", ")
    }
}

impl<'a> Suspect<'a> {
    /// The process or unit that the episode is about; of a host the hottest process that may be asked to yield, unless what may not is far
    /// hotter than any that may. One that is known to have been flat out for its time comes before one that is as hot only now.
    pub(super) fn of(evidence: &'a Evidence) -> Self {
        let all = || evidence.processes.value().into_iter().flatten();
        match &evidence.subject {
            Subject::Process { pid, start_ticks, .. } => Self::by(evidence, evidence.process(*pid, *start_ticks), None),
            Subject::Unit { name } => {
                let group = evidence.groups.value().and_then(|g| g.iter().find(|g| g.unit.as_deref() == Some(name)));
                let inside = |p: &&Hot| p.watched.value().is_some_and(|w| owner_of(&w.facts.cgroup).as_deref() == Some(name));
                Self { process: all().find(inside), group, unit: Some(name) }
            }
            Subject::Host | Subject::Filesystem { .. } | Subject::Disk { .. } => {
                let hottest = all().find(|p| !is_own(p));
                let telling = |p: &&Hot| hottest.is_none_or(|hottest| p.cpu.0 * FAR >= hottest.cpu.0);
                let may =
                    || all().filter(|p| !is_own(p) && !p.watched.value().is_some_and(|w| yields_by_itself(evidence, w) || is_exempt(w)));
                let now = may().next();
                let held = may().find(|p| now.is_some_and(|now| is_signalled(evidence, p) && p.cpu.0 * NEAR >= now.cpu.0));
                Self::by(evidence, held.or(now).filter(telling).or(hottest), hottest_group(evidence))
            }
        }
    }

    fn by(evidence: &'a Evidence, process: Option<&'a Hot>, else_group: Option<&'a Group>) -> Self {
        let watched = process.and_then(|p| p.watched.value());
        let group = match watched {
            Some(watched) => evidence.group(&watched.facts.cgroup),
            None => else_group,
        };
        let unit = match watched {
            Some(watched) => watched.facts.unit.as_deref(),
            None => group.and_then(|g| g.unit.as_deref()),
        };
        Self { process, group, unit }
    }

    /// The group whose processes and threads are nearest to all that it may have, if one is over the limit. Where processes are made fast, one
    /// that has many and leaves the CPUs to another need not be who makes them.
    pub(super) fn of_storm(evidence: &'a Evidence, params: &Params) -> Self {
        let full = evidence.groups.value().into_iter().flatten().filter(|g| pids_share(g).is_some_and(|share| share > params.pids_percent));
        let full = full.max_by(|a, b| pids_share(a).map_or(0.0, |p| p.0).total_cmp(&pids_share(b).map_or(0.0, |p| p.0)));
        let of = |group: Option<&'a Group>| Self { process: None, group, unit: group.and_then(|g| g.unit.as_deref()) };
        let full = of(full);
        let is_told = full.group.is_some() && (!is_storm(evidence, evidence, params) || full.group_dominates(evidence));
        if is_told { full } else { of(hottest_group(evidence)) }
    }

    /// What its whole unit takes, of one CPU, and what is usual for that: a unit may have groups of its own below it, and what is done to the
    /// unit is done to all of them. Where it has no unit, its group, and where it has none, the process.
    pub(super) fn used(&self, evidence: &Evidence) -> Option<(f64, Option<f64>)> {
        let Some(group) = self.group else { return self.cpu().map(|cpu| (cpu, self.usual())) };
        let is_of = |g: &&Group| g.path == group.path || self.unit.is_some() && g.unit.as_deref() == self.unit;
        let all = || evidence.groups.value().into_iter().flatten().filter(is_of);
        // A group that is listed beside those below it holds theirs.
        let counted = || all().filter(|g| !all().any(|above| above.path != g.path && g.path.is_under(&above.path)));
        let usual = |g: &Group| g.past.as_ref().and_then(|past| past.cpu_usual).map(|usual| usual.0);
        Some((counted().map(|g| g.cpu.0).sum(), counted().map(usual).sum()))
    }

    pub(super) fn watched(&self) -> Option<&'a Watched> {
        self.process.and_then(|p| p.watched.value())
    }

    /// Of one CPU: its group where it has one, else the process.
    pub(super) fn cpu(&self) -> Option<f64> {
        self.group.map(|g| g.cpu.0).or_else(|| self.process.map(|p| p.cpu.0))
    }

    /// It takes at least half of all that runs; or without what it has beyond its usual the host would be well.
    pub(super) fn process_dominates(&self, evidence: &Evidence, params: &Params) -> bool {
        self.process.zip(evidence.host.value()).is_some_and(|(p, host)| {
            let beyond = self.usual().map_or(0.0, |usual| (p.cpu.0 - usual).max(0.0));
            p.cpu.0 * 2.0 >= host.used() || host.used() - beyond < params.busy_floor_percent.0 * host.cpus as f64
        })
    }

    pub(super) fn group_dominates(&self, evidence: &Evidence) -> bool {
        self.group.zip(evidence.host.value()).is_some_and(|(g, host)| g.cpu.0 * 2.0 >= host.used())
    }

    /// The episode is about this very process.
    pub(super) fn is_named(&self, evidence: &Evidence) -> bool {
        let about = evidence.signals.iter().filter(|s| s.kind == PROCESS).map(|s| &s.subject).chain([&evidence.subject]);
        self.process.is_some_and(|p| {
            about
                .into_iter()
                .any(|s| matches!(s, Subject::Process { pid, start_ticks, .. } if (*pid, *start_ticks) == (p.pid, p.start_ticks)))
        })
    }

    /// Everything that is not known to be so does not speak for it.
    pub(super) fn parts(&self, evidence: &Evidence, params: &Params) -> Parts {
        let (Some(process), Some(watched), Some(_)) = (self.process, self.watched(), evidence.groups.value()) else {
            return Parts { alone: false, flat_out: false, no_progress: false, orphan: false, beyond_usual: false };
        };
        let signalled = evidence.signals.iter().any(|s| s.kind == PROCESS) && self.is_named(evidence);
        let long = process.past.as_ref().is_some_and(|past| past.flat_out >= params.process_hold_s);
        let flat_out = (long || signalled) && self.wants_all(process, watched, evidence, params);
        let own = process.past.as_ref().and_then(|past| past.cpu_usual);
        // What was too cool to be followed had at most what its group had, if it was there all the time.
        let since = |past: &&Past| watched.facts.age_s >= past.over.0;
        let usual = own.or_else(|| self.group.and_then(|g| g.past.as_ref()).filter(since).and_then(|past| past.cpu_usual));
        // What it took for minutes counts, and not what others leave it in this second.
        let takes = if flat_out { process.cpu.0.max(params.process_percent.0) } else { process.cpu.0 };
        Parts {
            alone: self.used(evidence).is_none_or(|(cpu, _)| process.cpu.0 * 2.0 >= cpu),
            flat_out,
            no_progress: no_progress(watched, params),
            orphan: watched.orphan.value().is_some_and(|orphan| *orphan),
            beyond_usual: usual.is_some_and(|usual| takes >= params.beyond_usual * usual.0.max(LEAST_USUAL)),
        }
    }

    pub(super) fn still_wants_all(&self, evidence: &Evidence, params: &Params) -> bool {
        self.process.zip(self.watched()).is_some_and(|(process, watched)| self.wants_all(process, watched, evidence, params))
    }

    /// It takes a whole CPU, or would: what was flat out for minutes gets less in a second in which others compete with it, those who look at
    /// it among them. Then it has to be the one that gets most, that gave the CPU away only when it was made to, and that waited for it the
    /// rest of the time; or no CPU had anything left. What its own quota holds back competes with nobody.
    fn wants_all(&self, process: &Hot, watched: &Watched, evidence: &Evidence, params: &Params) -> bool {
        if process.cpu >= params.process_percent {
            return true;
        }
        let held_back = self.group.and_then(|g| g.throttled).is_some_and(|share| share >= params.throttled_percent);
        let made_to_wait = watched.involuntary_per_s > watched.voluntary_per_s;
        let mut others = evidence.processes.value().into_iter().flatten().filter(|p| p.pid != process.pid && !is_own(p));
        let most = others.all(|p| p.cpu.0 / p.threads.max(1) as f64 <= process.cpu.0 * NEAR);
        let queued = self.group.and_then(|g| g.waiting).is_some_and(|wait| process.cpu.0 + wait.0 >= params.process_percent.0);
        let taken = evidence.host.value().is_some_and(|host| host.busy.0 + host.steal.0 >= params.busy_percent.0);
        let some = process.cpu.0 * FAR >= params.process_percent.0;
        some && made_to_wait && most && !held_back && (queued || taken)
    }

    /// Its group uses more than it did; what is not known to be usual was too little to be followed.
    pub(super) fn more_than_before(&self) -> Option<f64> {
        let group = self.group?;
        match group.past.as_ref().and_then(|past| past.cpu_usual) {
            Some(usual) => (group.cpu.0 >= MORE * usual.0.max(LEAST_USUAL)).then_some(1.0),
            None => Some(0.9),
        }
    }

    pub(super) fn usual(&self) -> Option<f64> {
        let of = |past: &Option<Past>| past.as_ref().and_then(|past| past.cpu_usual).map(|p| p.0);
        match self.group {
            Some(group) => of(&group.past),
            None => self.process.and_then(|p| of(&p.past)),
        }
    }

    pub(super) fn named(&self) -> Option<String> {
        match (self.process, self.unit, self.group) {
            (Some(p), Some(unit), _) => Some(format!("{} of {unit}", shown(p))),
            (Some(p), None, _) => Some(shown(p)),
            (None, Some(unit), _) => Some(unit.to_owned()),
            (None, None, Some(group)) => Some(group.path.to_string()),
            (None, None, None) => None,
        }
    }
}

/// `process_cpu_saturation` was raised for it, and still is.
fn is_signalled(evidence: &Evidence, process: &Hot) -> bool {
    let about = evidence.signals.iter().filter(|s| s.kind == PROCESS).map(|s| &s.subject);
    let is =
        |s: &Subject| matches!(s, Subject::Process { pid, start_ticks, .. } if (*pid, *start_ticks) == (process.pid, process.start_ticks));
    about.into_iter().any(is)
}

pub(super) fn is_own(process: &Hot) -> bool {
    OWN_PROCESSES.contains(&process.comm.as_bytes())
}

fn hottest_group(evidence: &Evidence) -> Option<&Group> {
    let others = evidence.groups.value()?.iter().filter(|g| g.unit.as_deref().is_none_or(|unit| !OWN_UNITS.contains(&unit)));
    others.max_by(|a, b| a.cpu.0.total_cmp(&b.cpu.0))
}

/// Processes are made faster than they may be, or still half as fast since that was said `of` the host.
pub(super) fn is_storm(of: &Evidence, now: &Evidence, params: &Params) -> bool {
    let told = of.signals.iter().any(|s| s.kind == FORKS && s.subject == Subject::Host);
    let most = if told { params.forks_per_s / 2.0 } else { params.forks_per_s };
    now.host.value().is_some_and(|host| host.forks_per_s > most)
}

pub(super) fn shown(process: &Hot) -> String {
    format!("{} (pid {}, {} of a CPU)", process.comm, process.pid, process.cpu)
}

/// It leaves the CPU to whoever wants it, and not because it was made to.
pub(super) fn yields_by_itself(e: &Evidence, watched: &Watched) -> bool {
    let of_it = |p: &ProcessTarget| p.pid == watched.facts.pid && p.start_ticks == watched.facts.start_ticks;
    yields(watched) && !e.in_force.iter().any(|step| matches!(step, Step::CalmProcess(process) if of_it(process)))
}

/// The quota, in per cent of a CPU, that this agent has given a unit: what holds it back is none of its owner's doing.
pub(super) fn our_quota(in_force: &[Step], unit: &str) -> Option<u64> {
    in_force.iter().rev().find_map(|step| match step {
        Step::LimitUnit(limit) if limit.target.unit == unit => match limit.limit {
            LimitTo::CpuQuota(percent) => Some(percent),
            LimitTo::CpuWeight(_) | LimitTo::MemoryHigh(_) => None,
        },
        _ => None,
    })
}

/// It leaves the CPU to whoever wants it.
pub(super) fn yields(watched: &Watched) -> bool {
    watched.facts.idle_class || watched.facts.nice >= YIELDING_NICE
}

/// The kernel's own, or realtime: never touched.
pub(super) fn is_exempt(watched: &Watched) -> bool {
    watched.facts.kernel_thread || watched.facts.realtime
}

pub(super) fn progress(watched: &Watched, params: &Params) -> bool {
    let bytes = watched.io_bytes_per_s.value().is_some_and(|bytes| *bytes >= params.progress_bytes_per_s);
    bytes || watched.voluntary_per_s >= params.progress_switches_per_s
}

/// Known to move nothing and to wait for nobody; it is not what is left when nothing is known.
pub(super) fn no_progress(watched: &Watched, params: &Params) -> bool {
    watched.io_bytes_per_s.value().is_some() && !progress(watched, params)
}

pub(super) fn pids_share(group: &Group) -> Option<Percent> {
    let (pids, most) = group.pids.zip(group.pids_max).filter(|(_, most)| *most > 0)?;
    Some(Percent(100.0 * pids as f64 / most as f64))
}

/// More than the host has: busy over the threshold, or still over the floor since that was said.
pub(super) fn is_crowded(evidence: &Evidence, params: &Params) -> bool {
    let busy = evidence.host.value().map(|h| h.busy);
    busy.is_some_and(|busy| busy > params.busy_percent || (evidence.has(&SATURATION) && busy >= params.busy_floor_percent))
}

/// How long the tasks of others waited, at worst.
pub(super) fn others_wait(evidence: &Evidence, but: Option<&HostPath>) -> Option<Percent> {
    let others = evidence.groups.value()?.iter().filter(|g| Some(&g.path) != but).filter_map(|g| g.waiting);
    others.max_by(|a, b| a.0.total_cmp(&b.0))
}
