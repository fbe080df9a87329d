//! Thresholds of each signal, what follows from a step, and what holds for any evidence.

mod blame;
mod grounds;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::evidence::Evidence;
use super::signals::{HEAP, OOM, STALL, SWAP, UNIT, USED, conditions};
use super::{MemoryShort, Params};
use crate::detect::{History, Wants};
use crate::guard::never;
use crate::model::{
    AfterStep, BootId, Bytes, CgroupUse, CgroupVersion, Cgroups, Confidence, Counter, Diagnosis, JournalEntry, JournalLog, KernelEvent,
    KernelEventKind, KernelLog, LimitTo, Now, Observed, Plan, Pressure, Readings, Sample, Seconds, Severity, SignalKind, Step, StepKind,
    Subject, UnitLimit, UnitTarget, Verdict,
};
use crate::runbooks::Runbook;

const GIB: u64 = 1 << 30;
const CALM: (f64, f64) = (0.0, 0.0);

fn now(uptime_s: f64) -> Now {
    let wall = jiff::Timestamp::from_second(1_000_000 + uptime_s as i64).unwrap();
    Now { wall, boot: BootId("a".into()), uptime_s }
}

fn psi((some, full): (f64, f64)) -> Pressure {
    Pressure { some_avg10: some, some_avg60: 0.0, full_avg10: full, full_avg60: 0.0, some_total_us: 0, full_total_us: 0 }
}

fn counters(pairs: &[(&str, u64)]) -> Observed<Vec<Counter>> {
    Observed::fresh(pairs.iter().map(|(name, value)| Counter { name: (*name).into(), value: *value, is_bytes: true }).collect())
}

/// A host of 1000 bytes, for round shares.
fn sample(at_s: f64, used: u64, pressure: (f64, f64), swapped_in: u64) -> Sample {
    let mut readings = Readings::none("not asked");
    let swap = 100;
    readings.memory =
        counters(&[("MemTotal", 1000), ("MemFree", 10), ("MemAvailable", 1000 - used), ("SwapTotal", swap), ("SwapFree", swap)]);
    readings.vmstat = counters(&[("pswpin", swapped_in), ("pswpout", 0), ("oom_kill", 0)]);
    readings.memory_pressure = Observed::fresh(psi(pressure));
    readings.kernel_log = Observed::fresh(KernelLog::default());
    readings.journal = Observed::fresh(JournalLog::default());
    readings.cgroups = Observed::fresh(Cgroups { version: CgroupVersion::V2, count: 0, top: vec![], cut: 0, unreadable: 0 });
    let mut sample: Sample = serde_json::from_value(serde_json::json!({
        "at": now(at_s), "filesystems": {"unavailable": {"why": "not asked"}}, "disks": {"unavailable": {"why": "not asked"}},
        "io_pressure": {"unavailable": {"why": "not asked"}}, "node_disk_pressure": {"unavailable": {"why": "not asked"}},
        "readings": Readings::none("not asked"),
    }))
    .unwrap();
    sample.readings = readings;
    sample
}

/// What each signal wants: `W` warning, `C` critical, `-` clear, `=` stay, `?` unknown.
fn wants(samples: &[Sample]) -> BTreeMap<(SignalKind, Subject), char> {
    let mut history = History::default();
    samples.iter().for_each(|s| history.push(s));
    let told = conditions(samples.last().unwrap(), &history, &Params::default());
    let many = told.len();
    let told: BTreeMap<_, _> = told.into_iter().map(|c| ((c.kind, c.subject), letter(c.wants))).collect();
    assert_eq!(told.len(), many, "a subject is spoken of twice");
    told
}

fn letter(wants: Wants) -> char {
    match wants {
        Wants::Raise { severity: Severity::Warning, .. } => 'W',
        Wants::Raise { severity: Severity::Critical, .. } => 'C',
        Wants::Clear => '-',
        Wants::Stay => '=',
        Wants::Keep => 'k',
        Wants::Unknown => '?',
    }
}

