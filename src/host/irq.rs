//! Time that interrupts take from tasks: `/proc/pressure/irq`, which most kernels do not have.

use std::sync::OnceLock;

use rustix::io::Errno;

use super::root::{Root, is_absent};
use super::{HotFile, Read, ReadError, psi};

const PATH: &str = "/proc/pressure/irq";

/// A kernel that does not count it will not begin to before the next boot, so that is found out once: looking again would cost a call of every
/// sample.
#[derive(Debug)]
pub(super) struct IrqPressure {
    file: HotFile,
    not_counted: OnceLock<()>,
}

impl IrqPressure {
    pub(super) fn new() -> Self {
        Self { file: HotFile::one_record(PATH), not_counted: OnceLock::new() }
    }

    /// Microseconds in which no task of a CPU got on for interrupts.
    ///
    /// # Errors
    /// `NotHere` where the kernel does not count it.
    pub(super) fn read(&self, root: &Root) -> Read<u64> {
        let not_here = || ReadError::NotHere {
            what: PATH.to_owned(),
            why: "this kernel does not count it; from 6.1 on, one with CONFIG_IRQ_TIME_ACCOUNTING does".to_owned(),
        };
        if self.not_counted.get().is_some() {
            return Err(not_here());
        }
        match self.file.read(root, psi::parse_irq_stalled_us) {
            Err(e) if is_absent(&e) || is_switched_off(&e) => {
                self.not_counted.get_or_init(|| ());
                Err(not_here())
            }
            read => read,
        }
    }
}

/// The file is there, and a kernel whose clock is too slow to count interrupts answers with this; nothing switches that on again.
fn is_switched_off(error: &ReadError) -> bool {
    matches!(error, ReadError::Io { source, .. } if source.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_does_not_count_it_is_asked_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let (asked, fresh) = (IrqPressure::new(), IrqPressure::new());
        let why = asked.read(&root).unwrap_err();
        assert!(matches!(&why, ReadError::NotHere { .. }) && why.to_string().contains(PATH), "{why}");
        std::fs::create_dir_all(dir.path().join("proc/pressure")).unwrap();
        std::fs::write(dir.path().join(&PATH[1..]), "full avg10=0.00 avg60=0.00 avg300=0.00 total=12\n").unwrap();
        assert!(asked.read(&root).is_err(), "it looked again");
        assert_eq!(fresh.read(&root).unwrap(), 12);
        // What was there and cannot be understood is looked at again.
        std::fs::write(dir.path().join(&PATH[1..]), "full\n").unwrap();
        assert!(matches!(fresh.read(&root), Err(ReadError::Parse { .. })));
        std::fs::write(dir.path().join(&PATH[1..]), "full avg10=0.00 avg60=0.00 avg300=0.00 total=13\n").unwrap();
        assert_eq!(fresh.read(&root).unwrap(), 13);
    }
}
