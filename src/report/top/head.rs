//! The lines above everything, and the pressure.

use super::trends::{self, Span};
use super::{Column, Section, bar, column, known};
use crate::model::{Bytes, Observed, Percent, Pressure, Seconds, Severity, Signal};
use crate::report::human::{clean, count, seconds_between};
use crate::report::paint::Tone;
use crate::report::table::{Cell, cell, figure};
use crate::wire::local::{CpuUse, MemoryUse, Top, Trend};

/// A sample that is older than this is told in colour as well.
const STALE_S: f64 = 60.0;

pub(super) fn head(top: &Top) -> Vec<Vec<Cell>> {
    vec![host(top), load(top), memory(&top.memory), trouble(top)]
}

fn host(top: &Top) -> Vec<Cell> {
    let sampled = match &top.sampled {
        Observed::Value { value, .. } => {
            let age_s = seconds_between(value, &top.now).max(0.0);
            cell(format!("sampled {} ago", Seconds(age_s))).tone(if age_s > STALE_S { Tone::Bad } else { Tone::Plain })
        }
        Observed::Unavailable { why } => cell(clean(why)).tone(Tone::Warn),
    };
    let mut line = vec![
        cell(clean(&top.host)).tone(Tone::Strong),
        cell(format!("mode {}", clean(&top.mode))).tone(if top.why_observe.is_none() { Tone::Good } else { Tone::Plain }),
        cell(format!("up {}", Seconds(top.now.uptime_s))),
        sampled,
    ];
    // The reason may be long, and goes first where there is no room.
    line.extend(top.why_observe.iter().map(|why| cell(format!("{} only: {}", clean(&top.mode), clean(why)))));
    line
}

fn load(top: &Top) -> Vec<Cell> {
    let mut line = match known(&top.cpu) {
        Ok(CpuUse { cpus, busy, iowait, steal, .. }) => {
            vec![cell(format!("cpu {busy} of {}, io wait {iowait}, steal {steal}", count(*cpus, "CPU"))).tone(warmth(*busy))]
        }
        Err(why) => vec![cell(format!("cpu {why}"))],
    };
    line.push(match known(&top.load) {
        Ok(load) => cell(format!("load {:.2} {:.2} {:.2}", load.one, load.five, load.fifteen)),
        Err(why) => cell(format!("load {why}")),
    });
    line.extend(top.cpu.value().map(|cpu| cell(format!("{} running, {} blocked", cpu.running, cpu.blocked))));
    line
}

fn memory(memory: &Observed<MemoryUse>) -> Vec<Cell> {
    let MemoryUse { total, available, swap_total, swap_free } = match known(memory) {
        Ok(memory) => memory,
        Err(why) => return vec![cell(format!("memory {why}"))],
    };
    let used = total.saturating_sub(*available);
    let share = |used: u64, total: u64| Percent(if total > 0 { used as f64 * 100.0 / total as f64 } else { 0.0 });
    let swap = match swap_total {
        0 => "no swap".into(),
        _ => format!("swap {} of {}", share(swap_total.saturating_sub(*swap_free), *swap_total), Bytes(*swap_total)),
    };
    let text = format!("memory {} of {}, {} available", share(used, *total), Bytes(*total), Bytes(*available));
    vec![cell(text).tone(warmth(share(used, *total))), cell(swap)]
}

/// Signals and what does not answer, in one line; their pane has the rest.
fn trouble(top: &Top) -> Vec<Cell> {
    let mut signals: Vec<&Signal> = top.signals.iter().collect();
    signals.sort_by(|a, b| (b.severity, &a.kind, &a.subject).cmp(&(a.severity, &b.kind, &b.subject)));
    let mut line = match signals.len() {
        0 => vec![cell("no signal is raised")],
        n => vec![cell(format!("{} raised:", count(n as u64, "signal"))).tone(Tone::Strong)],
    };
    line.extend(signals.iter().map(|signal| {
        let text = format!("{} {} on {}", signal.severity.as_str().to_uppercase(), signal.kind, signal.subject);
        cell(clean(&text)).tone(severity(signal.severity))
    }));
    if !top.stuck.is_empty() {
        line.insert(1, cell(format!("{} not answering", count(top.stuck.len() as u64, "source"))).tone(Tone::Warn));
    }
    line
}

pub(super) const fn severity(severity: Severity) -> Tone {
    match severity {
        Severity::Critical => Tone::Bad,
        Severity::Warning => Tone::Warn,
    }
}

/// Of a share that is bad to have in full.
pub(super) fn warmth(share: Percent) -> Tone {
    match share.0 {
        p if p >= 95.0 => Tone::Bad,
        p if p >= 85.0 => Tone::Warn,
        _ => Tone::Plain,
    }
}

const fn columns(curve: &'static str) -> [Column; 7] {
    [
        column("PRESSURE", 0),
        column("SOME 10 S", 0),
        column("", 0),
        column("SOME 60 S", 3),
        column("FULL 10 S", 0),
        column("FULL 60 S", 2),
        column(curve, 1),
    ]
}

pub(super) fn pressure(top: &Top, span: Span) -> Section {
    type Was = fn(&Trend) -> &Vec<Option<f32>>;
    let parts: [(_, _, Was); 3] = [
        ("cpu", &top.cpu_pressure, |t| &t.cpu_pressure),
        ("io", &top.io_pressure, |t| &t.io_pressure),
        ("memory", &top.memory_pressure, |t| &t.memory_pressure),
    ];
    let unknown: Vec<String> = parts.iter().filter_map(|(what, p, _)| Some(format!("{what} {}", known(p).err()?))).collect();
    Section {
        columns: match span {
            Span::QuarterHour => const { &columns("LAST 15 MIN") },
            Span::SixHours => const { &columns("LAST 6 H") },
        },
        rows: parts.into_iter().filter_map(|(what, p, was)| Some(row(what, p.value()?, trends::pressure(top, was, span)))).collect(),
        note: unknown.join("; "),
    }
}

fn row(what: &str, p: &Pressure, was: Cell) -> Vec<Cell> {
    let share = |percent: f64| figure(Percent(percent).to_string()).tone(tension(percent));
    vec![
        cell(what),
        cell(bar(p.some_avg10)).tone(tension(p.some_avg10)),
        share(p.some_avg10),
        share(p.some_avg60),
        share(p.full_avg10),
        share(p.full_avg60),
        was.tone(tension(p.some_avg10)),
    ]
}

/// Of a share of time in which something waited.
pub(super) fn tension(percent: f64) -> Tone {
    match percent {
        p if p >= 60.0 => Tone::Bad,
        p if p >= 20.0 => Tone::Warn,
        _ => Tone::Plain,
    }
}
