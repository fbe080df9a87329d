//! A replay: the decision made again, and whether it is the same.

use serde::Serialize;

use super::human::{clean, thousands};
use super::paint::{Paint, Tone};
use super::plan::plan;
use crate::model::{Diagnosis, Plan};

/// One decision of a bundle, made again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Counts decisions from 1.
    pub decision: usize,
    pub diagnosis: Diagnosis,
    pub plan: Plan,
    /// Length of the canonical JSON of what was decided now.
    pub bytes: usize,
    pub sha256: String,
    /// Line by line, recorded against made again; empty: the same bytes.
    pub differences: Vec<String>,
}

pub fn replay(all: &[Compared], paint: Paint) -> String {
    let mut out = String::new();
    for one in all {
        if all.len() > 1 {
            out += &format!("{}\n", paint.title(&format!("Decision {} of {}", one.decision, all.len())));
        }
        out += &plan(&one.diagnosis, &one.plan, &[], paint);
        out.push('\n');
        if one.differences.is_empty() {
            let same = paint.tone(Tone::Good, "identical");
            out += &format!("{same}, {} bytes, sha256 {}\n", thousands(one.bytes as u64), one.sha256);
        } else {
            out += &format!("{}: - as recorded, + as decided now\n", paint.tone(Tone::Bad, "NOT the same"));
            out += &one.differences.iter().map(|d| format!("  {}\n", clean(d))).collect::<String>();
        }
    }
    out
}