fn of(kind: &SignalKind, samples: &[Sample]) -> char {
    wants(samples).get(&(kind.clone(), Subject::Host)).copied().unwrap_or(' ')
}

fn unit(name: &str) -> Subject {
    Subject::Unit { name: name.into() }
}

/// A minute of samples, five seconds apart, whose memory is what `used` says.
fn minute(used: impl Fn(u64) -> u64, pressure: (f64, f64), pages_per_s: u64) -> Vec<Sample> {
    (0..13).map(|i| sample(5.0 * i as f64 + 1.0, used(i), pressure, pages_per_s * 5 * i)).collect()
}

#[test]
fn much_is_used_when_it_waits_or_still_falls() {
    let waits = |used, some| of(&USED, &minute(|_| used, (some, 0.0), 0));
    assert_eq!((waits(900, 10.0), waits(899, 10.0), waits(850, 10.0), waits(849, 99.0)), ('W', '=', '=', '-'));
    assert_eq!((waits(950, 9.9), waits(950, 5.0)), ('k', 'k'), "pressure comes and goes, also while it is there");
    assert_eq!(waits(950, 4.9), '=', "full and calm is how a well-used host looks");
    assert_eq!(of(&USED, &minute(|i| 900 + i, CALM, 0)), 'W', "calm, but it goes on falling");
    // Of a hundred, one in a minute: that would last for longer than an hour.
    assert_eq!(of(&USED, &minute(|i| 900 + i / 12, CALM, 0)), '=', "it drifts");
    assert_eq!(of(&USED, &minute(|i| 950 - i, CALM, 0)), '=');
    let mut blind = minute(|_| 950, CALM, 0);
    blind.last_mut().unwrap().readings.memory = Observed::unavailable("EIO");
    assert_eq!(of(&USED, &blind), '?');
    let mut no_psi = minute(|i| 950 - i, CALM, 0);
    no_psi.last_mut().unwrap().readings.memory_pressure = Observed::unavailable("no PSI");
    assert_eq!(of(&USED, &no_psi), '?', "neither falls nor waits, as far as is known");
    let mut old = minute(|_| 950, (50.0, 0.0), 0);
    old.last_mut().unwrap().readings.memory = counters(&[("MemTotal", 1000), ("MemFree", 10)]);
    assert_eq!(of(&USED, &old), '?', "a kernel that does not tell MemAvailable");
}

#[test]
fn a_stall_lasts_until_nobody_waits() {
    let told = |full| of(&STALL, &[sample(1.0, 500, (full, full), 0)]);
    assert_eq!((told(15.0), told(14.9), told(1.0), told(0.9)), ('C', '=', '=', '-'));
    let by_the_kernel = |ago_s: f64, stalled_us, used| {
        let mut sample = sample(100.0, used, CALM, 0);
        let told_by = crate::model::StallTeller::Kernel;
        sample.stall = Some(crate::model::Stall { at_s: 100.0 - ago_s, stalled_us, within_us: 1_000_000, told_by });
        of(&STALL, &[sample])
    };
    assert_eq!((by_the_kernel(0.0, 150_000, 850), by_the_kernel(5.0, 150_000, 850), by_the_kernel(5.5, 150_000, 850)), ('C', 'C', '='));
    assert_eq!((by_the_kernel(60.0, 150_000, 850), by_the_kernel(60.5, 150_000, 850)), ('=', '-'), "none for a minute");
    assert_eq!((by_the_kernel(0.0, 149_999, 850), by_the_kernel(0.0, 150_000, 840)), ('-', 'W'), "too short; and where memory is left");
}

