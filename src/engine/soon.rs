//! Which units may have to be acted on at once, and are therefore known before they are needed: memory that is gone is gone for systemd as well.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::guard::{Mode, Policy};
use crate::model::{CgroupUse, Cgroups, RunbookId, StepKind, service_of};
use crate::wire::actuator::MOST_SOON;

/// The services that use most memory. None where no policy allows the one step that goes without systemd: asking all day would serve nobody.
pub(super) fn units(policies: &BTreeMap<RunbookId, Policy>, swept: Option<&Cgroups>) -> Vec<String> {
    let is_wanted = |p: &Policy| p.mode == Mode::Act && p.runbook_allowed && p.limits.steps.contains(&StepKind::OomPreference);
    let Some(swept) = swept.filter(|_| policies.values().any(is_wanted)) else { return Vec::new() };
    let size = |group: &CgroupUse| group.working_set_bytes.or(group.memory_bytes).unwrap_or(0);
    let mut groups: Vec<&CgroupUse> = swept.top.iter().collect();
    groups.sort_by_key(|group| Reverse(size(group)));
    let mut units: Vec<String> = Vec::new();
    for unit in groups.into_iter().filter_map(|group| service_of(&group.path)) {
        if units.len() < MOST_SOON && !units.contains(&unit) {
            units.push(unit);
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Limits;
    use crate::model::{CgroupVersion, HostPath};

    fn policies(change: impl FnOnce(&mut Policy)) -> BTreeMap<RunbookId, Policy> {
        let mut policy = Policy { mode: Mode::Act, runbook_allowed: true, limits: Limits::default() };
        change(&mut policy);
        BTreeMap::from([(RunbookId::new("memory"), policy)])
    }

    fn group(path: &str, memory_bytes: u64) -> CgroupUse {
        CgroupUse { path: HostPath::from(path), memory_bytes: Some(memory_bytes), ..CgroupUse::default() }
    }

    fn swept(top: Vec<CgroupUse>) -> Cgroups {
        Cgroups { version: CgroupVersion::V2, count: 100, top, cut: 0, unreadable: 0 }
    }

    #[test]
    fn the_services_that_use_most_are_named_once_each() {
        let swept = swept(vec![
            group("/system.slice/small.service", 1),
            group("/system.slice/large.service/worker", 8),
            group("/system.slice/large.service", 9),
            group("/user.slice/user-0.slice/session-3.scope", 7),
            group("/system.slice/middle.service", 5),
        ]);
        assert_eq!(units(&policies(|_| {}), Some(&swept)), ["large.service", "middle.service", "small.service"]);
        let many = (0..20).map(|n| group(&format!("/system.slice/{n}.service"), n)).collect();
        let named = units(&policies(|_| {}), Some(&self::swept(many)));
        assert_eq!(named, (12..20).rev().map(|n| format!("{n}.service")).collect::<Vec<_>>());
    }

    #[test]
    fn where_nothing_would_be_done_without_systemd_nobody_is_named() {
        let swept = swept(vec![group("/system.slice/a.service", 1)]);
        assert_eq!(units(&policies(|_| {}), Some(&swept)).len(), 1);
        assert!(units(&policies(|_| {}), None).is_empty());
        assert!(units(&BTreeMap::new(), Some(&swept)).is_empty());
        assert!(units(&policies(|p| p.mode = Mode::Observe), Some(&swept)).is_empty());
        assert!(units(&policies(|p| p.runbook_allowed = false), Some(&swept)).is_empty());
        assert!(units(&policies(|p| p.limits.steps.retain(|kind| *kind != StepKind::OomPreference)), Some(&swept)).is_empty());
    }
}
