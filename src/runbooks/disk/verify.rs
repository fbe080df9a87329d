//! Whether it helped: what was seen before against what is seen now.

use super::Params;
use super::evidence::Evidence;
use super::need::Need;
use super::signals::IO;
use crate::model::{AfterStep, Bytes, FsUsage, Observed, Percent, Seconds, Verdict};

/// Usage that rises by more than this over a step is filled faster than steps free it.
const WORSE: Percent = Percent(2.0);
/// Growth under this share of the filesystem, between two looks, is what any host writes.
const NOISE: f64 = 0.0005;

pub(super) fn after_step(before: &Evidence, after: &Evidence, params: &Params) -> AfterStep {
    if let Some(why) = not_comparable(before, after) {
        return AfterStep::Abort { why };
    }
    let (Some(was), Some(is)) = (before.usage.value(), after.usage.value()) else {
        return AfterStep::Abort { why: "how full it is now cannot be read".into() };
    };
    let Some(need) = need_after(before, is, params) else {
        return AfterStep::Abort { why: "how fast it fills is not known".into() };
    };
    let moved = format!("usage {} -> {}", percent(was), percent(is));
    if need.is_met() {
        return AfterStep::Enough { why: format!("{moved}: nothing more must go") };
    }
    let worse = was.used_percent().zip(is.used_percent()).is_some_and(|(was, is)| is.0 > was.0 + WORSE.0);
    if worse {
        return AfterStep::Abort { why: format!("{moved}: it fills faster than steps free") };
    }
    let left = if need.bytes > 0 { Bytes(need.bytes).to_string() } else { format!("{} inodes", need.inodes) };
    AfterStep::Continue { why: format!("{moved}: another {left} must go") }
}

/// Called twice: with the evidence of the diagnosis, and once more with that of the first verification, which tells whether it fills again.
pub(super) fn verify(before: &Evidence, after: &Evidence, params: &Params) -> Verdict {
    if let Some(verdict) = fault_or_load(before, after, params) {
        return verdict;
    }
    if let Some(why) = not_comparable(before, after) {
        return Verdict::Unknown { why };
    }
    let (Some(was), Some(is)) = (before.usage.value(), after.usage.value()) else {
        return Verdict::Unknown { why: "how full it is cannot be read".into() };
    };
    let Some(need) = need_after(before, is, params) else {
        return Verdict::Unknown { why: "how fast it fills is not known".into() };
    };
    if need.bytes > 0 {
        return Verdict::NotResolved { why: format!("usage {}, another {} must go", percent(is), Bytes(need.bytes)) };
    }
    if need.inodes > 0 {
        return Verdict::NotResolved { why: format!("{} of inodes free, another {} must go", inodes(is), need.inodes) };
    }
    let met_before = need_after(before, was, params).is_some_and(|n| n.is_met());
    if met_before && let Some(why) = refills(before, after, was, is, params) {
        return Verdict::NotResolved { why };
    }
    Verdict::Resolved { why: format!("usage {} -> {}, {} of inodes free", percent(was), percent(is), inodes(is)) }
}

/// What is still needed, by the measure and the growth that the episode began with: a drop makes every growth measured over it look small.
fn need_after(before: &Evidence, usage: &FsUsage, params: &Params) -> Option<Need> {
    Need::of(usage, before.growth.value(), &before.signals, params)
}

fn only(evidence: &Evidence, kind: &crate::model::SignalKind) -> bool {
    !evidence.signals.is_empty() && evidence.signals.iter().all(|s| s.kind == *kind)
}

