//! The loop's second half: from a routed signal to a closed incident.
//!
//! [`episode`] decides (pure); [`driver`] does what it says and tells it what came of it.

pub mod dialogue;
pub mod episode;

mod driver;
mod http;
mod local;
mod past;
mod recovery;
mod sampling;
mod shared;
mod soon;
mod tasks;
mod top;
mod uplink;
mod views;

pub use driver::{DriverError, once, run, trust_new_record};
pub use sampling::OnScrape;
