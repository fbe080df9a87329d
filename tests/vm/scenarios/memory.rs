//! Memory: a unit that leaks, a host that runs out, and what may and may not be done about it.

use std::time::Duration;

use super::aged::{APP, REDIS, RELEASE, SHOP, WEB, leaks};
use crate::faults::{Consent, Unit};
use crate::host::{Host, Incident, SLOW};
use crate::score::Passed;

/// Windows of hours and minutes, in seconds; every share and amount is as delivered.
pub(super) const SHORT: &str = "used_hold_s = 5\nswap_hold_s = 5\nevent_hold_s = 30\nunit_hold_s = 5\nleak_over_s = 300";
/// What may be done besides what is taken back by itself.
pub(super) const LIMITS: &str = "steps = [\"oom_preference\", \"memory_high\", \"restart_unit\"]\n";
pub(super) const LIMITED: &str = "MemoryMax=240M\nMemorySwapMax=0";

/// Nothing of what was set at runtime is left, in systemd and in the kernel.
pub(super) fn unlimited(host: &mut Host<'_>, unit: &str) {
    assert_eq!(host.property(unit, "MemoryHigh"), "infinity");
    host.sh(&format!("[ \"$(cat /sys/fs/cgroup/system.slice/{unit}/memory.high)\" = max ]"));
}

/// The unit runs as it was started, and nothing was begun.
fn untouched(host: &mut Host<'_>, incident: &Incident, unit: &str, invocation: &str) {
    incident.nothing_was_done();
    assert_eq!(host.property(unit, "InvocationID"), invocation);
    unlimited(host, unit);
}

/// The host is short of memory because of it: it is held, restarted once, and the host is well.
pub fn leak_with_consent(host: &mut Host<'_>) -> Passed {
    host.consents(APP);
    let first = host.property(APP, "InvocationID");
    let fault = leaks(host, APP);
    let incident = host.closed_within(SLOW, "memory", 0);
    incident.ended("healed", "memory_leak");
    let known = ["memory_pressure_high", "memory_stall"];
    assert!(incident.signals().iter().any(|s| known.contains(s)), "{:?}", incident.signals());
    incident.is_in_order();
    assert!(incident.steps().contains(&"memory_high"), "held first: {:?}", incident.steps());
    assert_eq!(incident.count("restart_unit"), 1, "{:?}", incident.steps());
    assert!(incident.all("intent").iter().all(|i| i["on"] == APP), "{:?}", incident.all("intent"));
    assert!(incident.resolved(), "{:?}", incident.all("verdict"));
    println!("leak-with-consent: the first step was done {:.3} s after the signal", incident.to_the_first_step().expect("a step"));
    assert_ne!(host.property(APP, "InvocationID"), first);
    unlimited(host, APP);
    host.sh("systemctl is-active -q app && grep -q '^oom_kill 0' /proc/vmstat");
    Passed::Healed(incident.last("verdict") - fault)
}

/// Its own limit is near, and nobody else's trouble: it is restarted before the kernel ends it.
pub fn leak_at_its_limit(host: &mut Host<'_>) -> Passed {
    host.consents(WEB);
    let first = host.property(WEB, "InvocationID");
    let fault = leaks(host, WEB);
    let incident = host.closed_within(SLOW, "memory", 0);
    incident.ended("healed", "memory_leak");
    assert!(incident.signals().contains(&"unit_near_limit"), "{:?}", incident.signals());
    incident.is_in_order();
    assert_eq!(incident.steps(), ["restart_unit"]);
    assert!(incident.resolved(), "{:?}", incident.all("verdict"));
    assert_ne!(host.property(WEB, "InvocationID"), first);
    host.sh("systemctl is-active -q web && grep -q '^oom_kill 0' /proc/vmstat");
    Passed::Healed(incident.last("verdict") - fault)
}

pub fn leak_without_consent(host: &mut Host<'_>) -> Passed {
    let first = host.property(WEB, "InvocationID");
    let fault = leaks(host, WEB);
    let incident = host.closed_within(SLOW, "memory", 0);
    incident.ended("escalated", "memory_leak");
    assert!(incident.refusals().contains(&"no_opt_in"), "{:?}", incident.refusals());
    untouched(host, &incident, WEB, &first);
    Passed::Escalated(incident.last("escalated") - fault)
}

