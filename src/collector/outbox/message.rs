//! What is told of an incident, as data: how it looks is each destination's own affair. Pure.

use serde_json::{Value, json};

use crate::model::{Body, IncidentSummary};

/// `about` is `escalated` or `closed`, `body` the row that it comes from, `summary` the incident after that row.
pub fn told(about: &str, hostname: &str, agent_id: &str, summary: &IncidentSummary, body: &Body) -> Value {
    let (reason, follow_ups) = match body {
        Body::Escalated { escalation } => (Some(&escalation.reason), escalation.follow_ups.as_slice()),
        _ => (None, [].as_slice()),
    };
    // Whoever is woken by this may know nothing of the host: what it has found, and what a colleague needs, are always among them.
    let own = [
        ("on the host: why this class, these steps and each refusal", format!("byteportctl explain {}", summary.id)),
        ("on the host: the whole story, for a ticket", format!("byteportctl incidents show {} --markdown", summary.id)),
    ];
    let own = own.iter().map(|(why, command)| json!({"why": why, "command": command}));
    let next_steps: Vec<Value> = follow_ups.iter().map(|step| json!({"why": step.why, "command": step.command})).chain(own).collect();
    json!({
        "about": about,
        "host": hostname,
        "agent_id": agent_id,
        "incident": summary.id,
        "runbook": summary.runbook,
        "subject": summary.subject.to_string(),
        "class": summary.class,
        "summary": summary.summary,
        "outcome": summary.outcome,
        "reason": reason,
        "next_steps": next_steps,
        "opened": summary.opened.wall,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, Escalation, FollowUp, IncidentId, Now, Outcome, RunbookId, Subject};

    fn summary() -> IncidentSummary {
        IncidentSummary {
            id: IncidentId("disk-1".into()),
            runbook: RunbookId::new("disk"),
            subject: Subject::Filesystem { mount: "/var".into(), device: 7 },
            opened: Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId("b".into()), uptime_s: 1.0 },
            closed: None,
            class: Some("logs".into()),
            outcome: None,
            summary: "/var fills".into(),
        }
    }

    #[test]
    fn an_escalation_says_what_must_be_decided_and_what_to_type() {
        let follow_ups = vec![FollowUp { why: "see who writes".into(), command: "du -x '/var/a b'".into() }];
        let body = Body::Escalated { escalation: Escalation { reason: "who may delete this?".into(), follow_ups } };
        let expected = json!({
            "about": "escalated", "host": "web-1", "agent_id": "ab", "incident": "disk-1", "runbook": "disk", "subject": "/var",
            "class": "logs", "summary": "/var fills", "outcome": null, "reason": "who may delete this?",
            "opened": "1970-01-01T00:00:00Z",
        });
        let mut told = told("escalated", "web-1", "ab", &summary(), &body);
        let next = told["next_steps"].take();
        told.as_object_mut().unwrap().remove("next_steps");
        assert_eq!(told, expected);
        let commands: Vec<&str> = next.as_array().unwrap().iter().filter_map(|s| s["command"].as_str()).collect();
        assert_eq!(commands, ["du -x '/var/a b'", "byteportctl explain disk-1", "byteportctl incidents show disk-1 --markdown"]);
    }

    #[test]
    fn what_is_closed_says_how() {
        let body = Body::Closed { outcome: Outcome::Cleared, summary: "it went away".into() };
        let closed = IncidentSummary { outcome: Some(Outcome::Cleared), summary: "it went away".into(), ..summary() };
        let told = told("closed", "web-1", "ab", &closed, &body);
        assert_eq!((&told["outcome"], &told["summary"], &told["reason"]), (&json!("cleared"), &json!("it went away"), &Value::Null));
        assert_eq!(told["next_steps"].as_array().unwrap().len(), 2, "where it can be read up");
    }
}
