//! The whole ladder that is allowed, least harmful first. The engine reads usage after each step and stops at the floor, so every step
//! is planned as if the ones before it had freed nothing.

use super::Params;
use super::batches::{self, Budget};
use super::class::Class;
use super::escalate;
use super::evidence::Evidence;
use super::need::Need;
use super::offers::{Load, Offer, ladder};
use crate::model::{Bytes, Diagnosis, Plan, StepKind, Subject, Unavailable};

pub(super) const STEPS: &[StepKind] = &[
    StepKind::CompressLogs,
    StepKind::RotatedLogs,
    StepKind::WalArchives,
    StepKind::VacuumJournal,
    StepKind::Tmp,
    StepKind::PruneImages,
    StepKind::PackageCache,
    StepKind::PipCache,
    StepKind::NpmCache,
    StepKind::CoreDumps,
    StepKind::GrowVolume,
    StepKind::RestartHolder,
];

pub(super) fn plan(evidence: &Evidence, diagnosis: &Diagnosis, params: &Params) -> Plan {
    let mut plan =
        Plan { subject: evidence.subject.clone(), steps: Vec::new(), escalate: None, follow_ups: Vec::new(), not_available: Vec::new() };
    let need = evidence.usage.value().and_then(|u| Need::of(u, evidence.growth.value(), &evidence.signals, params));
    if let (Some(mount), Some(need)) = (evidence.mount.value(), need.filter(|n| !n.is_met())) {
        let rate = evidence.growth.value().map_or(0.0, |g| g.bytes_per_s);
        let (target, mut budget) = (batches::target(need, rate), Budget::new(params));
        let hands_off = hands_off(evidence, diagnosis);
        for offer in ladder(evidence, params) {
            let what = describe(&offer);
            let refused = hands_off.map(str::to_owned).or_else(|| against(&offer, need, diagnosis, params));
            let step = match refused {
                Some(why) => Err(why),
                None => batches::step(offer, mount.device, target, &mut budget, params),
            };
            match step {
                Ok((step, said)) => {
                    plan.steps.push(step);
                    plan.not_available.extend(said.into_iter().map(|why| Unavailable { what: what.clone(), why }));
                }
                Err(why) => plan.not_available.push(Unavailable { what, why }),
            }
        }
    }
    not_here(evidence, params, &mut plan);
    plan.escalate = escalate::reason(evidence, diagnosis, &plan.steps, need);
    plan.follow_ups = escalate::follow_ups(evidence, diagnosis);
    plan
}

/// Why no step at all helps, or none may be taken.
fn hands_off(evidence: &Evidence, diagnosis: &Diagnosis) -> Option<&'static str> {
    if Class::is_beyond_cleaning(&diagnosis.class) {
        return Some("cleaning does not help against this");
    }
    match evidence.subject {
        Subject::Filesystem { .. } => None,
        Subject::Disk { .. } | Subject::Host | Subject::Unit { .. } | Subject::Process { .. } => {
            Some("only a filesystem that has opted in is cleaned; its own signals do that")
        }
    }
}

/// Why this one is not planned.
fn against(offer: &Offer, need: Need, diagnosis: &Diagnosis, params: &Params) -> Option<String> {
    match offer.kind {
        _ if matches!(offer.load, Load::Nothing) => None,
        StepKind::RestartHolder if diagnosis.class != Class::DeletedOpenFiles.as_str() => {
            Some("a service is restarted only when deleted files are the cause".to_owned())
        }
        StepKind::CompressLogs if need.bytes == 0 => Some("frees no inodes".to_owned()),
        kind if !params.limits.steps.contains(&kind) => Some(format!("not allowed: add \"{}\" to steps of [disk.limits]", kind.as_str())),
        _ => None,
    }
}

fn describe(offer: &Offer) -> String {
    let kind = offer.kind.as_str();
    match &offer.load {
        Load::Files(files) => format!("{kind} under {} ({} in {} files)", files.root, Bytes(offer.bytes), files.files.len()),
        Load::Images(images) => format!("{kind} ({} in {} images)", Bytes(offer.bytes), images.len()),
        Load::Whole(_) => format!("{kind} ({})", Bytes(offer.bytes)),
        Load::Nothing => kind.to_owned(),
    }
}

/// Rungs of the ladder that could not be looked at, or that this version does not have.
fn not_here(evidence: &Evidence, params: &Params, plan: &mut Plan) {
    let mut say = |what: &str, why: &str| plan.not_available.push(Unavailable { what: what.to_owned(), why: why.to_owned() });
    if let Some(why) = evidence.scan.why() {
        say("steps on files", why);
    } else if let Some(why) = evidence.tmp_exclusions.why() {
        say(StepKind::Tmp.as_str(), &format!("what tmpfiles.d excludes is not known: {why}"));
    }
    if params.limits.wal_archive_roots.is_empty() {
        say(StepKind::WalArchives.as_str(), "no directory is named in wal_archive_roots");
    }
    if let Some(why) = evidence.images.why() {
        say(StepKind::PruneImages.as_str(), why);
    }
    if let Some(why) = evidence.volume.why() {
        say(StepKind::GrowVolume.as_str(), why);
    }
    if let Some(why) = evidence.held.why() {
        say(StepKind::RestartHolder.as_str(), why);
    }
    say("images of containerd and CRI-O", "not available here: this version prunes through docker only");
    say("cloud volumes", "not available here: this version grows logical volumes only");
}
