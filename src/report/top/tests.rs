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
    let board = board(&top, Span::QuarterHour);
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
    let board = board(&troubled(), Span::QuarterHour);
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
    let board = board(&troubled(), Span::QuarterHour);
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
    assert_eq!(
        (board(&top, Span::QuarterHour).head[0][3].text.as_str(), board(&top, Span::QuarterHour).head[0][3].tone),
        ("sampled 10 min 1 s ago", Tone::Bad)
    );
}

fn texts(row: &[Cell]) -> Vec<&str> {
    row.iter().map(|c| c.text.as_str()).collect()
}

fn trends_mut(top: &mut Top) -> &mut crate::wire::local::Trends {
    let Observed::Value { value, .. } = &mut top.trends else { unreachable!() };
    value
}

/// A hole stays a hole in the curve, and counts for no figure.
#[test]
fn trends_tell_what_the_curve_cannot() {
    let mut top = troubled();
    let quarter = &mut trends_mut(&mut top).quarter_hour;
    quarter.load_one = vec![Some(4.0), None, None, None, None, None, None, Some(1.0), Some(2.0)];
    quarter.memory_pressure = vec![None; 9];
    let pane = trends::trends(&top, &[Span::QuarterHour]);
    let row = |name: &str| pane.sections[0].rows.iter().find(|r| r[0].text == name).unwrap();
    let load = row("load");
    assert_eq!(texts(load)[2..], ["2.00", "1.00", "4.00"]);
    let curve = load[1].curve.as_ref().unwrap();
    let drawn: String = curve.drawn(90).chars().skip(84).collect();
    assert_eq!((drawn.chars().filter(|c| *c == '█').count(), drawn.trim_start().contains("  ")), (1, true), "{drawn:?}");
    assert_eq!(texts(row("memory pressure"))[1..], [" ".repeat(45).as_str(), "-", "-", "-"]);
    // What was last had a while ago is not what is now, and the curve ends before the edge.
    top.now.uptime_s += 60.0;
    let pane = trends::trends(&top, &[Span::QuarterHour]);
    let load = pane.sections[0].rows.iter().find(|r| r[0].text == "load").unwrap();
    assert_eq!(texts(load)[2..], ["-", "1.00", "4.00"]);
    assert!(load[1].text.ends_with("   "), "{:?}", load[1].text);
    // No swap: no line of it.
    assert!(pane.sections[0].rows.iter().any(|r| r[0].text == "swap used"));
    let trends = trends_mut(&mut top);
    (trends.quarter_hour.swap_used, trends.six_hours.swap_used) = (vec![None; 180], vec![None; 200]);
    assert!(!trends::trends(&top, &[Span::QuarterHour]).sections[0].rows.iter().any(|r| r[0].text == "swap used"));
}

/// Little looks like little, and a disk that fills by two points over six hours is seen to.
#[test]
fn scales_fit_what_they_show() {
    let mut top = troubled();
    let hours = &mut trends_mut(&mut top).six_hours;
    hours.cpu_busy = vec![Some(1.0); 360];
    hours.filesystems[1].used = (0..360).map(|n| Some(93.0 + n as f32 / 180.0)).collect();
    hours.filesystems[0].used = (0..360).map(|n| Some(40.0 + 0.1 * (n % 2) as f32)).collect();
    let pane = trends::trends(&top, &[Span::SixHours]);
    let curve = |name: &str| pane.sections[0].rows.iter().find(|r| r[0].text == name).unwrap()[1].text.clone();
    assert_eq!(curve("cpu busy"), "▂".repeat(60));
    assert!(curve("/srv/data").starts_with('▁') && curve("/srv/data").ends_with('█'), "{}", curve("/srv/data"));
    assert_eq!(curve("/"), "▁".repeat(60));
}

#[test]
fn events_say_who_and_when_and_do_nothing_to_a_terminal() {
    let pane = events::events(&troubled());
    let [kernel, journal] = pane.sections.as_slice() else { panic!("{pane:?}") };
    assert_eq!(texts(&kernel.rows[0])[..3], ["OOM kill", "12 s", "worker, pid 4711, in /system.slice/worker.service"]);
    assert!(kernel.rows[1][2].text.starts_with("sdb: blk_update_request: I/O error, dev sdb, sector 2048"), "{kernel:?}");
    assert!(kernel.rows[2][2].text.starts_with("a\\x1b[2J\\x0ab") && kernel.rows[2][2].text.contains("\\x9b31m"), "{kernel:?}");
    assert_eq!(
        kernel.note,
        "kernel: 2 OOM kills, 1,312 I/O errors, 7 lines overwritten before they could be read since the agent began to listen"
    );
    assert_eq!(texts(&journal.rows[0]), ["postgresql.service", "3.0 s", "err", "could not extend file: No space left on device"]);
    assert_eq!(texts(&journal.rows[2]), ["no unit", "-", "-", ""]);
    assert_eq!(journal.rows[1][3].text.chars().count(), 161, "a long message is cut");
    assert_eq!(pane.sum.text, "1,314 from the kernel, 1,234 from the journal");
    let mut quiet = troubled();
    quiet.journal = Observed::unavailable("journal: nothing is to be followed: no units and no markers configured");
    let Observed::Value { value: log, .. } = &mut quiet.kernel_log else { unreachable!() };
    (log.counts, log.latest, log.dropped) = (vec![], vec![], 0);
    let pane = events::events(&quiet);
    assert_eq!(pane.sections[0].note, "kernel: no trouble since the agent began to listen");
    assert_eq!(pane.sections[1].note, "journal unknown: journal: nothing is to be followed: no units and no markers configured");
    assert_eq!((pane.sum.text.as_str(), pane.sum.tone), ("0 from the kernel, journal not followed", Tone::Plain));
}
