//! Whether a batch is what its host has written: every row follows from the one before it, and the last one is signed by the host's own
//! key. Nothing here knows what was taken before; it takes milliseconds, and so it is done before anything is written. Pure.

use openssl::pkey::{Id, PKey};
use openssl::sign::Verifier;

use super::auth::is_agent_id;
use super::store::Refusal;
use crate::wire::chain::Hash;
use crate::wire::collector::{Code, Events, MOST_BODY_BYTES, MOST_RECORDS, Record, SignedHead, unhex};

/// Of an incident's name or a kind.
const MOST_NAME: usize = 255;
/// Of a row's own word for when it was.
const MOST_AT: usize = 4096;

pub type Signature = [u8; 64];

/// A batch that holds together and is signed; only [`prove`] makes one.
#[derive(Debug, Clone)]
pub struct Proven {
    pub(super) agent_id: String,
    pub(super) public_key: Hash,
    pub(super) stream: String,
    pub(super) first_kept: u64,
    /// Of the row before the first.
    pub(super) before: Hash,
    /// At least one, numbered without a gap.
    pub(super) rows: Vec<Row>,
    /// Of the last row.
    pub(super) signature: Signature,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) record: Record,
    pub(super) body_hash: Hash,
    pub(super) hash: Hash,
}

impl Proven {
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }
}

/// # Errors
/// `Malformed` or `TooLarge` where it is no batch, `NotProven` where it does not hold together.
pub fn prove(agent_id: &str, public_key: &Hash, events: Events) -> Result<Proven, Refusal> {
    let malformed = |why: &str| Refusal { code: Code::Malformed, why: why.to_owned() };
    let Events { stream, first_kept, before, records, head, .. } = events;
    if !is_agent_id(&stream) {
        return Err(malformed("`stream` is not 32 lower-case hex digits"));
    }
    let before: Hash = unhex(&before).ok_or_else(|| malformed("`before` is not 64 lower-case hex digits"))?;
    if records.len() > MOST_RECORDS {
        return Err(Refusal {
            code: Code::TooLarge,
            why: format!("{} rows in one batch, at most {MOST_RECORDS}: send fewer", records.len()),
        });
    }
    let first = records.first().ok_or_else(|| malformed("`records` is empty"))?.seq;
    if first == 0 || i64::try_from(head.seq).is_err() {
        return Err(malformed("rows are numbered from 1 to 2^63 - 1"));
    }
    let not_signed =
        || Refusal { code: Code::NotProven, why: format!("row {}, which is signed, is not the last one of the batch", head.seq) };
    if first.checked_add(records.len() as u64 - 1) != Some(head.seq) {
        return Err(not_signed());
    }
    let (mut hash, mut rows) = (before, Vec::with_capacity(records.len()));
    for (record, seq) in records.into_iter().zip(first..) {
        let not_proven = |why: &str| Refusal { code: Code::NotProven, why: format!("row {}: {why}", record.seq) };
        if record.seq != seq {
            return Err(not_proven(&format!("row {seq} was to come here")));
        }
        if record.incident.len() > MOST_NAME || record.kind.len() > MOST_NAME || record.at.len() > MOST_AT {
            return Err(malformed("`incident` or `kind` is longer than 255 bytes, or `at` longer than 4096"));
        }
        if record.body.as_ref().is_some_and(|body| body.len() > MOST_BODY_BYTES) {
            let why = format!("the body of row {} has more than {MOST_BODY_BYTES} bytes: send its hash alone", record.seq);
            return Err(Refusal { code: Code::TooLarge, why });
        }
        let body_hash = unhex(&record.body_hash).ok_or_else(|| malformed("`body_hash` is not 64 lower-case hex digits"))?;
        hash = record.follows(&hash).ok_or_else(|| not_proven("its body is not the one that was hashed"))?;
        rows.push(Row { record, body_hash, hash });
    }
    let (signed, signature) = signed(agent_id, public_key, &stream, &head)?;
    if signed != hash {
        return Err(not_signed());
    }
    Ok(Proven { agent_id: agent_id.to_owned(), public_key: *public_key, stream, first_kept, before, rows, signature })
}

