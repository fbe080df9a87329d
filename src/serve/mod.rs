//! A TCP listener that serves HTTP/1.1 to strangers, for whoever has something to tell: TLS, users, and patience that ends.
//!
//! [`listener`] takes connections, [`web`] says who may ask and how, [`patience`] ends whoever does not take his answer.

mod listener;
mod patience;
mod tls;
mod users;
mod web;

pub use listener::serve;
pub use web::{Web, guard};
