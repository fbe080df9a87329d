//! Rows of the record as one request: in order, proven by their hashes, their end signed, no larger than a collector takes. Pure.

use crate::record::Outgoing;
use crate::wire::chain::Hash;
use crate::wire::collector::{Events, MOST_BYTES, MOST_SENT_BYTES, Record, hex};

use super::identity::Key;

/// Rows are prose that repeats itself: a fifth of its size, in milliseconds.
const LEVEL: i32 = 3;

/// How it is sent with `Content-Encoding: zstd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub sent: Vec<u8>,
    pub rows: usize,
    /// The number of its last row.
    pub through: u64,
}

/// Why these rows cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("rows {first} to {last} of the record do not follow from each other any more: restart the agent, which sets it aside")]
    Damaged { first: u64, last: u64 },
    #[error("row {0} is too large for any collector")]
    TooLarge(u64),
    #[error("the record has no row to send")]
    Empty,
    #[error("OpenSSL cannot sign: {0}")]
    Sign(#[from] openssl::error::ErrorStack),
    #[error("cannot be packed: {0}")]
    Pack(String),
}

/// As many of the rows as fit, from the first one on, and no more than `most`. `bare`: the first one goes without its body.
///
/// # Errors
/// When none can be sent.
pub fn pack(out: Outgoing, key: &Key, stream: &str, sent_at: jiff::Timestamp, most: usize, bare: bool) -> Result<Batch, BatchError> {
    let (first_kept, before) = (out.first_kept, hex(&out.before));
    let (mut records, hashes) = proven(out)?;
    let Some(first) = records.first_mut() else { return Err(BatchError::Empty) };
    let first_seq = first.seq;
    if bare {
        first.body = None;
    }
    let mut rows = most.clamp(1, records.len());
    loop {
        records.truncate(rows);
        let (Some(last), Some(hash)) = (records.last(), hashes.get(rows - 1)) else { return Err(BatchError::Empty) };
        let through = last.seq;
        let head = key.sign(stream, through, hash)?;
        let events = Events { stream: stream.to_owned(), sent_at, first_kept, before: before.clone(), records, head };
        let json = serde_json::to_vec(&events).map_err(|e| BatchError::Pack(e.to_string()))?;
        if json.len() <= MOST_BYTES {
            let sent = zstd::bulk::compress(&json, LEVEL).map_err(|e| BatchError::Pack(e.to_string()))?;
            if sent.len() <= MOST_SENT_BYTES {
                return Ok(Batch { sent, rows, through });
            }
        }
        records = events.records;
        if rows > 1 {
            rows = rows.div_ceil(2).min(rows - 1);
        } else if records.first_mut().and_then(|row| row.body.take()).is_none() {
            return Err(BatchError::TooLarge(first_seq));
        }
    }
}

