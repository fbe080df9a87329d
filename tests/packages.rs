//! The packages on a real systemd.

mod support;

use support::nspawn::{Boot, Machine};

#[test]
fn a_container_comes_up_with_systemd_and_without_the_right_to_set_the_clock() {
    let Some(machine) = Machine::ready() else { return };
    let told = machine.boot(&Boot::of("systemctl is-system-running --wait; setpriv --dump | grep -i bounding"));
    assert!(told.succeeded().stdout.starts_with("running\n"), "{told:?}");
    assert!(!told.stdout.contains("sys_time"), "{told:?}");
}
