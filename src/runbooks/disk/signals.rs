//! What one sample says of each of the seven signals.

use super::Params;
use crate::detect::{Condition, History, Wants};
use crate::model::{FsKind, FsSample, FsUsage, Observed, Percent, Sample, Seconds, Severity, SignalKind, Subject};
use crate::runbooks::SignalSpec;

pub(super) const USAGE: SignalKind = SignalKind::new("disk_usage_high");
pub(super) const INODES: SignalKind = SignalKind::new("inode_exhaustion");
pub(super) const FILLING: SignalKind = SignalKind::new("disk_filling");
pub(super) const IO: SignalKind = SignalKind::new("disk_io_saturation");
pub(super) const READONLY: SignalKind = SignalKind::new("filesystem_readonly");
pub(super) const STUCK: SignalKind = SignalKind::new("mount_stuck");
pub(super) const PRESSURE: SignalKind = SignalKind::new("disk_pressure");

pub(super) const SIGNALS: &[SignalSpec] = &[
    SignalSpec {
        name: "disk_usage_high",
        raised_when: "usage >= 85 % for 60 s (warning), >= 95 % at once (critical)",
        clears_when: "usage < 80 %",
    },
    SignalSpec { name: "inode_exhaustion", raised_when: "free inodes <= 5 % for 60 s", clears_when: "free inodes > 10 %" },
    SignalSpec {
        name: "disk_filling",
        raised_when: "full in < 4 h at the growth of the last 30 min, and usage >= 60 %",
        clears_when: "full in > 8 h, or it does not grow",
    },
    SignalSpec {
        name: "disk_io_saturation",
        raised_when: "device busy >= 95 % and io pressure (some, avg60) >= 40 % for 60 s",
        clears_when: "both are below",
    },
    SignalSpec {
        name: "filesystem_readonly",
        raised_when: "it was read-write and is read-only now, or its ext4 error count rose, or it refuses a write",
        clears_when: "it is back to read-write, without new errors",
    },
    SignalSpec { name: "mount_stuck", raised_when: "statfs has not answered within 2 s", clears_when: "it answers" },
    SignalSpec { name: "disk_pressure", raised_when: "the node's DiskPressure condition is True", clears_when: "it is False" },
];

pub(super) fn conditions(sample: &Sample, history: &History, params: &Params) -> Vec<Condition> {
    let mut out = Vec::new();
    match &sample.filesystems {
        Observed::Value { value: filesystems, .. } => {
            for fs in filesystems {
                filesystem(fs, history, params, &mut out);
            }
            disks(filesystems, sample, history, params, &mut out);
        }
        // Without the mount table nothing is known of the filesystems there were, which is not the same as that they are gone.
        Observed::Unavailable { why } => {
            for (mount, device) in history.filesystems() {
                let subject = Subject::Filesystem { mount: mount.clone(), device };
                out.extend([USAGE, INODES, FILLING, READONLY, STUCK].map(|kind| says(kind, &subject, Wants::Unknown, why.clone())));
            }
        }
    }
    let wants = match &sample.node_disk_pressure {
        Observed::Value { value: true, .. } => at_once(Severity::Critical),
        Observed::Value { value: false, .. } => Wants::Clear,
        Observed::Unavailable { .. } => Wants::Unknown,
    };
    out.push(says(PRESSURE, &Subject::Host, wants, "the kubelet reports DiskPressure for this node".into()));
    out
}

fn says(kind: SignalKind, subject: &Subject, wants: Wants, detail: String) -> Condition {
    Condition { kind, subject: subject.clone(), wants, detail }
}

const fn at_once(severity: Severity) -> Wants {
    Wants::Raise { severity, hold: Seconds(0.0) }
}

fn filesystem(fs: &FsSample, history: &History, params: &Params, out: &mut Vec<Condition>) {
    let subject = Subject::Filesystem { mount: fs.mount.path.clone(), device: fs.mount.device };
    let mut say = |kind, (wants, detail)| out.push(says(kind, &subject, wants, detail));
    say(STUCK, stuck(fs, params));
    if fs.mount.kind != FsKind::Local {
        return;
    }
    say(READONLY, readonly(fs, history));
    if fs.mount.read_only {
        for kind in [USAGE, INODES, FILLING] {
            say(kind, (Wants::Clear, "read-only".into()));
        }
        return;
    }
    match &fs.usage {
        Observed::Value { value: usage, .. } => {
            say(USAGE, usage_high(usage, params));
            say(INODES, inodes(usage, params));
            say(FILLING, filling(fs, usage, history, params));
        }
        Observed::Unavailable { why } => {
            for kind in [USAGE, INODES, FILLING] {
                say(kind, (Wants::Unknown, why.clone()));
            }
        }
    }
}

