//! What people change, from another process and while the collector runs. Each change is one transaction, with its row of the audit.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::columns::{number, time, time_or_none};
use super::failure::Failure;
use super::{audit, fleet, opened, outbox};
use crate::collector::view::{Delivery, Host, HostRow};

/// Whether there was anything to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    Now,
    /// It was so before, and nothing was written; why, where that is known.
    Before(Option<String>),
}

/// A token that lets hosts in. Its secret part is never here, only what it hashes to.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken<'a> {
    pub id: &'a str,
    pub secret_sha256: [u8; 32],
    pub expires_at: Timestamp,
    pub max_uses: u64,
}

impl std::fmt::Debug for NewToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, secret_sha256: _, expires_at, max_uses } = self;
        f.debug_struct("NewToken").field("id", id).field("expires_at", expires_at).field("max_uses", max_uses).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Token {
    pub id: String,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Timestamp,
    pub max_uses: u64,
    pub uses: u64,
    pub revoked_at: Option<Timestamp>,
}

#[derive(Debug)]
pub struct Admin {
    conn: Connection,
    file: PathBuf,
}

impl Admin {
    /// # Errors
    /// When the file is not there, or has other tables than this version. It is never made.
    pub fn open(file: &Path) -> Result<Self, Failure> {
        Ok(Self { conn: opened::to_change(file)?, file: file.to_owned() })
    }

    /// # Errors
    /// When there is one of this id, or it cannot be written.
    pub fn create_token(&mut self, token: &NewToken<'_>, by: &str, now: Timestamp) -> Result<(), Failure> {
        let NewToken { id, secret_sha256, expires_at, max_uses } = *token;
        self.change(|tx| {
            let made = tx.execute(
                "INSERT INTO tokens(id, secret_sha256, created_at, created_by, expires_at, max_uses) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO NOTHING",
                params![id, secret_sha256, now.as_millisecond(), by, expires_at.as_millisecond(), max_uses.cast_signed()],
            )?;
            if made == 0 {
                return Ok(Err(Failure::TokenExists(id.to_owned())));
            }
            let detail = format!("{} until {expires_at}", if max_uses == 1 { "1 use".into() } else { format!("{max_uses} uses") });
            audit::append(tx, now, by, "token-create", id, &detail).map(|_| Ok(()))
        })
    }

