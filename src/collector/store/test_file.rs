//! A collector's file for tests, filled by SQL: hosts, their records with real signatures, incidents, messages.

use std::path::PathBuf;

use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::schema::MIGRATIONS;
use crate::wire::chain::Hash;
use crate::wire::collector::{Record, SignedHead, hex};

/// 2026-11-21.
pub(in crate::collector) const NOW_MS: i64 = 1_795_296_906_000;
/// A row's time.
pub(super) const AT: &str = r#"{"wall":"2026-11-21T21:35:06Z","boot":"b","uptime_s":1.5}"#;

/// The id of the agent on a host of this name.
pub(in crate::collector) fn agent(name: &str) -> String {
    hex(&openssl::sha::sha256(name.as_bytes())[..16])
}

pub(super) fn key(name: &str) -> PKey<Private> {
    PKey::private_key_from_raw_bytes(&openssl::sha::sha256(name.as_bytes()), Id::ED25519).unwrap()
}

pub(super) fn public_key(name: &str) -> Vec<u8> {
    key(name).raw_public_key().unwrap()
}

pub(super) fn signed(key: &PKey<Private>, agent_id: &str, stream: &str, seq: u64, hash: &Hash) -> Vec<u8> {
    let text = SignedHead::text(agent_id, stream, seq, &hex(hash));
    Signer::new_without_digest(key).unwrap().sign_oneshot_to_vec(text.as_bytes()).unwrap()
}

/// Rows 1 to `rows` behind a hash, and what they lead to. Every fifth is evidence, whose body is not here.
pub(super) fn chain(rows: u64, before: &Hash, salt: u64) -> (Vec<Record>, Hash) {
    let row = |seq: u64| {
        let body = format!(r#"{{"note":{{"text":"row number {seq} of {salt}"}}}}"#);
        let evidence = seq.is_multiple_of(5);
        Record {
            seq,
            incident: "disk-1".into(),
            kind: if evidence { "evidence" } else { "note" }.into(),
            at: AT.into(),
            body_hash: hex(&openssl::sha::sha256(body.as_bytes())),
            body: (!evidence).then_some(body),
        }
    };
    let rows: Vec<Record> = (1..=rows).map(row).collect();
    let hash = rows.iter().fold(*before, |hash, row| row.follows(&hash).unwrap());
    (rows, hash)
}

/// One bit of one column of one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bit {
    row: i64,
    bit: usize,
}

pub(in crate::collector) struct Made {
    dir: tempfile::TempDir,
}

/// An agent that was just made.
pub(in crate::collector) struct MadeAgent<'a> {
    made: &'a Made,
    id: String,
}

impl MadeAgent<'_> {
    pub(in crate::collector) fn heard(self, at: i64, signals: &str) {
        let beat = "INSERT INTO heartbeats VALUES(?1, 's', ?2, ?2, 30.0, 'observe', '[]', ?3, 0, 0, NULL, NULL)";
        self.made.conn().execute(beat, params![self.id, at, signals]).unwrap();
    }
}

impl Made {
    pub(in crate::collector) fn new() -> Self {
        let made = Self { dir: tempfile::tempdir().unwrap() };
        let conn = Connection::open(made.file()).unwrap();
        conn.execute_batch("PRAGMA journal_mode=WAL").unwrap();
        MIGRATIONS.iter().for_each(|migration| conn.execute_batch(migration).unwrap());
        conn.execute_batch(&format!("PRAGMA user_version = {}", MIGRATIONS.len())).unwrap();
        made
    }

    pub(in crate::collector) fn file(&self) -> PathBuf {
        self.dir.path().join(super::FILE)
    }

    pub(super) fn conn(&self) -> Connection {
        let conn = Connection::open(self.file()).unwrap();
        conn.execute_batch("PRAGMA foreign_keys=OFF; PRAGMA synchronous=OFF").unwrap();
        conn
    }

    pub(in crate::collector) fn sql(&self, sql: &str) {
        self.conn().execute_batch(sql).unwrap();
    }

