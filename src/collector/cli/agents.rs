//! `agent list|show|revoke|quarantine|release`: the hosts, and who of them is listened to.

use std::fmt::Write as _;

use anyhow::Result;

use super::columns::{columns, count, utc, utc_or};
use super::desk::Desk;
use crate::cli::Done;
use crate::cli::args::{HostVerb, Quarantine};
use crate::collector::store::Changed;
use crate::collector::view::{Host, HostRow, StreamRow};
use crate::report::clean;

pub(super) fn run(verb: &HostVerb, desk: &mut Desk<'_>) -> Result<Done> {
    match verb {
        HostVerb::List => list(desk),
        HostVerb::Show(agent) => show(&agent.id, desk),
        HostVerb::Revoke(agent) => revoke(&agent.id, desk),
        HostVerb::Quarantine(args) => quarantine(args, desk),
        HostVerb::Release(agent) => release(&agent.id, desk),
    }
}

fn list(desk: &mut Desk<'_>) -> Result<Done> {
    let hosts = desk.admin()?.agents(desk.now)?;
    desk.show(&hosts, |hosts| {
        if hosts.is_empty() {
            return "No hosts. `byteport-collector token create` makes a token that lets one in.\n".into();
        }
        let row = |h: &HostRow| {
            let signals = h.signals.iter().map(|s| s.kind.to_string()).collect::<Vec<_>>().join(" ");
            [
                h.agent_id.clone(),
                h.hostname.clone(),
                h.standing.as_str().into(),
                utc_or(h.seen_at, "never"),
                if h.mode.is_empty() { "-".into() } else { h.mode.clone() },
                h.open_incidents.to_string(),
                h.waiting.to_string(),
                h.version.clone(),
                h.why.clone().unwrap_or(signals),
            ]
        };
        let head = ["AGENT", "HOST", "STANDING", "SEEN", "MODE", "OPEN", "WAITING", "VERSION", "WHY"];
        columns(head, hosts.iter().map(row))
    })
}

fn show(name: &str, desk: &mut Desk<'_>) -> Result<Done> {
    let host = desk.admin()?.agent(name, desk.now)?;
    desk.show(&host, |host| words(host).unwrap_or_default())
}

/// Only a string is written to, which takes all.
fn words(host: &Host) -> Result<String, std::fmt::Error> {
    let (mut text, row) = (String::new(), &host.row);
    writeln!(text, "{}: {}", clean(&row.hostname), row.standing.as_str())?;
    if let Some(why) = &row.why {
        writeln!(text, "  quarantined because: {}", clean(why))?;
    }
    writeln!(text, "  agent      {}, version {}", clean(&row.agent_id), clean(&row.version))?;
    writeln!(text, "  enrolled   {}", utc(host.enrolled_at))?;
    writeln!(text, "  seen       {}", utc_or(row.seen_at, "never"))?;
    if let Some(skew_s) = row.skew_s {
        writeln!(text, "  its clock  {skew_s:+.1} s against this one")?;
    }
    if !row.mode.is_empty() {
        let open = count(row.open_incidents, "open incident");
        writeln!(text, "  mode       {}, {open}, {} waiting to be sent", clean(&row.mode), count(row.waiting, "row"))?;
    }
    for held_by in &host.held_by {
        writeln!(text, "  held by    {}", clean(held_by))?;
    }
    for signal in &row.signals {
        writeln!(text, "  raised     {} on {}: {}", clean(&signal.kind.0), clean(&signal.subject.to_string()), clean(&signal.detail))?;
    }
    for StreamRow { stream, acked_through, gap_before, signed_through, .. } in &host.streams {
        let gap = gap_before.map_or(String::new(), |row| format!(", rows before {row} were dropped by the host"));
        writeln!(text, "  record     {} up to row {acked_through}, signed up to {signed_through}{gap}", clean(stream))?;
    }
    for incident in &host.incidents {
        let outcome = incident.summary.outcome.map_or("open", |outcome| outcome.as_str());
        writeln!(text, "  incident   {} {outcome}: {}", clean(&incident.summary.id.0), clean(&incident.summary.summary))?;
    }
    Ok(text)
}

