//! Whether a step may be done: consents, caps, cooldowns, never-lists. Pure, and asked twice: by the agent before it
//! writes an intent, and by the actuator against its own policy and its own ledger.
//!
//! [`Admitted`] can be made here and nowhere else; `act` takes nothing else.

mod admit;
mod ledger;
mod limits;
pub mod never;
mod units;

pub use admit::{Admitted, Asked, Circumstances, Holds, Mode, Policy, admit, load};
pub use ledger::{PastAct, cooldown_left, cooling, restarts_within_a_day, spent};
pub use limits::Limits;
