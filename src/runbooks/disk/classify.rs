//! What explains the need, and how sure that is.
//!
//! Each class has an amount; the first, least harm first, that covers the need is the diagnosis, else the largest. Two things go before
//! that: a filesystem that is faulty is not full, and a process that fills faster than cleaning frees makes every cleaning vain.

use super::class::Class;
use super::doubts::doubts;
use super::evidence::Evidence;
use super::need::Need;
use super::offers::{Offer, known_roots, ladder};
use super::signals::{IO, READONLY, STUCK};
use super::{Params, held};
use crate::model::{
    Bytes, Confidence, Diagnosis, Explained, FileFamily, Finding, FsKind, FsUsage, HostPath, Now, Observed, Scan, Seconds, Severity, Writer,
};

pub(super) fn classify(evidence: &Evidence, params: &Params, now: &Now) -> Diagnosis {
    let facts = Facts::new(evidence, params);
    let verdict = fault(&facts).or_else(|| io_bound(&facts)).unwrap_or_else(|| space(&facts));
    let doubts = doubts(evidence, verdict.class, now);
    Diagnosis {
        class: verdict.class.as_str().to_owned(),
        confidence: Confidence::new(verdict.explained * doubts.trust),
        summary: verdict.summary,
        explained: verdict.shares,
        findings: findings(&facts),
        missing: doubts.said,
        behind: fastest(evidence).map(named),
        critical: evidence.signals.iter().any(|s| s.severity == Severity::Critical),
    }
}

struct Facts<'a> {
    evidence: &'a Evidence,
    params: &'a Params,
    /// `None` when it cannot be known.
    need: Option<Need>,
    offers: Vec<Offer>,
}

struct Judged {
    class: Class,
    /// 0..1, before what is missing and how old it is.
    explained: f64,
    shares: Vec<Explained>,
    summary: String,
}

impl<'a> Facts<'a> {
    fn new(evidence: &'a Evidence, params: &'a Params) -> Self {
        let need = evidence.usage.value().and_then(|u| Need::of(u, evidence.growth.value(), &evidence.signals, params));
        Self { evidence, params, need, offers: ladder(evidence, params) }
    }

    fn place(&self) -> String {
        self.evidence.mount.value().map_or_else(|| self.evidence.subject.to_string(), |m| m.path.to_string())
    }
}

/// Witnesses that say yes, of those that could.
fn share_of(witnesses: &[bool]) -> f64 {
    witnesses.iter().filter(|w| **w).count() as f64 / witnesses.len() as f64
}

fn alone(class: Class, explained: f64) -> Vec<Explained> {
    vec![Explained { class: class.as_str().to_owned(), amount: 0, share: explained }]
}

/// Read-only after an error, counting errors, or silent. The signal is one witness, what was seen now is the other.
fn fault(facts: &Facts<'_>) -> Option<Judged> {
    let e = facts.evidence;
    let read_only = e.mount.value().is_some_and(|m| m.read_only);
    let (stuck, errors) = (e.stuck_for_s.is_some(), e.new_errors > 0 || e.refuses_writes);
    let told = e.has(&STUCK) || e.has(&READONLY);
    // Mounted read-only on purpose, and nobody complained: no fault. Load on its disk is no complaint about it.
    let turned = read_only && e.signals.iter().any(|s| s.kind != IO);
    if !(told || turned || stuck || errors) {
        return None;
    }
    let place = facts.place();
    let summary = match (e.stuck_for_s, read_only, errors) {
        (Some(for_s), ..) => format!("{place} has not answered for {}; whoever touches it waits", Seconds(for_s)),
        (None, false, _) if e.refuses_writes => format!("{place} refuses writes although it is listed as read-write"),
        (None, true, _) => format!("{place} is read-only; {} new errors were counted", e.new_errors),
        (None, false, true) => {
            format!("{place} has counted {} new errors; it may refuse writes although it is listed as read-write", e.new_errors)
        }
        (None, false, false) => format!("{place} was reported as faulty and looks well now"),
    };
    let explained = share_of(&[told || e.signals.is_empty(), read_only || stuck || errors]);
    Some(Judged { class: Class::FilesystemFault, explained, shares: alone(Class::FilesystemFault, explained), summary })
}

