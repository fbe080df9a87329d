//! The agent: senses, detects, decides, records, tells. It changes nothing by itself; see `byteport-actuator`.

use std::process::ExitCode;
use std::time::Duration;

use byteport::cli::args::{Agent as Args, AgentVerb, SampleOnScrape};
use byteport::cli::enroll;
use byteport::engine::{self, DriverError, OnScrape};
use byteport::uplink::EnrolError;
use clap::Parser;

/// Longer than the pause between two greetings of the actuator, which are such work.
const BLOCKING_STAYS: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            drop(e.print());
            return if e.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("byteport-agent: {e:#}");
            let usage = matches!(e.downcast_ref(), Some(DriverError::Config(_) | DriverError::Web(_)))
                || matches!(e.downcast_ref(), Some(EnrolError::Setup(_)));
            ExitCode::from(if usage { 64 } else { 2 })
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(AgentVerb::Enroll(enrolment)) = &args.verb {
        return enroll::run(enrolment, &args.config, &mut std::io::stdout());
    }
    if args.once {
        use std::io::Write;
        std::io::stdout().write_all(engine::once(&args.config, &args.root)?.as_bytes())?;
        return Ok(());
    }
    if args.trust_new_record {
        return Ok(engine::trust_new_record(&args.config)?);
    }
    // Two workers carry the listeners and episodes; blocking reads have their own, few, threads. One of those is there at any time, because one
    // is needed more often than each is let go: where no other can be started, work waits for it.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_keep_alive(BLOCKING_STAYS)
        .enable_all()
        .build()?;
    let on_scrape = match args.sample_on_scrape {
        None => OnScrape::Nothing,
        Some(SampleOnScrape::Host) => OnScrape::Host,
        Some(SampleOnScrape::Processes) => OnScrape::Processes,
    };
    let (config, root) = (args.config.clone(), args.root.clone());
    // On a worker, where the listeners are: a scrape that waits for a sample is not handed from thread to thread.
    let ended = runtime.block_on(runtime.spawn(async move { engine::run(&config, &root, on_scrape).await }))?;
    // A reader that hangs in the kernel must not hold up the exit.
    runtime.shutdown_background();
    Ok(ended?)
}
