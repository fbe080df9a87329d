//! Laws that every runbook keeps. They are checked for whatever is in `runbooks::ALL`, so that a new one need not write them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use byteport::model::{Diagnosis, Now, Recorded, StepKind};
use byteport::runbooks::{ALL, find, for_signal};

fn case_dirs(id: &str) -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases").join(id);
    fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display())).map(|e| e.unwrap().path()).collect()
}

#[test]
fn ids_are_unique_and_can_be_typed() {
    assert!(!ALL.is_empty());
    let ids: BTreeSet<&str> = ALL.iter().map(|e| &*e.id.0).collect();
    assert_eq!(ids.len(), ALL.len());
    for entry in ALL {
        assert!(entry.id.0.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", entry.id);
        assert_eq!(find(&entry.id).map(|e| &e.id), Some(&entry.id));
        assert!(entry.schema >= 1);
    }
}

#[test]
fn every_signal_is_answered_by_exactly_one_runbook() {
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in ALL {
        assert!(!entry.signals.is_empty(), "{}", entry.id);
        for signal in entry.signals {
            owners.entry(signal.name).or_default().push(&entry.id.0);
            assert!(!signal.raised_when.is_empty() && !signal.clears_when.is_empty(), "{}: no rule to raise or to clear", signal.name);
            assert_eq!(for_signal(signal.name).map(|e| &e.id), Some(&entry.id));
        }
    }
    for (signal, owners) in owners {
        assert_eq!(owners.len(), 1, "{signal} is claimed by {owners:?}");
    }
    assert!(for_signal("no_such_signal").is_none());
}

#[test]
fn the_page_names_every_signal_class_and_step() {
    for entry in ALL {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks").join(format!("{}.md", entry.id));
        assert_eq!(fs::read_to_string(&path).unwrap(), entry.page, "{} is not the page that was compiled in", path.display());
        let named = |name: &str| entry.page.contains(&format!("`{name}`"));
        let steps = entry.steps.iter().map(|kind| kind.as_str());
        for name in entry.signals.iter().map(|s| s.name).chain(entry.classes.iter().map(|c| c.name)).chain(steps) {
            assert!(named(name), "{}: the page does not name `{name}`", entry.id);
        }
    }
}

#[test]
fn every_class_has_a_case_that_comes_to_it() {
    for entry in ALL {
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for case in case_dirs(&entry.id.0) {
            let read = |name: &str| fs::read_to_string(case.join(name)).unwrap_or_else(|e| panic!("{}: {e}", case.join(name).display()));
            let now: Now = serde_json::from_str(&read("now.json")).unwrap();
            let text = read("params.toml");
            let params = (entry.resolve)(toml::de::DeTable::parse(&text).unwrap()).unwrap();
            let recorded = Recorded {
                runbook: entry.id.clone(),
                schema: entry.schema,
                at: now.clone(),
                body: serde_json::from_str(&read("evidence.json")).unwrap(),
            };
            let (diagnosis, _): (Diagnosis, _) = (entry.decide)(&recorded, &params, &now).unwrap();
            seen.insert(diagnosis.class);
        }
        let all: BTreeSet<String> = entry.classes.iter().map(|c| c.name.to_owned()).collect();
        assert_eq!(seen, all, "{}: classes without a case, or cases of no class", entry.id);
    }
}

#[test]
fn defaults_resolve_have_no_problem_and_show_every_setting() {
    for entry in ALL {
        let params = (entry.resolve)(toml::de::DeTable::parse("").unwrap()).unwrap();
        assert_eq!((entry.problems)(&params).unwrap(), [], "{}", entry.id);
        assert!((entry.limits)(&params).unwrap().mounts.is_empty(), "{}: something has opted in by default", entry.id);
        let unknown = (entry.resolve)(toml::de::DeTable::parse("no_such_setting = 1").unwrap()).unwrap_err();
        assert!(unknown.to_string().contains("no_such_setting"), "{unknown}");
    }
}

#[test]
fn kinds_of_steps_are_listed_once_and_speak_as_they_are_configured() {
    let names: BTreeSet<&str> = StepKind::ALL.iter().map(|k| k.as_str()).collect();
    assert_eq!(names.len(), StepKind::ALL.len());
    for kind in StepKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}