/// Nothing but the load on the disk was reported.
fn io_bound(facts: &Facts<'_>) -> Option<Judged> {
    let e = facts.evidence;
    if e.signals.is_empty() || !e.signals.iter().all(|s| s.kind == IO) {
        return None;
    }
    let busy = e.io.busy.value().is_some_and(|b| *b >= facts.params.io_busy_percent);
    let waiting = e.io.pressure.value().is_some_and(|p| p.some_avg60 >= facts.params.io_pressure_percent.0);
    let writer = fastest(e);
    let explained = share_of(&[busy, waiting, writer.is_some()]);
    let by = writer.map_or_else(|| "no writer stands out".to_owned(), |w| format!("most is written by {}", named(w)));
    let summary = format!("{} has more to do than it can; {by}", e.subject);
    Some(Judged { class: Class::IoBound, explained, shares: alone(Class::IoBound, explained), summary })
}

fn space(facts: &Facts<'_>) -> Judged {
    let (e, place) = (facts.evidence, facts.place());
    let nothing = |summary: String| Judged { class: Class::Unknown, explained: 0.0, shares: Vec::new(), summary };
    let (Some(_), Some(usage)) = (e.mount.value(), e.usage.value()) else {
        return nothing(format!("{place}: how full it is cannot be read"));
    };
    match e.mount.value() {
        Some(mount) if mount.kind != FsKind::Local => return nothing(format!("{place} is {}: nothing on it is cleaned", mount.fs_type)),
        Some(mount) if mount.read_only => return nothing(format!("{place} is read-only: nothing on it is cleaned")),
        _ => {}
    }
    let Some(need) = facts.need else {
        return nothing(format!("{place}: how fast it fills is not known"));
    };
    if need.is_met() {
        return nothing(format!("{place} is at {}: nothing must be freed", percent(usage)));
    }
    if need.bytes == 0 {
        return small_files(facts, usage, need.inodes);
    }
    let mut amounts = amounts(facts, need.bytes);
    let total = amounts.iter().fold(0u64, |sum, (_, amount)| sum.saturating_add(*amount));
    // What nothing explains stands for election like everything else.
    amounts.push((Class::Unknown, need.bytes.saturating_sub(total)));
    let covers = |amount: u64| (amount as f64 / need.bytes as f64).min(1.0);
    let first = amounts.iter().find(|(_, amount)| *amount >= need.bytes);
    // `max_by_key` keeps the last of equals; the least harm is the first.
    let chosen = first.or_else(|| amounts.iter().rev().max_by_key(|(_, amount)| *amount)).filter(|(_, amount)| *amount > 0);
    let runaway = runaway(facts, usage).is_some();
    let class = if runaway { Class::RunawayWriter } else { chosen.map_or(Class::Unknown, |(class, _)| *class) };
    let mut shares: Vec<Explained> = amounts
        .iter()
        .filter(|(_, amount)| *amount > 0)
        .map(|(class, amount)| Explained { class: class.as_str().to_owned(), amount: *amount, share: covers(*amount) })
        .collect();
    shares.sort_by_key(|s| s.class != class.as_str());
    let lead = match (class, runaway, fastest(e)) {
        (_, true, Some(writer)) => format!("{} fills faster than cleaning frees", named(writer)),
        (Class::Unknown, ..) => "nothing that was looked at explains it".to_owned(),
        (class, ..) => format!(
            "{} explains {:.0} % of it",
            class.as_str(),
            100.0 * amounts.iter().find(|(c, _)| *c == class).map_or(0.0, |a| covers(a.1))
        ),
    };
    let summary = format!("{place} is at {}: {} must go; {lead}", percent(usage), Bytes(need.bytes));
    Judged { class, explained: covers(total), shares, summary }
}

