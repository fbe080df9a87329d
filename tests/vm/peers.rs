//! BytePort beside its peers: the same two faults on the same machine, with each of them in charge, and with nobody.
//!
//! `make bench-vm`, or `cargo test --test vm -- --peers [HEALER…]`, writes `docs/peers.md`. What is counted comes from the kernel and from
//! systemd alone, and in the same way for all; a healer's own word is only quoted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::faults::{Consent, Unit};
use crate::host::Host;

/// Short of memory: less than this share of it is available. Relieved: more than twice as much, and it stays so.
const SHORT: f64 = 0.10;
const RELIEVED: f64 = 0.20;
const STAYS_S: f64 = 10.0;
/// From the fault on.
const WINDOW: Duration = Duration::from_secs(110);
/// Before it: what is usual is known after ten minutes.
const LIFE: Duration = Duration::from_secs(11 * 60);
/// For one question to a machine that may be out of memory.
const SLOW: Duration = Duration::from_secs(240);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healer {
    Nothing,
    Earlyoom,
    SystemdOomd,
    BytePort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    LeakInUnit,
    GlobalOom,
}

/// What a run came to.
#[derive(Debug)]
pub struct Row {
    fault: Fault,
    healer: Healer,
    /// Boot clock: first short of memory.
    short_at: Option<f64>,
    /// Seconds from there until it was relieved for good.
    relief_s: Option<f64>,
    /// Seconds in which every task waited for memory.
    stalled_s: f64,
    kernel_kills: u64,
    /// The run of `app` that went wrong has been ended.
    ended: bool,
    /// Others' processes that were there when the fault began and are gone: by unit.
    lost: BTreeMap<String, usize>,
    /// The healer's own words.
    said: Vec<String>,
}

const OFFENDER: &str = "app.service";
/// Well until one of its faults is asked for; started again, it is well for good.
const APP: &str = "/bin/sh -c 'mkdir /run/app-was-here || exec /usr/local/bin/hold 10; \
             until [ -e /run/leaks ] || [ -e /run/takes-all ]; do sleep 1; done; \
             [ -e /run/leaks ] && exec /usr/local/bin/workers 5 /usr/local/bin/leak 1 0.4 1000; exec /usr/local/bin/leak 8 0.02 2000'";
/// Part of what the saved state is good for.
pub const RECIPE: &str = include_str!("peers.rs");
/// What must not die of somebody else's fault. `search` is the largest single process of the host for most of the leak.
const BYSTANDERS: [Unit<'static>; 2] = [
    Unit { name: "search.service", run: "/usr/local/bin/hold 230", lines: "", consent: Consent::None },
    Unit { name: "shop.service", run: "/usr/local/bin/hold 50", lines: "", consent: Consent::None },
];

impl Healer {
    pub const ALL: [Healer; 4] = [Self::Nothing, Self::Earlyoom, Self::SystemdOomd, Self::BytePort];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Earlyoom => "earlyoom",
            Self::SystemdOomd => "systemd-oomd",
            Self::BytePort => "byteport",
        }
    }

    fn take_charge(self, host: &mut Host<'_>) {
        match self {
            Self::Nothing => {}
            // As Debian delivers it.
            Self::Earlyoom => drop(host.sh("systemctl start earlyoom && systemctl is-active earlyoom")),
            // It does nothing to a slice that does not ask for it: what Fedora sets up.
            Self::SystemdOomd => drop(host.sh(
                "mkdir -p /etc/systemd/system/{-.slice.d,system.slice.d} /etc/systemd/oomd.conf.d
                 printf '[Slice]\\nManagedOOMSwap=kill\\n' >/etc/systemd/system/-.slice.d/oomd.conf
                 printf '[Slice]\\nManagedOOMMemoryPressure=kill\\nManagedOOMMemoryPressureLimit=50%%\\n' >/etc/systemd/system/system.slice.d/oomd.conf
                 printf '[OOM]\\nDefaultMemoryPressureDurationSec=20s\\n' >/etc/systemd/oomd.conf.d/fedora.conf
                 systemctl daemon-reload && systemctl start systemd-oomd && systemctl is-active systemd-oomd",
            )),
            Self::BytePort => {}
        }
        if self != Self::BytePort {
            host.sh("systemctl stop byteport-agent byteport-actuator");
        }
    }

    const fn its_words(self) -> &'static str {
        match self {
            Self::Nothing => "dmesg | grep -o 'Out of memory: Killed process.*total-vm' | sed 's/, UID.*//; s/total-vm//'",
            Self::Earlyoom => "journalctl -q --no-pager -o cat -u earlyoom | grep -E '^sending|^process' | sed 's/oom_score.*//'",
            Self::SystemdOomd => "journalctl -q --no-pager -o cat -u systemd-oomd | grep -E '^Killed'",
            Self::BytePort => "byteportctl incidents",
        }
    }
}

