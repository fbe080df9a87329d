//! Every folder under `fixtures/cases/RUNBOOK` is recorded evidence and what must be decided from it: diagnosis, plan, refusals.
//! `UPDATE_EXPECT=1 cargo test --test cases` writes `expect.txt` anew; read the difference before it is committed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use byteport::guard::{Asked, Circumstances, Holds, Mode, Policy, admit};
use byteport::model::{
    BootId, IncidentId, LimitTo, Now, Observed, Plan, ProcessFacts, ProcessTarget, Recorded, Step, Targets, Undo, UnitFacts,
};
use byteport::runbooks::{ALL, Entry};

fn cases(entry: &Entry) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases").join(&*entry.id.0);
    let mut out: Vec<PathBuf> =
        fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display())).map(|e| e.unwrap().path()).collect();
    out.sort();
    out
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Nothing of the moment speaks against acting: what is refused is refused for what it is.
fn calm() -> Holds {
    Holds {
        paused: None,
        package_manager: Observed::fresh(None),
        shutting_down: Observed::fresh(false),
        host_view: Observed::fresh(true),
        another_episode: None,
        ledger: Observed::fresh(()),
    }
}

/// What a step names, as it was examined, and all of it opted in. A case that has a `targets.json` says itself what is found instead.
fn targets(step: &Step, case: &Path) -> Targets {
    let said = case.join("targets.json");
    if said.exists() {
        return json(&said);
    }
    let invocation = match step {
        Step::LimitUnit(limit) => limit.target.invocation.clone(),
        Step::RestartUnit(target) => target.invocation.clone(),
        _ => "0".into(),
    };
    let unit = |name: &str| UnitFacts {
        name: name.into(),
        active: "active".into(),
        invocation: invocation.clone(),
        active_for_s: 86_400.0,
        restarts: 0,
        start_limit_s: 10.0,
        job_queued: false,
        restart_safe: true,
        main_pid: None,
        cgroup: format!("/system.slice/{name}").as_str().into(),
        memory_high: None,
        memory_max: None,
        cpu_weight: None,
        cpu_quota_percent: None,
        restarts_too: Vec::new(),
    };
    let process = |target: &ProcessTarget| ProcessFacts {
        pid: target.pid,
        start_ticks: target.start_ticks,
        comm: target.comm.clone(),
        age_s: 3600.0,
        parent: 1,
        unit: target.unit.clone(),
        cgroup: format!("/system.slice/{}", target.unit.as_deref().unwrap_or_default()).as_str().into(),
        kernel_thread: false,
        realtime: false,
        idle_class: false,
        nice: 0,
        oom_score_adj: 0,
        uid: 1000,
    };
    Targets {
        unit: step.unit().map(|name| Observed::fresh(unit(name))),
        processes: step.processes().iter().map(|target| Observed::fresh(process(target))).collect(),
    }
}

fn decide(entry: &Entry, case: &Path) -> String {
    let body: serde_json::Value = json(&case.join("evidence.json"));
    let now: Now = json(&case.join("now.json"));
    let text = fs::read_to_string(case.join("params.toml")).unwrap();
    let section = toml::de::DeTable::parse(&text).unwrap();
    let params = (entry.resolve)(section).unwrap_or_else(|e| panic!("{}: {e}", case.display()));
    assert_eq!((entry.problems)(&params).unwrap(), [], "{}: the parameters contradict each other", case.display());
    let at = Now { wall: now.wall, boot: BootId(now.boot.0.clone()), uptime_s: now.uptime_s };
    let recorded = Recorded { runbook: entry.id.clone(), schema: entry.schema, at, body };
    let (diagnosis, plan) = (entry.decide)(&recorded, &params, &now).unwrap_or_else(|e| panic!("{}: {e}", case.display()));

    let mut out = String::new();
    writeln!(out, "{} ({}){}", diagnosis.class, diagnosis.confidence, if diagnosis.critical { ", critical" } else { "" }).unwrap();
    writeln!(out, "{}", diagnosis.summary).unwrap();
    for e in &diagnosis.explained {
        writeln!(out, "  explains {:>3.0} %  {} ({})", e.share * 100.0, e.class, e.amount).unwrap();
    }
    for f in &diagnosis.findings {
        writeln!(out, "  found    {}: {}", f.what, f.value).unwrap();
    }
    for m in &diagnosis.missing {
        writeln!(out, "  missing  {m}").unwrap();
    }
    let policy = Policy { mode: Mode::Act, runbook_allowed: true, limits: (entry.limits)(&params).unwrap() };
    let incident = IncidentId::new(&entry.id, now.wall, 1);
    for planned in &plan.steps {
        let about = if planned.expected.estimate { "about " } else { "" };
        writeln!(
            out,
            "step {}: frees {about}{}, {} inodes; {}",
            planned.step.kind().as_str(),
            planned.expected.bytes,
            planned.expected.inodes,
            planned.why
        )
        .unwrap();
        touched(&planned.step, &mut out);
        match &planned.undo {
            Undo::ByActuator { how } => writeln!(out, "  undo     {how}").unwrap(),
            Undo::OnResolve { how } => writeln!(out, "  undo     when it is well again: {how}").unwrap(),
            Undo::None { why } => writeln!(out, "  no undo  {why}").unwrap(),
        }
        let asked = Asked {
            incident: &incident,
            runbook: &entry.id,
            subject: &plan.subject,
            step: &planned.step,
            confidence: diagnosis.confidence,
        };
        let targets = targets(&planned.step, case);
        let here = Circumstances { policy: &policy, holds: &calm(), past: &[], targets: &targets, now: &now };
        match admit(asked, here) {
            Ok(_) => writeln!(out, "  admitted").unwrap(),
            Err(refusal) => writeln!(out, "  refused  {refusal}").unwrap(),
        }
    }
    for u in &plan.not_available {
        writeln!(out, "not planned: {}: {}", u.what, u.why).unwrap();
    }
    if let Some(reason) = &plan.escalate {
        writeln!(out, "escalate: {reason}").unwrap();
        for f in &plan.follow_ups {
            writeln!(out, "  # {}\n  {}", f.why, f.command).unwrap();
        }
    }
    assert_one_line_each(&out, case);
    let again: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(again, plan, "{}: the plan changes on its way through JSON", case.display());
    out
}

