//! The loop: what arrives, in which order, and what it does when nothing does.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use byteport::model::LinkFailure;
use byteport::uplink::{Pace, Patience};
use byteport::wire::collector::{Code, MOST_RECORDS};

use crate::collector::{Collector, Reply};
use crate::host::{QUICK, Reporting, enrol, setup, wait};

const BEAT: &str = "/v1/agent/heartbeat";
const EVENTS: &str = "/v1/agent/events";

fn refused(status: u16, code: Code, retry_after_s: Option<u64>) -> Reply {
    Reply::Problem { status, code, retry_after_s }
}

/// An enrolled host and its collector.
fn enrolled() -> (tempfile::TempDir, Collector) {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    enrol(dir.path(), setup(&collector.url()), "t", false).unwrap();
    (dir, collector)
}

/// All rows are there, once each and in order.
fn complete(collector: &Collector, head: u64) -> bool {
    let seqs: Vec<u64> = collector.rows().iter().map(|row| row.seq).collect();
    seqs == (1..=head).collect::<Vec<_>>()
}

#[test]
fn rows_arrive_in_order_and_new_ones_at_once() {
    let (dir, collector) = enrolled();
    let host = Reporting::start(dir.path());
    for n in 0..2 * MOST_RECORDS {
        host.recorder.note(&format!("before {n}"));
    }
    wait("what was there", || complete(&collector, host.recorder.head()));
    assert!(collector.asked(EVENTS).len() >= 3, "no batch has more rows than it may");
    let beat = &collector.asked(BEAT)[0];
    assert!(beat.json["head"]["signature"].is_string() && beat.json["open_incidents"] == 1, "{beat:?}");

    let begun = Instant::now();
    host.note("new");
    wait("the new one", || complete(&collector, host.recorder.head()));
    assert!(begun.elapsed() < Duration::from_secs(10), "long before anybody would look by himself");
    let link = host.link();
    assert!(link.up && link.heard_at.is_some() && link.trouble.is_none(), "{link:?}");
    wait("its acknowledgement", || host.link().waiting == Some(0));
    assert_eq!((host.link().sent, host.link().failures.values().sum::<u64>()), (host.recorder.head(), 0));

    host.recorder.note("last");
    let head = host.recorder.head();
    host.leave();
    assert!(complete(&collector, head), "what was recorded last is sent before the goodbye");
    assert_eq!(collector.asked("/v1/agent/goodbye")[0].json["reason"], "stopped");
}

#[test]
fn what_the_collector_has_not_acknowledged_is_sent_again_and_what_it_has_is_not() {
    let (dir, collector) = enrolled();
    let host = Reporting::start(dir.path());
    host.note("a");
    wait("the first ones", || complete(&collector, 2) && host.link().waiting == Some(0));
    // Taken, and the answer lost.
    collector.next(EVENTS, Reply::HangUp);
    host.note("b");
    wait("the third", || complete(&collector, 3) && host.link().waiting == Some(0));
    let duplicates = || collector.state.streams.lock().unwrap().values().map(|stream| stream.duplicates).sum::<u64>();
    assert_eq!(duplicates(), 1, "the third came twice, and once more would be for nothing");
    host.note("c");
    wait("the fourth", || complete(&collector, 4) && host.link().waiting == Some(0));
    assert_eq!(host.link().sent, 4, "nothing counts before it is acknowledged, and nothing twice");
    drop(host);
    let sent = collector.asked(EVENTS).len();
    let host = Reporting::start(dir.path());
    wait("the next start", || collector.acked() == 5);
    let rows: usize = collector.asked(EVENTS)[sent..].iter().map(|asked| asked.json["records"].as_array().unwrap().len()).sum();
    assert_eq!(rows, 1, "nothing is remembered here: the collector has said what it has");
    drop(host);
}

#[test]
fn a_batch_that_is_too_large_is_halved_and_one_row_goes_without_its_body() {
    let (dir, collector) = enrolled();
    for _ in 0..4 {
        collector.next(EVENTS, refused(413, Code::TooLarge, None));
    }
    collector.next(EVENTS, Reply::Plain { status: 413, headers: Vec::new(), body: "from somebody on the way" });
    let host = Reporting::start(dir.path());
    (0..7).for_each(|n| host.recorder.note(&n.to_string()));
    host.board.appended();
    wait("all of it", || complete(&collector, 8));
    let sizes: Vec<usize> = collector.asked(EVENTS).iter().map(|asked| asked.json["records"].as_array().unwrap().len()).collect();
    let first = sizes[0];
    assert!(sizes.windows(2).take(5).all(|two| two[1] < two[0] || two[1] == 1), "{sizes:?}");
    assert!(sizes[1] <= first.div_ceil(2) && sizes[4] == 1, "{sizes:?}");
    let rows = collector.rows();
    assert_eq!(rows.iter().filter(|row| row.body.is_none()).map(|row| row.seq).collect::<Vec<_>>(), [1], "the one that was refused alone");
    assert!(host.link().up);
}

