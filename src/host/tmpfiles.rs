//! tmpfiles.d: what its owners said is never cleaned.

use std::collections::BTreeMap;

use super::root::{Root, if_there};
use super::{Read, pattern};
use crate::model::HostPath;

/// Weakest first: a file of the same name in a later folder replaces the whole file.
const FOLDERS: &[&str] = &["/usr/lib/tmpfiles.d", "/run/tmpfiles.d", "/etc/tmpfiles.d"];

/// The patterns of all `x` and `X` lines in the order in which systemd reads the files (by file name). A file that is there and cannot be
/// read is an error, because what it protects is then unknown.
pub(super) fn read_exclusions(root: &Root) -> Read<Vec<String>> {
    let mut files: BTreeMap<Vec<u8>, HostPath> = BTreeMap::new();
    for folder in FOLDERS {
        for name in if_there(root.list(folder))?.unwrap_or_default() {
            if name.ends_with(b".conf") {
                let path = HostPath::from(*folder).join(&HostPath::from_bytes(name.as_slice()));
                files.insert(name, path);
            }
        }
    }
    let mut patterns = Vec::new();
    for path in files.values() {
        // A link to /dev/null, or to nowhere, switches the file off.
        if let Some(bytes) = if_there(root.read_path(path))? {
            patterns.extend(parse_exclusions(&bytes));
        }
    }
    Ok(patterns)
}

/// Total. `x` spares a path and all below it, so it gives two patterns; `X` spares the path alone.
pub(super) fn parse_exclusions(bytes: &[u8]) -> Vec<String> {
    let mut patterns = Vec::new();
    for line in String::from_utf8_lossy(bytes).lines() {
        let line = line.trim();
        let Some((kind, rest)) = line.split_once(char::is_whitespace) else { continue };
        let mut letters = kind.chars();
        let spares_below = match letters.next() {
            Some('x') => true,
            Some('X') => false,
            _ => continue,
        };
        // What follows the letter are modifiers such as `!`; they say when the line is in effect, and we take it to be always.
        let Some(path) = first_word(rest.trim_start()) else { continue };
        let pattern = to_glob(&path);
        let pattern = pattern.trim_end_matches('/');
        if pattern.is_empty() {
            continue;
        }
        let below = format!("{pattern}/**");
        // A bracket that is left open may swallow the end of the longer one.
        if pattern::compile(pattern).is_err() || pattern::compile(&below).is_err() {
            // What cannot be understood spares all that begins like it.
            let begin = pattern.split(['[', '\\']).next().unwrap_or_default();
            patterns.extend([format!("{begin}*/**"), format!("{begin}*")]);
            continue;
        }
        if spares_below {
            patterns.push(below);
        }
        patterns.push(pattern.to_owned());
    }
    patterns
}

/// The first field, without its quotes.
fn first_word(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let word: String = match quote {
        Some(quote) => text.chars().skip(1).take_while(|c| *c != quote).collect(),
        None => text.chars().take_while(|c| !c.is_whitespace()).collect(),
    };
    (!word.is_empty()).then_some(word)
}

/// systemd's patterns are fnmatch's, where braces mean themselves; and a specifier (`%b`, the boot id) that is not worked out here
/// becomes `*`, which spares more, never less.
fn to_glob(path: &str) -> String {
    let mut glob = String::with_capacity(path.len());
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => match chars.next() {
                Some('%') => glob.push('%'),
                _ => glob.push('*'),
            },
            '{' => glob.push_str("[{]"),
            '}' => glob.push_str("[}]"),
            '*' if glob.ends_with('*') => {}
            c => glob.push(c),
        }
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_exclusions_are_taken_and_specifiers_spare_more() {
        let text = b"# comment\nq /tmp 1777 root root 10d\nx /tmp/systemd-private-%b-*\nX /tmp/systemd-private-%b-*/tmp\nx! \"/var/tmp/my dir\"\nR! /tmp/.X*\nx /tmp/{a}/ - - - -\n";
        let expected = [
            "/tmp/systemd-private-*-*/**",
            "/tmp/systemd-private-*-*",
            "/tmp/systemd-private-*-*/tmp",
            "/var/tmp/my dir/**",
            "/var/tmp/my dir",
            "/tmp/[{]a[}]/**",
            "/tmp/[{]a[}]",
        ];
        assert_eq!(parse_exclusions(text), expected);
    }

    #[test]
    fn a_file_in_etc_replaces_one_in_usr_and_a_link_to_null_switches_it_off() {
        let dir = tempfile::tempdir().unwrap();
        let write = |p: &str, text: &str| {
            let path = dir.path().join(p);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("usr/lib/tmpfiles.d/a.conf", "x /tmp/from-usr\n");
        write("usr/lib/tmpfiles.d/b.conf", "X /tmp/off\n");
        write("usr/lib/tmpfiles.d/c.conf", "X /tmp/c\n");
        write("run/tmpfiles.d/a.conf", "X /tmp/from-run\n");
        write("etc/tmpfiles.d/a.conf", "X /tmp/from-etc\n");
        write("dev/null", "");
        std::os::unix::fs::symlink("/dev/null", dir.path().join("etc/tmpfiles.d/b.conf")).unwrap();
        assert_eq!(read_exclusions(&Root::open(dir.path()).unwrap()).unwrap(), ["/tmp/from-etc", "/tmp/c"]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_patterns_that_can_be_compiled(bytes: Vec<u8>) {
            for pattern in parse_exclusions(&bytes) {
                prop_assert!(pattern::compile(&pattern).is_ok(), "{pattern}");
            }
        }

        #[test]
        fn any_pattern_is_one_that_a_walk_understands(path in "x /[a-z{}\\[\\]*?%!^\\\\-]{1,12}") {
            for pattern in parse_exclusions(path.as_bytes()) {
                prop_assert!(pattern::compile(&pattern).is_ok(), "{pattern}");
            }
        }
    }
}
