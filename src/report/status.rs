//! What the agent sees now.

use super::human::{clean, count, observed, utc};
use super::incidents;
use super::paint::{Paint, Tone};
use super::table::{Table, cell, figure};
use crate::model::{Bytes, CollectorLink, FsKind, FsSample, FsUsage, Now, Observed, Seconds, Severity};
use crate::wire::local::{Pause, Status};

pub fn status(s: &Status, paint: Paint) -> String {
    let running = Seconds(s.running_s);
    let mut out = format!("{}, byteport-agent {}, running for {running}\n", paint.title(&clean(&s.host)), clean(&s.version));
    let mut table = Table::default();
    let mode = match &s.why_observe {
        Some(why) => format!("{}: {}", clean(&s.mode), clean(why)),
        None => clean(&s.mode),
    };
    let dry = if s.dry_run { " (BYTEPORT_DRY_RUN=true wins over the configuration)" } else { "" };
    table.row([cell("mode"), cell(format!("{mode}{dry}")).tone(if s.mode == "act" && !s.dry_run { Tone::Good } else { Tone::Plain })]);
    table.row([cell("actuator"), cell(actuator(s)).tone(if s.actuator.value().is_some() { Tone::Plain } else { Tone::Warn })]);
    let record = observed(&s.record, |n| format!("whole, {}", count(*n, "entry")));
    table.row([cell("record"), cell(record).tone(if s.record.value().is_some() { Tone::Plain } else { Tone::Bad })]);
    table.row([cell("pressure"), cell(clean(&s.psi_mode))]);
    if let Some(link) = &s.collector {
        table.row([cell("collector"), cell(collector(link, &s.now)).tone(if link.up { Tone::Plain } else { Tone::Warn })]);
    }
    if let Some(refused) = &s.refused_config {
        table.row([
            cell("config"),
            cell(format!("the file on disk was refused, the old one is in force: {}", clean(refused))).tone(Tone::Bad),
        ]);
    }
    match &s.pauses {
        Observed::Value { value, .. } => {
            for pause in value {
                table.row([cell("paused"), cell(paused(pause)).tone(Tone::Warn)]);
            }
        }
        Observed::Unavailable { why } => {
            table.row([cell("paused"), cell(format!("unknown: {}", clean(why))).tone(Tone::Warn)]);
        }
    }
    for (sampler, for_s) in &s.stuck {
        table.row([cell("stuck"), cell(format!("{} has not answered for {}", clean(sampler), Seconds(*for_s))).tone(Tone::Warn)]);
    }
    out += &table.render(paint);

    out += &format!("\n{}\n", paint.title("Filesystems"));
    out += &match &s.filesystems {
        Observed::Value { value, .. } => filesystems(value, paint),
        Observed::Unavailable { why } => format!("  unknown: {}\n", clean(why)),
    };
    out += &format!("\n{}\n", paint.title("Signals"));
    if s.signals.is_empty() {
        out += "  none\n";
    }
    let mut table = Table::indented(2);
    for signal in &s.signals {
        let tone = if signal.severity == Severity::Critical { Tone::Bad } else { Tone::Warn };
        table.row([
            cell(signal.severity.as_str()).tone(tone),
            cell(clean(&signal.kind.0)),
            cell(clean(&signal.subject.to_string())),
            cell(clean(&signal.detail)),
            cell(format!("since {}", utc(signal.since.wall))),
        ]);
    }
    out += &table.render(paint);
    let open = match &s.open_incidents {
        Observed::Value { value, .. } if value.is_empty() => return out,
        Observed::Value { value, .. } => incidents::incidents(value, paint),
        Observed::Unavailable { why } => format!("  unknown: {}\n", clean(why)),
    };
    out + &format!("\n{}\n{open}", paint.title("Open incidents"))
}

