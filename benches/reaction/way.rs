//! The way from a stall that was told to the first step done, part by part.
//!
//! Real are the sample, the look of runbook `memory` at this host, the record, guard on both sides, the actuator behind its socket with its ledger,
//! and the step on a child of ours. What is decided is a recorded case: this host is well. The child is in no unit, since there may be no systemd
//! here; how a unit is told of without asking systemd is tried by `tests/known.rs`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use byteport::act::client::Performed;
use byteport::detect::History;
use byteport::host::{Clock, LiveHost};
use byteport::model::{Body, IncidentId, Now, Phase, Preference, Recorded, Severity, Signal, SignalKind, Step, Subject};
use byteport::record::Store;
use byteport::runbooks::{Depth, Entry, FocusedAsk, for_signal};
use byteport::sense::{Sampler, Want};

use super::acting::{DISK, Later, Stand, admitted_by, facts};
use super::{line, us};

const STALL: &str = "memory_stall";
/// The record's: opened; evidence, decision and intent. The ledger's: begun, the values of before, done.
const DURABLE: usize = 5;
const CASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cases/memory/026-a-job-that-began-stalls-the-host");

/// Ended with us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Times of one part, round by round.
type Part = (&'static str, Vec<f64>);

pub fn went(rounds: usize, sampler: &mut Sampler) {
    let dir = tempfile::tempdir().expect("scratch folder");
    let (host, agent) = (LiveHost::new(Path::new("/"), None, None).expect("this host"), Later::new());
    let entry = for_signal(STALL).expect("a runbook answers it");
    let (case, params, then) = case(entry);
    // Whoever is preferred over and over is a matter for a person, so each round has a name of its own.
    let names: Vec<String> = (0..rounds).map(|round| format!("way-{round}")).collect();
    let stand = Stand::on(tempfile::tempdir().expect("scratch folder"), Later::new(), |settings| {
        settings.policies.get_mut(&DISK).expect("a policy").limits.processes.clone_from(&names);
    });
    let (mut store, _) = Store::open(&dir.path().join("record"), &host.now()).expect("a record");
    let mut floor = File::create(dir.path().join("floor")).expect("a file of ours");
    let mut parts: Vec<Part> =
        ["sampled", "looked at, opened", "decided", "guarded", "written", "performed"].map(|name| (name, vec![])).into();
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    for name in &names {
        let child = child(dir.path(), name);
        let preference = Preference { unit: None, processes: vec![facts::target(child.0.id())], oom_score_adj: 1000 };
        let mut perform = stand.asking(name, 1, Step::PreferVictims(preference));
        perform.incident = IncidentId::new(&entry.id, host.now().wall, 0);
        perform.incident.0.push_str(name);
        let incident = perform.incident.clone();
        let signal = Signal {
            kind: SignalKind::new(STALL),
            subject: Subject::Host,
            severity: Severity::Critical,
            since: host.now(),
            detail: String::new(),
        };
        let signals = vec![signal];
        let begun = Instant::now();
        let (mut last, mut at) = (begun, parts.iter_mut());
        let mut lap = || {
            let now = Instant::now();
            at.next().expect("a part").1.push(us(now.saturating_duration_since(last)));
            last = now;
        };
        let sample = sampler.sample(Want::Stall { sweep: true });
        lap();
        let opened = Body::Opened { runbook: entry.id.clone(), subject: Subject::Host, signals: signals.clone() };
        let ask = FocusedAsk {
            subject: &Subject::Host,
            signals: &signals,
            history: &History::default(),
            sample: Some(&sample),
            depth: Depth::Full,
        };
        let recorded = std::thread::scope(|scope| {
            let written = scope.spawn(|| store.append(&incident, &host.now(), &opened));
            let recorded = (entry.gather)(&host, &ask, &params, &host.now()).expect("evidence");
            written.join().expect("it ends").expect("written");
            recorded
        });
        let evidence = Body::Evidence { phase: Phase::Diagnosis { round: 1 }, recorded };
        lap();
        let (diagnosis, plan) = (entry.decide)(&case, &params, &then).expect("a decision");
        assert!(matches!(plan.steps.first().map(|planned| &planned.step), Some(Step::PreferVictims(_))), "{plan:?}");
        let decision = Body::Decision { now: then.clone(), params: params.clone(), diagnosis, plan };
        lap();
        let admitted = admitted_by(&agent, &stand.policy, &perform);
        lap();
        let intent = Body::Intent {
            intent: perform.intent.clone(),
            round: 1,
            step: 1,
            kind: perform.planned.step.kind(),
            subject: Subject::Host,
            files: 1,
            bytes: 0,
            on: perform.planned.step.works_on(),
        };
        let now = host.now();
        store.append_all(&incident, &[(&now, &evidence), (&now, &decision), (&now, &intent)]).expect("written");
        lap();
        match stand.client.perform(&admitted, perform).expect("an answer") {
            Performed::Effect(effect) => assert_eq!(effect.done, 1, "{effect:?}"),
            other => panic!("{other:?}"),
        }
        lap();
        whole.push(us(begun.elapsed()));
        let begun = Instant::now();
        for _ in 0..DURABLE {
            floor.write_all(&[b'x'; 512]).and_then(|()| floor.sync_data()).expect("written");
        }
        bare.push(us(begun.elapsed()));
    }
    line(&format!("way, bare: {DURABLE} synced"), &bare, &bare);
    for (name, took) in &parts {
        line(&format!("  {name}"), took, &bare);
    }
    line("way", &whole, &bare);
}

/// A case as it was recorded, its parameters, and its moment.
fn case(entry: &Entry) -> (Recorded, serde_json::Value, Now) {
    let read = |name: &str| std::fs::read_to_string(Path::new(CASE).join(name)).expect("the case is there");
    let body = serde_json::from_str(&read("evidence.json")).expect("evidence");
    let now: Now = serde_json::from_str(&read("now.json")).expect("a moment");
    let text = read("params.toml");
    let params = (entry.resolve)(toml::de::DeTable::parse(&text).expect("parameters")).expect("parameters");
    (Recorded { runbook: entry.id.clone(), schema: entry.schema, at: now.clone(), body }, params, now)
}

/// One that does nothing, under this name.
fn child(dir: &Path, name: &str) -> Running {
    let program = dir.join(name);
    symlink("/bin/sleep", &program).expect("a name");
    let child = Running(Command::new(&program).arg("600").spawn().expect("a child"));
    let until = Instant::now() + Duration::from_secs(10);
    while facts::target(child.0.id()).comm.to_string() != name {
        assert!(Instant::now() < until, "{name} does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}
