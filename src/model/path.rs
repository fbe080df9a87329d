//! A path on the host is bytes, and somebody hostile may have chosen them.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path as the kernel has it. Written and shown in one escaped form that loses nothing: control characters,
/// backslashes and bytes that are not UTF-8 become `\xNN`, so a file name can neither break a line nor colour a terminal.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPath(Vec<u8>);

impl HostPath {
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// `self/rest`, with one slash between.
    pub fn join(&self, rest: &HostPath) -> Self {
        Self(self.as_path().join(rest.as_path()).into_os_string().into_vec())
    }

    /// Whether `self` is `base` or lies below it, component by component (`/var/logs` is not under `/var/log`).
    pub fn is_under(&self, base: &HostPath) -> bool {
        self.as_path().starts_with(base.as_path())
    }

    /// `self` without the leading `base`, or `None` when it does not lie under it.
    pub fn strip(&self, base: &HostPath) -> Option<HostPath> {
        self.as_path().strip_prefix(base.as_path()).ok().map(Self::from)
    }

    /// The last component, empty for `/`.
    pub fn file_name(&self) -> &[u8] {
        self.as_path().file_name().map_or(&[], OsStrExt::as_bytes)
    }

    /// The escaped form back into bytes; `None` when an escape is broken.
    pub fn unescape(text: &str) -> Option<Self> {
        // Nearly every name is written as it is.
        if !text.contains('\\') {
            return Some(Self(text.as_bytes().to_vec()));
        }
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&b, tail)) = rest.split_first() {
            if b != b'\\' {
                out.push(b);
                rest = tail;
                continue;
            }
            let [b'x', hi, lo, tail @ ..] = tail else { return None };
            let digit = |c: u8| (c as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
            out.push(digit(*hi)? * 16 + digit(*lo)?);
            rest = tail;
        }
        Some(Self(out))
    }
}

impl HostPath {
    /// The path itself, where showing it needs no escape: printable ASCII without a backslash.
    fn as_plain(&self) -> Option<&str> {
        let plain = self.0.iter().all(|b| matches!(b, b' '..=b'~') && *b != b'\\');
        if plain { std::str::from_utf8(&self.0).ok() } else { None }
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plain) = self.as_plain() {
            return f.write_str(plain);
        }
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' || is_unprintable(c) {
                    let mut buffer = [0; 4];
                    for b in c.encode_utf8(&mut buffer).bytes() {
                        write!(f, "\\x{b:02x}")?;
                    }
                } else {
                    fmt::Write::write_char(f, c)?;
                }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        Ok(())
    }
}

/// Control characters, and the code points that reorder or hide text on a terminal.
pub fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl fmt::Debug for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl From<&Path> for HostPath {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<PathBuf> for HostPath {
    fn from(path: PathBuf) -> Self {
        Self(path.into_os_string().into_vec())
    }
}

impl From<&str> for HostPath {
    /// The text's own bytes; nothing is unescaped.
    fn from(path: &str) -> Self {
        Self(path.as_bytes().to_vec())
    }
}

impl Serialize for HostPath {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.as_plain() {
            Some(plain) => s.serialize_str(plain),
            None => s.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for HostPath {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(d)?;
        Self::unescape(&text).ok_or_else(|| serde::de::Error::custom(format!("broken escape in path {text:?}: write \\xNN")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_stay_on_one_line() {
        let shown = HostPath::from_bytes(*b"/tmp/a\nb\x1b[31m\xff\\x41\xe2\x80\xae").to_string();
        assert_eq!(shown, "/tmp/a\\x0ab\\x1b[31m\\xff\\x5cx41\\xe2\\x80\\xae");
    }

    #[test]
    fn a_sibling_with_the_same_prefix_is_not_under() {
        assert!(!HostPath::from("/var/logs/x").is_under(&"/var/log".into()));
        assert!(HostPath::from("/var/log").is_under(&"/var/log".into()));
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            let path = HostPath::from_bytes(bytes);
            prop_assert_eq!(HostPath::unescape(&path.to_string()), Some(path.clone()));
            let json = serde_json::to_string(&path).unwrap();
            prop_assert_eq!(serde_json::from_str::<HostPath>(&json).unwrap(), path);
        }
    }
}
