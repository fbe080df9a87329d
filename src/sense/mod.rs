//! Looks at the host again and again: [`Sampler`] asks every source as often as it is worth and puts together one [`Sample`];
//! [`Listening`] waits for what the host tells by itself.
//!
//! A pause between two samples ends early when the kernel says that tasks stall, or when something was told: whoever did it is still there then.
//!
//! [`Sample`]: crate::model::Sample

mod budget;
mod filesystems;
mod listening;
mod sampler;
mod slow;
mod source;

pub use listening::{Happened, Listen, Listening};
pub use sampler::{LONGEST_PAUSE_S, Sampler, Want};
