//! Healthy hosts that look sick at a glance. Nothing done is the only pass.

use std::time::Duration;

use crate::host::Host;
use crate::score::Passed;

/// At once: a disk that has been at 80 % for long, with all that could be cleaned on it; builds that write much and take it away
/// again; and a page cache that has taken all memory that was free.
pub fn busy_and_healthy(host: &mut Host<'_>) -> Passed {
    host.sh(super::full::OLD_ARCHIVES);
    host.sh("fill /srv/data/data/steady 80; mkfs.ext4 -q /dev/disk/by-id/virtio-scratch1; mkdir /srv/build; mount /dev/disk/by-id/virtio-scratch1 /srv/build; mkdir /srv/build/{log,tmp}");
    host.installed_with_consent(&["/srv/data", "/srv/build"], "");
    host.sh_within(
        Duration::from_secs(240),
        "head -c 900M /dev/zero >/var/cache/big; cat /var/cache/big >/dev/null
         [ $(($(awk '/^Cached:/ { print $2 }' /proc/meminfo))) -gt 500000 ] || { cat /proc/meminfo; exit 1; }
         end=$((SECONDS + 100)); n=0
         while [ $SECONDS -lt $end ]; do
             mkdir -p /srv/build/tmp/out
             for o in 1 2 3 4 5 6; do head -c 50M /dev/zero >/srv/build/tmp/out/$o.o; sleep 1; done
             sync; rm -r /srv/build/tmp/out; n=$((n + 1))
         done
         [ $n -ge 2 ]",
    );
    let incidents = host.incidents();
    assert!(incidents.is_empty(), "{incidents:#?}");
    host.sh("sha256sum -c --quiet /run/orders && [ \"$(ls /srv/data/log | wc -l)\" = 8 ] && byteportctl status");
    Passed::LeftAlone
}
