//! `audit verify`: whether everything is as it was written.

use std::fmt::Write as _;

use anyhow::Result;

use super::columns::count;
use super::desk::Desk;
use crate::cli::args::AuditVerb;
use crate::cli::{Done, Misused};
use crate::collector::store::{self, AuditChain, StreamChain, StreamVerified, Verified};
use crate::report::clean;

pub(super) fn run(verb: &AuditVerb, desk: &mut Desk<'_>) -> Result<Done> {
    let AuditVerb::Verify(args) = verb;
    let verified = match &args.head {
        Some(head) => store::verify_with(&desk.file(), &head.parse().map_err(Misused)?)?,
        None => store::verify(&desk.file())?,
    };
    desk.show(&verified, words)?;
    Ok(if verified.is_whole() { Done::Well } else { Done::Findings })
}

pub(super) fn words(verified: &Verified) -> String {
    let mut text = String::new();
    for stream in &verified.streams {
        let host = if stream.hostname.is_empty() { "an unknown host" } else { &stream.hostname };
        let named = format!("{} {}", clean(host), clean(&stream.stream));
        // A string takes all.
        let _ = writeln!(text, "{named}: {}", of(stream));
    }
    let _ = match &verified.audit {
        AuditChain::Whole { head } if head.idx == 0 => writeln!(text, "what people did here: nothing yet"),
        AuditChain::Whole { head } => {
            writeln!(text, "what people did here: whole, {}; its head, to be noted elsewhere: {head}", count(head.idx, "row"))
        }
        AuditChain::Broken { row, why } => writeln!(text, "what people did here: BROKEN at row {row}: {}", clean(why)),
    };
    text
}

fn of(stream: &StreamVerified) -> String {
    let StreamVerified { rows, chain, signed_through, acked_through, .. } = stream;
    let mut text = match chain {
        StreamChain::Whole => format!("whole, {}", count(*rows, "row")),
        StreamChain::Gap { before, unproven } => {
            let proven = count(rows - unproven, "row");
            let unproven = if *unproven > 0 { format!(", {} before it cannot be proven", count(*unproven, "row")) } else { String::new() };
            format!("whole from row {before} on, {proven}; the host dropped what is missing before it{unproven}")
        }
        StreamChain::Broken { row, why } => return format!("BROKEN at row {row}: {}", clean(why)),
    };
    match (signed_through, acked_through) {
        (signed, acked) if signed > acked => text += &format!("; {} that the host has signed have not come", count(signed - acked, "row")),
        (signed, acked) if signed < acked => text += &format!("; the host has not signed the last {}", count(acked - signed, "row")),
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::start::tests::typed;
    use crate::collector::store::test_file::{Made, agent};

    #[test]
    fn a_changed_row_is_a_finding_and_names_its_host() {
        let made = Made::new();
        assert_eq!(typed(&made, &["audit", "verify"]).well(), "what people did here: nothing yet\n");
        made.agent("web-1");
        made.stream(&agent("web-1"), "s1", 4);
        typed(&made, &["agent", "revoke", "web-1"]).well();
        let told = typed(&made, &["audit", "verify"]).well();
        assert!(told.starts_with("web-1 s1: whole, 4 rows\nwhat people did here: whole, 1 row; its head"), "{told}");
        let head = told.trim().rsplit(' ').next().unwrap();
        assert_eq!(typed(&made, &["audit", "verify", "--head", head]).well(), told);
        made.sql("UPDATE records SET at = 'null' WHERE seq = 2; DELETE FROM audit");
        let ran = typed(&made, &["audit", "verify", "--head", head]);
        assert!(ran.code == 1 && ran.out.contains("web-1 s1: BROKEN at row 4") && ran.out.contains("here: BROKEN at row 1"), "{ran:?}");
        let json: serde_json::Value = serde_json::from_str(&typed(&made, &["audit", "verify", "--json"]).out).unwrap();
        assert_eq!(json["streams"][0]["hostname"], "web-1");
    }
}
