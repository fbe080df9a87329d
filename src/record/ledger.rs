//! The actuator's own book: what it began, what came of it, and what it refused.
//!
//! An act is written down before it is done ([`Ledger::begin`] returns only when that is durable), and carried out at most
//! once for its intent. After a crash an intent without an effect is [`IntentOutcome::Open`]: to be looked at, never repeated.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RecordError;
use super::book::{Fold, Row};
use super::chain::{Chain, OpenReport};
use crate::guard::PastAct;
use crate::model::{Effect, EffectState, IntentId, Now, Observed, Refusal};
use crate::wire::actuator::IntentOutcome;

/// Rows older than everything that still matters are cut off beyond this size.
const MAX_BYTES: u64 = 64 << 20;
/// Seconds for which an ended act is kept at least: longer than any cooldown.
const KEEP_S: f64 = 30.0 * 86_400.0;
/// Refusals written down per hour; a peer that only knocks must not be able to fill the disk.
const REFUSALS_PER_HOUR: usize = 500;
/// Of why something was refused, in characters.
const LONGEST_DETAIL: usize = 500;

#[derive(Debug)]
pub struct Ledger {
    chain: Chain,
    acts: Acts,
    report: OpenReport,
}

#[derive(Debug, Default)]
struct Acts {
    begun: BTreeMap<IntentId, Act>,
    refused: BTreeMap<IntentId, (Refusal, Now)>,
}

#[derive(Debug)]
struct Act {
    seq: u64,
    past: PastAct,
    notes: Vec<serde_json::Value>,
    effect: Option<Effect>,
    undone: Option<Effect>,
}

impl Act {
    /// It lasts until it is taken back, and was not. Of one whose end is not known that is assumed.
    fn stands(&self) -> bool {
        let done = self.effect.as_ref().is_none_or(|effect| effect.state != EffectState::Failed && effect.done > 0);
        self.past.kind.is_standing() && self.undone.is_none() && done
    }
}

/// One row of the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begun(PastAct),
    Note { intent: IntentId, note: serde_json::Value },
    Ended { intent: IntentId, effect: Effect },
    Refused { intent: IntentId, refusal: Refusal },
    Undone { intent: IntentId, effect: Effect },
}

impl Line {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Begun(_) => "begun",
            Self::Note { .. } => "note",
            Self::Ended { .. } => "ended",
            Self::Refused { .. } => "refused",
            Self::Undone { .. } => "undone",
        }
    }
}

impl Fold for Acts {
    const TABLES: &'static str = "";

    fn take(&mut self, row: &Row) -> Result<(), String> {
        let body = row.body.as_deref().ok_or("it has no body")?;
        let line = serde_json::from_str(body).map_err(|e| e.to_string())?;
        match self.apply(row.seq, row.at.as_ref(), line) {
            // Its beginning was cut off; nothing asks for it any more.
            Err(RecordError::NotBegun(_)) => Ok(()),
            other => other.map_err(|e| e.to_string()),
        }
    }
}

impl Acts {
    /// Whether the line may follow what is there.
    fn admit(&self, line: &Line) -> Result<(), RecordError> {
        let act = |intent: &IntentId| self.begun.get(intent).ok_or_else(|| RecordError::NotBegun(intent.clone()));
        match line {
            Line::Begun(past) if self.begun.contains_key(&past.intent) => Err(RecordError::AlreadyBegun(past.intent.clone())),
            Line::Begun(_) => Ok(()),
            Line::Refused { intent, .. } if self.begun.contains_key(intent) => Err(RecordError::AlreadyBegun(intent.clone())),
            Line::Refused { .. } => Ok(()),
            Line::Note { intent, .. } => act(intent).map(drop),
            Line::Ended { intent, .. } if act(intent)?.effect.is_some() => Err(RecordError::AlreadyEnded(intent.clone())),
            Line::Ended { .. } => Ok(()),
            Line::Undone { intent, .. } if act(intent)?.effect.is_none() => Err(RecordError::NotEnded(intent.clone())),
            Line::Undone { .. } => Ok(()),
        }
    }

