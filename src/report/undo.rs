//! What an undo took back.

use super::human::{clean, count};
use super::paint::{Paint, Tone};
use super::steps;
use crate::wire::local::UndoAnswer;

pub fn undo(answer: &UndoAnswer, paint: Paint) -> String {
    let mut out = String::new();
    for (intent, effect) in &answer.undone {
        out += &format!("{} {}: {}\n", paint.tone(Tone::Good, "undone"), clean(&intent.0), steps::did(effect));
    }
    for (intent, refusal) in &answer.refused {
        out += &format!("{} {}: {}\n", paint.tone(Tone::Bad, "not undone"), clean(&intent.0), clean(&refusal.to_string()));
    }
    if answer.undone.is_empty() && answer.refused.is_empty() {
        return "Nothing to undo: this incident's record holds no step that was performed.\n".into();
    }
    out + &format!("{} undone, {} not\n", count(answer.undone.len() as u64, "step"), answer.refused.len())
}
