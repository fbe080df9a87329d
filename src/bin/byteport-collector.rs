//! The collector: takes what agents report, keeps it, shows it. See `byteport::collector`.

use std::io;
use std::process::ExitCode;

use byteport::collector::cli::{Streams, start, who};
use byteport::config::{Collector, Loaded};
use byteport::events;

fn main() -> ExitCode {
    // Not locked: a collector that serves writes messages to stdout from a thread of its own.
    let streams = Streams { out: &mut io::stdout(), err: &mut io::stderr(), by: who() };
    ExitCode::from(start(std::env::args_os(), streams, &serve))
}

fn serve(loaded: Loaded<Collector>) -> anyhow::Result<()> {
    events::init_log(loaded.config.log_level);
    loaded.notes.iter().for_each(|note| tracing::warn!("configuration: {note}"));
    Ok(byteport::collector::serve::run(&loaded.config)?)
}
