//! `replay FILE`: the same call on the same evidence, anywhere.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, Result, bail};

use super::args;
use super::bundle::{digest, hex};
use super::ctx::{Ctx, Done};
use super::decided::{Find, decisions, differences};
use crate::report::{self, Compared};
use crate::runbooks;
use crate::wire::bundle::{Bundle, VERSION};

/// No bundle is near this; a device given by mistake must not fill the memory.
const MAX_BYTES: u64 = 256 << 20;

pub fn run(args: &args::Replay, ctx: &mut Ctx<'_>) -> Result<Done> {
    let shown = args.file.display().to_string();
    let file = File::open(&args.file).with_context(|| format!("cannot open {shown}"))?;
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text).with_context(|| format!("cannot read {shown}"))?;
    if read as u64 > MAX_BYTES {
        bail!("{shown} is larger than {} MiB: not a bundle", MAX_BYTES >> 20);
    }
    let bundle = parse(&text).with_context(|| shown.clone())?;
    let compared = ctx.progress("deciding again", || compare(&bundle, &runbooks::find)).with_context(|| shown.clone())?;
    let untouched = digest(&bundle)? == bundle.sha256;
    let same = untouched && compared.iter().all(|c| c.differences.is_empty());
    if ctx.json {
        ctx.print_json(&serde_json::json!({ "untouched": untouched, "identical": same, "decisions": compared }))?;
    } else {
        let text = report::replay(&compared, ctx.paint);
        ctx.print(&text)?;
        if !untouched {
            ctx.line(&format!("{shown} was edited or damaged after it was made: its sha256 is another one"))?;
        }
    }
    Ok(if same { Done::Well } else { Done::Findings })
}

/// # Errors
/// When it is no bundle, one of a newer form, or one that lacks something.
pub fn parse(text: &str) -> Result<Bundle> {
    let value: serde_json::Value = serde_json::from_str(text).context("not JSON, so not a bundle")?;
    match value.get("bundle").and_then(serde_json::Value::as_u64) {
        None => bail!("not a bundle: `byteportctl bundle ID -o FILE` writes one"),
        Some(n) if n != u64::from(VERSION) => {
            bail!(
                "a bundle of form {n}, this version ({}) reads form {VERSION}: use the version that made it, or a newer one",
                super::VERSION
            )
        }
        Some(_) => serde_json::from_value(value).context("a bundle that is not whole"),
    }
}

/// # Errors
/// For what cannot be decided here at all; a different decision is no error but a difference.
pub fn compare(bundle: &Bundle, find: Find<'_>) -> Result<Vec<Compared>> {
    let all = decisions(&bundle.entries)?;
    if all.is_empty() {
        bail!("the incident {} ended before anything was decided: there is nothing to replay", bundle.summary.id);
    }
    (1..)
        .zip(all)
        .map(|(decision, recorded)| {
            let again = recorded.again(find)?;
            let (old, bytes) = (recorded.recorded(), again.bytes()?);
            let differences = if old.bytes()? == bytes { Vec::new() } else { differences(&old, &again)? };
            Ok(Compared {
                decision,
                bytes: bytes.len(),
                sha256: hex(&openssl::sha::sha256(&bytes)),
                diagnosis: again.diagnosis,
                plan: again.plan,
                differences,
            })
        })
        .collect()
}
