//! Somebody sets the clock while a filesystem is left alone after an act. Only in the machine: a container would set ours.

use crate::host::Host;
use crate::score::Passed;

pub fn jumps_in_the_cooldown(host: &mut Host<'_>) -> Passed {
    host.sh(super::full::OLD_ARCHIVES);
    host.installed_with_consent(&["/srv/data"], "");
    let again = "rm -f /srv/data/data/again; fill /srv/data/data/again 97";
    host.sh(again);
    let healed = host.closed(0);
    assert_eq!(healed.outcome, "healed", "{:?}", healed.kinds());
    let archives = host.sh("ls /srv/data/log | wc -l");
    assert_ne!(archives.trim(), "0", "nothing is left that could be done");
    let mut told = 0.0;
    for (n, jump) in ["+3 hours", "-5 days"].into_iter().enumerate() {
        host.sh("rm -f /srv/data/data/again");
        host.sees("! byteportctl status --json | grep -q disk_usage_high");
        host.sh(&format!("date -s '{jump}' >/dev/null"));
        let fault = host.uptime();
        host.sh(again);
        let incident = host.closed(n + 1);
        assert_eq!(incident.outcome, "escalated", "after {jump}: {:?}", incident.kinds());
        incident.nothing_was_done();
        assert!(incident.refusals().contains(&"cooldown"), "after {jump}: {:?}", incident.refusals());
        told = incident.last("escalated") - fault;
    }
    assert_eq!(host.sh("ls /srv/data/log | wc -l"), archives);
    Passed::Escalated(told)
}