/// Bytes by class, in order of harm. What no rule explains is the application's if something shows that it is.
fn amounts(facts: &Facts<'_>, need: u64) -> Vec<(Class, u64)> {
    let classes = [
        Class::LogGrowth,
        Class::JournalGrowth,
        Class::TmpAccumulation,
        Class::PackageCache,
        Class::ContainerImages,
        Class::CoreDumps,
        Class::DeletedOpenFiles,
    ];
    let mut out: Vec<(Class, u64)> = classes
        .into_iter()
        .map(|class| {
            // What is still written counts too: it is what fills, though no step may touch it. The plan says how little may go.
            let holds = facts.offers.iter().filter(|o| o.class == Some(class)).fold(0u64, |sum, o| sum.saturating_add(o.holds));
            (class, holds.saturating_add(in_use(facts, class)))
        })
        .collect();
    let explained = out.iter().fold(0u64, |sum, (_, amount)| sum.saturating_add(*amount));
    out.push((Class::DataGrowth, data(facts).min(need.saturating_sub(explained))));
    out
}

/// Large files under a log or temporary root that no rule lets go: too young, or still written.
fn in_use(facts: &Facts<'_>, class: Class) -> u64 {
    let families: &[FileFamily] = match class {
        Class::LogGrowth => &[FileFamily::ClosedLogs, FileFamily::RotatedLogs],
        Class::TmpAccumulation => &[FileFamily::Tmp],
        _ => return 0,
    };
    let Some(scan) = facts.evidence.scan.value() else { return 0 };
    let candidates: std::collections::BTreeSet<HostPath> =
        scan.candidates.iter().flat_map(|c| c.files.iter().map(|f| c.root.join(&f.path))).collect();
    let journals: Vec<&HostPath> = facts.params.limits.roots(FileFamily::JournalArchives).iter().collect();
    let under = |path: &HostPath| {
        let of_class = families.iter().flat_map(|f| facts.params.limits.roots(*f)).any(|root| path.is_under(root));
        of_class && !journals.iter().any(|root| path.is_under(root))
    };
    let files = scan.largest_files.iter().filter(|f| under(&f.path) && !candidates.contains(&f.path));
    files.fold(0, |sum, f| sum.saturating_add(f.on_disk))
}

/// Bytes outside every known root, if something shows that they grow: a writer, the growth itself, or large files written in the last day.
fn data(facts: &Facts<'_>) -> u64 {
    let Some(scan) = facts.evidence.scan.value() else { return 0 };
    let of_rules = scan.candidates.iter().fold(0u64, |sum, c| sum.saturating_add(c.total_on_disk));
    let rest = scan.on_disk.saturating_sub(of_rules);
    let grows = facts.evidence.growth.value().is_some_and(|g| g.bytes_per_s > 0.0);
    let written =
        facts.evidence.writers.value().into_iter().flatten().any(|w| w.growing.as_ref().is_some_and(|path| is_data(path, facts.params)));
    if grows || written {
        return rest;
    }
    let recent = scan.largest_files.iter().filter(|f| f.age_s < 86_400 && is_data(&f.path, facts.params));
    recent.fold(0u64, |sum, f| sum.saturating_add(f.on_disk)).min(rest)
}

fn is_data(path: &HostPath, params: &Params) -> bool {
    !known_roots(&params.limits).any(|(_, root)| path.is_under(root))
}

/// The writer that has filled everything again, whatever is cleaned, within `runaway_within_s`.
fn runaway<'a>(facts: &Facts<'a>, usage: &FsUsage) -> Option<&'a Writer> {
    let writer = fastest(facts.evidence)?;
    let cleaned = facts.offers.iter().fold(0u64, |sum, o| sum.saturating_add(o.bytes));
    let within = writer.growing_bytes_per_s * facts.params.runaway_within_s.0;
    (writer.growing.is_some() && within > 0.0 && within >= usage.available.saturating_add(cleaned) as f64).then_some(writer)
}

/// Who makes files grow fastest.
pub(super) fn fastest(evidence: &Evidence) -> Option<&Writer> {
    let writers = evidence.writers.value()?.iter().filter(|w| w.bytes_per_s > 0.0);
    writers.max_by(|a, b| {
        a.growing_bytes_per_s.total_cmp(&b.growing_bytes_per_s).then(a.bytes_per_s.total_cmp(&b.bytes_per_s)).then(b.pid.cmp(&a.pid))
    })
}

