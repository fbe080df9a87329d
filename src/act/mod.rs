//! The acting half: the only code that changes a host, and the socket it is asked through.
//!
//! [`server`] checks who asks, asks [`crate::guard`] again, writes the intent down, and calls [`perform`] with what guard admitted.
//! One file a family of steps, each with its undo. [`client`] is the agent's end of the socket.

mod beneath;
mod bounded;
mod calm;
pub mod client;
mod compress;
mod desk;
mod docker;
mod files;
mod heap;
mod holder;
mod images;
mod journal;
mod limits;
mod preference;
mod processes;
mod programs;
mod scene;
pub mod server;
mod systemd;
mod tally;
mod units;
mod volume;

pub use scene::Scene;
use tally::Tally;

use crate::guard::Admitted;
use crate::model::{Effect, Refusal, RefusalReason, Step, StepKind};

/// Carries out one admitted step. What cannot be done is in the effect; this does not fail.
pub fn perform(step: &Admitted<Step>, scene: &Scene<'_>) -> Effect {
    match step.get() {
        Step::CompressLogs(batch) => compress::compress(batch, scene),
        Step::DeleteFiles(batch) => files::delete(batch, scene),
        Step::VacuumJournal { keep, files } => journal::vacuum(*keep, files, scene),
        Step::PruneImages { images, min_age_s } => images::prune(images, *min_age_s, scene),
        Step::GrowVolume(grow) => volume::grow(grow, scene),
        Step::RestartHolder(holder) => holder::let_go(holder, scene),
        Step::LimitUnit(limit) => limits::limit(limit, scene),
        Step::RestartUnit(target) => units::restart(target, scene),
        Step::PreferVictims(preference) => preference::prefer(preference, scene),
        Step::CalmProcess(process) => calm::calm(process, scene),
        Step::KillProcess { process, grace_s } => processes::kill(process, *grace_s, scene),
        Step::SnapshotHeap(snapshot) => heap::snapshot(snapshot, scene),
    }
}

/// Takes back what an act of this kind did, from the notes it left in the ledger.
///
/// # Errors
/// A refusal where there is nothing that could be taken back, or where what stands could not be: then it may be tried again.
pub fn undo(kind: StepKind, notes: &[serde_json::Value], scene: &Scene<'_>) -> Result<Effect, Refusal> {
    let never = |why: &str| Err(Refusal::new(RefusalReason::NotAvailable, format!("{} cannot be taken back: {why}", kind.as_str())));
    match kind {
        StepKind::CompressLogs => Ok(compress::unpack(notes, scene)),
        StepKind::RotatedLogs
        | StepKind::WalArchives
        | StepKind::Tmp
        | StepKind::PackageCache
        | StepKind::PipCache
        | StepKind::NpmCache
        | StepKind::CoreDumps => never("the files are gone"),
        StepKind::VacuumJournal => never("the archived journal files are gone"),
        StepKind::PruneImages => never("the engine has no network of ours; pull the digests that the incident names"),
        StepKind::GrowVolume => never("filesystems are not shrunk while they are in use"),
        StepKind::RestartHolder | StepKind::RestartUnit => never("the service runs again already"),
        StepKind::HeapSnapshot => never("the snapshot is evidence and stays"),
        StepKind::KillProcess => never("the process is gone"),
        StepKind::CpuWeight | StepKind::CpuQuota | StepKind::MemoryHigh => limits::lift(notes, scene),
        StepKind::OomPreference => preference::restore(notes, scene),
        StepKind::CalmProcess => calm::wake(notes, scene),
    }
}
