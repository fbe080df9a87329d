//! `mark-deploy NAME VERSION`: what grows after it has begun with it.

use std::time::Duration;

use anyhow::Result;

use super::args;
use super::ctx::{Ctx, Done};
use crate::wire::local::{Deployed, Marked};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn run(args: &args::MarkDeploy, ctx: &mut Ctx<'_>) -> Result<Done> {
    let ask = Deployed { name: args.name.clone(), version: args.version.clone() };
    let marked: Marked = ctx.client().post("/v1/deploys", &ask, PATIENCE)?;
    if ctx.json {
        return ctx.print_json(&marked);
    }
    ctx.print(&format!("{} {} is marked as deployed at {}\n", ask.name, ask.version, marked.at))
}
