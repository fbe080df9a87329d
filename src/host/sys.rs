//! The system calls that no safe crate offers: the only file with `unsafe` in it; every block says why it is sound.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Takes a write lease on an open file. The kernel grants it only while no other open file description refers to the inode, in any
/// namespace: nobody has it open, maps it, executes it or holds a lock on it. Whoever opens it afterwards waits until the descriptor
/// is closed (or the kernel's lease-break time is over).
///
/// # Errors
/// `EAGAIN`: somebody has it open. Anything else: this filesystem cannot tell (network filesystems, leases switched off), or we are
/// neither its owner nor hold `CAP_LEASE`.
pub fn take_write_lease(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_SETLEASE takes an integer and touches no memory of ours; the borrowed descriptor is open for the whole call.
    let rc = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether a write lease taken before is still whole: `false` as soon as somebody waits for the file.
pub fn lease_is_whole(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: F_GETLEASE takes no argument and touches no memory of ours; the borrowed descriptor is open for the whole call.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLEASE) == libc::F_WRLCK }
}

/// Ignores SIGIO for the whole process: the kernel sends it to the holder of a lease that somebody wants broken, and its default is to
/// end the process. Called before the first lease is taken.
pub fn ignore_sigio() {
    // SAFETY: SIG_IGN is a valid disposition for SIGIO, no handler of ours runs, and the call cannot fail for a valid signal number.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

/// This thread's place at the disk is behind everybody else's until this is dropped.
#[derive(Debug)]
pub struct YieldsTheDisk(());

/// Asks the kernel to serve this thread's disk requests after everybody else's (best effort class, lowest level: the idle
/// class would let a saturated disk starve us until the deadline, and a saturated disk is when we are asked).
pub fn yield_the_disk() -> io::Result<YieldsTheDisk> {
    const CLASS_BEST_EFFORT: libc::c_int = 2;
    const LOWEST_LEVEL: libc::c_int = 7;
    set_disk_priority((CLASS_BEST_EFFORT << 13) | LOWEST_LEVEL).map(|()| YieldsTheDisk(()))
}

impl Drop for YieldsTheDisk {
    fn drop(&mut self) {
        // No class: what follows from its niceness, as it was given.
        drop(set_disk_priority(0));
    }
}

/// Of this thread.
fn set_disk_priority(to: libc::c_int) -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    // SAFETY: ioprio_set takes three integers and no pointers; who = 0 is the calling thread.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, to) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The state of the kernel's clock: what `adjtimex` returns (`TIME_OK` … `TIME_ERROR`) and what it tells. Asks only; sets nothing.
pub(super) fn clock_state() -> io::Result<(libc::c_int, libc::timex)> {
    // SAFETY: `timex` is plain integers, for which all zeroes is a value.
    let mut question: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: with `modes` 0 the call only writes the kernel's state into the struct, which is ours and lives through the call.
    let state = unsafe { libc::adjtimex(&raw mut question) };
    if state < 0 { Err(io::Error::last_os_error()) } else { Ok((state, question)) }
}

/// Has the kernel end the program with the thread that starts it, however that comes to its end.
pub fn end_with_this_thread(command: &mut Command) {
    let parent = rustix::process::getpid();
    let between = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // Gone between the fork and the line above: then nobody would send the signal any more.
        if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    // SAFETY: between fork and exec the closure makes two system calls and neither allocates nor locks; it holds one integer.
    unsafe { command.pre_exec(between) };
}

/// Lets the runtime that this is called on wait until there is something to read.
///
/// # Errors
/// For what cannot be waited for, such as a regular file.
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is made, which always gives the same one and takes it from the poller before it is closed.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Has the allocator keep up to four mebibytes of what is freed, and serve blocks of less than one from there: what is used again and again is
/// not given back and asked for anew, which is when a host without memory makes one wait. Larger blocks go back at once.
pub(super) fn keep_freed_heap() {
    #[cfg(target_env = "gnu")]
    for (what, bytes) in [(libc::M_TRIM_THRESHOLD, 4 << 20), (libc::M_MMAP_THRESHOLD, 1 << 20)] {
        // SAFETY: mallopt takes two integers, keeps no pointer, and takes the allocator's own lock.
        unsafe { libc::mallopt(what, bytes) };
    }
}

/// The scheduling class of one thread (`SCHED_OTHER`, `SCHED_IDLE` …), with `SCHED_RESET_ON_FORK` where its children do not inherit it.
pub fn scheduling_class(thread: Pid) -> io::Result<i32> {
    // SAFETY: sched_getscheduler takes one integer and touches no memory of ours.
    let class = unsafe { libc::syscall(libc::SYS_sched_getscheduler, thread.as_raw_nonzero().get()) };
    if class < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(class).map_err(io::Error::other) }
}

/// Puts one thread into a scheduling class that has no priorities of its own (`SCHED_OTHER`, `SCHED_BATCH`, `SCHED_IDLE`).
///
/// # Errors
/// `ESRCH`: it has ended. `EPERM`: it is another user's, and we do not hold `CAP_SYS_NICE`. `EINVAL`: the class has priorities.
pub fn set_scheduling_class(thread: Pid, class: i32) -> io::Result<()> {
    // The C library's own function of this name is empty in some of them.
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: the struct is ours and lives through the call, which only reads it; the rest are integers.
    let done = unsafe { libc::syscall(libc::SYS_sched_setscheduler, thread.as_raw_nonzero().get(), class, &raw const none) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
