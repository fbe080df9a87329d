//! What could not be seen or is old, and what is left of the trust in the rest: every entry takes its part.

use super::class::Class;
use super::evidence::Evidence;
use crate::model::Now;
use crate::runbooks::Doubts;

/// Only what a class of this kind rests on is asked for.
pub(super) fn doubts(evidence: &Evidence, class: Class, now: &Now) -> Doubts {
    let e = evidence;
    let mut doubts = Doubts::of_evidence(&e.taken, now);
    doubts.part("filesystem", &e.mount, 0.5);
    match class {
        Class::FilesystemFault => return doubts,
        Class::IoBound => {
            // Each of these is a witness of its own and has lowered the confidence by not saying yes.
            doubts.part("device counters", &e.io.busy, 1.0);
            doubts.part("io pressure", &e.io.pressure, 1.0);
            doubts.part("writers", &e.writers, 1.0);
            return doubts;
        }
        _ => {}
    }
    doubts.part("usage", &e.usage, 0.0);
    doubts.gaps("largest consumers", &e.scan, 0.5, |scan| {
        let unseen: Vec<String> = scan.not_seen.iter().map(|n| format!("{} {}", n.count, n.why)).collect();
        match (scan.complete, unseen.is_empty()) {
            (false, _) => Some((format!("not the whole tree was seen: {}", unseen.join(", ")), 0.85)),
            (true, false) => Some((unseen.join(", "), 0.98)),
            (true, true) => None,
        }
    });
    doubts.gaps("deleted files still open", &e.held, 0.9, |held| {
        (held.unreadable_processes > 0).then(|| (format!("{} processes could not be read", held.unreadable_processes), 0.98))
    });
    doubts.part("writers", &e.writers, 0.95);
    doubts.part("growth", &e.growth, 0.97);
    doubts.part("tmpfiles.d exceptions", &e.tmp_exclusions, 0.97);
    doubts.part("journal", &e.journal_active, 0.98);
    doubts.part("container images", &e.images, 0.98);
    if e.mount.value().is_some_and(|m| ["/dev/mapper/", "/dev/dm-"].iter().any(|dm| m.source.as_bytes().starts_with(dm.as_bytes()))) {
        doubts.part("volume", &e.volume, 0.98);
    }
    for holder in &e.holder_units {
        doubts.part(&format!("unit of pid {}", holder.pid), &holder.unit, 0.98);
    }
    for ratio in &e.compress_ratios {
        doubts.part(&format!("compression of {}", ratio.path), &ratio.ratio, 0.99);
    }
    doubts
}
