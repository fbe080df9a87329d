//! Whether the processor's own virtualisation works here. `/dev/kvm` being there does not say so: it is tried.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::image::Image;
use crate::machine::{QEMU, Started};

/// A kernel that boots, finds nothing to do and ends takes a second or two.
const TRIAL: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accelerator {
    Kvm,
    /// Translated: several times slower, and works everywhere.
    Tcg,
}

impl Accelerator {
    pub fn found(image: &Image) -> Accelerator {
        if Path::new("/dev/kvm").exists() && boots(image, Accelerator::Kvm) { Accelerator::Kvm } else { Accelerator::Tcg }
    }

    pub const fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG (slow: no KVM that works here)",
        })
    }
}

/// Its first program ends at once, the kernel panics, and a panic ends the machine: all that is wanted is that it came so far.
fn boots(image: &Image, accelerator: Accelerator) -> bool {
    let mut command = Command::new(QEMU);
    command
        .args(["-nodefaults", "-no-user-config", "-M", "q35", "-m", "256", "-display", "none", "-no-reboot", "-nic", "none"])
        .args(accelerator.arguments())
        .arg("-kernel")
        .arg(image.kernel())
        .arg("-initrd")
        .arg(image.initrd())
        .args(["-append", "panic=-1 quiet rdinit=/bin/busybox"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Started::of(command).ends_within(TRIAL).is_some_and(|status| status.success())
}
