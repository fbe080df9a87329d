//! Colour, where a terminal is on the other side.

/// Whether tones become escape sequences. Whoever opens the output knows; renderers do not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Ansi,
}

/// What colour would say. It never says more than the text beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Strong,
    Good,
    Warn,
    Bad,
    Dim,
}

impl Paint {
    pub(super) fn tone(self, tone: Tone, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        let code = match (self, tone) {
            (Self::Plain, _) | (_, Tone::Plain) => return text.to_owned(),
            (Self::Ansi, Tone::Strong) => "1",
            (Self::Ansi, Tone::Good) => "32",
            (Self::Ansi, Tone::Warn) => "33",
            (Self::Ansi, Tone::Bad) => "31",
            (Self::Ansi, Tone::Dim) => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A section's title.
    pub(super) fn title(self, text: &str) -> String {
        self.tone(Tone::Strong, text)
    }
}
