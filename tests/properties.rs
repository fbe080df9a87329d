//! What holds for any evidence, however odd: of decisions, not of one case.

use byteport::detect::Growth;
use byteport::guard::{Limits, never};
use byteport::model::{
    BootId, Bytes, Candidates, Confidence, Diagnosis, DirUse, FileFamily, FileTarget, FileUse, FsKind, FsUsage, HeldFile, HeldFiles,
    HolderUnit, HostPath, ImageInfo, ImageStore, Mount, NotSeen, Now, Observed, Percent, Plan, Pressure, Recorded, Scan, Seconds, Severity,
    Signal, SignalKind, Step, StepKind, Subject, VolumeInfo, Writer,
};
use byteport::runbooks::disk::{Disk, Evidence, HolderAnswer, Io, Params, Ratio};
use byteport::runbooks::{Entry, Runbook};
use proptest::prelude::*;
use proptest::sample::select;

const DISK: Entry = Entry::of::<Disk>();
const GIB: u64 = 1 << 30;

fn now() -> Now {
    Now { wall: jiff::Timestamp::from_second(1_795_298_106).unwrap(), boot: BootId("b".into()), uptime_s: 90_000.0 }
}

/// Plain names, names that the never-list knows, names chosen by somebody hostile.
fn name() -> impl Strategy<Value = HostPath> {
    let known = select(vec![
        "app.log.1",
        "app/old.gz",
        "x.zst",
        "audit/audit.log.1",
        "wtmp",
        "btmp.1",
        "lastlog",
        "faillog",
        "auth.log",
        "syslog",
        "messages",
        "syslog.2.gz",
        "0f5b/system.journal",
        "0f5b/system@1.journal",
        "0f5b/user-1000@2.journal~",
        "systemd-private-1/x",
        ".X11-unix/X0",
        "snap-private-tmp/a",
        "core.1",
        "deep/er/and/deeper.log",
        "pod/volumes/kubernetes.io~nfs/x",
        "linux.deb",
    ])
    .prop_map(HostPath::from);
    let hostile = proptest::collection::vec(any::<u8>().prop_filter("no slash, no NUL", |b| !matches!(b, b'/' | 0)), 1..12)
        .prop_filter("a plain name", |b| b != b"." && b != b"..")
        .prop_map(HostPath::from_bytes);
    prop_oneof![4 => known, 1 => hostile]
}

fn file() -> impl Strategy<Value = FileTarget> {
    (name(), any::<u64>(), 0..8 * GIB, 0i64..2_000_000_000_000_000_000, 1u32..3).prop_map(|(path, ino, on_disk, mtime_ns, links)| {
        FileTarget { path, ino, size: on_disk, on_disk, mtime_ns, ctime_ns: mtime_ns, links }
    })
}

fn candidates() -> impl Strategy<Value = Candidates> {
    let family = select(vec![
        (FileFamily::ClosedLogs, "/var/log"),
        (FileFamily::RotatedLogs, "/var/log"),
        (FileFamily::JournalArchives, "/var/log/journal"),
        (FileFamily::Tmp, "/tmp"),
        (FileFamily::Tmp, "/var/tmp"),
        (FileFamily::PackageCache, "/var/cache/apt/archives"),
        (FileFamily::PipCache, "/root/.cache/pip"),
        (FileFamily::NpmCache, "/root/.npm/_cacache"),
        (FileFamily::CoreDumps, "/var/lib/systemd/coredump"),
    ]);
    let files = proptest::collection::vec(file(), 0..6);
    (family, files, proptest::collection::vec(file(), 0..2), 0u64..100_000, 0..GIB, 0u64..5).prop_map(
        |((family, root), files, dirs, more, more_bytes, hard_linked)| Candidates {
            family,
            root: root.into(),
            total_files: files.len() as u64 + more,
            total_on_disk: files.iter().map(|f| f.on_disk).sum::<u64>() + more_bytes,
            files,
            dirs,
            hard_linked,
        },
    )
}

fn age() -> impl Strategy<Value = f64> {
    prop_oneof![3 => Just(0.0), 1 => 0.0..2000.0]
}

