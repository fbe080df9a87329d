//! `plan RUNBOOK [--mount PATH | --unit NAME]`: what would be done now.

use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use anyhow::Result;

use super::args;
use super::ctx::{Ctx, Done};
use crate::model::{HostPath, RunbookId};
use crate::report;
use crate::wire::local::{PlanAnswer, PlanAsk};

/// A full look at a large filesystem has its own deadline, well below this.
const PATIENCE: Duration = Duration::from_secs(180);

pub fn run(args: &args::Plan, ctx: &mut Ctx<'_>) -> Result<Done> {
    let mount = args.mount.as_ref().map(|path| HostPath::from_bytes(path.as_bytes()));
    let ask = PlanAsk { runbook: RunbookId(args.runbook.clone().into()), mount, unit: args.unit.clone() };
    let client = ctx.client();
    let answer: PlanAnswer = ctx.progress("looking at the host", || client.post("/v1/plan", &ask, PATIENCE))?;
    if ctx.json {
        return ctx.print_json(&answer);
    }
    let text = report::plan(&answer.diagnosis, &answer.plan, &answer.refusals, ctx.paint);
    ctx.print(&text)
}
