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

/// Slow in the mapper: the filesystem waits, and the disk below is idle.
pub fn slow_disk(host: &mut Host<'_>) -> Passed {
    host.sh("disk=$(readlink -f /dev/disk/by-id/virtio-scratch0); size=$(blockdev --getsz $disk)
         dmsetup create slow --table \"0 $size linear $disk 0\" && site /dev/mapper/slow
         dmsetup suspend slow && dmsetup load slow --table \"0 $size delay $disk 0 0 $disk 0 2000\" && dmsetup resume slow");
    host.installed_with_consent(&["/srv/data"], "");
    let fault = host.uptime();
    host.sh("systemd-run -q --unit=app bash -c 'while :; do dd if=/dev/zero of=/srv/data/data/new bs=64k count=4 oflag=direct conv=notrunc; done'");
    // Half a minute until the pressure is there, a minute of holding. Whoever asks is answered meanwhile.
    host.sh_within(
        Duration::from_secs(400),
        "for n in $(seq 20); do sleep 5; curl -sf -m 20 -o /dev/null http://127.0.0.1:9634/metrics || exit 1; done
         byteportctl status --json >/dev/null; [ $? -lt 2 ]",
    );
    let passed = told(host, fault, "disk_io_saturation", "io_bound");
    let subject = host.incidents()[0]["subject"].to_string();
    assert!(subject.contains("dm-"), "not the device that waits: {subject}");
    passed
}