pub(super) fn named(writer: &Writer) -> String {
    let comm = HostPath::from(writer.comm.as_str());
    let into = writer.growing.as_ref().map_or(String::new(), |path| format!(" into {path}"));
    format!("{comm} (pid {}, {}/s{into})", writer.pid, Bytes(writer.bytes_per_s.max(writer.growing_bytes_per_s).max(0.0) as u64))
}

fn small_files(facts: &Facts<'_>, usage: &FsUsage, need: u64) -> Judged {
    let offered = facts.offers.iter().fold(0u64, |sum, o| sum.saturating_add(o.inodes));
    let crowded: u64 = facts.evidence.scan.value().map_or(0, |s| s.most_entries.iter().fold(0u64, |sum, d| sum.saturating_add(d.entries)));
    let covers = |amount: u64| (amount as f64 / need as f64).min(1.0);
    let explained = covers(offered.max(crowded));
    let share = Explained { class: Class::InodeSmallFiles.as_str().to_owned(), amount: offered.max(crowded), share: explained };
    let free = usage.inodes_free_percent().map_or_else(String::new, |p| format!("{p} of its inodes free"));
    let summary = format!("{} has {free}: {need} must go; {offered} of them could be removed by a rule", facts.place());
    Judged { class: Class::InodeSmallFiles, explained, shares: vec![share], summary }
}

fn percent(usage: &FsUsage) -> String {
    usage.used_percent().map_or_else(|| "an unknown usage".to_owned(), |p| p.to_string())
}

fn findings(facts: &Facts<'_>) -> Vec<Finding> {
    let e = facts.evidence;
    let mut out = Vec::new();
    let mut say = |what: &str, value: String| out.push(Finding { what: what.to_owned(), value });
    for signal in &e.signals {
        say("signal", format!("{} ({}): {}", signal.kind, signal.severity.as_str(), signal.detail));
    }
    if let Some(usage) = e.usage.value() {
        let reserved = usage.free.saturating_sub(usage.available);
        say(
            "usage",
            format!(
                "{}: {} of {} used, {} available, {} reserved",
                percent(usage),
                Bytes(usage.used()),
                Bytes(usage.total),
                Bytes(usage.available),
                Bytes(reserved)
            ),
        );
        if let Some(free) = usage.inodes_free_percent() {
            say("inodes", format!("{free} free: {} of {}", usage.inodes_free, usage.inodes));
        }
        if let Some(growth) = e.growth.value() {
            let full = growth.time_to_full(usage).map_or_else(|| "not growing".to_owned(), |left| format!("full in {left}"));
            say("growth", format!("{:+.0} B/s over {}: {full}", growth.bytes_per_s, growth.over));
        }
    }
    if let Some(scan) = e.scan.value() {
        trees(scan, &mut say);
    }
    if let Some(writer) = fastest(e) {
        say("fastest writer", named(writer));
    }
    if let Some(files) = e.held.value().filter(|h| !h.files.is_empty()) {
        say("deleted files still open", format!("{} in {} descriptors", Bytes(held::total(files)), files.files.len()));
        for holder in held::holders(files).into_iter().take(3) {
            say("holder", format!("{} (pid {}): {}", HostPath::from(holder.comm.as_str()), holder.pid, Bytes(holder.bytes)));
        }
    }
    if let Observed::Value { value: Some(store), .. } = &e.images {
        say("container images", format!("{} images, layers hold {}", store.images.len(), store.layers));
    }
    if let Some(volume) = e.volume.value() {
        say("volume", format!("{}/{} {}, {} free in its group", volume.vg, volume.lv, volume.size, volume.vg_free));
    }
    out
}

fn trees(scan: &Scan, say: &mut impl FnMut(&str, String)) {
    for dir in scan.largest_dirs.iter().take(5) {
        say("largest directory", format!("{}: {} on disk, {} apparent", dir.path, Bytes(dir.on_disk), Bytes(dir.apparent)));
    }
    for file in scan.largest_files.iter().take(3) {
        say(
            "largest file",
            format!(
                "{}: {} on disk, {} apparent, written {} ago",
                file.path,
                Bytes(file.on_disk),
                Bytes(file.apparent),
                Seconds(file.age_s as f64)
            ),
        );
    }
    for dir in scan.most_entries.iter().take(3) {
        say("most entries", format!("{}: {}", dir.path, dir.entries));
    }
}
