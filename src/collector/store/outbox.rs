//! What is to be told: who may send which row now, and what came of it.
//!
//! A row is claimed for a while, sent outside of any transaction, and finished. Whoever dies in between leaves a claim that runs out: then
//! the row is sent once more, and says by its name that it is the same.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::columns::{number, time, time_or_none};
use super::failure::Failure;
use super::opened;
use crate::collector::outbox::Letter;
use crate::collector::outbox::retry::{LONGEST, MOST_TRIES, Next};
use crate::collector::view::{Delivery, DeliveryState};

/// How long a row belongs to whoever claimed it.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
/// No claim is longer, not even by a clock that was set back a little since.
const NO_LEASE: SignedDuration = SignedDuration::from_secs(120);
/// Of why it failed, in characters.
const MOST_OF_AN_ERROR: usize = 2_000;
/// Rows that a list shows of those that are dead, and of the others.
pub(super) const SHOWN: usize = 100;

/// The one row that may be sent now. Rows of one incident go to one destination in the order of the host's record, and where that was begun
/// anew in the order in which they came: none overtakes another that waits. A time that is further away than any of ours was written by a clock that has gone back since.
pub(super) const DUE: &str =
    "SELECT o.id, o.destination, o.agent_id, o.incident, o.about, o.stream, o.seq, o.payload, o.attempts, o.created_at
     FROM outbox o
     WHERE o.state = 'pending' AND (o.next_at <= ?1 OR o.next_at > ?2)
       AND (o.lease_until IS NULL OR o.lease_until <= ?1 OR o.lease_until > ?3)
       AND NOT EXISTS (
         SELECT 1 FROM outbox e
         WHERE e.agent_id = o.agent_id AND e.incident = o.incident AND e.destination = o.destination AND e.state = 'pending'
           AND iif(e.stream = o.stream, (e.seq, e.id) < (o.seq, o.id), e.id < o.id))
     ORDER BY o.next_at, o.id LIMIT 1";

const COLUMNS: &str = "id, destination, about, agent_id, incident, state, attempts, created_at, sent_at, last_error, next_at";

pub(super) fn dead_sql() -> String {
    format!("SELECT {COLUMNS} FROM outbox WHERE state = 'dead' ORDER BY id DESC LIMIT {SHOWN}")
}

pub(super) fn others_sql() -> String {
    format!("SELECT {COLUMNS} FROM outbox WHERE state <> 'dead' ORDER BY id DESC LIMIT {SHOWN}")
}

pub(super) fn of_incident_sql() -> String {
    format!("SELECT {COLUMNS} FROM outbox WHERE agent_id = ?1 AND incident = ?2 ORDER BY id")
}

/// The newest ones, dead ones first.
pub(super) fn list(conn: &Connection) -> rusqlite::Result<Vec<Delivery>> {
    let mut all = conn.prepare(&dead_sql())?.query_map([], delivery)?.collect::<rusqlite::Result<Vec<_>>>()?;
    for other in conn.prepare(&others_sql())?.query_map([], delivery)? {
        all.push(other?);
    }
    Ok(all)
}

pub(super) fn of_incident(conn: &Connection, agent_id: &str, incident: &str) -> rusqlite::Result<Vec<Delivery>> {
    conn.prepare(&of_incident_sql())?.query_map([agent_id, incident], delivery)?.collect()
}

fn delivery(r: &Row<'_>) -> rusqlite::Result<Delivery> {
    let state = match r.get::<_, String>(5)?.as_str() {
        "sent" => DeliveryState::Sent,
        "dead" => DeliveryState::Dead,
        _ => DeliveryState::Pending,
    };
    let next_at = time(r, 10)?;
    Ok(Delivery {
        id: number(r, 0)?,
        destination: r.get(1)?,
        about: r.get(2)?,
        agent_id: r.get(3)?,
        incident: r.get(4)?,
        state,
        attempts: number(r, 6)?,
        created_at: time(r, 7)?,
        sent_at: time_or_none(r, 8)?,
        last_error: r.get(9)?,
        next_at: (state == DeliveryState::Pending).then_some(next_at),
    })
}

/// The sender's own connection to the collector's file.
#[derive(Debug)]
pub struct Outbox {
    conn: Connection,
    file: PathBuf,
}

/// A row that is the claimer's for a while.
#[derive(Debug)]
pub struct Claim {
    pub letter: Letter,
    until: i64,
}

impl Outbox {
    /// # Errors
    /// When the file is not there, or has other tables than this version.
    pub fn open(file: &Path) -> Result<Self, Failure> {
        Ok(Self { conn: opened::to_change(file)?, file: file.to_owned() })
    }

