//! What people did here, chained like a host's record. The chain proves that nothing was changed, dropped or put in between; that nothing was
//! cut off its end is only proven by a head that somebody has noted elsewhere.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use openssl::sha::Sha256;
use rusqlite::{Connection, OptionalExtension, params};

use crate::wire::chain::Hash;
use crate::wire::collector::{hex, unhex};

/// One row, without its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    /// From 1, without a gap.
    pub(super) idx: u64,
    /// Milliseconds.
    pub(super) at: i64,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) object: String,
    pub(super) detail: String,
}

/// Number and hash of a row: whoever has noted it can tell later that everything up to it is still there. `12:9f3a…`
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(into = "String")]
pub struct AuditHead {
    pub idx: u64,
    pub hash: Hash,
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.idx, hex(&self.hash))
    }
}

impl From<AuditHead> for String {
    fn from(head: AuditHead) -> Self {
        head.to_string()
    }
}

impl FromStr for AuditHead {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (idx, hash) = text.split_once(':')?;
            Some(Self { idx: idx.parse().ok()?, hash: unhex(hash)? })
        };
        read().ok_or("write a head as `audit verify` prints it: a number, a colon and 64 hex digits")
    }
}

/// Before the first row.
pub(super) const NOTHING: Hash = [0; 32];

/// `SHA-256` of the hash before it and of all fields, texts with their lengths, so that no two rows can share one text.
pub(super) fn hash(before: &Hash, row: &Done) -> Hash {
    let mut sha = Sha256::new();
    sha.update(b"byteport collector audit 1\n");
    sha.update(before);
    sha.update(&row.idx.to_be_bytes());
    sha.update(&row.at.to_be_bytes());
    for text in [&row.actor, &row.action, &row.object, &row.detail] {
        sha.update(&(text.len() as u64).to_be_bytes());
        sha.update(text.as_bytes());
    }
    sha.finish()
}

/// Follows the chain row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trail {
    pub(super) head: AuditHead,
}

impl Trail {
    pub(super) const fn new() -> Self {
        Self { head: AuditHead { idx: 0, hash: NOTHING } }
    }

    /// # Errors
    /// Why this row is not the one that was written behind the one before.
    pub(super) fn take(&mut self, row: &Done, hash_of_it: &[u8]) -> Result<(), String> {
        if row.idx != self.head.idx + 1 {
            return Err(format!("row {} is missing", self.head.idx + 1));
        }
        let hash = hash(&self.head.hash, row);
        if hash != hash_of_it {
            return Err("it does not follow from the row before it".into());
        }
        self.head = AuditHead { idx: row.idx, hash };
        Ok(())
    }
}

/// Adds a row behind the newest one, in the transaction of what was done.
pub(super) fn append(
    conn: &Connection,
    at: Timestamp,
    actor: &str,
    action: &str,
    object: &str,
    detail: &str,
) -> rusqlite::Result<AuditHead> {
    let newest = "SELECT idx, hash FROM audit ORDER BY idx DESC LIMIT 1";
    let newest = conn.query_row(newest, [], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Hash>(1)?))).optional()?;
    let (idx, before) = newest.unwrap_or((0, NOTHING));
    let row = Done {
        idx: idx.cast_unsigned() + 1,
        at: at.as_millisecond(),
        actor: actor.to_owned(),
        action: action.to_owned(),
        object: object.to_owned(),
        detail: detail.to_owned(),
    };
    let hash = hash(&before, &row);
    conn.execute(
        "INSERT INTO audit(idx, at, actor, action, object, detail, hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![row.idx.cast_signed(), row.at, row.actor, row.action, row.object, row.detail, hash],
    )?;
    Ok(AuditHead { idx: row.idx, hash })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row() -> Done {
        let [actor, action, object, detail] = ["ann", "agent-revoke", "a", "b"].map(String::from);
        Done { idx: 1, at: 7, actor, action, object, detail }
    }

    #[test]
    fn every_field_and_the_row_before_are_in_the_hash() {
        let known = hash(&NOTHING, &row());
        assert_ne!(hash(&[1; 32], &row()), known);
        for other in [
            Done { idx: 2, ..row() },
            Done { at: 8, ..row() },
            Done { actor: "an".into(), action: "nagent-revoke".into(), ..row() },
            Done { action: "agent-revokea".into(), object: String::new(), ..row() },
            Done { object: "ab".into(), detail: String::new(), ..row() },
        ] {
            assert_ne!(hash(&NOTHING, &other), known, "{other:?}");
        }
    }

    #[test]
    fn a_chain_begins_with_its_first_row_and_leaves_none_out() {
        let (first, second) = (row(), Done { idx: 2, ..row() });
        let hash_1 = hash(&NOTHING, &first);
        let hash_2 = hash(&hash_1, &second);
        let mut trail = Trail::new();
        assert_eq!(trail.take(&second, &hash_2), Err("row 1 is missing".into()));
        assert_eq!(trail.take(&first, &hash_1), Ok(()));
        assert!(trail.take(&second, &hash_1).is_err());
        assert_eq!(trail.take(&second, &hash_2), Ok(()));
        assert_eq!(trail.head, AuditHead { idx: 2, hash: hash_2 });
    }

    proptest! {
        #[test]
        fn a_head_is_read_as_it_is_written(idx: u64, hash: [u8; 32]) {
            let head = AuditHead { idx, hash };
            prop_assert_eq!(head.to_string().parse(), Ok(head));
        }

        #[test]
        fn what_is_no_head_is_refused(text in "[0-9a-f:]{0,70}") {
            prop_assert!(text.parse::<AuditHead>().is_err() || text.split_once(':').is_some_and(|(_, hash)| hash.len() == 64));
        }
    }
}
