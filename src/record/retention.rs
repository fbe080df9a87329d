//! The record stays small: evidence of the oldest closed incidents goes first, then those incidents, then newer evidence.

use super::RecordError;
use super::store::Store;
use crate::model::{Body, Now};

/// Seconds for which an act is remembered at least: longer than any cooldown.
const KEEP_S: f64 = 30.0 * 86_400.0;
/// Bodies dropped in one transaction.
const BATCH: usize = 1000;

impl Store {
    /// Brings the record under its bound. Open incidents, pauses and what cooldowns ask for stay.
    pub(super) fn retain(&mut self, now: &Now) -> Result<(), RecordError> {
        self.drop_evidence(self.limits.incidents, now)?;
        if self.too_large() {
            self.cut_oldest(now)?;
        }
        self.drop_evidence(0, now)
    }

    fn too_large(&self) -> bool {
        self.chain.used_bytes() > self.limits.bytes
    }

    /// Of closed incidents, without the `newest` ones.
    fn drop_evidence(&mut self, newest: u64, now: &Now) -> Result<(), RecordError> {
        while self.too_large() {
            let too_much = self.chain.used_bytes() - self.limits.bytes;
            let oldest = || -> rusqlite::Result<Vec<(i64, i64)>> {
                let mut rows = self.chain.conn.prepare(
                    "SELECT c.seq, length(c.body) FROM chain c JOIN incidents i ON i.id = c.incident
                     WHERE i.closed = 1 AND c.kind = ?1 AND c.body IS NOT NULL
                       AND i.id NOT IN (SELECT id FROM incidents ORDER BY first_seq DESC LIMIT ?2)
                     ORDER BY c.seq LIMIT ?3",
                )?;
                let rows = rows.query_map((Body::EVIDENCE, newest.cast_signed(), BATCH as i64), |r| Ok((r.get(0)?, r.get(1)?)))?;
                rows.collect()
            };
            let mut freed = 0;
            let mut seqs = Vec::new();
            for (seq, size) in oldest().map_err(self.chain.sqlite())? {
                if freed > too_much {
                    break;
                }
                freed += size.cast_unsigned();
                seqs.push(seq.cast_unsigned());
            }
            if seqs.is_empty() {
                return Ok(());
            }
            self.chain.drop_bodies(seqs, now)?;
        }
        Ok(())
    }

    /// Cuts off everything before the oldest incident that is kept.
    fn cut_oldest(&mut self, now: &Now) -> Result<(), RecordError> {
        let needed = |at: &Now, settled: bool| !settled || now.proven_since(at).0 < KEEP_S;
        let first = self.chain.conn.query_row(
            "SELECT min(first_seq) FROM incidents
             WHERE closed = 0 OR id IN (SELECT id FROM incidents ORDER BY first_seq DESC LIMIT ?1)",
            [self.limits.incidents.cast_signed()],
            |r| r.get::<_, Option<i64>>(0),
        );
        let Some(mut first) = first.map_err(self.chain.sqlite())? else { return Ok(()) };
        for (act, settled) in self.index.acts() {
            if needed(&act.at, settled) {
                let begins =
                    self.chain.conn.query_row("SELECT first_seq FROM incidents WHERE id = ?1", [&act.incident.0], |r| r.get::<_, i64>(0));
                first = first.min(begins.map_err(self.chain.sqlite())?);
            }
        }
        if first.cast_unsigned() <= self.chain.first() {
            return Ok(());
        }
        // What belongs to no incident and still holds is said once more behind the cut.
        for pause in self.pauses(now) {
            self.pause_again(pause, now)?;
        }
        self.chain.cut(first.cast_unsigned(), now, |tx| tx.execute("DELETE FROM incidents WHERE first_seq < ?1", [first]).map(drop))?;
        self.index.forget(|act, settled| needed(&act.at, settled));
        Ok(())
    }
}
