//! Many hosts, one page: takes what agents report, keeps it, tells people. It hints and never commands; agents are the same without it.
//!
//! [`store`] keeps, [`api`] is the agents' door, [`pages`] the people's, [`outbox`] what goes out; [`view`] is what they show each other.

pub mod pages;
pub mod view;
