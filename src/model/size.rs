//! Units of measure. Sizes are bytes everywhere; only messages round.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A count of bytes; prints in binary units with three figures (`1.46 GiB`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        if value < 1024.0 {
            return write!(f, "{} B", self.0);
        }
        for unit in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
            value /= 1024.0;
            if value < 1024.0 || unit == "PiB" {
                let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
                return write!(f, "{value:.digits$} {unit}");
            }
        }
        Ok(())
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.fold(0, |total, b| total.saturating_add(b.0)))
    }
}

/// 0..100, for people. Metrics carry ratios.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(pub f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.0)
    }
}
