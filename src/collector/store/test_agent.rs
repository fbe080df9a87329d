//! A host that is not there, with a real chain and a real key; and a store for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;

use super::{Entrant, Reply, Store, StoreError, db};
use crate::collector::auth::{Credential, Token};
use crate::collector::proof::{Proven, prove};
use crate::model::{
    Body, BootId, Confidence, Diagnosis, Escalation, FollowUp, Now, Outcome, Plan, RunbookId, Severity, Signal, SignalKind, Subject,
};
use crate::wire::chain::{Hash, link};
use crate::wire::collector::{About, Code, Events, Heartbeat, Record, SignedHead, Taken, hex};

/// Seconds of 1970.
pub(crate) fn at(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).unwrap()
}

pub(crate) fn about() -> About {
    About { hostname: "web-1".into(), version: "0.1.0".into(), boot_id: "b".into() }
}

pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) stream: String,
    key: PKey<Private>,
    rows: Vec<(Record, Hash)>,
}

impl Agent {
    pub(crate) fn new(n: u8) -> Self {
        let key = PKey::private_key_from_raw_bytes(&[n; 32], Id::ED25519).unwrap();
        Self { id: format!("{n:032x}"), stream: format!("{:032x}", 1000 + u32::from(n)), key, rows: Vec::new() }
    }

    /// The same host with another record.
    pub(crate) fn anew(&self, stream: u32) -> Self {
        Self { id: self.id.clone(), stream: format!("{stream:032x}"), key: self.key.clone(), rows: Vec::new() }
    }

    /// The same host and record, as far as it is now.
    pub(crate) fn cloned(&self) -> Self {
        Self { rows: self.rows.clone(), stream: self.stream.clone(), ..self.anew(0) }
    }

    pub(crate) fn public_key(&self) -> Hash {
        self.key.raw_public_key().unwrap().try_into().unwrap()
    }

    pub(crate) fn sign(&self, stream: &str, seq: u64, hash: &str) -> String {
        let text = SignedHead::text(&self.id, stream, seq, hash);
        hex(&Signer::new_without_digest(&self.key).unwrap().sign_oneshot_to_vec(text.as_bytes()).unwrap())
    }

    pub(crate) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Of row `seq`; zeros before the first.
    pub(crate) fn hash(&self, seq: u64) -> Hash {
        if seq == 0 { [0; 32] } else { self.rows[seq as usize - 1].1 }
    }

    pub(crate) fn head(&self, seq: u64) -> SignedHead {
        let hash = hex(&self.hash(seq));
        SignedHead { seq, signature: self.sign(&self.stream, seq, &hash), hash }
    }

    pub(crate) fn push(&mut self, incident: &str, kind: &str, body: &str) {
        let seq = self.len() + 1;
        let now = Now { wall: at(seq as i64), boot: BootId("b".into()), uptime_s: seq as f64 };
        let at = serde_json::to_string(&Some(now)).unwrap();
        let body_hash = openssl::sha::sha256(body.as_bytes());
        let hash = link(&self.hash(seq - 1), &body_hash, seq, incident, kind, &at);
        let (incident, kind) = (incident.to_owned(), kind.to_owned());
        self.rows.push((Record { seq, incident, kind, at, body_hash: hex(&body_hash), body: Some(body.to_owned()) }, hash));
    }

    pub(crate) fn body(&mut self, incident: &str, body: &Body) {
        self.push(incident, body.kind(), &serde_json::to_string(body).unwrap());
    }

    pub(crate) fn opens(&mut self, incident: &str) {
        let signals = vec![signal()];
        self.body(incident, &Body::Opened { runbook: RunbookId::new("disk"), subject: subject(), signals });
    }

    pub(crate) fn decides(&mut self, incident: &str, class: &str) {
        let diagnosis = Diagnosis {
            class: class.into(),
            confidence: Confidence::new(0.9),
            summary: format!("/var fills with {class}"),
            explained: Vec::new(),
            findings: Vec::new(),
            missing: Vec::new(),
            behind: None,
            critical: false,
        };
        let plan = Plan { subject: subject(), steps: Vec::new(), escalate: None, follow_ups: Vec::new(), not_available: Vec::new() };
        let now = Now { wall: at(1), boot: BootId("b".into()), uptime_s: 1.0 };
        self.body(incident, &Body::Decision { now, params: serde_json::Value::Null, diagnosis, plan });
    }

    pub(crate) fn escalates(&mut self, incident: &str) {
        let follow_ups = vec![FollowUp { why: "see who writes".into(), command: "du -x /var".into() }];
        self.body(incident, &Body::Escalated { escalation: Escalation { reason: "who may delete this?".into(), follow_ups } });
    }

    pub(crate) fn closes(&mut self, incident: &str, outcome: Outcome) {
        self.body(incident, &Body::Closed { outcome, summary: "it is over".into() });
    }

    pub(crate) fn notes(&mut self, n: usize) {
        for i in 0..n {
            self.body("disk-1", &Body::Note { text: format!("note {i}") });
        }
    }

    /// Rows `first` to `last`; the first one of all is still there.
    pub(crate) fn batch(&self, first: u64, last: u64) -> Events {
        let records = self.rows[first as usize - 1..last as usize].iter().map(|(record, _)| record.clone()).collect();
        let before = hex(&self.hash(first - 1));
        Events { stream: self.stream.clone(), sent_at: at(0), first_kept: 1, before, records, head: self.head(last) }
    }

