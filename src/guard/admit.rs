//! The one door to acting.

use serde::{Deserialize, Serialize};

use super::{Limits, PastAct, cooldown_left, never, spent};
use crate::model::{
    Bytes, Confidence, FileBatch, GrowVolume, Holder, IncidentId, Now, Observed, Refusal, RefusalReason as Why, RunbookId, Seconds, Step,
    Subject,
};

/// A step that passed every check of this module. No other code can make one.
#[derive(Debug)]
pub struct Admitted<T>(T);

impl<T> Admitted<T> {
    pub fn get(&self) -> &T {
        &self.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Say what would be done. The default.
    Observe,
    Act,
}

/// A host's policy for one runbook, as one side of the socket has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub mode: Mode,
    /// First consent.
    pub runbook_allowed: bool,
    pub limits: Limits,
}

/// Reasons of the moment to keep the hands still. `Unavailable` holds as firmly as `true`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holds {
    /// A person's pause or a maintenance window, in words.
    pub paused: Option<String>,
    /// A package manager holds its lock; which.
    pub package_manager: Observed<Option<String>>,
    pub shutting_down: Observed<bool>,
    /// The agent's view is the host's own.
    pub host_view: Observed<bool>,
    /// Another episode is acting.
    pub another_episode: Option<IncidentId>,
    /// The record can be written and its chain is whole.
    pub ledger: Observed<()>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub incident: &'a IncidentId,
    pub runbook: &'a RunbookId,
    pub subject: &'a Subject,
    pub step: &'a Step,
    pub confidence: Confidence,
}

/// Everything a decision needs besides the step itself.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    pub policy: &'a Policy,
    pub holds: &'a Holds,
    pub past: &'a [PastAct],
    pub now: &'a Now,
}

/// # Errors
/// The first reason against it, in the order of what a person can change most easily last: what must never be comes first,
/// then consent, then the moment, then caps.
pub fn admit(asked: Asked<'_>, here: Circumstances<'_>) -> Result<Admitted<Step>, Refusal> {
    shape_and_never(asked.step, &here.policy.limits)?;
    consent(&asked, here.policy)?;
    moment(here.holds)?;
    history(&asked, &here)?;
    Ok(Admitted(asked.step.clone()))
}

fn refuse<T>(reason: Why, detail: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(reason, detail))
}

fn shape_and_never(step: &Step, limits: &Limits) -> Result<(), Refusal> {
    match step {
        Step::CompressLogs(batch) | Step::DeleteFiles(batch) | Step::VacuumJournal { files: batch, .. } => files(step, batch, limits),
        Step::PruneImages { images, min_age_s } => {
            if *min_age_s < Limits::MIN_IMAGE_AGE_S {
                return refuse(
                    Why::TooYoung,
                    format!("images younger than {} s are kept, the step says {min_age_s} s", Limits::MIN_IMAGE_AGE_S),
                );
            }
            match images.iter().find(|i| never::image(&i.tags)) {
                Some(image) => {
                    refuse(Why::NeverList, format!("image {} ({}) is one that pods cannot start without", image.id, image.tags.join(", ")))
                }
                None => Ok(()),
            }
        }
        Step::GrowVolume(grow) => volume(grow, limits),
        Step::RestartHolder(holder) => unit(holder, limits),
    }
}

fn files(step: &Step, batch: &FileBatch, limits: &Limits) -> Result<(), Refusal> {
    use crate::model::FileFamily as F;
    let fits = match step {
        Step::CompressLogs(_) => batch.family == F::ClosedLogs,
        Step::VacuumJournal { .. } => batch.family == F::JournalArchives,
        _ => !matches!(batch.family, F::ClosedLogs | F::JournalArchives),
    };
    if !fits {
        return refuse(Why::Malformed, format!("{:?} files do not go with this step", batch.family));
    }
    if !batch.root.as_bytes().starts_with(b"/") || !is_plain(&batch.root.as_bytes()[1..]) {
        return refuse(Why::Malformed, format!("root {} is not a plain absolute path", batch.root));
    }
    let Some(root) = limits.roots(batch.family).iter().find(|root| batch.root.is_under(root)) else {
        return refuse(
            Why::OutsideRoots,
            format!("{} is under none of the roots configured for {}: {:?}", batch.root, step.kind().as_str(), limits.roots(batch.family)),
        );
    };
    if let Some(what) = never::root(root).or_else(|| never::root(&batch.root)) {
        return refuse(Why::NeverList, format!("{}: {what}", batch.root));
    }
    if batch.min_age_s < Limits::min_age_s(batch.family) {
        return refuse(
            Why::TooYoung,
            format!(
                "{} needs an age of at least {} s, the step says {} s",
                step.kind().as_str(),
                Limits::min_age_s(batch.family),
                batch.min_age_s
            ),
        );
    }
    for target in batch.files.iter().chain(&batch.dirs) {
        if !is_plain(target.path.as_bytes()) {
            return refuse(Why::Malformed, format!("{} is not a plain relative path", target.path));
        }
        if let Some(what) = never::file(batch.family, &batch.root.join(&target.path)) {
            return refuse(Why::NeverList, format!("{}: {what}", batch.root.join(&target.path)));
        }
    }
    Ok(())
}