/// The rows, and the hash of each. A body that is not the one that was hashed stays here: of it the hash is all that can be proven.
fn proven(out: Outgoing) -> Result<(Vec<Record>, Vec<Hash>), BatchError> {
    let (mut rows, mut before) = (out.records, out.before);
    let number = |row: Option<&Record>| row.map_or(0, |row| row.seq);
    let (first, last) = (number(rows.first()), number(rows.last()));
    let mut hashes = Vec::with_capacity(rows.len());
    for row in &mut rows {
        let hash = row.follows(&before).or_else(|| {
            row.body = None;
            row.follows(&before)
        });
        before = hash.ok_or(BatchError::Damaged { first, last })?;
        hashes.push(before);
    }
    if before == out.hash { Ok((rows, hashes)) } else { Err(BatchError::Damaged { first, last }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::pkey::{Id, PKey};
    use openssl::sign::Verifier;
    use proptest::prelude::*;

    use crate::uplink::{Identity, Secret, Setup};
    use crate::wire::collector::{SignedHead, unhex};

    fn identity() -> Identity {
        let setup = Setup { collector: "https://c.example".into(), ca_file: None, proxy: None, insecure_plain_http: false };
        Identity::new(setup, &Secret::new("t")).unwrap()
    }

    fn outgoing(first: u64, bodies: &[Option<String>]) -> Outgoing {
        let before = [7; 32];
        let (mut hash, mut records) = (before, Vec::new());
        for (seq, body) in (first..).zip(bodies) {
            let body_hash = hex(&openssl::sha::sha256(body.as_deref().unwrap_or("gone").as_bytes()));
            let row = Record { seq, incident: "disk-1".into(), kind: "note".into(), at: "null".into(), body_hash, body: body.clone() };
            hash = row.follows(&hash).unwrap();
            records.push(row);
        }
        Outgoing { first_kept: 1, before, records, hash }
    }

    /// What a collector reads out of it; checks everything that a collector checks.
    fn taken(batch: &Batch, who: &Identity) -> Events {
        assert!(batch.sent.len() <= MOST_SENT_BYTES);
        let events: Events = serde_json::from_slice(&zstd::bulk::decompress(&batch.sent, MOST_BYTES).unwrap()).unwrap();
        let before = unhex(&events.before).unwrap();
        let hash = events.records.iter().try_fold(before, |before, row| row.follows(&before)).expect("a chain");
        let last = events.records.last().unwrap().seq;
        assert_eq!((events.head.seq, &events.head.hash, batch.through, batch.rows), (last, &hex(&hash), last, events.records.len()));
        let public = unhex::<32>(&who.key().unwrap().public().unwrap()).unwrap();
        let public = PKey::public_key_from_raw_bytes(&public, Id::ED25519).unwrap();
        let text = SignedHead::text(&who.agent_id, &events.stream, last, &events.head.hash);
        let signature = unhex::<64>(&events.head.signature).unwrap();
        assert!(Verifier::new_without_digest(&public).unwrap().verify_oneshot(&signature, text.as_bytes()).unwrap());
        events
    }

    fn packed(out: &Outgoing, who: &Identity, most: usize, bare: bool) -> Result<Batch, BatchError> {
        pack(out.clone(), &who.key().unwrap(), "stream", jiff::Timestamp::UNIX_EPOCH, most, bare)
    }

    /// Nothing that packs.
    fn noise(bytes: usize) -> String {
        let mut noise = vec![0; bytes / 2];
        openssl::rand::rand_bytes(&mut noise).unwrap();
        hex(&noise)
    }

    #[test]
    fn all_that_fits_goes_at_once() {
        let who = identity();
        let out = outgoing(5, &vec![Some("{\"note\":\"a\"}".to_owned()); 200]);
        let batch = packed(&out, &who, 200, false).unwrap();
        assert!(batch.sent.len() < 60_000, "{}", batch.sent.len());
        assert_eq!((batch.rows, batch.through, taken(&batch, &who).records), (200, 204, out.records));
    }

    #[test]
    fn what_does_not_fit_is_halved_down_to_one() {
        let who = identity();
        let out = outgoing(1, &(0..30).map(|_| Some(noise(60_000))).collect::<Vec<_>>());
        let batch = packed(&out, &who, 200, false).unwrap();
        // Noise in hex packs to half.
        assert!((4..=8).contains(&batch.rows), "{}", batch.rows);
        assert_eq!(taken(&batch, &who).records, out.records[..batch.rows]);
        let one = packed(&out, &who, 1, false).unwrap();
        assert_eq!((one.rows, taken(&one, &who).records), (1, out.records[..1].to_vec()));
    }

    #[test]
    fn one_that_is_too_large_alone_goes_without_its_body() {
        let who = identity();
        let out = outgoing(1, &[Some(noise(900_000)), Some("{}".into())]);
        let batch = packed(&out, &who, 200, false).unwrap();
        assert_eq!((batch.rows, taken(&batch, &who).records), (1, vec![Record { body: None, ..out.records[0].clone() }]));
        let small = outgoing(1, &[Some("{}".into()), Some("{}".into())]);
        let batch = packed(&small, &who, 1, true).unwrap();
        assert_eq!(taken(&batch, &who).records[0].body, None, "a collector has asked for that");
        let mut endless = outgoing(1, &[None]);
        endless.records[0].incident = noise(3 << 20);
        endless.hash = endless.records[0].follows(&endless.before).unwrap();
        assert!(matches!(packed(&endless, &who, 200, false), Err(BatchError::TooLarge(1))));
    }

    #[test]
    fn only_what_can_be_proven_is_sent() {
        let who = identity();
        let whole = outgoing(1, &vec![Some("{}".to_owned()); 3]);
        let mut body = whole.clone();
        body.records[1].body = Some("{ }".into());
        let batch = packed(&body, &who, 200, false).unwrap();
        assert_eq!(taken(&batch, &who).records[1].body, None, "another body than the one that was hashed");
        for damage in [
            |out: &mut Outgoing| out.records[1].kind = "closed".into(),
            |out: &mut Outgoing| out.records[1].body_hash = "no hash".into(),
            |out: &mut Outgoing| out.before = [0; 32],
            |out: &mut Outgoing| drop(out.records.remove(1)),
        ] {
            let mut out = whole.clone();
            damage(&mut out);
            assert!(matches!(packed(&out, &who, 200, false), Err(BatchError::Damaged { .. })));
        }
        assert!(matches!(
            packed(&Outgoing { records: Vec::new(), ..whole }, &who, 200, false),
            Err(BatchError::Empty | BatchError::Damaged { .. })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn every_record_goes_in_order_and_whole(sizes in proptest::collection::vec(0..90_000_usize, 1..25), most in 1..30_usize) {
            let who = identity();
            let bodies: Vec<_> = sizes.iter().map(|n| (n % 7 != 0).then(|| noise(*n))).collect();
            let mut out = outgoing(1, &bodies);
            let rows = out.records.clone();
            let mut arrived = Vec::new();
            while !out.records.is_empty() {
                let batch = packed(&out, &who, most, false).unwrap();
                prop_assert!(batch.rows >= 1 && batch.rows <= most);
                let events = taken(&batch, &who);
                out.before = unhex(&events.head.hash).unwrap();
                out.records.drain(..batch.rows);
                arrived.extend(events.records);
            }
            prop_assert_eq!(arrived, rows);
        }
    }
}
