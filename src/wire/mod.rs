//! Versioned messages between programs: the only types whose JSON is promised.
//!
//! [`actuator`]: agent <-> actuator. [`local`]: byteportctl <-> agent. [`bundle`]: one incident in a file.
//! [`collector`]: agent <-> collector; [`chain`]: how what travels there is proven.

pub mod actuator;
pub mod bundle;
pub mod chain;
pub mod collector;
pub mod frame;
pub mod local;
