//! What the kernel and the journal said of late. Anybody may have written any of it.

use super::{Pane, Section, column, known, name, within};
use crate::model::{KernelEvent, KernelEventKind, Observed, Seconds};
use crate::report::human::{clean, count, thousands};
use crate::report::paint::Tone;
use crate::report::table::{Cell, cell, figure};
use crate::wire::local::{Top, TopJournal, TopJournalEntry, TopKernelEvent, TopKernelLog};

/// Both lists are in one pane: the second must be seen without going through the whole first.
const KERNEL_MOST: usize = 5;
const JOURNAL_MOST: usize = 15;
/// Characters of a line that are worth reading here.
const LONGEST: usize = 160;

pub(super) fn events(top: &Top) -> Pane {
    let kernel_sum = known(&top.kernel_log).map(|log| log.counts.iter().fold(0, |sum, (_, n)| u64::saturating_add(sum, *n)));
    let tone = if kernel_sum.as_ref().is_ok_and(|n| *n > 0) { Tone::Warn } else { Tone::Plain };
    let kernel_sum = kernel_sum.map_or_else(|_| "kernel unknown".into(), |n| format!("{} from the kernel", thousands(n)));
    let journal_sum = match &top.journal {
        Observed::Value { value, .. } => format!("{} from the journal", thousands(value.told)),
        Observed::Unavailable { .. } => "journal not followed".into(),
    };
    Pane {
        name: "Events",
        sum: cell(format!("{kernel_sum}, {journal_sum}")).tone(tone),
        sections: vec![kernel(&top.kernel_log), journal(&top.journal)],
    }
}

fn kernel(log: &Observed<TopKernelLog>) -> Section {
    let columns = const { &[column("KERNEL", 0), column("AGO", 0), column("WHAT", 0)] };
    let log = match known(log) {
        Ok(log) => log,
        Err(why) => return Section { columns, rows: vec![], note: format!("kernel {why}") },
    };
    let met = log.counts.iter().filter(|(_, n)| *n > 0).map(|(kind, n)| count(*n, words(*kind)));
    let mut note: Vec<String> = met.collect();
    if log.dropped > 0 {
        note.push(format!("{} overwritten before they could be read", count(log.dropped, "line")));
    }
    let note = if note.is_empty() { "no trouble".into() } else { note.join(", ") };
    let note = format!("kernel: {note} since the agent began to listen");
    Section { columns, rows: log.latest.iter().take(KERNEL_MOST).map(event).collect(), note }
}

fn event(told: &TopKernelEvent) -> Vec<Cell> {
    let TopKernelEvent { age_s, event } = told;
    let tone = if event.kind == KernelEventKind::HungTask { Tone::Warn } else { Tone::Bad };
    vec![cell(words(event.kind)).tone(tone), figure(Seconds(*age_s).to_string()), cell(what(event))]
}

const fn words(kind: KernelEventKind) -> &'static str {
    match kind {
        KernelEventKind::OomKill => "OOM kill",
        KernelEventKind::MachineCheck => "machine check",
        KernelEventKind::HungTask => "hung task",
        KernelEventKind::IoError => "I/O error",
        KernelEventKind::FilesystemError => "filesystem error",
    }
}

/// `worker, pid 4711, in /system.slice/worker.service`; of a device the kernel's own line says more.
fn what(event: &KernelEvent) -> String {
    let subject = name(&clean(&event.subject));
    match (event.pid, &event.cgroup) {
        (Some(pid), Some(cgroup)) => format!("{subject}, pid {pid}, in {}", name(&cgroup.to_string())),
        (Some(pid), None) => format!("{subject}, pid {pid}"),
        (None, _) => format!("{subject}: {}", beginning(&event.text)),
    }
}

fn journal(log: &Observed<TopJournal>) -> Section {
    let columns = const { &[column("JOURNAL", 0), column("AGO", 0), column("PRIORITY", 1), column("MESSAGE", 0)] };
    let log = match known(log) {
        Ok(log) => log,
        Err(why) => return Section { columns, rows: vec![], note: format!("journal {why}") },
    };
    let mut note = match log.told {
        0 => "journal: nothing that was asked for since the agent began to listen".to_owned(),
        n => format!("journal: {} since the agent began to listen", count(n, "entry")),
    };
    if log.dropped > 0 {
        note += &format!(", {} too many to keep", log.dropped);
    }
    if log.gaps > 0 {
        note += &format!(", with {} in it", count(log.gaps, "gap"));
    }
    Section { columns, rows: log.latest.iter().take(JOURNAL_MOST).map(entry).collect(), note }
}

fn entry(told: &TopJournalEntry) -> Vec<Cell> {
    const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
    let TopJournalEntry { age_s, entry } = told;
    let tone = match entry.priority {
        Some(0..=3) => Tone::Bad,
        Some(4) => Tone::Warn,
        _ => Tone::Plain,
    };
    let unit = if entry.unit.is_empty() { "no unit".to_owned() } else { within(&clean(&entry.unit), 32) };
    vec![
        cell(unit),
        figure(age_s.map_or_else(|| "-".into(), |s| Seconds(s).to_string())),
        cell(entry.priority.and_then(|p| PRIORITIES.get(usize::from(p)).copied()).unwrap_or("-")).tone(tone),
        cell(beginning(&entry.message)),
    ]
}

/// Clean, and no longer than anybody reads in a list.
fn beginning(text: &str) -> String {
    let text = clean(text.trim_end());
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
