//! A service's log fills its disk.

use crate::host::Host;
use crate::score::Passed;

const DATA: &str = "/srv/data";

/// Archives that logrotate left behind a month ago: a third of the disk.
pub(super) const OLD_ARCHIVES: &str = "
    site /dev/disk/by-id/virtio-scratch0
    for n in 1 2 3 4 5 6 7 8; do head -c 20M /dev/zero >/srv/data/log/app.log.$n.gz; done
    head -c 60M /dev/urandom >/srv/data/data/orders; sha256sum /srv/data/data/orders >/run/orders";

/// The service still has its log open.
pub(super) const FAULT: &str = "
    touch /srv/data/log/app.log
    systemd-run -q --unit=app tail -f /srv/data/log/app.log
    fill /srv/data/log/app.log 97
    stat -c '%i %s' /srv/data/log/app.log >/run/live";

const UNTOUCHED: &str = "
    sha256sum -c --quiet /run/orders && [ \"$(stat -c '%i %s' /srv/data/log/app.log)\" = \"$(cat /run/live)\" ] && systemctl is-active -q app";

pub fn with_consent(host: &mut Host<'_>) -> Passed {
    host.sh(OLD_ARCHIVES);
    host.installed_with_consent(&[DATA], "");
    let fault = host.uptime();
    host.sh(FAULT);
    let incident = host.closed(0);
    assert_eq!((incident.outcome.as_str(), incident.class.as_str()), ("healed", "log_growth"), "{:?}", incident.kinds());
    assert!(incident.signals().contains(&"disk_usage_high"), "{:?}", incident.signals());
    incident.is_in_order();
    assert!(incident.all("intent").iter().all(|i| i["kind"] == "rotated_logs"), "{:?}", incident.all("intent"));
    assert!(incident.all("verdict").last().is_some_and(|v| v["verdict"]["resolved"].is_object()), "{:?}", incident.all("verdict"));
    host.sh("[ \"$(usage /srv/data)\" -lt 80 ]");
    host.sh(UNTOUCHED);
    Passed::Healed(incident.last("verdict") - fault)
}

pub fn without_consent(host: &mut Host<'_>) -> Passed {
    host.sh(OLD_ARCHIVES);
    // The programs may act and know where logs lie; this filesystem has not been named.
    let roots = "log_roots = [\"/srv/data/log\"]\n";
    host.installed(
        &format!("mode = \"act\"\nallow = [\"disk\"]\nsample_interval = \"1s\"\n[disk.limits]\n{roots}"),
        &format!("allow = [\"disk\"]\n[disk]\n{roots}"),
    );
    host.sees("byteportctl status --json | grep -q '\"/srv/data\"'");
    let fault = host.uptime();
    host.sh(FAULT);
    let incident = host.closed(0);
    assert_eq!((incident.outcome.as_str(), incident.class.as_str()), ("escalated", "log_growth"), "{:?}", incident.kinds());
    incident.nothing_was_done();
    assert!(incident.refusals().contains(&"no_opt_in"), "{:?}", incident.refusals());
    host.sh(UNTOUCHED);
    host.sh("[ \"$(ls /srv/data/log | wc -l)\" = 9 ] && [ \"$(usage /srv/data)\" -ge 96 ]");
    Passed::Escalated(incident.last("escalated") - fault)
}
