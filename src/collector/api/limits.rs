//! How often somebody may ask: so many at once, and so many a second after that.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    per_s: f64,
    burst: f64,
}

/// Of all hosts together: who asks is not known yet.
const ENROL: Rate = Rate { per_s: 20.0, burst: 100.0 };
const EVENTS: Rate = Rate { per_s: 5.0, burst: 20.0 };
const HEARTBEATS: Rate = Rate { per_s: 1.0, burst: 10.0 };

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

impl Bucket {
    const fn full(rate: Rate, now: Timestamp) -> Self {
        Self { left: rate.burst, at: now }
    }

    /// Pure but for what it keeps.
    ///
    /// # Errors
    /// Whole seconds after which there is something again.
    fn take(&mut self, rate: Rate, now: Timestamp) -> Result<(), u64> {
        // A clock that was set back gives nothing, and takes nothing either.
        let passed = (now.as_millisecond() - self.at.as_millisecond()).max(0) as f64 / 1000.0;
        self.left = (self.left + passed * rate.per_s).min(rate.burst);
        self.at = now;
        if self.left < 1.0 {
            return Err(((1.0 - self.left) / rate.per_s).ceil().max(1.0) as u64);
        }
        self.left -= 1.0;
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Limits {
    enrol: Mutex<Bucket>,
    /// Only of agents that have proven who they are, so there are never more than were let in.
    agents: Mutex<HashMap<String, OfAgent>>,
}

#[derive(Debug)]
struct OfAgent {
    events: Bucket,
    heartbeats: Bucket,
}

impl Limits {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { enrol: Mutex::new(Bucket::full(ENROL, now)), agents: Mutex::default() }
    }

    pub(super) fn enrol(&self, now: Timestamp) -> Result<(), u64> {
        self.enrol.lock().unwrap_or_else(PoisonError::into_inner).take(ENROL, now)
    }

    pub(super) fn events(&self, agent_id: &str, now: Timestamp) -> Result<(), u64> {
        self.of(agent_id, now, |agent| agent.events.take(EVENTS, now))
    }

    pub(super) fn heartbeats(&self, agent_id: &str, now: Timestamp) -> Result<(), u64> {
        self.of(agent_id, now, |agent| agent.heartbeats.take(HEARTBEATS, now))
    }

    fn of(&self, agent_id: &str, now: Timestamp, take: impl FnOnce(&mut OfAgent) -> Result<(), u64>) -> Result<(), u64> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        match agents.get_mut(agent_id) {
            Some(agent) => take(agent),
            None => {
                let new = OfAgent { events: Bucket::full(EVENTS, now), heartbeats: Bucket::full(HEARTBEATS, now) };
                take(agents.entry(agent_id.to_owned()).or_insert(new))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + ms).unwrap()
    }

    #[test]
    fn so_many_at_once_and_so_many_a_second_after_that() {
        let limits = Limits::new(at(0));
        assert_eq!((0..30).filter(|_| limits.events("a", at(0)).is_ok()).count(), 20);
        assert_eq!(limits.events("a", at(0)), Err(1));
        assert_eq!((0..30).filter(|_| limits.events("a", at(1000)).is_ok()).count(), 5);
        assert_eq!((0..30).filter(|_| limits.events("a", at(1_000_000)).is_ok()).count(), 20, "no more than a burst is saved");
        assert_eq!((0..30).filter(|_| limits.events("b", at(0)).is_ok()).count(), 20, "another's are another's");
        assert_eq!((0..30).filter(|_| limits.heartbeats("a", at(0)).is_ok()).count(), 10);
        assert_eq!((0..200).filter(|_| limits.enrol(at(0)).is_ok()).count(), 100);
        assert_eq!((0..200).filter(|_| limits.enrol(at(1000)).is_ok()).count(), 20);
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let limits = Limits::new(at(0));
        while limits.heartbeats("a", at(900_000)).is_ok() {}
        assert_eq!(limits.heartbeats("a", at(0)), Err(1));
        assert_eq!(limits.heartbeats("a", at(1000)), Ok(()));
    }
}
