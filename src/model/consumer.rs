//! What a diagnosis wants to know of single processes, and of what was released lately.

use serde::{Deserialize, Serialize};

use super::{Bytes, Observed, ProcessFacts};

/// Who it is and what it uses. Counters are since its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessDetail {
    pub facts: ProcessFacts,
    pub state: char,
    pub rss: Bytes,
    pub swap: Bytes,
    /// Pages that are shared are divided among those who share them.
    pub pss: Observed<Bytes>,
    pub cpu_ticks: u64,
    /// Bytes read and written through system calls, the page cache included (`rchar` + `wchar`).
    pub io_bytes: Observed<u64>,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
    pub threads: u64,
}

/// One setting of a runtime's heap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapSetting {
    pub runtime: Runtime,
    /// As it was written: `-Xmx2g`, `GOMEMLIMIT=1GiB`.
    pub written: String,
    /// What it comes to.
    pub bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    Jvm,
    Node,
    Go,
}

/// Something was released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// The package, or the name that was marked.
    pub name: String,
    pub version: String,
    pub at: jiff::Timestamp,
    pub source: DeploySource,
    /// Unit files that the package brought, by name, as far as its list of files tells.
    pub units: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploySource {
    Dpkg,
    Rpm,
    /// `byteportctl mark-deploy`, or a file in the folder of markers.
    Marker,
    /// The unit of that name was started anew, and not by this agent or by systemd's own `Restart=`.
    Restart,
}

impl Deploy {
    /// What happened, with names that others chose as they are.
    pub fn event(&self) -> String {
        match self.source {
            DeploySource::Restart => format!("{} was started anew", self.name),
            DeploySource::Dpkg | DeploySource::Rpm | DeploySource::Marker => {
                format!("{} was released", format!("{} {}", self.name, self.version).trim_end())
            }
        }
    }

    /// Whether it released this unit: by its files, or by its name.
    pub fn is_of(&self, unit: &str) -> bool {
        let stem = unit.split_once('.').map_or(unit, |(stem, _)| stem);
        let template = stem.split_once('@').map_or(stem, |(template, _)| template);
        self.units.iter().any(|u| u == unit || u.strip_suffix("@.service") == Some(template)) || self.name == unit || self.name == template
    }
}