#[test]
fn swap_thrashes_when_it_is_read_back_and_all_wait() {
    let told = |pages, full| of(&SWAP, &minute(|_| 500, (full, full), pages));
    assert_eq!((told(500, 5.0), told(499, 5.0), told(500, 4.9), told(10, 5.0), told(9, 50.0)), ('W', '=', '=', '=', '-'));
    let mut none = minute(|_| 500, (50.0, 50.0), 900);
    none.last_mut().unwrap().readings.memory = counters(&[("MemTotal", 1000), ("MemFree", 10), ("MemAvailable", 500)]);
    assert_eq!(of(&SWAP, &none), '-', "no swap");
    assert_eq!(of(&SWAP, &[sample(1.0, 500, (50.0, 50.0), 0)]), '?', "one reading is no rate");
}

fn kill(at_s: f64, cgroup: &str) -> KernelEvent {
    let (subject, text) = ("java".into(), "Out of memory: Killed process 7 (java) total-vm:1kB".into());
    KernelEvent {
        kind: KernelEventKind::OomKill,
        seq: 1,
        at_us: (at_s * 1e6) as u64,
        subject,
        pid: Some(7),
        cgroup: Some(cgroup.into()),
        text,
    }
}

fn heard(at_s: f64, kills: Vec<KernelEvent>) -> Sample {
    let mut sample = sample(at_s, 500, CALM, 0);
    sample.readings.kernel_log = Observed::fresh(KernelLog { recent: kills, ..KernelLog::default() });
    sample
}

#[test]
fn a_kill_is_told_of_its_unit_for_ten_minutes() {
    let told = |ago_s: f64, cgroup: &str| wants(&[heard(1000.0, vec![kill(1000.0 - ago_s, cgroup)])]);
    let shop = (OOM, unit("shop.service"));
    assert_eq!(told(600.0, "/system.slice/shop.service")[&shop], 'C');
    assert_eq!(told(600.5, "/system.slice/shop.service")[&shop], '-');
    assert_eq!(told(1.0, "/system.slice/shop.service")[&(OOM, Subject::Host)], '-', "it is the unit's");
    assert_eq!(
        told(1.0, "/system.slice/docker-1.scope/system.slice/shop.service")[&(OOM, Subject::Host)],
        'C',
        "a container's unit is none"
    );
    let twice = heard(1000.0, vec![kill(100.0, "/system.slice/shop.service"), kill(990.0, "/system.slice/shop.service")]);
    assert_eq!(wants(&[twice])[&shop], 'C', "the newest counts");
}

fn groups(at_s: f64, groups: Vec<CgroupUse>) -> Sample {
    let mut sample = sample(at_s, 500, CALM, 0);
    sample.readings.cgroups = Observed::fresh(Cgroups { version: CgroupVersion::V2, count: 1, top: groups, cut: 0, unreadable: 0 });
    sample
}

fn shop(set: Option<u64>, all: u64, limit: Option<u64>, kills: u64) -> CgroupUse {
    CgroupUse {
        path: "/system.slice/shop.service".into(),
        memory_bytes: Some(all),
        working_set_bytes: set,
        memory_max_bytes: limit,
        oom_kills: Some(kills),
        ..CgroupUse::default()
    }
}

#[test]
fn a_group_s_own_count_tells_of_a_kill_that_the_log_does_not() {
    let at = |at_s, kills| groups(at_s, vec![shop(None, 1, None, kills)]);
    let told = |samples: &[Sample]| wants(samples).get(&(OOM, unit("shop.service"))).copied().unwrap_or(' ');
    assert_eq!(told(&[at(1.0, 3)]), ' ', "what it counted before it was watched");
    assert_eq!(told(&[at(1.0, 3), at(30.0, 4), at(60.0, 4)]), 'C');
    assert_eq!(told(&[at(1.0, 3), at(30.0, 4), at(700.0, 4)]), '-');
    assert_eq!(told(&[at(1.0, 3), at(30.0, 0)]), ' ', "the group was made anew");
    let deaf = |at_s, count| {
        let mut sample = sample(at_s, 500, CALM, 0);
        sample.readings.kernel_log = Observed::unavailable("/dev/kmsg: EPERM");
        sample.readings.vmstat = counters(&[("oom_kill", count)]);
        sample
    };
    assert_eq!(of(&OOM, &[deaf(1.0, 2)]), '-');
    assert_eq!(of(&OOM, &[deaf(1.0, 2), deaf(6.0, 3)]), 'C');
    let mut neither = deaf(6.0, 3);
    neither.readings.vmstat = Observed::unavailable("EIO");
    assert_eq!(of(&OOM, &[neither]), '?');
}

