//! Sampling must stay invisible: when it costs more of a core than it may, all its intervals are stretched, and that is said.

/// Intervals are never longer than this many times what was asked for: a host that is watched too rarely is not watched.
const MOST: f64 = 12.0;
/// Over how many seconds a cost is averaged, so that one sweep over many processes is no reason yet.
const MEMORY_S: f64 = 120.0;

/// What sampling has cost of late, and by how much its intervals are stretched for it.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// Share of one core that sampling may cost.
    allowed: f64,
    /// CPU seconds a second, as it would be without stretching.
    unstretched: f64,
    stretch: f64,
}

impl Budget {
    pub const fn of(allowed: f64) -> Self {
        Self { allowed, unstretched: 0.0, stretch: 1.0 }
    }

    /// From the next sample on.
    pub fn allow(&mut self, share: f64) {
        self.allowed = share;
    }

    pub fn stretch(&self) -> f64 {
        self.stretch
    }

    /// Takes in that the last `wall_s` seconds cost `cpu_s` of CPU.
    pub fn spent(&mut self, cpu_s: f64, wall_s: f64) {
        if !(wall_s > 0.0 && cpu_s >= 0.0) {
            return;
        }
        // Longer intervals have made it cheaper by as much: what counts is what it would cost.
        let now = cpu_s / wall_s * self.stretch;
        let weight = 1.0 - (-wall_s / MEMORY_S).exp();
        self.unstretched += (now - self.unstretched) * weight;
        let wanted = (self.unstretched / self.allowed).clamp(1.0, MOST);
        // In quarters, so that it does not tremble with every sample.
        self.stretch = (wanted * 4.0).ceil() / 4.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tick of `every_s` that costs `cpu_s`, for `for_s` seconds; the budget stretches the tick.
    fn run(budget: &mut Budget, every_s: f64, cpu_s: f64, for_s: f64) -> f64 {
        let (mut at, mut spent) = (0.0, 0.0);
        while at < for_s {
            let wall = every_s * budget.stretch();
            budget.spent(cpu_s, wall);
            (at, spent) = (at + wall, spent + cpu_s);
        }
        spent / at
    }

    #[test]
    fn what_is_cheap_is_never_stretched() {
        let mut budget = Budget::of(0.005);
        run(&mut budget, 5.0, 0.001, 3600.0);
        assert_eq!(budget.stretch(), 1.0);
    }

    #[test]
    fn what_is_dear_settles_within_the_budget_and_recovers() {
        let mut budget = Budget::of(0.005);
        run(&mut budget, 5.0, 0.1, 1800.0);
        let share = run(&mut budget, 5.0, 0.1, 1800.0);
        assert!(share <= 0.005 * 1.01, "{share}");
        assert!(budget.stretch() >= 4.0 && budget.stretch() <= 4.5, "{}", budget.stretch());
        run(&mut budget, 5.0, 0.001, 1800.0);
        assert_eq!(budget.stretch(), 1.0);
    }

    #[test]
    fn one_dear_sweep_is_no_reason_and_no_cost_is_beyond_the_cap() {
        let mut budget = Budget::of(0.005);
        budget.spent(0.05, 5.0);
        assert_eq!(budget.stretch(), 1.0);
        run(&mut budget, 5.0, 50.0, 3600.0);
        assert_eq!(budget.stretch(), MOST);
        budget.spent(f64::NAN, 5.0);
        budget.spent(1.0, 0.0);
        assert_eq!(budget.stretch(), MOST);
        budget.allow(100.0);
        run(&mut budget, 5.0, 50.0, 3600.0);
        assert_eq!(budget.stretch(), 1.0, "what is allowed is not stretched");
    }
}
