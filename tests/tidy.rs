//! The architecture, checked: who may see whom, what pure modules must not touch, how large and how named files are.
//!
//! `ARCHITECTURE.md` says why. Each rule is a function over one file, so that each is tried on a small bad example below.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// One part of the tree: which modules of the crate it may name, and which outside paths it must not.
struct Wall {
    /// Paths from the repository's root; the first wall whose beginning fits rules.
    of: &'static str,
    sees: &'static [&'static str],
    never: &'static [&'static str],
}

/// What has an effect, or an answer that differs from call to call.
const EFFECTS: &[&str] = &[
    "std::fs",
    "std::process",
    "std::net",
    "std::env",
    "std::thread",
    "std::os::fd",
    "std::os::unix::fs",
    "std::os::unix::net",
    "std::os::unix::process",
    "std::time::SystemTime",
    "std::time::Instant",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "tokio",
    "rustix",
    "nix",
    "libc",
    "procfs",
    "sysinfo",
    "notify",
    "rusqlite",
    "zbus",
    "hyper",
    "hyper_util",
    "axum",
    "openssl",
    "tracing",
];

const ALL: &[&str] = &[
    "model",
    "wire",
    "config",
    "host",
    "sense",
    "detect",
    "route",
    "runbooks",
    "guard",
    "act",
    "engine",
    "record",
    "report",
    "events",
    "metrics",
    "cli",
    "serve",
    "uplink",
    "collector",
];

const WALLS: &[Wall] = &[
    Wall { of: "src/model/", sees: &["model"], never: EFFECTS },
    Wall { of: "src/wire/", sees: &["model", "wire"], never: &["tokio", "hyper", "axum", "rusqlite", "std::fs", "std::net"] },
    Wall { of: "src/host/", sees: &["model", "host"], never: &["rusqlite", "axum"] },
    Wall { of: "src/sense/", sees: &["model", "host", "sense"], never: &["rusqlite", "zbus", "axum", "std::fs", "std::process::Command"] },
    Wall { of: "src/detect/", sees: &["model", "detect"], never: EFFECTS },
    Wall { of: "src/route/", sees: &["model", "detect", "runbooks", "route"], never: EFFECTS },
    Wall { of: "src/guard/", sees: &["model", "guard"], never: EFFECTS },
    Wall { of: "src/report/", sees: &["model", "wire", "report"], never: EFFECTS },
    // Renders what it is given; the page is served by the engine.
    Wall { of: "src/metrics/", sees: &["model", "runbooks", "metrics"], never: EFFECTS },
    Wall { of: "src/engine/episode", sees: &["model", "runbooks", "guard", "engine"], never: EFFECTS },
    // To strangers over TCP, for the agent as for the collector.
    Wall { of: "src/serve/", sees: &["config", "serve"], never: &["rusqlite", "zbus", "std::process::Command"] },
    // From the agent's record to the collector: it decides nothing, and nothing that comes back is a command.
    Wall { of: "src/uplink/", sees: &["model", "wire", "record", "uplink"], never: &["rusqlite", "zbus", "axum", "std::process::Command"] },
    // Many hosts' records: it knows what travels, and nothing of hosts.
    Wall {
        of: "src/collector/store/",
        sees: &["model", "wire", "folder", "collector"],
        never: &["tokio", "axum", "hyper", "zbus", "std::process::Command", "std::net"],
    },
    // The collector's shell: what a person types there.
    Wall {
        of: "src/collector/cli/",
        sees: &["model", "wire", "config", "report", "cli", "collector"],
        never: &["rusqlite", "zbus", "tokio", "axum", "hyper", "std::process::Command", "std::net"],
    },
    Wall {
        of: "src/collector/",
        sees: &["model", "wire", "config", "serve", "report", "collector"],
        never: &["rusqlite", "zbus", "std::process::Command"],
    },
    // tokio only to wait for D-Bus and docker, on one thread; the socket itself is synchronous.
    Wall { of: "src/act/", sees: &["model", "wire", "guard", "host", "record", "act"], never: &["axum", "std::process::Command"] },
    Wall {
        of: "src/record/",
        sees: &["model", "wire", "guard", "host", "folder", "record"],
        never: &["tokio", "zbus", "axum", "std::process::Command", "std::net"],
    },
    // Everything else of the crate may be named by the shell around it, but nobody names what a person types.
    Wall { of: "src/cli/", sees: ALL, never: &["rusqlite", "zbus"] },
    Wall { of: "src/bin/", sees: ALL, never: &["rusqlite", "zbus"] },
    Wall {
        of: "src/",
        sees: &[
            "model", "wire", "config", "host", "sense", "detect", "route", "runbooks", "guard", "act", "engine", "record", "report",
            "events", "metrics", "serve", "uplink",
        ],
        never: &["rusqlite"],
    },
];

