//! Something ends in the middle of an act. What was done is found out by looking; nothing is done twice, and the record is whole.

use crate::host::Host;
use crate::score::Passed;

/// So many small files that deleting them takes a while: more than half of the disk.
const MANY: &str = "
    site /dev/disk/by-id/virtio-scratch0
    mkdir /srv/data/tmp/cache && cd /srv/data/tmp/cache && split -b 16384 -a 5 <(head -c 220M /dev/zero)
    ls | wc -l; cd /; sync";

/// Waits until the deletion has begun and is not done.
const IN_THE_MIDDLE: &str = "
    all=$(ls /srv/data/tmp/cache | wc -l); fill /srv/data/data/orders 97; stat -c %s /srv/data/data/orders >/var/tmp/orders; sync -f /var/tmp
    EVERY=0.2 until_true 120 eval '[ $(ls /srv/data/tmp/cache | wc -l) -lt $((all - 200)) ]' || exit 1";

fn found_out_and_not_repeated(host: &mut Host<'_>) {
    let incident = host.closed(0);
    incident.is_in_order();
    assert!(["healed", "escalated", "interrupted"].contains(&incident.outcome.as_str()), "{}", incident.outcome);
    let begun = incident.all("intent").first().and_then(|i| i["intent"].as_str()).expect("an intent").to_owned();
    let unknown = incident.kinds().contains(&"effect_unknown") || incident.end_is_not_known(&begun);
    assert!(unknown, "it was not in the middle: {:?}", incident.kinds());
    // Application data is whole, and both programs are at work again.
    host.sh("[ \"$(stat -c %s /srv/data/data/orders)\" = \"$(cat /var/tmp/orders)\" ]
         systemctl is-active byteport-agent byteport-actuator; byteportctl doctor >/dev/null; [ $? -lt 2 ]");
}

pub fn actuator_is_killed(host: &mut Host<'_>) -> Passed {
    host.sh(MANY);
    host.installed_with_consent(&["/srv/data"], "");
    host.sh(&format!("{IN_THE_MIDDLE}; systemctl kill -s KILL byteport-actuator"));
    found_out_and_not_repeated(host);
    Passed::Kept
}

pub fn power_is_cut(host: &mut Host<'_>) -> Passed {
    host.sh(MANY);
    host.installed_with_consent(&["/srv/data"], "");
    host.sh("echo '/dev/disk/by-id/virtio-scratch0 /srv/data ext4 nofail 0 0' >>/etc/fstab; sync");
    host.sh(IN_THE_MIDDLE);
    host.cut_power();
    found_out_and_not_repeated(host);
    Passed::Kept
}