#[test]
fn patience_that_is_asked_for_is_given() {
    let (dir, collector) = enrolled();
    let host = Reporting::start(dir.path());
    wait("the first row", || complete(&collector, 1));
    collector.next(EVENTS, refused(429, Code::TooMany, Some(3)));
    host.note("a");
    wait("the refusal", || host.failures(LinkFailure::Busy) == 1);
    // More rows do not hurry it.
    host.note("b");
    wait("the rest", || complete(&collector, 3));
    let asked = collector.asked(EVENTS);
    let (refused, after) = (asked[asked.len() - 2].at, asked[asked.len() - 1].at);
    assert!(after - refused >= Duration::from_secs(3), "{:?}", after - refused);
    let beats = collector.asked(BEAT).iter().filter(|beat| beat.at > refused && beat.at < after).count();
    assert!(beats >= 1, "heartbeats go on");
    assert!(host.link().up);
}

/// What keeps coming to nothing, for a second: how often it was tried, and how it stands then.
fn bears(reply: Reply, pace: Pace) -> (usize, byteport::model::CollectorLink) {
    let (dir, collector) = enrolled();
    collector.always("", reply);
    let host = Reporting::paced(dir.path(), pace, 0.5);
    host.note("kept");
    wait("a failure", || host.board.link().is_some_and(|link| link.trouble.is_some()));
    std::thread::sleep(Duration::from_secs(1));
    let (tries, link) = (collector.state.asked.lock().unwrap().len() - 1, host.link());
    assert!(!link.up && link.waiting.is_none(), "{link:?}");
    assert!(collector.asked(EVENTS).is_empty(), "no rows while nobody takes them");
    // The record is there as if nothing were.
    host.note("goes on");
    assert_eq!(host.recorder.head(), 3);
    (tries, link)
}

