//! What can be wrong with a host's processors, in the order in which it is looked for: the first that matches is the diagnosis.

use crate::runbooks::ClassSpec;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Steal,
    IoWait,
    LimitThrottling,
    CronFanout,
    DeployRegression,
    RunawayProcess,
    ForkStorm,
    FleetWide,
    LegitimateLoad,
    Unknown,
}

pub(super) const CLASSES: &[ClassSpec] = &[
    spec(Class::Steal, "the hypervisor gives this machine less than it asks for", true),
    spec(Class::IoWait, "processors wait for storage: not a matter of CPU", true),
    spec(Class::LimitThrottling, "a CPU quota is too small for what runs under it", true),
    spec(Class::CronFanout, "jobs of cron or at run over each other", false),
    spec(Class::DeployRegression, "what was released within the hour uses more than the release before", true),
    spec(Class::RunawayProcess, "one process runs flat out and gets nothing done", false),
    spec(Class::ForkStorm, "processes are made faster than they can be run", false),
    spec(Class::FleetWide, "most of the fleet is saturated: nothing is done on one host", true),
    spec(Class::LegitimateLoad, "there is that much to do", false),
    spec(Class::Unknown, "nothing that was looked at explains it", true),
];

const fn spec(class: Class, meaning: &'static str, always_escalates: bool) -> ClassSpec {
    ClassSpec { name: class.as_str(), meaning, always_escalates }
}

impl Class {
    pub(super) const ALL: [Self; 10] = [
        Self::Steal,
        Self::IoWait,
        Self::LimitThrottling,
        Self::CronFanout,
        Self::DeployRegression,
        Self::RunawayProcess,
        Self::ForkStorm,
        Self::FleetWide,
        Self::LegitimateLoad,
        Self::Unknown,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Steal => "steal",
            Self::IoWait => "io_wait",
            Self::LimitThrottling => "limit_throttling",
            Self::CronFanout => "cron_fanout",
            Self::DeployRegression => "deploy_regression",
            Self::RunawayProcess => "runaway_process",
            Self::ForkStorm => "fork_storm",
            Self::FleetWide => "fleet_wide",
            Self::LegitimateLoad => "legitimate_load",
            Self::Unknown => "unknown",
        }
    }

    pub(super) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|class| class.as_str() == name).unwrap_or(Self::Unknown)
    }
}
