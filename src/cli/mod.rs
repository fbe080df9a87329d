//! byteportctl: one verb a file, `run(args, ctx)`, printing to a writer that is passed in.
//!
//! `args.rs` is what can be typed, `start.rs` what happens then, `ctx.rs` what every verb is given, `exit.rs` what a run
//! came to.

pub mod args;
pub mod bundle;
mod catalog;
mod check;
pub mod client;
mod config;
mod ctx;
pub mod decided;
mod doctor;
pub mod enroll;
pub mod exit;
mod explain;
mod incidents;
mod mark_deploy;
mod pause;
mod plan;
mod progress;
pub mod redact;
pub mod replay;
mod start;
mod state_dir;
mod status;
mod top;
mod undo;

pub use check::Fault;
pub use ctx::{Ctx, Done, Loaded, Misused, json};
pub use start::{Streams, start};

const VERSION: &str = env!("BYTEPORT_VERSION");
