//! The configuration in force: asked for, applied, and why they differ.

use super::human::clean;
use super::paint::{Paint, Tone};
use super::table::{Table, cell};
use crate::wire::local::ConfigView;

pub fn config(view: &ConfigView, paint: Paint) -> String {
    let files: Vec<String> = view.files.iter().map(|f| clean(f)).collect();
    let files = if files.is_empty() { "none: defaults only".into() } else { files.join(", ") };
    let mut table = Table::default().head(&["SETTING", "APPLIED", "FROM"]);
    for s in &view.settings {
        let from = match &s.asked {
            Some((_, at)) => clean(at),
            None => "default".into(),
        };
        let tone = if s.asked.is_some() { Tone::Plain } else { Tone::Dim };
        table.row([cell(clean(&s.key)), cell(clean(&s.applied)), cell(from).tone(tone)]);
        if let Some(because) = &s.because {
            let asked = s.asked.as_ref().map_or_else(|| "the default".into(), |(value, _)| clean(value));
            table.row([cell(""), cell(format!("-> asked for {asked}: {}", clean(because))).tone(Tone::Warn)]);
        }
    }
    format!("files: {files}\n\n{}", table.render(paint))
}