#[test]
fn a_unit_is_near_its_limit_by_its_working_set() {
    let told = |group: CgroupUse| wants(&[groups(1.0, vec![group])])[&(UNIT, unit("shop.service"))];
    for (set, says) in [(900, 'W'), (899, '='), (700, '='), (699, '-')] {
        assert_eq!(told(shop(Some(set), 1000, Some(1000), 0)), says, "{set}");
    }
    assert_eq!(told(shop(Some(1000), 1000, None, 0)), '-', "no limit");
    assert_eq!(told(shop(None, 950, Some(1000), 0)), '?', "it may be all page cache");
    assert_eq!(told(shop(None, 600, Some(1000), 0)), '-', "with its page cache it is under it");
    let mut blind = groups(6.0, vec![]);
    blind.readings.cgroups = Observed::unavailable("EIO");
    let known = groups(1.0, vec![shop(Some(950), 950, Some(1000), 0)]);
    assert_eq!(wants(&[known, blind])[&(UNIT, unit("shop.service"))], '?', "not to be listed is not to be gone");
}

#[test]
fn a_runtime_says_that_its_memory_is_exhausted() {
    let told = |message: &str, ago_s: i64, name: &str| {
        let mut sample = sample(1000.0, 500, CALM, 0);
        let at = Some(sample.at.wall - jiff::SignedDuration::from_secs(ago_s));
        let entry = JournalEntry { at, unit: name.into(), message: message.into(), ..JournalEntry::default() };
        sample.readings.journal = Observed::fresh(JournalLog { recent: vec![entry], ..JournalLog::default() });
        wants(&[sample]).get(&(HEAP, unit("shop.service"))).copied().unwrap_or(' ')
    };
    for message in [
        "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space",
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        "fatal error: runtime: out of memory",
    ] {
        assert_eq!(told(message, 600, "shop.service"), 'W', "{message}");
        assert_eq!(told(message, 601, "shop.service"), '-', "{message}");
        assert_eq!(told(message, 1, ""), ' ', "of no unit");
    }
    assert_eq!(told("the printer is out of memory", 1, "shop.service"), ' ');
}

macro_rules! cases {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../../../fixtures/cases/memory/", $name, "/evidence.json"))),)*]
    };
}

const CASES: &[(&str, &str)] = cases![
    "001-a-worker-eats-the-host",
    "002-a-worker-that-may-be-restarted",
    "004-a-service-leaks-up-to-its-limit",
    "005-it-grows-since-a-release",
    "006-a-heap-larger-than-its-limit",
    "007-it-follows-its-requests",
    "008-a-limit-that-is-a-little-too-small",
    "009-only-page-cache",
    "013-a-program-in-no-unit-that-may-be-ended",
    "026-a-job-that-began-stalls-the-host",
    "023-killed-again-after-four-restarts",
    "024-a-limit-is-all-that-holds-it",
];

fn case(name: &str) -> Evidence {
    let (_, text) = CASES.iter().find(|(known, _)| *known == name).unwrap();
    serde_json::from_str(text).unwrap()
}

/// As it is looked at again, a moment later.
fn later(evidence: &Evidence, after_s: f64, change: impl FnOnce(&mut Evidence)) -> Evidence {
    let mut later = evidence.clone();
    later.taken.uptime_s += after_s;
    later.brief = true;
    change(&mut later);
    later
}

fn used(evidence: &mut Evidence, percent: f64) {
    if let Observed::Value { value, .. } = &mut evidence.memory {
        value.available = Bytes((value.total.0 as f64 * (100.0 - percent) / 100.0) as u64);
    }
}

