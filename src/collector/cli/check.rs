//! `check [FILE…]`: what is wrong with the configuration, as a start would find it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::desk::Desk;
use crate::cli::args::CollectorCheck;
use crate::cli::{Done, Fault, json};
use crate::config::{self, Problem};
use crate::model::HostPath;

pub(super) fn run(args: &CollectorCheck, config: &Path, desk: &mut Desk<'_>) -> Result<Done> {
    let mut found: Vec<(PathBuf, Vec<Problem>, Vec<String>)> = Vec::new();
    if args.files.is_empty() {
        found.push(match config::load_collector(config) {
            Ok(loaded) => (config.to_owned(), Vec::new(), loaded.notes),
            Err(problems) => (config.to_owned(), problems, Vec::new()),
        });
    }
    found.extend(args.files.iter().map(|file| (file.clone(), config::check(file), Vec::new())));
    let done = if found.iter().all(|(_, problems, _)| problems.is_empty()) { Done::Well } else { Done::Findings };
    if desk.json {
        let faults: Vec<Fault> = found.iter().flat_map(|(_, problems, _)| problems).map(Fault::of).collect();
        desk.print(&json(&faults)?)?;
        return Ok(done);
    }
    for (file, problems, notes) in &found {
        if problems.is_empty() {
            desk.line(&format!("{}: ok", HostPath::from(file.as_path())))?;
        }
        for note in notes {
            desk.line(&format!("note: {note}"))?;
        }
        // A problem is several lines on purpose; each of them is one.
        for line in problems.iter().flat_map(|p| p.to_string().lines().map(str::to_owned).collect::<Vec<_>>()) {
            desk.line(&line)?;
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::start::tests::typed;
    use crate::collector::store::test_file::Made;

    #[test]
    fn the_configuration_is_checked_whole_and_files_one_by_one() {
        let made = Made::new();
        let told = typed(&made, &["check"]).well();
        assert!(told.ends_with("collector.toml: ok\n") && told.lines().count() == 1, "{told}");
        let drop_in = made.file().with_file_name("collector.toml.d").join("50.toml");
        fs::create_dir(drop_in.parent().unwrap()).unwrap();
        fs::write(&drop_in, "sinks = []\n").unwrap();
        assert!(typed(&made, &["check"]).well().contains("note: sinks is empty"));
        fs::write(&drop_in, "people_listen = \"0.0.0.0:1\"\nzebra = 1\n").unwrap();
        for words in [&["check"][..], &["check", drop_in.to_str().unwrap()]] {
            let ran = typed(&made, words);
            assert!(ran.code == 1 && ran.err.is_empty() && ran.out.contains("50.toml:2:1: unknown key `zebra`"), "{ran:?}");
        }
        let json: serde_json::Value = serde_json::from_str(&typed(&made, &["check", "--json"]).out).unwrap();
        assert_eq!((json[0]["line"].as_u64(), json[0]["message"].as_str()), (Some(2), Some("unknown key `zebra`")), "{json}");
    }
}
