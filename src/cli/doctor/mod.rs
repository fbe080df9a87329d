//! `doctor`: is this host ready, and what to do about each finding.

mod judge;

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::args;
use super::ctx::{Ctx, Done};
use crate::config;
use crate::host::readiness::read_readiness;
use crate::model::Observed;
use crate::report::{self, Level};
use crate::wire::local::Status;

const STATE_DIR: &str = "/var/lib/byteport";

pub fn run(args: &args::Doctor, ctx: &mut Ctx<'_>) -> Result<Done> {
    let below_root = |path: &Path| args.root.join(path.strip_prefix("/").unwrap_or(path));
    let agent_toml = below_root(&args.config);
    let nothing_set = |_: &str| None;
    let loaded = config::load_agent(&agent_toml, &nothing_set);
    let state_dir = match (&ctx.state_dir, &loaded) {
        (Some(dir), _) => dir.clone(),
        (None, Ok(loaded)) => loaded.config.state_dir.clone(),
        (None, Err(_)) => PathBuf::from(STATE_DIR),
    };
    let mut host = ctx.progress("looking at the host", || read_readiness(&args.root, &state_dir))?;
    // Of several agents (tests, containers) the one that answers here is meant.
    if let (Some(pid), Observed::Value { value: agents, .. }) = (ctx.client().agent_pid(), &mut host.agents)
        && agents.iter().any(|a| a.pid == pid)
    {
        agents.retain(|a| a.pid == pid);
    }
    let status = ctx.get::<Status>("asking the agent", "/v1/status");

    let actuator_toml = agent_toml.with_file_name("actuator.toml");
    let mut findings = judge::host(&host, &state_dir);
    findings.push(judge::config("agent.toml", &agent_toml, loaded.as_ref().err().map(Vec::as_slice).unwrap_or_default()));
    findings.push(judge::config("actuator.toml", &actuator_toml, &config::check(&actuator_toml)));
    findings.extend(judge::agent(&status));
    if ctx.json {
        ctx.print_json(&findings)?;
    } else {
        let text = report::doctor(&findings, ctx.paint);
        ctx.print(&text)?;
    }
    Ok(if findings.iter().all(|f| f.level == Level::Ok) { Done::Well } else { Done::Findings })
}