/// In a runbook's folder only this file reads the host; all others of it are pure.
const READS: &str = "gather.rs";
/// What the others may name of the host: questions, which are plain data, and in `mod.rs` the door that is handed on to [`READS`].
const QUESTIONS: &[&str] = &["crate::host::FamilyAsk", "crate::host::ScanAsk"];
const DOOR: &str = "crate::host::ReadHost";
const MOST_LINES: usize = 600;
const MOST_LINES_OF_A_PROGRAM: usize = 80;
const SYSCALLS: &str = "src/host/sys.rs";
/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc", "stuff"];
/// What is not finished does not land. In halves, as everywhere in this file: it is checked like any other.
const UNFINISHED: &[&str] =
    &[concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME"), concat!("TO", "DO"), concat!("#[ig", "nore")];
/// Places of one machine, and hosts that a distribution's own configuration names.
const FOREIGN: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tmp/", "wt"),
    concat!("deb.debian", ".org"),
    concat!("snapshot.debian", ".org"),
    concat!("static.crates", ".io"),
    concat!("/root/.", "cargo"),
];

/// A Rust file without what is not code: comments and the contents of literals are blanks, so are its test modules.
struct Code {
    path: String,
    text: String,
    /// Lines outside the test modules, comments included.
    lines: usize,
}

impl Code {
    fn of(path: &str, source: &str) -> Code {
        let (text, tests) = without_tests(&blanked(source));
        Code { path: path.into(), text, lines: source.lines().count() - tests }
    }

