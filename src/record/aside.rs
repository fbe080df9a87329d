//! What is damaged is set aside, never deleted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::RecordError;
use crate::folder::sync;

/// Names of files that were set aside as damaged, oldest first.
pub(super) fn set_aside_before(dir: &Path, name: &str) -> Vec<String> {
    let prefix = format!("{name}.corrupt-");
    let mut found: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|n| n.starts_with(&prefix) && !n.ends_with("-journal"))
        .collect();
    found.sort();
    found
}

/// Renames a damaged book, with its journal, to `NAME.corrupt-TIME`, TIME being when it was last written (UTC).
/// Renaming needs neither bytes nor inodes.
pub(super) fn set_aside(dir: &Path, name: &str) -> Result<PathBuf, RecordError> {
    let from = dir.join(name);
    let io = |source| RecordError::Io { file: from.clone(), source };
    let written = fs::symlink_metadata(&from).map_err(io)?.mtime();
    let time = jiff::Timestamp::from_second(written).unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y%m%d-%H%M%S").to_string();
    let mut to = dir.join(format!("{name}.corrupt-{time}"));
    for n in 2.. {
        if fs::symlink_metadata(&to).is_err() {
            break;
        }
        to = dir.join(format!("{name}.corrupt-{time}-{n}"));
    }
    // The journal first: a journal that stayed behind would be rolled back into the new book.
    let journal = dir.join(format!("{name}-journal"));
    if fs::symlink_metadata(&journal).is_ok() {
        let mut beside = to.clone().into_os_string();
        beside.push("-journal");
        fs::rename(&journal, beside).map_err(io)?;
    }
    fs::rename(&from, &to).map_err(io)?;
    sync(dir)?;
    Ok(to)
}
