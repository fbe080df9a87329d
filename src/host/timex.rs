//! What the kernel believes of its clock: `adjtimex`, asked and never set.

use super::columns::damaged;
use super::{Read, sys};
use crate::model::ClockSync;

/// # Errors
/// When a sandbox forbids even to ask.
pub(super) fn read_clock_sync() -> Read<ClockSync> {
    sys::clock_state().map(|(state, timex)| from_kernel(state, &timex)).map_err(|e| damaged("the kernel's clock", e.to_string()))
}

/// The offset is in nanoseconds or microseconds, as the kernel says itself; the errors always in microseconds.
fn from_kernel(state: libc::c_int, timex: &libc::timex) -> ClockSync {
    let per_second = if timex.status & libc::STA_NANO == 0 { 1e6 } else { 1e9 };
    ClockSync {
        synchronised: is_synchronised(state, timex),
        offset_s: timex.offset as f64 / per_second,
        max_error_s: timex.maxerror as f64 / 1e6,
        estimated_error_s: timex.esterror as f64 / 1e6,
    }
}

/// Whether something disciplines the clock: NTP, PTP, a hypervisor.
pub(super) fn is_synchronised(state: libc::c_int, timex: &libc::timex) -> bool {
    state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any state will do to start from; what is tested is set.
    fn timex(status: libc::c_int) -> libc::timex {
        let (_, any) = sys::clock_state().unwrap();
        libc::timex { status, offset: -1500, maxerror: 16_000_000, esterror: 250, ..any }
    }

    #[test]
    fn units_are_the_kernels() {
        let read = from_kernel(libc::TIME_OK, &timex(libc::STA_NANO));
        assert_eq!(read, ClockSync { synchronised: true, offset_s: -1.5e-6, max_error_s: 16.0, estimated_error_s: 250e-6 });
        assert_eq!(from_kernel(libc::TIME_OK, &timex(0)).offset_s, -1.5e-3);
    }

    #[test]
    fn a_clock_that_nobody_disciplines_is_not_synchronised() {
        assert!(!from_kernel(libc::TIME_OK, &timex(libc::STA_UNSYNC)).synchronised);
        assert!(!from_kernel(libc::TIME_ERROR, &timex(0)).synchronised);
        assert_eq!(read_clock_sync().unwrap().synchronised, sys::clock_state().is_ok_and(|(s, t)| is_synchronised(s, &t)));
    }
}
