//! The agent: senses, detects, decides, records, tells. It changes nothing by itself; see `byteport-actuator`.

use std::process::ExitCode;

use byteport::cli::args::{Agent as Args, SampleOnScrape};
use byteport::engine::{self, DriverError, OnScrape};
use clap::Parser;

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
            let usage = matches!(e.downcast_ref(), Some(DriverError::Config(_) | DriverError::Web(_)));
            ExitCode::from(if usage { 64 } else { 2 })
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    if args.once {
        use std::io::Write;
        std::io::stdout().write_all(engine::once(&args.config, &args.root)?.as_bytes())?;
        return Ok(());
    }
    if args.trust_new_record {
        return Ok(engine::trust_new_record(&args.config)?);
    }
    // Two workers carry the listeners and episodes; blocking reads have their own, few, threads.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(16).enable_all().build()?;
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