/// Relative, not empty, without `.`, `..`, empty components or NUL.
fn is_plain(path: &[u8]) -> bool {
    !path.is_empty() && !path.contains(&0) && path.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

fn volume(grow: &GrowVolume, limits: &Limits) -> Result<(), Refusal> {
    let plain =
        |name: &str| !name.is_empty() && !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || "+_.-".contains(c));
    if !plain(&grow.vg) || !plain(&grow.lv) || grow.to <= grow.from {
        return refuse(
            Why::Malformed,
            format!("{}/{} from {} to {} is not a growth of a logical volume", grow.vg, grow.lv, grow.from, grow.to),
        );
    }
    if grow.to > limits.max_volume {
        return refuse(
            Why::OverCap,
            format!("{}/{} would become {}, max_volume_gib allows {}", grow.vg, grow.lv, grow.to, limits.max_volume),
        );
    }
    Ok(())
}

fn unit(holder: &Holder, limits: &Limits) -> Result<(), Refusal> {
    if let Some(what) = never::unit(&holder.unit) {
        return refuse(Why::NeverList, format!("{}: {what}", holder.unit));
    }
    if never::stateful_unit(&holder.unit) && !limits.stateful_units_allowed.contains(&holder.unit) {
        return refuse(Why::NoOptIn, format!("{} keeps state: name it in stateful_units_allowed to let it be restarted", holder.unit));
    }
    Ok(())
}

fn consent(asked: &Asked<'_>, policy: &Policy) -> Result<(), Refusal> {
    if policy.mode == Mode::Observe {
        return refuse(Why::ReportOnly, "observe mode: this is what would be done");
    }
    if !policy.runbook_allowed {
        return refuse(Why::PolicyForbids, format!("the host's policy does not allow runbook {}", asked.runbook));
    }
    if !policy.limits.steps.contains(&asked.step.kind()) {
        return refuse(Why::PolicyForbids, format!("the host's policy does not allow step {}", asked.step.kind().as_str()));
    }
    match asked.subject {
        Subject::Filesystem { mount, device } => {
            if !policy.limits.mounts.contains(mount) {
                return refuse(Why::NoOptIn, format!("{mount} has not opted in: add it to mounts"));
            }
            if let Some(batch) = asked.step.batch().filter(|b| b.device != *device) {
                return refuse(Why::OutsideRoots, format!("{} is on device {}, {mount} is device {device}", batch.root, batch.device));
            }
        }
        Subject::Disk { .. } | Subject::Host => return refuse(Why::NoOptIn, format!("{} is nothing that can opt in", asked.subject)),
    }
    if asked.confidence < Confidence::TO_ACT {
        return refuse(Why::LowConfidence, format!("confidence {} is under {}", asked.confidence, Confidence::TO_ACT));
    }
    Ok(())
}

fn moment(holds: &Holds) -> Result<(), Refusal> {
    if let Some(why) = &holds.paused {
        return refuse(Why::Paused, why);
    }
    match &holds.host_view {
        Observed::Value { value: true, .. } => {}
        Observed::Value { value: false, .. } => {
            return refuse(Why::WrongView, "this process sees a container, not the host: start it in the host's namespaces");
        }
        Observed::Unavailable { why } => return refuse(Why::WrongView, why),
    }
    match &holds.shutting_down {
        Observed::Value { value: false, .. } => {}
        Observed::Value { value: true, .. } => return refuse(Why::ShuttingDown, "the host is shutting down"),
        Observed::Unavailable { why } => return refuse(Why::ShuttingDown, why),
    }
    match &holds.package_manager {
        Observed::Value { value: None, .. } => {}
        Observed::Value { value: Some(which), .. } => return refuse(Why::PackageManager, format!("{which} is at work")),
        Observed::Unavailable { why } => return refuse(Why::PackageManager, why),
    }
    if let Some(other) = &holds.another_episode {
        return refuse(Why::AnotherEpisode, format!("{other} is acting on this host; one at a time"));
    }
    match &holds.ledger {
        Observed::Value { .. } => Ok(()),
        Observed::Unavailable { why } => refuse(Why::LedgerUntrusted, why),
    }
}

fn history(asked: &Asked<'_>, here: &Circumstances<'_>) -> Result<(), Refusal> {
    let limits = &here.policy.limits;
    if let Some((left, past)) = cooldown_left(here.past, asked.runbook, asked.subject, asked.incident, limits.cooldown, here.now) {
        return refuse(
            Why::Cooldown,
            format!("{} was acted on by {}; another {left} of {} to go", asked.subject, past.incident, Seconds(limits.cooldown.0)),
        );
    }
    let (files, bytes) = spent(here.past, asked.incident);
    let (more_files, more_bytes) = load(asked.step);
    let (files, bytes) = (files.saturating_add(more_files), Bytes(bytes.0.saturating_add(more_bytes.0)));
    if files > limits.max_files {
        return refuse(Why::OverCap, format!("{files} files in one run, max_files allows {}", limits.max_files));
    }
    if bytes > limits.max_bytes {
        return refuse(Why::OverCap, format!("{bytes} in one run, max_bytes allows {}", limits.max_bytes));
    }
    Ok(())
}

/// Files and bytes that a step counts against the caps of its run.
pub fn load(step: &Step) -> (u64, Bytes) {
    match step {
        Step::CompressLogs(batch) | Step::DeleteFiles(batch) | Step::VacuumJournal { files: batch, .. } => {
            ((batch.files.len() + batch.dirs.len()) as u64, batch.on_disk())
        }
        Step::PruneImages { images, .. } => (images.len() as u64, images.iter().map(|i| i.size).sum()),
        Step::GrowVolume(_) => (0, Bytes(0)),
        Step::RestartHolder(_) => (1, Bytes(0)),
    }
}
