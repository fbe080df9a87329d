//! How fast a filesystem fills, and when it is full at that rate.

use serde::{Deserialize, Serialize};

use crate::model::{FsUsage, Seconds};

/// A straight line through what was seen, by least squares over the boot clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// Negative while it empties.
    pub bytes_per_s: f64,
    pub inodes_per_s: f64,
    /// How much time the line stands on.
    pub over: Seconds,
}

/// One reading: seconds on the boot clock, bytes used, inodes used.
pub(super) type Reading = (f64, u64, u64);

impl Growth {
    /// Less than this says nothing about the hours to come.
    pub const MIN_SPAN: Seconds = Seconds(300.0);
    /// Fewer readings than this are no line.
    const MIN_READINGS: usize = 6;

    /// `None` when the readings are too few or too close together.
    pub(super) fn of(readings: impl Iterator<Item = Reading> + Clone) -> Option<Self> {
        let count = readings.clone().count();
        let (first, last) = (readings.clone().next()?, readings.clone().last()?);
        let over = last.0 - first.0;
        if count < Self::MIN_READINGS || over < Self::MIN_SPAN.0 {
            return None;
        }
        // Relative to the first reading: the squares of large byte counts would eat the digits that matter.
        let bytes_per_s = slope(readings.clone().map(|(t, bytes, _)| (t - first.0, bytes as f64 - first.1 as f64)))?;
        let inodes_per_s = slope(readings.map(|(t, _, inodes)| (t - first.0, inodes as f64 - first.2 as f64)))?;
        Some(Self { bytes_per_s, inodes_per_s, over: Seconds(over) })
    }

    /// Until nobody but root can write any more; `None` while it does not grow.
    pub fn time_to_full(&self, usage: &FsUsage) -> Option<Seconds> {
        (self.bytes_per_s > 0.0).then(|| Seconds(usage.available as f64 / self.bytes_per_s))
    }
}

/// Of the line through these points (seconds, amount), by least squares; `None` where they are all of one moment.
pub(super) fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let (mut n, mut t_sum, mut a_sum) = (0.0, 0.0, 0.0);
    for (t, a) in points.clone() {
        n += 1.0;
        t_sum += t;
        a_sum += a;
    }
    let (t_mean, a_mean) = (t_sum / n, a_sum / n);
    let (mut tt, mut ta) = (0.0, 0.0);
    for (t, a) in points {
        tt += (t - t_mean) * (t - t_mean);
        ta += (t - t_mean) * (a - a_mean);
    }
    (tt > 0.0).then(|| ta / tt)
}
