//! One host's record, row by row, against what the collector has acknowledged and what the host has signed. Pure.
//!
//! Rows before a gap are not proven: the hash that they led to went with the rows that the host dropped. Their bodies are compared all the
//! same.

use openssl::pkey::{Id, PKey};
use openssl::sign::Verifier;

use crate::wire::chain::Hash;
use crate::wire::collector::{Record, SignedHead, hex};

/// What the row of `streams` and the one of `agents` say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) agent_id: String,
    pub(super) stream: String,
    /// Empty where the agent is not known.
    pub(super) public_key: Vec<u8>,
    pub(super) acked_through: u64,
    pub(super) head_hash: Vec<u8>,
    pub(super) gap: Option<(u64, Vec<u8>)>,
    pub(super) signed_through: u64,
    pub(super) signed_hash: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// Where it breaks, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) row: u64,
    pub(super) why: String,
}

fn broken(row: u64, why: impl Into<String>) -> Broken {
    Broken { row, why: why.into() }
}

#[derive(Debug)]
pub(super) struct Walk<'a> {
    claimed: &'a Claimed,
    /// The newest row that was taken, and what it leads to; `None` before a gap.
    last: u64,
    hash: Option<Hash>,
    /// What the rows lead to where the host has signed.
    at_signed: Option<Hash>,
    pub(super) rows: u64,
    /// Rows before the gap.
    pub(super) unproven: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(claimed: &'a Claimed) -> Result<Self, Broken> {
        let Claimed { acked_through, gap, .. } = claimed;
        let hash = match gap {
            None => Some([0; 32]),
            Some((first, hash)) if *first < 2 || first > acked_through || hash.len() != 32 => {
                return Err(broken(*first, "the gap that is written down here cannot be one"));
            }
            Some(_) => None,
        };
        Ok(Self { claimed, last: 0, hash, at_signed: None, rows: 0, unproven: 0 })
    }

    /// Rows come in the order of their numbers.
    pub(super) fn take(&mut self, row: &Record) -> Result<(), Broken> {
        self.rows += 1;
        let before = match &self.claimed.gap {
            Some((first, _)) if row.seq < *first => {
                self.unproven += 1;
                self.last = row.seq;
                return match row.seq > 0 && row.follows(&[0; 32]).is_some() {
                    true => Ok(()),
                    false => Err(broken(row.seq, "its body is not the one that was hashed")),
                };
            }
            Some((first, hash)) if self.hash.is_none() => {
                if row.seq != *first {
                    return Err(broken(*first, "it is missing, and it is the first one behind the gap"));
                }
                hash.as_slice().try_into().unwrap_or([0; 32])
            }
            _ if row.seq != self.last + 1 => return Err(broken(self.last + 1, "it is missing")),
            _ => self.hash.unwrap_or([0; 32]),
        };
        if row.seq > self.claimed.acked_through {
            return Err(broken(row.seq, "it was never acknowledged"));
        }
        let Some(hash) = row.follows(&before) else { return Err(broken(row.seq, "its body is not the one that was hashed")) };
        (self.last, self.hash) = (row.seq, Some(hash));
        if row.seq == self.claimed.signed_through {
            self.at_signed = Some(hash);
        }
        Ok(())
    }

    /// Behind the last row.
    pub(super) fn end(&self) -> Result<(), Broken> {
        let Claimed { acked_through, head_hash, signed_through, signed_hash, .. } = self.claimed;
        let last = if self.hash.is_none() { 0 } else { self.last };
        if last != *acked_through {
            let missing = self.claimed.gap.as_ref().map_or(last + 1, |(first, _)| (last + 1).max(*first));
            return Err(broken(missing, format!("it is missing: everything up to {acked_through} was acknowledged")));
        }
        if self.hash.is_none_or(|hash| hash.as_slice() != head_hash) {
            return Err(broken(last, "a row up to here is not the one that was acknowledged"));
        }
        if self.rows == 0 && *signed_through == 0 {
            return Ok(());
        }
        // One of another row would let those that are here be another history.
        if self.rows > 0 && signed_through != acked_through {
            return Err(broken(last, "it is the last one, and the host's signature is not of it"));
        }
        self.signature()?;
        match self.at_signed {
            Some(hash) if hash.as_slice() != signed_hash => {
                Err(broken(*signed_through, "a row up to here is not the one that the host has signed"))
            }
            // None: before the gap, or not here yet.
            _ => Ok(()),
        }
    }

    fn signature(&self) -> Result<(), Broken> {
        let Claimed { agent_id, stream, public_key, signed_through, signed_hash, signature, .. } = self.claimed;
        let text = SignedHead::text(agent_id, stream, *signed_through, &hex(signed_hash));
        let genuine = PKey::public_key_from_raw_bytes(public_key, Id::ED25519).and_then(|key| {
            let mut verifier = Verifier::new_without_digest(&key)?;
            verifier.verify_oneshot(signature, text.as_bytes())
        });
        // A key or a signature that is none is an error of OpenSSL's.
        match genuine {
            Ok(true) => Ok(()),
            _ => Err(broken(*signed_through, "the signature is not this host's")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_file::{agent, chain, key, public_key, signed};
    use super::*;
    use proptest::prelude::*;

    /// Rows 1 to `rows`, acknowledged and signed.
    fn made(rows: u64) -> (Claimed, Vec<Record>) {
        let (agent_id, stream) = (agent("a"), "s".to_owned());
        let (rows, head_hash) = chain(rows, &[0; 32], 1);
        let seq = rows.len() as u64;
        let signature = signed(&key("a"), &agent_id, &stream, seq, &head_hash);
        let head_hash = head_hash.to_vec();
        let public_key = public_key("a");
        let signed_hash = head_hash.clone();
        (
            Claimed { agent_id, stream, public_key, acked_through: seq, head_hash, gap: None, signed_through: seq, signed_hash, signature },
            rows,
        )
    }

    fn walked(claimed: &Claimed, rows: &[Record]) -> Result<(u64, u64), Broken> {
        let mut walk = Walk::new(claimed)?;
        rows.iter().try_for_each(|row| walk.take(row))?;
        walk.end().map(|()| (walk.rows, walk.unproven))
    }

    #[test]
    fn a_record_is_whole_when_its_last_row_is_signed() {
        let (claimed, rows) = made(9);
        assert_eq!(walked(&claimed, &rows), Ok((9, 0)));
        for another in [4, 12] {
            let Claimed { signed_through, signed_hash, signature, .. } = made(another).0;
            let not_of_it = Claimed { signed_through, signed_hash, signature, ..claimed.clone() };
            assert_eq!(walked(&not_of_it, &rows).unwrap_err().row, 9, "signed at {another}");
        }
        // Whoever can write here makes up another history, shorter by a row, under the old signature.
        let (forged, head) = chain(8, &[0; 32], 2);
        assert!(walked(&Claimed { acked_through: 8, head_hash: head.to_vec(), ..claimed }, &forged).is_err());
        let (none, _) = made(0);
        let none = Claimed { signed_through: 0, signed_hash: vec![], signature: vec![], ..none };
        assert_eq!(walked(&none, &[]), Ok((0, 0)));
    }

    #[test]
    fn what_lies_before_a_gap_is_not_proven_and_what_lies_behind_it_is() {
        let (claimed, rows) = made(9);
        let before: Hash = rows[..6].iter().fold([0; 32], |hash, row| row.follows(&hash).unwrap());
        let gap = Claimed { gap: Some((7, before.to_vec())), ..claimed.clone() };
        assert_eq!(walked(&gap, &rows[6..]), Ok((3, 0)));
        assert_eq!(walked(&gap, &[&rows[..2], &rows[6..]].concat()), Ok((5, 2)));
        assert_eq!(walked(&gap, &rows[7..]).unwrap_err().row, 7);
        assert_eq!(walked(&gap, &rows[..2]).unwrap_err().row, 7);
        assert!(walked(&Claimed { gap: Some((6, before.to_vec())), ..claimed.clone() }, &rows[6..]).is_err());
        assert!(walked(&Claimed { gap: Some((10, before.to_vec())), ..claimed.clone() }, &rows).is_err());
        let mut other = before;
        other[0] ^= 1;
        assert!(walked(&Claimed { gap: Some((7, other.to_vec())), ..gap }, &rows[6..]).is_err());
    }

    #[test]
    fn a_record_that_was_made_anew_is_not_the_one_that_was_signed() {
        let (claimed, rows) = made(9);
        let (changed, head_hash) = chain(9, &[0; 32], 2);
        assert_ne!(changed, rows);
        let all_new = Claimed { head_hash: head_hash.to_vec(), ..claimed.clone() };
        assert!(walked(&all_new, &changed).unwrap_err().why.contains("signed"));
        let with_hash = Claimed { signed_hash: head_hash.to_vec(), ..all_new.clone() };
        assert!(walked(&with_hash, &changed).unwrap_err().why.contains("signature"));
        // Even by somebody who has a key: it is not this host's.
        let signature = signed(&key("b"), &claimed.agent_id, "s", 9, &head_hash);
        assert!(walked(&Claimed { signature, ..with_hash }, &changed).is_err());
        let unsigned = Claimed { signed_through: 0, signed_hash: vec![], signature: vec![], ..all_new };
        assert!(walked(&unsigned, &changed).unwrap_err().why.contains("signature"));
    }

    proptest! {
        #[test]
        fn whatever_is_dropped_swapped_or_cut_off_is_found(count in 2..12_u64, first in 0..12_usize, second in 0..12_usize) {
            let (claimed, rows) = made(count);
            let (first, second) = (first % rows.len(), second % rows.len());
            let mut dropped = rows.clone();
            let gone = dropped.remove(first);
            prop_assert_eq!(walked(&claimed, &dropped).unwrap_err().row, gone.seq);
            prop_assert!(walked(&claimed, &rows[..first]).is_err());
            if first != second {
                let mut swapped = rows.clone();
                swapped.swap(first, second);
                // As a table would hold them: each number where it belongs, the rest exchanged.
                (swapped[first].seq, swapped[second].seq) = (rows[first].seq, rows[second].seq);
                prop_assert!(walked(&claimed, &swapped).is_err());
            }
        }
    }
}