fn group<'a>(evidence: &'a mut Evidence, name: &str) -> &'a mut CgroupUse {
    match &mut evidence.groups {
        Observed::Value { value, .. } => &mut value.iter_mut().find(|g| g.unit.as_deref() == Some(name)).unwrap().used,
        Observed::Unavailable { why } => panic!("{why}"),
    }
}

#[test]
fn the_next_step_waits_while_memory_comes_back() {
    let before = case("001-a-worker-eats-the-host");
    let after = |percent| MemoryShort::after_step(&before, &later(&before, 5.0, |e| used(e, percent)), &Params::default());
    assert!(matches!(after(94.0), AfterStep::Continue { .. }));
    assert!(matches!(after(93.5), AfterStep::Continue { .. }), "that much comes and goes");
    assert!(matches!(after(96.0), AfterStep::Continue { .. }));
    assert!(matches!(after(92.9), AfterStep::Enough { .. }), "it has begun to come back");
    assert!(matches!(after(84.9), AfterStep::Enough { .. }));
    let blind = later(&before, 5.0, |e| e.memory = Observed::unavailable("EIO"));
    assert!(matches!(MemoryShort::after_step(&before, &blind, &Params::default()), AfterStep::Abort { .. }));
    let own = case("004-a-service-leaks-up-to-its-limit");
    let gave = |share: f64| {
        let after = later(&own, 5.0, |e| {
            let shop = group(e, "shop.service");
            shop.memory_bytes = shop.memory_bytes.map(|bytes| (bytes as f64 * share) as u64);
        });
        MemoryShort::after_step(&own, &after, &Params::default())
    };
    assert!(matches!(gave(0.96), AfterStep::Continue { .. }));
    assert!(matches!(gave(0.94), AfterStep::Enough { .. }));
}

#[test]
fn a_host_is_well_when_less_is_used_nobody_was_killed_and_little_is_swapped_in() {
    let before = case("001-a-worker-eats-the-host");
    let verdict = |change: &dyn Fn(&mut Evidence)| {
        let after = later(&before, 60.0, |e| {
            used(e, 80.0);
            change(e);
        });
        MemoryShort::verify(&before, &after, &Params::default())
    };
    assert!(matches!(verdict(&|_| {}), Verdict::Resolved { .. }));
    assert!(matches!(verdict(&|e| used(e, 85.0)), Verdict::NotResolved { .. }));
    assert!(matches!(verdict(&|e| used(e, 84.9)), Verdict::Resolved { .. }));
    assert!(matches!(verdict(&|e| e.oom_count = Observed::fresh(1)), Verdict::NotResolved { .. }));
    assert!(matches!(verdict(&|e| e.oom_count = Observed::unavailable("EIO")), Verdict::Unknown { .. }));
    assert!(matches!(verdict(&|e| e.memory = Observed::unavailable("EIO")), Verdict::Unknown { .. }));
    assert!(matches!(verdict(&|e| e.taken.boot = BootId("b".into())), Verdict::Unknown { .. }));
    let swap = |e: &mut Evidence, pages| {
        if let Observed::Value { value, .. } = &mut e.memory {
            value.swap_total = Bytes(GIB);
        }
        e.swap_in_per_s = Observed::fresh(pages);
    };
    assert!(matches!(verdict(&|e| swap(e, 10.0)), Verdict::NotResolved { .. }));
    assert!(matches!(verdict(&|e| swap(e, 9.9)), Verdict::Resolved { .. }));
}

