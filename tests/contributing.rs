//! Follows the walk-through of CONTRIBUTING.md in a copy of the tree, and runs the laws there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A fenced block: what its first line says after the language, and its text.
struct Block {
    does: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut out = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|l| *l != "```").collect();
        let does = info.split_once(' ').map_or("", |(_, does)| does);
        out.push(Block { does: does.to_owned(), text: text.join("\n") + "\n" });
    }
    out
}

/// The tree that the walk-through is followed in: written only where it changed, so that a second run compiles nothing anew.
struct Copy {
    at: PathBuf,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Copy {
    /// What a build needs, without the programs: they would only be linked for nothing.
    fn of(repo: &Path, at: PathBuf) -> Copy {
        let mut copy = Copy { at, files: BTreeMap::new() };
        for part in ["Cargo.lock", "build.rs", "src", "templates", "docs", "fixtures/cases", "tests/registry.rs", "tests/cases.rs"] {
            copy.take(repo, Path::new(part));
        }
        let manifest = fs::read_to_string(repo.join("Cargo.toml")).unwrap();
        let mut named = false;
        let kept = manifest.lines().filter(|line| {
            if line.starts_with('[') {
                // Benchmarks and programs that are named one by one stay behind as well, and so does what fuzzes.
                named = line.starts_with("[[") || line.trim() == "[workspace]";
            }
            !named && !line.starts_with("default-run")
        });
        // A workspace of its own: the folder it is copied to lies in that of the original.
        let manifest = kept.chain(["[workspace]", ""]).collect::<Vec<_>>().join("\n");
        copy.files.insert("Cargo.toml".into(), manifest.into_bytes());
        copy
    }

    fn take(&mut self, repo: &Path, part: &Path) {
        let from = repo.join(part);
        if part == Path::new("src/bin") {
            return;
        }
        if from.is_dir() {
            for entry in fs::read_dir(from).unwrap() {
                self.take(repo, &part.join(entry.unwrap().file_name()));
            }
        } else {
            self.files.insert(part.into(), fs::read(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display())));
        }
    }

    fn write(&self) {
        if self.at.exists() {
            self.clear(&self.at);
        }
        for (path, bytes) in &self.files {
            let path = self.at.join(path);
            if fs::read(&path).ok().as_ref() != Some(bytes) {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, bytes).unwrap();
            }
        }
    }

    /// Files of an earlier run that do not belong to this one.
    fn clear(&self, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            // Not by the path: a link to a directory is a file of ours, and what it leads to is not.
            if entry.file_type().unwrap().is_dir() {
                self.clear(&path);
            } else if !self.files.contains_key(path.strip_prefix(&self.at).unwrap()) {
                fs::remove_file(&path).unwrap();
            }
        }
    }
}

/// The module line below the last one of its kind, the entry at the end of the list.
fn register(code: &mut Vec<u8>, text: &str) {
    let mut new = String::from_utf8(std::mem::take(code)).unwrap();
    for line in text.lines() {
        if line.ends_with(';') {
            let beside = "pub mod disk;\n";
            let after = new.find(beside).expect("a module to stand beside") + beside.len();
            new.insert_str(after, &format!("{line}\n"));
        } else {
            let list = new.find("pub static ALL").expect("the registry");
            let end = list + new[list..].find("];").expect("the end of the registry");
            new.insert_str(end, &format!(", {line}"));
        }
    }
    *code = new.into_bytes();
}

#[test]
fn the_walk_through_works_as_it_is_written() {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(repo.join("CONTRIBUTING.md")).unwrap();
    let mut copy = Copy::of(repo, Path::new(env!("CARGO_TARGET_TMPDIR")).join("walk-through"));
    let mut commands = Vec::new();
    let before = copy.files.len();
    for block in blocks(&page) {
        if let Some(path) = block.does.strip_prefix("file=") {
            assert!(copy.files.insert(path.into(), block.text.into_bytes()).is_none(), "{path} is there already");
        } else if let Some(path) = block.does.strip_prefix("add=") {
            register(copy.files.get_mut(Path::new(path)).expect("a file to add to"), &block.text);
        } else if block.does == "run" {
            commands.extend(block.text.lines().map(str::to_owned));
        }
    }
    let new = copy.files.len() - before;
    assert!(new >= 8 && !commands.is_empty(), "the walk-through lost its blocks: {new} files, {commands:?}");
    copy.write();
    for command in commands {
        run(&copy.at, &command);
    }
}

/// In the target directory of this build, so that nothing but the copy itself is compiled; without optimisation, to be quick.
fn run(dir: &Path, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[0], "cargo", "{command}");
    let target = Path::new(env!("CARGO_BIN_EXE_byteportctl")).parent().unwrap().parent().unwrap();
    let done = Command::new(env!("CARGO"))
        .args(&words[1..])
        .args(["--offline", "--quiet"])
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "`{command}` in a copy with the new runbook:\n{said}");
    assert!(said.contains("test result: ok"), "{said}");
}