fn observed<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Observed<T>> {
    prop_oneof![
        6 => (value, age()).prop_map(|(value, age_s)| Observed::Value { value, age_s }),
        1 => Just(Observed::unavailable("could not be read")),
    ]
}

fn scan() -> impl Strategy<Value = Scan> {
    let somewhere = || select(vec!["/var/log/app/live.log", "/srv/pg/base/1", "/tmp/x", "/usr/bin/y", "/"]).prop_map(HostPath::from);
    let dir = (somewhere(), 0..90 * GIB, 0u64..1_000_000).prop_map(|(path, on_disk, entries)| DirUse {
        path,
        on_disk,
        apparent: on_disk,
        entries,
    });
    let big =
        (somewhere(), 0..90 * GIB, 0u64..1_000_000).prop_map(|(path, on_disk, age_s)| FileUse { path, on_disk, apparent: on_disk, age_s });
    let dirs = proptest::collection::vec(dir, 0..4);
    (
        proptest::collection::vec(candidates(), 0..6),
        dirs.clone(),
        proptest::collection::vec(big, 0..4),
        dirs,
        0..100 * GIB,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(candidates, largest_dirs, largest_files, most_entries, on_disk, complete, unseen)| Scan {
            files: 100,
            dirs: 10,
            on_disk,
            apparent: on_disk,
            largest_dirs,
            largest_files,
            most_entries,
            candidates,
            complete,
            not_seen: if unseen { vec![NotSeen { why: "could not be read".into(), count: 2, examples: vec![] }] } else { vec![] },
            took_s: 1.0,
        })
}

fn usage() -> impl Strategy<Value = FsUsage> {
    (1..200u64, prop_oneof![3 => 0.7..1.0f64, 1 => 0.0..1.0f64], 0.0..0.1f64, 0u64..2_000_000, 0.0..1.0f64).prop_map(
        |(gib, used, reserved, inodes, inodes_free)| {
            let total = gib * GIB;
            let free = total - (total as f64 * used) as u64;
            let available = free.saturating_sub((total as f64 * reserved) as u64);
            FsUsage { total, free, available, inodes, inodes_free: (inodes as f64 * inodes_free) as u64 }
        },
    )
}

fn mount() -> impl Strategy<Value = Mount> {
    (select(vec!["ext4", "xfs", "btrfs"]), select(vec!["/dev/vda1", "/dev/mapper/vg-root"]), prop::bool::weighted(0.1)).prop_map(
        |(fs_type, source, read_only)| Mount {
            path: "/".into(),
            device: 7,
            source: source.into(),
            fs_type: fs_type.into(),
            kind: FsKind::Local,
            read_only,
            also_at: vec![],
        },
    )
}

fn signals() -> impl Strategy<Value = Vec<Signal>> {
    let names: Vec<&'static str> = DISK.signals.iter().map(|s| s.name).collect();
    // Most episodes are about space.
    let names = prop_oneof![3 => select(vec!["disk_usage_high", "disk_filling", "inode_exhaustion"]), 1 => select(names)];
    proptest::collection::vec((names, any::<bool>()), 0..3).prop_map(|kinds| {
        let severity = |critical| if critical { Severity::Critical } else { Severity::Warning };
        let signal = |(name, critical)| Signal {
            kind: SignalKind::new(name),
            subject: subject(),
            severity: severity(critical),
            since: now(),
            detail: "d".into(),
        };
        kinds.into_iter().map(signal).collect()
    })
}

fn subject() -> Subject {
    Subject::Filesystem { mount: "/".into(), device: 7 }
}

fn held() -> impl Strategy<Value = HeldFiles> {
    let file = (1u32..5, 0u32..9, 1u64..4, 0..20 * GIB).prop_map(|(pid, fd, ino, on_disk)| HeldFile {
        pid,
        start_ticks: 5,
        comm: "app".into(),
        fd,
        ino,
        on_disk,
        path: "/var/log/app.log".into(),
    });
    (proptest::collection::vec(file, 0..5), 0u64..3).prop_map(|(files, unreadable_processes)| HeldFiles { files, unreadable_processes })
}

fn unit() -> impl Strategy<Value = HolderUnit> {
    (
        select(vec!["app.service", "sshd.service", "postgresql.service", "user@1000.service", "session-1.scope"]),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(unit, active, restart_safe, can_reload)| HolderUnit {
            unit: unit.into(),
            active_state: if active { "active" } else { "failed" }.into(),
            restart_safe,
            can_reload,
        })
}

