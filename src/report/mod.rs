//! What people read. Pure: a record, an answer or a catalog in, text out; no clock, no files, no host.
//!
//! [`Story`] puts an incident's entries in order once; `explain` and [`Postmortem`] tell it. Figures and times are put in
//! words in `human.rs` alone, and every text from outside goes through [`clean`] (terminal) or `markdown.rs` (documents).

mod catalog;
mod config;
mod doctor;
mod escalation;
mod explain;
mod human;
mod incidents;
mod markdown;
mod paint;
mod plan;
mod postmortem;
mod refusals;
mod replay;
mod status;
mod steps;
mod story;
mod table;
mod top;
mod undo;

pub use catalog::{CatalogEntry, Term, catalog};
pub use config::config;
pub use doctor::{Finding, Level, doctor};
pub use escalation::escalation;
pub use explain::explain;
pub use human::clean;
pub use incidents::incidents;
pub use paint::{Paint, Tone};
pub use plan::plan;
pub use postmortem::{Moment, Postmortem, Source, Told as ToldStep};
pub use replay::{Compared, replay};
pub use status::{pauses, status};
pub use story::Story;
pub use table::Cell;
#[cfg(test)]
pub(crate) use top::made_up as top_made_up;
pub use top::{Board, Column, Curve, PANES, Pane, Section, Span, board, top};
pub use undo::undo;

/// The words and figures of one fact each, for whoever puts them into another form than these. What came from outside is [`clean`].
pub(crate) mod words {
    pub(crate) use super::explain::{amount, of_what, plan_expected};
    pub(crate) use super::human::{count, deviation_text, seconds_between, sentence, share, signed, thousands, utc};
    pub(crate) use super::postmortem::{expected, looked, real};
    pub(crate) use super::refusals::would_change;
    pub(crate) use super::steps::{does, ended, skip, skipped, title, undo, verdict, why};
}
