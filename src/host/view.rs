//! Do we look at the host itself, or at the inside of a container?

use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::root::{Root, io_error};
use super::{Read, ReadError};
use crate::model::HostPath;

/// The kernel's fixed inode number of the first pid namespace.
const FIRST_PID_NAMESPACE: &[u8] = b"pid:[4026531836]";

/// True when pid 1, as seen through the root handle, is the init of the machine (or of a system container that runs systemd and is somebody's
/// whole host), and its `/` is our root handle's directory.
///
/// A service's sandbox has a mount namespace of its own, so that one is not compared; its `/` stays the same directory.
///
/// # Errors
/// When pid 1 may not be looked at, and our own namespaces do not show it either.
pub(super) fn read_host_view(root: &Root) -> Read<bool> {
    let of_init = match root.read_link("/proc/1/ns/pid") {
        Err(denied) if !root.is_elsewhere() => return if shows_by_itself(root)? { Ok(true) } else { Err(denied) },
        of_init => of_init?,
    };
    let is_machine = of_init.as_bytes() == FIRST_PID_NAMESPACE;
    let is_system = is_machine || super::root::if_there(root.list("/run/systemd/system"))?.is_some();
    // Seen through `/`, the processes must also be ours; through another root, being given it is the consent.
    let same_processes = root.is_elsewhere() || root.read_link("/proc/self/ns/pid")? == of_init;
    let init_root = HostPath::from("/proc/1/root");
    let same_root = identity(Path::new(&root.join(&"/".into())), &"/".into())? == identity(&root.join(&init_root).join("."), &init_root)?;
    Ok(is_system && same_processes && same_root)
}

/// Some machines let nobody look at pid 1. We are still on the machine itself when our processes are the first pid namespace's and our
/// `/` is a block device's filesystem: a container that shares the machine's processes has an overlay for its `/`.
fn shows_by_itself(root: &Root) -> Read<bool> {
    let (major, ..) = identity(Path::new("/"), &"/".into())?;
    Ok(root.read_link("/proc/self/ns/pid")?.as_bytes() == FIRST_PID_NAMESPACE && major != 0)
}

/// Device and inode.
fn identity(here: &Path, host: &HostPath) -> Read<(u32, u32, u64)> {
    let stat = rustix::fs::statx(CWD, here, AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC, StatxFlags::INO)
        .map_err(|e| -> ReadError { io_error(host, e) })?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino))
}
