//! Reads for pages and lists, beside the writer: a few connections that can change nothing, each answer of one moment and soon.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::failure::Failure;
use super::{fleet, incidents, opened, outbox};
use crate::collector::clock::Clock;
use crate::collector::view::{Delivery, Fleet, FleetAsk, Host, Incident, Incidents, IncidentsAsk, Views};

/// Reads at once.
const CONNECTIONS: usize = 3;
/// For one answer. A reader that stays longer keeps the writer's log from being folded in.
const PATIENCE: Duration = Duration::from_secs(2);
/// Steps of SQLite's machine between two looks at the time: about a tenth of a millisecond.
const STEPS: i32 = 10_000;

pub struct Reader {
    file: PathBuf,
    pool: Mutex<Vec<Connection>>,
    back: Condvar,
    clock: Clock,
    patience: Duration,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("file", &self.file).field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Reader {
    /// # Errors
    /// When the file is not there, or has other tables than this version.
    pub fn open(file: &Path, clock: Clock) -> Result<Self, Failure> {
        let pool = (0..CONNECTIONS).map(|_| opened::to_read(file)).collect::<Result<_, _>>()?;
        Ok(Self { file: file.to_owned(), pool: Mutex::new(pool), back: Condvar::new(), clock, patience: PATIENCE })
    }

    /// Runs `look` with everything as it is at one moment.
    fn read<T>(&self, look: impl FnOnce(&Connection, i64) -> rusqlite::Result<T>) -> Result<T, String> {
        let deadline = Instant::now() + self.patience;
        let mut lent = self.lend(deadline)?;
        let sql = |e: rusqlite::Error| match e.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => self.late(),
            _ => format!("{}: {e}", self.file.display()),
        };
        let conn = lent.conn().ok_or_else(|| self.late())?;
        conn.progress_handler(STEPS, Some(move || Instant::now() >= deadline)).map_err(sql)?;
        conn.execute_batch("BEGIN").map_err(sql)?;
        look(conn, (self.clock)().as_millisecond()).map_err(sql)
    }

    fn late(&self) -> String {
        format!(
            "{} has not answered within {} s: ask for less of it, or see whether its disk is busy",
            self.file.display(),
            self.patience.as_secs_f64()
        )
    }

    fn lend(&self, deadline: Instant) -> Result<Lent<'_>, String> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(conn) = pool.pop() {
                return Ok(Lent { reader: self, conn: Some(conn) });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.late());
            }
            pool = self.back.wait_timeout(pool, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Goes back into the pool whatever happens, as it was taken out.
struct Lent<'a> {
    reader: &'a Reader,
    conn: Option<Connection>,
}

impl Lent<'_> {
    fn conn(&mut self) -> Option<&mut Connection> {
        self.conn.as_mut()
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        let no_handler: Option<fn() -> bool> = None;
        // Neither fails on an open connection; a transaction that stayed open would show what was, and its next BEGIN would say so.
        let _ = conn.progress_handler(0, no_handler);
        if !conn.is_autocommit() {
            let _ = conn.execute_batch("ROLLBACK");
        }
        self.reader.pool.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        self.reader.back.notify_one();
    }
}

impl Views for Reader {
    fn fleet(&self, ask: &FleetAsk) -> Result<Fleet, String> {
        self.read(|conn, now| fleet::fleet(conn, now, ask))
    }

    fn host(&self, agent_id: &str) -> Result<Option<Host>, String> {
        self.read(|conn, now| fleet::host(conn, now, agent_id))
    }

    fn incidents(&self, ask: &IncidentsAsk) -> Result<Incidents, String> {
        self.read(|conn, now| incidents::list(conn, now, ask))
    }

    fn incident(&self, agent_id: &str, incident: &str) -> Result<Option<Incident>, String> {
        self.read(|conn, now| incidents::one(conn, now, agent_id, incident))
    }

