//! What can be looked at closely: one function a pane.

use std::cmp::Ordering;

use super::head::{severity, warmth};
use super::{Pane, Section, bar, column, known, name};
use crate::model::{Bytes, CgroupUse, CgroupVersion, FsKind, FsUsage, Percent, ProcessUse, Seconds, UnitState};
use crate::report::human::{clean, count, seconds_between, signed, thousands};
use crate::report::paint::Tone;
use crate::report::table::{Cell, cell, figure};
use crate::wire::local::{Top, TopFilesystem};

/// A forecast over more than this says only that nothing is to be done.
const FAR_S: f64 = 90.0 * 86_400.0;
/// Slower than this is no growth but rounding: bytes an hour.
const STEADY: f64 = 4096.0;

fn dash() -> Cell {
    figure("-")
}

fn bytes(value: Option<u64>) -> Cell {
    value.map_or_else(dash, |n| figure(Bytes(n).to_string()))
}

fn number(value: Option<u64>) -> Cell {
    value.map_or_else(dash, |n| figure(thousands(n)))
}

fn percent(value: Option<f64>) -> Cell {
    value.map_or_else(dash, |p| figure(Percent(p).to_string()))
}

/// Largest first, what is unknown last.
fn largest(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

pub(super) fn filesystems(top: &Top) -> Pane {
    const NAME: &str = "Filesystems";
    let list = match known(&top.filesystems) {
        Ok(list) => list,
        Err(why) => return Pane::unknown(NAME, why),
    };
    // Those that raise no signal and answer are not worth a line each.
    let quiet = |f: &&TopFilesystem| f.sample.mount.kind == FsKind::Pseudo && f.sample.stuck_for_s.is_none();
    let used = |f: &TopFilesystem| f.sample.usage.value().and_then(FsUsage::used_percent).map(|p| p.0);
    let silent = list.iter().filter(quiet).count() as u64;
    let mut shown: Vec<_> = list.iter().filter(|f| !quiet(f)).collect();
    shown.sort_by(|a, b| {
        let stuck = b.sample.stuck_for_s.is_some().cmp(&a.sample.stuck_for_s.is_some());
        stuck.then(largest(used(a), used(b))).then(a.sample.mount.path.cmp(&b.sample.mount.path))
    });
    let stuck = shown.iter().filter(|f| f.sample.stuck_for_s.is_some()).count() as u64;
    let sum = match stuck {
        0 => cell(shown.len().to_string()),
        n => cell(format!("{}, {n} not answering", shown.len())).tone(Tone::Warn),
    };
    let note = if silent > 0 { format!("and {} without signals", count(silent, "pseudo filesystem")) } else { String::new() };
    let columns = const {
        &[
            column("MOUNT", 0),
            column("USED", 0),
            column("", 3),
            column("AVAIL", 1),
            column("INODES", 5),
            column("GROWTH", 4),
            column("FULL IN", 1),
            column("REMARK", 2),
        ]
    };
    let rows = shown.into_iter().map(|f| filesystem(f, used(f))).collect();
    Pane { name: NAME, sum, sections: vec![Section { columns, rows, note }] }
}

fn filesystem(f: &TopFilesystem, used: Option<f64>) -> Vec<Cell> {
    let usage = f.sample.usage.value();
    let tone = used.map_or(Tone::Plain, |p| warmth(Percent(p)));
    let inodes = usage.and_then(FsUsage::inodes_free_percent).map(|free| Percent(100.0 - free.0));
    let growth = match f.bytes_per_s.map(|per_s| per_s * 3600.0) {
        Some(per_h) if per_h.abs() < STEADY => figure("steady"),
        Some(per_h) => figure(format!("{}/h", signed(per_h as i64))),
        None => dash(),
    };
    let full_in = match f.full_in {
        Some(Seconds(s)) if s > FAR_S => dash(),
        Some(s) => figure(until(s)).tone(match s.0 {
            s if s < 3600.0 => Tone::Bad,
            s if s < 86_400.0 => Tone::Warn,
            _ => Tone::Plain,
        }),
        None => dash(),
    };
    let (remark, loud) = remark(f);
    vec![
        cell(name(&f.sample.mount.path.to_string())),
        if f.sample.stuck_for_s.is_some() { figure("STUCK").tone(Tone::Bad) } else { percent(used).tone(tone) },
        cell(used.map_or_else(String::new, bar)).tone(tone),
        bytes(usage.map(|u| u.available)),
        inodes.map_or_else(dash, |p| percent(Some(p.0)).tone(warmth(p))),
        growth,
        full_in,
        cell(remark).tone(if loud { Tone::Bad } else { Tone::Warn }),
    ]
}

/// A forecast to the second would promise too much.
fn until(s: Seconds) -> String {
    if s.0 < 5400.0 { format!("{:.0} min", (s.0 / 60.0).floor()) } else { s.to_string() }
}

/// What is wrong with it, the worst first; whether it is more than worth a word.
fn remark(f: &TopFilesystem) -> (String, bool) {
    let fs = &f.sample;
    let mut parts = Vec::new();
    parts.extend(fs.stuck_for_s.map(|s| format!("no answer for {}", Seconds(s))));
    parts.extend(fs.usage.why().filter(|_| fs.stuck_for_s.is_none()).map(clean));
    parts.extend(fs.ext4_errors.value().filter(|n| **n > 0).map(|n| count(*n, "ext4 error")));
    let loud = !parts.is_empty();
    parts.extend(fs.mount.read_only.then(|| "read-only".to_owned()));
    (parts.join(", "), loud)
}

pub(super) fn units(top: &Top) -> Pane {
    const NAME: &str = "Units";
    let units = match known(&top.units) {
        Ok(units) => units,
        Err(why) => return Pane::unknown(NAME, why),
    };
    let sum = match units.failed {
        0 => cell(format!("{}, {}", thousands(units.count), clean(&units.system_state))),
        n => cell(format!("{}, {n} failed, {}", thousands(units.count), clean(&units.system_state))).tone(Tone::Bad),
    };
    let row = |unit: &UnitState| {
        let failed = unit.active == "failed";
        let state = if failed { "FAILED".to_owned() } else { clean(&unit.active) };
        let restarts = number(unit.restarts.map(u64::from));
        vec![
            cell(name(&clean(&unit.name))),
            cell(state).tone(if failed { Tone::Bad } else { Tone::Plain }),
            cell(clean(&unit.sub)),
            restarts.tone(if unit.restarts.unwrap_or(0) > 0 { Tone::Warn } else { Tone::Plain }),
            cell(clean(&unit.kind)),
        ]
    };
    let columns = const { &[column("UNIT", 0), column("STATE", 0), column("SUB", 2), column("RESTARTS", 1), column("TYPE", 3)] };
    let note = if units.listed.is_empty() { "none failed, was restarted or is changing its state".to_owned() } else { String::new() };
    Pane { name: NAME, sum, sections: vec![Section { columns, rows: units.listed.iter().map(row).collect(), note }] }
}

pub(super) fn processes(top: &Top) -> Pane {
    const NAME: &str = "Processes";
    let processes = match known(&top.processes) {
        Ok(processes) => processes,
        Err(why) => return Pane::unknown(NAME, why),
    };
    let waiting: u64 = processes.states.iter().filter(|(state, _)| *state == 'D').map(|(_, n)| n).sum();
    let mut sum = format!("{} with {}", thousands(processes.count), count(processes.threads, "thread"));
    if waiting > 0 {
        sum += &format!(", {waiting} in D");
    }
    let sum = cell(sum).tone(if waiting > 0 { Tone::Warn } else { Tone::Plain });
    let mut hottest: Vec<_> = processes.top.iter().filter(|p| p.cpu_percent.is_some_and(|c| c > 0.0)).collect();
    hottest.sort_by(|a, b| largest(a.cpu_percent, b.cpu_percent).then(a.pid.cmp(&b.pid)));
    let mut heaviest: Vec<_> = processes.top.iter().filter(|p| p.rss_bytes > 0).collect();
    heaviest.sort_by(|a, b| b.rss_bytes.cmp(&a.rss_bytes).then(a.pid.cmp(&b.pid)));
    // Both lists in one pane: each must be seen without going through the whole other one.
    let (hottest, heaviest) = (hottest.into_iter().take(10).map(process).collect(), heaviest.into_iter().take(10).map(process).collect());
    let hot = const {
        &[column("HOTTEST", 0), column("PID", 1), column("CPU", 0), column("MEMORY", 0), column("THREADS", 3), column("STATE", 2)]
    };
    let heavy = const {
        &[column("LARGEST", 0), column("PID", 1), column("CPU", 0), column("MEMORY", 0), column("THREADS", 3), column("STATE", 2)]
    };
    let sections =
        vec![Section { columns: hot, rows: hottest, note: String::new() }, Section { columns: heavy, rows: heaviest, note: String::new() }];
    Pane { name: NAME, sum, sections }
}

fn process(p: &ProcessUse) -> Vec<Cell> {
    vec![
        cell(name(&p.comm.to_string())),
        figure(p.pid.to_string()),
        percent(p.cpu_percent),
        bytes(Some(p.rss_bytes)),
        number(Some(p.threads)),
        cell(clean(&p.state.to_string())).tone(if p.state == 'D' { Tone::Warn } else { Tone::Plain }),
    ]
}

pub(super) fn cgroups(top: &Top) -> Pane {
    const NAME: &str = "Cgroups";
    let cgroups = match known(&top.cgroups) {
        Ok(cgroups) => cgroups,
        Err(why) => return Pane::unknown(NAME, why),
    };
    let version = match cgroups.version {
        CgroupVersion::V1 => "v1",
        CgroupVersion::Hybrid => "hybrid",
        CgroupVersion::V2 => "v2",
    };
    let kills: u64 = cgroups.top.iter().filter_map(|g| g.oom_kills).fold(0, u64::saturating_add);
    let sum = match kills {
        0 => cell(format!("{}, {version}", thousands(cgroups.count))),
        n => cell(format!("{}, {version}, {}", thousands(cgroups.count), count(n, "OOM kill"))).tone(Tone::Warn),
    };
    let mut by_memory: Vec<_> = cgroups.top.iter().filter(|g| g.memory_bytes.is_some_and(|b| b > 0)).collect();
    by_memory.sort_by(|a, b| b.memory_bytes.cmp(&a.memory_bytes).then(a.path.cmp(&b.path)));
    let mut by_cpu: Vec<_> = cgroups.top.iter().filter(|g| g.cpu_percent.is_some_and(|c| c > 0.0)).collect();
    by_cpu.sort_by(|a, b| largest(a.cpu_percent, b.cpu_percent).then(a.path.cmp(&b.path)));
    let memory = const {
        &[
            column("BY MEMORY", 0),
            column("MEMORY", 0),
            column("LIMIT", 1),
            column("USED", 1),
            column("", 4),
            column("CPU", 2),
            column("PIDS", 5),
            column("OOM KILLS", 3),
        ]
    };
    let cpu = const {
        &[column("BY CPU", 0), column("CPU", 0), column("THROTTLED", 1), column("PERIODS", 3), column("MEMORY", 2), column("PIDS", 4)]
    };
    let sections = vec![
        Section { columns: memory, rows: by_memory.into_iter().take(10).map(group_by_memory).collect(), note: String::new() },
        Section { columns: cpu, rows: by_cpu.into_iter().take(10).map(group_by_cpu).collect(), note: String::new() },
    ];
    Pane { name: NAME, sum, sections }
}

fn group_by_memory(g: &CgroupUse) -> Vec<Cell> {
    // The lower of both limits is the one that hurts first.
    let limit = [g.memory_max_bytes, g.memory_high_bytes].into_iter().flatten().min();
    let used = g.memory_bytes.zip(limit.filter(|l| *l > 0)).map(|(used, limit)| used as f64 * 100.0 / limit as f64);
    let tone = used.map_or(Tone::Plain, |p| warmth(Percent(p)));
    vec![
        cell(name(&g.path.to_string())),
        bytes(g.memory_bytes),
        bytes(limit),
        percent(used).tone(tone),
        cell(used.map_or_else(String::new, bar)).tone(tone),
        percent(g.cpu_percent),
        pids(g),
        number(g.oom_kills).tone(if g.oom_kills.unwrap_or(0) > 0 { Tone::Bad } else { Tone::Plain }),
    ]
}

fn group_by_cpu(g: &CgroupUse) -> Vec<Cell> {
    let throttled = g.throttled_us.map_or_else(dash, |us| figure(Seconds(us as f64 / 1e6).to_string()));
    vec![
        cell(name(&g.path.to_string())),
        percent(g.cpu_percent),
        throttled.tone(if g.throttled_us.unwrap_or(0) > 0 { Tone::Warn } else { Tone::Plain }),
        number(g.throttled_periods),
        bytes(g.memory_bytes),
        pids(g),
    ]
}

fn pids(g: &CgroupUse) -> Cell {
    match (g.pids, g.pids_max) {
        (Some(n), Some(max)) => figure(format!("{} of {}", thousands(n), thousands(max))),
        (n, _) => number(n),
    }
}

pub(super) fn signals(top: &Top) -> Pane {
    const NAME: &str = "Signals";
    let now = &top.now;
    let open = known(&top.open_incidents);
    let mut raised: Vec<_> = top.signals.iter().collect();
    raised.sort_by(|a, b| (b.severity, &a.kind, &a.subject).cmp(&(a.severity, &b.kind, &b.subject)));
    let quiet = raised.is_empty() && top.stuck.is_empty() && open.as_ref().is_ok_and(|open| open.is_empty());
    let incidents = open.as_ref().map_or_else(|_| "incidents unknown".into(), |open| count(open.len() as u64, "open incident"));
    let sum = format!("{} raised, {incidents}, {} stuck", raised.len(), top.stuck.len());
    let raised = raised.into_iter().map(|s| {
        vec![
            cell(clean(&s.kind.0)),
            cell(s.severity.as_str()).tone(severity(s.severity)),
            cell(name(&clean(&s.subject.to_string()))),
            figure(Seconds(seconds_between(&s.since, now).max(0.0)).to_string()),
            cell(clean(&s.detail)),
        ]
    });
    let incidents = open.iter().flat_map(|open| open.iter()).map(|i| {
        vec![
            cell(clean(&i.id.0)),
            cell(name(&clean(&i.subject.to_string()))),
            figure(Seconds(seconds_between(&i.opened, now).max(0.0)).to_string()),
            cell(clean(i.class.as_deref().unwrap_or("not diagnosed yet"))),
            cell(clean(&i.summary)),
        ]
    });
    let mut stuck: Vec<_> = top.stuck.iter().collect();
    stuck.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
    let stuck = stuck.into_iter().map(|(source, for_s)| {
        vec![cell(name(&clean(source))), figure(Seconds(*for_s).to_string()).tone(Tone::Warn), cell("has not answered")]
    });
    let note = match &open {
        Err(why) => format!("open incidents {why}"),
        Ok(_) if quiet => "no signal, no open incident, and every source answers".into(),
        Ok(_) => String::new(),
    };
    let signal = const { &[column("SIGNAL", 0), column("SEVERITY", 0), column("SUBJECT", 0), column("FOR", 2), column("DETAIL", 1)] };
    let incident =
        const { &[column("INCIDENT", 0), column("SUBJECT", 0), column("OPEN FOR", 1), column("CLASS", 2), column("SUMMARY", 3)] };
    let source = const { &[column("STUCK SOURCE", 0), column("FOR", 0), column("", 1)] };
    Pane {
        name: NAME,
        sum: cell(sum).tone(if quiet { Tone::Plain } else { Tone::Warn }),
        sections: vec![
            Section { columns: signal, rows: raised.collect(), note: String::new() },
            Section { columns: incident, rows: incidents.collect(), note: String::new() },
            Section { columns: source, rows: stuck.collect(), note },
        ],
    }
}