#[test]
fn what_only_a_limit_holds_is_not_resolved_and_the_limit_is_named() {
    let before = case("001-a-worker-eats-the-host");
    let limited = |bytes: u64, events| {
        later(&before, 60.0, |e| {
            used(e, 80.0);
            let worker = group(e, "report.service");
            (worker.memory_bytes, worker.memory_high_bytes, worker.high_events) = (Some(bytes), Some(1000), Some(events));
            let target = UnitTarget { unit: "report.service".into(), invocation: "1f".into() };
            e.in_force = vec![Step::LimitUnit(UnitLimit { target, limit: LimitTo::MemoryHigh(Bytes(1000)) })];
        })
    };
    let held = MemoryShort::verify(&before, &limited(970, 7), &Params::default());
    assert!(matches!(&held, Verdict::NotResolved { why } if why.contains("report.service presses against MemoryHigh=1000 B")), "{held:?}");
    assert!(matches!(MemoryShort::after_step(&before, &limited(970, 7), &Params::default()), AfterStep::Enough { .. }));
    assert!(matches!(MemoryShort::verify(&before, &limited(969, 7), &Params::default()), Verdict::Resolved { .. }));
    assert!(
        matches!(MemoryShort::verify(&before, &limited(970, 0), &Params::default()), Verdict::Resolved { .. }),
        "it was never held back"
    );
    let first = limited(900, 7);
    assert!(
        matches!(MemoryShort::verify(&first, &limited(980, 8), &Params::default()), Verdict::NotResolved { .. }),
        "looked at once more"
    );
    // The second round finds the limit in place, and it is all that holds the unit still.
    let second = Evidence { brief: false, ..limited(980, 8) };
    let verdict = |after: &Evidence| MemoryShort::verify(&second, after, &Params::default());
    assert!(matches!(verdict(&limited(980, 9)), Verdict::NotResolved { .. }), "for as long as it presses");
    assert!(matches!(verdict(&limited(900, 9)), Verdict::Resolved { .. }));
    // An owner's limit is where he wants the unit to be, in every look.
    let by_hand = Evidence { in_force: vec![], ..limited(980, 9) };
    assert!(matches!(MemoryShort::verify(&limited(900, 7), &by_hand, &Params::default()), Verdict::Resolved { .. }));
    assert!(matches!(verdict(&by_hand), Verdict::Resolved { .. }));
}

#[test]
fn a_unit_is_well_under_its_floor() {
    let before = case("004-a-service-leaks-up-to-its-limit");
    let verdict = |percent: u64| {
        let after = later(&before, 60.0, |e| {
            let shop = group(e, "shop.service");
            shop.working_set_bytes = shop.memory_max_bytes.map(|max| max / 1000 * percent);
        });
        MemoryShort::verify(&before, &after, &Params::default())
    };
    assert!(matches!((verdict(699), verdict(701)), (Verdict::Resolved { .. }, Verdict::NotResolved { .. })));
    let gone = later(&before, 60.0, |e| e.groups = Observed::fresh(vec![]));
    assert!(matches!(MemoryShort::verify(&before, &gone, &Params::default()), Verdict::Unknown { .. }));
}

fn willing() -> Params {
    let mut params = Params::default();
    params.limits.steps.extend([StepKind::HeapSnapshot, StepKind::RestartUnit, StepKind::KillProcess]);
    params.limits.processes = vec!["crunch".into()];
    params.limits.heap_snapshot_roots = vec!["/srv/dumps".into()];
    params
}

fn decide(evidence: &Evidence, params: &Params) -> (Diagnosis, Plan) {
    let diagnosis = MemoryShort::classify(evidence, params, &evidence.taken);
    let plan = MemoryShort::plan(evidence, &diagnosis, params, &evidence.taken);
    (diagnosis, plan)
}

/// Parts that can fail, the whole ones first.
const PARTS: usize = 13;

