//! Which class it is, the first that matches, and how sure that is.
//!
//! A class matches by what is known to be so. What is not known matches nothing, and lowers the confidence of what does.

use super::class::Class;
use super::doubts::doubts;
use super::evidence::{Cron, CronJob, Evidence, Group, HostLoad, Hot};
use super::findings::findings;
use super::signals::STEAL;
use super::suspect::{
    Suspect, is_crowded, is_exempt, is_storm, no_progress, others_wait, our_quota, pids_share, progress, yields_by_itself,
};
use super::{Params, cron};
use crate::model::{Confidence, Deploy, Diagnosis, Explained, Now, Percent, Severity, Subject, owner_of};

/// Jobs that run over each other and take less than this of all that runs are not what saturates.
const JOBS_TELLING: f64 = 0.25;

struct Judged {
    class: Class,
    /// 0..1, before what is missing and how old it is.
    sure: f64,
    summary: String,
    behind: Option<String>,
}

pub(super) fn classify(evidence: &Evidence, params: &Params, now: &Now) -> Diagnosis {
    let judged = judge(evidence, params);
    let doubts = doubts(evidence, judged.class, now);
    let explained = if judged.class == Class::Unknown {
        Vec::new()
    } else {
        vec![Explained { class: judged.class.as_str().to_owned(), amount: 0, share: judged.sure }]
    };
    Diagnosis {
        class: judged.class.as_str().to_owned(),
        confidence: Confidence::new(judged.sure * doubts.trust),
        summary: judged.summary,
        explained,
        findings: findings(evidence, params),
        missing: doubts.said,
        behind: judged.behind,
        critical: evidence.signals.iter().any(|s| s.severity == Severity::Critical),
    }
}

fn judge(e: &Evidence, params: &Params) -> Judged {
    let Some(host) = e.host.value() else {
        let summary = "how busy the CPUs are cannot be read".to_owned();
        return Judged { class: Class::Unknown, sure: 0.0, summary, behind: None };
    };
    let suspect = Suspect::of(e);
    steal(e, host, params)
        .or_else(|| io_wait(e, host, params))
        .or_else(|| limit_throttling(e, host, params))
        .or_else(|| cron_fanout(e, host, params))
        .or_else(|| deploy_regression(e, host, suspect))
        .or_else(|| surer(runaway(e, suspect, params), fork_storm(e, host, params)))
        .or_else(|| fleet_wide(e, params))
        .or_else(|| legitimate(e, host, suspect, params))
        .unwrap_or_else(|| unknown(host, suspect))
}

/// The first, unless the second is surer: where less is known of a process, it must not be told with more confidence what else it may be.
fn surer(first: Option<Judged>, second: Option<Judged>) -> Option<Judged> {
    match (first, second) {
        (Some(first), Some(second)) => Some(if second.sure > first.sure { second } else { first }),
        (first, second) => first.or(second),
    }
}

fn of(class: Class, sure: f64, summary: String, behind: Option<String>) -> Option<Judged> {
    Some(Judged { class, sure, summary, behind })
}

/// The signal is one witness, what is so now is the other.
fn steal(e: &Evidence, host: &HostLoad, params: &Params) -> Option<Judged> {
    let told = e.has(&STEAL);
    let most = if told { params.steal_percent.0 / 2.0 } else { params.steal_percent.0 };
    let sure = if told { 1.0 } else { 0.8 };
    let summary = format!("the hypervisor takes {} of the time: busy {}, and what is left idles or waits", host.steal, host.busy);
    (host.steal.0 > most).then_some(()).and_then(|()| of(Class::Steal, sure, summary, None))
}

fn io_wait(e: &Evidence, host: &HostLoad, params: &Params) -> Option<Judged> {
    // A process that takes a whole CPU for minutes does not wait for storage, and a unit at a limit of its own not either, whoever else does.
    let of_its_own = matches!(e.subject, Subject::Process { .. } | Subject::Unit { .. });
    if host.iowait < params.iowait_percent || is_crowded(e, params) || of_its_own {
        return None;
    }
    let pressed = e.io_pressure.value().is_some_and(|p| p.some_avg10.max(p.some_avg60) >= params.iowait_percent.0);
    let summary = format!("busy only {}, and for {} of the time CPUs wait for storage", host.busy, host.iowait);
    of(Class::IoWait, if pressed { 1.0 } else { 0.9 }, summary, None)
}

