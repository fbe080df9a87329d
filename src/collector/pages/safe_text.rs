//! Text from outside, made fit for a page: nothing unprintable, nothing endless. For HTML it is escaped by the templates.

use std::fmt;

use crate::report::clean;

const NAME: usize = 160;
const PROSE: usize = 1_000;
/// Nothing is pasted from a command that is not shown whole.
const COMMAND: usize = 4_000;
pub(super) const CUT: &str = "… (cut)";

/// The only text from outside that a template is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown(String);

impl Shown {
    /// A name or a figure: something to see even where there is none, since links and headings are made of it.
    pub(super) fn name(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        Self(if text.trim().is_empty() { "(empty)".into() } else { bounded(text, NAME) })
    }

    /// A sentence.
    pub(super) fn prose(text: impl AsRef<str>) -> Self {
        Self(bounded(text.as_ref(), PROSE))
    }

    /// `None`: too long to be shown whole, and half a command is worse than none.
    pub(super) fn command(text: &str) -> Option<Self> {
        let short = text.chars().nth(COMMAND).is_none();
        short.then(|| clean(text)).filter(|shown| shown.chars().nth(COMMAND).is_none()).map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&'static str> for Shown {
    /// Our own words.
    fn from(text: &'static str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Cut before it is cleaned, so that a megabyte costs nothing, and after, because what is unprintable grows.
fn bounded(text: &str, most: usize) -> String {
    let end = |text: &str| text.char_indices().nth(most).map(|(at, _)| at);
    let raw = end(text);
    let mut shown = clean(&text[..raw.unwrap_or(text.len())]);
    let longer = end(&shown);
    if let Some(at) = longer {
        shown.truncate(at);
    }
    if raw.is_some() || longer.is_some() {
        shown.push_str(CUT);
    }
    shown
}

/// How many there are of a list that are not shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct More(usize);

impl More {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn any(self) -> bool {
        self.0 > 0
    }
}

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first `most` of a list.
pub(super) fn first<T>(list: &[T], most: usize) -> (&[T], More) {
    let shown = &list[..list.len().min(most)];
    (shown, More(list.len() - shown.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::is_unprintable;
    use proptest::prelude::*;

    #[test]
    fn a_megabyte_is_cut_and_says_so() {
        for c in ["x", "\u{202e}", "ä"] {
            let shown = Shown::prose(c.repeat(1 << 20)).to_string();
            assert!(shown.ends_with(CUT) && shown.chars().count() == PROSE + CUT.chars().count(), "{c:?}");
        }
        assert_eq!(Shown::name("x".repeat(NAME)).to_string(), "x".repeat(NAME));
    }

    #[test]
    fn a_command_is_whole_or_not_there() {
        assert_eq!(Shown::command("echo '$HOME'"), Some(Shown("echo '$HOME'".into())));
        assert_eq!(Shown::command(&"x".repeat(COMMAND + 1)), None);
        assert_eq!(Shown::command(&"\n".repeat(COMMAND)), None);
    }

    #[test]
    fn what_is_empty_can_be_seen_and_clicked() {
        assert_eq!((Shown::name("").to_string(), Shown::name(" \t").to_string()), ("(empty)".into(), "(empty)".into()));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_printable_and_bounded(text in any::<String>(), most in 0_usize..40) {
            let shown = bounded(&text, most);
            prop_assert!(!shown.contains(is_unprintable));
            prop_assert!(shown.chars().count() <= most + CUT.chars().count());
            prop_assert_eq!(shown.ends_with(CUT) && !text.ends_with(CUT), clean(&text).chars().count() > most);
        }
    }
}