fn writer() -> impl Strategy<Value = Writer> {
    (1u32..9, 0.0..1e9f64, prop::option::of(select(vec!["/srv/pg/1", "/var/log/app/live.log", "/tmp/x"]))).prop_map(
        |(pid, bytes_per_s, growing)| Writer {
            pid,
            start_ticks: 5,
            comm: "w\u{1b}[2J".into(),
            cgroup: "/x".into(),
            bytes_per_s,
            growing: growing.map(HostPath::from),
            growing_bytes_per_s: if growing.is_some() { bytes_per_s } else { 0.0 },
        },
    )
}

fn images() -> impl Strategy<Value = Option<ImageStore>> {
    let image =
        (any::<u8>(), select(vec!["app:1", "registry.k8s.io/pause:3.9", "k8s/sandbox/x"]), 0..4 * GIB, 0u64..100_000, any::<bool>());
    let image = image.prop_map(|(id, tag, unique, age_s, in_use)| ImageInfo {
        id: format!("sha256:{id:064x}"),
        tags: vec![tag.into()],
        digests: vec![],
        unique: Bytes(unique),
        age_s,
        in_use,
    });
    prop::option::of(proptest::collection::vec(image, 0..4).prop_map(|images| ImageStore {
        root: "/var/lib/docker".into(),
        images,
        layers: Bytes(GIB),
    }))
}

fn growth() -> impl Strategy<Value = Growth> {
    (-1e6..1e8f64).prop_map(|bytes_per_s| Growth { bytes_per_s, inodes_per_s: 0.0, over: Seconds(1790.0) })
}

fn volume() -> impl Strategy<Value = VolumeInfo> {
    (1..600u64, 0..600u64).prop_map(|(size, free)| VolumeInfo {
        vg: "vg".into(),
        lv: "root".into(),
        size: Bytes(size * GIB),
        vg_free: Bytes(free * GIB),
        extent: Bytes(4 << 20),
    })
}

prop_compose! {
    fn evidence()(
        (signals, mount, usage, growth) in (signals(), observed(mount()), observed(usage()), observed(growth())),
        (stuck, new_errors) in (prop::option::weighted(0.05, 0.0..100.0f64), prop_oneof![9 => Just(0u64), 1 => 1u64..5]),
        refuses_writes in prop::bool::weighted(0.05),
        held in observed(held()),
        units in proptest::collection::vec((1u32..5, observed(unit())), 0..4),
        writers in observed(proptest::collection::vec(writer(), 0..3)),
        (busy, waiting) in (observed(0.0..100.0f64), 0.0..100.0f64),
        scan in observed(scan()),
        (excluded, journal) in (observed(Just(vec![])), observed(prop::option::of((0..GIB).prop_map(Bytes)))),
        ratios in proptest::collection::vec((name(), observed(0.0..1.2f64)), 0..4),
        (images, volume) in (observed(images()), observed(volume())),
    ) -> Evidence {
        Evidence {
            taken: now(), subject: subject(), signals, mount, usage, stuck_for_s: stuck, growth, new_errors, refuses_writes, held,
            holder_units: units.into_iter().map(|(pid, unit)| HolderAnswer { pid, unit }).collect(),
            writers,
            io: Io {
                disks: Observed::fresh(vec!["vda".into()]),
                busy: busy.map(Percent),
                pressure: Observed::fresh(Pressure { some_avg10: 0.0, some_avg60: waiting, full_avg10: 0.0, full_avg60: 0.0, some_total_us: 0, full_total_us: 0 }),
            },
            scan, tmp_exclusions: excluded, journal_active: journal,
            compress_ratios: ratios.into_iter().map(|(name, ratio)| Ratio { path: HostPath::from("/var/log").join(&name), ratio }).collect(),
            images, volume,
        }
    }
}

/// Everything opted in: what is left out then is left out by rule.
fn willing() -> Params {
    let limits = Limits { mounts: vec!["/".into()], steps: StepKind::ALL.into(), ..Limits::default() };
    Params { limits, ..Params::default() }
}

