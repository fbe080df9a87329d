//! Incidents made from the recorded cases of runbooks.

use std::fs;
use std::path::{Path, PathBuf};

use byteport::model::*;
use byteport::runbooks::{ALL, Entry as Runbook};
use byteport::wire::local::Incident;

/// Folders of cases, each with its runbook.
pub fn cases() -> Vec<(&'static Runbook, PathBuf)> {
    let of = |runbook: &'static Runbook| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases").join(&*runbook.id.0);
        let mut found: Vec<_> =
            fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display())).map(|e| e.unwrap().path()).collect();
        found.sort();
        found.into_iter().map(move |case| (runbook, case))
    };
    ALL.iter().flat_map(of).collect()
}

/// The entries that an observed incident has, decided from a case whose evidence was changed by `change`.
pub fn of_case(runbook: &Runbook, case: &Path, change: impl Fn(&str) -> String) -> Incident {
    let read = |file: &str| fs::read_to_string(case.join(file)).unwrap_or_else(|e| panic!("{}: {e}", case.join(file).display()));
    let now: Now = serde_json::from_str(&read("now.json")).unwrap();
    let body: serde_json::Value = serde_json::from_str(&change(&read("evidence.json"))).unwrap();
    let text = change(&read("params.toml"));
    let params = (runbook.resolve)(toml::de::DeTable::parse(&text).unwrap()).unwrap();
    let recorded = Recorded { runbook: runbook.id.clone(), schema: runbook.schema, at: now.clone(), body };
    let (diagnosis, plan) = (runbook.decide)(&recorded, &params, &now).unwrap();

    let id = IncidentId::new(&runbook.id, now.wall, 0x3f9a);
    let subject = plan.subject.clone();
    let bodies = vec![
        Body::Opened { runbook: runbook.id.clone(), subject: subject.clone(), signals: vec![] },
        Body::Evidence { phase: Phase::Diagnosis { round: 1 }, recorded },
        Body::Decision { now: now.clone(), params, diagnosis: diagnosis.clone(), plan },
        Body::Note { text: change("asked by alice@example.com on db1 (10.1.2.3), password=hunter2") },
        Body::Closed { outcome: Outcome::Observed, summary: "nothing was done".into() },
    ];
    let entries = (1..).zip(bodies).map(|(seq, body)| Entry { seq, incident: id.clone(), at: now.clone(), body }).collect();
    let summary = IncidentSummary {
        id,
        runbook: runbook.id.clone(),
        subject,
        opened: now.clone(),
        closed: Some(now),
        class: Some(diagnosis.class),
        outcome: Some(Outcome::Observed),
        summary: "nothing was done".into(),
    };
    Incident { summary, entries, chain: Observed::fresh(()), agent_version: "0.1.0".into() }
}
