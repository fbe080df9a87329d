//! From what was written to what it means, with every mistake told at once.
//!
//! A file is `agent.toml`, `actuator.toml` or `collector.toml` plus the drop-ins `NAME.d/*.toml` beside it, in the order of their names: a
//! later file wins key by key, lists are replaced whole. [`layers`] reads them, [`findings`] walks each one until nothing
//! wrong is left in it, [`agent`], [`actuator`] and [`collector`] give the result its meaning, [`effective`] shows it with its reasons.
//! [`web`] is a file of its own, in another program's format.

mod actuator;
mod agent;
mod check;
mod collector;
mod dry_run;
mod effective;
mod findings;
mod layers;
mod maintenance;
mod problem;
mod raw;
mod sections;
mod watch;
mod web;

pub use actuator::{Actuator, load_actuator};
pub use agent::{Agent, load_agent};
pub use check::check;
pub use collector::{Collector, Sink, load_collector};
pub use effective::Loaded;
pub use maintenance::Window;
pub use problem::Problem;
pub use watch::Watch;
pub use web::{ClientAuth, PasswordHash, TlsVersion, Web, WebTls};