    fn apply(&mut self, seq: u64, at: Option<&Now>, line: Line) -> Result<(), RecordError> {
        self.admit(&line)?;
        match line {
            Line::Begun(past) => {
                self.refused.remove(&past.intent);
                self.begun.insert(past.intent.clone(), Act { seq, past, notes: Vec::new(), effect: None, undone: None });
            }
            Line::Refused { intent, refusal } => {
                if let Some(at) = at {
                    self.refused.insert(intent, (refusal, at.clone()));
                }
            }
            Line::Note { intent, note } => {
                if let Some(act) = self.begun.get_mut(&intent) {
                    act.notes.push(note);
                }
            }
            Line::Ended { intent, effect } => {
                if let Some(act) = self.begun.get_mut(&intent) {
                    act.effect = Some(effect);
                }
            }
            Line::Undone { intent, effect } => {
                if let Some(act) = self.begun.get_mut(&intent) {
                    act.undone = Some(effect);
                }
            }
        }
        Ok(())
    }
}

impl Ledger {
    /// Opens `dir/ledger.db`, or begins one.
    ///
    /// # Errors
    /// When the folder is not ours alone, another process has the ledger, or there is no room. A damaged ledger is set
    /// aside and a new one begun; [`Self::report`] says so, and [`Self::health`] stays `Unavailable` until [`Self::trust`].
    pub fn open(dir: &Path) -> Result<Self, RecordError> {
        let (chain, acts, report) = Chain::open::<Acts>(dir, "ledger")?;
        Ok(Self { chain, acts, report })
    }

    /// What was found at opening.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Rows in the ledger; `Unavailable` says why nothing may be done now, and what to do about it.
    pub fn health(&self) -> Observed<u64> {
        self.chain.health()
    }

    /// Writes down that this act is about to be done. Durable when it returns; only then may it be done.
    ///
    /// # Errors
    /// `AlreadyBegun` for a second time of the same intent, `NoRoom`, or `Untrusted`: in all cases, do not act.
    pub fn begin(&mut self, act: &PastAct) -> Result<(), RecordError> {
        if let Some(why) = self.chain.untrusted() {
            return Err(RecordError::Untrusted(why));
        }
        self.cut(&act.at)?;
        let (incident, at) = (act.incident.0.clone(), act.at.clone());
        self.put(&incident, Some(&at), Line::Begun(act.clone()))
    }

    /// Keeps something that an undo or a look after a crash needs. Durable when it returns.
    ///
    /// # Errors
    /// When the intent was not begun, or there is no room.
    pub fn note(&mut self, intent: &IntentId, note: &serde_json::Value) -> Result<(), RecordError> {
        self.put_for(intent, None, Line::Note { intent: intent.clone(), note: note.clone() })
    }

    /// What an act did.
    ///
    /// # Errors
    /// When the intent was not begun or has ended already, or there is no room: the intent stays open then.
    pub fn end(&mut self, intent: &IntentId, effect: &Effect) -> Result<(), RecordError> {
        self.put_for(intent, Some(&effect.ended), Line::Ended { intent: intent.clone(), effect: effect.clone() })
    }

    /// That an intent was refused, so that a later question is not answered with `Unknown`. Beyond 500 an hour it is only
    /// remembered, not written.
    ///
    /// # Errors
    /// When the intent was begun, or there is no room.
    pub fn refused(&mut self, intent: &IntentId, at: &Now, refusal: &Refusal) -> Result<(), RecordError> {
        self.acts.refused.retain(|_, (_, then)| at.proven_since(then).0 < KEEP_S);
        self.cut(at)?;
        // A taken-over agent may choose what is refused, and so what is said of it.
        let detail = refusal.detail.chars().take(LONGEST_DETAIL).collect::<String>();
        let refusal = &Refusal::new(refusal.reason, detail);
        let line = Line::Refused { intent: intent.clone(), refusal: refusal.clone() };
        let known = self.acts.refused.get(intent).is_some_and(|(r, _)| r == refusal);
        let recent = self.acts.refused.values().filter(|(_, then)| at.proven_since(then).0 < 3600.0).count();
        if known || recent >= REFUSALS_PER_HOUR {
            return self.acts.admit(&line);
        }
        self.put("", Some(at), line)
    }

