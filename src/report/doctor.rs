//! Whether a host is ready, finding by finding.

use serde::Serialize;

use super::human::{clean, count};
use super::paint::{Paint, Tone};
use super::table::{Table, cell};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// Works with less, or could not be told.
    Warn,
    /// BytePort, or a part of it, does not work like this.
    Fail,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The thing looked at: `PSI`, `state folder`.
    pub what: &'static str,
    pub level: Level,
    pub says: String,
    /// What a person can do about it; `None` where nothing has to be done.
    pub todo: Option<String>,
}

pub fn doctor(findings: &[Finding], paint: Paint) -> String {
    let mut table = Table::default();
    for f in findings {
        let (mark, tone) = match f.level {
            Level::Ok => ("ok", Tone::Good),
            Level::Warn => ("warn", Tone::Warn),
            Level::Fail => ("FAIL", Tone::Bad),
        };
        table.row([cell(mark).tone(tone), cell(f.what), cell(clean(&f.says))]);
        if let Some(todo) = &f.todo {
            table.row([cell(""), cell(""), cell(format!("-> {}", clean(todo)))]);
        }
    }
    let of = |level| findings.iter().filter(|f| f.level == level).count() as u64;
    let (warn, fail) = (of(Level::Warn), of(Level::Fail));
    let end = match (warn, fail) {
        (0, 0) => "This host is ready.".into(),
        (_, 0) => format!("This host is ready, with {}.", count(warn, "warning")),
        _ => format!("This host is not ready: {}, {}.", count(fail, "failure"), count(warn, "warning")),
    };
    format!("{}\n{end}\n", table.render(paint))
}