fn stuck(fs: &FsSample, params: &Params) -> (Wants, String) {
    match (fs.stuck_for_s, &fs.usage) {
        (Some(for_s), _) if for_s >= params.stuck_after_s.0 => {
            (at_once(Severity::Critical), format!("statfs has not answered for {}", Seconds(for_s)))
        }
        (Some(_), _) => (Wants::Stay, String::new()),
        (None, Observed::Value { .. }) => (Wants::Clear, "statfs answers".into()),
        (None, Observed::Unavailable { why }) => (Wants::Unknown, why.clone()),
    }
}

fn readonly(fs: &FsSample, history: &History) -> (Wants, String) {
    let (mount, device) = (&fs.mount.path, fs.mount.device);
    match (fs.mount.read_only, history.errors_risen(mount, device)) {
        (true, _) if history.was_writable(mount, device) => (at_once(Severity::Critical), "was read-write and is read-only now".into()),
        // After an error the kernel may refuse writes and still list the mount as read-write: the counter tells.
        (_, Some(risen)) if risen > 0 => (at_once(Severity::Critical), format!("the filesystem has counted {risen} new errors")),
        (true, _) => (Wants::Clear, "read-only since it was mounted".into()),
        _ if history.refuses_writes(mount, device) => (at_once(Severity::Critical), "it refuses writes and is listed as read-write".into()),
        (false, Some(_)) => (Wants::Clear, "read-write, no new errors".into()),
        (false, None) if fs.mount.fs_type == "ext4" => (Wants::Unknown, "its error count cannot be read".into()),
        (false, None) => (Wants::Clear, "read-write".into()),
    }
}

fn usage_high(usage: &FsUsage, params: &Params) -> (Wants, String) {
    let Some(percent) = usage.used_percent() else { return (Wants::Clear, "no blocks".into()) };
    if percent >= params.usage_critical_percent {
        let detail = format!("usage {percent} (critical at {})", params.usage_critical_percent);
        (at_once(Severity::Critical), detail)
    } else if percent >= params.usage_warning_percent {
        let detail = format!("usage {percent} for {} (raised at {})", params.usage_hold_s, params.usage_warning_percent);
        (Wants::Raise { severity: Severity::Warning, hold: params.usage_hold_s }, detail)
    } else if percent < params.usage_floor_percent {
        (Wants::Clear, format!("usage {percent}"))
    } else {
        (Wants::Stay, format!("usage {percent}"))
    }
}

fn inodes(usage: &FsUsage, params: &Params) -> (Wants, String) {
    let Some(free) = usage.inodes_free_percent() else { return (Wants::Clear, "inodes are not counted here".into()) };
    let detail = format!("{free} of inodes free, {} of {}", usage.inodes_free, usage.inodes);
    if free <= params.inodes_low_percent {
        let detail = format!("{detail} (raised at {})", params.inodes_low_percent);
        (Wants::Raise { severity: Severity::Warning, hold: params.inodes_hold_s }, detail)
    } else if free > params.inodes_floor_percent {
        (Wants::Clear, detail)
    } else {
        (Wants::Stay, detail)
    }
}

fn filling(fs: &FsSample, usage: &FsUsage, history: &History, params: &Params) -> (Wants, String) {
    let Some(growth) = history.growth(&fs.mount.path, fs.mount.device) else {
        return (Wants::Unknown, "not watched for long enough".into());
    };
    let Some(left) = growth.time_to_full(usage) else { return (Wants::Clear, "it does not grow".into()) };
    let detail = format!("full in {left} at {}/s over the last {}", rate(growth.bytes_per_s), growth.over);
    let full_enough = usage.used_percent().is_some_and(|p: Percent| p >= params.filling_min_usage_percent);
    if left < params.filling_within_s && full_enough {
        (at_once(Severity::Warning), detail)
    } else if left > params.filling_clear_s {
        (Wants::Clear, detail)
    } else {
        (Wants::Stay, detail)
    }
}

fn rate(bytes_per_s: f64) -> crate::model::Bytes {
    crate::model::Bytes(bytes_per_s.max(0.0).round() as u64)
}

