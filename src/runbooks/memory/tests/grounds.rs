//! What a judgement stands on besides how much is used: which run of a unit it is, releases, restarts, requests.

use super::super::signals::HEAP;
use super::super::{MemoryShort, Params};
use super::{case, decide, later, willing, without};
use crate::model::{AfterStep, Bytes, Observed, Seconds, Verdict};
use crate::runbooks::Runbook;
use crate::runbooks::memory::Evidence;

#[test]
fn a_heap_that_was_full_is_gone_when_its_unit_runs_anew() {
    let mut before = case("004-a-service-leaks-up-to-its-limit");
    before.signals[0].kind = HEAP;
    let run = |invocation: &str| {
        later(&before, 60.0, |e| {
            let Observed::Value { value: groups, .. } = &mut e.groups else { panic!("no groups") };
            let shop = groups.iter_mut().find(|g| g.unit.as_deref() == Some("shop.service")).unwrap();
            (shop.used.working_set_bytes, shop.used.memory_bytes) = (Some(1), Some(1));
            let Observed::Value { value: facts, .. } = &mut shop.facts else { panic!("no facts") };
            invocation.clone_into(&mut facts.invocation);
        })
    };
    let same = &before.group_of("shop.service").unwrap().facts.value().unwrap().invocation;
    let well = |after: &Evidence| {
        (MemoryShort::after_step(&before, after, &Params::default()), MemoryShort::verify(&before, after, &Params::default()))
    };
    assert!(matches!(well(&run(same)), (AfterStep::Continue { .. }, Verdict::NotResolved { .. })), "however little it has");
    assert!(matches!(well(&run("another")), (AfterStep::Enough { .. }, Verdict::Resolved { .. })));
    let silent = without(&run("another"), 10);
    assert!(matches!(well(&silent), (AfterStep::Abort { .. }, Verdict::Unknown { .. })));
}

#[test]
fn a_release_is_to_blame_also_where_the_growth_has_come_to_its_end() {
    let of = |percent_per_min: f64, usual: f64| {
        let mut e = case("005-it-grows-since-a-release");
        let unit = e.deploys.value().unwrap()[0].units[0].clone();
        let Observed::Value { value: groups, .. } = &mut e.groups else { panic!("no groups") };
        let group = groups.iter_mut().find(|g| g.unit.as_ref() == Some(&unit)).unwrap();
        let memory = group.memory().0 as f64;
        let Observed::Value { value: past, .. } = &mut group.past else { panic!("no past") };
        past.memory_usual = Some(Bytes((memory * usual) as u64));
        let growth = crate::detect::Growth { bytes_per_s: memory * percent_per_min / 6000.0, ..past.lately.unwrap() };
        (past.lately, past.over) = (Some(growth), Seconds(20_000.0));
        past.growth = Some(crate::detect::Growth { bytes_per_s: memory / 30_000.0, over: Seconds(20_000.0), ..growth });
        decide(&e, &willing()).0.class
    };
    assert_eq!(of(2.0, 0.5), "deploy_regression", "it rises");
    assert_eq!(of(0.0, 0.5), "deploy_regression", "it has come to its limit");
    assert_eq!(of(-0.5, 0.5), "deploy_regression", "garbage was collected");
    assert_ne!(of(-2.0, 0.5), "deploy_regression", "it gives back what it took");
    assert_ne!(of(0.0, 0.95), "deploy_regression", "that is what it always had");
    assert_ne!(of(0.2, 0.5), "deploy_regression", "it rises as it did before");
}

#[test]
fn three_restarts_that_were_long_ago_are_no_leak() {
    let of = |active_for_s: f64| {
        let mut e = case("023-killed-again-after-four-restarts");
        let Observed::Value { value: groups, .. } = &mut e.groups else { panic!("no groups") };
        for group in groups.iter_mut() {
            if let Observed::Value { value: facts, .. } = &mut group.facts {
                facts.active_for_s = active_for_s;
            }
        }
        decide(&e, &willing()).0.class
    };
    assert_eq!(of(3600.0), "memory_leak");
    assert_ne!(of(90_000.0), "memory_leak");
}

#[test]
fn a_service_whose_requests_were_not_watched_for_long_enough_casts_doubt() {
    let mut e = case("007-it-follows-its-requests");
    let sure = decide(&e, &willing()).0;
    assert_eq!(sure.class, "traffic_spike");
    let Some(Observed::Value { value: traffic, .. }) = &mut e.traffic else { panic!("no traffic") };
    traffic[0].pearson = None;
    let unsure = decide(&e, &willing()).0;
    assert_ne!(unsure.class, "traffic_spike");
    assert!(unsure.confidence < sure.confidence);
}
