//! `pause` and `resume`: a person comes first.

use std::time::Duration;

use anyhow::Result;

use super::args;
use super::ctx::{Ctx, Done};
use crate::model::RunbookId;
use crate::report;
use crate::wire::local::{Pause, Resume, Status};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn pause(args: &args::Pause, ctx: &mut Ctx<'_>) -> Result<Done> {
    let ask = Pause {
        runbook: runbook(args.runbook.as_deref()),
        for_s: args.for_s,
        by: args.why.clone().unwrap_or_else(|| "byteportctl pause".into()),
        since: None,
    };
    let status: Status = ctx.client().post("/v1/pause", &ask, PATIENCE)?;
    pauses(&status, ctx)
}

pub fn resume(args: &args::Resume, ctx: &mut Ctx<'_>) -> Result<Done> {
    let status: Status = ctx.client().post("/v1/resume", &Resume { runbook: runbook(args.runbook.as_deref()) }, PATIENCE)?;
    pauses(&status, ctx)
}

fn runbook(name: Option<&str>) -> Option<RunbookId> {
    name.map(|n| RunbookId(n.to_owned().into()))
}

fn pauses(status: &Status, ctx: &mut Ctx<'_>) -> Result<Done> {
    if ctx.json {
        return ctx.print_json(&status.pauses);
    }
    let text = report::pauses(&status.pauses);
    ctx.print(&text)
}
