//! Writes families and series in Prometheus' text format 0.0.4 over a buffer that is used again for every sample.
//!
//! Whatever it is given, what comes out can be scraped: a series that is there already is dropped, a family holds at most so many of
//! them, and a family without series has no header. [`super::openmetrics`] makes the other format of it.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::ops::Range;

/// Series that one family may have unless told otherwise.
pub const MOST_SERIES: usize = 2000;

/// What a family's numbers are. Names of counters end in `_total`, other names do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    /// The kernel does not say which of the two it is.
    Untyped,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Untyped => "untyped",
        }
    }
}

/// A number as it is written. Readers parse it to the same value that a division would have given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Whole(u64),
    /// `.0` divided by ten to the power of `.1`: hundredths, thousandths, millionths.
    Scaled(u64, usize),
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

/// Labels of one series, escaped as they are put in. One can serve many families, and be filled anew.
#[derive(Debug, Clone, Default)]
pub struct Labels(Vec<u8>);

impl Labels {
    pub fn new(pairs: &[(&str, &str)]) -> Self {
        let mut labels = Self::default();
        pairs.iter().for_each(|(name, value)| labels.push(name, value));
        labels
    }

    /// Starts again, with these.
    pub fn set(&mut self, pairs: &[(&str, &str)]) -> &Self {
        self.0.clear();
        pairs.iter().for_each(|(name, value)| self.push(name, value));
        self
    }

    pub fn push(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"=\"");
        escape(&mut self.0, value, true);
        self.0.push(b'"');
    }
}

fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    if !text.bytes().any(|b| matches!(b, b'\\' | b'\n' | b'"')) {
        return out.extend_from_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            other => out.push(other),
        }
    }
}

/// Series that were not written, since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The same name and labels were there already.
    pub duplicates: u64,
    /// The family was full.
    pub over_the_cap: u64,
}

/// The writer. [`Exposition::begin`] empties it for the next sample.
#[derive(Debug)]
pub struct Exposition {
    out: Vec<u8>,
    most: usize,
    dropped: Dropped,
    hash: RandomState,
    /// Label sets of the family that is being written, by their hash, as ranges of `out`.
    seen: HashMap<u64, Range<usize>, BuildHasherDefault<AsItIs>>,
}

/// One family that is being written.
#[derive(Debug)]
pub struct Family<'a> {
    to: &'a mut Exposition,
    most: usize,
    name: &'a str,
    kind: Kind,
    help: &'a str,
    series: usize,
    bare: bool,
}

impl Default for Exposition {
    fn default() -> Self {
        Self::with_most_series(MOST_SERIES)
    }
}

impl Exposition {
    pub fn with_most_series(most: usize) -> Self {
        Self { out: Vec::new(), most, dropped: Dropped::default(), hash: RandomState::new(), seen: HashMap::default() }
    }

    /// Forgets what was written; what was dropped stays counted.
    pub fn begin(&mut self) {
        self.out.clear();
    }

    pub fn written(&self) -> &[u8] {
        &self.out
    }

    pub const fn dropped(&self) -> Dropped {
        self.dropped
    }

    pub fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &'a str) -> Family<'a> {
        self.seen.clear();
        Family { most: self.most, to: self, name, kind, help, series: 0, bare: false }
    }

    /// A family of one series without labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Into<Number>) {
        self.family(name, kind, help).bare(value);
    }

    fn number(&mut self, number: Number) {
        match number {
            Number::Whole(value) => self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Number::Scaled(value, digits) => {
                let mut buffer = itoa::Buffer::new();
                let text = buffer.format(value).as_bytes();
                let (whole, part) = text.split_at(text.len().saturating_sub(digits));
                self.out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
                if value != 0 && digits > 0 {
                    self.out.push(b'.');
                    self.out.resize(self.out.len() + digits.saturating_sub(part.len()), b'0');
                    self.out.extend_from_slice(part);
                }
            }
            Number::Real(value) if value.is_finite() => self.out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes()),
            Number::Real(value) if value.is_nan() => self.out.extend_from_slice(b"NaN"),
            Number::Real(value) => self.out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" }),
        }
    }
}

impl Family<'_> {
    /// Its own cap: for families that the hardware bounds, or that have many series for one thing.
    #[must_use]
    pub fn holding(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// One series with labels.
    pub fn series(&mut self, labels: &Labels, value: impl Into<Number>) {
        if labels.0.is_empty() {
            return self.bare(value);
        }
        if !self.has_room() {
            return;
        }
        let hash = self.to.hash.hash_one(&labels.0);
        if self.to.seen.get(&hash).and_then(|at| self.to.out.get(at.clone())).is_some_and(|there| there == labels.0) {
            self.to.dropped.duplicates += 1;
            return;
        }
        self.header();
        self.to.out.extend_from_slice(self.name.as_bytes());
        self.to.out.push(b'{');
        let start = self.to.out.len();
        self.to.out.extend_from_slice(&labels.0);
        self.to.seen.insert(hash, start..self.to.out.len());
        self.to.out.extend_from_slice(b"} ");
        self.value(value.into());
    }

    /// The series without labels.
    pub fn bare(&mut self, value: impl Into<Number>) {
        if self.bare {
            self.to.dropped.duplicates += 1;
        } else if self.has_room() {
            self.bare = true;
            self.header();
            self.to.out.extend_from_slice(self.name.as_bytes());
            self.to.out.push(b' ');
            self.value(value.into());
        }
    }

    fn has_room(&mut self) -> bool {
        let room = self.series < self.most;
        self.to.dropped.over_the_cap += u64::from(!room);
        room
    }

    fn value(&mut self, value: Number) {
        self.to.number(value);
        self.to.out.push(b'\n');
        self.series += 1;
    }

    fn header(&mut self) {
        if self.series > 0 {
            return;
        }
        self.to.out.extend_from_slice(b"# HELP ");
        self.to.out.extend_from_slice(self.name.as_bytes());
        self.to.out.push(b' ');
        escape(&mut self.to.out, self.help, false);
        self.to.out.extend_from_slice(b"\n# TYPE ");
        self.to.out.extend_from_slice(self.name.as_bytes());
        self.to.out.push(b' ');
        self.to.out.extend_from_slice(self.kind.as_str().as_bytes());
        self.to.out.push(b'\n');
    }
}