/// The most held back group, where the host itself has room: tasks that are held back count as waiting for a CPU.
pub(super) fn most_throttled<'a>(e: &'a Evidence, params: &Params) -> Option<(&'a Group, Percent)> {
    let share = |g: &Group| {
        let lately = g.past.as_ref().and_then(|past| past.throttled);
        [g.throttled, lately].into_iter().flatten().max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let groups = e
        .groups
        .value()?
        .iter()
        .filter(|g| may_be_about(e, g) && g.unit.as_deref().and_then(|unit| our_quota(&e.in_force, unit)).is_none())
        .filter_map(|g| share(g).map(|share| (g, share)));
    groups.filter(|(_, share)| *share >= params.throttled_percent).max_by(|a, b| a.1.0.total_cmp(&b.1.0))
}

/// Where the episode is about a process or a unit, some other group's quota is not what it is about: somebody's is too small on most hosts.
fn may_be_about(e: &Evidence, group: &Group) -> bool {
    match &e.subject {
        Subject::Process { pid, start_ticks, .. } => {
            e.process(*pid, *start_ticks).and_then(|p| p.watched.value()).is_some_and(|w| w.facts.cgroup.is_under(&group.path))
        }
        Subject::Unit { name } => owner_of(&group.path).as_ref() == Some(name),
        Subject::Host | Subject::Filesystem { .. } | Subject::Disk { .. } => true,
    }
}

fn limit_throttling(e: &Evidence, host: &HostLoad, params: &Params) -> Option<Judged> {
    let (group, share) = most_throttled(e, params).filter(|_| !is_crowded(e, params))?;
    let both = group.throttled.is_some_and(|now| now >= params.throttled_percent) && group.past.is_some();
    let name = group.unit.clone().unwrap_or_else(|| group.path.to_string());
    let quota = group.unit.as_deref().and_then(|unit| e.unit(unit)?.value()?.cpu_quota_percent);
    let quota = quota.map_or_else(|| "its CPU quota".to_owned(), |quota| format!("CPUQuota={quota}%"));
    let summary = format!(
        "{name} is held back in {share} of its periods by {quota}; it gets {} of a CPU, and the host is busy {}",
        group.cpu, host.busy
    );
    of(Class::LimitThrottling, if both { 1.0 } else { 0.9 }, summary, Some(name))
}

/// The job that takes most, if it runs over itself: that others of cron's run more often at the same time, and wait, is not their fault.
pub(super) fn fanned_out<'a>(e: &Evidence, cron: &'a Cron, params: &Params) -> Option<&'a CronJob> {
    let hot = || e.processes.value().into_iter().flatten();
    let is_of = |job: &CronJob, pid: u32| job.instances.iter().any(|run| run.pid == pid);
    let parent = |p: &Hot| p.watched.value().map_or(0, |w| w.facts.parent);
    let takes = |job: &CronJob| hot().filter(|p| is_of(job, p.pid) || is_of(job, parent(p))).map(|p| p.cpu.0).sum::<f64>();
    let most = cron.jobs.iter().map(|job| (takes(job), job)).max_by(|(a, _), (b, _)| a.total_cmp(b));
    most.filter(|(takes, job)| *takes > 0.0 && cron::runs_over(job) >= params.cron_instances).map(|(_, job)| job)
}

fn cron_fanout(e: &Evidence, host: &HostLoad, params: &Params) -> Option<Judged> {
    let cron = e.cron.value()?.as_ref().filter(|_| is_crowded(e, params))?;
    let most = cron.cpu.0 * 2.0 >= host.used();
    let job = fanned_out(e, cron, params).filter(|_| cron.cpu.0 >= host.used() * JOBS_TELLING);
    let sure = match (job.is_some(), most) {
        (true, true) => 1.0,
        (true, false) | (false, true) => 0.9,
        (false, false) => return None,
    };
    let what = job.map_or_else(|| "jobs".to_owned(), |job| format!("{} runs of {}", job.instances.len(), job.comm));
    let summary = format!("{what} under {} take {} of a CPU; the host is busy {}", cron.unit, cron.cpu, host.busy);
    of(Class::CronFanout, sure, summary, Some(what))
}

/// What was released lately is what runs, and uses more than it did.
pub(super) fn release<'a>(e: &'a Evidence, suspect: Suspect<'_>) -> Option<&'a Deploy> {
    let unit = suspect.unit?;
    e.deploys.value()?.iter().find(|deploy| deploy.is_of(unit))
}

fn deploy_regression(e: &Evidence, host: &HostLoad, suspect: Suspect<'_>) -> Option<Judged> {
    let deploy = release(e, suspect)?;
    let telling = suspect.group_dominates(e) || suspect.is_named(e);
    let sure = suspect.more_than_before().filter(|_| telling)?;
    let unit = suspect.unit?;
    let used = Percent(suspect.cpu()?);
    let usual =
        suspect.usual().map_or_else(|| "was too little to be followed".to_owned(), |usual| format!("was {} as a rule", Percent(usual)));
    let event = released(deploy);
    let summary = format!("{unit} takes {used} of a CPU, which {usual}, since {event}; the host is busy {}", host.busy);
    of(Class::DeployRegression, sure, summary, Some(event))
}

/// What happened, on one line.
pub(super) fn released(deploy: &Deploy) -> String {
    Deploy { name: safe(&deploy.name), version: safe(&deploy.version), ..deploy.clone() }.event()
}

/// Names that others chose, on one line.
pub(super) fn safe(text: &str) -> String {
    crate::model::HostPath::from(text).to_string()
}

