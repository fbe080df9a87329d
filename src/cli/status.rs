//! `status`: what the agent sees now.

use anyhow::Result;

use super::ctx::{Ctx, Done};
use crate::report;
use crate::wire::local::Status;

pub fn run(ctx: &mut Ctx<'_>) -> Result<Done> {
    let status: Status = ctx.get("asking the agent", "/v1/status")?;
    if ctx.json {
        return ctx.print_json(&status);
    }
    let text = report::status(&status, ctx.paint);
    ctx.print(&text)
}
