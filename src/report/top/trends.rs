//! What was: one curve a figure, with the figures that it cannot tell.

use super::curve::Curve;
use super::head::{tension, warmth};
use super::{Column, Pane, Section, column, known, within};
use crate::model::{Now, Percent, Seconds};
use crate::report::paint::Tone;
use crate::report::table::{Cell, cell, figure};
use crate::wire::local::{Top, Trend, Trends};

/// How far back is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    QuarterHour,
    SixHours,
}

/// Beyond it the middle of a mount's name gives way to the curve.
const LONGEST_NAME: usize = 24;
/// Places in a text.
const PLACES: usize = 60;

impl Span {
    pub fn other(self) -> Self {
        match self {
            Self::QuarterHour => Self::SixHours,
            Self::SixHours => Self::QuarterHour,
        }
    }

    const fn seconds(self) -> f64 {
        match self {
            Self::QuarterHour => 900.0,
            Self::SixHours => 21_600.0,
        }
    }

    const fn columns(self) -> &'static [Column] {
        match self {
            Self::QuarterHour => const { &columns("LAST 15 MIN") },
            Self::SixHours => const { &columns("LAST 6 H") },
        }
    }

    fn of(self, trends: &Trends) -> &Trend {
        match self {
            Self::QuarterHour => &trends.quarter_hour,
            Self::SixHours => &trends.six_hours,
        }
    }
}

const fn columns(curve: &'static str) -> [Column; 5] {
    [column("TREND", 0), column(curve, 0), column("NOW", 0), column("LOWEST", 2), column("HIGHEST", 1)]
}

/// What full height is.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// From nothing to the highest there was, and never to less than this: little is to look like little.
    FromZero(f32),
    /// From the lowest to the highest: of what is filled, how it changes is what counts.
    Between,
}

/// A change by less than this is no mountain.
const LEAST_BETWEEN: f32 = 2.0;

impl Scale {
    fn ends(self, lowest: f32, highest: f32) -> (f32, f32) {
        match self {
            Self::FromZero(least) => (0.0, highest.max(least)),
            Self::Between => (lowest, highest.max(lowest + LEAST_BETWEEN)),
        }
    }
}

type Values = Vec<Option<f32>>;

const PERCENT: Scale = Scale::FromZero(10.0);

/// One curve, of io wait or of a filesystem.
struct Figure<'a> {
    fine: &'a Values,
    shown: &'a Values,
    scale: Scale,
    tone: fn(f32) -> Tone,
    text: fn(f32) -> String,
}

fn percent(value: f32) -> String {
    Percent(f64::from(value)).to_string()
}

fn warm(value: f32) -> Tone {
    warmth(Percent(f64::from(value)))
}

fn tense(value: f32) -> Tone {
    tension(f64::from(value))
}

pub(super) fn trends(top: &Top, spans: &[Span]) -> Pane {
    const NAME: &str = "Trends";
    let trends = match known(&top.trends) {
        Ok(trends) => trends,
        Err(why) => return Pane::unknown(NAME, why),
    };
    let known_s = |trend: &Trend| trend.every_s * trend.load_one.len().saturating_sub(1) as f64;
    let known_s = known_s(&trends.quarter_hour).max(known_s(&trends.six_hours));
    Pane {
        name: NAME,
        sum: cell(format!("a history of {}", Seconds(known_s))),
        sections: spans.iter().map(|span| section(trends, *span, &top.now)).collect(),
    }
}