    pub(crate) fn proven(&self, events: Events) -> Proven {
        prove(&self.id, &self.public_key(), events).unwrap()
    }

    pub(crate) fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            about: about(),
            stream: self.stream.clone(),
            sent_at: at(7),
            mode: "observe".into(),
            held_by: vec!["maintenance".into()],
            signals: vec![signal()],
            open_incidents: 1,
            waiting: self.len(),
            waiting_since: Some(at(3)),
            head: (self.len() > 0).then(|| self.head(self.len())),
        }
    }

    /// Comes in by a token of its own.
    pub(crate) fn enrol(&self, store: &Store) -> Credential {
        let id = format!("t{}", self.id);
        self.enrol_by(store, &token(store, &id, 1)).unwrap()
    }

    pub(crate) fn enrol_by(&self, store: &Store, token: &Token) -> Result<Credential, StoreError> {
        let (credential, token) = (Credential::new(&self.id).unwrap(), Token::parse(&token.expose()).unwrap());
        let credential_sha256 = credential.secret_sha256();
        let entrant = Entrant { token, agent_id: self.id.clone(), public_key: self.public_key(), about: about(), credential_sha256 };
        asked(|reply| store.enrol(entrant, at(10), reply)).map(|()| credential)
    }

    pub(crate) fn send(&self, store: &Store, events: Events) -> Result<Taken, StoreError> {
        let batch = self.proven(events);
        asked(|reply| store.ingest(batch, at(20), reply))
    }

    pub(crate) fn send_all(&self, store: &Store) -> Taken {
        self.send(store, self.batch(1, self.len())).unwrap()
    }
}

pub(crate) fn subject() -> Subject {
    Subject::Filesystem { mount: "/var".into(), device: 7 }
}

fn signal() -> Signal {
    let since = Now { wall: at(1), boot: BootId("b".into()), uptime_s: 1.0 };
    let kind = SignalKind::new("disk_usage_high");
    Signal { kind, subject: subject(), severity: Severity::Warning, since, detail: "usage 96 %".into() }
}

/// Waits for the answer.
pub(crate) fn asked<T: Send + 'static>(ask: impl FnOnce(Reply<T>)) -> Result<T, StoreError> {
    let (tell, told) = mpsc::channel();
    ask(Box::new(move |result| drop(tell.send(result))));
    told.recv_timeout(Duration::from_secs(60)).expect("an answer")
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, StoreError>) -> Code {
    match result {
        Err(StoreError::Refused(refusal)) => refusal.code,
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, vec!["file".into(), "mail".into()]).unwrap()
}

/// As the command line makes one: by another connection. Expires in second 1000.
pub(crate) fn token(store: &Store, id: &str, max_uses: i64) -> Token {
    let token = Token::new(id).unwrap();
    db::connect(store.path())
        .unwrap()
        .execute(
            "INSERT INTO tokens(id, secret_sha256, created_at, created_by, expires_at, max_uses) VALUES(?1, ?2, 0, 'me', 1000000, ?3)",
            rusqlite::params![id, token.secret_sha256(), max_uses],
        )
        .unwrap();
    token
}

/// By another connection.
pub(crate) fn change(store: &Store, sql: &str) {
    assert!(db::connect(store.path()).unwrap().execute(sql, []).unwrap() > 0, "{sql} changed nothing");
}

/// As if the disk had failed.
pub(crate) fn break_down(store: &Store) {
    let fails = |_: &rusqlite::Connection| -> Result<(), StoreError> {
        let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        Err(rusqlite::Error::SqliteFailure(failure, Some("disk I/O error".into())).into())
    };
    assert!(matches!(asked(|reply| store.submit(fails, reply)), Err(StoreError::Stopped(_))));
}

/// What a query gives, as text, by another connection.
pub(crate) fn rows(path: &Path, sql: &str) -> Vec<String> {
    let conn = db::connect(path).unwrap();
    let mut statement = conn.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |r| {
        let fields = (0..columns).map(|i| {
            Ok(match r.get_ref(i)? {
                rusqlite::types::ValueRef::Null => "-".to_owned(),
                rusqlite::types::ValueRef::Integer(n) => n.to_string(),
                rusqlite::types::ValueRef::Real(x) => x.to_string(),
                rusqlite::types::ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
                rusqlite::types::ValueRef::Blob(b) => hex(b),
            })
        });
        Ok(fields.collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// Everything that follows from rows, by table.
pub(crate) fn all(path: &Path) -> BTreeMap<&'static str, Vec<String>> {
    let tables = [
        ("records", "SELECT agent_id, stream, seq, incident, kind, at, body_hash, body FROM records ORDER BY agent_id, stream, seq"),
        (
            "incidents",
            "SELECT agent_id, id, runbook, fingerprint, opened_at, closed_at, outcome, escalated, summary FROM incidents ORDER BY 1, 2",
        ),
        ("outbox", "SELECT destination, agent_id, incident, about, stream, seq, payload, state FROM outbox ORDER BY 1, 2, 5, 6"),
        ("streams", "SELECT agent_id, stream, acked_through, head_hash, gap_before, gap_hash FROM streams ORDER BY 1, 2"),
    ];
    tables.into_iter().map(|(table, sql)| (table, rows(path, sql))).collect()
}
