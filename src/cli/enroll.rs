//! `byteport-agent enroll`: makes this host known to a collector. Whether an agent runs here does not matter; one that does takes it up.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::args;
use crate::config;
use crate::engine::DriverError;
use crate::host::readiness::host_name;
use crate::host::{Clock as _, LiveHost};
use crate::uplink::{Enrolment, Patience, Secret, Setup, enrol};
use crate::wire::collector::About;

/// A token is some sixty letters.
const LONGEST_TOKEN: u64 = 4096;

/// Prints one line.
///
/// # Errors
/// With what to do next.
pub fn run(args: &args::Enroll, config: &Path, out: &mut dyn Write) -> Result<()> {
    let nothing_set = |_: &str| None;
    let loaded = config::load_agent(config, &nothing_set).map_err(DriverError::Config)?;
    let ca_file = args.ca_file.as_deref().map(readable).transpose()?;
    let setup =
        Setup { collector: args.collector.clone(), ca_file, proxy: args.proxy.clone(), insecure_plain_http: args.insecure_plain_http };
    let reaches_out = setup.address().is_ok_and(|collector| !collector.is_here());
    let about = About {
        hostname: host_name(),
        version: env!("CARGO_PKG_VERSION").into(),
        boot_id: LiveHost::new(Path::new("/"), None, None)?.now().boot.0,
    };
    let enrolment = Enrolment { state_dir: &loaded.config.state_dir, setup, token: token(&args.token_file)?, about, again: args.again };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let enrolled = runtime.block_on(enrol(enrolment, Patience::default()));
    // A name server that does not answer must not hold up the exit.
    runtime.shutdown_background();
    let agent_id = enrolled?;
    let sandbox = if reaches_out {
        "; as delivered its service reaches nobody but this host: allow the collector's address first (`systemctl edit byteport-agent`: \
         [Service] IPAddressAllow=ADDRESS)"
    } else {
        ""
    };
    let next = "a running agent reports within ten seconds, and `byteportctl status` says how that goes";
    writeln!(out, "this host is agent {agent_id} of {}: {next}{sandbox}", args.collector)?;
    Ok(())
}

/// The agent works in another folder; its file has to be found from there.
fn readable(ca_file: &Path) -> Result<std::path::PathBuf> {
    let path = std::path::absolute(ca_file)?;
    File::open(&path).with_context(|| format!("--ca-file {}", path.display()))?;
    Ok(path)
}

/// Never from the command line: everybody on the host may read that.
fn token(file: &Path) -> Result<Secret> {
    let mut text = String::new();
    let (what, read) = if file == Path::new("-") {
        ("standard input".to_owned(), std::io::stdin().take(LONGEST_TOKEN).read_to_string(&mut text))
    } else {
        let what = format!("--token-file {}", file.display());
        let opened = File::open(file).with_context(|| what.clone())?;
        (what, opened.take(LONGEST_TOKEN).read_to_string(&mut text))
    };
    read.with_context(|| what.clone())?;
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        bail!("{what} holds no token: one line of letters and digits is what the collector has given out");
    }
    Ok(Secret::new(token))
}
