//! What a step would act on, as it is in this moment: asked again right before the act, on both sides of the socket. For a step which systemd has
//! no part in, a unit may be told of as systemd described it up to 90 s ago, while it is proved to be in the same run (`ReadHost::unit_at_once`).

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
    /// Units that systemd restarts whenever it restarts this one: they require it, are bound to it or are part of it. Facts from before this was
    /// read have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarts_too: Vec<String>,
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

/// The unit of the host's systemd that a cgroup belongs to, by its path below the hierarchy's root: below slices, the first group that is none.
/// What lies deeper was made by somebody else, a user's systemd or that of a container, and may have the name of a unit that is the host's.
pub fn unit_of(cgroup: &HostPath) -> Option<&str> {
    // Above the root of our own namespace the kernel writes `..`.
    let mut parts = cgroup.as_bytes().split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b"..");
    let first = std::str::from_utf8(parts.find(|part| !part.ends_with(b".slice"))?).ok()?;
    let is_unit = first.ends_with(".service") || first.ends_with(".scope");
    (is_unit && !first.chars().any(char::is_control)).then_some(first)
}

/// The unit that can consent for what runs in a cgroup. A login session is none: what was left behind in it is nobody's, and is told by its name.
pub fn owner_of(cgroup: &HostPath) -> Option<String> {
    unit_of(cgroup).filter(|unit| !(unit.starts_with("session-") && unit.ends_with(".scope"))).map(str::to_owned)
}

/// The system service that a cgroup belongs to.
pub fn service_of(cgroup: &HostPath) -> Option<String> {
    owner_of(cgroup).filter(|unit| unit.ends_with(".service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_s_unit_is_the_first_below_slices_and_nothing_that_is_named_like_one_deeper() {
        for (path, unit) in [
            ("/system.slice/nginx.service", Some("nginx.service")),
            ("/system.slice/system-pg.slice/pg@14.service/workers", Some("pg@14.service")),
            ("/system.slice/docker-1f.scope/system.slice/nginx.service", Some("docker-1f.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service", Some("user@1000.service")),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
            ("/../../system.slice/nginx.service/worker", Some("nginx.service")),
            ("/docker/1f/system.slice/nginx.service", None),
            ("/lxc.payload.web/system.slice/nginx.service", None),
            ("/user.slice", None),
            ("/", None),
            ("", None),
            ("/x\n.service", None),
        ] {
            let path = HostPath::from(path);
            assert_eq!(unit_of(&path), unit, "{path}");
            assert_eq!(owner_of(&path).as_deref(), unit.filter(|u| *u != "session-3.scope"), "{path}");
            assert_eq!(service_of(&path).as_deref(), unit.filter(|u| u.ends_with(".service")), "{path}");
        }
        assert_eq!(unit_of(&HostPath::from_bytes(*b"/\xff.service")), None);
    }
}
