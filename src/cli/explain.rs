//! `explain ID`: why it was done like this.

use anyhow::Result;

use super::args;
use super::ctx::{Ctx, Done};
use crate::report::{self, Story};

pub fn run(args: &args::One, ctx: &mut Ctx<'_>) -> Result<Done> {
    let loaded = ctx.incident(&args.id)?;
    if ctx.json {
        // The record itself: everything that the text is made from.
        return ctx.print_json(&loaded.incident);
    }
    let story = Story::of(&loaded.incident.summary, &loaded.incident.entries);
    let mut text = report::explain(&story, ctx.paint);
    if let Some(escalation) = report::escalation(&story, ctx.paint) {
        text += &format!("\n{escalation}");
    }
    ctx.print(&text)
}