fn params() -> impl Strategy<Value = Params> {
    (any::<bool>(), 0u64..30, 0..30 * GIB).prop_map(|(all, max_files, max_bytes)| {
        let mut params = if all { willing() } else { Params::default() };
        if max_files > 5 {
            (params.limits.max_files, params.limits.max_bytes) = (max_files, Bytes(max_bytes));
        }
        params
    })
}

fn decide(evidence: &Evidence, params: &Params) -> (Diagnosis, Plan) {
    let recorded = Recorded::new(Disk::ID, Disk::SCHEMA, now(), evidence).unwrap();
    (DISK.decide)(&recorded, &serde_json::to_value(params).unwrap(), &now()).unwrap()
}

const PARTS: usize = 15;

/// One part fewer, of all that can be missing.
fn without(evidence: &Evidence, what: usize) -> Evidence {
    let mut e = evidence.clone();
    let why = "taken away";
    match what {
        0 => e.mount = Observed::unavailable(why),
        1 => e.usage = Observed::unavailable(why),
        2 => e.growth = Observed::unavailable(why),
        3 => e.held = Observed::unavailable(why),
        4 => e.writers = Observed::unavailable(why),
        5 => e.scan = Observed::unavailable(why),
        6 => e.tmp_exclusions = Observed::unavailable(why),
        7 => e.journal_active = Observed::unavailable(why),
        8 => e.images = Observed::unavailable(why),
        9 => e.volume = Observed::unavailable(why),
        10 => e.io.busy = Observed::unavailable(why),
        11 => e.io.pressure = Observed::unavailable(why),
        12 => e.holder_units.iter_mut().for_each(|h| h.unit = Observed::unavailable(why)),
        13 => e.compress_ratios.iter_mut().for_each(|r| r.ratio = Observed::unavailable(why)),
        _ => {
            if let Observed::Value { value: scan, .. } = &mut e.scan {
                scan.complete = false;
            }
        }
    }
    e
}

