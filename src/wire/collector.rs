//! agent <-> collector: JSON over HTTP, below `/v1`. Everything is asked by the agent; what comes back can hint and never command.
//!
//! | method, path | body | answer |
//! | --- | --- | --- |
//! | POST `/v1/enroll` | [`Enrol`] | [`Enrolled`] |
//! | POST `/v1/agent/heartbeat` | [`Heartbeat`] | [`Heard`] |
//! | POST `/v1/agent/events` | [`Events`], as it is or `Content-Encoding: zstd` | [`Taken`], after it is durable |
//! | POST `/v1/agent/goodbye` | [`Goodbye`] | 204 |
//!
//! All but the first need `Authorization: Bearer CREDENTIAL`. Errors are [`Problem`] as `application/problem+json`; `code` never changes
//! its meaning. Unknown fields are ignored on both sides: a breaking change gets another path.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::chain::{Hash, link};
use crate::model::Signal;

/// Of one batch; a collector takes no more.
pub const MOST_RECORDS: usize = 200;
/// Of one batch as JSON. One record alone may be as large as a batch.
pub const MOST_BYTES: usize = 2 << 20;
/// Of one batch as it travels.
pub const MOST_SENT_BYTES: usize = 256 << 10;
/// A body that is larger stays on its host; its hash goes with the row.
pub const MOST_BODY_BYTES: usize = 64 << 10;

/// A host that reports for the first time. Asked again with the same three it is answered again, with a new credential: an answer that was
/// lost on the way burns no token.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Enrol {
    pub token: String,
    /// 32 lower-case hex digits, made by the agent. Never taken from the hardware or the name: those are cloned.
    pub agent_id: String,
    /// Ed25519, 64 lower-case hex digits: what the agent signs its record with.
    pub public_key: String,
    pub about: About,
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub hostname: String,
    pub version: String,
    pub boot_id: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Sent with everything from now on.
    pub credential: String,
    pub server_time: jiff::Timestamp,
    pub next_in_s: f64,
}

// Without what is secret: neither may come into a log by being printed.
impl fmt::Debug for Enrol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrol").field("agent_id", &self.agent_id).field("about", &self.about).finish_non_exhaustive()
    }
}

impl fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolled").field("next_in_s", &self.next_in_s).finish_non_exhaustive()
    }
}

/// How the host is; what happened goes with [`Events`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub about: About,
    /// One record of the host: another one after the file was lost, so that its numbers are never used twice.
    pub stream: String,
    pub sent_at: jiff::Timestamp,
    /// `observe` or `act`, as it is applied.
    pub mode: String,
    /// Why nothing is done on this host although it may be, in words.
    pub held_by: Vec<String>,
    pub signals: Vec<Signal>,
    pub open_incidents: u64,
    /// Rows that the collector has not acknowledged, and since when the oldest of them waits.
    pub waiting: u64,
    pub waiting_since: Option<jiff::Timestamp>,
    /// The newest row; `None` before the first.
    pub head: Option<SignedHead>,
}

/// The end of a host's record, in the host's own hand: what comes before it cannot be dropped, changed or reordered any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    pub seq: u64,
    /// Hex.
    pub hash: String,
    /// Ed25519 of [`SignedHead::text`], hex.
    pub signature: String,
}

impl SignedHead {
    /// What is signed: nothing else that this key signs begins like it.
    pub fn text(agent_id: &str, stream: &str, seq: u64, hash: &str) -> String {
        format!("byteport record head 1\n{agent_id}\n{stream}\n{seq}\n{hash}\n")
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    pub server_time: jiff::Timestamp,
    /// When the next heartbeat is due; the agent adds its jitter.
    pub next_in_s: f64,
    /// Of this stream: all rows up to here are durable at the collector.
    pub acked_through: u64,
}

/// Rows of one stream, in order and without a gap between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Events {
    pub stream: String,
    pub sent_at: jiff::Timestamp,
    /// The first row that the host still has: what came before it was dropped to keep the record small.
    pub first_kept: u64,
    /// The hash of the row before the first one, hex; zeros where that is the first of all.
    pub before: String,
    pub records: Vec<Record>,
    /// Of the last of `records`.
    pub head: SignedHead,
}

/// One row, letter by letter as the host has hashed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub seq: u64,
    /// Empty: of the host itself.
    pub incident: String,
    pub kind: String,
    /// JSON of a `Now`, or `null`.
    pub at: String,
    /// Hex.
    pub body_hash: String,
    /// JSON; `None` where it is evidence, which stays on its host, or was dropped to keep the record small.
    pub body: Option<String>,
}

