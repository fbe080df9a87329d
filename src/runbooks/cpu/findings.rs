//! What supports the choice, in the order in which a person would check it: the table of the hottest.

use super::Params;
use super::classify::released;
use super::evidence::{Evidence, Group, Hot};
use super::suspect::{Suspect, pids_share};
use crate::model::{Finding, Percent};

const ROWS: usize = 5;

pub(super) fn findings(e: &Evidence, params: &Params) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut say = |what: &str, value: String| out.push(Finding { what: what.to_owned(), value });
    for signal in &e.signals {
        say("signal", format!("{} ({}): {}", signal.kind, signal.severity.as_str(), signal.detail));
    }
    if let Some(host) = e.host.value() {
        let load = host.load_one.value().map_or_else(String::new, |load| format!(", load {load:.1}"));
        say(
            "CPUs",
            format!(
                "{}: busy {} ({} user, {} system), iowait {}, steal {}; {} could run{load}; {:.0} processes made in a second",
                host.cpus, host.busy, host.user, host.system, host.iowait, host.steal, host.runnable, host.forks_per_s
            ),
        );
    }
    if let Some(waiting) = e.pressure.value() {
        say(
            "CPU pressure",
            format!("some task waits {} of the time now, {} over 10 s, {} over a minute", waiting.window, waiting.avg10, waiting.avg60),
        );
    }
    for process in e.processes.value().into_iter().flatten().take(ROWS) {
        say("process", row(process));
    }
    for group in e.groups.value().into_iter().flatten().take(ROWS) {
        say("group", group_row(group));
    }
    let parts = Suspect::of(e).parts(e, params).said();
    if !parts.is_empty() {
        say("speaks for a runaway", parts);
    }
    if let Some(cron) = e.cron.value().and_then(|c| c.as_ref()) {
        for job in cron.jobs.iter().take(3) {
            say("job", format!("{} x {} under {}", job.instances.len(), job.comm, cron.unit));
        }
    }
    for deploy in e.deploys.value().into_iter().flatten().take(3) {
        say("release", format!("{} at {}", released(deploy), deploy.at));
    }
    out
}

fn row(p: &Hot) -> String {
    let usual = p.past.as_ref().and_then(|past| past.cpu_usual).map_or_else(String::new, |usual| format!(", {usual} as a rule"));
    let Some(w) = p.watched.value() else {
        return format!("{} (pid {}): {} of a CPU{usual}", p.comm, p.pid, p.cpu);
    };
    let io = w.io_bytes_per_s.value().map_or_else(|| "io not known".to_owned(), |io| format!("{io:.0} B/s of io"));
    let kind = match (w.facts.kernel_thread, w.facts.realtime, w.facts.idle_class) {
        (true, ..) => ", a kernel thread",
        (_, true, _) => ", realtime",
        (.., true) => ", SCHED_IDLE",
        _ => "",
    };
    format!(
        "{} (pid {}): {} of a CPU{usual}, {} threads, {io}, waits {:.0} times a second; in {}, parent {}, nice {}{kind}",
        p.comm,
        p.pid,
        p.cpu,
        p.threads,
        w.voluntary_per_s,
        w.facts.unit.as_deref().unwrap_or("no unit"),
        w.facts.parent,
        w.facts.nice
    )
}

fn group_row(g: &Group) -> String {
    let usual = g.past.as_ref().and_then(|past| past.cpu_usual).map_or_else(String::new, |usual| format!(", {usual} as a rule"));
    let held = g.throttled.map_or_else(String::new, |share| format!(", held back in {share} of its periods"));
    let pids = pids_share(g).map_or_else(String::new, |share| format!(", {share} of its processes"));
    format!("{}: {} of a CPU{usual}{held}{pids}", g.path, g.cpu)
}

/// The hottest in one line, for before and after.
pub(super) fn table(e: &Evidence) -> String {
    let rows: Vec<String> =
        e.processes.value().into_iter().flatten().take(ROWS).map(|p| format!("{} (pid {}) {:.0} %", p.comm, p.pid, p.cpu.0)).collect();
    if rows.is_empty() { "not known".to_owned() } else { rows.join(", ") }
}

pub(super) fn busy(e: &Evidence) -> String {
    e.host.value().map_or_else(|| "not known".to_owned(), |host| Percent(host.busy.0).to_string())
}
