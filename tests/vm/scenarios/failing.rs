//! Disks that fail and disks that are slow. A person is told; nothing is done, although everything was allowed.

use std::time::Duration;

use crate::host::{Host, Incident};
use crate::score::Passed;

fn told(host: &mut Host<'_>, fault: f64, signal: &str, class: &str) -> Passed {
    let incident: Incident = host.closed(0);
    assert_eq!((incident.outcome.as_str(), incident.class.as_str()), ("escalated", class), "{:?}", incident.kinds());
    assert!(incident.signals().contains(&signal), "{:?}", incident.signals());
    incident.nothing_was_done();
    assert!(incident.chain_is_whole);
    Passed::Escalated(incident.last("escalated") - fault)
}

pub fn ext4_error(host: &mut Host<'_>) -> Passed {
    host.sh(super::full::OLD_ARCHIVES);
    host.sh("mount -o remount,errors=remount-ro /srv/data");
    host.installed_with_consent(&["/srv/data"], "");
    let fault = host.uptime();
    host.sh(
        "echo harness >/sys/fs/ext4/$(basename $(readlink -f /dev/disk/by-id/virtio-scratch0))/trigger_fs_error; ! touch /srv/data/new",
    );
    let passed = told(host, fault, "filesystem_readonly", "filesystem_fault");
    host.sh("[ \"$(ls /srv/data/log | wc -l)\" = 8 ]");
    passed
}

/// The device mapper in between, so that it can be exchanged for one that fails.
pub fn failing_disk(host: &mut Host<'_>) -> Passed {
    host.sh("disk=$(readlink -f /dev/disk/by-id/virtio-scratch0); size=$(blockdev --getsz $disk)
         dmsetup create bad --table \"0 $size linear $disk 0\" && site /dev/mapper/bad");
    host.installed_with_consent(&["/srv/data"], "");
    let fault = host.uptime();
    host.sh(
        "dmsetup suspend --nolockfs bad && dmsetup load bad --table \"0 $(blockdev --getsz /dev/mapper/bad) error\" && dmsetup resume bad
         (for n in 1 2 3; do touch /srv/data/data/$n; sync -f /srv/data; done) 2>&1 | tail -3; true",
    );
    let passed = told(host, fault, "filesystem_readonly", "filesystem_fault");
    host.sh("curl -sf -m 20 http://127.0.0.1:9634/metrics | grep -q '^byteport_'");
    passed
}

/// Slow in the mapper: the filesystem waits, the disk below is idle, and the agent looks at the lowest disk only. So it is not found. Whoever
/// asks is answered all the same. When this fails because an incident is there, the agent has learnt it: then ask for `io_bound` here.
pub fn slow_disk(host: &mut Host<'_>) -> Passed {
    host.sh("disk=$(readlink -f /dev/disk/by-id/virtio-scratch0); size=$(blockdev --getsz $disk)
         dmsetup create slow --table \"0 $size linear $disk 0\" && site /dev/mapper/slow
         dmsetup suspend slow && dmsetup load slow --table \"0 $size delay $disk 0 0 $disk 0 2000\" && dmsetup resume slow");
    host.installed_with_consent(&["/srv/data"], "");
    host.sh("systemd-run -q --unit=app bash -c 'while :; do dd if=/dev/zero of=/srv/data/data/new bs=64k count=4 oflag=direct conv=notrunc; done'");
    // Longer than finding it would take: half a minute until the pressure is there, a minute of holding. It is there at the end.
    host.sh_within(
        Duration::from_secs(400),
        "for n in $(seq 30); do sleep 5; curl -sf -m 20 -o /dev/null http://127.0.0.1:9634/metrics || exit 1; done
         byteportctl status --json >/dev/null; [ $? -lt 2 ] && awk '/^some/ { split($3, a, \"=\"); exit !(a[2] > 40) }' /proc/pressure/io",
    );
    let incidents = host.incidents();
    assert!(incidents.is_empty(), "{incidents:#?}");
    Passed::NotFound
}