fn touched(step: &Step, out: &mut String) {
    if let Some(batch) = step.batch() {
        writeln!(out, "  under    {} (device {}, older than {} s)", batch.root, batch.device, batch.min_age_s).unwrap();
        for f in batch.files.iter().take(4) {
            writeln!(out, "  file     {} ({} on disk)", f.path, f.on_disk).unwrap();
        }
        if batch.files.len() > 4 {
            writeln!(out, "  ...      {} files", batch.files.len()).unwrap();
        }
        if !batch.dirs.is_empty() {
            writeln!(out, "  dirs     {}", batch.dirs.len()).unwrap();
        }
    }
    match step {
        Step::PruneImages { images, .. } => {
            for i in images {
                writeln!(out, "  image    {} {}", i.tags.join(","), i.size).unwrap();
            }
        }
        Step::GrowVolume(grow) => writeln!(out, "  volume   {}/{} {} -> {}", grow.vg, grow.lv, grow.from, grow.to).unwrap(),
        Step::RestartHolder(h) => writeln!(out, "  holder   {} pid {}@{} {:?}", h.unit, h.pid, h.start_ticks, h.action).unwrap(),
        Step::PreferVictims(preference) => writeln!(out, "  score    {}", preference.oom_score_adj).unwrap(),
        Step::LimitUnit(limit) => {
            let to = match limit.limit {
                LimitTo::MemoryHigh(bytes) => format!("MemoryHigh={} ({bytes})", bytes.0),
                LimitTo::CpuWeight(weight) => format!("CPUWeight={weight}"),
                LimitTo::CpuQuota(percent) => format!("CPUQuota={percent}%"),
            };
            writeln!(out, "  unit     {} ({}): {to}", limit.target.unit, limit.target.invocation).unwrap();
        }
        Step::SnapshotHeap(snapshot) => {
            writeln!(out, "  heap     {:?} into {}, room for {}", snapshot.by, snapshot.folder, snapshot.room).unwrap()
        }
        Step::RestartUnit(target) => writeln!(out, "  unit     {} ({})", target.unit, target.invocation).unwrap(),
        Step::KillProcess { grace_s, .. } => writeln!(out, "  grace    {grace_s} s").unwrap(),
        Step::CompressLogs(_) | Step::DeleteFiles(_) | Step::VacuumJournal { .. } | Step::CalmProcess(_) => {}
    }
    for p in step.processes() {
        writeln!(out, "  process  {} pid {}@{} of {}", p.comm, p.pid, p.start_ticks, p.unit.as_deref().unwrap_or("no unit")).unwrap();
    }
}

/// Whatever a file or a process is called, it neither breaks a line nor colours a terminal.
fn assert_one_line_each(text: &str, case: &Path) {
    let bad = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(bad, None, "{}: an unescaped control character", case.display());
}

#[test]
fn every_case_is_decided_as_it_was() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    for entry in ALL {
        for case in cases(entry) {
            let (expect, got) = (case.join("expect.txt"), decide(entry, &case));
            if update {
                fs::write(&expect, got).unwrap();
            } else if fs::read_to_string(&expect).unwrap_or_default() != got {
                wrong.push(format!("--- {}\n{got}", expect.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "decided otherwise; UPDATE_EXPECT=1 writes it anew:\n{}", wrong.join("\n"));
}
