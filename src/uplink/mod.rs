//! From this host's record to its collector: how it is, and what happened, row by row. It decides nothing, and nothing that comes back is a
//! command. The agent is the same without it.
//!
//! The record itself is what waits to be sent, so nothing is stored twice; what the collector has, it says. All that is kept here is who this
//! host is there: [`identity`], made by [`mod@enrol`]. [`schedule`], [`batch`] and [`link`] decide and are pure; [`client`] asks, [`run`] is the loop.

mod address;
mod batch;
mod beat;
mod board;
mod client;
mod connect;
mod enrol;
mod identity;
mod kept;
mod link;
mod run;
mod schedule;

pub use address::{Address, AddressError};
pub use batch::{Batch, BatchError, pack};
pub use board::Board;
pub use client::{AskError, Client, Patience};
pub use enrol::{EnrolError, Enrolment, enrol};
pub use identity::{Identity, Key, Secret, Setup, SetupError};
pub use kept::{IdentityError, NAME, load};
pub use link::Acked;
pub use run::{Dice, Host, Pace, RecordNow, Rows, Running, Standing, dice, start};