    fn outbox(&self) -> Result<Vec<Delivery>, String> {
        self.read(|conn, _| outbox::list(conn))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entries;
    use super::super::test_file::{Made, NOW_MS, agent};
    use super::*;
    use crate::collector::view::Standing;

    fn reader(made: &Made) -> Reader {
        Reader::open(&made.file(), Box::new(|| jiff::Timestamp::from_millisecond(NOW_MS).unwrap())).unwrap()
    }

    #[test]
    fn it_reads_what_was_written_since_and_writes_nothing() {
        let made = Made::new();
        let reader = reader(&made);
        assert_eq!(reader.fleet(&FleetAsk::default()).unwrap().found, 0);
        made.agent("web-1").heard(NOW_MS, "[]");
        let fleet = reader.fleet(&FleetAsk::default()).unwrap();
        assert_eq!((fleet.found, fleet.hosts[0].standing, fleet.now.as_millisecond()), (1, Standing::Well, NOW_MS));
        assert_eq!(reader.host(&fleet.hosts[0].agent_id).unwrap().map(|h| h.row.hostname), Some("web-1".into()));
        let written = reader.read(|conn, _| conn.execute("DELETE FROM agents", []));
        assert!(written.as_ref().is_err_and(|e| e.contains("readonly")), "{written:?}");
        assert_eq!(reader.incidents(&IncidentsAsk::default()).unwrap().found, 0);
        assert_eq!((reader.outbox().unwrap(), reader.incident("a", "b").unwrap()), (vec![], None));
    }

    #[test]
    fn one_answer_is_of_one_moment() {
        let made = Made::new();
        let reader = reader(&made);
        let count = |conn: &Connection| conn.query_row("SELECT count(*) FROM agents", [], |r| r.get::<_, i64>(0));
        let seen = reader.read(|conn, _| {
            let before = count(conn)?;
            made.agent("web-1");
            Ok((before, count(conn)?))
        });
        assert_eq!(seen, Ok((0, 0)));
        assert_eq!(reader.read(|conn, _| count(conn)), Ok(1));
    }

    #[test]
    fn a_read_that_takes_too_long_is_ended_and_the_next_one_answers() {
        let made = Made::new();
        made.agent("web-1");
        let mut reader = reader(&made);
        let endless = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        reader.patience = Duration::from_millis(20);
        let why = reader.read(|conn, _| conn.query_row(endless, [], |r| r.get::<_, i64>(0))).unwrap_err();
        assert!(why.contains("has not answered within 0.02 s"), "{why}");
        reader.patience = PATIENCE;
        for _ in 0..=CONNECTIONS {
            assert_eq!(reader.fleet(&FleetAsk::default()).unwrap().found, 1);
        }
    }

    #[test]
    fn when_all_are_reading_the_next_one_waits_and_then_is_told() {
        let made = Made::new();
        let mut reader = reader(&made);
        reader.patience = Duration::from_millis(20);
        let soon = || Instant::now() + Duration::from_secs(600);
        let lent: Vec<_> = (0..CONNECTIONS).map(|_| reader.lend(soon()).unwrap()).collect();
        assert!(reader.outbox().unwrap_err().contains("has not answered"));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| reader.lend(soon()).is_ok());
            drop(lent);
            assert!(waits.join().unwrap());
        });
        assert_eq!(reader.outbox(), Ok(vec![]));
    }

    #[test]
    fn a_look_that_panics_takes_no_connection_with_it() {
        let made = Made::new();
        let reader = reader(&made);
        for _ in 0..=CONNECTIONS {
            let look = std::panic::AssertUnwindSafe(|| reader.read(|_, _| -> rusqlite::Result<()> { panic!("a look") }));
            assert!(std::panic::catch_unwind(look).is_err());
        }
        assert_eq!(reader.outbox(), Ok(vec![]));
    }

    #[test]
    fn what_is_no_file_of_this_version_is_refused() {
        let made = Made::new();
        made.sql("PRAGMA user_version = 99");
        let clock = || -> Clock { Box::new(|| jiff::Timestamp::UNIX_EPOCH) };
        let why = Reader::open(&made.file(), clock()).unwrap_err().to_string();
        assert!(why.contains("tables of number 99, this version knows"), "{why}");
        let none = made.file().with_file_name("none.db");
        assert!(matches!(Reader::open(&none, clock()), Err(Failure::Missing { .. })));
        assert!(!none.exists(), "nothing is made by looking");
    }

    /// Every statement that a page runs, by name.
    fn statements() -> Vec<(String, String)> {
        let mut all = vec![
            ("fleet".to_owned(), fleet::facts_sql()),
            ("hosts".into(), fleet::rows_sql("WHERE a.id IN (?, ?, ?)")),
            ("host".into(), fleet::rows_sql("WHERE a.id = ?1")),
            ("streams".into(), fleet::STREAMS.into()),
            ("ever".into(), incidents::ever_sql(3)),
            ("one".into(), incidents::one_sql()),
            ("alike".into(), incidents::alike_sql()),
            ("beside a host".into(), incidents::newest_of_sql()),
            ("entries".into(), entries::ROWS.into()),
            ("dead".into(), outbox::dead_sql()),
            ("others".into(), outbox::others_sql()),
            ("of an incident".into(), outbox::of_incident_sql()),
            ("due".into(), outbox::DUE.into()),
        ];
        for n in 0..16_u32 {
            let text = |bit| (n & bit != 0).then(|| "x".to_owned());
            let ask = IncidentsAsk { open: n & 1 != 0, escalated: n & 2 != 0, runbook: text(4), agent_id: text(8), page: 1 };
            let filter = incidents::Filter::of(&ask);
            for (name, sql) in [("count", filter.count_sql()), ("page", filter.page_sql()), ("newest", filter.newest_sql(3))] {
                let narrow = [(ask.open, " open"), (ask.agent_id.is_some(), " of a host")];
                let narrow: String = narrow.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
                all.push((format!("{name}{narrow}"), sql));
            }
        }
        all
    }

    fn plan(conn: &Connection, sql: &str) -> String {
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = plan.query_map(rusqlite::params_from_iter(vec!["1"; plan.parameter_count()]), |r| r.get::<_, String>(3)).unwrap();
        lines.map(|line| line.unwrap() + "\n").collect()
    }

    #[test]
    fn ten_thousand_hosts_and_a_hundred_thousand_incidents_are_read_by_index() {
        let made = Made::new();
        made.many(10_000, 100_000);
        let conn = made.conn();
        for analysed in [false, true] {
            if analysed {
                made.sql("ANALYZE");
            }
            let conn = made.conn();
            for (name, sql) in statements() {
                let plan = plan(&conn, &sql);
                let told = format!("{name}, analysed: {analysed}\n{sql}\n{plan}");
                assert!(!plan.contains("SCAN r\n") && !plan.contains("SCAN records"), "all records are read: {told}");
                // Whole incidents, with their summaries, are only ever looked up.
                assert!(!plan.lines().any(|l| l == "SCAN i" || l == "SCAN incidents"), "all incidents are read: {told}");
                let by = match name.as_str() {
                    "fleet" => Some("SEARCH h USING INDEX"),
                    "hosts" | "host" => Some("SEARCH a USING INDEX"),
                    "ever" | "alike" => Some("INDEX incidents_fingerprint (fingerprint=?"),
                    "beside a host" => Some("INDEX incidents_of_agent (agent_id=?"),
                    "entries" => Some("INDEX records_incident (agent_id=? AND incident=?)"),
                    "dead" => Some("USING INDEX outbox_dead"),
                    "of an incident" => Some("INDEX outbox_incident (agent_id=? AND incident=?)"),
                    "due" => Some("INDEX outbox_due"),
                    _ if name.starts_with("newest") => Some("SEARCH i USING"),
                    _ if name.contains("of a host") => Some("INDEX incidents_of_agent (agent_id=?"),
                    _ if name.contains("open") => Some("USING INDEX incidents_open"),
                    "count" | "page" => Some("USING COVERING INDEX incidents_fingerprint"),
                    _ => None,
                };
                assert!(by.is_none_or(|by| plan.contains(by)), "{told}");
                let sorted = ["others", "dead", "of an incident"].contains(&name.as_str()) && plan.contains("TEMP B-TREE");
                assert!(!sorted, "sorted although the order is there: {told}");
            }
        }
        drop(conn);
        // And they are right: figures of what was made.
        let reader = reader(&made);
        let fleet = reader.fleet(&FleetAsk { page: 200, ..FleetAsk::default() }).unwrap();
        assert_eq!((fleet.found, fleet.pages, fleet.hosts.len()), (10_000, 200, 50));
        let incidents = reader.incidents(&IncidentsAsk { escalated: true, page: 3, ..IncidentsAsk::default() }).unwrap();
        assert_eq!((incidents.groups.len(), incidents.groups[0].count), (50, 5));
        let host = reader.host(&agent("host-77")).unwrap().unwrap();
        assert_eq!(host.incidents.len(), 10);
    }
}
