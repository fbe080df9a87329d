//! Moments that never were: one of a host in trouble with names chosen by somebody hostile, one of which nothing is known.

use std::collections::BTreeMap;

use crate::model::*;
use crate::wire::local::{
    CpuUse, FilesystemTrend, MemoryUse, Top, TopFilesystem, TopJournal, TopJournalEntry, TopKernelEvent, TopKernelLog, TopUnits, Trend,
    Trends,
};

const GIB: u64 = 1 << 30;
/// Clears the screen, breaks the line, is no UTF-8, writes backwards.
pub const HOSTILE: &[u8] = b"a\x1b[2J\nb\xff\xe2\x80\xae\xc2\x9b31m";

fn at(s: f64) -> Now {
    let start: jiff::Timestamp = "2026-11-21T21:55:06Z".parse().unwrap();
    let wall = start + jiff::SignedDuration::from_millis((s * 1000.0) as i64);
    Now { wall, boot: BootId("a".into()), uptime_s: 300_000.0 + s }
}

fn text() -> String {
    String::from_utf8_lossy(HOSTILE).into_owned()
}

pub fn filesystem(path: &[u8], kind: FsKind, used: Option<u64>) -> TopFilesystem {
    let usage = |used| FsUsage { total: 100 * GIB, free: (100 - used) * GIB, available: (98 - used) * GIB, inodes: 1000, inodes_free: 400 };
    TopFilesystem {
        sample: FsSample {
            mount: Mount {
                path: HostPath::from_bytes(path),
                device: 1,
                source: "/dev/vdb".into(),
                fs_type: "ext4".into(),
                kind,
                read_only: false,
                also_at: vec![],
            },
            usage: used.map_or_else(|| Observed::unavailable("statvfs: Permission denied"), |used| Observed::fresh(usage(used))),
            takes_writes: Observed::unavailable("not tried"),
            stuck_for_s: None,
            ext4_errors: Observed::unavailable("no ext4"),
            disks: vec![],
        },
        bytes_per_s: None,
        full_in: None,
    }
}

pub fn process(comm: &[u8], pid: u32, cpu_percent: Option<f64>, rss_bytes: u64, state: char) -> ProcessUse {
    ProcessUse { pid, start_ticks: 1, comm: HostPath::from_bytes(comm), state, cpu_ticks: 1, cpu_percent, rss_bytes, threads: 4 }
}

fn group(path: &[u8], memory: u64, max: Option<u64>, cpu_percent: Option<f64>) -> CgroupUse {
    CgroupUse {
        path: HostPath::from_bytes(path),
        memory_bytes: Some(memory),
        memory_max_bytes: max,
        cpu_percent,
        pids: Some(41),
        pids_max: max.map(|_| 4096),
        ..CgroupUse::default()
    }
}

fn unit(name: &str, active: &str, sub: &str, restarts: Option<u32>) -> UnitState {
    UnitState { name: name.into(), active: active.into(), sub: sub.into(), kind: "simple".into(), restarts, ..UnitState::default() }
}

fn pressure(some_avg10: f64, some_avg60: f64, full_avg10: f64, full_avg60: f64) -> Observed<Pressure> {
    Observed::fresh(Pressure { some_avg10, some_avg60, full_avg10, full_avg60, some_total_us: 1, full_total_us: 1 })
}

/// A day's work: pressure rises in waves, the agent was stopped for a while, `/srv/data` fills up, and hostile names are among it.
fn trend(every_s: f64, steps: u16, long: &str) -> Trend {
    let begin = (f32::from(steps) * 0.4) as u16;
    let of = |value: &dyn Fn(f32) -> f32| -> Vec<Option<f32>> {
        let at = |step: u16| f32::from(step) / f32::from(steps);
        (0..steps).map(|step| (!(begin..begin + steps / 10).contains(&step)).then(|| (value(at(step)) * 100.0).round() / 100.0)).collect()
    };
    let wave = |x: f32| (x * 20.0).sin().max(0.0);
    let filesystem =
        |mount: &[u8], used: &dyn Fn(f32) -> f32| FilesystemTrend { mount: HostPath::from_bytes(mount), device: 1, used: of(used) };
    let mut hangs = filesystem(b"/mnt/nfs", &|_| 33.0);
    hangs.used.iter_mut().rev().take(usize::from(steps) / 5).for_each(|v| *v = None);
    Trend {
        every_s,
        last: at(98.8),
        cpu_busy: of(&|x| 7.25 + 80.0 * x * x),
        cpu_iowait: of(&|x| 6.0 * wave(x)),
        load_one: of(&|x| 3.5 * x),
        memory_used: of(&|x| 80.5 + 0.7 * wave(x)),
        swap_used: of(&|_| 50.0),
        cpu_pressure: of(&|x| 12.3 * wave(x)),
        io_pressure: of(&|x| 71.0 * x * x * x),
        memory_pressure: vec![None; usize::from(steps)],
        filesystems: vec![
            filesystem(b"/", &|_| 40.8),
            filesystem(b"/srv/data", &|x| 93.9 + 2.0 * x),
            filesystem(HOSTILE, &|x| 61.4 + 10.0 * x),
            filesystem(long.as_bytes(), &|_| 12.0),
            hangs,
        ],
    }
}

