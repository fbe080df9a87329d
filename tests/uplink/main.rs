//! The agent's side of the collector, against a real HTTP server that checks everything that it is sent, and against several that are none.

#[path = "../support/mod.rs"]
mod support;

mod collector;
mod enrolment;
mod host;
mod program;
mod reporting;
mod way;
