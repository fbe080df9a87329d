//! What is asked of the collector next, and when. Pure: `now` is the time since the agent began to watch its link, `die` a number of 0..1.
//!
//! Two lines beside each other: heartbeats, by which it is known whether the collector is there and what it has, and rows, which go only
//! while it is. What keeps rows from being taken does not keep heartbeats from being sent.

use std::time::Duration;

use super::client::AskError;
use super::schedule;
use crate::model::LinkFailure;
use crate::wire::collector::{Code, Heard, MOST_RECORDS, Taken};

/// How far one record is at the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    pub stream: String,
    pub through: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Beat,
    Send(Send),
    /// Nothing, until then.
    Wait(Duration),
}

/// Rows after `after`, no more than `most`; `bare`: the first one without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Send {
    pub(super) after: u64,
    pub(super) most: usize,
    pub(super) bare: bool,
}

/// What a person is told, once each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Found,
    Lost,
    /// The collector does not know this host any more: a person has to do something.
    ShutOut,
    Back,
    /// The collector has rows that this record does not have: it is a copy from before they were written.
    Ahead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Up,
    Lost,
    ShutOut,
}

#[derive(Debug)]
pub(super) struct Link {
    state: State,
    /// Between the starts of two batches.
    pause: Duration,
    beat_at: Duration,
    beats_failed: u32,
    rows_at: Duration,
    rows_failed: u32,
    acked: Option<Acked>,
    /// There may be rows that it does not have.
    rows: bool,
    most: usize,
    /// The row after this one was too large by itself.
    bare_after: Option<u64>,
    /// It has more rows than there are.
    is_ahead: bool,
}

fn is_shut_out(error: &AskError) -> bool {
    let AskError::Refused(problem) = error else { return false };
    matches!(problem.code, Code::CredentialRefused | Code::AgentRevoked | Code::AgentQuarantined | Code::IdentityClone)
}