/// Faults and load are not cleaned away; that they are gone is seen directly.
fn fault_or_load(before: &Evidence, after: &Evidence, params: &Params) -> Option<Verdict> {
    let faulty = |e: &Evidence| e.stuck_for_s.is_some() || e.refuses_writes || e.mount.value().is_some_and(|m| m.read_only);
    if let Some(for_s) = after.stuck_for_s {
        return Some(Verdict::NotResolved { why: format!("it has not answered for {}", Seconds(for_s)) });
    }
    if faulty(after) {
        return Some(Verdict::NotResolved { why: "it is read-only".into() });
    }
    if after.new_errors > 0 {
        return Some(Verdict::NotResolved { why: format!("{} new errors were counted", after.new_errors) });
    }
    if faulty(before) || before.new_errors > 0 {
        return Some(match (&after.mount, &after.usage) {
            (Observed::Value { .. }, Observed::Value { .. }) => {
                Verdict::Resolved { why: "it answers and is read-write, without new errors".into() }
            }
            (Observed::Unavailable { why }, _) | (_, Observed::Unavailable { why }) => Verdict::Unknown { why: why.clone() },
        });
    }
    only(before, &IO).then(|| match (&after.io.busy, &after.io.pressure) {
        (Observed::Value { value: busy, .. }, Observed::Value { value: pressure, .. }) => {
            let waiting = Percent(pressure.some_avg60);
            let why = format!("busy {busy}, tasks wait {waiting} of the time");
            let below = *busy < params.io_busy_percent && waiting < params.io_pressure_percent;
            if below { Verdict::Resolved { why } } else { Verdict::NotResolved { why } }
        }
        (Observed::Unavailable { why }, _) | (_, Observed::Unavailable { why }) => Verdict::Unknown { why: why.clone() },
    })
}

fn not_comparable(before: &Evidence, after: &Evidence) -> Option<String> {
    match (before.mount.value(), after.mount.value()) {
        (Some(was), Some(is)) if was.device != is.device => Some(format!("{} is another filesystem by now", is.path)),
        (Some(_), Some(is)) if is.read_only => Some(format!("{} is read-only by now", is.path)),
        (Some(_), Some(_)) => None,
        (None, _) => before.mount.why().map(str::to_owned),
        (_, None) => after.mount.why().map(str::to_owned),
    }
}

/// Why it will be too full again within the cooldown, if it goes on as between the two looks.
fn refills(before: &Evidence, after: &Evidence, was: &FsUsage, is: &FsUsage, params: &Params) -> Option<String> {
    let span = after.taken.steady_since(&before.taken).filter(|s| *s >= 1.0)?;
    let reachable = is.used().saturating_add(is.available) as f64;
    let cooldown = params.limits.cooldown;
    let written = is.used() as f64 - was.used() as f64;
    if written > reachable * NOISE {
        let left = (reachable * params.usage_warning_percent.0 / 100.0 - is.used() as f64).max(0.0);
        let again = Seconds(left / (written / span));
        if again < cooldown {
            let rate = Bytes((written / span) as u64);
            return Some(format!("it fills again at {rate}/s and is at {} in {again}", params.usage_warning_percent));
        }
    }
    let made = is.inodes.saturating_sub(is.inodes_free) as f64 - was.inodes.saturating_sub(was.inodes_free) as f64;
    if is.inodes > 0 && made > is.inodes as f64 * NOISE {
        let left = (is.inodes_free as f64 - is.inodes as f64 * params.inodes_low_percent.0 / 100.0).max(0.0);
        let again = Seconds(left / (made / span));
        if again < cooldown {
            return Some(format!("{made} inodes were taken in {}; too few are left in {again}", Seconds(span)));
        }
    }
    None
}

fn percent(usage: &FsUsage) -> String {
    usage.used_percent().map_or_else(|| "unknown".to_owned(), |p| p.to_string())
}