    /// The newest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn tokens(&self) -> Result<Vec<Token>, Failure> {
        let read = || -> rusqlite::Result<Vec<Token>> {
            let all = "SELECT id, created_at, created_by, expires_at, max_uses, uses, revoked_at FROM tokens ORDER BY created_at DESC, id";
            let mut all = self.conn.prepare(all)?;
            let all = all.query_map([], |r| {
                Ok(Token {
                    id: r.get(0)?,
                    created_at: time(r, 1)?,
                    created_by: r.get(2)?,
                    expires_at: time(r, 3)?,
                    max_uses: number(r, 4)?,
                    uses: number(r, 5)?,
                    revoked_at: time_or_none(r, 6)?,
                })
            })?;
            all.collect()
        };
        read().map_err(Failure::of(&self.file))
    }

    /// Whom it has let in stays in.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn revoke_token(&mut self, id: &str, by: &str, now: Timestamp) -> Result<Changed, Failure> {
        self.change(|tx| {
            let found = tx.query_row("SELECT revoked_at IS NOT NULL FROM tokens WHERE id = ?1", [id], |r| r.get(0)).optional()?;
            match found {
                None => Ok(Err(Failure::NoToken(id.to_owned()))),
                Some(true) => Ok(Ok(Changed::Before(None))),
                Some(false) => {
                    tx.execute("UPDATE tokens SET revoked_at = ?2 WHERE id = ?1", params![id, now.as_millisecond()])?;
                    audit::append(tx, now, by, "token-revoke", id, "").map(|_| Ok(Changed::Now))
                }
            }
        })
    }

    /// All hosts, worst first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn agents(&self, now: Timestamp) -> Result<Vec<HostRow>, Failure> {
        fleet::all(&self.conn, now.as_millisecond()).map_err(Failure::of(&self.file))
    }

    /// # Errors
    /// When `name` is no agent's, or several agents': see [`Self::resolve`].
    pub fn agent(&self, name: &str, now: Timestamp) -> Result<Host, Failure> {
        let id = self.resolve(name)?;
        let host = fleet::host(&self.conn, now.as_millisecond(), &id).map_err(Failure::of(&self.file))?;
        host.ok_or_else(|| Failure::NoAgent(name.to_owned()))
    }

    /// The id of what a person typed: an id, a host's whole name, or the beginning of exactly one id.
    ///
    /// # Errors
    /// When it is nobody's, or may be several agents'.
    pub fn resolve(&self, name: &str) -> Result<String, Failure> {
        let read = |sql: &str, value: &str| -> rusqlite::Result<Vec<String>> {
            self.conn.prepare(sql)?.query_map([value], |r| r.get(0))?.collect()
        };
        let sql = Failure::of(&self.file);
        if let Some(id) = read("SELECT id FROM agents WHERE id = ?1", name).map_err(&sql)?.pop() {
            return Ok(id);
        }
        let mut found = read("SELECT id FROM agents WHERE hostname = ?1 ORDER BY id LIMIT 2", name).map_err(&sql)?;
        // Ids are hex digits, so this is no pattern.
        if found.is_empty() && !name.is_empty() && name.bytes().all(|b| b.is_ascii_hexdigit()) {
            found = read("SELECT id FROM agents WHERE id LIKE ?1 ORDER BY id LIMIT 2", &format!("{name}%")).map_err(&sql)?;
        }
        match (found.pop(), found.pop()) {
            (Some(second), Some(first)) => Err(Failure::Ambiguous { name: name.to_owned(), first, second }),
            (Some(id), None) => Ok(id),
            (None, _) => Err(Failure::NoAgent(name.to_owned())),
        }
    }

    /// Nothing of it is taken any more, for good: it would have to enrol anew.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn revoke_agent(&mut self, id: &str, by: &str, now: Timestamp) -> Result<Changed, Failure> {
        self.change(|tx| {
            let found = tx.query_row("SELECT revoked_at IS NOT NULL FROM agents WHERE id = ?1", [id], |r| r.get(0)).optional()?;
            match found {
                None => Ok(Err(Failure::NoAgent(id.to_owned()))),
                Some(true) => Ok(Ok(Changed::Before(None))),
                Some(false) => {
                    tx.execute("UPDATE agents SET revoked_at = ?2 WHERE id = ?1", params![id, now.as_millisecond()])?;
                    audit::append(tx, now, by, "agent-revoke", id, "").map(|_| Ok(Changed::Now))
                }
            }
        })
    }

    /// Nothing of it is taken until it is released. Who is quarantined already keeps the first reason.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn quarantine_agent(&mut self, id: &str, why: &str, by: &str, now: Timestamp) -> Result<Changed, Failure> {
        self.change(|tx| match quarantined(tx, id)? {
            None => Ok(Err(Failure::NoAgent(id.to_owned()))),
            Some((true, before)) => Ok(Ok(Changed::Before(before))),
            Some((false, _)) => {
                let set = "UPDATE agents SET quarantined_at = ?2, quarantined_why = ?3 WHERE id = ?1";
                tx.execute(set, params![id, now.as_millisecond(), why])?;
                audit::append(tx, now, by, "agent-quarantine", id, why).map(|_| Ok(Changed::Now))
            }
        })
    }

    /// Ends a quarantine, whoever began it.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn release_agent(&mut self, id: &str, by: &str, now: Timestamp) -> Result<Changed, Failure> {
        self.change(|tx| match quarantined(tx, id)? {
            None => Ok(Err(Failure::NoAgent(id.to_owned()))),
            Some((false, _)) => Ok(Ok(Changed::Before(None))),
            Some((true, why)) => {
                tx.execute("UPDATE agents SET quarantined_at = NULL, quarantined_why = NULL WHERE id = ?1", [id])?;
                audit::append(tx, now, by, "agent-release", id, &why.unwrap_or_default()).map(|_| Ok(Changed::Now))
            }
        })
    }

    /// The newest messages, dead ones first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn outbox(&self) -> Result<Vec<Delivery>, Failure> {
        outbox::list(&self.conn).map_err(Failure::of(&self.file))
    }

    /// Writes a dead message down once more, to be sent; the dead one stays. Gives the new one's number.
    ///
    /// # Errors
    /// When it is not dead, or was sent again already and that one is not dead.
    pub fn replay_dead(&mut self, id: u64, by: &str, now: Timestamp) -> Result<u64, Failure> {
        self.change(|tx| {
            let found = tx.query_row("SELECT state FROM outbox WHERE id = ?1", [id.cast_signed()], |r| r.get::<_, String>(0));
            match found.optional()? {
                None => return Ok(Err(Failure::NoMessage(id))),
                Some(state) if state != "dead" => return Ok(Err(Failure::NotDead { id, state })),
                Some(_) => {}
            }
            let again = "SELECT id FROM outbox WHERE parent_id = ?1 AND state <> 'dead'";
            if let Some(by) = tx.query_row(again, [id.cast_signed()], |r| number(r, 0)).optional()? {
                return Ok(Err(Failure::SentAgain { id, by }));
            }
            tx.execute(
                "INSERT INTO outbox(parent_id, destination, agent_id, incident, about, stream, seq, payload, state, next_at, created_at)
                 SELECT id, destination, agent_id, incident, about, stream, seq, payload, 'pending', ?2, ?2 FROM outbox WHERE id = ?1",
                params![id.cast_signed(), now.as_millisecond()],
            )?;
            let new = tx.last_insert_rowid().cast_unsigned();
            audit::append(tx, now, by, "outbox-replay", &id.to_string(), &format!("as {new}")).map(|_| Ok(new))
        })
    }

    /// One transaction that begins by taking the writer's turn. What is refused in it is taken back.
    fn change<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Result<T, Failure>>) -> Result<T, Failure> {
        let sql = Failure::of(&self.file);
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&sql)?;
        let done = work(&tx).map_err(&sql)??;
        tx.commit().map_err(&sql)?;
        Ok(done)
    }
}

