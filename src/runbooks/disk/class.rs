//! What can be wrong with a filesystem, least harm first.

use crate::model::FileFamily;
use crate::runbooks::ClassSpec;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    LogGrowth,
    JournalGrowth,
    TmpAccumulation,
    PackageCache,
    ContainerImages,
    CoreDumps,
    DeletedOpenFiles,
    InodeSmallFiles,
    RunawayWriter,
    DataGrowth,
    IoBound,
    FilesystemFault,
    Unknown,
}

pub(super) const CLASSES: &[ClassSpec] = &[
    spec(Class::LogGrowth, "logs, closed or rotated, hold what must go", false),
    spec(Class::JournalGrowth, "the journal is larger than it should be", false),
    spec(Class::TmpAccumulation, "temporary files that nobody used for a day", false),
    spec(Class::PackageCache, "packages that can be fetched again", false),
    spec(Class::ContainerImages, "images that no container uses", false),
    spec(Class::CoreDumps, "old core dumps", false),
    spec(Class::DeletedOpenFiles, "deleted files that a process still has open", false),
    spec(Class::InodeSmallFiles, "inodes run out: too many small files", false),
    spec(Class::RunawayWriter, "one process fills faster than cleaning frees", true),
    spec(Class::DataGrowth, "what grows is application data: never touched", true),
    spec(Class::IoBound, "the disk has more to do than it can", true),
    spec(Class::FilesystemFault, "the filesystem is read-only after an error, counts errors, or does not answer", true),
    spec(Class::Unknown, "nothing that was looked at explains it", true),
];

const fn spec(class: Class, meaning: &'static str, always_escalates: bool) -> ClassSpec {
    ClassSpec { name: class.as_str(), meaning, always_escalates }
}

impl Class {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::LogGrowth => "log_growth",
            Self::JournalGrowth => "journal_growth",
            Self::TmpAccumulation => "tmp_accumulation",
            Self::PackageCache => "package_cache",
            Self::ContainerImages => "container_images",
            Self::CoreDumps => "core_dumps",
            Self::DeletedOpenFiles => "deleted_open_files",
            Self::InodeSmallFiles => "inode_small_files",
            Self::RunawayWriter => "runaway_writer",
            Self::DataGrowth => "data_growth",
            Self::IoBound => "io_bound",
            Self::FilesystemFault => "filesystem_fault",
            Self::Unknown => "unknown",
        }
    }

    pub(super) const fn of(family: FileFamily) -> Self {
        match family {
            FileFamily::ClosedLogs | FileFamily::RotatedLogs | FileFamily::WalArchives => Self::LogGrowth,
            FileFamily::JournalArchives => Self::JournalGrowth,
            FileFamily::Tmp => Self::TmpAccumulation,
            FileFamily::PackageCache | FileFamily::PipCache | FileFamily::NpmCache => Self::PackageCache,
            FileFamily::CoreDumps => Self::CoreDumps,
        }
    }

    /// Nothing that this runbook can do helps against the class of that name.
    pub(super) fn is_beyond_cleaning(name: &str) -> bool {
        [Self::IoBound, Self::FilesystemFault].iter().any(|c| c.as_str() == name)
    }
}
