//! Do we look at the host itself, or at the inside of a container?

use std::path::Path;

use super::Read;
use super::mounts::{Line, parse_mountinfo};
use super::root::{Root, device_of};
use crate::model::HostPath;

/// The kernel's fixed name for the first pid namespace.
const FIRST_PID_NAMESPACE: &[u8] = b"pid:[4026531836]";

/// True when pid 1, as seen through the root handle, is the init of the machine (or of a system container, which is somebody's whole host), and
/// its `/` is our root handle's directory. A service's sandbox has a mount namespace of its own; its `/` is the same all the same, so roots are
/// compared and not namespaces. Nothing here needs the right to trace pid 1.
///
/// # Errors
/// When the mount tables cannot be read.
pub(super) fn read_host_view(root: &Root) -> Read<bool> {
    // A program that was started as pid 1 of a container is not the init of a system, whatever it can see of `/run`.
    let has_init = is_machine(root)? || matches!(root.read("/proc/1/comm")?.trim_ascii(), b"systemd" | b"init");
    let here = Root::open(Path::new("/"))?;
    let ours = parse_mountinfo(&here.read("/proc/self/mountinfo")?)?;
    let inits = parse_mountinfo(&root.read("/proc/1/mountinfo")?)?;
    let same_root = match (mounted_at(&ours, root.path()), mounted_at(&inits, Path::new("/"))) {
        (Some(our), Some(its)) => (our.device, &our.root) == (its.device, &its.root),
        // Our root is no mount of its own: a directory that somebody changed the root to.
        _ => false,
    };
    Ok(has_init && same_root)
}

/// Whether the processes seen through the root handle are those of the first pid namespace.
fn is_machine(root: &Root) -> Read<bool> {
    let here = Root::open(Path::new("/"))?;
    let we_are = here.read_link("/proc/self/ns/pid")?.as_bytes() == FIRST_PID_NAMESPACE;
    if !root.is_elsewhere() {
        return Ok(we_are);
    }
    match root.read_link("/proc/1/ns/pid") {
        Ok(of_init) => Ok(of_init.as_bytes() == FIRST_PID_NAMESPACE),
        // Needs the right to trace it. Without: the same /proc as ours shows the same processes.
        Err(_) => {
            let proc = HostPath::from("/proc");
            Ok(we_are && device_of(&root.join(&proc), &proc)? == device_of(&here.join(&proc), &proc)?)
        }
    }
}

/// What is mounted on exactly this place, the latest first.
fn mounted_at<'a>(lines: &'a [Line], place: &Path) -> Option<&'a Line> {
    lines.iter().rev().find(|line| line.path.as_path() == place)
}