#[test]
fn one_that_fails_hangs_or_babbles_is_asked_seldom_and_never_trusted() {
    let impatient = Pace { patience: Patience { connect: Duration::from_secs(1), answer: Duration::from_millis(300) }, ..QUICK };
    let plain = |status, body| Reply::Plain { status, headers: Vec::new(), body };
    for (reply, pace, why) in [
        (plain(500, "no"), QUICK, LinkFailure::Refused),
        (plain(503, "no"), QUICK, LinkFailure::Busy),
        (refused(500, Code::Unavailable, None), QUICK, LinkFailure::Refused),
        (Reply::Hang, impatient, LinkFailure::TimedOut),
        (plain(200, "<html>welcome</html>"), QUICK, LinkFailure::BadAnswer),
        (plain(200, ""), QUICK, LinkFailure::BadAnswer),
        (plain(200, r#"{"acked_through": -1}"#), QUICK, LinkFailure::BadAnswer),
        (plain(401, r#"{"code":"agent-revoked"}"#), QUICK, LinkFailure::Refused),
        (Reply::HangUp, QUICK, LinkFailure::Unreachable),
        (Reply::Flood, QUICK, LinkFailure::BadAnswer),
    ] {
        let (tries, link) = bears(reply.clone(), pace);
        assert_eq!(tries, 1, "the first try after a lost link may be a minute away: {reply:?}");
        assert_eq!(link.failures[&why], 1, "{reply:?}: {link:?}");
    }
}

#[test]
fn a_gigabyte_is_not_read() {
    let (dir, collector) = enrolled();
    collector.next(BEAT, Reply::Flood);
    let host = Reporting::start(dir.path());
    wait("a good answer after it", || host.board.link().is_some_and(|link| link.up));
    let sent = collector.state.flooded.load(Ordering::Relaxed);
    // What the kernel holds on both sides, and a little.
    assert!((64 << 10..64 << 20).contains(&sent), "{sent} bytes");
    assert_eq!(host.failures(LinkFailure::BadAnswer), 1);
}

#[test]
fn what_is_no_http_is_no_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let babbling = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        // One for the enrolment.
        let (mut client, _) = listener.accept().unwrap();
        drop(client.read(&mut [0; 4096]));
        drop(client.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"));
    });
    let dir = tempfile::tempdir().unwrap();
    let why = enrol(dir.path(), setup(&format!("http://{at}")), "t", false).unwrap_err().to_string();
    assert!(why.contains("not HTTP"), "{why}");
    babbling.join().unwrap();
}

#[test]
fn a_collector_that_comes_back_gets_what_it_has_missed() {
    let (dir, collector) = enrolled();
    let host = Reporting::start(dir.path());
    wait("the first row", || complete(&collector, 1));
    let (at, state) = (collector.at, collector.state.clone());
    drop(collector);
    wait("its loss", || !host.link().up);
    for n in 0..300 {
        host.note(&n.to_string());
    }
    let link = host.link();
    assert!(link.trouble.is_some() && link.failures[&LinkFailure::Unreachable] >= 1, "{link:?}");
    let collector = Collector::again(at, state);
    wait("everything", || complete(&collector, 301));
    wait("that it is known", || host.link().waiting == Some(0));
    assert!(host.link().up && host.link().trouble.is_none());
}

#[test]
fn a_collector_that_has_lost_rows_gets_them_again() {
    let (dir, collector) = enrolled();
    let host = Reporting::start(dir.path());
    (0..9).for_each(|n| host.note(&n.to_string()));
    wait("ten rows", || complete(&collector, 10) && host.link().waiting == Some(0));
    {
        let mut streams = collector.state.streams.lock().unwrap();
        let stream = streams.values_mut().next().unwrap();
        stream.rows.truncate(4);
        stream.acked = 4;
    }
    host.note("one more");
    wait("all of them", || complete(&collector, 11));
}

#[test]
fn a_record_begun_anew_is_another_stream() {
    let (dir, collector) = enrolled();
    let host = Reporting::start(dir.path());
    (0..4).for_each(|n| host.note(&n.to_string()));
    wait("five rows", || collector.acked() == 5);
    drop(host);
    std::fs::remove_file(dir.path().join("record.db")).unwrap();
    let host = Reporting::start(dir.path());
    host.note("of another record");
    wait("the other one", || collector.state.streams.lock().unwrap().len() == 2);
    wait("its rows", || {
        let mut acked: Vec<u64> = collector.state.streams.lock().unwrap().values().map(|stream| stream.acked).collect();
        acked.sort_unstable();
        acked == [host.recorder.head(), 5]
    });
    assert_eq!(host.link().waiting, Some(0));
}

#[test]
fn who_is_not_known_any_more_does_not_enrol_by_itself_and_a_new_identity_is_taken_up() {
    let (dir, collector) = enrolled();
    let host = Reporting::start(dir.path());
    wait("the first row", || complete(&collector, 1));
    let old = host.link().agent_id;
    collector.always(BEAT, refused(403, Code::AgentRevoked, None));
    wait("the refusal", || !host.link().up);
    let asked = collector.asked(BEAT).len();
    host.note("kept");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((collector.asked(BEAT).len(), collector.acked(), collector.asked("/v1/enroll").len()), (asked, 1, 1));
    collector.well_again();
    enrol(dir.path(), setup(&collector.url()), "another", true).unwrap();
    wait("the new one", || complete(&collector, 2));
    assert_ne!(host.link().agent_id, old);
}

#[test]
fn an_identity_that_comes_is_taken_up_and_one_that_goes_is_let_go() {
    let (dir, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let host = Reporting::start(dir.path());
    host.note("before there was a collector");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(host.board.link(), None);
    enrol(dir.path(), setup(&collector.url()), "t", false).unwrap();
    wait("what was recorded before", || complete(&collector, 2));
    let file = dir.path().join(byteport::uplink::NAME);
    let kept = std::fs::read(&file).unwrap();
    std::fs::write(&file, "damaged").unwrap();
    wait("no link with a damaged one", || host.board.link().is_none());
    host.note("kept");
    std::fs::write(&file, kept).unwrap();
    wait("the rest", || complete(&collector, 3));
    std::fs::remove_file(&file).unwrap();
    wait("none any more", || host.board.link().is_none());
    let asked = collector.state.asked.lock().unwrap().len();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(collector.state.asked.lock().unwrap().len(), asked);
}

#[test]
fn a_record_whose_disk_hangs_does_not_silence_the_host() {
    let (dir, collector) = enrolled();
    let host = Reporting::start(dir.path());
    wait("the first row", || complete(&collector, 1));
    host.recorder.hangs.store(true, Ordering::Relaxed);
    let says_so = |collector: &Collector| {
        let beats = collector.asked(BEAT);
        beats.iter().filter(|beat| beat.json["held_by"].to_string().contains("the record cannot be read")).count()
    };
    wait("heartbeats that say so", || says_so(&collector) >= 3);
    host.recorder.hangs.store(false, Ordering::Relaxed);
    host.note("after it");
    wait("its row", || complete(&collector, 2));
}

#[test]
fn a_stop_is_not_held_up_by_a_collector_that_hangs() {
    let (dir, collector) = enrolled();
    let host = Reporting::start(dir.path());
    wait("the first row", || complete(&collector, 1) && host.link().up);
    collector.always("", Reply::Hang);
    host.recorder.note("the last one");
    let begun = Instant::now();
    host.leave();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
