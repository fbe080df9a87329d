//! Out-of-memory kills by cgroup: the kernel log may be closed to us, or have dropped the line; each group's own count is still there.

use serde::{Deserialize, Serialize};

use crate::model::{HostPath, Observed, Sample};

/// One group, as of the last sample in which groups could be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupKills<'a> {
    pub path: &'a HostPath,
    /// Boot-clock seconds at which the count was last found to have risen.
    pub rose_s: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kills {
    groups: Vec<Counted>,
    /// The whole host's count, and when it was last found to have risen.
    host: Option<u64>,
    host_rose_s: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counted {
    path: HostPath,
    kills: Option<u64>,
    rose_s: Option<f64>,
}

impl Kills {
    /// More than samples name: the largest and the hottest.
    const MAX_GROUPS: usize = 256;

    pub(super) fn push(&mut self, sample: &Sample) {
        if let Observed::Value { value, age_s } = &sample.readings.vmstat
            && let Some(kills) = value.iter().find(|c| &*c.name == "oom_kill").map(|c| c.value)
        {
            if self.host.is_some_and(|was| kills > was) {
                self.host_rose_s = Some(sample.at.uptime_s - age_s);
            }
            self.host = Some(kills);
        }
        let Observed::Value { value, age_s } = &sample.readings.cgroups else { return };
        let read_s = sample.at.uptime_s - age_s;
        let before = std::mem::take(&mut self.groups);
        let known = |path: &HostPath| before.iter().find(|g| g.path == *path);
        self.groups = value
            .top
            .iter()
            .take(Self::MAX_GROUPS)
            .map(|group| {
                let known = known(&group.path);
                // A group met for the first time may have counted long ago; one that was made anew counts from nothing, which is no rise.
                let rose = known.and_then(|k| k.kills).zip(group.oom_kills).is_some_and(|(was, is)| is > was);
                Counted {
                    path: group.path.clone(),
                    kills: group.oom_kills.or_else(|| known.and_then(|k| k.kills)),
                    rose_s: if rose { Some(read_s) } else { known.and_then(|k| k.rose_s) },
                }
            })
            .collect();
    }

    /// How long ago, in seconds before `now_s`, the host's count rose; infinite if it has not. `None`: it was never read.
    pub(super) fn host_ago_s(&self, now_s: f64) -> Option<f64> {
        self.host.map(|_| self.host_rose_s.map_or(f64::INFINITY, |rose_s| now_s - rose_s))
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = GroupKills<'_>> {
        self.groups.iter().map(|g| GroupKills { path: &g.path, rose_s: g.rose_s })
    }
}
