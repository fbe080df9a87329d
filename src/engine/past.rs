//! What `byteportctl top` is told of the time before the newest sample: the history in memory, and what the kernel and the journal said.

use crate::detect::{Even, Moment, Timeline};
use crate::model::{HostPath, JournalEntry, JournalLog, KernelEvent, KernelLog, Now, Observed, Seconds};
use crate::wire::local::{FilesystemTrend, TopJournal, TopJournalEntry, TopKernelEvent, TopKernelLog, Trend, Trends};

/// Of each, for somebody who asks every few seconds; the journal itself has the rest.
const MOST_EVENTS: usize = 20;
/// Characters of a message.
const LONGEST_MESSAGE: usize = 500;

/// `sample_every`: as it is configured.
pub(super) fn trends(timeline: &Timeline, sample_every: Seconds, now: &Now) -> Observed<Trends> {
    match (timeline.quarter_hour(sample_every.0), timeline.six_hours(sample_every.0)) {
        (Some(fine), Some(coarse)) => Observed::fresh(Trends { quarter_hour: trend(&fine, now), six_hours: trend(&coarse, now) }),
        _ => Observed::unavailable("no sample yet"),
    }
}

fn trend(even: &Even<'_>, now: &Now) -> Trend {
    // More digits than anybody sees would only be sent.
    let rounded = |value: f32| (value * 100.0).round() / 100.0;
    let of = |field: fn(&Moment) -> Option<f32>| even.moments.iter().map(|m| m.and_then(field).map(rounded)).collect();
    let filesystem = |(mount, device, used): &(&HostPath, u64, Vec<Option<f32>>)| FilesystemTrend {
        mount: HostPath::clone(mount),
        device: *device,
        used: used.clone(),
    };
    let ago = jiff::SignedDuration::from_secs_f64((now.uptime_s - even.last_s).clamp(0.0, 1e9));
    Trend {
        every_s: even.every_s,
        last: Now { wall: now.wall.saturating_sub(ago).unwrap_or(now.wall), boot: now.boot.clone(), uptime_s: even.last_s },
        cpu_busy: of(|m| m.cpu_busy),
        cpu_iowait: of(|m| m.cpu_iowait),
        load_one: of(|m| m.load_one),
        memory_used: of(|m| m.memory_used),
        swap_used: of(|m| m.swap_used),
        cpu_pressure: of(|m| m.cpu_pressure),
        io_pressure: of(|m| m.io_pressure),
        memory_pressure: of(|m| m.memory_pressure),
        filesystems: even.filesystems.iter().map(filesystem).collect(),
    }
}

pub(super) fn kernel_log(log: &KernelLog, now: &Now) -> TopKernelLog {
    let told = |event: &KernelEvent| TopKernelEvent {
        // The kernel's stamp may be ahead of the boot clock by its own drift.
        age_s: (now.uptime_s - event.at_us as f64 / 1e6).max(0.0),
        event: event.clone(),
    };
    TopKernelLog { counts: log.counts.clone(), dropped: log.dropped, latest: log.recent.iter().rev().take(MOST_EVENTS).map(told).collect() }
}

pub(super) fn journal(log: &JournalLog, now: &Now) -> TopJournal {
    let told = |entry: &JournalEntry| TopJournalEntry {
        age_s: entry.at.map(|at| ((now.wall.as_millisecond() - at.as_millisecond()) as f64 / 1000.0).max(0.0)),
        entry: JournalEntry { message: beginning(&entry.message), ..entry.clone() },
    };
    TopJournal {
        told: log.told,
        dropped: log.dropped,
        gaps: log.gaps,
        latest: log.recent.iter().rev().take(MOST_EVENTS).map(told).collect(),
    }
}

fn beginning(message: &str) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, KernelEventKind, LoadAverage, Readings, Sample};

    fn now(uptime_s: f64) -> Now {
        Now { wall: jiff::Timestamp::from_second(1_000_000 + uptime_s as i64).unwrap(), boot: BootId("a".into()), uptime_s }
    }

    #[test]
    fn the_last_step_is_the_newest_moment_and_what_was_not_had_is_null() {
        let mut timeline = Timeline::default();
        assert_eq!(trends(&timeline, Seconds(5.0), &now(10.0)).why(), Some("no sample yet"));
        for at_s in [100.0, 105.0, 130.0] {
            let mut readings = Readings::none("not asked");
            readings.load = Observed::fresh(LoadAverage { one: at_s / 1000.0 + 0.0004, five: 0.0, fifteen: 0.0 });
            timeline.push(&Sample {
                at: now(at_s),
                filesystems: Observed::unavailable("not asked"),
                disks: Observed::unavailable("not asked"),
                io_pressure: Observed::unavailable("not asked"),
                node_disk_pressure: Observed::unavailable("not asked"),
                stall: None,
                readings,
            });
        }
        let Observed::Value { value: told, .. } = trends(&timeline, Seconds(5.0), &now(133.0)) else { panic!("there is a history") };
        let fine = &told.quarter_hour;
        assert_eq!(fine.last, now(130.0));
        assert_eq!(fine.load_one, [Some(0.1), Some(0.11), None, None, None, None, Some(0.13)]);
        assert_eq!(fine.cpu_busy, [None; 7]);
        let json = serde_json::to_string(&fine.load_one).unwrap();
        assert_eq!(json, "[0.1,0.11,null,null,null,null,0.13]");
        assert_eq!((told.six_hours.every_s, told.six_hours.load_one.as_slice()), (60.0, &[Some(0.1)][..]));
    }

    #[test]
    fn the_newest_come_first_with_their_age_and_no_longer_than_is_read() {
        let event = |seq: u64| KernelEvent {
            kind: KernelEventKind::IoError,
            seq,
            at_us: 90_000_000 + seq * 1_000_000,
            subject: "sda".into(),
            pid: None,
            cgroup: None,
            text: String::new(),
        };
        let told = kernel_log(&KernelLog { recent: (0..40).map(event).collect(), ..KernelLog::default() }, &now(120.0));
        assert_eq!((told.latest.len(), told.latest[0].event.seq, told.latest[19].age_s), (MOST_EVENTS, 39, 10.0));
        assert_eq!(told.latest[0].age_s, 0.0, "a stamp that is ahead is of now");

        let entry = |n: i64| JournalEntry {
            at: (n != 39).then(|| jiff::Timestamp::from_second(1_000_000 + n).unwrap()),
            message: "é".repeat(n as usize * 20),
            ..JournalEntry::default()
        };
        let told = journal(&JournalLog { recent: (0..40).map(entry).collect(), told: 40, ..JournalLog::default() }, &now(60.0));
        assert_eq!((told.latest.len(), told.latest[0].age_s, told.latest[1].age_s), (MOST_EVENTS, None, Some(22.0)));
        assert_eq!(told.latest[0].entry.message.chars().count(), LONGEST_MESSAGE + 1);
        assert_eq!(told.latest[19].entry.message.chars().count(), 400);
    }
}
