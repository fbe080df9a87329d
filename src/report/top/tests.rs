//! Sentences, figures and order, by table. The whole text and every frame are compared in `cli/top/draw.rs`.

use super::made_up::{HOSTILE, filesystem, process, troubled};
use super::*;
use crate::model::{FsKind, Seconds, is_unprintable};
use crate::report::paint::Tone;

fn names(section: &Section) -> Vec<&str> {
    section.rows.iter().map(|row| row[0].text.as_str()).collect()
}

#[test]
fn nothing_hostile_is_left() {
    let top = troubled();
    assert!(format!("{top:?}").contains("\\u{202e}"), "the moment holds what must not come through");
    let board = board(&top);
    let sections = board.panes.iter().flat_map(|p| &p.sections).chain([&board.pressure]);
    let cells = sections.clone().flat_map(|s| s.rows.iter().flatten()).chain(board.head.iter().flatten());
    let texts = cells.map(|c| &c.text).chain(sections.map(|s| &s.note)).chain(board.panes.iter().map(|p| &p.sum.text));
    let (mut looked, mut quoted) = (0, 0);
    for text in texts {
        assert!(!text.contains(is_unprintable), "{text:?}");
        looked += 1;
        quoted += u32::from(text.contains("\\x1b[2J\\x0ab"));
    }
    assert!(looked > 150 && quoted >= 10, "{looked} texts, {quoted} of them with a hostile name");
}

/// Whoever cannot see colours is told the same.
#[test]
fn tones_never_tell_more_than_the_text() {
    let board = board(&troubled());
    let rows = |pane: usize| {
        board.panes[pane].sections.iter().flat_map(|s| &s.rows).map(|r| r.iter().map(|c| c.text.as_str()).collect::<Vec<_>>())
    };
    assert!(rows(0).any(|r| r[0] == "/mnt/nfs" && r[1] == "STUCK" && r[7].contains("no answer for 2 min 5 s")));
    assert!(rows(1).any(|r| r[0] == "backup.service" && r[1] == "FAILED"));
    assert!(rows(4).any(|r| r[0] == "disk_usage_high" && r[1] == "critical"));
    let head: Vec<_> = board.head[3].iter().map(|c| c.text.as_str()).collect();
    assert_eq!(
        head,
        ["2 signals raised:", "2 sources not answering", "CRITICAL disk_usage_high on /srv/data", "WARNING mount_stuck on /mnt/nfs"]
    );
}

#[test]
fn bars() {
    for (percent, expected) in [
        (0.0, "[--------]"),
        (6.2, "[--------]"),
        (6.3, "[#-------]"),
        (50.0, "[####----]"),
        (93.7, "[#######-]"),
        (100.0, "[########]"),
        (300.0, "[########]"),
        (-5.0, "[--------]"),
        (f64::NAN, "[--------]"),
        (f64::INFINITY, "[########]"),
    ] {
        assert_eq!(bar(percent), expected, "{percent}");
    }
}

#[test]
fn long_names_keep_their_beginning_and_their_end() {
    assert_eq!(name(&"x".repeat(64)), "x".repeat(64));
    let cut = name(&format!("/srv/{}/app.log", "é".repeat(300)));
    assert_eq!(cut.chars().count(), 64);
    assert!(cut.starts_with("/srv/é") && cut.contains('…') && cut.ends_with("é/app.log"), "{cut}");
}

#[test]
fn filesystems_are_ordered_by_what_hurts() {
    let board = board(&troubled());
    let fs = &board.panes[0].sections[0];
    let order: Vec<_> = names(fs).iter().map(|n| n.chars().take(9).collect::<String>()).collect();
    assert_eq!(order, ["/mnt/nfs", "/srv/data", "a\\x1b[2J\\", "/var", "/", "/xxxxxxxx"]);
    assert_eq!(fs.note, "and 1 pseudo filesystem without signals");
    // A pseudo filesystem that hangs is told.
    let mut top = troubled();
    let mut hangs = filesystem(b"/sys/fs/fuse", FsKind::Pseudo, None);
    hangs.sample.stuck_for_s = Some(3.0);
    top.filesystems = Observed::fresh(vec![filesystem(b"/", FsKind::Local, Some(1)), hangs]);
    assert_eq!(names(&panes::filesystems(&top).sections[0]), ["/sys/fs/fuse", "/"]);
}

