//! `outbox list|replay`: what was told, what was not, and once more.

use anyhow::Result;

use super::columns::{columns, utc, utc_or};
use super::desk::Desk;
use crate::cli::Done;
use crate::cli::args::OutboxVerb;
use crate::collector::view::{Delivery, DeliveryState};

pub(super) fn run(verb: &OutboxVerb, desk: &mut Desk<'_>) -> Result<Done> {
    match verb {
        OutboxVerb::List => list(desk),
        OutboxVerb::Replay(args) => {
            let new = desk.admin()?.replay_dead(args.id, &desk.by, desk.now)?;
            desk.line(&format!("message {} is sent again as {new}", args.id))
        }
    }
}

fn list(desk: &mut Desk<'_>) -> Result<Done> {
    let listed = desk.admin()?.outbox()?;
    desk.show(&listed, |listed| {
        if listed.is_empty() {
            return "No messages.\n".into();
        }
        let row = |d: &Delivery| {
            let (state, when) = match d.state {
                DeliveryState::Pending => ("pending", format!("next try {}", utc_or(d.next_at, "soon"))),
                DeliveryState::Sent => ("sent", utc_or(d.sent_at, "-")),
                DeliveryState::Dead => ("dead", "-".into()),
            };
            let [id, tries] = [d.id, d.attempts].map(|n| n.to_string());
            let (about, why) = (format!("{} {}", d.about, d.incident), d.last_error.clone().unwrap_or_default());
            [id, state.into(), d.destination.clone(), about, d.agent_id.clone(), tries, utc(d.created_at), when, why]
        };
        columns(["ID", "STATE", "TO", "ABOUT", "AGENT", "TRIES", "CREATED", "SENT", "LAST ERROR"], listed.iter().map(row))
    })?;
    // Somebody has not been told.
    Ok(if listed.iter().any(|d| d.state == DeliveryState::Dead) { Done::Findings } else { Done::Well })
}

#[cfg(test)]
mod tests {
    use super::super::start::tests::typed;
    use crate::collector::store::test_file::Made;

    #[test]
    fn a_dead_message_is_a_finding_and_is_sent_again() {
        let made = Made::new();
        assert_eq!(typed(&made, &["outbox", "list"]).well(), "No messages.\n");
        made.letter(1, "journal", "disk-1", "escalated", 5);
        assert!(typed(&made, &["outbox", "list"]).well().contains("next try 2026-"));
        let ran = typed(&made, &["outbox", "replay", "1"]);
        assert!(ran.code == 2 && ran.err.contains("message 1 is pending: only a dead one is sent again"), "{ran:?}");
        made.sql("UPDATE outbox SET state = 'dead', attempts = 8, last_error = 'disk full'");
        let ran = typed(&made, &["outbox", "list"]);
        assert!(ran.code == 1 && ran.err.is_empty() && ran.out.contains("dead") && ran.out.contains("disk full"), "{ran:?}");
        assert_eq!(typed(&made, &["outbox", "replay", "1"]).well(), "message 1 is sent again as 2\n");
        let json: serde_json::Value = serde_json::from_str(&typed(&made, &["outbox", "list", "--json"]).out).unwrap();
        assert_eq!((&json[0]["state"], &json[1]["state"], &json[1]["id"]), (&"dead".into(), &"pending".into(), &2.into()));
    }
}