impl Fault {
    pub const ALL: [Fault; 2] = [Self::LeakInUnit, Self::GlobalOom];

    const fn title(self) -> &'static str {
        match self {
            Self::LeakInUnit => "leak in a unit",
            Self::GlobalOom => "global OOM",
        }
    }

    const fn begins(self) -> &'static str {
        match self {
            // Together they have most of the memory before one of them is as large as `search`.
            Self::LeakInUnit => "touch /run/leaks",
            Self::GlobalOom => "touch /run/takes-all",
        }
    }

    const fn about(self) -> &'static str {
        match self {
            Self::LeakInUnit => {
                "`app.service`, which may be restarted, has five worker processes that begin to leak 2.5 MiB/s each. 200 MiB of swap. Until late, the \
                 largest single process of the host is a bystander. Started again, it is well"
            }
            Self::GlobalOom => "one process of `app.service` takes all memory as fast as it can. No swap. Started again, it is well",
        }
    }
}

/// All are well, and BytePort looks on, every threshold as delivered: both consents are given, for restarting the one unit that says that it may
/// be. The swap that one of the faults has is not there yet.
pub fn live(host: &mut Host<'_>) {
    host.faults();
    host.units(&BYSTANDERS);
    host.units(&[Unit { name: OFFENDER, run: APP, lines: "Restart=on-failure\nRestartSec=1s", consent: Consent::Given }]);
    host.units(&[Unit {
        name: "watch.service",
        run: "/usr/local/bin/watch 0.2",
        lines: "Slice=harness.slice\nOOMScoreAdjust=-1000\nMemoryMin=16M\nCPUWeight=1000\nStandardOutput=file:/run/watch",
        consent: Consent::None,
    }]);
    host.sh("systemctl start search shop cron app");
    host.installed(
        "mode = \"act\"\nallow = [\"memory\"]\n[memory.limits]\nsteps = [\"oom_preference\", \"memory_high\", \"restart_unit\"]\n",
        "allow = [\"memory\"]\n[memory]\nsteps = [\"oom_preference\", \"memory_high\", \"restart_unit\"]\n",
    );
    std::thread::sleep(LIFE);
    host.nothing_was_found("memory");
}

pub fn run(healer: Healer, fault: Fault, host: &mut Host<'_>) -> Row {
    if fault == Fault::LeakInUnit {
        host.sh("disk=/dev/disk/by-id/virtio-scratch1; mkswap -q $disk 204800 && swapon $disk");
    }
    healer.take_charge(host);
    host.sh("systemctl start watch; sleep 5");
    // The first run, for as long as it is the one that goes wrong. Who is there now, by unit: pid and start time.
    let first = host.property(OFFENDER, "InvocationID");
    let before = processes(host);
    host.sh(fault.begins());
    let fault_at = host.uptime();
    std::thread::sleep(WINDOW);
    let watched = host.sh_within(SLOW, "cat /run/watch");
    let after = processes(host);
    let run = host.sh_within(SLOW, "systemctl show --value -p InvocationID app; systemctl is-active app; true");
    let said = host.tried(healer.its_words(), SLOW).map_or_else(|why| why, |ran| ran.said);

    let samples: Vec<[f64; 6]> = watched.lines().filter_map(sample).filter(|s| s[0] >= fault_at).collect();
    assert!(samples.len() > 20, "the watch saw too little: {watched}");
    let total: f64 = host.sh("awk '/^MemTotal/ { print $2 }' /proc/meminfo").trim().parse().expect("a number");
    let short_at = samples.iter().find(|s| s[1] < total * SHORT).map(|s| s[0]);
    let relief_s = short_at.and_then(|at| relieved(&samples, at, total));
    let (begin, last) = (samples[0], samples[samples.len() - 1]);
    let mut lost: BTreeMap<String, usize> = before
        .iter()
        .filter(|(unit, _)| !["watch.service", OFFENDER].contains(&unit.as_str()))
        .filter_map(|(unit, was)| {
            let is = after.get(unit).map_or(&[][..], Vec::as_slice);
            let gone = was.iter().filter(|p| !is.contains(p)).count();
            (gone > 0).then(|| (unit.clone(), gone))
        })
        .collect();
    // What systemd says of the bystanders as well: nobody of theirs may be missing in either account.
    for unit in BYSTANDERS.map(|unit| unit.name) {
        let state = host.property(unit, "ActiveState");
        println!("{unit} is {state}: {:?} -> {:?}", before.get(unit), after.get(unit));
        if state != "active" {
            lost.entry(unit.to_owned()).or_insert(1);
        }
    }
    let ended = run != format!("{first}\nactive\n");
    println!("{} / {}: app ended: {ended}, lost {lost:?}", fault.title(), healer.name());
    Row {
        fault,
        healer,
        short_at: short_at.map(|at| at - fault_at),
        relief_s,
        stalled_s: (last[4] - begin[4]) / 1e6,
        kernel_kills: (last[5] - begin[5]) as u64,
        ended,
        lost,
        said: said.lines().map(str::trim).filter(|l| !l.is_empty()).take(6).map(str::to_owned).collect(),
    }
}

