//! `catalog`: what BytePort knows to look for and to do.

use anyhow::{Result, bail};

use super::args;
use super::ctx::{Ctx, Done};
use crate::report::{self, CatalogEntry, Term};
use crate::runbooks;

pub fn run(args: &args::Catalog, ctx: &mut Ctx<'_>) -> Result<Done> {
    let all: Vec<CatalogEntry> = runbooks::ALL.iter().map(entry).collect();
    let Some(name) = &args.runbook else {
        if ctx.json {
            return ctx.print_json(&all);
        }
        let text = report::catalog(&all, ctx.paint);
        return ctx.print(&text);
    };
    let Some(one) = all.iter().find(|e| &e.id == name) else {
        let known: Vec<&str> = all.iter().map(|e| e.id.as_str()).collect();
        bail!("no runbook {name}; there are: {}", known.join(", "));
    };
    if ctx.json { ctx.print_json(one) } else { ctx.print(one.page) }
}

fn entry(e: &runbooks::Entry) -> CatalogEntry {
    let signal = |s: &runbooks::SignalSpec| Term {
        name: s.name,
        meaning: format!("raised when {}; clears when {}", s.raised_when, s.clears_when),
        always_escalates: false,
    };
    let class = |c: &runbooks::ClassSpec| Term { name: c.name, meaning: c.meaning.into(), always_escalates: c.always_escalates };
    CatalogEntry {
        id: e.id.to_string(),
        schema: e.schema,
        signals: e.signals.iter().map(signal).collect(),
        classes: e.classes.iter().map(class).collect(),
        page: e.page,
    }
}