fn revoke(name: &str, desk: &mut Desk<'_>) -> Result<Done> {
    let mut admin = desk.admin()?;
    let id = admin.resolve(name)?;
    match admin.revoke_agent(&id, &desk.by, desk.now)? {
        Changed::Now => desk.line(&format!("agent {id} is revoked: to report again it has to enrol anew")),
        Changed::Before(_) => desk.line(&format!("agent {id} was revoked before")),
    }
}

fn quarantine(args: &Quarantine, desk: &mut Desk<'_>) -> Result<Done> {
    let mut admin = desk.admin()?;
    let id = admin.resolve(&args.agent.id)?;
    match admin.quarantine_agent(&id, &args.why, &desk.by, desk.now)? {
        Changed::Now => desk.line(&format!("agent {id} is quarantined; `byteport-collector agent release {id}` ends it")),
        Changed::Before(why) => {
            desk.line(&format!("agent {id} was quarantined before, which stays: {}", why.as_deref().unwrap_or("nobody said why")))
        }
    }
}

fn release(name: &str, desk: &mut Desk<'_>) -> Result<Done> {
    let mut admin = desk.admin()?;
    let id = admin.resolve(name)?;
    match admin.release_agent(&id, &desk.by, desk.now)? {
        Changed::Now => desk.line(&format!("agent {id} is released: it is listened to again")),
        Changed::Before(_) => desk.line(&format!("agent {id} is not quarantined")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::start::tests::typed;
    use crate::collector::store::test_file::{Made, NOW_MS, agent};

    #[test]
    fn a_host_is_listed_shown_quarantined_released_and_revoked() {
        let made = Made::new();
        assert!(typed(&made, &["agent", "list"]).well().contains("token create"));
        made.agent("web-1").heard(NOW_MS, "[]");
        made.agent("web-2");
        made.stream(&agent("web-1"), "s1", 3);
        let id = agent("web-1");
        let listed = typed(&made, &["agent", "list"]).well();
        assert!(listed.lines().count() == 3 && listed.contains(&id) && listed.contains("awaited"), "{listed}");
        assert!(typed(&made, &["agent", "show", "web-1"]).well().contains("s1 up to row 3, signed up to 3\n"));
        let ran = typed(&made, &["agent", "quarantine", "web-1", "--why", "cloned"]);
        assert!(ran.well().contains(&format!("agent release {id}")));
        assert!(typed(&made, &["agent", "quarantine", &id, "--why", "x"]).well().contains("which stays: cloned"));
        assert!(typed(&made, &["agent", "show", &id[..8]]).well().contains("web-1: quarantined\n  quarantined because: cloned\n"));
        assert!(typed(&made, &["agent", "release", &id]).well().contains("released"));
        assert!(typed(&made, &["agent", "release", &id]).well().contains("is not quarantined"));
        assert!(typed(&made, &["agent", "revoke", "web-1"]).well().contains("enrol anew"));
        assert!(typed(&made, &["agent", "revoke", "web-1"]).well().contains("before"));
        let json: serde_json::Value = serde_json::from_str(&typed(&made, &["agent", "list", "--json"]).well()).unwrap();
        assert!(json.as_array().unwrap().iter().any(|h| h["hostname"] == "web-1" && h["standing"] == "revoked"), "{json}");
        let json: serde_json::Value = serde_json::from_str(&typed(&made, &["agent", "show", "web-2", "--json"]).well()).unwrap();
        assert_eq!(json["row"]["standing"], "awaited");
        let ran = typed(&made, &["agent", "revoke", "web-9"]);
        assert!(ran.code == 2 && ran.err.contains("no agent web-9: `byteport-collector agent list` lists them"), "{ran:?}");
    }
}
