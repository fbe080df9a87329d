//! byteport-collector as a person types it: one verb a file, printing to a writer that is passed in.
//!
//! [`mod@start`] goes from what was typed to an exit code, [`desk`] is what every verb is given. All but `serve` work on the collector's file
//! itself, whether it runs or not.

mod actor;
mod agents;
mod audit;
mod backup;
mod check;
mod columns;
mod desk;
mod outbox;
mod start;
mod tokens;

pub use actor::who;
pub use start::{Serve, Streams, start};