    fn wall(&self) -> Option<&'static Wall> {
        WALLS.iter().find(|wall| self.path.starts_with(wall.of))
    }

    /// The folder of the runbook that this file is part of.
    fn runbook(&self) -> Option<&str> {
        self.path.strip_prefix("src/runbooks/")?.split_once('/').map(|(folder, _)| folder)
    }

    /// Every path that is named, absolute within the crate: `crate::x`, `self::x` and `super::x` become `crate::…`.
    fn paths(&self) -> Vec<String> {
        let mut module: Vec<&str> = self.path.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
        if matches!(module.last(), Some(&"mod" | &"lib" | &"main")) {
            module.pop();
        }
        paths(&self.text)
            .into_iter()
            .map(|path| {
                let mut rest = path.split("::").peekable();
                let mut base = module.clone();
                match rest.peek() {
                    Some(&"self") => drop(rest.next()),
                    Some(&"super") => {}
                    _ => return path.clone(),
                }
                while rest.next_if_eq(&"super").is_some() {
                    base.pop();
                }
                std::iter::once("crate").chain(base).chain(rest).collect::<Vec<_>>().join("::")
            })
            .collect()
    }
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Comments and the contents of string and character literals replaced by blanks, line for line.
fn blanked(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let blank = |out: &mut String, part: &[char]| out.extend(part.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    let find = |from: usize, stop: &dyn Fn(usize) -> bool| (from..chars.len()).find(|i| stop(*i)).unwrap_or(chars.len());
    let mut at = 0;
    while at < chars.len() {
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        let end = match chars[at] {
            '/' if next == '/' => find(at, &|i| chars[i] == '\n'),
            '/' if next == '*' => find(at + 3, &|i| chars[i] == '/' && chars[i - 1] == '*').saturating_add(1).min(chars.len()),
            'r' if (next == '"' || next == '#') && (at == 0 || !is_ident(chars[at - 1]) || chars[at - 1] == 'b') => {
                let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
                if chars.get(at + 1 + hashes) == Some(&'"') {
                    let closes = |i: usize| chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
                    (find(at + 2 + hashes, &closes) + 1 + hashes).min(chars.len())
                } else {
                    at
                }
            }
            '"' => {
                let mut end = at + 1;
                while end < chars.len() && chars[end] != '"' {
                    end += if chars[end] == '\\' { 2 } else { 1 };
                }
                (end + 1).min(chars.len())
            }
            // A character, not a lifetime.
            '\'' if next == '\\' => find(at + 3, &|i| chars[i] == '\'') + 1,
            '\'' if chars.get(at + 2) == Some(&'\'') => at + 3,
            _ => at,
        };
        if end > at {
            blank(&mut out, &chars[at..end.min(chars.len())]);
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Takes `#[cfg(test)] mod … { … }` out; says how many lines that were.
fn without_tests(code: &str) -> (String, usize) {
    let (mut text, mut lines) = (code.to_owned(), 0);
    while let Some(start) = text.find("#[cfg(test)]") {
        let Some(open) = text[start..].find(['{', ';']).map(|i| start + i) else { break };
        let mut depth = 0;
        let end = text[open..]
            .char_indices()
            .find_map(|(i, c)| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                (depth == 0).then_some(open + i + 1)
            })
            .unwrap_or(text.len());
        lines += text[start..end].matches('\n').count() + 1;
        text.replace_range(start..end, "");
    }
    (text, lines)
}

/// All paths of at least two parts, `use` trees spread out: `std::{fs, io::Read}` is `std::fs` and `std::io::Read`.
fn paths(code: &str) -> Vec<String> {
    let (mut found, chars) = (Vec::new(), code.chars().collect::<Vec<_>>());
    let mut at = 0;
    while at < chars.len() {
        let begins = is_ident(chars[at]) && !chars[at].is_ascii_digit() && (at == 0 || !is_ident(chars[at - 1]));
        if begins {
            at = path(&chars, at, "", &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn path(chars: &[char], mut at: usize, before: &str, found: &mut Vec<String>) -> usize {
    let mut whole = before.to_owned();
    loop {
        let start = at;
        while at < chars.len() && is_ident(chars[at]) {
            at += 1;
        }
        if start < at {
            whole.push_str(if whole.is_empty() { "" } else { "::" });
            whole.extend(&chars[start..at]);
        }
        if chars.get(at) != Some(&':') || chars.get(at + 1) != Some(&':') {
            break;
        }
        at += 2;
        if chars.get(at) == Some(&'{') {
            at += 1;
            while at < chars.len() && chars[at] != '}' {
                if is_ident(chars[at]) { at = path(chars, at, &whole, found) } else { at += 1 }
            }
            return at + 1;
        }
    }
    if whole.contains("::") {
        found.push(whole);
    }
    at
}

/// Whether `path` is `of` or lies below it.
fn names(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn seen_through_walls(code: &Code) -> Vec<String> {
    let Some(wall) = code.wall() else { return Vec::new() };
    let mut faults = Vec::new();
    for path in code.paths() {
        let module = path.strip_prefix("crate::").and_then(|p| p.split("::").next());
        // A lower-case name is a module; `crate::Thing` would be an item of lib.rs, of which there are none.
        if let Some(module) = module.filter(|m| ALL.contains(m) && !wall.sees.contains(m)) {
            faults.push(format!("{} must not see `{module}` (it names `{path}`)", wall.of));
        }
        if let Some(never) = wall.never.iter().find(|never| names(&path, never)) {
            faults.push(format!("{} must not use `{never}` (it names `{path}`)", wall.of));
        }
    }
    faults
}

fn runbooks_keep_to_themselves(code: &Code) -> Vec<String> {
    let Some(own) = code.runbook() else { return Vec::new() };
    let reads = code.path.ends_with(READS);
    let mut faults = Vec::new();
    for path in code.paths() {
        let mut parts = path.split("::");
        match (parts.next(), parts.next(), parts.next()) {
            (Some("crate"), Some("model" | "guard" | "detect"), _) => {}
            (Some("crate"), Some("host"), _) if reads || QUESTIONS.contains(&path.as_str()) => {}
            (Some("crate"), Some("host"), _) if code.path.ends_with("/mod.rs") && path == DOOR => {}
            (Some("crate"), Some("host"), _) => faults.push(format!("only {READS} of a runbook may see the host (it names `{path}`)")),
            (Some("crate"), Some("runbooks"), Some(part)) if part == own || part == "registry" || part.starts_with(char::is_uppercase) => {}
            (Some("crate"), Some("runbooks"), Some(other)) => faults.push(format!("runbook {own} must not see runbook {other}")),
            (Some("crate"), Some(module), _) => faults.push(format!("a runbook must not see `{module}` (it names `{path}`)")),
            _ if !reads => {
                if let Some(never) = EFFECTS.iter().find(|never| names(&path, never)) {
                    faults.push(format!("only {READS} of a runbook may use `{never}`"));
                }
            }
            _ => {}
        }
    }
    faults
}

fn size(code: &Code) -> Vec<String> {
    let most = if code.path.starts_with("src/bin/") { MOST_LINES_OF_A_PROGRAM } else { MOST_LINES };
    if code.lines > most { vec![format!("{} lines without tests, at most {most}", code.lines)] } else { Vec::new() }
}

fn name(path: &str) -> Vec<String> {
    let empty = Path::new(path).components().map(|c| c.as_os_str().to_string_lossy().into_owned()).find(|part| {
        let stem = part.split('.').next().unwrap_or_default().to_lowercase();
        EMPTY_NAMES.contains(&stem.as_str()) || stem.ends_with("_utils") || stem.ends_with("_manager")
    });
    empty.map(|part| format!("`{part}` says nothing: name it after what it is")).into_iter().collect()
}

/// In the whole file, tests included: `blanked` is all its code.
fn unsafe_code(path: &str, blanked: &str) -> Vec<String> {
    let word = blanked.split(|c| !is_ident(c)).any(|word| word == concat!("un", "safe"));
    if word && path != SYSCALLS { vec![format!("only {SYSCALLS} may hold code that the compiler cannot check")] } else { Vec::new() }
}

fn words(path: &str, text: &str) -> Vec<String> {
    let mut faults: Vec<String> = FOREIGN.iter().filter(|w| text.contains(**w)).map(|w| format!("names `{w}`")).collect();
    // Prose may use these words; code may not.
    if path.ends_with(".rs") || path.ends_with(".sh") {
        faults.extend(UNFINISHED.iter().filter(|w| text.contains(**w)).map(|w| format!("has `{w}`: nothing unfinished lands")));
    }
    faults
}

/// Everything that is ours to keep tidy, as paths from the repository's root.
fn files() -> Vec<String> {
    fn walk(root: &Path, dir: PathBuf, found: &mut Vec<String>) {
        for entry in fs::read_dir(root.join(&dir)).expect("readable") {
            let entry = entry.expect("readable");
            let path = dir.join(entry.file_name());
            let skip = [".git", "target", "Cargo.lock"].iter().any(|s| path.as_os_str() == *s);
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() && !skip {
                walk(root, path, found);
            } else if kind.is_file() && !skip {
                found.push(path.to_str().expect("names here are UTF-8").to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), PathBuf::new(), &mut found);
    found.sort();
    found
}

fn read(path: &str) -> String {
    String::from_utf8_lossy(&fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("readable")).into_owned()
}

fn faults_of(path: &str, text: &str) -> Vec<String> {
    let mut faults = name(path);
    faults.extend(words(path, text));
    if path.ends_with(".rs") {
        faults.extend(unsafe_code(path, &blanked(text)));
        let code = Code::of(path, text);
        faults.extend(size(&code));
        if code.runbook().is_some() {
            faults.extend(runbooks_keep_to_themselves(&code));
        } else {
            faults.extend(seen_through_walls(&code));
        }
    }
    faults
}

#[test]
fn the_tree_keeps_its_rules() {
    let mut report = String::new();
    let files = files();
    assert!(files.iter().any(|f| f == "src/lib.rs"), "looked in the wrong place");
    for path in &files {
        for fault in faults_of(path, &read(path)) {
            writeln!(report, "{path}: {fault}").expect("a string takes all");
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn every_runbook_has_its_page() {
    let folders = files().iter().filter_map(|f| Code::of(f, "").runbook().map(str::to_owned)).collect::<std::collections::BTreeSet<_>>();
    assert!(!folders.is_empty());
    for folder in folders {
        let page = format!("docs/runbooks/{folder}.md");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&page).is_file(), "{page} is missing");
    }
}

/// The faults of a made-up file, as one text.
fn tried(path: &str, source: &str) -> String {
    faults_of(path, source).join("; ")
}

#[test]
fn comments_literals_and_test_modules_are_not_code() {
    let source = "// std::fs\n/* crate::act */\nconst A: &str = \"std::net \\\" tokio::x\";\nconst B: &str = r#\"rusqlite::\"x\"#;\nlet c = '\"';\n\
                  fn f<'a>() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn g() {}\n}\n";
    assert_eq!(tried("src/model/x.rs", source), "");
    assert_eq!(Code::of("x.rs", source).lines, 6);
    assert!(tried("src/model/x.rs", &source.replace("#[cfg(test)]", "")).contains("std::fs"));
}

#[test]
fn use_trees_are_spread_out() {
    assert_eq!(paths("use std::{fs, io::{self, Read}};"), ["std::fs", "std::io::self", "std::io::Read"]);
    let code = Code::of("src/runbooks/disk/plan.rs", "use super::super::tls::X; use self::y::Z; use super::A;");
    assert_eq!(code.paths(), ["crate::runbooks::tls::X", "crate::runbooks::disk::plan::y::Z", "crate::runbooks::disk::A"]);
}

#[test]
fn walls_hold() {
    assert!(tried("src/model/x.rs", "use crate::host::Clock;").contains("must not see `host`"));
    assert!(tried("src/detect/x.rs", "use super::super::act::apply;").contains("must not see `act`"));
    assert!(tried("src/act/x.rs", "fn f() { crate::runbooks::ALL; }").contains("must not see `runbooks`"));
    assert!(tried("src/engine/driver.rs", "use crate::cli::run;").contains("must not see `cli`"));
    assert!(tried("src/engine/episode.rs", "use crate::{model::Id, record::Ledger};").contains("must not see `record`"));
    assert!(tried("src/guard/x.rs", "use std::time::{Duration, Instant};").contains("std::time::Instant"));
    assert!(tried("src/report/x.rs", "let f = std::fs::read(p);").contains("std::fs"));
    assert!(tried("src/metrics/x.rs", "use crate::host::Clock; use std::fs;").contains("must not see `host`"));
    assert!(tried("src/sense/x.rs", "use rusqlite::Connection;").contains("rusqlite"));
    assert_eq!(tried("src/model/x.rs", "use std::time::Duration; use super::Bytes; use crate::model::Id;"), "");
    assert_eq!(tried("src/act/x.rs", "use crate::record::Ledger; use crate::guard::Admitted;"), "");
}

#[test]
fn runbooks_are_pure_and_strangers_to_each_other() {
    assert!(tried("src/runbooks/disk/plan.rs", "use crate::runbooks::memory::X;").contains("must not see runbook memory"));
    assert!(tried("src/runbooks/disk/plan.rs", "use super::super::memory::X;").contains("must not see runbook memory"));
    assert!(tried("src/runbooks/disk/plan.rs", "use crate::host::ReadHost;").contains("only gather.rs"));
    assert!(tried("src/runbooks/disk/verify.rs", "use std::env;").contains("std::env"));
    assert!(tried("src/runbooks/disk/gather.rs", "use crate::act::apply;").contains("must not see `act`"));
    assert!(tried("src/runbooks/disk/mod.rs", "use crate::host::LiveHost;").contains("only gather.rs"));
    assert_eq!(tried("src/runbooks/disk/gather.rs", "use crate::host::ReadHost; use crate::runbooks::registry::Runbook;"), "");
    assert_eq!(tried("src/runbooks/disk/mod.rs", "use crate::host::ReadHost;"), "");
}

#[test]
fn sizes_and_names_are_kept() {
    assert!(tried("src/host/x.rs", &"\n".repeat(601)).contains("601 lines"));
    assert_eq!(tried("src/host/x.rs", &"\n".repeat(600)), "");
    assert!(tried("src/bin/x.rs", &"\n".repeat(81)).contains("at most 80"));
    for bad in ["src/utils.rs", "src/host/common/x.rs", "tests/helper.rs", "src/engine/task_manager.rs"] {
        assert!(tried(bad, "").contains("says nothing"), "{bad}");
    }
}

#[test]
fn unchecked_code_has_one_place() {
    let source = concat!("fn f() { un", "safe { g() } }");
    assert!(tried("src/act/x.rs", source).contains("src/host/sys.rs"));
    assert!(tried("tests/x.rs", source).contains("src/host/sys.rs"));
    assert_eq!(tried(SYSCALLS, source), "");
}

#[test]
fn nothing_unfinished_and_nothing_of_this_machine_lands() {
    for word in UNFINISHED {
        assert!(tried("src/host/x.rs", &format!("{word})")).contains("unfinished"), "{word}");
    }
    for word in FOREIGN {
        assert!(tried("README.md", &format!("see {word}x")).contains("names"), "{word}");
    }
}
