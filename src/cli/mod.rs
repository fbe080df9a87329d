//! byteportctl: one verb a file, `run(args, ctx)`, printing to a writer that is passed in.

pub mod args;
