//! From what was typed to an exit code.

use std::ffi::OsString;
use std::io::Write;

use anyhow::Result;

use super::desk::Desk;
use super::{agents, audit, backup, check, outbox, tokens};
use crate::cli::args::{Collector as Args, CollectorVerb as Verb};
use crate::cli::{Done, exit};
use crate::collector::clock;
use crate::config::{self, Loaded};
use crate::report::clean;

/// The outside of a run. Neither is locked: a collector that serves writes to both.
pub struct Streams<'a> {
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
    /// Who types, as [`super::who`] says.
    pub by: String,
}

/// Serves agents and people until it is told to stop.
pub type Serve<'a> = &'a dyn Fn(Loaded<config::Collector>) -> Result<()>;

/// Runs one command; the answer is the exit code.
pub fn start(argv: impl IntoIterator<Item = OsString>, to: Streams<'_>, serve: Serve<'_>) -> u8 {
    let Streams { out, err, by } = to;
    let args: Args = match exit::parsed(argv, out, err) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let mut desk = Desk { out, err, json: args.json, state_dir: "".into(), by, now: clock::wall() };
    if let Verb::Check(files) = &args.verb {
        let done = check::run(files, &args.config, &mut desk);
        return code(done, &mut desk);
    }
    let loaded = match config::load_collector(&args.config) {
        Ok(loaded) => loaded,
        Err(problems) => {
            for line in problems.iter().flat_map(|p| p.to_string().lines().map(clean).collect::<Vec<_>>()) {
                // Nobody is left to tell when stderr is gone.
                let _ = writeln!(desk.err, "{line}");
            }
            return exit::USAGE;
        }
    };
    desk.state_dir.clone_from(&loaded.config.state_dir);
    let done = match &args.verb {
        Verb::Serve => serve(loaded).map(|()| Done::Well),
        Verb::Token(verb) => tokens::run(verb, &mut desk),
        Verb::Agent(verb) => agents::run(verb, &mut desk),
        Verb::Outbox(verb) => outbox::run(verb, &mut desk),
        Verb::Backup(verb) => backup::run(verb, &mut desk),
        Verb::Audit(verb) => audit::run(verb, &mut desk),
        Verb::Check(files) => check::run(files, &args.config, &mut desk),
    };
    code(done, &mut desk)
}

fn code(done: Result<Done>, desk: &mut Desk<'_>) -> u8 {
    exit::code(done, "byteport-collector", desk.out, desk.err)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;
    use crate::collector::store::test_file::{Made, agent};

    /// What one run came to.
    #[derive(Debug)]
    pub(in crate::collector::cli) struct Ran {
        pub(in crate::collector::cli) code: u8,
        pub(in crate::collector::cli) out: String,
        pub(in crate::collector::cli) err: String,
    }

    impl Ran {
        pub(in crate::collector::cli) fn well(self) -> String {
            assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
            self.out
        }
    }

    /// Types it, on the file of this collector.
    pub(in crate::collector::cli) fn typed(made: &Made, words: &[&str]) -> Ran {
        let config = made.file().with_file_name("collector.toml");
        fs::write(&config, format!("state_dir = {:?}\n", made.file().parent().unwrap())).unwrap();
        typed_with(&config, words)
    }

    fn typed_with(config: &std::path::Path, words: &[&str]) -> Ran {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let argv = ["byteport-collector".into(), "--config".into(), config.into()].into_iter().chain(words.iter().map(OsString::from));
        let streams = Streams { out: &mut out, err: &mut err, by: "ann".into() };
        let code = start(argv, streams, &|loaded| anyhow::bail!("served {}", loaded.config.agents_listen));
        Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
    }

    #[test]
    fn wrong_arguments_are_64_and_help_is_0() {
        let made = Made::new();
        for wrong in [
            &["nonsense"][..],
            &[],
            &["token"],
            &["token", "create", "--uses", "0"],
            &["token", "create", "--expires", "31d"],
            &["token", "create", "--expires", "10"],
            &["agent", "quarantine", "a"],
            &["outbox", "replay", "x"],
            &["backup", "create"],
            &["audit", "verify", "--head", "1:zz"],
        ] {
            let ran = typed(&made, wrong);
            assert!(ran.code == 64 && ran.out.is_empty() && !ran.err.is_empty(), "{wrong:?}: {ran:?}");
        }
        assert!(typed(&made, &["--help"]).well().contains("Exit codes: 0 all is well"));
        assert!(typed(&made, &["backup", "create", "--help"]).well().contains("collector.db-wal"));
    }

    #[test]
    fn a_wrong_configuration_is_64_and_told_whole() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("collector.toml");
        fs::write(&config, "agents_listen = 1\nzebra = 2\n").unwrap();
        for verb in [&["serve"][..], &["token", "list"]] {
            let ran = typed_with(&config, verb);
            assert!(ran.code == 64 && ran.err.contains(":1:") && ran.err.contains("unknown key `zebra`"), "{ran:?}");
        }
    }

    #[test]
    fn to_serve_is_somebody_elses_and_an_error_is_2() {
        let ran = typed(&Made::new(), &["serve"]);
        assert_eq!((ran.code, ran.err.as_str()), (2, "byteport-collector: served 127.0.0.1:9635\n"));
    }

    #[test]
    fn without_a_collector_nothing_is_made() {
        let made = Made::new();
        fs::remove_file(made.file()).unwrap();
        for verb in [
            &["token", "list"][..],
            &["token", "create"],
            &["agent", "list"],
            &["agent", "revoke", "a"],
            &["outbox", "list"],
            &["audit", "verify"],
            &["backup", "create", "/nowhere/b"],
        ] {
            let ran = typed(&made, verb);
            assert!(ran.code == 2 && ran.out.is_empty() && ran.err.contains("is state_dir right"), "{verb:?}: {ran:?}");
        }
        assert!(!made.file().exists());
    }

    #[test]
    fn names_from_hosts_colour_no_terminal() {
        let made = Made::new();
        made.agent("a\u{1b}[31m");
        for words in [&["agent", "list"][..], &["agent", "list", "--json"], &["agent", "show", &agent("a\u{1b}[31m")]] {
            let out = typed(&made, words).well();
            assert!(out.contains("[31m") && !out.contains('\u{1b}'), "{words:?}: {out}");
        }
    }
}