    /// That an act was taken back, as far as it could be.
    ///
    /// # Errors
    /// When the intent has no effect yet, or there is no room.
    pub fn undone(&mut self, intent: &IntentId, effect: &Effect) -> Result<(), RecordError> {
        self.put_for(intent, Some(&effect.ended), Line::Undone { intent: intent.clone(), effect: effect.clone() })
    }

    pub fn outcome(&self, intent: &IntentId) -> IntentOutcome {
        match self.acts.begun.get(intent) {
            Some(Act { undone: Some(effect), .. }) => IntentOutcome::Undone(effect.clone()),
            Some(Act { effect: Some(effect), .. }) => IntentOutcome::Done(effect.clone()),
            Some(_) => IntentOutcome::Open,
            None => self.acts.refused.get(intent).map_or(IntentOutcome::Unknown, |(r, _)| IntentOutcome::Refused(r.clone())),
        }
    }

    /// Every act that was begun, in no particular order. Figures are the effect's once it is known, the planned ones before.
    pub fn past(&self) -> Vec<PastAct> {
        let real = |act: &Act| match &act.effect {
            Some(effect) => PastAct { files: effect.done, bytes: effect.freed, ..act.past.clone() },
            None => act.past.clone(),
        };
        self.acts.begun.values().map(real).collect()
    }

    /// Acts that last until they are taken back, and were not: in the order in which they were begun.
    pub fn standing(&self) -> Vec<IntentId> {
        let mut standing: Vec<&Act> = self.acts.begun.values().filter(|act| act.stands()).collect();
        standing.sort_by_key(|act| act.seq);
        standing.into_iter().map(|act| act.past.intent.clone()).collect()
    }

    /// What was noted for an intent, in order.
    pub fn notes(&self, intent: &IntentId) -> Vec<serde_json::Value> {
        self.acts.begun.get(intent).map_or_else(Vec::new, |act| act.notes.clone())
    }

    /// A person says that acting may go on although the ledger before this one is lost, and with it its caps and cooldowns.
    ///
    /// # Errors
    /// When there is no room to write that down.
    pub fn trust(&mut self, by: &str, at: &Now) -> Result<(), RecordError> {
        self.chain.trust(by, Some(at))
    }

    fn put_for(&mut self, intent: &IntentId, at: Option<&Now>, line: Line) -> Result<(), RecordError> {
        let incident = self.acts.begun.get(intent).map_or_else(String::new, |act| act.past.incident.0.clone());
        self.put(&incident, at, line)
    }

    fn put(&mut self, incident: &str, at: Option<&Now>, line: Line) -> Result<(), RecordError> {
        self.acts.admit(&line)?;
        let seq = self.chain.append(incident, line.kind(), at, &serde_json::to_string(&line)?, |_, _| Ok(()))?;
        self.acts.apply(seq, at, line)
    }

    /// Cuts off what no cap, cooldown or undo asks for any more, once the ledger is too large.
    fn cut(&mut self, now: &Now) -> Result<(), RecordError> {
        if self.chain.used_bytes() < MAX_BYTES {
            return Ok(());
        }
        let needed = |act: &Act| act.effect.is_none() || act.stands() || now.proven_since(&act.past.at).0 < KEEP_S;
        let first = self.acts.begun.values().filter(|a| needed(a)).map(|a| a.seq).min().unwrap_or(self.chain.rows());
        self.chain.cut(first, now, |_| Ok(()))?;
        self.acts.begun.retain(|_, act| act.seq >= first);
        Ok(())
    }
}
