//! What the agent's configuration means.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::dry_run::{self, dry_run};
use super::effective::{Applied, Built, Loaded, Meaning, text};
use super::layers::{self, Owner};
use super::maintenance::Window;
use super::problem::Problem;
use super::raw::{LogLevel, RawAgent};
use super::sections::Merged;
use crate::guard::{Mode, Policy};
use crate::host::JournalAsk;
use crate::model::{Percent, RunbookId, Seconds};
use crate::runbooks;

#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// As it is applied: `Observe` under a dry run, whatever was asked for.
    pub mode: Mode,
    pub dry_run: bool,
    pub state_dir: PathBuf,
    pub socket: PathBuf,
    pub actuator_socket: PathBuf,
    /// Where /metrics, /healthz and /readyz are.
    pub listen: SocketAddr,
    /// TLS, users and headers of that listener, in node_exporter's `web.config.file` format; none: plain HTTP for everybody.
    pub web_config_file: Option<PathBuf>,
    /// Whether /metrics has `node_*` beside our own: not where a node_exporter runs as well.
    pub node_metrics: bool,
    pub sample_interval: Seconds,
    /// Of one core, for sampling: above it intervals are stretched.
    pub cpu_budget_percent: Percent,
    /// The Node object, where a kubelet or a proxy serves it.
    pub node_url: Option<String>,
    /// By unit, where it tells how many requests it has answered: `http://HOST[:PORT]/PATH#COUNTER`.
    pub request_metrics: BTreeMap<String, String>,
    pub log_level: &'static str,
    pub maintenance: Vec<Window>,
    /// What is followed in the journal: entries of these units that contain one of the markers.
    pub journal: JournalAsk,
    /// First consent, on the agent's side.
    pub allow: BTreeSet<RunbookId>,
    /// Each runbook's section, resolved.
    pub params: BTreeMap<RunbookId, serde_json::Value>,
    pub policies: BTreeMap<RunbookId, Policy>,
}

/// Reads `agent.toml` and its drop-ins.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load_agent(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded<Agent>, Vec<Problem>> {
    let sources = layers::read(path, Owner::Anybody)?;
    let built = build(&sources, env)?;
    Ok(Loaded::new(path, built, sources))
}