    /// The next row that is due, for a minute. A row whose last try was begun and never finished is dead: what came of it nobody knows.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn claim(&mut self, now: Timestamp) -> Result<Option<Claim>, Failure> {
        let sql = Failure::of(&self.file);
        loop {
            // Looked at without the writer's lock: mostly there is nothing.
            if due(&self.conn, now).map_err(&sql)?.is_none() {
                return Ok(None);
            }
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&sql)?;
            let Some(mut letter) = due(&tx, now).map_err(&sql)? else { return Ok(None) };
            if letter.tries >= MOST_TRIES {
                let why = "the collector ended while it was sent for the last time: it may have arrived";
                let dead = "UPDATE outbox SET state = 'dead', lease_until = NULL, last_error = ?2 WHERE id = ?1";
                tx.execute(dead, params![letter.id.cast_signed(), why]).and_then(|_| tx.commit()).map_err(&sql)?;
                continue;
            }
            let until = later(now, LEASE);
            letter.tries += 1;
            let claim = "UPDATE outbox SET lease_until = ?2, attempts = ?3 WHERE id = ?1";
            tx.execute(claim, params![letter.id.cast_signed(), until, letter.tries.cast_signed()])
                .and_then(|_| tx.commit())
                .map_err(&sql)?;
            return Ok(Some(Claim { letter, until }));
        }
    }

    /// It was taken. False where the claim had run out and somebody else has the row.
    ///
    /// # Errors
    /// When it cannot be written down: then it is sent once more.
    pub fn sent(&mut self, claim: &Claim, now: Timestamp) -> Result<bool, Failure> {
        let done = "UPDATE outbox SET state = 'sent', sent_at = ?3, lease_until = NULL, last_error = NULL
                    WHERE id = ?1 AND state = 'pending' AND lease_until = ?2";
        let done = self.conn.execute(done, params![claim.letter.id.cast_signed(), claim.until, now.as_millisecond()]);
        Ok(done.map_err(Failure::of(&self.file))? == 1)
    }

    /// It was not taken, and what is next. False as in [`Self::sent`].
    ///
    /// # Errors
    /// When it cannot be written down: then it is tried again when the claim has run out.
    pub fn failed(&mut self, claim: &Claim, why: &str, next: Next) -> Result<bool, Failure> {
        let why: String = why.chars().take(MOST_OF_AN_ERROR).collect();
        let (state, at) = match next {
            Next::At(at) => ("pending", Some(at.as_millisecond())),
            Next::Dead => ("dead", None),
        };
        let failed = "UPDATE outbox SET state = ?3, next_at = coalesce(?4, next_at), lease_until = NULL, last_error = ?5
                      WHERE id = ?1 AND state = 'pending' AND lease_until = ?2";
        let failed = self.conn.execute(failed, params![claim.letter.id.cast_signed(), claim.until, state, at, why]);
        Ok(failed.map_err(Failure::of(&self.file))? == 1)
    }
}

