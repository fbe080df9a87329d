//! Units of a container's own systemd.

use std::fs;
use std::process::Command;

use byteport::model::UnitTarget;

use super::output;

pub fn service(name: &str, lines: &str) -> UnitTarget {
    let unit = format!("[Service]\nExecStart=/bin/sleep infinity\n{lines}\n[X-Byteport]\nRestart=safe\n");
    fs::write(format!("/run/systemd/system/{name}"), unit).unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["restart", name]);
    target(name)
}

pub fn target(name: &str) -> UnitTarget {
    UnitTarget { unit: name.into(), invocation: show(name, "InvocationID") }
}

pub fn systemctl(args: &[&str]) -> String {
    output(Command::new("systemctl").args(args))
}

pub fn show(unit: &str, property: &str) -> String {
    systemctl(&["show", "-P", property, unit]).trim().to_owned()
}
