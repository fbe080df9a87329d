//! What happened, kept so that neither a crash, a full disk nor a flipped bit can make it up or lose it quietly.
//!
//! Two books of the same make: the actuator's [`Ledger`] (what was begun, what came of it) and the agent's [`Store`]
//! (incidents, entry by entry). Both are one SQLite file with an append-only table whose rows are chained by hashes
//! ([`chain`], verified in [`book`]), opened by one program at a time ([`crate::folder`]), and both keep room for their next entries ([`room`]).
//! Nothing here decides anything.

mod aside;
mod book;
mod carried;
mod chain;
mod deploys;
mod error;
mod ledger;
mod outgoing;
mod reader;
mod retention;
mod room;
mod store;

pub use carried::{carried, carry};
pub use chain::OpenReport;
pub use deploys::{deploys, mark_deploy, not_a_mark};
pub use error::RecordError;
pub use ledger::Ledger;
pub use outgoing::Outgoing;
pub use reader::Reader;
pub use store::{OpenIntent, Store};
