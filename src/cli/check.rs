//! `check FILE...`: what is wrong with configuration files, as a start would find it.

use anyhow::Result;
use serde::Serialize;

use super::args;
use super::ctx::{Ctx, Done};
use crate::config::{self, Problem};
use crate::model::HostPath;

/// A problem for programs.
#[derive(Debug, Serialize)]
pub struct Fault {
    file: HostPath,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    help: Option<String>,
}

pub fn run(args: &args::Check, ctx: &mut Ctx<'_>) -> Result<Done> {
    let problems: Vec<(usize, Problem)> =
        args.files.iter().enumerate().flat_map(|(i, file)| config::check(file).into_iter().map(move |p| (i, p))).collect();
    if ctx.json {
        let faults: Vec<Fault> = problems.iter().map(|(_, p)| Fault::of(p)).collect();
        ctx.print_json(&faults)?;
    } else {
        for (i, file) in args.files.iter().enumerate() {
            let of_file: Vec<_> = problems.iter().filter(|(n, _)| *n == i).map(|(_, p)| p).collect();
            if of_file.is_empty() {
                ctx.line(&format!("{}: ok", HostPath::from(file.as_path())))?;
            }
            for problem in of_file {
                // A problem is several lines on purpose; each of them is one.
                for line in problem.to_string().lines() {
                    ctx.line(line)?;
                }
            }
        }
    }
    Ok(if problems.is_empty() { Done::Well } else { Done::Findings })
}

impl Fault {
    pub fn of(p: &Problem) -> Self {
        Self {
            file: HostPath::from(p.file.as_path()),
            line: p.place.as_ref().map(|at| at.line),
            column: p.place.as_ref().map(|at| at.column),
            message: p.message.clone(),
            help: p.help.clone(),
        }
    }
}