impl Link {
    /// `first`: when it is asked for the first time.
    pub(super) fn new(first: Duration, pause: Duration) -> Self {
        Self {
            state: State::New,
            pause,
            beat_at: first,
            beats_failed: 0,
            rows_at: Duration::ZERO,
            rows_failed: 0,
            acked: None,
            rows: false,
            most: MOST_RECORDS,
            bare_after: None,
            is_ahead: false,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub(super) const fn acked(&self) -> Option<&Acked> {
        self.acked.as_ref()
    }

    pub(super) fn next(&self, now: Duration) -> Next {
        if now >= self.beat_at {
            return Next::Beat;
        }
        match &self.acked {
            Some(acked) if self.is_up() && self.rows && now >= self.rows_at => {
                let after = acked.through;
                Next::Send(Send { after, most: self.most, bare: self.bare_after == Some(after) })
            }
            Some(_) if self.is_up() && self.rows => Next::Wait(self.beat_at.min(self.rows_at)),
            _ => Next::Wait(self.beat_at),
        }
    }

    /// A batch before the agent stops, whatever its turn is.
    pub(super) fn last(&self) -> Option<Send> {
        let acked = self.acked.as_ref().filter(|_| self.is_up() && self.rows && self.rows_failed == 0)?;
        Some(Send { after: acked.through, most: self.most, bare: false })
    }

    /// Something was added to the record.
    pub(super) fn appended(&mut self) {
        self.rows = true;
    }

    /// There are no rows that it does not have.
    pub(super) fn nothing_waits(&mut self) {
        self.rows = false;
    }

    /// The record could not be read in this moment.
    pub(super) fn no_record(&mut self, now: Duration) {
        self.rows_at = now + Duration::from_secs(1);
    }

    /// A heartbeat could not even be made.
    pub(super) fn no_beat(&mut self, now: Duration) {
        self.beat_at = now + Duration::from_secs(5);
    }

    /// The record is another one than the collector has spoken of.
    pub(super) fn another_record(&mut self, now: Duration) {
        self.acked = None;
        self.beat_at = now;
    }

    /// A heartbeat of a record that ends with row `head` was answered.
    pub(super) fn heard(&mut self, now: Duration, stream: &str, head: u64, heard: &Heard, die: f64) -> Option<Change> {
        let change = match std::mem::replace(&mut self.state, State::Up) {
            State::New => Some(Change::Found),
            State::Up => None,
            State::Lost | State::ShutOut => Some(Change::Back),
        };
        self.beats_failed = 0;
        self.beat_at = now + schedule::beat(schedule::interval(heard.next_in_s), die);
        if change.is_some() {
            // What came in the way of the rows was that nobody was there.
            (self.rows_failed, self.rows_at) = (0, now);
        }
        self.rows |= head > heard.acked_through;
        self.acked = Some(Acked { stream: stream.to_owned(), through: heard.acked_through });
        let was_ahead = std::mem::replace(&mut self.is_ahead, heard.acked_through > head);
        if self.is_ahead && !was_ahead { Some(Change::Ahead) } else { change }
    }

    pub(super) fn beat_failed(&mut self, now: Duration, error: &AskError, die: f64) -> Option<Change> {
        if is_shut_out(error) {
            return self.shut_out(now, die);
        }
        let wait = match error.retry_after_s() {
            Some(s) => schedule::after(s, die),
            None => schedule::retry(self.beats_failed, die),
        };
        self.beats_failed = self.beats_failed.saturating_add(1);
        self.beat_at = now + wait;
        match self.state {
            State::New | State::Up => {
                self.state = State::Lost;
                Some(Change::Lost)
            }
            State::Lost | State::ShutOut => None,
        }
    }

    fn shut_out(&mut self, now: Duration, die: f64) -> Option<Change> {
        self.beat_at = now + schedule::shut_out(die);
        (std::mem::replace(&mut self.state, State::ShutOut) != State::ShutOut).then_some(Change::ShutOut)
    }

    /// A batch of a record that ends with `head` was answered; how many rows are there now that were not before. `None`: none, although it was
    /// taken, or more than there are, which is no answer.
    pub(super) fn taken(&mut self, now: Duration, head: u64, taken: &Taken, die: f64) -> Option<u64> {
        let before = self.acked.as_ref().map_or(0, |acked| acked.through);
        if taken.acked_through <= before || taken.acked_through > head {
            self.put_off_rows(now, None, true, die);
            return None;
        }
        if let Some(acked) = &mut self.acked {
            acked.through = taken.acked_through;
        }
        (self.rows_failed, self.rows_at) = (0, now + self.pause);
        self.rows = head > taken.acked_through;
        self.most = (self.most * 2).min(MOST_RECORDS);
        self.bare_after = None;
        Some(taken.acked_through - before)
    }

    /// A batch of so many rows was not taken.
    pub(super) fn rows_failed(&mut self, now: Duration, rows: usize, error: &AskError, die: f64) -> Option<Change> {
        if is_shut_out(error) {
            return self.shut_out(now, die);
        }
        // A link that is too slow for so many: fewer get through.
        if matches!(error, AskError::Failed { reason: LinkFailure::TimedOut, .. }) && rows > 1 {
            self.most = rows.div_ceil(2).min(rows - 1);
        }
        if let AskError::Refused(problem) = error {
            let after = self.acked.as_ref().map(|acked| acked.through);
            match problem.code {
                Code::TooLarge if rows > 1 => {
                    self.most = rows.div_ceil(2).min(rows - 1);
                    return None;
                }
                Code::TooLarge if self.bare_after != after => {
                    self.bare_after = after;
                    return None;
                }
                // It has less than it once had: it is asked how much that is.
                Code::Gap => {
                    self.acked = None;
                    self.beat_at = now;
                }
                _ => {}
            }
        }
        self.put_off_rows(now, error.retry_after_s(), matches!(error, AskError::Refused(_)), die);
        None
    }

    fn put_off_rows(&mut self, now: Duration, retry_after_s: Option<u64>, answered: bool, die: f64) {
        let wait = match retry_after_s {
            Some(s) => schedule::after(s, die),
            None if answered => schedule::backoff(self.rows_failed + 1, die),
            None => schedule::retry(self.rows_failed, die),
        };
        self.rows_failed = self.rows_failed.saturating_add(1);
        self.rows_at = now + wait;
    }

    /// These rows cannot be sent, and nobody was asked.
    pub(super) fn not_sendable(&mut self, now: Duration, die: f64) {
        self.put_off_rows(now, None, true, die);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::collector::Problem;
    use proptest::prelude::*;

    const PAUSE: Duration = Duration::from_millis(500);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn heard(acked_through: u64) -> Heard {
        Heard { server_time: jiff::Timestamp::UNIX_EPOCH, next_in_s: 30.0, acked_through }
    }

    fn took(acked_through: u64) -> Taken {
        Taken { acked_through, accepted: 1, duplicates: 0 }
    }

    fn refused(status: u16, code: Code, retry_after_s: Option<u64>) -> AskError {
        let text = String::new;
        let retryable = true;
        AskError::Refused(Box::new(Problem { kind: text(), title: text(), status, detail: text(), code, retryable, retry_after_s }))
    }

    fn silence() -> AskError {
        AskError::Failed { reason: LinkFailure::TimedOut, why: "silence".into(), retry_after_s: None }
    }

    /// Heard of at second 10, with `head` rows here and `acked` there.
    fn up(head: u64, acked: u64) -> Link {
        let mut link = Link::new(s(10), PAUSE);
        assert_eq!(link.next(s(9)), Next::Wait(s(10)));
        assert_eq!(link.next(s(10)), Next::Beat);
        assert_eq!(link.heard(s(10), "one", head, &heard(acked), 0.5), Some(Change::Found));
        link
    }

    fn send(link: &Link, now: Duration) -> Send {
        match link.next(now) {
            Next::Send(send) => send,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rows_go_one_batch_after_another_behind_what_was_acknowledged() {
        let mut link = up(500, 100);
        assert_eq!(send(&link, s(10)), Send { after: 100, most: 200, bare: false });
        assert_eq!(link.taken(s(11), 500, &took(300), 0.5), Some(200));
        assert_eq!(link.next(s(11)), Next::Wait(s(11) + PAUSE), "not faster than so");
        assert_eq!(send(&link, s(12)).after, 300);
        assert_eq!(link.taken(s(12), 500, &took(500), 0.5), Some(200));
        assert_eq!(link.next(s(20)), Next::Wait(s(40)), "nothing more waits");
        link.appended();
        assert_eq!(send(&link, s(20)).after, 500);
        link.nothing_waits();
        assert_eq!(link.next(s(20)), Next::Wait(s(40)));
        link.appended();
        assert_eq!(link.next(s(40)), Next::Beat, "a heartbeat that is due comes first");
    }

    #[test]
    fn nothing_is_sent_before_the_collector_has_said_what_it_has_and_none_while_it_is_lost() {
        let mut link = Link::new(s(10), PAUSE);
        link.appended();
        assert_eq!(link.next(s(1)), Next::Wait(s(10)));
        assert_eq!(link.beat_failed(s(10), &silence(), 1.0), Some(Change::Lost));
        assert_eq!(link.next(s(11)), Next::Wait(s(130)));
        assert_eq!(link.heard(s(130), "one", 5, &heard(0), 0.5), Some(Change::Back));
        assert_eq!(send(&link, s(130)).after, 0);
    }

    #[test]
    fn a_lost_link_is_told_once_and_so_is_its_return() {
        let mut link = up(0, 0);
        let said: Vec<_> = (0..6).map(|n| link.beat_failed(s(100 + n), &silence(), 1.0)).collect();
        assert_eq!(said, [Some(Change::Lost), None, None, None, None, None]);
        assert_eq!(link.next(s(105)), Next::Wait(s(105 + 64)));
        assert_eq!(link.heard(s(300), "one", 0, &heard(0), 0.5), Some(Change::Back));
        assert_eq!(link.heard(s(330), "one", 0, &heard(0), 0.5), None);
        assert_eq!(link.beat_failed(s(360), &silence(), 0.5), Some(Change::Lost));
        assert_eq!(link.next(s(361)), Next::Wait(s(420)), "from the beginning");
    }

    #[test]
    fn patience_that_is_asked_for_is_given_and_somewhat_more() {
        let mut link = up(9, 0);
        assert_eq!(link.rows_failed(s(12), 9, &refused(429, Code::TooMany, Some(20)), 0.5), None);
        assert_eq!(link.next(s(12)), Next::Wait(s(37)), "12 + 20 * 1.25");
        assert_eq!(send(&link, s(37)).most, 200);
        assert_eq!(link.beat_failed(s(40), &refused(503, Code::Unavailable, Some(60)), 1.0), Some(Change::Lost));
        assert_eq!(link.next(s(40)), Next::Wait(s(130)));
    }

    #[test]
    fn rows_that_are_refused_do_not_stop_heartbeats_and_are_tried_ever_more_rarely() {
        let mut link = up(9, 0);
        let mut waits = Vec::new();
        let mut now = s(10);
        for _ in 0..4 {
            assert_eq!(link.rows_failed(now, 9, &refused(500, Code::NotProven, None), 1.0), None);
            assert!(link.is_up());
            waits.push(link.rows_at - now);
            now = link.rows_at;
        }
        assert_eq!(waits, [s(4), s(8), s(16), s(32)]);
        assert_eq!(link.next(s(41)), Next::Beat);
        assert_eq!(link.heard(s(41), "one", 9, &heard(0), 0.5), None);
        assert_eq!(link.next(s(41)), Next::Wait(s(70)), "nor does a heartbeat hurry them");
    }

    #[test]
    fn what_is_too_large_is_halved_down_to_one_row_without_its_body() {
        let mut link = up(500, 100);
        let too_large = refused(413, Code::TooLarge, None);
        let mut rows = 200;
        let mut sizes = Vec::new();
        while rows > 1 {
            assert_eq!(link.rows_failed(s(11), rows, &too_large, 0.5), None);
            rows = send(&link, s(11)).most;
            sizes.push(rows);
        }
        assert_eq!(sizes, [100, 50, 25, 13, 7, 4, 2, 1]);
        assert!(!send(&link, s(11)).bare);
        link.rows_failed(s(11), 1, &too_large, 0.5);
        assert_eq!(send(&link, s(11)), Send { after: 100, most: 1, bare: true });
        link.rows_failed(s(11), 1, &too_large, 1.0);
        assert_eq!(link.next(s(11)), Next::Wait(s(15)), "there is nothing left to leave out");
        link.taken(s(15), 500, &took(101), 0.5);
        assert_eq!(send(&link, s(16)), Send { after: 101, most: 2, bare: false }, "and back to more");
    }

    #[test]
    fn who_is_not_known_any_more_asks_twice_an_hour() {
        for code in [Code::CredentialRefused, Code::AgentRevoked, Code::AgentQuarantined, Code::IdentityClone] {
            let mut link = up(9, 0);
            assert_eq!(link.rows_failed(s(11), 9, &refused(403, code, Some(1)), 0.0), Some(Change::ShutOut));
            assert_eq!(link.next(s(11)), Next::Wait(s(911)), "{code:?}: no rows meanwhile");
            assert_eq!(link.beat_failed(s(911), &refused(403, code, None), 1.0), None);
            assert_eq!(link.next(s(911)), Next::Wait(s(911 + 1800)));
            assert_eq!(link.beat_failed(s(2711), &silence(), 1.0), None, "that it is not there either is no news");
            assert_eq!(link.heard(s(3000), "one", 9, &heard(0), 0.5), Some(Change::Back));
            assert_eq!(send(&link, s(3000)).after, 0);
        }
        let mut link = up(0, 0);
        assert_eq!(link.beat_failed(s(40), &silence(), 0.0), Some(Change::Lost));
        assert_eq!(link.beat_failed(s(40), &refused(403, Code::AgentRevoked, None), 0.0), Some(Change::ShutOut), "that is news");
    }

    #[test]
    fn a_collector_that_has_lost_rows_is_asked_what_it_has() {
        let mut link = up(500, 400);
        assert_eq!(link.rows_failed(s(12), 100, &refused(409, Code::Gap, None), 0.0), None);
        assert_eq!(link.next(s(12)), Next::Beat);
        assert_eq!(link.heard(s(12), "one", 500, &heard(250), 0.5), None);
        assert_eq!(link.next(s(12)), Next::Wait(s(14)), "not at once: it may say the same again");
        assert_eq!(send(&link, s(14)).after, 250);
    }

    #[test]
    fn one_that_takes_rows_and_does_not_acknowledge_them_is_not_flooded() {
        let mut link = up(500, 100);
        assert_eq!(link.taken(s(11), 500, &took(100), 1.0), None);
        assert_eq!(link.next(s(11)), Next::Wait(s(15)));
        assert_eq!(link.taken(s(15), 500, &took(7), 1.0), None);
        assert_eq!(link.acked().map(|a| a.through), Some(100));
    }

    #[test]
    fn a_record_begun_anew_is_another_stream() {
        let mut link = up(500, 500);
        link.heard(s(40), "two", 3, &heard(0), 0.5);
        assert_eq!(link.acked(), Some(&Acked { stream: "two".into(), through: 0 }));
        assert_eq!(send(&link, s(40)).after, 0);
    }

    #[test]
    fn an_answer_of_more_than_there_is_is_none() {
        let mut link = up(500, 100);
        assert_eq!(link.taken(s(11), 500, &took(u64::MAX), 0.5), None);
        assert_eq!(link.acked().map(|acked| acked.through), Some(100), "what it was given is not known to be there");
        assert!(matches!(link.next(s(11)), Next::Wait(until) if until > s(11) + PAUSE), "and it is not asked again at once");
    }

    #[test]
    fn a_link_that_is_too_slow_for_many_rows_is_given_fewer() {
        let mut link = up(500, 100);
        assert_eq!(link.rows_failed(s(11), 200, &silence(), 0.5), None);
        assert_eq!(link.most, 100);
        for _ in 0..10 {
            link.rows_failed(s(11), link.most, &silence(), 0.5);
        }
        assert_eq!(link.most, 1, "and never none");
    }

    #[test]
    fn one_that_has_more_than_there_is_is_sent_nothing() {
        let mut link = up(99, 99);
        let said: Vec<_> = [5, 6, 99, 98].map(|head| link.heard(s(10), "one", head, &heard(99), 0.5)).into();
        assert_eq!(said, [Some(Change::Ahead), None, None, Some(Change::Ahead)], "and that is told, once each time");
        assert_eq!(link.next(s(10)), Next::Wait(s(40)));
        link.appended();
        assert_eq!(send(&link, s(10)).after, 99, "the record has nothing behind that, and says so");
    }

    /// One thing that may come back.
    fn any_error() -> impl Strategy<Value = AskError> {
        let codes = [Code::TooLarge, Code::Gap, Code::TooMany, Code::AgentRevoked, Code::NotProven, Code::SeqConflict];
        prop_oneof![
            Just(silence()),
            (0..codes.len(), proptest::option::of(any::<u64>())).prop_map(move |(n, after)| refused(400, codes[n], after)),
        ]
    }

    proptest! {
        /// Whatever comes back in whatever order, the collector is asked no more than so often, and asked again in the end.
        #[test]
        fn it_neither_floods_nor_falls_silent(steps in proptest::collection::vec((any_error(), any::<bool>(), 0.0..1.0_f64, 0..50_u64), 1..200)) {
            let mut link = Link::new(s(0), PAUSE);
            let mut now = Duration::ZERO;
            let mut asked_at_once = 0;
            for (error, well, die, more) in steps {
                link.appended();
                match link.next(now) {
                    Next::Wait(until) => {
                        prop_assert!(until > now && until - now <= s(5400), "{:?}", until - now);
                        (now, asked_at_once) = (until, 0);
                        continue;
                    }
                    Next::Beat if well => drop(link.heard(now, "one", 1000, &heard(more), die)),
                    Next::Beat => drop(link.beat_failed(now, &error, die)),
                    Next::Send(send) if well => drop(link.taken(now, 1000, &took(send.after + more), die)),
                    Next::Send(send) => drop(link.rows_failed(now, send.most, &error, die)),
                }
                asked_at_once += 1;
                // Halving 200 rows takes eight tries; the heartbeat between them one or two.
                prop_assert!(asked_at_once <= 14, "{asked_at_once} requests without a pause");
            }
        }
    }
}