fn section(trends: &Trends, span: Span, now: &Now) -> Section {
    let (fine, shown) = (&trends.quarter_hour, span.of(trends));
    let row = |name: &str, of: fn(&Trend) -> &Values, scale, tone, text| {
        Figure { fine: of(fine), shown: of(shown), scale, tone, text }.row(cell(name), trends, span, now)
    };
    let plain = |_| Tone::Plain;
    let mut rows = vec![
        row("cpu busy", |t| &t.cpu_busy, PERCENT, warm, percent),
        row("io wait", |t| &t.cpu_iowait, PERCENT, plain, percent),
        row("load", |t| &t.load_one, Scale::FromZero(1.0), plain, |load| format!("{load:.2}")),
        row("memory used", |t| &t.memory_used, Scale::Between, warm, percent),
    ];
    if shown.swap_used.iter().chain(&fine.swap_used).any(Option::is_some) {
        rows.push(row("swap used", |t| &t.swap_used, Scale::Between, plain, percent));
    }
    rows.push(row("cpu pressure", |t| &t.cpu_pressure, PERCENT, tense, percent));
    rows.push(row("io pressure", |t| &t.io_pressure, PERCENT, tense, percent));
    rows.push(row("memory pressure", |t| &t.memory_pressure, PERCENT, tense, percent));
    let newest = |used: &Values| used.iter().rev().find_map(|v| *v).unwrap_or(0.0);
    let mut filesystems: Vec<_> = shown.filesystems.iter().collect();
    filesystems.sort_by(|a, b| newest(&b.used).total_cmp(&newest(&a.used)).then(a.mount.cmp(&b.mount)));
    rows.extend(filesystems.into_iter().map(|fs| {
        let none = Vec::new();
        let fine = fine.filesystems.iter().find(|f| f.mount == fs.mount && f.device == fs.device).map_or(&none, |f| &f.used);
        let figure = Figure { fine, shown: &fs.used, scale: Scale::Between, tone: warm, text: percent };
        figure.row(cell(within(&fs.mount.to_string(), LONGEST_NAME)), trends, span, now)
    }));
    Section { columns: span.columns(), rows, note: String::new() }
}

impl Figure<'_> {
    fn row(&self, name: Cell, trends: &Trends, span: Span, now: &Now) -> Vec<Cell> {
        // What was last had long ago is not what is now.
        let is_now = silent_steps(&trends.quarter_hour, now) == 0;
        let newest = self.fine.last().copied().flatten().filter(|_| is_now);
        let text = |value: Option<f32>| value.map_or_else(|| figure("-"), |v| figure((self.text)(v)).tone((self.tone)(v)));
        let had = || self.shown.iter().flatten().copied();
        let (lowest, highest) = (had().reduce(f32::min), had().reduce(f32::max));
        let curve = curve(span.of(trends), self.shown, span, now, self.scale.ends(lowest.unwrap_or(0.0), highest.unwrap_or(0.0)));
        let tone = newest.map_or(Tone::Plain, self.tone);
        vec![name, curve.tone(tone), text(newest), text(lowest), text(highest)]
    }
}

/// Of how many steps at the end nothing is known.
fn silent_steps(trend: &Trend, now: &Now) -> u64 {
    // A sample that is about to come is not missing yet.
    let late = (now.uptime_s - trend.last.uptime_s) / trend.every_s - 0.5;
    late.max(0.0) as u64
}

fn curve(trend: &Trend, values: &Values, span: Span, now: &Now, scale: (f32, f32)) -> Cell {
    let steps = (span.seconds() / trend.every_s).round().clamp(1.0, 1000.0) as usize;
    let silent = silent_steps(trend, now).min(steps as u64);
    let newest = (trend.last.uptime_s / trend.every_s) as u64 + silent;
    let all = values.iter().copied().chain((0..silent).map(|_| None));
    let skipped = (values.len() + silent as usize).saturating_sub(steps);
    let curve = Curve::new(all.skip(skipped), newest, steps, scale);
    Cell { text: curve.drawn(PLACES.min(curve.most())), curve: Some(curve), ..cell("") }
}

/// How tense it was: for the line that tells how tense it is.
pub(super) fn pressure(top: &Top, of: fn(&Trend) -> &Values, span: Span) -> Cell {
    let Some(trends) = top.trends.value() else { return cell("") };
    let trend = span.of(trends);
    let highest = of(trend).iter().flatten().copied().reduce(f32::max).unwrap_or(0.0);
    curve(trend, of(trend), span, &top.now, PERCENT.ends(0.0, highest))
}
