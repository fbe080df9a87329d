//! What people outside are told: made together with the rows that it comes from, so that neither is there without the other.

pub mod message;
