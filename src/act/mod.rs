//! The acting half: the only code that changes a host, and the socket it is asked through.
//!
//! [`server`] checks who asks, asks [`crate::guard`] again, writes the intent down, and calls [`perform`] with what guard admitted.
//! One file a family of steps, each with its undo. [`client`] is the agent's end of the socket.

mod beneath;
pub mod client;
mod compress;
mod files;
mod journal;
mod scene;
mod tally;

pub use scene::Scene;
use tally::Tally;
