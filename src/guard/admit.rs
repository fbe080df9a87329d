//! The one door to acting.

use serde::{Deserialize, Serialize};

use super::{Limits, PastAct, cooldown_left, never, spent, units};
use crate::model::{
    Bytes, Confidence, FileBatch, GrowVolume, IncidentId, Now, Observed, Refusal, RefusalReason as Why, RunbookId, Seconds, Step, Subject,
    Targets,
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
    /// What the step names, as it is now.
    pub targets: &'a Targets,
    pub now: &'a Now,
}

/// # Errors
/// The first reason against it, in the order of what a person can change most easily last: what must never be comes first,
/// then consent, then the moment, then caps.
pub fn admit(asked: Asked<'_>, here: Circumstances<'_>) -> Result<Admitted<Step>, Refusal> {
    shape_and_never(asked.step, &here.policy.limits)?;
    consent(&asked, here)?;
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
        Step::RestartHolder(holder) => units::name(&holder.unit, limits),
        Step::PreferVictims(_)
        | Step::LimitUnit(_)
        | Step::CalmProcess(_)
        | Step::SnapshotHeap(_)
        | Step::RestartUnit(_)
        | Step::KillProcess { .. } => units::shape(step, limits),
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

fn consent(asked: &Asked<'_>, here: Circumstances<'_>) -> Result<(), Refusal> {
    let policy = here.policy;
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
        // Here it is the unit that consents, or the process's name.
        Subject::Host | Subject::Unit { .. } | Subject::Process { .. } if asked.step.works_on().is_some() => {}
        Subject::Disk { .. } | Subject::Host | Subject::Unit { .. } | Subject::Process { .. } => {
            return refuse(Why::NoOptIn, format!("{} is nothing that can opt in", asked.subject));
        }
    }
    units::consent(asked.step, here.targets, &policy.limits)?;
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
    units::history(asked.step, asked.confidence, here.past, limits, here.now)?;
    // Units and processes have counts of their own; it is filesystems that are left alone for a while.
    if matches!(asked.subject, Subject::Filesystem { .. })
        && let Some((left, past)) = cooldown_left(here.past, asked.runbook, asked.subject, asked.incident, limits.cooldown, here.now)
    {
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
        Step::RestartHolder(_) | Step::LimitUnit(_) | Step::RestartUnit(_) | Step::SnapshotHeap(_) => (1, Bytes(0)),
        Step::PreferVictims(_) | Step::CalmProcess(_) | Step::KillProcess { .. } => (step.processes().len() as u64, Bytes(0)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{BootId, FileFamily, FileTarget, Holder, HolderAction, ImageTarget, IntentId, StepKind, UnitTarget};

    fn now() -> Now {
        Now { wall: jiff::Timestamp::from_second(1_000_000).unwrap(), boot: BootId("a".into()), uptime_s: 500_000.0 }
    }

    fn target(path: &str, on_disk: u64) -> FileTarget {
        FileTarget { path: path.into(), ino: 1, size: on_disk, on_disk, mtime_ns: 0, ctime_ns: 0, links: 1 }
    }

    fn batch(family: FileFamily, root: &str, path: &str) -> FileBatch {
        let min_age_s = Limits::min_age_s(family);
        FileBatch { family, root: root.into(), device: 1, min_age_s, files: vec![target(path, 4096)], dirs: vec![] }
    }

    fn rotated() -> Step {
        Step::DeleteFiles(batch(FileFamily::RotatedLogs, "/var/log", "app.log.1"))
    }

    fn holder(unit: &str) -> Step {
        Step::RestartHolder(Holder { unit: unit.into(), pid: 9, start_ticks: 9, action: HolderAction::Restart, device: 7, held: Bytes(1) })
    }

    fn restart() -> Step {
        Step::RestartUnit(UnitTarget { unit: "app.service".into(), invocation: "1f".into() })
    }

    fn restarted(ago_s: f64) -> PastAct {
        let (wall, uptime_s) = (now().wall - jiff::SignedDuration::from_secs_f64(ago_s), now().uptime_s - ago_s);
        PastAct { kind: StepKind::RestartUnit, on: Some("app.service".into()), ..past("memory-1", Now { wall, uptime_s, ..now() }, 1, 0) }
    }

    fn grow(vg: &str, from: u64, to: u64) -> Step {
        let (from, to) = (Bytes(from << 30), Bytes(to << 30));
        Step::GrowVolume(GrowVolume { vg: vg.into(), lv: "root".into(), mount: "/".into(), fs_type: "ext4".into(), from, to })
    }

    fn image(tag: &str, min_age_s: u64) -> Step {
        let image = ImageTarget { id: "sha256:1".into(), tags: vec![tag.into()], digests: vec![], size: Bytes(1) };
        Step::PruneImages { images: vec![image], min_age_s }
    }

    /// Everything is allowed and calm; a test changes one thing.
    struct World {
        step: Step,
        subject: Subject,
        confidence: f64,
        policy: Policy,
        holds: Holds,
        past: Vec<PastAct>,
        targets: Targets,
        now: Now,
    }

    impl World {
        fn new(step: Step) -> Self {
            let limits = Limits { mounts: vec!["/".into()], steps: StepKind::ALL.into(), ..Limits::default() };
            Self {
                step,
                subject: Subject::Filesystem { mount: "/".into(), device: 1 },
                confidence: 0.9,
                policy: Policy { mode: Mode::Act, runbook_allowed: true, limits },
                holds: Holds {
                    paused: None,
                    package_manager: Observed::fresh(None),
                    shutting_down: Observed::fresh(false),
                    host_view: Observed::fresh(true),
                    another_episode: None,
                    ledger: Observed::fresh(()),
                },
                past: vec![],
                targets: Targets { unit: Some(Observed::fresh(units::tests::facts())), processes: vec![] },
                now: now(),
            }
        }

        fn with(step: Step, change: impl FnOnce(&mut Self)) -> Self {
            let mut world = Self::new(step);
            change(&mut world);
            world
        }

        fn answer(&self) -> Option<Why> {
            let (incident, runbook) = (IncidentId("disk-1".into()), RunbookId::new("disk"));
            let asked = Asked {
                incident: &incident,
                runbook: &runbook,
                subject: &self.subject,
                step: &self.step,
                confidence: Confidence::new(self.confidence),
            };
            let (policy, holds, past) = (&self.policy, &self.holds, &self.past);
            let here = Circumstances { policy, holds, past, targets: &self.targets, now: &self.now };
            match admit(asked, here) {
                Ok(admitted) => {
                    assert_eq!(admitted.get(), &self.step);
                    None
                }
                Err(refusal) => {
                    assert!(!refusal.detail.is_empty());
                    Some(refusal.reason)
                }
            }
        }
    }

    fn past(incident: &str, at: Now, files: u64, bytes: u64) -> PastAct {
        PastAct {
            intent: IntentId(format!("{incident}/1.1")),
            incident: IncidentId(incident.into()),
            runbook: RunbookId::new("disk"),
            subject: Subject::Filesystem { mount: "/".into(), device: 1 },
            kind: StepKind::RotatedLogs,
            at,
            files,
            bytes: Bytes(bytes),
            on: None,
        }
    }

    fn unknown<T>() -> Observed<T> {
        Observed::unavailable("could not be read")
    }

    fn bent(step: Step, change: impl FnOnce(&mut FileBatch)) -> World {
        World::with(step, |w| match &mut w.step {
            Step::CompressLogs(b) | Step::DeleteFiles(b) | Step::VacuumJournal { files: b, .. } => change(b),
            _ => panic!("no files in this step"),
        })
    }

    #[test]
    fn what_is_allowed_calm_and_plain_is_admitted() {
        let vacuum =
            Step::VacuumJournal { keep: Bytes(1), files: batch(FileFamily::JournalArchives, "/var/log/journal", "0f/system@1.journal") };
        let compress = Step::CompressLogs(batch(FileFamily::ClosedLogs, "/var/log/nginx", "old.log.1"));
        for step in [rotated(), vacuum, compress, holder("app.service"), grow("vg", 10, 12), image("app:1", 600), restart()] {
            assert_eq!(World::new(step.clone()).answer(), None, "{step:?}");
        }
    }

    /// One way at least to each reason that guard can give, and to no other.
    fn ways() -> Vec<(Why, World)> {
        let day_before = Now { wall: now().wall - jiff::SignedDuration::from_hours(23), uptime_s: now().uptime_s - 23.0 * 3600.0, ..now() };
        vec![
            (Why::ReportOnly, World::with(rotated(), |w| w.policy.mode = Mode::Observe)),
            (Why::PolicyForbids, World::with(rotated(), |w| w.policy.runbook_allowed = false)),
            (Why::PolicyForbids, World::with(rotated(), |w| w.policy.limits.steps.clear())),
            (Why::NoOptIn, World::with(rotated(), |w| w.policy.limits.mounts.clear())),
            (Why::NoOptIn, World::with(rotated(), |w| w.subject = Subject::Host)),
            (Why::NoOptIn, World::with(rotated(), |w| w.subject = Subject::Disk { name: "vda".into() })),
            (Why::NoOptIn, World::new(holder("postgresql@15-main.service"))),
            (Why::NeverList, bent(rotated(), |b| b.files = vec![target("audit/audit.log.1", 1)])),
            (Why::NeverList, bent(rotated(), |b| b.dirs = vec![target("auth.log", 1)])),
            (
                Why::NeverList,
                World::with(rotated(), |w| {
                    w.policy.limits.log_roots = vec!["/var/lib/mysql".into()];
                    w.step = Step::DeleteFiles(batch(FileFamily::RotatedLogs, "/var/lib/mysql", "x.1"));
                }),
            ),
            (
                Why::NeverList,
                World::with(rotated(), |w| {
                    w.policy.limits.log_roots = vec!["/".into()];
                    w.step = Step::DeleteFiles(batch(FileFamily::RotatedLogs, "/srv/log", "x.1"));
                }),
            ),
            (Why::NeverList, World::new(holder("sshd.service"))),
            (Why::NeverList, World::new(image("registry.k8s.io/pause:3.9", 600))),
            (Why::OutsideRoots, bent(rotated(), |b| b.root = "/var/logs".into())),
            (Why::OutsideRoots, bent(rotated(), |b| b.device = 2)),
            (Why::TooYoung, bent(rotated(), |b| b.min_age_s -= 1)),
            (Why::TooYoung, World::new(image("app:1", 599))),
            (Why::OverCap, World::with(rotated(), |w| w.policy.limits.max_files = 0)),
            (Why::OverCap, World::with(rotated(), |w| w.policy.limits.max_bytes = Bytes(4095))),
            (Why::OverCap, World::with(rotated(), |w| w.past = vec![past("disk-1", now(), 20_000, 0)])),
            (Why::OverCap, World::new(grow("vg", 499, 501))),
            (Why::Cooldown, World::with(rotated(), |w| w.past = vec![past("disk-0", day_before, 1, 1)])),
            (Why::Backoff, World::with(restart(), |w| w.past = vec![restarted(29.0)])),
            (Why::CrashLoop, World::with(restart(), |w| w.past = vec![restarted(1799.0), restarted(900.0)])),
            (Why::NoOptIn, World::with(restart(), |w| w.subject = Subject::Disk { name: "vda".into() })),
            (Why::Stale, World::with(restart(), |w| w.targets = Targets::default())),
            (Why::LowConfidence, World::with(rotated(), |w| w.confidence = 0.69)),
            (Why::Paused, World::with(rotated(), |w| w.holds.paused = Some("anna: migration".into()))),
            (Why::PackageManager, World::with(rotated(), |w| w.holds.package_manager = Observed::fresh(Some("dpkg".into())))),
            (Why::PackageManager, World::with(rotated(), |w| w.holds.package_manager = unknown())),
            (Why::ShuttingDown, World::with(rotated(), |w| w.holds.shutting_down = Observed::fresh(true))),
            (Why::ShuttingDown, World::with(rotated(), |w| w.holds.shutting_down = unknown())),
            (Why::WrongView, World::with(rotated(), |w| w.holds.host_view = Observed::fresh(false))),
            (Why::WrongView, World::with(rotated(), |w| w.holds.host_view = unknown())),
            (Why::AnotherEpisode, World::with(rotated(), |w| w.holds.another_episode = Some(IncidentId("disk-2".into())))),
            (Why::LedgerUntrusted, World::with(rotated(), |w| w.holds.ledger = unknown())),
            (Why::Malformed, bent(rotated(), |b| b.files = vec![target("../etc/passwd.1", 1)])),
            (Why::Malformed, bent(rotated(), |b| b.files = vec![target("/etc/passwd.1", 1)])),
            (Why::Malformed, bent(rotated(), |b| b.files = vec![target("", 1)])),
            (Why::Malformed, bent(rotated(), |b| b.files = vec![target("a//b.1", 1)])),
            (Why::Malformed, bent(rotated(), |b| b.root = "/var/log/../../etc".into())),
            (Why::Malformed, bent(rotated(), |b| b.root = "var/log".into())),
            (Why::Malformed, bent(rotated(), |b| b.family = FileFamily::ClosedLogs)),
            (Why::Malformed, World::new(grow("vg", 10, 10))),
            (Why::Malformed, World::new(grow("--force", 10, 12))),
        ]
    }

    #[test]
    fn every_reason_that_guard_can_give_is_reachable() {
        for (why, world) in ways() {
            assert_eq!(world.answer(), Some(why), "{:?}", world.step);
        }
        // The others are for who carries out: they are given where the step is taken.
        let elsewhere = [Why::NoActuator, Why::NotAvailable];
        let reached: BTreeSet<Why> = ways().into_iter().map(|(why, _)| why).collect();
        let all: BTreeSet<Why> = Why::ALL.iter().copied().filter(|w| !elsewhere.contains(w)).collect();
        assert_eq!(reached, all);
    }

    #[test]
    fn what_must_never_be_is_said_before_what_a_person_could_allow() {
        let worst = World::with(holder("sshd.service"), |w| {
            w.policy.mode = Mode::Observe;
            w.holds.paused = Some("x".into());
        });
        assert_eq!(worst.answer(), Some(Why::NeverList));
    }

    fn later(wall_s: i64, boot: &str, uptime_s: f64) -> Now {
        Now { wall: now().wall + jiff::SignedDuration::from_secs(wall_s), boot: BootId(boot.into()), uptime_s }
    }

    fn cooled(at: Now) -> bool {
        let world = World::with(rotated(), |w| {
            w.past = vec![past("disk-0", now(), 1, 1)];
            w.now = at;
        });
        match world.answer() {
            None => true,
            Some(Why::Cooldown) => false,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_jump_of_the_clock_shortens_a_cooldown() {
        let (day, hours) = (86_400, 7200);
        let up = now().uptime_s;
        assert!(!cooled(later(day - 1, "a", up + (day - 1) as f64)));
        assert!(cooled(later(day, "a", up + day as f64)));
        // Two hours forward, after 22: the boot clock says that they are missing.
        assert!(!cooled(later(day, "a", up + (day - hours) as f64)));
        // Two hours back, after a day: the wall clock says that they may be missing.
        assert!(!cooled(later(day - hours, "a", up + day as f64)));
        assert!(cooled(later(day, "a", up + (day + hours) as f64)));
    }

    #[test]
    fn a_cooldown_lasts_over_reboots() {
        let day = 86_400;
        assert!(!cooled(later(day - 1, "b", 100.0)));
        assert!(cooled(later(day, "b", 100.0)));
        // The clock of a machine without a battery starts long ago: only what it has been up for is certain.
        assert!(!cooled(later(-10 * day, "b", 3600.0)));
        assert!(cooled(later(-10 * day, "b", day as f64)));
    }

    #[test]
    fn a_cooldown_follows_the_filesystem_and_spares_its_own_incident() {
        let with = |subject: Subject, incident: &str| {
            let world = World::with(rotated(), |w| {
                w.past = vec![PastAct { subject, ..past(incident, now(), 1, 1) }];
            });
            world.answer()
        };
        let fs = |mount: &str, device| Subject::Filesystem { mount: mount.into(), device };
        assert_eq!(with(fs("/", 9), "disk-0"), Some(Why::Cooldown), "another device on the same mount point");
        assert_eq!(with(fs("/mnt", 1), "disk-0"), Some(Why::Cooldown), "the same device elsewhere");
        assert_eq!(with(fs("/mnt", 9), "disk-0"), None);
        assert_eq!(with(fs("/", 1), "disk-1"), None, "steps of one incident follow each other");
    }
}