/// It comes back after each restart. After two within half an hour a person is told, and nothing more is done.
pub fn leak_returns(host: &mut Host<'_>) -> Passed {
    host.consents(WEB);
    host.sh("touch /run/always");
    let fault = leaks(host, WEB);
    let (mut restarts, mut told) = (0, None);
    for known in 0..4 {
        let incident = host.closed_within(SLOW, "memory", known);
        restarts += incident.count("restart_unit");
        if incident.refusals().contains(&"crash_loop") {
            assert_eq!(incident.outcome, "escalated");
            told = Some(incident.last("escalated") - fault);
            break;
        }
    }
    let told = told.expect("nobody was told that restarting does not help");
    assert_eq!(restarts, 2);
    // systemd's word for it: started once at first and twice by the actuator, and never after a fall.
    host.sh("[ \"$(journalctl -q --no-pager -u web -g '^Started' | wc -l)\" = 3 ]");
    assert_eq!(host.property(WEB, "NRestarts"), "0");
    Passed::Escalated(told)
}

pub fn stateful(host: &mut Host<'_>) -> Passed {
    host.consents(REDIS);
    let first = host.property(REDIS, "InvocationID");
    let fault = leaks(host, REDIS);
    let incident = host.closed_within(SLOW, "memory", 0);
    incident.ended("escalated", "memory_leak");
    assert!(incident.text().contains("keeps state"), "the reason is not shown: {}", incident.text());
    untouched(host, &incident, REDIS, &first);
    Passed::Escalated(incident.last("escalated") - fault)
}

/// Released a moment before it began to grow: a person goes back to the release before, which is more than a restart can do.
pub fn after_a_deploy(host: &mut Host<'_>) -> Passed {
    host.consents(SHOP);
    let first = host.property(SHOP, "InvocationID");
    let fault = leaks(host, SHOP);
    let incident = host.closed_within(SLOW, "memory", 0);
    incident.ended("escalated", "deploy_regression");
    let escalation = incident.all("escalated").last().expect("told").to_string();
    assert!(escalation.contains(RELEASE), "not which release: {escalation}");
    untouched(host, &incident, SHOP, &first);
    Passed::Escalated(incident.last("escalated") - fault)
}

/// A real JVM that was told of a heap which its unit can never hold. It is not restarted, which would change nothing: a person gets the right number.
pub fn heap_beyond_its_limit(host: &mut Host<'_>) -> Passed {
    host.faults();
    // Its heap is touched from the start; with what a JVM has besides, that is nine tenths of the limit.
    let run = "/usr/bin/java -XX:+UseSerialGC -XX:+AlwaysPreTouch -Xms180m -Xmx400m -m java.rmi/sun.rmi.registry.RegistryImpl 54123";
    host.units(&[Unit { name: APP, run, lines: "MemoryMax=228M\nMemorySwapMax=0", consent: Consent::Given }]);
    host.installed_for("memory", SHORT, LIMITS);
    let fault = host.uptime();
    host.sh("systemctl start app");
    let first = host.property(APP, "InvocationID");
    let incident = host.closed_within(SLOW, "memory", 0);
    incident.ended("escalated", "runtime_misconfig");
    assert!(incident.signals().contains(&"unit_near_limit"), "{:?}", incident.signals());
    // Three quarters of the limit.
    let escalation = incident.all("escalated").last().expect("told").to_string();
    assert!(escalation.contains("-Xmx171m"), "not what to write: {escalation}");
    untouched(host, &incident, APP, &first);
    Passed::Escalated(incident.last("escalated") - fault)
}

/// What else memory can be short of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Swap {
    None,
    Disk,
    Zram,
}

pub fn global_oom(host: &mut Host<'_>) -> Passed {
    runs_out(host, Swap::None)
}

pub fn global_oom_with_swap(host: &mut Host<'_>) -> Passed {
    runs_out(host, Swap::Disk)
}

pub fn global_oom_with_zram(host: &mut Host<'_>) -> Passed {
    runs_out(host, Swap::Zram)
}