fn collector(link: &CollectorLink, now: &Now) -> String {
    let ago = |at: jiff::Timestamp| Seconds(now.wall.duration_since(at).as_secs_f64().max(0.0));
    let heard = link.heard_at.map_or_else(|| "not heard of yet".to_owned(), |at| format!("heard of {} ago", ago(at)));
    let waiting = match link.waiting {
        None => "what it has is not known".to_owned(),
        Some(0) => "nothing waits".to_owned(),
        Some(rows) => format!("{} waiting", count(rows, "row")),
    };
    let trouble = link.trouble.as_ref().map(|why| format!(": {}", clean(why))).unwrap_or_default();
    let state = if link.up { "" } else { "not reached, " };
    format!("{}, {state}{heard}, {waiting}{trouble}", clean(&link.collector))
}

fn actuator(s: &Status) -> String {
    observed(&s.actuator, |hello| {
        let list = |names: &[String]| if names.is_empty() { "none".into() } else { clean(&names.join(", ")) };
        let dry = if hello.dry_run { ", dry run" } else { "" };
        let ledger = observed(&hello.ledger, |n| format!("ledger whole with {}", count(*n, "entry")));
        format!("{}, allows runbooks {} on mounts {}, {ledger}{dry}", clean(&hello.program), list(&hello.runbooks), list(&hello.mounts))
    })
}

fn paused(pause: &Pause) -> String {
    let what = pause.runbook.as_ref().map_or_else(|| "everything".into(), |r| clean(&r.0));
    let since = pause.since.as_ref().map(|at| format!(" since {}", utc(at.wall))).unwrap_or_default();
    let until = pause.for_s.map_or_else(|| "until `byteportctl resume`".into(), |s| format!("for {}", Seconds(s as f64)));
    format!("{what}{since}, {until}, by {}", clean(&pause.by))
}

fn filesystems(list: &[FsSample], paint: Paint) -> String {
    let mut table = Table::indented(2).head(&["MOUNT", "TYPE", "SIZE", "USED", "AVAILABLE", "INODES FREE", ""]);
    let mut silent = 0;
    for fs in list {
        // Those that raise no signal and answer are not worth a line each.
        if fs.mount.kind == FsKind::Pseudo && fs.stuck_for_s.is_none() {
            silent += 1;
            continue;
        }
        let figure_of = |say: &dyn Fn(&FsUsage) -> Option<String>| fs.usage.value().and_then(say).unwrap_or_else(|| "-".into());
        let used = fs.usage.value().and_then(FsUsage::used_percent);
        let tone = match used {
            Some(p) if p.0 >= 95.0 => Tone::Bad,
            Some(p) if p.0 >= 85.0 => Tone::Warn,
            _ => Tone::Plain,
        };
        table.row([
            cell(fs.mount.path.to_string()),
            cell(clean(&fs.mount.fs_type)),
            figure(figure_of(&|u| Some(Bytes(u.total).to_string()))),
            figure(used.map_or_else(|| "-".into(), |p| p.to_string())).tone(tone),
            figure(figure_of(&|u| Some(Bytes(u.available).to_string()))),
            figure(figure_of(&|u| u.inodes_free_percent().map(|p| p.to_string()))),
            cell(remark(fs)),
        ]);
    }
    let rest = if silent > 0 { format!("  and {} without signals\n", count(silent, "pseudo filesystem")) } else { String::new() };
    table.render(paint) + &rest
}

fn remark(fs: &FsSample) -> String {
    let mut parts = Vec::new();
    parts.extend(fs.stuck_for_s.map(|s| format!("has not answered for {}", Seconds(s))));
    parts.extend(fs.usage.why().filter(|_| fs.stuck_for_s.is_none()).map(clean));
    parts.extend(fs.mount.read_only.then(|| "read-only".to_owned()));
    parts.extend(fs.ext4_errors.value().filter(|n| **n > 0).map(|n| count(*n, "ext4 error")));
    parts.join(", ")
}

/// The pauses in force, after one was set or ended.
pub fn pauses(list: &Observed<Vec<Pause>>) -> String {
    match list {
        Observed::Value { value, .. } if value.is_empty() => "No pause is in force.\n".into(),
        Observed::Value { value, .. } => value.iter().map(|p| format!("paused: {}\n", paused(p))).collect(),
        Observed::Unavailable { why } => format!("Which pauses are in force is unknown: {}\n", clean(why)),
    }
}
