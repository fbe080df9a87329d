//! Whether the owner of a unit said that it may be touched: `Restart=safe` in a section `[X-Byteport]` of the unit or a drop-in. systemd
//! leaves sections with such a name alone.

use std::io::Read as _;
use std::path::Path;

use crate::host::root::{Root, io_error};
use crate::host::{Read, ReadError};
use crate::model::HostPath;

/// No unit or drop-in that a person wrote is larger.
const MAX_UNIT_FILE: u64 = 1 << 20;

/// `files` in the order in which systemd reads them, the unit's own first.
pub(crate) fn opted_in(root: &Path, files: &[String]) -> bool {
    Root::open(root).is_ok_and(|root| read_consent(&root, files))
}

/// Consent is never assumed: a file that cannot be read may take it back.
pub(in crate::host) fn read_consent(root: &Root, files: &[String]) -> bool {
    let texts: Read<Vec<Vec<u8>>> = files.iter().filter(|path| !path.is_empty()).map(|path| read_unit_file(root, path)).collect();
    texts.is_ok_and(|texts| texts.iter().fold(false, |before, text| parse_consent(text, before)))
}

fn read_unit_file(root: &Root, path: &str) -> Read<Vec<u8>> {
    let host = HostPath::from(path);
    let file = root.open_file(&host)?;
    let failed = |e| io_error(&host, e);
    let there = file.metadata().map_err(failed)?;
    if !there.is_file() || there.len() > MAX_UNIT_FILE {
        return Err(ReadError::Parse { what: path.to_owned(), why: "no file that a unit would be written in".to_owned() });
    }
    let mut text = Vec::new();
    file.take(MAX_UNIT_FILE).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// `before`: what the files before this one said. The last word wins, as everywhere in unit files. Total.
pub(in crate::host) fn parse_consent(text: &[u8], before: bool) -> bool {
    let (mut answer, mut ours, mut continued) = (before, false, false);
    for line in text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii) {
        if line.is_empty() && !continued || line.starts_with(b"#") || line.starts_with(b";") {
            continue;
        }
        // The rest of a line that goes on is part of its value, whatever it looks like.
        let whole = !std::mem::replace(&mut continued, line.ends_with(b"\\"));
        if whole && line.starts_with(b"[") {
            ours = line == b"[X-Byteport]";
        } else if whole
            && ours
            && let Some(value) = line.strip_prefix(b"Restart").and_then(|rest| rest.trim_ascii_start().strip_prefix(b"="))
        {
            answer = value.trim_ascii() == b"safe";
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn says(files: &[&str]) -> bool {
        files.iter().fold(false, |before, text| parse_consent(text.as_bytes(), before))
    }

    #[test]
    fn consent_is_what_the_last_word_in_our_section_says() {
        assert!(says(&["[Service]\nRestart=no\n[X-Byteport]\nRestart = safe\n"]));
        assert!(says(&["[Unit]\n", "[X-Byteport]\nRestart=safe"]));
        assert!(!says(&["[Service]\nRestart=safe\n"]));
        assert!(!says(&["[X-Byteport]\nRestart=safe\n", "[X-Byteport]\nRestart=never\n"]));
        assert!(!says(&["[X-Byteport]\nRestart=safe\n", "[X-Byteport]\nRestart=\n"]));
        assert!(!says(&["[X-Byteport]\n#Restart=safe\nRestartSec=safe\n[Service]\nRestart=safe"]));
    }

    #[test]
    fn what_a_line_goes_on_with_is_no_word_of_ours() {
        assert!(!says(&["[Service]\nExecStart=/bin/echo \\\n[X-Byteport]\nRestart=safe\n"]));
        assert!(!says(&["[X-Byteport]\nNote=a \\\n# still\nRestart=safe\n"]));
        assert!(!says(&["[X-Byteport]\nRestart=safe\\\n\n"]));
        assert!(says(&["[X-Byteport]\n# a comment does not go on \\\nRestart=safe\n"]));
    }

    #[test]
    fn a_file_that_cannot_be_read_may_have_taken_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| std::fs::write(dir.path().join(name), text).unwrap();
        write("a.service", b"[X-Byteport]\nRestart=safe\n");
        write("huge.conf", &vec![b'#'; (1 << 20) + 1]);
        std::os::unix::fs::symlink("/a.service", dir.path().join("link.service")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out.conf")).unwrap();
        std::fs::create_dir(dir.path().join("folder.conf")).unwrap();
        let says = |files: &[&str]| opted_in(dir.path(), &files.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(says(&["/a.service"]) && says(&["", "/a.service"]) && says(&["/link.service"]));
        for unreadable in ["/gone.conf", "/huge.conf", "/folder.conf", "/out.conf", "/../../etc/passwd"] {
            assert!(!says(&["/a.service", unreadable]), "{unreadable}");
        }
        assert!(!says(&[]) && !opted_in(&dir.path().join("gone"), &["/a.service".to_owned()]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_yes_or_a_no(text: Vec<u8>, before: bool) {
            let _ = parse_consent(&text, before);
        }

        #[test]
        fn without_our_section_nothing_is_said(text in "(\\[(Service|Unit|X-Other)\\]|Restart ?= ?safe|[#;\\\\a-z ]{0,5}|\n){0,12}", before: bool) {
            prop_assert_eq!(parse_consent(text.as_bytes(), before), before);
        }
    }
}