/// The kernel has to choose, more quickly than anybody can help. The agent sees it through, says whom it was, and touches nobody who did
/// not consent; who else runs here stays as it is.
fn runs_out(host: &mut Host<'_>, swap: Swap) -> Passed {
    host.faults();
    let neighbour = Unit { name: "shop.service", run: "/usr/local/bin/hold 40", lines: "", consent: Consent::None };
    let hog = "/bin/sh -c 'mkdir /run/app-was-here || exec /usr/local/bin/hold 20; exec /usr/local/bin/leak 8 0.05 2000'";
    host.units(&[Unit { name: APP, run: hog, lines: "Restart=on-failure\nRestartSec=2s", consent: Consent::None }, neighbour]);
    match swap {
        Swap::None => {}
        Swap::Disk => drop(host.sh("disk=/dev/disk/by-id/virtio-scratch1; mkswap -q $disk 131072 && swapon $disk")),
        Swap::Zram => {
            drop(host.sh(
                "modprobe zram num_devices=1 && echo 128M >/sys/block/zram0/disksize && mkswap -q /dev/zram0 && swapon -p 100 /dev/zram0",
            ))
        }
    }
    host.sh("systemctl start shop");
    host.installed_for("memory", SHORT, LIMITS);
    let (agent, shop) = (host.property("byteport-agent", "MainPID"), host.property("shop", "MainPID"));
    let fault = host.uptime();
    host.sh("systemctl start --no-block app");
    host.sh_within(Duration::from_secs(400), "killed() { grep -q '^oom_kill [1-9]' /proc/vmstat; }; until_true 360 killed");
    let incident = host.closed_within(SLOW, "memory", 0);
    assert_eq!(incident.outcome, "escalated", "{:?}", incident.kinds());
    let known = ["memory_stall", "oom_killed", "memory_pressure_high", "swap_thrash"];
    assert!(incident.signals().iter().any(|s| known.contains(s)), "{:?}", incident.signals());
    incident.nothing_was_done();
    assert!(incident.chain_is_whole);
    // Somewhere in all that is on record: whom the kernel chose. Of a host that runs out slowly more than the last incident is told.
    let told = |i: &Incident| i.signals().contains(&"oom_killed") && i.text().contains(APP);
    let mut last = 0;
    while !told(&host.closed_within(SLOW, "memory", last)) {
        last += 1;
        assert!(last < 4, "the kill is not on record");
    }
    // What was looked at afterwards is no reason to blame somebody who was there as well.
    let blamed: Vec<&str> = incident.all("decision").iter().filter_map(|d| d["diagnosis"]["behind"].as_str()).collect();
    assert!(blamed.iter().all(|who| *who == APP), "who is blamed? {blamed:?}");
    assert_eq!(host.property("byteport-agent", "MainPID"), agent, "the agent did not live through it");
    assert_eq!(host.property("shop", "MainPID"), shop);
    host.sh("[ $(systemctl show --value -p NRestarts byteport-agent byteport-actuator | sort -u | tr -d '\\n') = 0 ]");
    Passed::Escalated(incident.last("escalated") - fault)
}

/// At once: a page cache that has all the memory there was, a unit that is large and steady, and one that grows and gives back.
pub fn decoys(host: &mut Host<'_>) -> Passed {
    host.faults();
    let steady = Unit { name: "steady.service", run: "/usr/local/bin/hold 150", lines: LIMITED, consent: Consent::Given };
    let saw = Unit { name: "saw.service", run: "/usr/local/bin/saw 2 0.3 160", lines: LIMITED, consent: Consent::Given };
    host.units(&[steady, saw]);
    host.installed_for("memory", SHORT, LIMITS);
    host.sh("systemctl start steady saw");
    let (first, second) = (host.property("steady", "InvocationID"), host.property("saw", "InvocationID"));
    host.sh_within(
        Duration::from_secs(300),
        "head -c 700M /dev/zero >/var/cache/big; end=$((SECONDS + 120)); while [ $SECONDS -lt $end ]; do cat /var/cache/big >/dev/null; sleep 2; done
         awk '/^Cached:/ { exit !($2 > 400000) }' /proc/meminfo",
    );
    host.nothing_was_found("memory");
    assert_eq!((host.property("steady", "InvocationID"), host.property("saw", "InvocationID")), (first, second));
    unlimited(host, "steady.service");
    unlimited(host, "saw.service");
    Passed::LeftAlone
}
