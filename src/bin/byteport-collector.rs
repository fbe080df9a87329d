//! The collector: takes what agents report, keeps it, shows it. See `byteport::collector`.

use std::io;
use std::process::ExitCode;

use byteport::collector::cli::{Streams, start, who};
use byteport::config::{Collector, Loaded};

fn main() -> ExitCode {
    // Not locked: a collector that serves writes messages to stdout from a thread of its own.
    let streams = Streams { out: &mut io::stdout(), err: &mut io::stderr(), by: who() };
    ExitCode::from(start(std::env::args_os(), streams, &serve))
}

fn serve(_loaded: Loaded<Collector>) -> anyhow::Result<()> {
    anyhow::bail!("serve comes at the merge")
}