pub(super) fn build(sources: &[layers::Source], env: &dyn Fn(&str) -> Option<String>) -> Result<Built<Agent>, Vec<Problem>> {
    let merged = Merged::new::<RawAgent>(sources, runbooks::ALL, |entry, table| (entry.resolve)(table).map(drop))?;
    let raw: RawAgent = merged.root().map_err(|p| vec![p])?;
    let (dry_run, odd) = dry_run(env);
    let mut problems = Vec::new();
    let mode = if dry_run { Mode::Observe } else { raw.mode.unwrap_or(Mode::Observe) };
    let allow: BTreeSet<RunbookId> = raw.allow.unwrap_or_default().into_iter().map(|k| k.0).collect();
    let mut maintenance = Vec::new();
    for window in raw.maintenance.unwrap_or_default() {
        match Window::new(window) {
            Ok(window) => maintenance.push(window),
            Err(why) => problems.push(merged.problem("maintenance", &why)),
        }
    }
    let (mut params, mut policies) = (BTreeMap::new(), BTreeMap::new());
    for entry in runbooks::ALL {
        match merged.section(entry, entry.resolve) {
            Ok(resolved) => {
                problems.extend(merged.idle_limits(entry, &format!("{}.limits", entry.id)));
                match (entry.problems)(&resolved) {
                    Ok(found) => problems.extend(found.iter().map(|p| merged.problem(&format!("{}.{}", entry.id, p.key), &p.why))),
                    Err(e) => problems.push(merged.problem(&entry.id.0, &e.to_string())),
                }
                match (entry.limits)(&resolved) {
                    Ok(limits) => {
                        let limits = entry.allowed(limits);
                        policies.insert(entry.id.clone(), Policy { mode, runbook_allowed: allow.contains(&entry.id), limits });
                    }
                    Err(e) => problems.push(merged.problem(&entry.id.0, &e.to_string())),
                }
                params.insert(entry.id.clone(), resolved);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let path = |asked: Option<super::raw::AbsolutePath>, default: &str| asked.map_or_else(|| default.into(), |p| p.0);
    let config = Agent {
        mode,
        dry_run,
        state_dir: path(raw.state_dir, "/var/lib/byteport"),
        socket: path(raw.socket, "/run/byteport/agent.sock"),
        actuator_socket: path(raw.actuator_socket, super::actuator::SOCKET),
        listen: raw.listen.map_or(SocketAddr::from(([127, 0, 0, 1], 9634)), |l| l.0),
        web_config_file: raw.web_config_file.map(|p| p.0),
        node_metrics: raw.node_metrics.unwrap_or(true),
        sample_interval: raw.sample_interval.map_or(Seconds(5.0), |i| i.0),
        cpu_budget_percent: raw.cpu_budget_percent.map_or(Percent(0.5), |b| b.0),
        node_url: raw.node_url.map(|u| u.0),
        request_metrics: raw.request_metrics.unwrap_or_default().into_iter().map(|(unit, metric)| (unit.0, metric.0)).collect(),
        log_level: raw.log_level.unwrap_or(LogLevel::Info).as_str(),
        maintenance,
        journal: JournalAsk {
            units: raw.journal_units.unwrap_or_default().into_iter().map(|u| u.0).collect(),
            markers: raw.journal_markers.unwrap_or_default(),
        },
        allow,
        params,
        policies,
    };
    Ok(Built { config, asked: merged.asked, notes: odd.into_iter().collect() })
}

impl Agent {
    /// Whether steps are to be done at all, as far as this side is concerned.
    pub fn is_acting(&self) -> bool {
        self.policies.values().any(|p| p.mode == Mode::Act)
    }

    /// The maintenance window that is open, in words.
    pub fn in_maintenance(&self, at: jiff::Timestamp) -> Option<String> {
        self.maintenance.iter().find(|w| w.is_open(at)).map(|w| format!("maintenance window {w}"))
    }
}

impl Meaning for Agent {
    fn applied(&self, asked: &dyn Fn(&str) -> Option<String>) -> Vec<Applied> {
        let mode = match self.mode {
            Mode::Observe => "observe",
            Mode::Act => "act",
        };
        let asked_to_act = asked("mode").is_some_and(|m| m.contains("act"));
        let because = (self.dry_run && asked_to_act).then(|| format!("{} is set in the environment", dry_run::NAME));
        let unused = (self.mode == Mode::Observe && !self.allow.is_empty()).then(|| "mode is observe: nothing is done".to_owned());
        let mut all = vec![
            Applied { because, ..Applied::new("mode", text(&mode)) },
            Applied { because: unused, ..Applied::new("allow", text(&self.allow)) },
            Applied::new("state_dir", text(&self.state_dir)),
            Applied::new("socket", text(&self.socket)),
            Applied::new("actuator_socket", text(&self.actuator_socket)),
            Applied::new("listen", text(&self.listen)),
            Applied::new("web_config_file", self.web_config_file.as_ref().map_or_else(|| "none".into(), text)),
            Applied::new("node_metrics", text(&self.node_metrics)),
            Applied::new("sample_interval", text(&self.sample_interval)),
            Applied::new("cpu_budget_percent", text(&self.cpu_budget_percent)),
            Applied::new("node_url", self.node_url.as_ref().map_or_else(|| "none".into(), text)),
            Applied::new("request_metrics", text(&self.request_metrics)),
            Applied::new("log_level", text(&self.log_level)),
            Applied::new("journal_units", text(&self.journal.units)),
            Applied::new("journal_markers", text(&self.journal.markers)),
            Applied::new("maintenance", text(&self.maintenance.iter().map(ToString::to_string).collect::<Vec<_>>())),
        ];
        for (id, params) in &self.params {
            Applied::of_section(&id.0, params, &mut all);
            Applied::drop_idle_limits(id, &format!("{id}.limits"), &mut all);
        }
        all
    }

    /// What a running agent cannot change: it holds these open.
    fn keep_until_restart(&mut self, old: &Self) -> Vec<&'static str> {
        let mut kept = Vec::new();
        let mut keep = |key, differs: bool| {
            if differs {
                kept.push(key);
            }
        };
        keep("state_dir", self.state_dir != old.state_dir);
        keep("socket", self.socket != old.socket);
        keep("listen", self.listen != old.listen);
        keep("journal_units", self.journal.units != old.journal.units);
        keep("journal_markers", self.journal.markers != old.journal.markers);
        keep("node_url", self.node_url != old.node_url);
        keep("request_metrics", self.request_metrics != old.request_metrics);
        keep("web_config_file", self.web_config_file != old.web_config_file);
        (self.state_dir, self.socket, self.listen) = (old.state_dir.clone(), old.socket.clone(), old.listen);
        self.web_config_file.clone_from(&old.web_config_file);
        self.node_url.clone_from(&old.node_url);
        self.request_metrics.clone_from(&old.request_metrics);
        self.journal.clone_from(&old.journal);
        kept
    }

    fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded<Self>, Vec<Problem>> {
        load_agent(path, env)
    }
}