impl Record {
    /// The hash of this row behind one with the hash `before`; `None` where the body is not the one that was hashed, or a hash is no hash.
    pub fn follows(&self, before: &Hash) -> Option<Hash> {
        let body = unhex(&self.body_hash)?;
        if self.body.as_ref().is_some_and(|text| openssl::sha::sha256(text.as_bytes()) != body) {
            return None;
        }
        Some(link(before, &body, self.seq, &self.incident, &self.kind, &self.at))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub acked_through: u64,
    pub accepted: u64,
    pub duplicates: u64,
}

/// Said before it stops: silence from now on is no fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    pub reason: Leaving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    Stopped,
    HostGoesDown,
}

/// RFC 9457.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// What is wrong and what to do next.
    pub detail: String,
    pub code: Code,
    /// Whether the same request may be sent again.
    pub retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// No JSON, or not what this path takes.
    Malformed,
    /// The token is unknown, used, expired or revoked: which of them is in the collector's log only.
    TokenRefused,
    /// No credential, or not the one that this agent has.
    CredentialRefused,
    AgentRevoked,
    /// Somebody has to look at this identity first; the collector's pages say why.
    AgentQuarantined,
    /// A row with this number is there already, and is another one.
    SeqConflict,
    /// Two hosts speak with one credential.
    IdentityClone,
    /// Rows are missing before the first one that was sent, and the host still has them.
    Gap,
    /// The rows do not follow from each other, or the signature is not this agent's.
    NotProven,
    TooLarge,
    UnsupportedEncoding,
    TooMany,
    /// The collector has no room or cannot write; try again.
    Unavailable,
    NotFound,
    MethodNotAllowed,
}

impl Code {
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::TokenRefused,
        Self::CredentialRefused,
        Self::AgentRevoked,
        Self::AgentQuarantined,
        Self::SeqConflict,
        Self::IdentityClone,
        Self::Gap,
        Self::NotProven,
        Self::TooLarge,
        Self::UnsupportedEncoding,
        Self::TooMany,
        Self::Unavailable,
        Self::NotFound,
        Self::MethodNotAllowed,
    ];

    /// As it travels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TokenRefused => "token-refused",
            Self::CredentialRefused => "credential-refused",
            Self::AgentRevoked => "agent-revoked",
            Self::AgentQuarantined => "agent-quarantined",
            Self::SeqConflict => "seq-conflict",
            Self::IdentityClone => "identity-clone",
            Self::Gap => "gap",
            Self::NotProven => "not-proven",
            Self::TooLarge => "too-large",
            Self::UnsupportedEncoding => "unsupported-encoding",
            Self::TooMany => "too-many",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
        }
    }
}

/// Lower-case digits, two a byte.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

/// Of exactly `N` bytes, in lower case.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(seq: u64, body: &str) -> Record {
        let body_hash = hex(&openssl::sha::sha256(body.as_bytes()));
        Record { seq, incident: "disk-1".into(), kind: "note".into(), at: "null".into(), body_hash, body: Some(body.into()) }
    }

    #[test]
    fn a_row_follows_with_or_without_its_body_and_not_with_another() {
        let whole = row(7, "{}");
        let hash = whole.follows(&[1; 32]).expect("it follows");
        assert_eq!(Record { body: None, ..whole.clone() }.follows(&[1; 32]), Some(hash));
        assert_eq!(Record { body: Some("{ }".into()), ..whole.clone() }.follows(&[1; 32]), None);
        for other in [
            Record { seq: 8, ..whole.clone() },
            Record { incident: "disk-2".into(), ..whole.clone() },
            Record { kind: "closed".into(), ..whole.clone() },
            Record { at: "{}".into(), ..whole.clone() },
        ] {
            assert_ne!(other.follows(&[1; 32]), Some(hash), "{other:?}");
        }
        assert_ne!(whole.follows(&[2; 32]), Some(hash));
    }

    #[test]
    fn every_code_is_named_as_it_travels_and_each_once() {
        let travels = Code::ALL.map(|code| serde_json::to_value(code).unwrap());
        assert_eq!(travels, Code::ALL.map(|code| serde_json::Value::from(code.as_str())));
        assert_eq!(Code::ALL.iter().collect::<std::collections::BTreeSet<_>>().len(), Code::ALL.len());
    }

    #[test]
    fn what_is_secret_is_not_printed() {
        let about = About { hostname: "web-1".into(), version: "1".into(), boot_id: "b".into() };
        let enrol = Enrol { token: "bpj_a_SECRET".into(), agent_id: "ab".into(), public_key: "cd".into(), about };
        let enrolled = Enrolled { credential: "bpa_a_SECRET".into(), server_time: jiff::Timestamp::UNIX_EPOCH, next_in_s: 30.0 };
        assert!(!format!("{enrol:?}{enrolled:?}").contains("SECRET"));
    }

    proptest! {
        #[test]
        fn hex_there_and_back(bytes: [u8; 32]) {
            prop_assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        }

        #[test]
        fn what_is_no_hex_is_nothing(text in "[0-9a-fA-Fxé]{60,66}") {
            let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            prop_assert_eq!(unhex::<32>(&text).is_some(), text.len() == 64 && lower);
        }
    }
}
