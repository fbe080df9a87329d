//! Versioned messages between programs: the only types whose JSON is promised.
//!
//! [`actuator`]: agent <-> actuator. [`local`]: byteportctl <-> agent.

pub mod actuator;
pub mod frame;
pub mod local;
