//! What could not be seen or is old, and what is left of the trust in the rest: every entry takes its part.

use super::class::Class;
use super::evidence::Evidence;
use crate::model::{Now, Observed, Seconds};

pub(super) struct Doubts {
    pub said: Vec<String>,
    /// 0..1.
    pub trust: f64,
}

/// Only what a class of this kind rests on is asked for.
pub(super) fn doubts(evidence: &Evidence, class: Class, now: &Now) -> Doubts {
    let e = evidence;
    let mut doubts = Doubts { said: Vec::new(), trust: 1.0 };
    // The boot clock counts: a wall clock that jumps ages nothing.
    let since = now.steady_since(&e.taken).unwrap_or_else(|| now.at_most_since(&e.taken).0);
    doubts.part("evidence", &Observed::Value { value: (), age_s: since }, 0.0);
    doubts.part("filesystem", &e.mount, 0.5);
    match class {
        Class::FilesystemFault => return doubts,
        Class::IoBound => {
            // Each of these is a witness of its own and has lowered the confidence by not saying yes.
            doubts.part("device counters", &e.io.busy, 1.0);
            doubts.part("io pressure", &e.io.pressure, 1.0);
            doubts.part("writers", &e.writers, 1.0);
            return doubts;
        }
        _ => {}
    }
    doubts.part("usage", &e.usage, 0.0);
    doubts.gaps("largest consumers", &e.scan, 0.5, |scan| {
        let unseen: Vec<String> = scan.not_seen.iter().map(|n| format!("{} {}", n.count, n.why)).collect();
        match (scan.complete, unseen.is_empty()) {
            (false, _) => Some((format!("not the whole tree was seen: {}", unseen.join(", ")), 0.85)),
            (true, false) => Some((unseen.join(", "), 0.98)),
            (true, true) => None,
        }
    });
    doubts.gaps("deleted files still open", &e.held, 0.9, |held| {
        (held.unreadable_processes > 0).then(|| (format!("{} processes could not be read", held.unreadable_processes), 0.98))
    });
    doubts.part("writers", &e.writers, 0.95);
    doubts.part("growth", &e.growth, 0.97);
    doubts.part("tmpfiles.d exceptions", &e.tmp_exclusions, 0.97);
    doubts.part("journal", &e.journal_active, 0.98);
    doubts.part("container images", &e.images, 0.98);
    if e.mount.value().is_some_and(|m| ["/dev/mapper/", "/dev/dm-"].iter().any(|dm| m.source.as_bytes().starts_with(dm.as_bytes()))) {
        doubts.part("volume", &e.volume, 0.98);
    }
    for holder in &e.holder_units {
        doubts.part(&format!("unit of pid {}", holder.pid), &holder.unit, 0.98);
    }
    for ratio in &e.compress_ratios {
        doubts.part(&format!("compression of {}", ratio.path), &ratio.ratio, 0.99);
    }
    doubts
}

impl Doubts {
    fn say(&mut self, what: &str, why: &str, worth: f64) {
        self.said.push(format!("{what}: {why}"));
        self.trust *= worth;
    }

    fn part<T>(&mut self, what: &str, part: &Observed<T>, without: f64) {
        self.gaps(what, part, without, |_| None);
    }

    /// `without` is what the evidence is worth when this part is missing. Known with gaps, or old, it is never worth less than that.
    fn gaps<T>(&mut self, what: &str, part: &Observed<T>, without: f64, gap: impl Fn(&T) -> Option<(String, f64)>) {
        let (value, age_s) = match part {
            Observed::Unavailable { why } => return self.say(what, why, without),
            Observed::Value { value, age_s } => (value, *age_s),
        };
        let mut worth = freshness(age_s);
        let mut why = Vec::new();
        if worth < 1.0 {
            why.push(format!("{} old", Seconds(age_s)));
        }
        if let Some((gap, factor)) = gap(value) {
            why.push(gap);
            worth *= factor;
        }
        if !why.is_empty() {
            self.say(what, &why.join(", "), worth.max(without));
        }
    }
}

/// 1 for what was read within half a minute, falling to 0 at ten minutes. An age that is not a number is no age to trust.
fn freshness(age_s: f64) -> f64 {
    if age_s.is_nan() { 0.0 } else { (1.0 - (age_s - 30.0) / 570.0).clamp(0.0, 1.0) }
}
