//! A test in namespaces of its own: it starts itself again there, and what it mounts goes away with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{is_root, missing, on_path, output};

/// Whether the body is to run now. Outside, the test `name` is run again inside of new namespaces (`unshare` arguments besides the private
/// mount namespace), and this says `false` once it has passed there.
///
/// # Panics
/// When the test fails inside.
pub fn inside(name: &str, unshare: &[&str]) -> bool {
    const MARK: &str = "BYTEPORT_TEST_INSIDE";
    if std::env::var(MARK).as_deref() == Ok(name) {
        return true;
    }
    if !is_root() || !on_path("unshare") {
        missing("a private mount namespace needs root and unshare (util-linux)");
        return false;
    }
    let me = std::env::current_exe().expect("own path");
    let mut again = Command::new("unshare");
    again.args(["--mount", "--propagation", "private"]).args(unshare).arg("--").arg(me);
    let status = again.args(["--exact", name, "--nocapture"]).env(MARK, name).status().expect("unshare");
    assert!(status.success(), "{name} failed in its namespace: {status}");
    false
}

/// Something mounted below a temp dir, taken away when dropped. Declare it after the temp dir, so that it goes first: a temp dir deletes all that it
/// finds below itself, also in what is mounted there.
pub struct Mounted(PathBuf);

impl Mounted {
    pub fn tmpfs(at: &Path) -> Self {
        output(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(at));
        Self(at.into())
    }

    /// # Panics
    /// When `what` is not scratch itself: a test that tidies up must never come upon anything else.
    pub fn bind(what: &Path, at: &Path) -> Self {
        assert!(what.starts_with(std::env::temp_dir()), "{}: only what lies in the temp dir may be mounted again", what.display());
        output(Command::new("mount").arg("--bind").args([what, at]));
        Self(at.into())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