/// One condition a device under a filesystem, down to the physical disk. A volume is busy because the disk below it is: only the lowest that
/// is speaks for the filesystem. One above an idle disk is slow by itself: throttled, encrypted, mirrored, or a mapper's target that waits.
fn disks(filesystems: &[FsSample], sample: &Sample, history: &History, params: &Params, out: &mut Vec<Condition>) {
    let is_busy = |name: &String| history.busy(name).is_some_and(|busy| busy >= params.io_busy_percent);
    let mut devices: std::collections::BTreeMap<&String, std::collections::BTreeSet<&String>> = std::collections::BTreeMap::new();
    for stack in filesystems.iter().map(|f| &f.disks) {
        for (at, name) in stack.iter().enumerate() {
            devices.entry(name).or_default().extend(&stack[at + 1..]);
        }
    }
    for (name, below) in devices {
        let subject = Subject::Disk { name: name.clone() };
        // Neither raised nor cleared by that: one that swings around the threshold below must not keep both from being told.
        if let Some(other) = below.into_iter().find(|other| is_busy(other) && is_busy(name)) {
            out.push(says(IO, &subject, Wants::Keep, format!("{other} below it is busy as well")));
            continue;
        }
        let (wants, detail) = match (history.busy(name), &sample.io_pressure) {
            (Some(busy), Observed::Value { value: pressure, .. }) => {
                let waiting = Percent(pressure.some_avg60);
                let detail = format!("busy {busy} of the time, tasks wait for io {waiting} of it");
                match (busy >= params.io_busy_percent, waiting >= params.io_pressure_percent) {
                    (true, true) => (Wants::Raise { severity: Severity::Warning, hold: params.io_hold_s }, detail),
                    (false, false) => (Wants::Clear, detail),
                    _ => (Wants::Stay, detail),
                }
            }
            (None, _) => (Wants::Unknown, "its counters were not read twice yet".into()),
            (_, Observed::Unavailable { why }) => (Wants::Unknown, why.clone()),
        };
        out.push(says(IO, &subject, wants, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, DiskIo, Mount, Now, Pressure};

    const GIB: u64 = 1 << 30;

    fn mount() -> Mount {
        let (path, source) = ("/data".into(), "/dev/vdb1".into());
        Mount { path, device: 7, source, fs_type: "ext4".into(), kind: FsKind::Local, read_only: false, also_at: vec![] }
    }

    fn usage(percent: f64, inodes_free: u64) -> FsUsage {
        let free = ((100.0 - percent) * GIB as f64) as u64;
        FsUsage { total: 100 * GIB, free, available: free, inodes: 1000, inodes_free }
    }

    fn fs(usage: FsUsage) -> FsSample {
        FsSample {
            mount: mount(),
            usage: Observed::fresh(usage),
            stuck_for_s: None,
            takes_writes: Observed::unavailable("not tried"),
            ext4_errors: Observed::fresh(0),
            disks: vec!["vdb1".into(), "vdb".into()],
        }
    }

    fn sample(at_s: f64, fs: Vec<FsSample>, busy_ms: u64, waiting: f64) -> Sample {
        let io = DiskIo { name: "vdb".into(), busy_ms, ..DiskIo::default() };
        let some = Pressure { some_avg10: 0.0, some_avg60: waiting, full_avg10: 0.0, full_avg60: 0.0, some_total_us: 0, full_total_us: 0 };
        Sample {
            at: Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId("a".into()), uptime_s: at_s },
            filesystems: Observed::fresh(fs),
            disks: Observed::fresh(vec![io]),
            io_pressure: Observed::fresh(some),
            node_disk_pressure: Observed::unavailable("no kubelet"),
            stall: None,
            readings: crate::model::Readings::none("not asked"),
        }
    }

    /// What each signal wants, by name: `W` warning, `C` critical, `-` clear, `=` stay, `?` unknown; absent: not spoken of.
    fn wants(samples: &[Sample]) -> std::collections::BTreeMap<String, char> {
        let mut history = History::default();
        samples.iter().for_each(|s| history.push(s));
        let told = conditions(samples.last().unwrap(), &history, &Params::default()).into_iter();
        told.map(|c| {
            let letter = match c.wants {
                Wants::Raise { severity: Severity::Warning, .. } => 'W',
                Wants::Raise { severity: Severity::Critical, .. } => 'C',
                Wants::Clear => '-',
                Wants::Stay => '=',
                Wants::Keep => 'k',
                Wants::Unknown => '?',
            };
            (c.kind.to_string(), letter)
        })
        .collect()
    }

    fn of(kind: &SignalKind, samples: &[Sample]) -> char {
        wants(samples).get(&*kind.0).copied().unwrap_or(' ')
    }

    fn at(fs: FsSample) -> Vec<Sample> {
        vec![sample(10.0, vec![fs], 0, 0.0)]
    }

    #[test]
    fn usage_and_inodes_at_their_thresholds() {
        for (percent, says) in [(95.0, 'C'), (94.9, 'W'), (85.0, 'W'), (84.9, '='), (80.0, '='), (79.9, '-')] {
            assert_eq!(of(&USAGE, &at(fs(usage(percent, 500)))), says, "{percent}");
        }
        for (free, says) in [(50, 'W'), (51, '='), (100, '='), (101, '-')] {
            assert_eq!(of(&INODES, &at(fs(usage(10.0, free)))), says, "{free}");
        }
        let uncounted = FsUsage { inodes: 0, inodes_free: 0, ..usage(10.0, 0) };
        assert_eq!(of(&INODES, &at(fs(uncounted))), '-', "btrfs counts no inodes");
    }

    #[test]
    fn only_local_writable_filesystems_can_be_full() {
        for kind in [FsKind::Pseudo, FsKind::Remote] {
            let mut full = fs(usage(100.0, 0));
            full.mount.kind = kind;
            let said = wants(&at(full));
            assert_eq!(said.get(&*STUCK.0), Some(&'-'), "hanging is told of every mount");
            assert!([USAGE, INODES, FILLING, READONLY].iter().all(|k| !said.contains_key(&*k.0)), "{said:?}");
        }
        let mut full = fs(usage(100.0, 0));
        full.mount.read_only = true;
        assert!([USAGE, INODES, FILLING, READONLY].iter().all(|k| of(k, &at(full.clone())) == '-'));
    }

    #[test]
    fn a_refused_write_is_a_fault_until_one_is_taken() {
        let tried = |at_s: f64, takes: Observed<bool>| {
            let mut fs = fs(usage(10.0, 500));
            fs.mount.fs_type = "xfs".into();
            (fs.ext4_errors, fs.takes_writes) = (Observed::unavailable("not ext4"), takes);
            sample(at_s, vec![fs], 0, 0.0)
        };
        let (refused, untried) = (tried(10.0, Observed::fresh(false)), tried(15.0, Observed::unavailable("not tried")));
        let taken = tried(20.0, Observed::fresh(true));
        assert_eq!(of(&READONLY, std::slice::from_ref(&untried)), '-');
        assert_eq!(of(&READONLY, std::slice::from_ref(&refused)), 'C');
        assert_eq!(of(&READONLY, &[refused.clone(), untried.clone()]), 'C', "not trying is not taking");
        assert_eq!(of(&READONLY, &[refused, untried, taken]), '-');
    }

    #[test]
    fn filling_looks_at_the_last_half_hour() {
        let growing = |bytes_per_s: f64, from: f64, readings: u64| -> Vec<Sample> {
            let reading = |i: u64| {
                let used = (from * GIB as f64 + bytes_per_s * 5.0 * i as f64) / GIB as f64;
                sample(5.0 * i as f64 + 1.0, vec![fs(usage(used, 500))], 0, 0.0)
            };
            (0..readings).map(reading).collect()
        };
        let per_hour = |gib: f64| gib * GIB as f64 / 3600.0;
        assert_eq!(of(&FILLING, &growing(per_hour(9.0), 65.0, 360)), 'W', "35 GiB left, 9 an hour");
        assert_eq!(of(&FILLING, &growing(per_hour(6.0), 65.0, 360)), '=', "between four hours and eight");
        assert_eq!(of(&FILLING, &growing(per_hour(3.0), 65.0, 360)), '-');
        assert_eq!(of(&FILLING, &growing(per_hour(20.0), 40.0, 360)), '=', "under 60 % it is not raised");
        assert_eq!(of(&FILLING, &growing(per_hour(-5.0), 65.0, 360)), '-');
        assert_eq!(of(&FILLING, &growing(per_hour(9.0), 65.0, 30)), '?', "two and a half minutes say nothing");
    }

    fn on_the_disk() -> FsSample {
        FsSample { disks: vec!["vdb".into()], ..fs(usage(10.0, 500)) }
    }

    #[test]
    fn a_volume_speaks_for_itself_when_the_disk_below_it_is_idle() {
        let at = |at_s: f64, volume_ms: u64, disk_ms: u64| {
            let mut sample = sample(at_s, vec![fs(usage(10.0, 500)), on_the_disk()], disk_ms, 50.0);
            let volume = DiskIo { name: "vdb1".into(), busy_ms: volume_ms, ..DiskIo::default() };
            if let Observed::Value { value, .. } = &mut sample.disks {
                value.push(volume);
            }
            sample
        };
        let told = |volume_ms, disk_ms| {
            let (mut history, samples) = (History::default(), [at(10.0, 0, 0), at(20.0, volume_ms, disk_ms)]);
            samples.iter().for_each(|s| history.push(s));
            let io = conditions(&samples[1], &history, &Params::default()).into_iter().filter(|c| c.kind == IO);
            let mut raised: Vec<_> = io.filter(|c| matches!(c.wants, Wants::Raise { .. })).map(|c| c.subject.to_string()).collect();
            raised.sort();
            raised
        };
        assert_eq!(told(9500, 100), ["disk vdb1"]);
        assert_eq!(told(9900, 9500), ["disk vdb"], "one signal: the disk is behind both");
        assert_eq!(told(100, 9500), ["disk vdb"]);
        assert!(told(9400, 9400).is_empty());
        // One below that swings around the threshold neither clears nor breaks what is told of the volume.
        let kept = {
            let (mut history, samples) = (History::default(), [at(10.0, 0, 0), at(20.0, 9900, 9500)]);
            samples.iter().for_each(|s| history.push(s));
            conditions(&samples[1], &history, &Params::default()).into_iter().find(|c| c.kind == IO && c.subject.to_string() == "disk vdb1")
        };
        assert!(matches!(kept.expect("spoken of").wants, Wants::Keep));
    }

    #[test]
    fn io_is_saturated_when_both_say_so() {
        let seen = |busy_ms, waiting| {
            of(&IO, &[sample(10.0, vec![on_the_disk()], 0, waiting), sample(20.0, vec![on_the_disk()], busy_ms, waiting)])
        };
        assert_eq!((seen(9500, 40.0), seen(9400, 40.0), seen(9500, 39.0), seen(9400, 39.0)), ('W', '=', '=', '-'));
        assert_eq!(of(&IO, &at(fs(usage(10.0, 500)))), '?', "one reading is no rate");
        let mut no_psi = sample(20.0, vec![on_the_disk()], 9500, 0.0);
        no_psi.io_pressure = Observed::unavailable("no PSI");
        assert_eq!(of(&IO, &[sample(10.0, vec![on_the_disk()], 0, 0.0), no_psi]), '?');
    }

    #[test]
    fn readonly_is_a_change_or_a_count_of_errors() {
        let change = |read_only, errors: Observed<u64>| {
            let mut f = fs(usage(10.0, 500));
            f.mount.read_only = read_only;
            f.ext4_errors = errors;
            f
        };
        let story = |told: Vec<FsSample>| {
            let samples: Vec<Sample> = told.into_iter().enumerate().map(|(i, f)| sample(5.0 * i as f64 + 1.0, vec![f], 0, 0.0)).collect();
            of(&READONLY, &samples)
        };
        let ok = || change(false, Observed::fresh(0));
        assert_eq!(story(vec![ok(), change(true, Observed::fresh(0))]), 'C');
        assert_eq!(story(vec![change(true, Observed::fresh(0))]), '-', "mounted read-only on purpose");
        assert_eq!(story(vec![ok(), change(false, Observed::fresh(2))]), 'C', "still listed as read-write");
        assert_eq!(story(vec![change(false, Observed::fresh(5)), change(false, Observed::fresh(5))]), '-', "old errors");
        assert_eq!(story(vec![ok(), change(true, Observed::fresh(0)), ok()]), '-');
        assert_eq!(story(vec![ok(), change(false, Observed::unavailable("EIO"))]), '?');
    }

    #[test]
    fn a_mount_that_hangs_says_so_and_nothing_else_is_known_of_it() {
        let mut hung = fs(usage(99.0, 0));
        (hung.usage, hung.stuck_for_s) = (Observed::unavailable("statfs hangs"), Some(2.5));
        let said = wants(&at(hung.clone()));
        assert_eq!((said[&*STUCK.0], said[&*USAGE.0], said[&*INODES.0]), ('C', '?', '?'));
        hung.stuck_for_s = Some(1.9);
        assert_eq!(of(&STUCK, &at(hung)), '=');
    }

    #[test]
    fn an_unreadable_mount_table_is_no_empty_one() {
        let mut blind = sample(15.0, vec![], 0, 0.0);
        blind.filesystems = Observed::unavailable("mountinfo: EIO");
        let said = wants(&[sample(10.0, vec![fs(usage(99.0, 500))], 0, 0.0), blind]);
        assert!([USAGE, INODES, FILLING, READONLY, STUCK].iter().all(|k| said.get(&*k.0) == Some(&'?')), "{said:?}");
    }

    #[test]
    fn every_declared_signal_is_spoken_of_and_no_other() {
        let said: Vec<String> = wants(&at(fs(usage(10.0, 500)))).into_keys().collect();
        let mut declared: Vec<&str> = SIGNALS.iter().map(|s| s.name).collect();
        declared.sort_unstable();
        assert_eq!(said, declared);
    }
}
