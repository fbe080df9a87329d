//! What a reader of a report wants to know of the host first.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sysinfo::{MemoryRefreshKind, System};

use super::clock;
use crate::model::Bytes;

/// As this process sees it: in a container with namespaces of its own, name and system are the container's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    pub hostname: Option<String>,
    /// `Debian GNU/Linux 12 (bookworm)`
    pub os: Option<String>,
    pub kernel: Option<String>,
    pub arch: String,
    pub cpus: usize,
    pub memory: Option<Bytes>,
    pub memory_available: Option<Bytes>,
    pub uptime_s: f64,
    pub cgroups: Cgroups,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cgroups {
    V2,
    /// v1 controllers, and the unified hierarchy beside them.
    Hybrid,
    V1,
    None,
}

/// Reads it now. What cannot be read is `None`.
pub fn facts() -> HostFacts {
    let memory = System::new().ok().map(|mut system| {
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        (Bytes(system.total_memory()), Bytes(system.available_memory()))
    });
    HostFacts {
        hostname: System::host_name().ok(),
        os: System::long_os_version().ok(),
        kernel: System::kernel_version().ok(),
        arch: System::cpu_arch(),
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory: memory.map(|(total, _)| total),
        memory_available: memory.map(|(_, available)| available),
        uptime_s: clock::uptime_s(),
        cgroups: cgroups(Path::new("/sys/fs/cgroup")),
    }
}

fn cgroups(at: &Path) -> Cgroups {
    if at.join("cgroup.controllers").exists() {
        Cgroups::V2
    } else if at.join("unified/cgroup.procs").exists() {
        Cgroups::Hybrid
    } else if at.join("memory").exists() || at.join("cpu").exists() {
        Cgroups::V1
    } else {
        Cgroups::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_a_kernel_and_memory() {
        let facts = facts();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(facts.kernel.as_deref(), Some(release.trim()));
        assert!(facts.memory.unwrap() > facts.memory_available.unwrap(), "{facts:?}");
    }
}