fn inodes(usage: &FsUsage) -> String {
    usage.inodes_free_percent().map_or_else(|| "an uncounted share".to_owned(), |p| p.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FsKind, Mount, Now, Signal};

    const GIB: u64 = 1 << 30;

    fn full(percent: u64) -> FsUsage {
        FsUsage { total: 100 * GIB, free: (100 - percent) * GIB, available: (100 - percent) * GIB, inodes: 1000, inodes_free: 500 }
    }

    fn evidence(at_s: f64, usage: FsUsage) -> Evidence {
        let case = include_str!("../../../fixtures/cases/disk/001-closed-logs-were-never-compressed/evidence.json");
        let mut e: Evidence = serde_json::from_str(case).unwrap();
        e.usage = Observed::fresh(usage);
        e.taken = Now { uptime_s: at_s, ..e.taken };
        e
    }

    fn steps(before: FsUsage, after: FsUsage) -> AfterStep {
        after_step(&evidence(0.0, before), &evidence(60.0, after), &Params::default())
    }

    #[test]
    fn steps_go_on_until_the_floor_and_stop_when_it_gets_worse() {
        assert!(matches!(steps(full(90), full(85)), AfterStep::Continue { .. }));
        assert!(matches!(steps(full(90), full(80)), AfterStep::Continue { .. }), "the signal clears under the floor, not on it");
        assert!(matches!(steps(full(90), full(79)), AfterStep::Enough { .. }));
        assert!(matches!(steps(full(90), full(93)), AfterStep::Abort { .. }));
    }

    #[test]
    fn what_cannot_be_compared_is_neither_enough_nor_resolved() {
        let before = evidence(0.0, full(90));
        let mut other = evidence(60.0, full(50));
        if let Observed::Value { value, .. } = &mut other.mount {
            value.device = 9;
        }
        let unread = Evidence { usage: Observed::unavailable("timeout"), ..evidence(60.0, full(50)) };
        for after in [other, unread] {
            assert!(matches!(after_step(&before, &after, &Params::default()), AfterStep::Abort { .. }));
            assert!(matches!(verify(&before, &after, &Params::default()), Verdict::Unknown { .. }));
        }
    }

    #[test]
    fn resolved_is_under_the_floor_and_staying_there() {
        let (before, first) = (evidence(0.0, full(92)), evidence(100.0, full(79)));
        assert!(matches!(verify(&before, &first, &Params::default()), Verdict::Resolved { .. }));
        assert!(matches!(verify(&before, &evidence(100.0, full(81)), &Params::default()), Verdict::NotResolved { .. }));
        let with = |more: u64| {
            let mut usage = full(79);
            (usage.free, usage.available) = (usage.free - more, usage.available - more);
            verify(&first, &evidence(130.0, usage), &Params::default())
        };
        assert!(matches!(with(0), Verdict::Resolved { .. }));
        assert!(matches!(with(1 << 20), Verdict::Resolved { .. }), "what any host writes");
        assert!(matches!(with(200 << 20), Verdict::NotResolved { .. }), "85 % again in a quarter of an hour");
    }

    #[test]
    fn inodes_are_verified_by_inodes() {
        let few = |free: u64| FsUsage { inodes_free: free, ..full(50) };
        let told = |usage| {
            let mut e = evidence(0.0, usage);
            e.signals = vec![Signal { kind: crate::model::SignalKind::new("inode_exhaustion"), ..e.signals[0].clone() }];
            e
        };
        let before = told(few(10));
        assert!(
            matches!(after_step(&before, &told(few(100)), &Params::default()), AfterStep::Continue { .. }),
            "10 % are not more than 10 %"
        );
        assert!(matches!(verify(&before, &told(few(100)), &Params::default()), Verdict::NotResolved { .. }));
        assert!(matches!(verify(&before, &told(few(101)), &Params::default()), Verdict::Resolved { .. }));
    }

    #[test]
    fn a_fault_is_resolved_when_it_is_gone_and_by_nothing_else() {
        let set = |read_only| {
            let mut e = evidence(0.0, full(50));
            let mount = Mount { read_only, kind: FsKind::Local, ..e.mount.value().unwrap().clone() };
            e.mount = Observed::fresh(mount);
            e
        };
        let verdict = |after: &Evidence| verify(&set(true), after, &Params::default());
        assert!(matches!(verdict(&set(true)), Verdict::NotResolved { .. }));
        assert!(matches!(verdict(&set(false)), Verdict::Resolved { .. }));
        assert!(matches!(verdict(&Evidence { stuck_for_s: Some(3.0), ..set(false) }), Verdict::NotResolved { .. }));
        assert!(matches!(verdict(&Evidence { new_errors: 1, ..set(false) }), Verdict::NotResolved { .. }));
        assert!(matches!(verdict(&Evidence { usage: Observed::unavailable("x"), ..set(false) }), Verdict::Unknown { .. }));
    }
}
