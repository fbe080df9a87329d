//! Marks of releases: one small file a name, in the state folder, so that growth can be told to have begun with one of them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::RecordError;

/// Marks that are kept, the newest; a pipeline that makes up a name for each release must not fill the folder.
const KEPT: usize = 200;
const LONGEST: usize = 128;

/// The folder below the agent's state folder. Whatever releases software as root may write a file there by itself: its name is the unit's or
/// the package's, its first line the version, its time the moment.
pub fn deploys(state_dir: &Path) -> PathBuf {
    state_dir.join("deploys")
}

/// Why this is no name for a mark, if it is none.
pub fn not_a_mark(name: &str, version: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._:+~-".contains(c);
    if name.is_empty() || name.len() > LONGEST || name.starts_with(['.', '-']) || !name.chars().all(plain) {
        return Some(format!("{name:?} is no name of a unit or package: letters, digits and @._:+~- are, up to {LONGEST}"));
    }
    if version.is_empty() || version.len() > LONGEST || version.chars().any(char::is_control) {
        return Some(format!("{version:?} is no version: up to {LONGEST} characters on one line are"));
    }
    None
}

/// Marks a release of now; an earlier one of that name is replaced.
///
/// # Errors
/// When the folder cannot be written.
pub fn mark_deploy(state_dir: &Path, name: &str, version: &str) -> Result<(), RecordError> {
    let dir = deploys(state_dir);
    let at = |file: &Path| {
        let file = file.to_owned();
        move |source| RecordError::Io { file, source }
    };
    match DirBuilder::new().mode(0o750).create(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(at(&dir)(e)),
        _ => {}
    }
    // Beside the old one first, then in its place: a reader sees the one or the other.
    let (file, new) = (dir.join(name), dir.join(format!(".{name}.new")));
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let opened: io::Result<File> = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).custom_flags(nofollow).open(&new);
    opened.and_then(|mut to| to.write_all(format!("{version}\n").as_bytes()).and_then(|()| to.sync_all())).map_err(at(&new))?;
    fs::rename(&new, &file).map_err(at(&file))?;
    keep_newest(&dir).map_err(at(&dir))
}

fn keep_newest(dir: &Path) -> io::Result<()> {
    let mut marks = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let seen = entry.metadata()?;
        if seen.is_file() {
            marks.push((seen.modified()?, entry.path()));
        }
    }
    marks.sort();
    let surplus = marks.len().saturating_sub(KEPT);
    marks.iter().take(surplus).try_for_each(|(_, old)| fs::remove_file(old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_file_of_its_name_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..KEPT + 3 {
            mark_deploy(dir.path(), &format!("app{n}"), "1.0").unwrap();
        }
        mark_deploy(dir.path(), "app9@blue.service", "1.2.3+build 7").unwrap();
        let folder = deploys(dir.path());
        assert_eq!(fs::read_to_string(folder.join("app9@blue.service")).unwrap(), "1.2.3+build 7\n");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), KEPT);
        assert!(!folder.join("app0").exists() && folder.join(format!("app{}", KEPT + 2)).exists());
    }

    #[test]
    fn a_name_that_would_lead_elsewhere_is_none() {
        for name in ["", "..", ".hidden", "a/b", "/etc/passwd", "-rf", "a b", "a\n", "ä", &"x".repeat(129)] {
            assert!(not_a_mark(name, "1").is_some(), "{name}");
        }
        for version in ["", "1\n2", "\x1b[2J", &"9".repeat(129)] {
            assert!(not_a_mark("app", version).is_some(), "{version:?}");
        }
        assert_eq!(not_a_mark("app@1.service", "2026.11~rc1"), None);
    }

    #[test]
    fn a_link_in_the_place_of_the_new_file_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        mark_deploy(dir.path(), "app", "1").unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, "kept").unwrap();
        std::os::unix::fs::symlink(&outside, deploys(dir.path()).join(".app.new")).unwrap();
        assert!(mark_deploy(dir.path(), "app", "2").is_err());
        assert_eq!(fs::read_to_string(outside).unwrap(), "kept");
    }
}