    pub(in crate::collector) fn agent(&self, name: &str) -> MadeAgent<'_> {
        let id = agent(name);
        self.conn()
            .execute(
                "INSERT INTO agents(id, public_key, credential_sha256, hostname, version, boot_id, enrolled_at)
                 VALUES(?1, ?2, zeroblob(32), ?3, '0.1.0', 'b', 1)",
                params![id, public_key(name), name],
            )
            .unwrap();
        MadeAgent { made: self, id }
    }

    /// Rows that nobody has chained.
    pub(super) fn rows(&self, agent_id: &str, stream: &str, first_seen: i64, incident: &str, rows: &[(u64, &str, Option<String>)]) {
        let mut conn = self.conn();
        let tx = conn.transaction().unwrap();
        let begun = "INSERT INTO streams VALUES(?1, ?2, ?3, ?3, 0, zeroblob(32), NULL, NULL, 0, '', '') ON CONFLICT DO NOTHING";
        tx.execute(&begun.replace("''", "zeroblob(0)"), params![agent_id, stream, first_seen]).unwrap();
        for (seq, kind, body) in rows {
            let record = Record {
                seq: *seq,
                incident: incident.into(),
                kind: (*kind).into(),
                at: AT.into(),
                body_hash: String::new(),
                body: body.clone(),
            };
            insert(&tx, agent_id, stream, &record);
        }
        tx.commit().unwrap();
    }

    /// A whole record of so many rows, signed at its end.
    pub(in crate::collector) fn stream(&self, agent_id: &str, stream: &str, rows: u64) {
        self.chained(agent_id, stream, 1, rows);
    }

    /// One whose rows before `first` the host has dropped.
    pub(super) fn stream_behind_gap(&self, agent_id: &str, stream: &str, first: u64, last: u64) {
        self.chained(agent_id, stream, first, last);
    }

    fn chained(&self, agent_id: &str, stream: &str, first: u64, last: u64) {
        let mut conn = self.conn();
        let tx = conn.transaction().unwrap();
        let (rows, head) = chain(last, &[0; 32], 1);
        let gap = chain(first - 1, &[0; 32], 1).1;
        let gap = (first > 1).then_some((first.cast_signed(), gap));
        rows.iter().filter(|row| row.seq >= first).for_each(|row| insert(&tx, agent_id, stream, row));
        let signature = signed(&key_of(&tx, agent_id), agent_id, stream, last, &head);
        tx.execute(
            "INSERT INTO streams VALUES(?1, ?2, 1, 2, ?3, ?4, ?5, ?6, ?3, ?4, ?7)",
            params![agent_id, stream, last.cast_signed(), head, gap.map(|g| g.0), gap.map(|g| g.1), signature],
        )
        .unwrap();
        tx.commit().unwrap();
    }

    /// The host has signed up to here, and the rows have not come.
    pub(super) fn sign_ahead(&self, agent_id: &str, stream: &str, through: u64) {
        let conn = self.conn();
        let head = chain(through, &[0; 32], 1).1;
        let signature = signed(&key_of(&conn, agent_id), agent_id, stream, through, &head);
        let set = "UPDATE streams SET signed_through = ?3, signed_hash = ?4, signature = ?5 WHERE agent_id = ?1 AND stream = ?2";
        conn.execute(set, params![agent_id, stream, through.cast_signed(), head, signature]).unwrap();
    }

    pub(super) fn incident(&self, agent_id: &str, id: &str, fingerprint: &str, opened: i64, closed: Option<i64>) {
        incident(&self.conn(), agent_id, id, fingerprint, opened, closed);
    }

    /// Of the agent `a` to a destination, from row `seq` of its record.
    pub(in crate::collector) fn letter(&self, id: u64, destination: &str, incident: &str, about: &str, seq: u64) {
        let conn = self.conn();
        let write =
            "INSERT INTO outbox(id, parent_id, destination, agent_id, incident, about, stream, seq, payload, state, next_at, created_at)
             SELECT ?1, (SELECT max(id) FROM outbox WHERE destination = ?2 AND seq = ?6), ?2, ?3, ?4, ?5, 's', ?6, ?7, 'pending', ?8, ?8";
        let payload = format!(r#"{{"about":"{about}"}}"#);
        conn.execute(write, params![id.cast_signed(), destination, agent("a"), incident, about, seq.cast_signed(), payload, NOW_MS])
            .unwrap();
    }

    /// A fleet: hosts `host-0` and on, each with its share of incidents, records and messages.
    pub(super) fn many(&self, hosts: usize, incidents: usize) {
        let mut conn = self.conn();
        let tx = conn.transaction().unwrap();
        let ids: Vec<String> = (0..hosts).map(|n| agent(&format!("host-{n}"))).collect();
        for (n, id) in ids.iter().enumerate() {
            tx.prepare("INSERT INTO agents VALUES(?1, zeroblob(32), zeroblob(32), ?2, '0.1.0', 'b', 1, NULL, NULL, NULL)")
                .unwrap()
                .execute(params![id, format!("host-{n}")])
                .unwrap();
        }
        for n in 0..incidents {
            // Of two kinds a host; one in ten is escalated, one in a thousand open.
            let (host, round) = (n % hosts, n / hosts);
            let closed = (round != 9 || host % 100 != 0).then_some(n as i64 + 1);
            let id = &ids[host];
            incident(&tx, id, &format!("disk-{n}"), &format!("{id}-{}", round % 2), n as i64, closed);
        }
        tx.execute_batch(
            "UPDATE incidents SET escalated = 1 WHERE opened_at / (SELECT count(*) FROM agents) = 3;
             INSERT INTO heartbeats SELECT id, 's', 1, 1, 30.0, 'observe', '[]', '[]', 0, 0, NULL, NULL FROM agents;
             INSERT INTO streams SELECT id, 's', 1, 1, 9, zeroblob(32), NULL, NULL, 0, zeroblob(0), zeroblob(0) FROM agents;
             INSERT INTO records SELECT NULL, agent_id, 's', rowid, id, 'note', 'null', zeroblob(32), NULL, 1 FROM incidents;
             INSERT INTO outbox(destination, agent_id, incident, about, stream, seq, payload, state, next_at, created_at)
                SELECT 'a', agent_id, id, 'escalated', 's', rowid, '{}', CASE rowid % 100 WHEN 0 THEN 'dead' WHEN 1 THEN 'pending' ELSE 'sent' END, 1, 1
                FROM incidents WHERE escalated = 1;",
        )
        .unwrap();
        tx.commit().unwrap();
    }

    /// Some bits of what a column holds: of its second row where there are two, all over it.
    pub(super) fn bits(&self, table: &str, column: &str) -> Vec<Bit> {
        let value = |row: i64, value: Value| {
            let bits = match &value {
                Value::Integer(_) => 64,
                Value::Text(text) => text.len() * 8,
                Value::Blob(bytes) => bytes.len() * 8,
                other => panic!("{other:?}"),
            };
            (0..bits).step_by((bits / 48).max(1) | 1).map(|bit| Bit { row, bit }).collect::<Vec<_>>()
        };
        let conn = self.conn();
        let rows = format!("SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY rowid LIMIT 2");
        let mut rows = conn.prepare(&rows).unwrap();
        let rows = rows.query_map([], |r| Ok(value(r.get(0)?, r.get(1)?))).unwrap();
        rows.last().unwrap().unwrap()
    }

    /// Turns it over and gives where it is now; `None` where the table refuses two rows of one name.
    pub(super) fn flip(&self, table: &str, column: &str, bit: Bit) -> Option<Bit> {
        let conn = self.conn();
        let read = format!(
            "SELECT typeof({column}), CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END FROM {table} WHERE rowid = ?1"
        );
        let (kind, value): (String, Value) = conn.query_row(&read, [bit.row], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
        let flipped = match value {
            Value::Integer(n) => Value::Integer(n ^ (1 << bit.bit)),
            Value::Blob(mut bytes) => {
                bytes[bit.bit / 8] ^= 1 << (bit.bit % 8);
                Value::Blob(bytes)
            }
            other => panic!("{other:?}"),
        };
        let place = if kind == "text" { "CAST(?2 AS TEXT)" } else { "?2" };
        let write = format!("UPDATE {table} SET {column} = {place} WHERE rowid = ?1 RETURNING rowid");
        let row = conn.query_row(&write, params![bit.row, flipped], |r| r.get(0)).ok()?;
        Some(Bit { row, ..bit })
    }
}

fn key_of(conn: &Connection, agent_id: &str) -> PKey<Private> {
    key(&conn.query_row("SELECT hostname FROM agents WHERE id = ?1", [agent_id], |r| r.get::<_, String>(0)).unwrap())
}

fn insert(conn: &Connection, agent_id: &str, stream: &str, row: &Record) {
    let Record { seq, incident, kind, at, body_hash, body } = row;
    let body_hash = crate::wire::collector::unhex::<32>(body_hash).unwrap_or_default();
    conn.prepare("INSERT INTO records VALUES(NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1)")
        .unwrap()
        .execute(params![agent_id, stream, seq.cast_signed(), incident, kind, at, body_hash, body])
        .unwrap();
}

fn incident(conn: &Connection, agent_id: &str, id: &str, fingerprint: &str, opened: i64, closed: Option<i64>) {
    let wall = |ms: i64| super::columns::at(ms);
    let closed_now = closed.map_or("null".into(), |ms| format!(r#"{{"wall":"{}","boot":"b","uptime_s":2.0}}"#, wall(ms)));
    let summary = format!(
        r#"{{"id":"{id}","runbook":"disk","subject":"host","opened":{{"wall":"{}","boot":"b","uptime_s":1.0}},"closed":{closed_now},
            "class":null,"outcome":null,"summary":"made up"}}"#,
        wall(opened)
    );
    conn.prepare("INSERT INTO incidents VALUES(?1, ?2, 'disk', ?3, ?4, ?5, NULL, 0, ?6)")
        .unwrap()
        .execute(params![agent_id, id, fingerprint, opened, closed, summary])
        .unwrap();
}
