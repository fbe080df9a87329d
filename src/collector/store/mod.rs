//! What the collector keeps: one SQLite file. Everything that is SQL is below here.
//!
//! [`reader`] reads for pages, [`admin`] changes for people, [`outbox`] hands out what is to be told, [`verify`] proves that the hosts'
//! records are as the hosts wrote them, [`backup`] copies the file.

mod admin;
mod audit;
mod backup;
mod entries;
mod failure;
mod fleet;
mod incidents;
#[cfg(test)]
pub(super) mod made_up;
mod opened;
mod outbox;
mod reader;
mod schema;
mod standing;
mod value;
mod verify;
mod walk;

pub use admin::{Admin, Changed, NewToken, Token};
pub use audit::AuditHead;
pub use backup::{Backup, create as create_backup, verify as verify_backup};
pub use failure::Failure;
pub use opened::FILE;
pub use outbox::{Claim, Outbox};
pub use reader::Reader;
pub use verify::{AuditChain, StreamChain, StreamVerified, Verified, verify, verify_with};
