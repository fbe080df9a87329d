//! `config --effective`: asked for, applied, and why they differ.

use anyhow::Result;

use super::args;
use super::ctx::{Ctx, Done};
use crate::report;
use crate::wire::local::ConfigView;

pub fn run(_: &args::Config, ctx: &mut Ctx<'_>) -> Result<Done> {
    let view: ConfigView = ctx.get("asking the agent", "/v1/config")?;
    if ctx.json {
        return ctx.print_json(&view);
    }
    let text = report::config(&view, ctx.paint);
    ctx.print(&text)
}
