//! `bundle ID -o FILE`: one incident in one file that anybody may be given.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::args;
use super::ctx::{Ctx, Done};
use super::decided::{Find, decisions, differences};
use super::redact::{Kind, Redactor};
use crate::model::{Body, Entry};
use crate::runbooks;
use crate::wire::bundle::{Bundle, Redaction, VERSION};
use crate::wire::local::Incident;

#[expect(clippy::disallowed_methods, reason = "tells a person when the file was made; nothing is decided from it")]
pub fn run(args: &args::Bundle, ctx: &mut Ctx<'_>) -> Result<Done> {
    let loaded = ctx.incident(&args.id)?;
    let bundle = make(&loaded.incident, &loaded.host, jiff::Timestamp::now(), &runbooks::find)?;
    let text = serde_json::to_string_pretty(&bundle)? + "\n";
    let shown = args.output.display();
    // Not over something that is there, and for its owner's eyes first.
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.output).with_context(|| format!("cannot make {shown}"))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(|| format!("cannot write {shown}"))?;
    if ctx.json {
        return ctx.print_json(&bundle.redaction);
    }
    let masked: Vec<String> = bundle.redaction.masked.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    let masked = if masked.is_empty() { "nothing had to be masked".into() } else { format!("masked: {}", masked.join(", ")) };
    ctx.line(&format!("{shown}: {} of {} entries; {masked}", bundle.summary.id, bundle.entries.len()))?;
    for left in &bundle.redaction.left_in {
        ctx.line(&format!("NOT masked: {left}"))?;
    }
    if !bundle.redaction.differences.is_empty() {
        ctx.line("masking changed these parts of the decision:")?;
        for difference in &bundle.redaction.differences {
            ctx.line(&format!("  {difference}"))?;
        }
    }
    ctx.line("names are known by their form only: read the file before it leaves your hands")?;
    Ok(Done::Well)
}

/// Masks the record and decides again from what was masked, so that a replay has the same bytes to come to.
///
/// Where masking one kind of names leaves evidence that cannot be decided from (a host named like a word of the schema), that kind stays in and is named.
///
/// # Errors
/// When the record cannot be decided from even as it is.
pub fn make(incident: &Incident, host: &str, made_at: jiff::Timestamp, find: Find<'_>) -> Result<Bundle> {
    let whole = serde_json::to_value(incident)?;
    let everything = attempt(&whole, host, &Kind::ALL, find);
    let (redacted, mut redaction) = match everything {
        Ok(made) => made,
        Err(why) => {
            decide_all(incident.entries.clone(), find)?;
            let fewer = Kind::ALL.iter().map(|left| Kind::ALL.iter().copied().filter(|k| k != left).collect::<Vec<_>>());
            let (kinds, made) = fewer
                .chain([Vec::new()])
                .find_map(|kinds| attempt(&whole, host, &kinds, find).ok().map(|made| (kinds, made)))
                .with_context(|| format!("the record cannot be masked: {why:#}"))?;
            let (redacted, mut redaction) = made;
            let left = Kind::ALL.iter().filter(|k| !kinds.contains(k));
            redaction.left_in = left.map(|k| format!("names of kind {}: with them masked, {why:#}", k.as_str())).collect();
            (redacted, redaction)
        }
    };
    redaction.differences.sort();
    let host = Redactor::learn(&whole, host, &Kind::ALL).value("host", &Value::String(host.into()));
    let mut bundle = Bundle {
        bundle: VERSION,
        made_at,
        made_by: format!("byteportctl {}", super::VERSION),
        agent_version: redacted.agent_version,
        host: host.as_str().unwrap_or_default().to_owned(),
        redaction,
        chain: redacted.chain,
        summary: redacted.summary,
        entries: redacted.entries,
        sha256: String::new(),
    };
    bundle.sha256 = digest(&bundle)?;
    Ok(bundle)
}

/// SHA-256 of the bundle's compact JSON with its own field empty.
///
/// # Errors
/// When it cannot be JSON.
pub fn digest(bundle: &Bundle) -> Result<String> {
    let bare = Bundle { sha256: String::new(), ..bundle.clone() };
    Ok(hex(&openssl::sha::sha256(&serde_json::to_vec(&bare)?)))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn attempt(whole: &Value, host: &str, kinds: &[Kind], find: Find<'_>) -> Result<(Incident, Redaction)> {
    let redactor = Redactor::learn(whole, host, kinds);
    let mut incident: Incident = serde_json::from_value(redactor.value("", whole)).context("the record is not what it was")?;
    let masked = redactor.counts();
    let (entries, differences) = decide_all(incident.entries, find)?;
    incident.entries = entries;
    Ok((incident, Redaction { masked, left_in: Vec::new(), differences }))
}

/// The entries with every decision made again from the evidence before it, and where that reads differently.
fn decide_all(mut entries: Vec<Entry>, find: Find<'_>) -> Result<(Vec<Entry>, Vec<String>)> {
    let mut all = Vec::new();
    let mut again = Vec::new();
    for decision in decisions(&entries)? {
        let decided = decision.again(find)?;
        all.extend(differences(&decision.recorded(), &decided)?);
        again.push((decision.at, decided));
    }
    for (at, decided) in again {
        if let Body::Decision { diagnosis, plan, .. } = &mut entries[at].body {
            (*diagnosis, *plan) = (decided.diagnosis, decided.plan);
        }
    }
    Ok((entries, all))
}