fn quarantined(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Option<(bool, Option<String>)>> {
    let read = "SELECT quarantined_at IS NOT NULL, quarantined_why FROM agents WHERE id = ?1";
    tx.query_row(read, [id], |r| Ok((r.get(0)?, r.get(1)?))).optional()
}

#[cfg(test)]
mod tests {
    use super::super::test_file::{Made, NOW_MS, agent};
    use super::super::verify::verify;
    use super::*;
    use crate::collector::view::{DeliveryState, Standing};

    fn now() -> Timestamp {
        Timestamp::from_millisecond(NOW_MS).unwrap()
    }

    fn token(id: &str) -> NewToken<'_> {
        NewToken { id, secret_sha256: [7; 32], expires_at: now(), max_uses: 2 }
    }

    /// What the audit says was done, in order.
    fn done(made: &Made) -> Vec<String> {
        let conn = made.conn();
        let mut rows = conn.prepare("SELECT actor || ' ' || action || ' ' || object || ' ' || detail FROM audit ORDER BY idx").unwrap();
        let rows = rows.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap);
        rows.collect()
    }

    #[test]
    fn tokens_are_made_listed_and_revoked() {
        let made = Made::new();
        let mut admin = Admin::open(&made.file()).unwrap();
        admin.create_token(&token("t1"), "ann", now()).unwrap();
        assert!(matches!(admin.create_token(&token("t1"), "bob", now()), Err(Failure::TokenExists(id)) if id == "t1"));
        assert_eq!(admin.revoke_token("t1", "bob", now()).unwrap(), Changed::Now);
        assert_eq!(admin.revoke_token("t1", "bob", now()).unwrap(), Changed::Before(None));
        assert!(matches!(admin.revoke_token("t2", "bob", now()), Err(Failure::NoToken(_))));
        let tokens = admin.tokens().unwrap();
        let by = "ann".to_owned();
        let only =
            Token { id: "t1".into(), created_at: now(), created_by: by, expires_at: now(), max_uses: 2, uses: 0, revoked_at: Some(now()) };
        assert_eq!(tokens, [only]);
        assert_eq!(done(&made), [format!("ann token-create t1 2 uses until {}", now()), "bob token-revoke t1 ".to_owned()]);
        assert!(verify(&made.file()).unwrap().is_whole());
        assert!(!format!("{:?}", token("t1")).contains('7'), "{:?}", token("t1"));
    }

    #[test]
    fn agents_are_named_by_id_by_its_beginning_or_by_host() {
        let made = Made::new();
        for name in ["web-1", "web-2"] {
            made.agent(name);
        }
        made.sql("UPDATE agents SET id = 'ab' || substr(id, 3) WHERE hostname = 'web-1'; UPDATE agents SET id = 'ac' || substr(id, 3) WHERE hostname = 'web-2'");
        let admin = Admin::open(&made.file()).unwrap();
        let id = admin.resolve("web-1").unwrap();
        assert!(id.starts_with("ab") && admin.resolve(&id).unwrap() == id && admin.resolve("ab").unwrap() == id);
        assert!(
            matches!(admin.resolve("a"), Err(Failure::Ambiguous { first, second, .. }) if first.starts_with("ab") && second.starts_with("ac"))
        );
        for nobody in ["", "web", "web-%", "_b", "ad"] {
            assert!(matches!(admin.resolve(nobody), Err(Failure::NoAgent(_))), "{nobody}");
        }
        made.sql("UPDATE agents SET hostname = 'web-1'");
        assert!(matches!(admin.resolve("web-1"), Err(Failure::Ambiguous { .. })), "two hosts of one name are not guessed between");
    }

    #[test]
    fn who_is_quarantined_is_released_and_who_is_revoked_stays_so() {
        let made = Made::new();
        made.agent("web-1").heard(NOW_MS, "[]");
        let id = agent("web-1");
        let mut admin = Admin::open(&made.file()).unwrap();
        let standing = |admin: &Admin| admin.agent(&id, now()).unwrap().row.standing;
        assert_eq!(standing(&admin), Standing::Well);
        assert_eq!(admin.release_agent(&id, "ann", now()).unwrap(), Changed::Before(None));
        assert_eq!(admin.quarantine_agent(&id, "odd", "ann", now()).unwrap(), Changed::Now);
        assert_eq!(admin.quarantine_agent(&id, "odder", "ann", now()).unwrap(), Changed::Before(Some("odd".into())));
        assert_eq!((standing(&admin), admin.agents(now()).unwrap()[0].why.as_deref()), (Standing::Quarantined, Some("odd")));
        assert_eq!(admin.revoke_agent(&id, "ann", now()).unwrap(), Changed::Now);
        assert_eq!(admin.release_agent(&id, "bob", now()).unwrap(), Changed::Now);
        assert_eq!(admin.revoke_agent(&id, "ann", now()).unwrap(), Changed::Before(None));
        assert_eq!(standing(&admin), Standing::Revoked);
        for nobody in
            [admin.revoke_agent("x", "ann", now()), admin.quarantine_agent("x", "", "ann", now()), admin.release_agent("x", "ann", now())]
        {
            assert!(matches!(nobody, Err(Failure::NoAgent(_))));
        }
        let expected =
            ["ann agent-quarantine ID odd", "ann agent-revoke ID ", "bob agent-release ID odd"].map(|line| line.replace("ID", &id));
        assert_eq!(done(&made), expected);
    }

    #[test]
    fn only_a_dead_message_is_sent_again_and_only_once_at_a_time() {
        let made = Made::new();
        made.letter(1, "a", "disk-1", "escalated", 5);
        let mut admin = Admin::open(&made.file()).unwrap();
        assert!(matches!(admin.replay_dead(1, "ann", now()), Err(Failure::NotDead { state, .. }) if state == "pending"));
        assert!(matches!(admin.replay_dead(9, "ann", now()), Err(Failure::NoMessage(9))));
        made.sql("UPDATE outbox SET state = 'dead', attempts = 8");
        let new = admin.replay_dead(1, "ann", now()).unwrap();
        assert!(matches!(admin.replay_dead(1, "ann", now()), Err(Failure::SentAgain { by, .. }) if by == new));
        let listed = admin.outbox().unwrap();
        assert_eq!((listed[1].id, listed[1].state, listed[1].attempts), (new, DeliveryState::Pending, 0));
        let same: bool = made.conn().query_row("SELECT count(DISTINCT payload || seq) = 1 FROM outbox", [], |r| r.get(0)).unwrap();
        assert!(same);
        made.sql("UPDATE outbox SET state = 'dead'");
        assert_eq!(admin.replay_dead(1, "ann", now()).unwrap(), new + 1);
        assert_eq!(done(&made), [format!("ann outbox-replay 1 as {new}"), format!("ann outbox-replay 1 as {}", new + 1)]);
    }

    #[test]
    fn a_writer_that_holds_the_file_is_waited_for() {
        let made = Made::new();
        let writer = made.conn();
        writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| Admin::open(&made.file()).unwrap().create_token(&token("t1"), "ann", now()));
            std::thread::sleep(std::time::Duration::from_millis(100));
            writer.execute_batch("COMMIT").unwrap();
            waits.join().unwrap().unwrap();
        });
    }

    #[test]
    fn neither_another_number_of_tables_nor_no_file_is_opened() {
        let made = Made::new();
        made.sql("PRAGMA user_version = 0");
        assert!(matches!(Admin::open(&made.file()), Err(Failure::OtherTables { found: 0, .. })));
        let none = made.file().with_file_name("none.db");
        assert!(matches!(Admin::open(&none), Err(Failure::Missing { .. })) && !none.exists());
    }
}
