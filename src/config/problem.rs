//! One mistake in one file, as a person sees it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where the mistake is, what it is, and what was probably meant. Shows one line of the file, never more of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// `None`: it is about the file itself.
    pub place: Option<Place>,
    pub message: String,
    /// `did you mean ...`, or what to do.
    pub help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1, both; columns count characters.
    pub line: usize,
    pub column: usize,
    /// The line itself and how many characters the caret marks.
    pub text: String,
    pub width: usize,
}

impl Problem {
    pub(super) fn of_file(file: &Path, message: impl Into<String>, help: Option<&str>) -> Self {
        Self { file: file.to_owned(), place: None, message: message.into(), help: help.map(Into::into) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = crate::model::HostPath::from(self.file.as_path());
        match &self.place {
            None => write!(f, "{file}: {}", self.message)?,
            Some(Place { line, column, text, width }) => {
                let number = line.to_string();
                let gutter = " ".repeat(number.len());
                writeln!(f, "{file}:{line}:{column}: {}", self.message)?;
                writeln!(f, " {gutter} |")?;
                writeln!(f, " {number} | {text}")?;
                write!(f, " {gutter} | {}{}", " ".repeat(column - 1), "^".repeat(*width))?;
            }
        }
        match &self.help {
            Some(help) => write!(f, "\n = {help}"),
            None => Ok(()),
        }
    }
}
