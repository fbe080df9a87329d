//! Everything a person reads about an incident, against committed files under `fixtures/report/`.
//! `UPDATE_EXPECT=1 cargo test --test report` writes them anew; read the difference before committing it.

#[path = "report/made_up.rs"]
mod made_up;

use std::fs;
use std::path::Path;

use byteport::model::{Body, CollectorLink, Entry, Refusal, RefusalReason, StepKind, is_unprintable};
use byteport::report::{self, Paint, Postmortem, Source, Story};
use made_up::Incident;

fn expect(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/report").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected != actual {
        let at =
            expected.lines().zip(actual.lines()).position(|(e, a)| e != a).unwrap_or(expected.lines().count().min(actual.lines().count()));
        panic!(
            "{name} differs from line {}:\n- {:?}\n+ {:?}\nUPDATE_EXPECT=1 writes it anew",
            at + 1,
            expected.lines().nth(at),
            actual.lines().nth(at)
        );
    }
}

fn source() -> Source<'static> {
    Source { host: Some("db|1"), agent_version: "0.1.0", record_doubt: None }
}

fn every_rendering(incident: &Incident) -> Vec<(String, String)> {
    let story = Story::of(&incident.summary, &incident.entries);
    let postmortem = Postmortem::of(&story, source());
    let mut all = vec![
        ("explain.txt".to_owned(), report::explain(&story, Paint::Plain)),
        ("postmortem.md".to_owned(), postmortem.markdown()),
        ("postmortem.txt".to_owned(), postmortem.text(Paint::Plain)),
        ("postmortem.json".to_owned(), serde_json::to_string_pretty(&postmortem).unwrap() + "\n"),
    ];
    all.extend(report::escalation(&story, Paint::Plain).map(|text| ("escalation.txt".to_owned(), text)));
    all
}

#[test]
fn every_incident_reads_as_committed() {
    for incident in made_up::all() {
        for (file, text) in every_rendering(&incident) {
            expect(&format!("{}/{file}", incident.name), &text);
        }
    }
}

/// As a collector has it: what was seen stays on the host.
#[test]
fn rounds_are_told_apart_without_their_evidence() {
    let whole = made_up::all().into_iter().next().expect("healed");
    let mut entries: Vec<Entry> = whole.entries.iter().filter(|e| !matches!(e.body, Body::Evidence { .. })).cloned().collect();
    let again = entries.iter().find(|e| matches!(e.body, Body::Decision { .. })).cloned().expect("a decision");
    let refusal = Refusal::new(RefusalReason::Cooldown, "acted on a moment ago");
    entries.push(again.clone());
    entries.push(Entry { body: Body::Refused { round: 2, step: 1, kind: StepKind::CompressLogs, refusal }, ..again });
    let steps = Postmortem::of(&Story::of(&whole.summary, &entries), source()).steps;
    let told: Vec<_> = steps.iter().map(|s| (s.round, s.step, s.fate)).collect();
    let first = [(1, 1, "done"), (1, 2, "done"), (1, 3, "not needed")];
    assert_eq!(told, [first, [(2, 1, "refused"), (2, 2, "not reached"), (2, 3, "not reached")]].concat());
}

#[test]
fn the_list_reads_as_committed() {
    let list: Vec<_> = made_up::all().into_iter().map(|i| i.summary).collect();
    expect("incidents.txt", &report::incidents(&list, Paint::Plain));
    assert_eq!(report::incidents(&[], Paint::Plain), "No incidents.\n");
}

#[test]
fn a_plan_and_a_status_read_as_committed() {
    let (diagnosis, plan, refusals) = made_up::plan();
    expect("plan.txt", &report::plan(&diagnosis, &plan, &refusals, Paint::Plain));
    expect("status.txt", &report::status(&made_up::status(), Paint::Plain));
}

#[test]
fn a_status_says_how_it_stands_with_the_collector() {
    let mut status = made_up::status();
    let mut line = |change: &dyn Fn(&mut CollectorLink)| {
        let mut link = CollectorLink::new("https://c.example", "0");
        change(&mut link);
        status.collector = Some(link);
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<byteport::wire::local::Status>(&json).unwrap(), status);
        let text = report::status(&status, Paint::Plain);
        text.lines().find_map(|l| l.strip_prefix("collector")).unwrap_or_else(|| panic!("{text}")).trim().to_owned()
    };
    assert_eq!(line(&|_| ()), "https://c.example, not reached, not heard of yet, what it has is not known");
    let now = made_up::status().now.wall;
    let heard = now - jiff::SignedDuration::from_secs(12);
    assert_eq!(
        line(&|l| (l.up, l.heard_at, l.waiting) = (true, Some(heard), Some(0))),
        "https://c.example, heard of 12 s ago, nothing waits"
    );
    let lost = |l: &mut CollectorLink| {
        (l.heard_at, l.waiting, l.trouble) = (Some(heard), Some(1), Some("no \x1b[2J route".into()));
    };
    let said = line(&lost);
    assert!(said.starts_with("https://c.example, not reached, heard of 12 s ago, 1 row waiting: no ") && !said.contains('\x1b'), "{said}");
    // As an agent says it that knows of no collector yet.
    let mut old = serde_json::to_value(made_up::status()).unwrap();
    old.as_object_mut().unwrap().remove("collector");
    assert_eq!(serde_json::from_value::<byteport::wire::local::Status>(old).unwrap().collector, None);
}

/// File names of the incidents hold escapes, newlines and invisible characters; none of them may reach a terminal.
#[test]
fn nothing_printed_holds_a_control_character() {
    for incident in made_up::all() {
        for (file, text) in every_rendering(&incident) {
            let bad = text.chars().find(|c| is_unprintable(*c) && *c != '\n');
            assert_eq!(bad, None, "{}/{file}", incident.name);
        }
    }
}

/// Each table of the Markdown keeps its number of columns in every row, whatever the names hold.
#[test]
fn no_name_breaks_a_table() {
    for incident in made_up::all() {
        let story = Story::of(&incident.summary, &incident.entries);
        let mut columns = None;
        for line in Postmortem::of(&story, source()).markdown().lines() {
            if !line.starts_with('|') {
                columns = None;
                continue;
            }
            let bars = line.replace("\\|", "").matches('|').count();
            assert_eq!(*columns.get_or_insert(bars), bars, "{}: {line}", incident.name);
        }
    }
}

#[test]
fn colour_is_asked_for_or_absent() {
    for incident in made_up::all() {
        let story = Story::of(&incident.summary, &incident.entries);
        let (plain, painted) = (report::explain(&story, Paint::Plain), report::explain(&story, Paint::Ansi));
        assert!(painted.contains("\x1b[1m") && !plain.contains('\x1b'));
        let mut stripped = painted;
        for code in ["0", "1", "2", "31", "32", "33"] {
            stripped = stripped.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(stripped, plain, "colour changes no layout");
    }
}
