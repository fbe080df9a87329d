//! The tables. The same names and columns on every engine; times are milliseconds UTC by the collector's clock unless said otherwise.

/// Forward only: each runs once, in order, and is never changed after a release.
pub(super) const MIGRATIONS: &[&str] = &[FIRST];

const FIRST: &str = "
CREATE TABLE tokens(
    id TEXT PRIMARY KEY, secret_sha256 BLOB NOT NULL, created_at INTEGER NOT NULL, created_by TEXT NOT NULL,
    expires_at INTEGER NOT NULL, max_uses INTEGER NOT NULL, uses INTEGER NOT NULL DEFAULT 0, revoked_at INTEGER) STRICT;
-- Whom a token has let in: who asks again is answered again.
CREATE TABLE token_uses(
    token_id TEXT NOT NULL REFERENCES tokens(id), agent_id TEXT NOT NULL, public_key BLOB NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY(token_id, agent_id)) STRICT;

CREATE TABLE agents(
    id TEXT PRIMARY KEY, public_key BLOB NOT NULL, credential_sha256 BLOB NOT NULL, hostname TEXT NOT NULL, version TEXT NOT NULL,
    boot_id TEXT NOT NULL, enrolled_at INTEGER NOT NULL, revoked_at INTEGER, quarantined_at INTEGER, quarantined_why TEXT) STRICT;
CREATE INDEX agents_hostname ON agents(hostname);

-- The newest of each only, written together every two seconds.
CREATE TABLE heartbeats(
    agent_id TEXT PRIMARY KEY REFERENCES agents(id), stream TEXT NOT NULL, seen_at INTEGER NOT NULL,
    -- By the agent's clock.
    sent_at INTEGER NOT NULL,
    interval_s REAL NOT NULL, mode TEXT NOT NULL,
    -- JSON lists.
    held_by TEXT NOT NULL, signals TEXT NOT NULL,
    open_incidents INTEGER NOT NULL, waiting INTEGER NOT NULL, waiting_since INTEGER,
    -- Set by a goodbye, cleared by the next heartbeat.
    stopped_at INTEGER) STRICT;

-- How much of each record of each host is here, and its end in the host's own hand.
CREATE TABLE streams(
    agent_id TEXT NOT NULL REFERENCES agents(id), stream TEXT NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,
    acked_through INTEGER NOT NULL, head_hash BLOB NOT NULL,
    -- The first row after the newest gap, and the hash before it.
    gap_before INTEGER, gap_hash BLOB,
    signed_through INTEGER NOT NULL, signed_hash BLOB NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY(agent_id, stream)) STRICT;

-- Rows of the hosts' records, letter by letter. `at` is the host's own word for when it was.
CREATE TABLE records(
    id INTEGER PRIMARY KEY, agent_id TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, incident TEXT NOT NULL, kind TEXT NOT NULL,
    at TEXT NOT NULL, body_hash BLOB NOT NULL, body TEXT, received_at INTEGER NOT NULL, UNIQUE(agent_id, stream, seq)) STRICT;
CREATE INDEX records_incident ON records(agent_id, incident, id);

-- Derived from records, in the same transactions. `opened_at` and `closed_at` are the host's wall clock.
CREATE TABLE incidents(
    agent_id TEXT NOT NULL REFERENCES agents(id), id TEXT NOT NULL, runbook TEXT NOT NULL, fingerprint TEXT NOT NULL,
    opened_at INTEGER NOT NULL, closed_at INTEGER, outcome TEXT, escalated INTEGER NOT NULL,
    -- JSON of an `IncidentSummary`.
    summary TEXT NOT NULL,
    PRIMARY KEY(agent_id, id)) STRICT;
CREATE INDEX incidents_opened ON incidents(opened_at);
-- With what lists ask for, so that they are counted without reading a summary.
CREATE INDEX incidents_fingerprint ON incidents(fingerprint, opened_at, runbook, escalated);
CREATE INDEX incidents_of_agent ON incidents(agent_id, opened_at);
CREATE INDEX incidents_open ON incidents(opened_at) WHERE closed_at IS NULL;

CREATE TABLE outbox(
    id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES outbox(id), destination TEXT NOT NULL,
    agent_id TEXT NOT NULL, incident TEXT NOT NULL,
    -- `escalated` or `closed`, and the row of the host's record that it comes from.
    about TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL,
    -- JSON, made when it is written: what is told does not change while it waits.
    payload TEXT NOT NULL,
    -- `pending`, `sent` or `dead`.
    state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_at INTEGER NOT NULL, lease_until INTEGER,
    created_at INTEGER NOT NULL, sent_at INTEGER, last_error TEXT) STRICT;
CREATE UNIQUE INDEX outbox_once ON outbox(destination, agent_id, stream, seq) WHERE parent_id IS NULL;
-- The first of those that wait answers for all behind it.
CREATE INDEX outbox_waiting ON outbox(agent_id, incident, destination, stream, seq, id) WHERE state = 'pending';
CREATE INDEX outbox_due ON outbox(next_at) WHERE state = 'pending';
CREATE INDEX outbox_dead ON outbox(id) WHERE state = 'dead';
CREATE INDEX outbox_incident ON outbox(agent_id, incident, id);

-- What people did here: chained like a host's record.
CREATE TABLE audit(
    idx INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL, detail TEXT NOT NULL,
    hash BLOB NOT NULL) STRICT;
";
