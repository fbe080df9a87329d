//! `undo ID`: take back what can be taken back.

use std::time::Duration;

use anyhow::Result;

use super::args;
use super::ctx::{Ctx, Done};
use crate::report;
use crate::wire::local::{Incident, UndoAnswer, UndoAsk};

/// Unpacking many gigabytes of logs takes its time.
const PATIENCE: Duration = Duration::from_secs(1800);

pub fn run(args: &args::One, ctx: &mut Ctx<'_>) -> Result<Done> {
    // `last` and beginnings of ids are resolved by the agent, and said, before anything is changed.
    let incident: Incident = ctx.get("reading the incident", &format!("/v1/incidents/{}", super::client::segment(&args.id)))?;
    let ask = UndoAsk { incident: incident.summary.id };
    let client = ctx.client();
    let answer: UndoAnswer = ctx.progress("taking back", || client.post("/v1/undo", &ask, PATIENCE))?;
    if ctx.json {
        ctx.print_json(&answer)?;
    } else {
        let text = format!("{}:\n{}", ask.incident, report::undo(&answer, ctx.paint));
        ctx.print(&text)?;
    }
    Ok(if answer.refused.is_empty() { Done::Well } else { Done::Findings })
}