/// For keys that are hashes.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.0 = self.0.rotate_left(8) ^ u64::from(*b));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(of: &Exposition) -> &str {
        std::str::from_utf8(of.written()).expect("text")
    }

    #[test]
    fn a_family_has_one_header_and_its_series() {
        let mut to = Exposition::default();
        let mut family = to.family("a_total", Kind::Counter, "Of \\ and\n\"more\".");
        family.bare(7);
        family.series(&Labels::new(&[("x", "1"), ("y", "\"q\"\\\n")]), 0.5);
        to.family("b", Kind::Gauge, "Has no series.");
        to.single("c", Kind::Untyped, "C.", true);
        let expected = "# HELP a_total Of \\\\ and\\n\"more\".\n# TYPE a_total counter\na_total 7\na_total{x=\"1\",y=\"\\\"q\\\"\\\\\\n\"} 0.5\n\
                        # HELP c C.\n# TYPE c untyped\nc 1\n";
        assert_eq!(text(&to), expected);
        assert_eq!(to.dropped(), Dropped::default());
        to.begin();
        assert_eq!(text(&to), "");
    }

    #[test]
    fn what_is_there_already_is_dropped_and_counted() {
        let mut to = Exposition::default();
        let labels = Labels::new(&[("device", "a")]);
        for name in ["a", "b"] {
            let mut family = to.family(name, Kind::Gauge, "H.");
            family.series(&labels, 1);
            family.series(&labels, 2);
            family.series(&Labels::new(&[("device", "b")]), 3);
            family.bare(4);
            family.bare(5);
        }
        assert_eq!(to.dropped(), Dropped { duplicates: 4, over_the_cap: 0 });
        assert!(text(&to).contains("a{device=\"a\"} 1\na{device=\"b\"} 3\na 4\n#") && !text(&to).contains('5'), "{}", text(&to));
    }

    #[test]
    fn a_family_is_capped_and_the_next_one_is_not_poorer() {
        let mut to = Exposition::with_most_series(2);
        for name in ["a", "b"] {
            let mut family = to.family(name, Kind::Gauge, "H.");
            for n in 0..5 {
                family.series(&Labels::new(&[("n", &n.to_string())]), n);
            }
        }
        assert_eq!(to.dropped().over_the_cap, 6);
        assert_eq!(text(&to).lines().filter(|l| !l.starts_with('#')).count(), 4);
        let mut family = to.family("c", Kind::Gauge, "H.").holding(4);
        for n in 0..5 {
            family.series(&Labels::new(&[("n", &n.to_string())]), n);
        }
        assert_eq!(to.dropped().over_the_cap, 7);
    }

    #[test]
    fn what_is_no_number_has_its_name() {
        let mut to = Exposition::default();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            to.number(Number::Real(value));
            to.out.push(b' ');
        }
        assert_eq!(text(&to), "NaN +Inf -Inf ");
    }

    proptest! {
        #[test]
        fn numbers_parse_to_what_they_were(value: f64, whole: u64, digits in prop::sample::select(vec![2_usize, 3, 6])) {
            let back = |number: Number| {
                let mut to = Exposition::default();
                to.number(number);
                text(&to).parse::<f64>().expect("a number")
            };
            if value.is_finite() {
                prop_assert_eq!(back(value.into()), value);
            }
            prop_assert_eq!(back(whole.into()), whole as f64);
            // Up to 2^53 the division is exact in its operands, and so has one right answer.
            for whole in [whole >> 11, whole >> 40, whole & 0xfff] {
                prop_assert_eq!(back(Number::Scaled(whole, digits)), whole as f64 / 10_f64.powi(i32::try_from(digits).expect("small")));
            }
        }

        #[test]
        fn no_label_breaks_its_line(value: String) {
            let mut to = Exposition::default();
            to.family("a", Kind::Gauge, "H.").series(&Labels::new(&[("l", &value)]), 1);
            let lines: Vec<&str> = text(&to).split('\n').collect();
            prop_assert_eq!(lines.len(), 4);
            let quoted = lines[2].strip_prefix("a{l=\"").and_then(|l| l.strip_suffix("\"} 1")).expect("one label");
            let (mut plain, mut chars) = (String::new(), quoted.chars());
            while let Some(c) = chars.next() {
                prop_assert_ne!(c, '"');
                plain.push(if c != '\\' { c } else { match chars.next() { Some('n') => '\n', Some(c) => c, None => panic!("half an escape") } });
            }
            prop_assert_eq!(plain, value);
        }
    }
}
