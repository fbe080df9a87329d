//! What a person is told, and the exact commands to go on with.

use super::class::{CLASSES, Class};
use super::classify::{fastest, named};
use super::evidence::Evidence;
use super::held;
use super::need::Need;
use super::offers::MONTH_S;
use crate::model::{Bytes, Confidence, Diagnosis, DirUse, FollowUp, PlannedStep, Severity, shell_word};

/// `None`: nobody needs to be woken.
pub(super) fn reason(evidence: &Evidence, diagnosis: &Diagnosis, steps: &[PlannedStep], need: Option<Need>) -> Option<String> {
    let reasons = reasons(evidence, diagnosis, steps, need);
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn reasons(evidence: &Evidence, diagnosis: &Diagnosis, steps: &[PlannedStep], need: Option<Need>) -> Vec<String> {
    let mut out = Vec::new();
    let met = need.is_some_and(|n| n.is_met());
    let fault = Class::is_beyond_cleaning(&diagnosis.class);
    // Asked out of curiosity about a filesystem that is well: nothing to tell.
    if met && !fault && evidence.signals.is_empty() {
        return out;
    }
    if let Some(class) = CLASSES.iter().find(|c| c.name == diagnosis.class && c.always_escalates) {
        out.push(format!("{}: {}", class.name, class.meaning));
    }
    if diagnosis.confidence < Confidence::TO_ACT {
        out.push(format!("confidence {} is under {}: nothing is done", diagnosis.confidence, Confidence::TO_ACT));
    }
    if diagnosis.critical && !fault {
        let critical = evidence.signals.iter().find(|s| s.severity == Severity::Critical);
        out.push(critical.map_or_else(|| "critical".to_owned(), |s| format!("critical: {}", s.detail)));
    }
    match need {
        Some(need) if !need.is_met() && !fault => {
            let bytes: Bytes = steps.iter().map(|s| s.expected.bytes).sum();
            let inodes: u64 = steps.iter().fold(0, |sum, s| sum.saturating_add(s.expected.inodes));
            if steps.is_empty() {
                out.push("no step is allowed and useful here".to_owned());
            } else if bytes.0 < need.bytes {
                let left = usage_after(evidence, bytes).unwrap_or_default();
                out.push(format!("all steps together free about {bytes} of the {} that must go{left}", Bytes(need.bytes)));
            } else if inodes < need.inodes {
                out.push(format!("all steps together free {inodes} of the {} inodes that must go", need.inodes));
            }
        }
        _ => {}
    }
    out
}

fn usage_after(evidence: &Evidence, freed: Bytes) -> Option<String> {
    let mut usage = *evidence.usage.value()?;
    usage.free = usage.free.saturating_add(freed.0);
    usage.available = usage.available.saturating_add(freed.0);
    usage.used_percent().map(|p| format!(", which leaves it at {p}"))
}

/// What to type next, whoever asks for it.
pub(super) fn follow_ups(evidence: &Evidence, diagnosis: &Diagnosis) -> Vec<FollowUp> {
    let mut out = Vec::new();
    let mut say = |why: String, command: String| out.push(FollowUp { why, command });
    let Some(mount) = evidence.mount.value() else {
        say("what is mounted".into(), "findmnt --real".into());
        return out;
    };
    let (path, source) = (shell_word(mount.path.as_bytes()), shell_word(mount.source.as_bytes()));
    if diagnosis.class == Class::FilesystemFault.as_str() {
        say("what the kernel says of it".into(), "journalctl --dmesg --since=-1h --priority=warning".into());
        if evidence.stuck_for_s.is_some() {
            say("who waits for it".into(), "ps -eo pid,stat,wchan:32,comm | awk '$2 ~ /D/'".into());
            say("let go of it once nobody needs it".into(), format!("umount --lazy --force {path}"));
        } else {
            say("who has files open on it".into(), format!("fuser --verbose --mount {path}"));
            say("check it, unmounted".into(), format!("umount {path} && fsck -f {source}"));
            say("make it writable again, once it is checked".into(), format!("mount -o remount,rw {path}"));
        }
        return out;
    }
    say("how full it is".into(), format!("df -h {path} && df -i {path}"));
    if diagnosis.class == Class::IoBound.as_str() {
        say("who waits and who writes".into(), "pidstat -d 5 3".into());
        say("what the devices do".into(), "iostat -x 5 3".into());
    }
    if let Some(scan) = evidence.scan.value() {
        if diagnosis.class == Class::InodeSmallFiles.as_str() {
            for dir in scan.most_entries.iter().take(5) {
                let word = shell_word(dir.path.as_bytes());
                say(
                    format!("{} entries", dir.entries),
                    format!("find {word} -xdev -maxdepth 1 -type f -printf '%TY-%Tm %s %f\\n' | sort | head -n 50"),
                );
            }
        } else {
            // The mount itself is no news, and neither is what holds next to nothing.
            let telling = |dir: &&DirUse| dir.path != mount.path && dir.on_disk.saturating_mul(100) >= scan.on_disk;
            for dir in scan.largest_dirs.iter().filter(telling).take(5) {
                let word = shell_word(dir.path.as_bytes());
                say(format!("{} below it", Bytes(dir.on_disk)), format!("du -xh --max-depth=1 {word} | sort -rh | head -n 20"));
            }
        }
    }
    if let Some(writer) = fastest(evidence) {
        say(format!("fastest writer: {}", named(writer)), format!("ls -l /proc/{}/fd && systemctl status {}", writer.pid, writer.pid));
    }
    if let Some(files) = evidence.held.value() {
        for holder in held::holders(files).into_iter().filter(|h| h.bytes > 0).take(3) {
            let unit = evidence.unit_of(holder.pid).and_then(|u| u.value());
            let command = match unit {
                Some(unit) if unit.can_reload => format!("systemctl reload {}", shell_word(&unit.unit)),
                Some(unit) => format!("systemctl restart {}", shell_word(&unit.unit)),
                None => format!("ls -l /proc/{}/fd | grep deleted", holder.pid),
            };
            say(format!("pid {} holds {} of deleted files", holder.pid, Bytes(holder.bytes)), command);
        }
    }
    room(evidence, &path, &mut say);
    out
}

/// `+N GiB for 30 days at this growth`.
fn room(evidence: &Evidence, path: &str, say: &mut impl FnMut(String, String)) {
    let Some(growth) = evidence.growth.value().filter(|g| g.bytes_per_s > 0.0) else { return };
    let gib = ((growth.bytes_per_s * MONTH_S) / f64::from(1 << 30)).ceil().max(1.0) as u64;
    let why = format!("+{gib} GiB for 30 days at this growth ({}/s over {})", Bytes(growth.bytes_per_s as u64), growth.over);
    let command = match evidence.volume.value() {
        Some(volume) if volume.vg_free.0 >> 30 < gib => format!("vgs {}", shell_word(&volume.vg)),
        Some(volume) => format!("lvextend --resizefs --size +{gib}G {}", shell_word(format!("{}/{}", volume.vg, volume.lv))),
        None => format!("findmnt --target {path} --output SOURCE,FSTYPE,SIZE"),
    };
    say(why, command);
}
