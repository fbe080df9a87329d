//! `incidents`: the list, and one incident's postmortem.

use anyhow::Result;

use super::args::{self, IncidentsVerb};
use super::ctx::{Ctx, Done, Loaded};
use crate::report::{self, Postmortem, Source, Story};

pub fn run(args: &args::Incidents, ctx: &mut Ctx<'_>) -> Result<Done> {
    match &args.verb {
        None => list(&args.list, ctx),
        Some(IncidentsVerb::List(args)) => list(args, ctx),
        Some(IncidentsVerb::Show(args)) => show(args, ctx),
    }
}

fn list(args: &args::List, ctx: &mut Ctx<'_>) -> Result<Done> {
    let mut found = ctx.incidents()?;
    found.retain(|i| !args.open || i.outcome.is_none());
    found.truncate(args.limit);
    if ctx.json {
        return ctx.print_json(&found);
    }
    let text = report::incidents(&found, ctx.paint);
    ctx.print(&text)
}

fn show(args: &args::Show, ctx: &mut Ctx<'_>) -> Result<Done> {
    let Loaded { incident, host } = ctx.incident(&args.id)?;
    let story = Story::of(&incident.summary, &incident.entries);
    let from = Source { host: Some(&host), agent_version: &incident.agent_version, record_doubt: incident.chain.why() };
    let postmortem = Postmortem::of(&story, from);
    if ctx.json {
        return ctx.print_json(&postmortem);
    }
    let text = if args.markdown { postmortem.markdown() } else { postmortem.text(ctx.paint) };
    ctx.print(&text)
}