/// The hash and the signature of a head that this key has signed.
///
/// # Errors
/// `Malformed` where they are none, `NotProven` where the signature is another one.
pub fn signed(agent_id: &str, public_key: &Hash, stream: &str, head: &SignedHead) -> Result<(Hash, Signature), Refusal> {
    let malformed = |why: &str| Refusal { code: Code::Malformed, why: why.to_owned() };
    let hash = unhex(&head.hash).ok_or_else(|| malformed("`head.hash` is not 64 lower-case hex digits"))?;
    let signature: Signature = unhex(&head.signature).ok_or_else(|| malformed("`head.signature` is not 128 lower-case hex digits"))?;
    if i64::try_from(head.seq).is_err() {
        return Err(malformed("`head.seq` is larger than 2^63 - 1"));
    }
    let text = SignedHead::text(agent_id, stream, head.seq, &head.hash);
    let right = PKey::public_key_from_raw_bytes(public_key, Id::ED25519)
        .and_then(|key| Verifier::new_without_digest(&key)?.verify_oneshot(&signature, text.as_bytes()))
        // No key and no signature at all are a wrong one.
        .unwrap_or(false);
    if right { Ok((hash, signature)) } else { Err(Refusal { code: Code::NotProven, why: "the signature is not this agent's".into() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::store::test_agent::Agent;
    use crate::wire::collector::hex;

    fn code(agent: &Agent, events: Events) -> Option<Code> {
        prove(&agent.id, &agent.public_key(), events).err().map(|r| r.code)
    }

    #[test]
    fn a_batch_holds_together_or_is_refused() {
        let mut agent = Agent::new(1);
        agent.notes(5);
        let whole = agent.batch(2, 4);
        assert_eq!(code(&agent, whole.clone()), None);
        let other = Agent::new(2);
        type Change = Box<dyn Fn(&mut Events)>;
        let cases: Vec<(&str, Code, Change)> = vec![
            ("a body changed", Code::NotProven, Box::new(|e| e.records[1].body = Some("{\"note\":{\"text\":\"x\"}}".into()))),
            (
                "a body and its hash changed",
                Code::NotProven,
                Box::new(|e| {
                    e.records[1].body_hash = hex(&openssl::sha::sha256(b"{}"));
                    e.records[1].body = Some("{}".into());
                }),
            ),
            (
                "a body that should have stayed at home",
                Code::TooLarge,
                Box::new(|e| e.records[1].body = Some("x".repeat(MOST_BODY_BYTES + 1))),
            ),
            ("another incident", Code::NotProven, Box::new(|e| e.records[0].incident.push('x'))),
            ("a row left out", Code::NotProven, Box::new(|e| drop(e.records.remove(1)))),
            ("two rows changed about", Code::NotProven, Box::new(|e| e.records.swap(0, 1))),
            ("the last row left out", Code::NotProven, Box::new(|e| drop(e.records.pop()))),
            ("another beginning", Code::NotProven, Box::new(|e| e.before = hex(&[7; 32]))),
            ("another's signature", Code::NotProven, Box::new(move |e| e.head.signature = other.sign(&e.stream, e.head.seq, &e.head.hash))),
            ("another stream", Code::NotProven, Box::new(|e| e.stream = "f".repeat(32))),
            ("no stream", Code::Malformed, Box::new(|e| e.stream.clear())),
            ("no hash", Code::Malformed, Box::new(|e| e.before.push('0'))),
            ("no body hash", Code::Malformed, Box::new(|e| e.records[0].body_hash.clear())),
            ("no signature", Code::Malformed, Box::new(|e| e.head.signature = "x".repeat(128))),
            ("nothing", Code::Malformed, Box::new(|e| e.records.clear())),
            ("row 0", Code::Malformed, Box::new(|e| e.records[0].seq = 0)),
            ("the largest number", Code::Malformed, Box::new(|e| e.head.seq = u64::MAX)),
            ("a long name", Code::Malformed, Box::new(|e| e.records[0].kind = "k".repeat(256))),
            ("too many", Code::TooLarge, Box::new(|e| e.records = vec![e.records[0].clone(); MOST_RECORDS + 1])),
        ];
        for (what, expected, change) in cases {
            let mut changed = whole.clone();
            change(&mut changed);
            assert_eq!(code(&agent, changed), Some(expected), "{what}");
        }
        let mut last = whole;
        last.records.iter_mut().zip([u64::MAX - 2, u64::MAX - 1, u64::MAX]).for_each(|(r, seq)| r.seq = seq);
        assert_eq!(code(&agent, last), Some(Code::NotProven), "the numbers end");
    }

    #[test]
    fn a_missing_body_is_no_fault() {
        let mut agent = Agent::new(1);
        agent.notes(3);
        let mut events = agent.batch(1, 3);
        events.records[1].body = None;
        assert_eq!(code(&agent, events), None);
    }
}
