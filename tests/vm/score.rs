//! What became of the scenarios, as a table.

use std::fmt::Write as _;
use std::time::Duration;

/// What a scenario came to, when it came to the right thing. Seconds are on the guest's boot clock.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Passed {
    /// From the fault to the verdict that it is resolved.
    Healed(f64),
    /// From the fault until a person was told.
    Escalated(f64),
    /// A healthy host on which nothing was done.
    LeftAlone,
    /// Something broke in the middle of an act: nothing was repeated, the record is whole.
    Kept,
}

#[derive(Debug)]
pub struct Line {
    pub name: &'static str,
    pub took: Duration,
    pub came: Result<Passed, String>,
}

pub fn table(lines: &[Line]) -> String {
    let mut text = format!("\n{:<44} {:<24} {:>10} {:>8}\n", "scenario", "came to", "after", "wall");
    for line in lines {
        let (came, after) = came_to(line);
        let _ = writeln!(text, "{:<44} {came:<24} {after:>10} {:>6.0} s", line.name, line.took.as_secs_f64());
    }
    let _ = writeln!(text, "\n{}", score(lines));
    text
}

/// In a sentence.
fn score(lines: &[Line]) -> String {
    let count = |wanted: fn(&Passed) -> bool| lines.iter().filter(|l| l.came.as_ref().is_ok_and(wanted)).count();
    format!(
        "{} healed and verified, {} escalated rightly, {} decoys left alone, {} broken in the middle and kept, {} failed",
        count(|p| matches!(p, Passed::Healed(_))),
        count(|p| matches!(p, Passed::Escalated(_))),
        count(|p| matches!(p, Passed::LeftAlone)),
        count(|p| matches!(p, Passed::Kept)),
        lines.iter().filter(|l| l.came.is_err()).count(),
    )
}

/// The page that is written to `docs/`: of all scenarios, when each has passed on the same package.
pub fn page(lines: &[Line], machine: &str) -> String {
    let mut text = format!(
        "# Faults on a kernel of their own\n\nWritten by `make test-vm`; do not edit it. Each scenario begins on a restored virtual machine (Debian, cgroup v2, 1 GiB, \
         two processors, {machine}) with the `.deb` installed, and is judged by the agent's record and by the kernel: signal, class, steps, verdict, and what was \
         taken back. *After* is from the fault to the verified recovery, or until a person was told; the seconds of an emulated machine are longer than yours.\n\n\
         {}.\n\n| scenario | came to | after |\n| --- | --- | ---: |\n",
        score(lines)
    );
    for line in lines {
        let (came, after) = came_to(line);
        let _ = writeln!(text, "| {} | {came} | {after} |", line.name);
    }
    text
}

fn came_to(line: &Line) -> (&'static str, String) {
    let (came, after) = match &line.came {
        Ok(Passed::Healed(after)) => ("healed and verified", Some(after)),
        Ok(Passed::Escalated(after)) => ("escalated", Some(after)),
        Ok(Passed::LeftAlone) => ("left alone", None),
        Ok(Passed::Kept) => ("kept its record", None),
        Err(_) => ("FAILED", None),
    };
    (came, after.map_or(String::new(), |s| format!("{s:.1} s")))
}
