//! Looks at the host again and again: [`Sampler`] asks every source within its own deadline and puts together one [`Sample`].
//!
//! Pressure is polled here with every sample. Being woken by the kernel (PSI triggers) comes with the memory runbook; until then
//! [`psi_mode`] says so.
//!
//! [`Sample`]: crate::model::Sample

mod filesystems;
mod listening;
mod sampler;

pub use listening::{Happened, Listen, Listening};
pub use sampler::Sampler;

/// How pressure is watched, for `status` and metrics.
pub const fn psi_mode() -> &'static str {
    "polling"
}
