//! The program's own pages: when memory is gone, what decides about it must not wait for its own to be read back.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};

use super::sys;
use crate::model::Bytes;

/// Keeps in memory what this program has touched and will touch, and what it frees for its next need. Pages that it never touches cost
/// nothing.
///
/// # Errors
/// When the kernel may not lock as much as there is; only then nothing is locked. Names what to set.
pub fn stay_resident() -> io::Result<()> {
    sys::keep_freed_heap();
    // Under a limit that holds today, what is mapped tomorrow would be refused: a thread's stack, a buffer.
    if let Some(limit) = getrlimit(Resource::Memlock).current {
        let why = format!(
            "its memory can be paged out: no more than {} may be locked; LimitMEMLOCK=infinity in its unit mends that",
            Bytes(limit)
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).map_err(|e| {
        io::Error::new(e.kind(), format!("its memory can be paged out: mlockall: {}; see LimitMEMLOCK in its unit", io::Error::from(e)))
    })
}
