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

/// What a build needs, without the programs: they would only be linked for nothing.
fn copy_tree(to: &Path) {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in ["Cargo.lock", "build.rs", "src", "docs", "fixtures/cases", "tests/registry.rs", "tests/cases.rs"] {
        copy(&repo.join(part), &to.join(part), &repo.join("src/bin"));
    }
    let manifest = fs::read_to_string(repo.join("Cargo.toml")).unwrap();
    let kept: Vec<&str> = manifest.lines().filter(|l| !l.starts_with("default-run")).collect();
    fs::write(to.join("Cargo.toml"), kept.join("\n")).unwrap();
}

fn copy(from: &Path, to: &Path, not: &Path) {
    if from == not {
        return;
    }
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()), not);
        }
        return;
    }
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
}

/// The module line below the last one of its kind, the entry at the end of the list.
fn register(file: &Path, text: &str) {
    let mut code = fs::read_to_string(file).unwrap();
    for line in text.lines() {
        if line.ends_with(';') {
            let after = code.find("pub mod disk;\n").expect("a module to stand beside") + "pub mod disk;\n".len();
            code.insert_str(after, &format!("{line}\n"));
        } else {
            let list = code.find("pub static ALL").expect("the registry");
            let end = list + code[list..].find("];").expect("the end of the registry");
            code.insert_str(end, &format!(", {line}"));
        }
    }
    fs::write(file, code).unwrap();
}

#[test]
fn the_walk_through_works_as_it_is_written() {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(repo.join("CONTRIBUTING.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    copy_tree(dir.path());
    let mut written: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut ran = 0;
    for block in blocks(&page) {
        if let Some(path) = block.does.strip_prefix("file=") {
            let path = dir.path().join(path);
            assert!(!path.exists(), "{} is there already", path.display());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &block.text).unwrap();
            written.insert(path, block.text);
        } else if let Some(path) = block.does.strip_prefix("add=") {
            register(&dir.path().join(path), &block.text);
        } else if block.does == "run" {
            for command in block.text.lines() {
                run(dir.path(), command);
                ran += 1;
            }
        }
    }
    assert!(written.len() >= 8 && ran >= 1, "the walk-through lost its blocks: {} files, {ran} commands", written.len());
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
