//! A test in namespaces of its own: it starts itself again there, and what it mounts goes away with it.

use std::process::Command;

use super::{is_root, missing, on_path};

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
