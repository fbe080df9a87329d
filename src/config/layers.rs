//! The files of one configuration, as text with places.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::problem::{Place, Problem};

/// A configuration is written by people; what is larger than this is not one.
const MAX_BYTES: u64 = 1 << 20;

/// Who may have written a file for it to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Anybody,
    /// Only root, and nobody else may write to it or swap it: the actuator's policy.
    Root,
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    pub(super) fn line(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|b| **b == b'\n').count() + 1
    }

    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let from = self.text[..start].rfind('\n').map_or(0, |n| n + 1);
        let line = self.text[from..].split(['\n', '\r']).next().unwrap_or_default();
        let column = self.text[from..start].chars().count() + 1;
        let marked = self.text.get(start..span.end.min(from + line.len()).max(start)).unwrap_or_default().chars().count();
        // Whatever a line holds, it is shown as one line and moves no cursor.
        let shown = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Place { line: self.line(start), column, text: shown, width: marked.max(1) }
    }

    pub(super) fn problem(&self, span: Option<Range<usize>>, message: impl Into<String>, help: Option<String>) -> Problem {
        Problem { file: self.path.clone(), place: span.map(|s| self.place(s)), message: message.into(), help }
    }
}

/// The drop-in folder of a configuration file.
pub(super) fn drop_in_dir(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".d");
    name.into()
}

/// The drop-ins beside a file, by name.
///
/// # Errors
/// When the folder is there and cannot be listed.
pub(super) fn drop_ins(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(drop_in_dir(path)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|e| e == "toml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The file and its drop-ins, in the order in which they apply.
pub(super) fn read(path: &Path, owner: Owner) -> Result<Vec<Source>, Vec<Problem>> {
    let mut problems = Vec::new();
    let drop_ins = drop_ins(path).unwrap_or_else(|e| {
        problems.push(Problem::of_file(&drop_in_dir(path), e.to_string(), None));
        Vec::new()
    });
    if owner == Owner::Root {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let folders = [parent.to_owned(), drop_in_dir(path)];
        for folder in folders.iter().take(1 + usize::from(!drop_ins.is_empty())) {
            problems.extend(fs::metadata(folder).ok().and_then(|m| not_roots(folder, &m)));
        }
    }
    let mut sources = Vec::new();
    for file in std::iter::once(path.to_owned()).chain(drop_ins) {
        match read_one(&file, owner) {
            Ok(source) => sources.push(source),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

pub(super) fn read_one(file: &Path, owner: Owner) -> Result<Source, Problem> {
    let told = |e: io::Error| Problem::of_file(file, format!("cannot be read: {e}"), None);
    let handle = File::open(file).map_err(told)?;
    let meta = handle.metadata().map_err(told)?;
    if !meta.is_file() {
        return Err(Problem::of_file(file, "is not a file", None));
    }
    if owner == Owner::Root
        && let Some(problem) = not_roots(file, &meta)
    {
        return Err(problem);
    }
    let mut bytes = Vec::new();
    handle.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Problem::of_file(file, format!("is larger than {MAX_BYTES} bytes: no configuration is"), None));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { path: file.to_owned(), text }),
        Err(e) => {
            let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            Err(Problem::of_file(file, format!("line {line} is not UTF-8 text"), None))
        }
    }
}

fn not_roots(path: &Path, meta: &fs::Metadata) -> Option<Problem> {
    let help = "what the actuator may do is root's to say: chown root, chmod go-w";
    if meta.uid() != 0 {
        return Some(Problem::of_file(path, format!("belongs to user {}, not to root", meta.uid()), Some(help)));
    }
    // A sticky folder such as /tmp still lets nobody swap root's file, but a drop-in could be added to it.
    (meta.mode() & 0o022 != 0)
        .then(|| Problem::of_file(path, format!("can be written by others (mode {:04o})", meta.mode() & 0o7777), Some(help)))
}
