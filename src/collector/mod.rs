//! Many hosts, one page: takes what agents report, keeps it, tells people. It hints and never commands; agents are the same without it.
//!
//! [`store`] keeps, [`api`] is the agents' door, [`pages`] the people's, [`outbox`] what goes out; [`view`] is what they show each other.
//! [`auth`] makes and reads what is secret, [`proof`] says whether rows are what their host has written, [`cli`] is what a person types,
//! [`mod@serve`] has all of it at work.

pub mod api;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod outbox;
pub mod pages;
pub mod proof;
pub mod serve;
pub mod store;
pub mod view;