fn kernel_event(age_s: f64, kind: KernelEventKind, subject: &str, killed: Option<(u32, &[u8])>, text: &str) -> TopKernelEvent {
    let event = KernelEvent {
        kind,
        seq: 1_000_000 - age_s as u64,
        at_us: ((300_100.0 - age_s) * 1e6) as u64,
        subject: subject.into(),
        pid: killed.map(|(pid, _)| pid),
        cgroup: killed.map(|(_, cgroup)| HostPath::from_bytes(cgroup)),
        text: text.into(),
    };
    TopKernelEvent { age_s, event }
}

fn journal_entry(age_s: Option<f64>, unit: &str, priority: Option<u8>, message: &str) -> TopJournalEntry {
    let at = age_s.map(|s| at(100.0 - s).wall);
    TopJournalEntry { age_s, entry: JournalEntry { at, unit: unit.into(), priority, message: message.into(), message_id: String::new() } }
}

/// A file server whose data fills up, with a mount that hangs, and with hostile names wherever a name is.
pub fn troubled() -> Top {
    let mut filling = filesystem(b"/srv/data", FsKind::Local, Some(94));
    (filling.bytes_per_s, filling.full_in) = (Some(400_000.0), Some(Seconds(10_737.0)));
    filling.sample.ext4_errors = Observed::fresh(2);
    let mut hangs = filesystem(b"/mnt/nfs", FsKind::Remote, None);
    hangs.sample.stuck_for_s = Some(125.0);
    let mut quiet = filesystem(b"/", FsKind::Local, Some(40));
    quiet.bytes_per_s = Some(-0.2);
    let mut slow = filesystem(b"/var", FsKind::Local, Some(61));
    (slow.bytes_per_s, slow.full_in) = (Some(2000.0), Some(Seconds(2e7)));
    let mut hostile = filesystem(HOSTILE, FsKind::Local, Some(70));
    hostile.sample.mount.read_only = true;
    let long = format!("/{}/{}", "x".repeat(299), "end");
    let subject = Subject::Filesystem { mount: "/srv/data".into(), device: 1 };
    let signal = |kind, severity, subject, since, detail: &str| Signal {
        kind: SignalKind::new(kind),
        subject,
        severity,
        since: at(since),
        detail: detail.into(),
    };
    let mut worker = group(b"/system.slice/worker.service", 5 * GIB, Some(5 * GIB), Some(181.4));
    (worker.oom_kills, worker.throttled_us, worker.throttled_periods) = (Some(3), Some(75_000_000), Some(1234));
    Top {
        version: "0.1.0".into(),
        host: format!("files1{}", text()),
        now: at(100.0),
        sampled: Observed::fresh(at(98.8)),
        mode: "observe".into(),
        why_observe: Some(format!("the actuator is not there: {}", text())),
        signals: vec![
            signal("mount_stuck", Severity::Warning, Subject::Filesystem { mount: "/mnt/nfs".into(), device: 9 }, -25.0, "no answer"),
            signal("disk_usage_high", Severity::Critical, subject.clone(), -3500.0, &format!("usage 95.9 % (raised at 95 %) {}", text())),
        ],
        open_incidents: Observed::fresh(vec![IncidentSummary {
            id: IncidentId::new(&RunbookId::new("disk"), at(0.0).wall, 0x3f9a),
            runbook: RunbookId::new("disk"),
            subject,
            opened: at(-3400.0),
            closed: None,
            class: Some("log_growth".into()),
            outcome: None,
            summary: format!("closed logs fill /srv/data {}", text()),
        }]),
        stuck: BTreeMap::from([("mount /mnt/nfs".into(), 125.0), (text(), 7.0)]),
        load: Observed::fresh(LoadAverage { one: 3.5, five: 2.25, fifteen: 0.5 }),
        cpu: Observed::fresh(CpuUse { cpus: 4, busy: Percent(87.25), iowait: Percent(6.0), steal: Percent(0.0), running: 5, blocked: 2 }),
        memory: Observed::fresh(MemoryUse { total: 16 * GIB, available: 3 * GIB, swap_total: 2 * GIB, swap_free: GIB }),
        cpu_pressure: pressure(12.3, 8.0, 0.0, 0.0),
        io_pressure: pressure(71.0, 44.1, 35.5, 20.0),
        memory_pressure: Observed::unavailable("/proc/pressure/memory: Operation not supported"),
        filesystems: Observed::fresh(vec![
            quiet,
            filesystem(b"/proc", FsKind::Pseudo, Some(0)),
            slow,
            filling,
            hostile,
            filesystem(long.as_bytes(), FsKind::Local, None),
            hangs,
        ]),
        units: Observed::fresh(TopUnits {
            system_state: "degraded".into(),
            count: 214,
            failed: 2,
            listed: vec![
                unit(&format!("{}.service", text()), "failed", "failed", Some(5)),
                unit("backup.service", "failed", "failed", Some(0)),
                unit("worker.service", "active", "running", Some(1312)),
                unit("nginx.service", "reloading", "reload", None),
            ],
        }),
        processes: Observed::fresh(Processes {
            unreadable: 0,
            count: 231,
            threads: 1034,
            states: vec![('R', 5), ('S', 224), ('D', 2)],
            max_processes: 4_194_304,
            max_threads: 127_000,
            top: vec![
                process(b"sleeper", 77, Some(0.0), 3 * GIB, 'S'),
                process(b"worker", 4711, Some(181.4), 5 * GIB, 'R'),
                process(HOSTILE, 666, Some(55.0), GIB / 3, 'D'),
                process(b"new", 9000, None, GIB, '\u{1b}'),
            ],
            vanished: 1,
        }),
        cgroups: Observed::fresh(Cgroups {
            cut: 0,
            unreadable: 0,
            version: CgroupVersion::V2,
            count: 83,
            top: vec![
                group(b"/user.slice", 2 * GIB, None, Some(3.0)),
                worker,
                group(HOSTILE, GIB, Some(4 * GIB), None),
                group(long.as_bytes(), GIB / 2, None, Some(0.0)),
            ],
        }),
        trends: Observed::fresh(Trends { quarter_hour: trend(10.0, 90, &long), six_hours: trend(60.0, 80, &long) }),
        kernel_log: Observed::fresh(TopKernelLog {
            counts: vec![(KernelEventKind::OomKill, 2), (KernelEventKind::MachineCheck, 0), (KernelEventKind::IoError, 1312)],
            dropped: 7,
            latest: vec![
                kernel_event(
                    12.0,
                    KernelEventKind::OomKill,
                    "worker",
                    Some((4711, b"/system.slice/worker.service")),
                    "Memory cgroup out of memory: Killed process 4711 (worker) total-vm:5242880kB, anon-rss:5100000kB",
                ),
                kernel_event(
                    95.0,
                    KernelEventKind::IoError,
                    "sdb",
                    None,
                    "blk_update_request: I/O error, dev sdb, sector 2048 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
                ),
                kernel_event(4000.0, KernelEventKind::OomKill, &text(), Some((666, HOSTILE)), &format!("Killed process 666 ({})", text())),
                kernel_event(
                    90_000.0,
                    KernelEventKind::HungTask,
                    "nfsd",
                    Some((77, b"/")),
                    "INFO: task nfsd:77 blocked for more than 120 s",
                ),
            ],
        }),
        journal: Observed::fresh(TopJournal {
            told: 1234,
            dropped: 3,
            gaps: 1,
            latest: vec![
                journal_entry(Some(3.0), "postgresql.service", Some(3), "could not extend file: No space left on device\n"),
                journal_entry(Some(61.0), &text(), Some(4), &format!("{} {}", text(), "long ".repeat(100))),
                journal_entry(None, "", None, ""),
            ],
        }),
    }
}

/// An agent that has just been started.
pub fn unknown() -> Top {
    fn none<T>() -> Observed<T> {
        Observed::unavailable("no sample yet")
    }
    Top {
        sampled: none(),
        mode: "act".into(),
        why_observe: None,
        host: "files1".into(),
        signals: vec![],
        open_incidents: Observed::unavailable("the record cannot be read"),
        stuck: BTreeMap::new(),
        load: none(),
        cpu: none(),
        memory: none(),
        cpu_pressure: none(),
        io_pressure: none(),
        memory_pressure: none(),
        filesystems: none(),
        units: none(),
        processes: none(),
        cgroups: none(),
        trends: none(),
        kernel_log: none(),
        journal: none(),
        ..troubled()
    }
}
