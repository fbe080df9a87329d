//! Goals, what was measured, and whether that is what was asked.

/// One goal; both sides are in one unit.
struct Line {
    goal: &'static str,
    what: String,
    most: f64,
    /// Ours and what it is divided by; nothing where a part was left out.
    figures: Option<(f64, f64)>,
}

#[derive(Default)]
pub struct Table {
    lines: Vec<Line>,
    left_out: Vec<String>,
}

impl Table {
    /// `ours` may be `most` times `theirs`; where there is nobody beside us, `theirs` is 1.
    pub fn goal(&mut self, goal: &'static str, what: impl Into<String>, most: f64, ours: Option<f64>, theirs: Option<f64>) {
        self.lines.push(Line { goal, what: what.into(), most, figures: ours.zip(theirs) });
    }

    /// Said at once and again below the table.
    pub fn left_out(&mut self, what: impl Into<String>) {
        let what = what.into();
        println!("\n*** LEFT OUT: {what} ***\n");
        if !self.left_out.contains(&what) {
            self.left_out.push(what);
        }
    }

    /// In the order of goals.
    pub fn print(mut self) {
        self.lines.sort_by_key(|line| line.goal);
        let widest = self.lines.iter().map(|line| line.what.len()).max().unwrap_or_default();
        println!("\n{:<26} {:<widest$} {:>9} {:>9}  {:<12} {:>12} {:>12}", "goal", "beside", "measured", "asked", "", "ours", "theirs");
        let mut above = "";
        for Line { goal, what, most, figures } in &self.lines {
            let shown = if *goal == above { "" } else { goal };
            above = goal;
            let Some((ours, theirs)) = figures else {
                println!("{shown:<26} {what:<widest$} {:>9} {most:>9.2}  NOT MEASURED", "");
                continue;
            };
            let ratio = ours / theirs;
            let judged = if ratio <= *most { "met" } else { "MISSED" };
            println!("{shown:<26} {what:<widest$} {ratio:>9.3} {most:>9.2}  {judged:<12} {ours:>12.2} {theirs:>12.2}");
        }
        for what in self.left_out {
            println!("*** LEFT OUT: {what} ***");
        }
    }
}
