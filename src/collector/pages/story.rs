//! An incident's entries, each put into one of five lanes and into words, in the order of the host's record. Pure.

use std::collections::BTreeMap;

use super::badge::{self, Badge};
use super::entry_parts::{self, Part, StepBit};
use super::lanes::Lane;
use super::moments::{self, Stamp};
use super::safe_text::{Shown, first};
use crate::collector::view::Incident;
use crate::model::{
    AfterStep, Body, Bytes, Confidence, Diagnosis, Effect, Entry, IntentId, Now, Plan, PlannedStep, Refusal, Seconds, Signal, StepKind,
};
use crate::report::{Postmortem, Story, ToldStep, words};

/// One thing that happened. A decision is two: what was found, and what was made of it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) lane: Lane,
    /// Numbers of its rows in the host's record.
    pub(super) rows: String,
    /// `None`: known on the host only.
    pub(super) when: Option<(Shown, Stamp)>,
    pub(super) badge: Option<Badge>,
    pub(super) title: Shown,
    pub(super) parts: Vec<Part>,
}

/// What the entries are told with.
struct Teller<'a> {
    opened: &'a Now,
    begun: BTreeMap<&'a IntentId, &'a ToldStep>,
    /// By which decision of the record it is, and the step in it.
    planned: BTreeMap<(usize, u32), &'a ToldStep>,
    decisions: usize,
    last_escalation: Option<u64>,
    lane: Lane,
}

pub(super) fn tell(incident: &Incident, story: &Story<'_>, postmortem: &Postmortem) -> Vec<Told> {
    let steps = || story.begun().zip(&postmortem.steps);
    let mut teller = Teller {
        opened: &incident.row.summary.opened,
        begun: steps().filter_map(|((.., intent), step)| Some((intent?, step))).collect(),
        planned: steps().map(|((decision, number, _), step)| ((decision, number), step)).collect(),
        decisions: 0,
        last_escalation: incident.entries.iter().rev().find(|e| matches!(e.body, Body::Escalated { .. })).map(|e| e.seq),
        lane: Lane::Detect,
    };
    let mut elsewhere = incident.on_the_host.clone();
    elsewhere.sort_unstable();
    let mut elsewhere = elsewhere.into_iter().peekable();
    let mut out = Vec::new();
    for entry in &incident.entries {
        let before: Vec<u64> = std::iter::from_fn(|| elsewhere.next_if(|row| *row < entry.seq)).collect();
        out.extend(teller.on_the_host(&before, Some(&entry.body)));
        teller.entry(entry, &mut out);
    }
    let rest: Vec<u64> = elsewhere.collect();
    out.extend(teller.on_the_host(&rest, None));
    out
}

/// `row 7`, `rows 7 to 9`.
fn rows(list: &[u64]) -> String {
    match list {
        [one] => format!("row {one}"),
        [a, .., b] => format!("rows {a} to {b}"),
        [] => String::new(),
    }
}

