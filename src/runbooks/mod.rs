//! THE folder people extend. A runbook is one folder here, one `mod` line, one registry line, its page of documentation
//! under `docs/runbooks/`, and its cases under `fixtures/cases/`. CONTRIBUTING.md walks through it.

mod beside;
pub mod cpu;
pub mod disk;
mod doubts;
pub mod memory;
mod registry;
mod restarted;

use beside::Part;
pub use doubts::Doubts;
pub use registry::{ClassSpec, Depth, Entry, FocusedAsk, Problem, Runbook, SignalSpec, Watch, find, for_signal};

/// Every runbook there is.
pub static ALL: &[Entry] = &[Entry::of::<disk::Disk>(), Entry::of::<memory::MemoryShort>(), Entry::of::<cpu::Cpu>()];
