//! What can be wrong, in the order in which it is asked: the first that fits is the diagnosis.

use crate::runbooks::ClassSpec;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    PageCacheOnly,
    DeployRegression,
    RuntimeMisconfig,
    NoisyNeighbor,
    MemoryLeak,
    TrafficSpike,
    UndersizedLimit,
    Unknown,
}

pub(super) const CLASSES: &[ClassSpec] = &[
    spec(Class::PageCacheOnly, "what looks used is page cache, which the kernel gives back", false),
    spec(Class::DeployRegression, "the growth began with a release less than an hour ago", true),
    spec(Class::RuntimeMisconfig, "a runtime may make its heap larger than the unit's limit", true),
    spec(Class::NoisyNeighbor, "the host is short, and one group or process is well beyond its usual", false),
    spec(Class::MemoryLeak, "it has risen for hours, or over several restarts, and not with its load", false),
    spec(Class::TrafficSpike, "memory follows the rate of requests", true),
    spec(Class::UndersizedLimit, "it needs a little less than its limit, all the time", true),
    spec(Class::Unknown, "nothing that was looked at explains it", true),
];

const fn spec(class: Class, meaning: &'static str, always_escalates: bool) -> ClassSpec {
    ClassSpec { name: class.as_str(), meaning, always_escalates }
}

impl Class {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::PageCacheOnly => "page_cache_only",
            Self::DeployRegression => "deploy_regression",
            Self::RuntimeMisconfig => "runtime_misconfig",
            Self::NoisyNeighbor => "noisy_neighbor",
            Self::MemoryLeak => "memory_leak",
            Self::TrafficSpike => "traffic_spike",
            Self::UndersizedLimit => "undersized_limit",
            Self::Unknown => "unknown",
        }
    }

    pub(super) fn named(name: &str) -> Self {
        let all = [
            Self::PageCacheOnly,
            Self::DeployRegression,
            Self::RuntimeMisconfig,
            Self::NoisyNeighbor,
            Self::MemoryLeak,
            Self::TrafficSpike,
            Self::UndersizedLimit,
        ];
        all.into_iter().find(|c| c.as_str() == name).unwrap_or(Self::Unknown)
    }

    /// As sure as anybody can be of it, when everything was seen and it explains all of the excess.
    pub(super) const fn at_most(self) -> f64 {
        match self {
            Self::PageCacheOnly => 0.95,
            Self::DeployRegression => 0.88,
            Self::RuntimeMisconfig => 0.92,
            Self::NoisyNeighbor | Self::MemoryLeak => 0.85,
            Self::TrafficSpike => 0.80,
            Self::UndersizedLimit => 0.84,
            Self::Unknown => 0.0,
        }
    }

    /// Something may be done about it by itself.
    pub(super) const fn is_acted_on(self) -> bool {
        matches!(self, Self::NoisyNeighbor | Self::MemoryLeak)
    }
}
