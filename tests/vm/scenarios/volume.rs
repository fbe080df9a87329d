//! A filesystem on a logical volume is full of data, and its group has room.

use crate::host::Host;
use crate::score::Passed;

pub fn ext4(host: &mut Host<'_>) -> Passed {
    grows(host, "mkfs.ext4 -q -m 0")
}

pub fn xfs(host: &mut Host<'_>) -> Passed {
    grows(host, "mkfs.xfs -q")
}

fn grows(host: &mut Host<'_>, mkfs: &str) -> Passed {
    host.sh(&format!(
        "disk=/dev/disk/by-id/virtio-scratch0
         pvcreate -q $disk && vgcreate -q data $disk && lvcreate -q -y -L 320M -n orders data && {mkfs} /dev/data/orders
         mkdir -p /srv/data && mount /dev/data/orders /srv/data"
    ));
    host.installed_with_consent(&["/srv/data"], "steps = [\"grow_volume\"]");
    let blocks = |host: &mut Host<'_>| host.sh("df --output=size -B1 /srv/data | tail -1").trim().parse::<u64>().expect("bytes");
    let before = blocks(host);
    let fault = host.uptime();
    host.sh("fill /srv/data/orders 96 && sha256sum /srv/data/orders >/run/orders");
    let incident = host.closed(0);
    assert_eq!(incident.outcome, "healed", "{:?} {:?}", incident.kinds(), incident.refusals());
    incident.is_in_order();
    let grown = incident.all("intent");
    assert!(!grown.is_empty() && grown.iter().all(|i| i["kind"] == "grow_volume"), "{grown:?}");
    // The kernel's word for it: the volume, and the filesystem on it.
    let after = blocks(host);
    assert!(after > before + (60 << 20), "{before} -> {after}");
    host.sh("sha256sum -c --quiet /run/orders && [ \"$(blockdev --getsize64 /dev/data/orders)\" -gt $((390 << 20)) ] && [ \"$(usage /srv/data)\" -lt 80 ]");
    Passed::Healed(incident.last("verdict") - fault)
}
