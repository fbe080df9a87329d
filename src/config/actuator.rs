//! What the actuator's configuration means: the host's consent, which only root can give.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::dry_run::{self, dry_run};
use super::effective::{Applied, Built, Loaded, Meaning, text};
use super::findings;
use super::layers::{self, Owner};
use super::problem::Problem;
use super::raw::{AbsolutePath, LogLevel, RawActuator};
use super::sections::Merged;
use crate::guard::{Limits, Mode, Policy};
use crate::model::RunbookId;
use crate::runbooks;

pub(super) const SOCKET: &str = "/run/byteport/actuator.sock";

#[derive(Debug, Clone, PartialEq)]
pub struct Actuator {
    pub dry_run: bool,
    /// The only user, besides root, who may ask.
    pub agent_user: String,
    pub socket: PathBuf,
    pub state_dir: PathBuf,
    pub docker_socket: PathBuf,
    pub log_level: &'static str,
    /// First consent: none by default.
    pub allow: BTreeSet<RunbookId>,
    pub policies: BTreeMap<RunbookId, Policy>,
}

/// Reads `actuator.toml` and its drop-ins; all of them must be root's and nobody else's.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load_actuator(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded<Actuator>, Vec<Problem>> {
    let sources = layers::read(path, Owner::Root)?;
    let built = build(&sources, env)?;
    Ok(Loaded::new(path, built, sources))
}

pub(super) fn build(sources: &[layers::Source], env: &dyn Fn(&str) -> Option<String>) -> Result<Built<Actuator>, Vec<Problem>> {
    let merged = Merged::new::<RawActuator>(sources, runbooks::ALL, |_, table| findings::read::<Limits>(table).map(drop))?;
    let raw: RawActuator = merged.root().map_err(|p| vec![p])?;
    let (dry_run, odd) = dry_run(env);
    let mode = if dry_run { Mode::Observe } else { Mode::Act };
    let allow: BTreeSet<RunbookId> = raw.allow.unwrap_or_default().into_iter().map(|k| k.0).collect();
    let (mut policies, mut problems) = (BTreeMap::new(), Vec::new());
    for entry in runbooks::ALL {
        match merged.section(entry, findings::read::<Limits>) {
            Ok(limits) => {
                problems.extend(merged.idle_limits(entry, &entry.id.0));
                let limits = entry.allowed(limits);
                policies.insert(entry.id.clone(), Policy { mode, runbook_allowed: allow.contains(&entry.id), limits });
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let path = |asked: Option<AbsolutePath>, default: &str| asked.map_or_else(|| default.into(), |p| p.0);
    let config = Actuator {
        dry_run,
        agent_user: raw.agent_user.unwrap_or_else(|| "byteport".into()),
        socket: path(raw.socket, SOCKET),
        state_dir: path(raw.state_dir, "/var/lib/byteport-actuator"),
        docker_socket: path(raw.docker_socket, "/run/docker.sock"),
        log_level: raw.log_level.unwrap_or(LogLevel::Info).as_str(),
        allow,
        policies,
    };
    Ok(Built { config, asked: merged.asked, notes: odd.into_iter().collect() })
}

impl Meaning for Actuator {
    fn applied(&self, _asked: &dyn Fn(&str) -> Option<String>) -> Vec<Applied> {
        let because =
            (self.dry_run && !self.allow.is_empty()).then(|| format!("{} is set in the environment: nothing is done", dry_run::NAME));
        let mut all = vec![
            Applied { because, ..Applied::new("allow", text(&self.allow)) },
            Applied::new("agent_user", text(&self.agent_user)),
            Applied::new("socket", text(&self.socket)),
            Applied::new("state_dir", text(&self.state_dir)),
            Applied::new("docker_socket", text(&self.docker_socket)),
            Applied::new("log_level", text(&self.log_level)),
        ];
        for (id, policy) in &self.policies {
            // Limits are plain data: they always are JSON.
            Applied::of_section(&id.0, &serde_json::to_value(&policy.limits).unwrap_or_default(), &mut all);
            Applied::drop_idle_limits(id, &id.0, &mut all);
        }
        all
    }

    fn keep_until_restart(&mut self, old: &Self) -> Vec<&'static str> {
        let mut kept = Vec::new();
        let mut keep = |key, differs: bool| {
            if differs {
                kept.push(key);
            }
        };
        keep("state_dir", self.state_dir != old.state_dir);
        keep("socket", self.socket != old.socket);
        (self.state_dir, self.socket) = (old.state_dir.clone(), old.socket.clone());
        kept
    }

    fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded<Self>, Vec<Problem>> {
        load_actuator(path, env)
    }
}