fn sample(line: &str) -> Option<[f64; 6]> {
    let numbers: Vec<f64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
    numbers.try_into().ok()
}

/// Seconds from `at` until so much is available as must be, and stays.
fn relieved(samples: &[[f64; 6]], at: f64, total: f64) -> Option<f64> {
    let last_short = samples.iter().rev().find(|s| s[1] < total * RELIEVED).map(|s| s[0])?;
    let then = samples.iter().find(|s| s[0] > last_short)?[0];
    (samples.last()?[0] - then >= STAYS_S).then_some(then - at)
}

/// All processes of all services, as `pid:start`, by unit.
fn processes(host: &mut Host<'_>) -> BTreeMap<String, Vec<String>> {
    let said = host.sh_within(
        SLOW,
        "cd /sys/fs/cgroup/system.slice; for unit in *.service; do while read -r pid; do
             stat=$(cat /proc/$pid/stat 2>/dev/null) || continue
             set -- ${stat##*) }; echo $unit $pid:${20}
         done <$unit/cgroup.procs; done",
    );
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (unit, process) in said.lines().filter_map(|l| l.split_once(' ')) {
        all.entry(unit.to_owned()).or_default().push(process.to_owned());
    }
    all
}

/// The page that is written to `docs/`.
pub fn page(rows: &[Row], machine: &str) -> String {
    let mut text = String::from(
        "# Beside the peers\n\nTwo faults on the same virtual machine, with nobody in charge, with earlyoom, with systemd-oomd, and with BytePort. This page is \
         written by `make bench-vm`; do not edit it.\n",
    );
    for fault in Fault::ALL {
        let _ = writeln!(text, "\n## {}\n\n{}.\n", fault.title(), fault.about());
        text +=
            "| in charge | short of memory after | time to relief | all tasks stalled | `app` ended | collateral | kernel's OOM kills |\n";
        text += "| --- | ---: | ---: | ---: | --- | --- | ---: |\n";
        for row in rows.iter().filter(|r| r.fault == fault) {
            let seconds = |s: Option<f64>| s.map_or("never".to_owned(), |s| format!("{s:.1} s"));
            let ended = if row.ended { "yes" } else { "no" };
            let others: Vec<String> = row.lost.iter().map(|(u, n)| format!("`{u}` ({n})")).collect();
            let collateral = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.1} s | {ended} | {collateral} | {} |",
                row.healer.name(),
                seconds(row.short_at),
                seconds(row.relief_s.filter(|_| row.short_at.is_some()))
                    .replace("never", if row.short_at.is_some() { "never" } else { "-" }),
                row.stalled_s,
                row.kernel_kills
            );
        }
        text += "\n";
        for row in rows.iter().filter(|r| r.fault == fault && !r.said.is_empty()) {
            let _ = writeln!(text, "{} said:\n\n```text\n{}\n```\n", row.healer.name(), row.said.join("\n"));
        }
    }
    let _ = write!(
        text,
        "\n## How this was measured\n\n\
         A Debian machine of 1 GiB and two processors ({machine}), restored to the same state for each line, in which all was well for {life} minutes; one run a line, {window} s from the fault on. \
         Beside `app.service` run `search.service` (one process that uses 230 MiB all the time), `shop.service` (50 MiB), and what Debian brings. \
         A process with locked pages, outside of anybody's reach, writes down `MemAvailable`, the pressure and the OOM counter five times a second.\n\n\
         - *Short of memory*: less than {short:.0} % available, counted from the fault. *Relief*: from there until more than {relieved:.0} % is \
         available and stays so until the end, for at least {STAYS_S:.0} s.\n\
         - *All tasks stalled*: what the kernel adds up in `/proc/pressure/memory`, `full`.\n\
         - *`app` ended*: the run of it that went wrong. *Collateral*: processes of others (pid and start time) that were there when the fault began \
         and are not there at the end, by unit.\n\
         - earlyoom is as Debian delivers it. systemd-oomd is set up as Fedora does it: kills on pressure of `system.slice` (50 % for 20 s) and on swap (90 %). \
         BytePort has looked on in those minutes, with all its thresholds as delivered; for the others it is stopped. Its policy allows the runbook `memory` to limit and restart, and `app.service` says `Restart=safe`.\n\n\
         The seconds of an emulated machine are longer than yours: compare lines with each other, not with a clock.\n",
        window = WINDOW.as_secs(),
        life = LIFE.as_secs() / 60,
        short = SHORT * 100.0,
        relieved = RELIEVED * 100.0,
    );
    text
}
