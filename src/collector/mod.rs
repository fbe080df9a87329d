//! Many hosts, one page: takes what agents report, keeps it, tells people. It hints and never commands; agents are the same without it.
//!
//! [`store`] keeps, [`api`] is the agents' door, [`pages`] the people's, [`outbox`] what goes out; [`view`] is what they show each other.
//! [`cli`] is what a person types.

pub mod cli;
pub mod clock;
pub mod outbox;
pub mod store;
pub mod view;
