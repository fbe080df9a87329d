//! What tests need of a real host: loop devices and booted containers. Everything made here is taken away when dropped.
#![allow(dead_code, reason = "every test binary uses its own part of this")]

pub mod agent;
pub mod hang_fuse;
pub mod healing;
pub mod loops;
pub mod namespaces;
pub mod nspawn;
pub mod readings;
pub mod units;

use std::process::Command;

/// A test cannot run because `what` is not here: said loudly, and a failure where everything has to be there (`CI=true`).
pub fn missing(what: &str) {
    eprintln!("\n*** TEST LEFT OUT: {what} ***\n");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true, and {what}");
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(program).is_file()))
}

/// Runs to the end and gives stdout.
///
/// # Panics
/// When it cannot be started or fails; the message has its output.
pub fn output(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{command:?}: {}\n{text}{}", out.status, String::from_utf8_lossy(&out.stderr));
    text
}