fn facts(list: Vec<(&'static str, Option<Shown>)>) -> Part {
    Part::Facts(list.into_iter().filter_map(|(what, value)| Some((what, value?))).collect())
}

impl Teller<'_> {
    fn on_the_host(&self, list: &[u64], next: Option<&Body>) -> Option<Told> {
        let looked_first = matches!(next, Some(Body::Decision { .. })) || self.decisions == 0;
        (!list.is_empty()).then(|| Told {
            lane: if looked_first { Lane::Diagnose } else { Lane::Verify },
            rows: rows(list),
            when: None,
            badge: None,
            title: "Looked at the host; what was seen stays there".into(),
            parts: Vec::new(),
        })
    }

    fn entry(&mut self, entry: &Entry, out: &mut Vec<Told>) {
        let plus = moments::plus(words::seconds_between(self.opened, &entry.at));
        let told = |lane: Lane, badge: Option<Badge>, title: Shown, parts: Vec<Part>| Told {
            lane,
            rows: rows(&[entry.seq]),
            when: Some((plus.clone(), Stamp::of_day(entry.at.wall, self.opened.wall))),
            badge,
            title,
            parts,
        };
        let one = match &entry.body {
            Body::Opened { runbook, subject, signals } => {
                let title = format!("Opened by runbook {} for {}", Shown::name(&runbook.0), Shown::name(subject.to_string()));
                told(Lane::Detect, None, Shown::prose(title), raised(signals))
            }
            Body::Signals { signals } if signals.is_empty() => {
                told(Lane::Detect, Some(badge::good("cleared")), "Every signal has cleared".into(), Vec::new())
            }
            Body::Signals { signals } => told(Lane::Detect, None, "The signals are now".into(), raised(signals)),
            Body::Evidence { phase, .. } => {
                let lane = if matches!(phase, crate::model::Phase::Diagnosis { .. }) { Lane::Diagnose } else { Lane::Verify };
                told(lane, None, Shown::prose(words::sentence(&words::looked(*phase))), Vec::new())
            }
            Body::Decision { diagnosis, plan, .. } => {
                out.push(told(Lane::Diagnose, Some(sure(diagnosis.confidence)), Shown::name(&diagnosis.class), diagnosed(diagnosis)));
                let (title, parts) = self.decided(plan);
                let person = plan.escalate.is_some().then_some(badge::bad("a person is needed"));
                told(Lane::Decide, person, title, parts)
            }
            Body::Refused { round, step, kind, refusal } => {
                let title = Shown::prose(format!("Step {round}.{step}, {}", words::title(*kind)));
                told(Lane::Decide, Some(badge::bad("refused")), title, vec![refused(refusal)])
            }
            Body::Intent { intent, kind, files, bytes, on, .. } => {
                let what = facts(vec![
                    ("Works on", on.as_deref().map(Shown::name)),
                    ("Objects", (*files > 0).then(|| Shown::name(words::thousands(*files)))),
                    ("On disk", (*bytes > 0).then(|| Shown::name(Bytes(*bytes).to_string()))),
                ]);
                told(Lane::Act, Some(badge::plain("begun")), named(intent, Some(*kind)), vec![what])
            }
            Body::Effect { intent, effect } => {
                told(Lane::Act, Some(badge::effect(effect.state)), self.named(intent), self.effect(intent, effect))
            }
            Body::EffectUnknown { intent, why } => {
                let unknown = Some(badge::warn("what it did is not known"));
                told(Lane::Act, unknown, self.named(intent), vec![Part::Text(Shown::prose(why))])
            }
            Body::AfterStep { intent, after } => {
                let (badge, why) = match after {
                    AfterStep::Continue { why } => (badge::warn("not enough yet"), why),
                    AfterStep::Enough { why } => (badge::good("enough"), why),
                    AfterStep::Abort { why } => (badge::bad("stopped"), why),
                };
                let title = Shown::prose(format!("After step {}", Shown::name(intent.short())));
                told(Lane::Verify, Some(badge), title, vec![Part::Text(Shown::prose(why))])
            }
            Body::Verdict { verdict } => {
                told(Lane::Verify, Some(badge::verdict(verdict)), "Verdict".into(), vec![Part::Text(Shown::prose(words::why(verdict)))])
            }
            Body::Escalated { escalation } => {
                let mut parts = vec![Part::Text(Shown::prose(words::sentence(&escalation.reason)))];
                if self.last_escalation == Some(entry.seq) {
                    parts.push(Part::Text("Its commands stand above, under What to do next.".into()));
                } else {
                    parts.extend(entry_parts::commands(&escalation.follow_ups));
                }
                told(Lane::Decide, Some(badge::bad("a person was asked")), "Handed to a person".into(), parts)
            }
            Body::Undone { intent, effect } => {
                told(Lane::Act, Some(badge::plain("undone")), self.named(intent), self.effect(intent, effect))
            }
            Body::UndoRefused { intent, refusal } => {
                told(Lane::Act, Some(badge::bad("undo refused")), self.named(intent), vec![refused(refusal)])
            }
            Body::Note { text } => told(self.lane, None, "Note".into(), vec![Part::Text(Shown::prose(text))]),
            Body::Closed { outcome, summary } => {
                let parts = vec![Part::Text(Shown::prose(words::sentence(summary)))];
                told(Lane::Verify, Some(badge::outcome(Some(*outcome))), "Closed".into(), parts)
            }
        };
        self.decisions += usize::from(matches!(entry.body, Body::Decision { .. }));
        self.lane = one.lane;
        out.push(one);
    }

    fn named(&self, intent: &IntentId) -> Shown {
        named(intent, self.begun.get(intent).map(|s| s.kind))
    }

    fn decided(&self, plan: &Plan) -> (Shown, Vec<Part>) {
        let mut parts = Vec::new();
        if let Some(reason) = &plan.escalate {
            parts.push(Part::Text(Shown::prose(words::sentence(reason))));
        }
        let (list, more) = first(&plan.steps, entry_parts::MOST);
        let steps: Vec<StepBit> = (1..).zip(list).map(|(n, planned)| self.planned(n, planned)).collect();
        if !steps.is_empty() {
            parts.push(Part::Steps { steps, more });
        }
        parts.extend(entry_parts::not_available(&plan.not_available));
        let title = match plan.steps.len() {
            0 => "No step planned: nothing that BytePort may do would help here".into(),
            n => Shown::prose(format!("{} planned, least harm first", words::count(n as u64, "step"))),
        };
        (title, parts)
    }

    fn planned(&self, number: u32, planned: &PlannedStep) -> StepBit {
        let told = self.planned.get(&(self.decisions, number));
        StepBit {
            number: told.map_or_else(|| number.to_string(), |s| format!("{}.{number}", s.round)),
            title: words::title(planned.step.kind()),
            fate: told.map(|s| badge::fate(s.fate)),
            facts: vec![
                ("Does", Shown::prose(words::does(&planned.step))),
                ("Why", Shown::prose(&planned.why)),
                ("Expected", Shown::name(words::plan_expected(&planned.expected))),
                ("Undo", Shown::prose(words::undo(&planned.undo))),
            ],
        }
    }

    fn effect(&self, intent: &IntentId, effect: &Effect) -> Vec<Part> {
        let expected = self.begun.get(intent).and_then(|s| s.expected_bytes).filter(|b| b.0 > 0);
        let deviation = expected.map(|e| format!(" ({} of {e} expected)", words::deviation_text(e.0, effect.freed.0)));
        let on_a_disk = effect.freed.0 > 0 || effect.available_delta.is_some();
        let left_alone = (!effect.skipped.is_empty()).then(|| Shown::prose(words::skipped(effect)));
        let took = words::seconds_between(&effect.started, &effect.ended);
        let figures = facts(vec![
            ("Freed", on_a_disk.then(|| Shown::name(format!("{}{}", effect.freed, deviation.unwrap_or_default())))),
            ("Available space", effect.available_delta.map(|d| Shown::name(words::signed(d)))),
            ("Inodes", (effect.inodes > 0).then(|| Shown::name(words::thousands(effect.inodes)))),
            ("Acted on", Some(Shown::name(words::count(effect.done, "object")))),
            ("Left alone", left_alone),
            ("Took", Some(Shown::name(Seconds(took.max(0.0)).to_string()))),
        ]);
        let examples: Vec<String> = effect.examples.iter().map(|e| format!("{}: {}", e.what, words::skip(e.reason))).collect();
        [Some(figures), entry_parts::list("Notes", &effect.notes), entry_parts::list("Left alone, for example", &examples)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// `Step 1.2, delete rotated logs`.
fn named(intent: &IntentId, kind: Option<StepKind>) -> Shown {
    let number = Shown::name(intent.short());
    Shown::prose(kind.map_or_else(|| format!("Step {number}"), |kind| format!("Step {number}, {}", words::title(kind))))
}

fn sure(confidence: Confidence) -> Badge {
    if confidence >= Confidence::TO_ACT { badge::good("sure enough to act") } else { badge::warn("too unsure to act") }
}

fn raised(signals: &[Signal]) -> Vec<Part> {
    let told = |s: &Signal| format!("{} ({}): {}", Shown::name(&s.kind.0), s.severity.as_str(), Shown::prose(&s.detail));
    entry_parts::list("Raised", &signals.iter().take(entry_parts::MOST).map(told).collect::<Vec<_>>()).into_iter().collect()
}

fn diagnosed(d: &Diagnosis) -> Vec<Part> {
    let figures = facts(vec![
        ("Confidence", Some(Shown::name(format!("{} (the limit to act is {})", d.confidence, Confidence::TO_ACT)))),
        ("Behind it", d.behind.as_deref().map(Shown::prose)),
    ]);
    let all = [
        Some(Part::Text(Shown::prose(words::sentence(&d.summary)))),
        Some(figures),
        entry_parts::shares(&d.explained),
        entry_parts::findings("Found", &d.findings),
        entry_parts::list("Not seen, which lowered the confidence", &d.missing),
    ];
    all.into_iter().flatten().collect()
}

fn refused(refusal: &Refusal) -> Part {
    Part::Facts(vec![("Reason", Shown::prose(refusal.to_string())), ("What would change it", words::would_change(refusal.reason).into())])
}
