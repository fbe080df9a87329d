//! How each step is taken back, as a plan says it.

use super::{FileFamily, Step, Undo};

impl Step {
    pub fn undo(&self) -> Undo {
        let none = |why: &str| Undo::None { why: why.to_owned() };
        let by_actuator = |how: &str| Undo::ByActuator { how: how.to_owned() };
        let on_resolve = |how: &str| Undo::OnResolve { how: how.to_owned() };
        match self {
            Self::CompressLogs(_) => by_actuator("each file is unpacked again, while there is room for it"),
            Self::DeleteFiles(batch) => match batch.family {
                FileFamily::PackageCache | FileFamily::PipCache | FileFamily::NpmCache => none("can be fetched again"),
                _ => none("deleted files are gone; they were old and nobody had them open"),
            },
            Self::VacuumJournal { .. } => none("old journal entries are gone, the newest stay"),
            Self::PruneImages { .. } => by_actuator("each image is pulled again by its digest"),
            Self::GrowVolume(_) => none("a filesystem that is in use is not shrunk"),
            Self::RestartHolder(_) | Self::RestartUnit(_) => none("a restart cannot be taken back; the unit has said that it is safe"),
            Self::PreferVictims(_) => on_resolve("each process is given the oom_score_adj that it had"),
            Self::LimitUnit(_) => on_resolve("the unit is given the limit that it had"),
            Self::CalmProcess(_) => on_resolve("the process is given the scheduling class and nice value that it had"),
            Self::SnapshotHeap(_) => none("the snapshot is evidence and stays; delete it when it was looked at"),
            Self::KillProcess { .. } => none("a process that was ended cannot be brought back; its name was opted in"),
        }
    }
}