#[test]
fn growth_and_the_time_to_full() {
    for (bytes_per_s, full_in, growth, full, tone) in [
        (None, None, "-", "-", Tone::Plain),
        (Some(0.5), Some(1e12), "steady", "-", Tone::Plain),
        (Some(-5000.0), None, "-17.2 MiB/h", "-", Tone::Plain),
        (Some(400_000.0), Some(2000.0), "+1.34 GiB/h", "33 min", Tone::Bad),
        (Some(4000.0), Some(40_000.0), "+13.7 MiB/h", "11.1 h", Tone::Warn),
        (Some(4000.0), Some(400_000.0), "+13.7 MiB/h", "4.6 d", Tone::Plain),
        (Some(f64::MAX), Some(0.0), "+8192 PiB/h", "0 min", Tone::Bad),
    ] {
        let mut fs = filesystem(b"/", FsKind::Local, Some(50));
        (fs.bytes_per_s, fs.full_in) = (bytes_per_s, full_in.map(Seconds));
        let mut top = troubled();
        top.filesystems = Observed::fresh(vec![fs]);
        let pane = panes::filesystems(&top);
        let row = &pane.sections[0].rows[0];
        assert_eq!((row[5].text.as_str(), row[6].text.as_str(), row[6].tone), (growth, full, tone), "{bytes_per_s:?}");
    }
}

#[test]
fn the_hottest_and_the_largest_are_two_lists() {
    let mut top = troubled();
    let Observed::Value { value, .. } = &mut top.processes else { unreachable!() };
    value.top.extend((0..40).map(|i| process(b"many", 10_000 + i, Some(1.0), 1 << 20, 'S')));
    value.top.push(process(b"odd", 3, Some(f64::NAN), 0, 'S'));
    let pane = panes::processes(&top);
    assert_eq!(names(&pane.sections[0])[..3], ["worker", &crate::model::HostPath::from_bytes(HOSTILE).to_string(), "many"]);
    assert_eq!(names(&pane.sections[1])[..4], ["worker", "sleeper", "new", &crate::model::HostPath::from_bytes(HOSTILE).to_string()]);
    assert_eq!(pane.sections.iter().map(|s| s.rows.len()).collect::<Vec<_>>(), [10, 10]);
    assert!(names(&pane.sections[1]).iter().all(|n| *n != "odd"), "no memory is not little memory");
    // The same CPU: by pid, so that rows do not dance.
    let pids: Vec<_> = pane.sections[0].rows[2..5].iter().map(|r| r[1].text.as_str()).collect();
    assert_eq!(pids, ["10000", "10001", "10002"]);
}

#[test]
fn cgroups_show_the_limit_that_hurts_first() {
    let mut top = troubled();
    let Observed::Value { value, .. } = &mut top.cgroups else { unreachable!() };
    value.top[1].memory_high_bytes = Some(4 << 30);
    let pane = panes::cgroups(&top);
    let worker: Vec<_> = pane.sections[0].rows[0].iter().map(|c| c.text.as_str()).collect();
    assert_eq!(worker, ["/system.slice/worker.service", "5.00 GiB", "4.00 GiB", "125.0 %", "[########]", "181.4 %", "41 of 4,096", "3"]);
    assert_eq!(names(&pane.sections[1]), ["/system.slice/worker.service", "/user.slice"]);
    assert_eq!(pane.sum.text, "83, v2, 3 OOM kills");
}

#[test]
fn an_old_sample_is_said_to_be_old() {
    let mut top = troubled();
    top.now.uptime_s += 600.0;
    assert_eq!((board(&top).head[0][3].text.as_str(), board(&top).head[0][3].tone), ("sampled 10 min 1 s ago", Tone::Bad));
}
