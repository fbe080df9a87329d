//! One word for a shell, whatever bytes are in it.

use std::fmt::Write as _;

/// Quotes `word` so that a POSIX shell reads it back as one word with the same bytes, printed on one line without control
/// characters. Plain words stay as they are, others are put in single quotes; names with control characters, with code points that
/// hide or reorder text, or that are not UTF-8 become `$'...'` (bash, zsh, ksh, busybox, POSIX 2024).
pub fn shell_word(word: impl AsRef<[u8]>) -> String {
    let bytes = word.as_ref();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(b);
    // zsh expands a leading `=`.
    if !bytes.is_empty() && bytes.iter().all(plain) && bytes[0] != b'=' {
        return bytes.iter().map(|b| *b as char).collect();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(super::path::is_unprintable) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let mut quoted = String::from("$'");
            for b in bytes {
                match b {
                    b'\'' | b'\\' => quoted.extend(['\\', *b as char]),
                    b' '..=b'~' => quoted.push(*b as char),
                    // Three octal digits: unlike `\xNN`, their number is fixed everywhere. Writing to a String cannot fail.
                    _ => _ = write!(quoted, "\\{b:03o}"),
                }
            }
            quoted.push('\'');
            quoted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_where_needed() {
        assert_eq!(shell_word("/var/log/app-1.log"), "/var/log/app-1.log");
        assert_eq!(shell_word("it's; rm -rf $HOME"), r"'it'\''s; rm -rf $HOME'");
        assert_eq!(shell_word(b"a\nb\x1b'\xff7"), r"$'a\012b\033\'\3777'");
        assert_eq!(shell_word("\\n\n"), r"$'\\n\012'");
        assert_eq!(shell_word("\u{202e}x"), r"$'\342\200\256x'");
        assert_eq!((shell_word(""), shell_word("=ls"), shell_word("~")), ("''".into(), "'=ls'".into(), "'~'".into()));
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_is_one_line_without_control_characters(bytes: Vec<u8>) {
            proptest::prop_assert!(!shell_word(bytes).chars().any(super::super::path::is_unprintable));
        }
    }

    /// Against bash itself, with every byte a file name can hold.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a shell is what this is about")]
    fn bash_reads_back_the_same_bytes() {
        let all: Vec<u8> = (1..=255).collect();
        let script = format!("printf %s {}", shell_word(&all));
        let Ok(out) = std::process::Command::new("bash").arg("-c").arg(script).env("LC_ALL", "C.UTF-8").output() else {
            assert!(std::env::var_os("CI").is_none(), "no bash to compare with");
            eprintln!("NOT TESTED: there is no bash here to compare with");
            return;
        };
        assert_eq!(out.stdout, all);
    }
}
