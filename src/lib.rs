//! BytePort: a host agent that notices, heals, proves and explains.
//!
//! The modules are the pipeline, in its order: sense -> detect -> route -> diagnose and decide (runbooks) -> guard -> act
//! -> verify (engine) -> record -> report. `ARCHITECTURE.md` has the map and the rules; `tests/tidy.rs` checks them.

// What ships keeps to these; tests make the world that they look at, and may do what it takes.
#![deny(unsafe_code, clippy::await_holding_lock, clippy::dbg_macro, clippy::exit)]
#![cfg_attr(
    not(test),
    deny(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)
)]
#![allow(rustdoc::private_intra_doc_links, reason = "these are programs: their documentation is built with its private items")]

pub mod model;
pub mod wire;

pub mod config;
pub mod host;

pub mod sense;

pub mod detect;

pub mod route;

pub mod runbooks;

pub mod guard;

pub mod act;

pub mod serve;

pub mod collector;

pub mod uplink;

pub mod engine;

pub mod folder;
pub mod record;

pub mod report;

pub mod events;
pub mod metrics;

pub mod cli;
