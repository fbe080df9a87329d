//! One dialect of patterns for all file names: `*` stays within one component, as in glob(7), `**` does not, and a bracket that is not
//! closed is a bracket.

use globset::{Error, Glob, GlobBuilder};

pub(super) fn compile(pattern: &str) -> Result<Glob, Error> {
    GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).allow_unclosed_class(true).build()
}
