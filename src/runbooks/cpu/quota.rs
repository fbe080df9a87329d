//! How much CPU a unit that takes too much is left with.
//!
//! It gets what it usually takes, or half of what it takes now where its usual is not known, and never less than a tenth of a CPU: it
//! goes on, slowly, and whoever looks at it later finds it alive. If half would still leave the host busier than the floor, it gets what the
//! others leave under the floor instead; where they leave nothing, starving it would relieve nobody. Nor would taking its usual away, for
//! which the host was large enough until now.

use super::Params;
use super::evidence::HostLoad;

/// Under the floor by this much, so that the signal clears with some room.
const MARGIN: f64 = 5.0;

/// `CPUQuota=` in percent of one CPU; `cpu` and `usual` in the same unit.
pub(super) fn value(host: &HostLoad, cpu: f64, usual: Option<f64>, params: &Params) -> u64 {
    let others = (host.used() - cpu).max(0.0);
    let room = (params.busy_floor_percent.0 - MARGIN).max(0.0) * host.cpus as f64 - others;
    let half = cpu / 2.0;
    let wanted = usual.unwrap_or(if room >= params.quota_least_percent as f64 { half.min(room) } else { half }).floor();
    // What is not a number is nothing, and then the least.
    (wanted.clamp(0.0, 1e9) as u64).max(params.quota_least_percent)
}

/// `CPUQuota=` under which a unit that is held back would not be any more: what it gets, and the share of the time it is kept from it.
pub(super) fn that_would_do(cpu: f64, throttled_percent: f64) -> u64 {
    let free = (1.0 - throttled_percent / 100.0).clamp(0.2, 1.0);
    ((cpu / free / 10.0).ceil().clamp(1.0, 1e6) as u64).saturating_mul(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Observed, Percent};

    fn host(cpus: u64, busy: f64) -> HostLoad {
        let none = Percent(0.0);
        let load_one = Observed::fresh(1.0);
        HostLoad {
            cpus,
            busy: Percent(busy),
            user: Percent(busy),
            system: none,
            iowait: none,
            steal: none,
            forks_per_s: 0.0,
            runnable: 1,
            load_one,
        }
    }

    #[test]
    fn a_unit_is_left_its_usual_and_the_host_is_brought_under_the_floor() {
        let p = Params::default();
        assert_eq!(value(&host(8, 99.0), 700.0, Some(40.0), &p), 40, "its usual");
        assert_eq!(value(&host(8, 99.0), 700.0, None, &p), 350, "half of what it takes");
        assert_eq!(value(&host(8, 99.0), 700.0, Some(650.0), &p), 650, "its usual, also where the host is small");
        assert_eq!(value(&host(8, 99.0), 500.0, None, &p), 228, "8 x 65 % less what others take");
        assert_eq!(value(&host(8, 99.0), 200.0, None, &p), 100, "others alone are over the floor, whatever it is left");
        assert_eq!((value(&host(2, 100.0), 59.0, Some(40.0), &p), value(&host(2, 100.0), 59.0, None, &p)), (40, 29));
        assert_eq!((value(&host(1, 100.0), 98.0, None, &p), value(&host(1, 100.0), 60.0, None, &p)), (49, 25));
        assert_eq!((value(&host(64, 2.0), 100.0, None, &p), value(&host(64, 100.0), 6400.0, None, &p)), (50, 3200));
        assert_eq!(value(&host(8, 99.0), 700.0, Some(0.0), &p), 10, "never nothing");
        assert_eq!(value(&host(8, 99.0), 700.0, Some(f64::NAN), &p), 10);
    }

    #[test]
    fn a_quota_that_would_do_is_what_it_gets_and_what_it_is_kept_from() {
        assert_eq!((that_would_do(50.0, 50.0), that_would_do(98.0, 0.0), that_would_do(10.0, 100.0)), (100, 100, 50));
    }
}