fn harm(kind: StepKind) -> usize {
    StepKind::ALL.iter().position(|k| *k == kind).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_holds_what_the_never_list_refuses(evidence in evidence(), params in params()) {
        let (_, plan) = decide(&evidence, &params);
        for planned in &plan.steps {
            if let Some(batch) = planned.step.batch() {
                prop_assert_eq!(never::root(&batch.root), None);
                prop_assert!(batch.min_age_s >= Limits::min_age_s(batch.family));
                for target in batch.files.iter().chain(&batch.dirs) {
                    prop_assert_eq!(never::file(batch.family, &batch.root.join(&target.path)), None, "{}", target.path);
                }
                prop_assert!(batch.files.iter().all(|f| f.links == 1), "a file with more than one link frees nothing");
            }
            match &planned.step {
                Step::PruneImages { images, .. } => prop_assert!(images.iter().all(|i| !never::image(&i.tags))),
                Step::RestartHolder(holder) => prop_assert_eq!(never::unit(&holder.unit), None),
                Step::GrowVolume(grow) => prop_assert!(grow.to > grow.from && grow.to <= params.limits.max_volume),
                Step::CompressLogs(_) | Step::DeleteFiles(_) | Step::VacuumJournal { .. } => {}
                step => prop_assert!(false, "no step of this runbook: {step:?}"),
            }
            prop_assert!(params.limits.steps.contains(&planned.step.kind()), "not opted in: {:?}", planned.step.kind());
        }
    }

    #[test]
    fn less_evidence_never_raises_confidence(evidence in evidence(), params in params()) {
        let all = decide(&evidence, &params).0;
        for what in 0..PARTS {
            let part = decide(&without(&evidence, what), &params).0;
            prop_assert!(part.confidence <= all.confidence, "{} {} -> {} {} without part {what}", all.class, all.confidence, part.class, part.confidence);
        }
    }

    #[test]
    fn older_evidence_never_raises_confidence(evidence in evidence(), later_s in 0.0..2000.0f64) {
        let recorded = Recorded::new(Disk::ID, Disk::SCHEMA, now(), &evidence).unwrap();
        let params = serde_json::to_value(willing()).unwrap();
        let later = Now { uptime_s: now().uptime_s + later_s, ..now() };
        let (fresh, old) = ((DISK.decide)(&recorded, &params, &now()).unwrap().0, (DISK.decide)(&recorded, &params, &later).unwrap().0);
        prop_assert!(old.confidence <= fresh.confidence);
    }

    #[test]
    fn what_a_step_needs_and_is_not_known_keeps_it_from_being_taken(evidence in evidence()) {
        for (part, needs) in [
            (0, &StepKind::ALL[..]),
            (1, &StepKind::ALL[..]),
            (3, &[StepKind::RestartHolder]),
            (5, &[StepKind::CompressLogs, StepKind::RotatedLogs, StepKind::VacuumJournal, StepKind::Tmp, StepKind::PackageCache, StepKind::CoreDumps]),
            (7, &[StepKind::VacuumJournal]),
            (8, &[StepKind::PruneImages]),
            (9, &[StepKind::GrowVolume]),
            (12, &[StepKind::RestartHolder]),
        ] {
            let (diagnosis, plan) = decide(&without(&evidence, part), &willing());
            let acts = diagnosis.confidence >= Confidence::TO_ACT;
            let step = plan.steps.iter().find(|s| needs.contains(&s.step.kind()));
            prop_assert!(!acts || step.is_none(), "without part {part}: {:?}", step.map(|s| s.step.kind()));
        }
    }

    #[test]
    fn the_same_evidence_is_decided_the_same_and_survives_json(evidence in evidence(), params in params()) {
        let (first, again) = (decide(&evidence, &params), decide(&evidence, &params));
        let text = |d: &(Diagnosis, Plan)| serde_json::to_string(d).unwrap();
        prop_assert_eq!(text(&first), text(&again));
        let back: (Diagnosis, Plan) = serde_json::from_str(&text(&first)).unwrap();
        prop_assert_eq!(back, first);
        let recorded = Recorded::new(Disk::ID, Disk::SCHEMA, now(), &evidence).unwrap();
        prop_assert_eq!(recorded.open::<Evidence>().unwrap(), evidence);
    }

    #[test]
    fn steps_come_in_order_of_harm_and_within_the_caps(evidence in evidence(), params in params()) {
        let (_, plan) = decide(&evidence, &params);
        let order: Vec<usize> = plan.steps.iter().map(|s| harm(s.step.kind())).collect();
        prop_assert!(order.is_sorted(), "{order:?}");
        let loads = plan.steps.iter().map(|s| byteport::guard::load(&s.step));
        let (files, bytes) = loads.fold((0, 0), |(f, b), (files, bytes)| (f + files, b + bytes.0));
        prop_assert!(files <= params.limits.max_files && bytes <= params.limits.max_bytes.0, "{files} files, {bytes} bytes");
        for batch in plan.steps.iter().filter_map(|s| s.step.batch()) {
            prop_assert!(batch.files.is_sorted_by(|a, b| a.path <= b.path));
        }
    }

    #[test]
    fn who_is_not_sure_or_cannot_help_tells_a_person(evidence in evidence(), params in params()) {
        let (diagnosis, plan) = decide(&evidence, &params);
        let class = DISK.classes.iter().find(|c| c.name == diagnosis.class).expect("a class of the list");
        if !evidence.signals.is_empty() && (diagnosis.confidence < Confidence::TO_ACT || class.always_escalates || diagnosis.critical) {
            prop_assert!(plan.escalate.is_some(), "{}", diagnosis.class);
        }
        for text in plan.follow_ups.iter().flat_map(|f| [&f.command, &f.why]).chain(&plan.escalate).chain(&diagnosis.behind).chain([&diagnosis.summary]) {
            prop_assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn nothing_is_verified_that_cannot_be_seen(before in evidence(), after in evidence(), what in 0..2usize) {
        let (before, after) = (Evidence { signals: vec![], ..before }, without(&after, what));
        let verdict = Disk::verify(&before, &after, &willing());
        let resolved = matches!(verdict, byteport::model::Verdict::Resolved { .. });
        prop_assert!(!resolved, "{verdict:?}");
        let enough = matches!(Disk::after_step(&before, &after, &willing()), byteport::model::AfterStep::Enough { .. });
        prop_assert!(!enough);
    }
}