fn runaway(e: &Evidence, suspect: Suspect<'_>, params: &Params) -> Option<Judged> {
    let watched = suspect.watched().filter(|w| !is_exempt(w) && !yields_by_itself(e, w))?;
    let parts = suspect.parts(e, params);
    if !parts.alone || !parts.no_progress {
        return None;
    }
    // One busy CPU of many is somebody's work, unless it is odd as well; what saturates the host has less to be forgiven.
    let crowds = is_crowded(e, params) && suspect.process_dominates(e, params);
    let whole = parts.flat_out && parts.odd() && (crowds || suspect.is_named(e) || !is_crowded(e, params));
    if !(whole || crowds && (parts.flat_out || parts.odd())) {
        return None;
    }
    let who = suspect.named()?;
    let age = crate::model::Seconds(watched.facts.age_s);
    of(Class::RunawayProcess, parts.confidence(), format!("{who} is a runaway: {}; it is {age} old", parts.said()), Some(who))
}

fn fork_storm(e: &Evidence, host: &HostLoad, params: &Params) -> Option<Judged> {
    let suspect = Suspect::of_storm(e, params);
    let full = suspect.group.and_then(pids_share).filter(|share| *share > params.pids_percent);
    // Whose processes they are is told by their group alone. One witness is enough to slow it down; it takes both to begin it anew. A unit
    // that has many and makes none is large: only one that keeps the kernel busy is at its limit because it does not stop trying.
    let tries = is_crowded(e, params) && host.system.0 * 2.0 >= host.busy.0;
    let sure = match (full.is_some(), is_storm(e, e, params)) {
        (false, false) => return None,
        _ if !suspect.group_dominates(e) => 0.6,
        (true, true) => 0.9,
        (false, true) => 0.75,
        (true, false) if tries => 0.75,
        (true, false) => 0.6,
    };
    let who = suspect.named().unwrap_or_else(|| "somebody".to_owned());
    let crowd = full.map_or_else(String::new, |share| format!(", and {who} has {share} of the processes that it may have"));
    let summary = format!("{:.0} processes are made in a second{crowd}; most is used by {who}", host.forks_per_s);
    of(Class::ForkStorm, sure, summary, Some(who))
}

pub(super) fn is_fleet_wide(e: &Evidence, params: &Params) -> bool {
    e.fleet_saturated.is_some_and(|share| share > params.fleet_percent)
}

fn fleet_wide(e: &Evidence, params: &Params) -> Option<Judged> {
    let share = e.fleet_saturated.filter(|_| is_fleet_wide(e, params))?;
    // No surer than the least sure runaway or storm: where less is known of those, it must not be told with more confidence that it is neither.
    of(Class::FleetWide, 0.6, format!("{share} of the fleet is saturated: the cause is not on this host"), None)
}

/// What is known to get something done, to make room by itself, to be shared among many, or to be as it always is.
fn legitimate(e: &Evidence, host: &HostLoad, suspect: Suspect<'_>, params: &Params) -> Option<Judged> {
    let crowded = is_crowded(e, params);
    let spread = crowded && suspect.process.is_some() && !suspect.process_dominates(e, params);
    let watched = suspect.watched();
    let who = suspect.named()?;
    let told = |what: String, sure: f64| of(Class::LegitimateLoad, sure, format!("busy {}: {what}", host.busy), Some(who.clone()));
    match watched {
        Some(w) if w.facts.kernel_thread => None,
        Some(w) if yields_by_itself(e, w) => told(format!("{who} leaves the CPUs to whoever wants them"), 0.9),
        Some(w) if progress(w, params) => told(format!("{who} uses most and gets something done"), 0.9),
        Some(_) if spread => told(format!("many use a little, {who} most of all"), 0.8),
        Some(w) if w.facts.realtime => told(format!("{who} runs in realtime: somebody wants it so"), 0.7),
        Some(w) if !crowded && no_progress(w, params) && w.orphan.value() == Some(&false) => {
            told(format!("{who} computes, and the host has room for it"), 0.7)
        }
        _ => None,
    }
}

fn unknown(host: &HostLoad, suspect: Suspect<'_>) -> Judged {
    let who = suspect.named();
    let most = who.as_ref().map_or_else(|| "who uses it is not known".to_owned(), |who| format!("most is used by {who}"));
    let summary = format!("busy {} ({} user, {} system), and nothing explains it; {most}", host.busy, host.user, host.system);
    Judged { class: Class::Unknown, sure: 0.0, summary, behind: who }
}

/// The host has room, or is as busy as somebody makes it who leaves it to whoever wants it: one busy CPU is nobody's night.
pub(super) fn is_calm(e: &Evidence, params: &Params) -> bool {
    let suspect = Suspect::of(e);
    if is_crowded(e, params) {
        let others = others_wait(e, suspect.group.map(|g| &g.path));
        return suspect.watched().is_some_and(|w| yields_by_itself(e, w)) && others.is_some_and(|wait| wait < params.others_wait_percent);
    }
    let waits = e.pressure.value().is_some_and(|p| p.window >= params.pressure_floor_percent && p.avg10 >= params.pressure_floor_percent);
    e.host.value().is_some() && !waits
}
