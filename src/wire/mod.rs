//! Versioned messages between programs: the only types whose JSON is promised.
//!
//! [`actuator`]: agent <-> actuator. [`local`]: byteportctl <-> agent. [`bundle`]: one incident in a file.

pub mod actuator;
pub mod bundle;
pub mod frame;
pub mod local;