fn without(evidence: &Evidence, part: usize) -> Evidence {
    fn none<T>() -> Observed<T> {
        Observed::unavailable("could not be read")
    }
    let mut e = evidence.clone();
    let mut groups = |change: &dyn Fn(&mut super::Group)| {
        if let Observed::Value { value, .. } = &mut e.groups {
            value.iter_mut().for_each(change);
        }
    };
    match part {
        9 => groups(&|g| g.past = none()),
        10 => groups(&|g| g.facts = none()),
        11 => groups(&|g| g.processes = none()),
        12 => groups(&|g| (g.used.working_set_bytes, g.used.memory_bytes) = (None, None)),
        _ => {}
    }
    match part {
        0 => e.memory = none(),
        1 => e.pressure = none(),
        2 => e.groups = none(),
        3 => e.processes = none(),
        4 => e.deploys = none(),
        5 => e.oom_kills = none(),
        6 => e.hierarchy = none(),
        7 => e.traffic = e.traffic.map(|_| none()),
        8 => {
            if let Observed::Value { value, .. } = &mut e.processes {
                value.iter_mut().for_each(|p| (p.past, p.heap, p.detail) = (none(), none(), none()));
            }
        }
        _ => {}
    }
    e
}

/// Evidence of the cases, each mixed with parts of another and stirred.
fn evidence() -> impl Strategy<Value = Evidence> {
    let shares = (0.3..1.7f64, 0.3..1.7f64, -2.0..2.0f64, 40.0..99.0f64);
    (select(CASES.to_vec()), select(CASES.to_vec()), shares, any::<[bool; 6]>(), 0u32..6).prop_map(
        |(one, other, shares, mixed, restarts)| {
            let (mut e, o) = (case(one.0), case(other.0));
            let (memory, usual, trend, percent) = shares;
            if mixed[0] {
                e.deploys = o.deploys;
            }
            if mixed[1] {
                e.traffic = o.traffic;
            }
            if mixed[2] {
                e.pressure = o.pressure;
            }
            if mixed[3]
                && let (Observed::Value { value, .. }, Observed::Value { value: more, .. }) = (&mut e.groups, o.groups)
            {
                value.extend(
                    more.into_iter().filter(|g| g.unit.as_deref() != Some("nginx.service") && g.unit.as_deref() != Some("shop.service")),
                );
            }
            if mixed[4] {
                e.processes = o.processes;
            }
            if mixed[5] {
                used(&mut e, percent);
            }
            let bent = |bytes: u64, by: f64| (bytes as f64 * by) as u64;
            if let Observed::Value { value, .. } = &mut e.groups {
                for g in value.iter_mut() {
                    g.used.memory_bytes = g.used.memory_bytes.map(|b| bent(b, memory));
                    g.used.working_set_bytes = g.used.working_set_bytes.map(|b| bent(b, memory));
                    if let Observed::Value { value: past, .. } = &mut g.past {
                        past.memory_usual = past.memory_usual.map(|b| Bytes(bent(b.0, usual)));
                        past.growth = past.growth.map(|growth| crate::detect::Growth { bytes_per_s: growth.bytes_per_s * trend, ..growth });
                    }
                    if let Observed::Value { value: facts, .. } = &mut g.facts {
                        facts.restarts = restarts;
                    }
                }
            }
            e
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn less_evidence_never_raises_confidence(e in evidence()) {
        let all = decide(&e, &willing()).0;
        for part in 0..PARTS {
            let less = decide(&without(&e, part), &willing()).0;
            prop_assert!(less.confidence <= all.confidence, "{} {} -> {} {} without part {part}", all.class, all.confidence, less.class, less.confidence);
        }
    }

    #[test]
    fn older_evidence_never_raises_confidence(e in evidence(), later_s in 0.0..2000.0f64) {
        let then = Now { uptime_s: e.taken.uptime_s + later_s, ..e.taken.clone() };
        prop_assert!(MemoryShort::classify(&e, &willing(), &then).confidence <= MemoryShort::classify(&e, &willing(), &e.taken).confidence);
    }

    #[test]
    fn what_a_step_needs_and_is_not_known_keeps_it_from_being_taken(e in evidence()) {
        for (part, needs) in [
            (0, &StepKind::ALL[..]),
            (2, &StepKind::ALL[..]),
            (6, &[StepKind::MemoryHigh]),
            (10, &[StepKind::MemoryHigh, StepKind::HeapSnapshot, StepKind::RestartUnit]),
        ] {
            let (diagnosis, plan) = decide(&without(&e, part), &willing());
            let step = plan.steps.iter().find(|s| needs.contains(&s.step.kind()));
            prop_assert!(diagnosis.confidence < Confidence::TO_ACT || step.is_none(), "without part {part}: {:?}", step.map(|s| s.step.kind()));
        }
    }

    #[test]
    fn no_plan_holds_what_may_never_be_touched(
        e in evidence(),
        name in select(vec!["sshd.service", "docker.service", "postgresql@15-main.service", "dbus.service", "session-3.scope", "shop.service"]),
        comm in select(vec!["sshd", "systemd", "kubelet", "crunch", "java"]),
        pid in select(vec![1u32, 2, 7700]),
    ) {
        let mut e = e;
        if let Observed::Value { value, .. } = &mut e.groups {
            for g in value.iter_mut().filter(|g| g.unit.is_some()) {
                g.unit = Some(name.to_owned());
                if let Observed::Value { value: processes, .. } = &mut g.processes {
                    processes.iter_mut().for_each(|p| (p.unit, p.comm, p.pid) = (Some(name.to_owned()), comm.into(), pid));
                }
            }
        }
        if let Observed::Value { value, .. } = &mut e.processes {
            value.iter_mut().for_each(|p| (p.facts.comm, p.facts.pid) = (comm.into(), pid));
        }
        if matches!(e.subject, Subject::Unit { .. }) {
            e.subject = unit(name);
        }
        let (diagnosis, plan) = decide(&e, &willing());
        for planned in &plan.steps {
            let kind = planned.step.kind();
            prop_assert!(super::steps::STEPS.contains(&kind));
            if let Some(unit) = planned.step.unit() {
                prop_assert_eq!(never::unit(unit), None);
                prop_assert!(!never::stateful_unit(unit, &[]), "{}", unit);
            }
            for process in planned.step.processes() {
                prop_assert_eq!(never::process(process.pid, process.comm.as_bytes()), None);
            }
            prop_assert!(["noisy_neighbor", "memory_leak"].contains(&&*diagnosis.class), "{} is not acted on", diagnosis.class);
        }
        let kinds: Vec<StepKind> = plan.steps.iter().map(|s| s.step.kind()).collect();
        prop_assert!(kinds.windows(2).all(|w| w[0] < w[1]), "least harm first: {kinds:?}");
        prop_assert_eq!(decide(&e, &willing()), (diagnosis, plan));
    }
}

#[test]
fn a_limit_leaves_its_usual_and_gives_something_back() {
    let high = |current: u64, usual: u64| {
        let mut e = case("001-a-worker-eats-the-host");
        group(&mut e, "report.service").memory_bytes = Some(current);
        group(&mut e, "report.service").working_set_bytes = Some(6 * GIB);
        if let Observed::Value { value, .. } = &mut e.groups
            && let Observed::Value { value: past, .. } = &mut value[0].past
        {
            past.memory_usual = Some(Bytes(usual));
            past.over = Seconds(14_400.0);
        }
        let plan = decide(&e, &willing()).1;
        let limit = plan.steps.iter().find_map(|s| match &s.step {
            crate::model::Step::LimitUnit(limit) => Some(limit.limit),
            _ => None,
        });
        limit.map(|limit| match limit {
            crate::model::LimitTo::MemoryHigh(bytes) => bytes.0,
            other => panic!("{other:?}"),
        })
    };
    const MIB: u64 = 1 << 20;
    assert_eq!(high(6000 * MIB, 1000 * MIB), Some(4800 * MIB), "a fifth of what it has now");
    assert_eq!(high(6000 * MIB, 4095 * MIB), Some(4914 * MIB), "a fifth more than its usual");
    assert_eq!(high(70 * MIB, MIB), Some(64 * MIB), "never less");
    assert_eq!(high(60 * MIB, MIB), None);
}
