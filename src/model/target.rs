//! What a step would act on, as it is in this moment: asked again right before the act, on both sides of the socket.

use serde::{Deserialize, Serialize};

use super::{Bytes, HostPath, Observed};

/// One systemd unit with what a decision about it needs, from systemd itself and from its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitFacts {
    pub name: String,
    /// `active`, `failed`, `activating` … as systemd says it.
    pub active: String,
    /// systemd's number for this run of the unit, in hexadecimal: another start has another one. Empty while it does not run.
    pub invocation: String,
    /// Seconds on the monotonic clock since it became active.
    pub active_for_s: f64,
    /// How often systemd has restarted it by itself.
    pub restarts: u32,
    /// The interval of its start limit; 0: it has none.
    pub start_limit_s: f64,
    /// Somebody or something has queued a job for it.
    pub job_queued: bool,
    /// `[X-Byteport] Restart=safe` in the unit or a drop-in.
    pub restart_safe: bool,
    pub main_pid: Option<u32>,
    /// Below the hierarchy's root: `/system.slice/nginx.service`. Empty while it has none.
    pub cgroup: HostPath,
    /// Limits in force; `None`: none is set.
    pub memory_high: Option<Bytes>,
    pub memory_max: Option<Bytes>,
    /// `CPUWeight=`; `None`: the kernel's own.
    pub cpu_weight: Option<u64>,
    /// `CPUQuota=` in percent of one CPU.
    pub cpu_quota_percent: Option<u64>,
}

/// One process. Everything is of one moment and of one process: the start time was the same before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessFacts {
    pub pid: u32,
    /// Clock ticks since boot: with the pid, who it is.
    pub start_ticks: u64,
    /// As the kernel has it, at most 15 bytes; any bytes.
    pub comm: HostPath,
    pub age_s: f64,
    pub parent: u32,
    /// The unit of the host's systemd to which its cgroup belongs, `None` where there is none.
    pub unit: Option<String>,
    pub cgroup: HostPath,
    pub kernel_thread: bool,
    /// SCHED_FIFO, SCHED_RR or SCHED_DEADLINE.
    pub realtime: bool,
    /// SCHED_IDLE.
    pub idle_class: bool,
    pub nice: i32,
    pub oom_score_adj: i32,
    pub uid: u32,
}

/// All of what a step would act on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// `None`: the step names no unit.
    pub unit: Option<Observed<UnitFacts>>,
    /// In the order in which the step names them.
    pub processes: Vec<Observed<ProcessFacts>>,
}

/// The system service that a cgroup belongs to, by its path below the hierarchy's root: what is reached through slices alone. What lies
/// deeper (a container's own units, those of a user's manager) may bear the names of services that they are not.
pub fn service_of(cgroup: &HostPath) -> Option<String> {
    let mut parts = cgroup.as_bytes().split(|b| *b == b'/').filter(|part| !part.is_empty());
    let first = parts.find(|part| !part.ends_with(b".slice"))?;
    first.ends_with(b".service").then(|| String::from_utf8(first.to_vec()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_own_units_are_none_of_the_host_s() {
        let of = |path: &str| service_of(&path.into());
        assert_eq!(of("/system.slice/nginx.service").as_deref(), Some("nginx.service"));
        assert_eq!(of("/system.slice/system-pg.slice/pg@14.service/workers").as_deref(), Some("pg@14.service"));
        assert_eq!(of("/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service").as_deref(), Some("user@1000.service"));
        let others =
            ["/system.slice/docker-1f.scope/system.slice/nginx.service", "/docker/1f/system.slice/nginx.service", "/init.scope", "/", ""];
        assert!(others.iter().all(|path| of(path).is_none()));
    }
}