fn later(now: Timestamp, by: SignedDuration) -> i64 {
    now.as_millisecond().saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

fn due(conn: &Connection, now: Timestamp) -> rusqlite::Result<Option<Letter>> {
    let mut due = conn.prepare(DUE)?;
    due.query_row([now.as_millisecond(), later(now, LONGEST), later(now, NO_LEASE)], |r| {
        Ok(Letter {
            id: number(r, 0)?,
            destination: r.get(1)?,
            agent_id: r.get(2)?,
            incident: r.get(3)?,
            about: r.get(4)?,
            stream: r.get(5)?,
            seq: number(r, 6)?,
            payload: r.get(7)?,
            tries: number(r, 8)?,
            created_at: time(r, 9)?,
        })
    })
    .optional()
}

#[cfg(test)]
mod tests {
    use super::super::test_file::{Made, NOW_MS};
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(NOW_MS + ms).unwrap()
    }

    fn ids(outbox: &mut Outbox, now: Timestamp) -> Vec<u64> {
        std::iter::from_fn(|| outbox.claim(now).unwrap()).map(|c| c.letter.id).collect()
    }

    #[test]
    fn a_closed_waits_for_its_escalated_and_for_nobody_elses() {
        let made = Made::new();
        made.letter(1, "a", "disk-1", "escalated", 5);
        made.letter(2, "a", "disk-1", "closed", 9);
        made.letter(3, "a", "disk-2", "escalated", 7);
        made.letter(4, "b", "disk-1", "closed", 9);
        let mut outbox = Outbox::open(&made.file()).unwrap();
        let first = outbox.claim(at(0)).unwrap().unwrap();
        assert_eq!((first.letter.id, first.letter.tries), (1, 1));
        assert_eq!(ids(&mut outbox, at(0)), [3, 4], "the other destination and the other incident wait for nothing");
        assert!(outbox.failed(&first, "no", Next::At(at(5_000))).unwrap());
        assert_eq!(ids(&mut outbox, at(4_999)), [0; 0], "not even between two tries");
        let again = outbox.claim(at(5_000)).unwrap().unwrap();
        assert_eq!((again.letter.id, again.letter.tries), (1, 2));
        assert!(outbox.sent(&again, at(5_001)).unwrap());
        assert_eq!(ids(&mut outbox, at(5_001)), [2]);
    }

    #[test]
    fn a_dead_one_holds_nobody_up_and_one_that_is_sent_again_comes_first() {
        let made = Made::new();
        made.letter(1, "a", "disk-1", "escalated", 5);
        made.letter(2, "a", "disk-1", "closed", 9);
        let mut outbox = Outbox::open(&made.file()).unwrap();
        let first = outbox.claim(at(0)).unwrap().unwrap();
        assert!(outbox.failed(&first, "no", Next::Dead).unwrap());
        made.letter(3, "a", "disk-1", "escalated", 5);
        assert_eq!(ids(&mut outbox, at(0)), [3], "its number is smaller in the host's record");
    }

    #[test]
    fn a_record_that_was_begun_anew_lets_no_closed_overtake_its_escalated() {
        let made = Made::new();
        made.letter(1, "a", "disk-1", "escalated", 500);
        made.letter(2, "a", "disk-1", "closed", 3);
        made.sql("UPDATE outbox SET stream = 's2' WHERE id = 2");
        let mut outbox = Outbox::open(&made.file()).unwrap();
        let first = outbox.claim(at(0)).unwrap().unwrap();
        assert_eq!((first.letter.id, ids(&mut outbox, at(0))), (1, vec![]), "its numbers begin at 1 again, and it came later");
        assert!(outbox.sent(&first, at(1)).unwrap());
        assert_eq!(ids(&mut outbox, at(1)), [2]);
    }

    #[test]
    fn who_waits_behind_another_is_found_by_an_index_of_those_that_wait() {
        let conn = Made::new().conn();
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {DUE}")).unwrap();
        let plan: Vec<String> = plan.query_map([0, 0, 0], |r| r.get(3)).unwrap().map(Result::unwrap).collect();
        assert!(plan.iter().any(|line| line.contains("outbox_waiting")), "{plan:?}");
        assert!(!plan.iter().any(|line| line.starts_with("SCAN o") && !line.contains("outbox_due")), "{plan:?}");
    }

    #[test]
    fn a_claim_runs_out_and_who_comes_late_changes_nothing() {
        let made = Made::new();
        made.letter(1, "a", "disk-1", "escalated", 5);
        let mut outbox = Outbox::open(&made.file()).unwrap();
        let late = outbox.claim(at(0)).unwrap().unwrap();
        assert_eq!(ids(&mut outbox, at(59_999)), [0; 0]);
        let again = outbox.claim(at(60_000)).unwrap().unwrap();
        assert_eq!((again.letter.tries, again.letter.name()), (2, late.letter.name()));
        assert!(!outbox.sent(&late, at(60_001)).unwrap() && !outbox.failed(&late, "no", Next::Dead).unwrap());
        assert!(outbox.sent(&again, at(60_002)).unwrap());
        assert!(!outbox.failed(&again, "no", Next::Dead).unwrap(), "what is sent is sent");
        assert_eq!(list(&made.conn()).unwrap()[0].state, DeliveryState::Sent);
    }

    #[test]
    fn what_a_clock_that_went_back_has_written_holds_nothing_up() {
        let made = Made::new();
        made.letter(1, "a", "disk-1", "escalated", 5);
        made.letter(2, "a", "disk-2", "escalated", 6);
        made.sql(&format!("UPDATE outbox SET next_at = {} WHERE id = 1", NOW_MS + 86_400_000));
        made.sql(&format!("UPDATE outbox SET lease_until = {} WHERE id = 2", NOW_MS + 86_400_000));
        assert_eq!(ids(&mut Outbox::open(&made.file()).unwrap(), at(0)), [2, 1]);
    }

    #[test]
    fn a_last_try_that_nobody_finished_is_dead_and_says_so() {
        let made = Made::new();
        made.letter(1, "a", "disk-1", "escalated", 5);
        made.sql(&format!("UPDATE outbox SET attempts = {MOST_TRIES}"));
        assert_eq!(ids(&mut Outbox::open(&made.file()).unwrap(), at(0)), [0; 0]);
        let told = &list(&made.conn()).unwrap()[0];
        assert_eq!((told.state, told.next_at), (DeliveryState::Dead, None));
        assert!(told.last_error.as_ref().unwrap().contains("may have arrived"));
    }

    #[test]
    fn lists_show_the_dead_first_and_then_the_newest() {
        let made = Made::new();
        (1..=4).for_each(|id| made.letter(id, "a", &format!("disk-{id}"), "escalated", id));
        made.sql("UPDATE outbox SET state = 'dead' WHERE id IN (1, 2); UPDATE outbox SET state = 'sent', sent_at = 7 WHERE id = 3");
        let listed: Vec<u64> = list(&made.conn()).unwrap().iter().map(|d| d.id).collect();
        assert_eq!(listed, [2, 1, 4, 3]);
        let of_one = of_incident(&made.conn(), &super::super::test_file::agent("a"), "disk-3").unwrap();
        assert_eq!((of_one.len(), of_one[0].sent_at.map(Timestamp::as_millisecond)), (1, Some(7)));
    }
}
