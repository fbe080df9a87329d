//! What a person is told when BytePort stops.

use super::human::{clean, sentence};
use super::incidents;
use super::paint::{Paint, Tone};
use super::story::Story;
use crate::model::{Bytes, FollowUp};

/// The whole message: what must be decided, what was done so far, and the commands. `None` when nobody was asked for anything.
pub fn escalation(story: &Story<'_>, paint: Paint) -> Option<String> {
    let asked = story.asked_of_a_person()?;
    let mut out = format!("{}\n{}\n", incidents::head(story.summary, paint), sentence(&clean(&asked.reason)));
    if let Some(d) = story.diagnosis() {
        out += &format!("diagnosis: {} ({}): {}\n", clean(&d.class), d.confidence, clean(&d.summary));
        out += &d.findings.iter().map(|f| format!("  {}: {}\n", clean(&f.what), clean(&f.value))).collect::<String>();
    }
    let done: Vec<_> = story.steps().filter_map(|(_, s)| s.effect.map(|e| (s.kind, e))).collect();
    if done.is_empty() {
        out += "nothing was changed on this host\n";
    }
    for (kind, effect) in &done {
        out += &format!("  {}: freed {}\n", kind.as_str(), effect.freed);
    }
    if !done.is_empty() {
        let freed: Bytes = done.iter().map(|(_, e)| e.freed).sum();
        out += &format!("freed in all: {freed}\n");
    }
    Some(out + &commands(&asked.follow_ups, paint))
}

/// Comment, then command, so that a block can be pasted line by line.
pub(super) fn commands(list: &[FollowUp], paint: Paint) -> String {
    list.iter().map(|f| format!("  {}\n  {}\n", paint.tone(Tone::Dim, format!("# {}", clean(&f.why))), clean(&f.command))).collect()
}
