//! Units of measure. Sizes are bytes everywhere; only messages round.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::amount::{Unit, amount};

/// A count of bytes; prints in binary units with three figures (`1.46 GiB`).
/// Read from a number of bytes or from text: `"100M"`, `"1.5 GiB"`, `"2TB"` (all binary, as journald and lvm have it).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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

const SIZES: &[Unit] = &[
    (&["", "B"], 1.0),
    (&["K", "KB", "KiB"], 1024.0),
    (&["M", "MB", "MiB"], 1024.0 * 1024.0),
    (&["G", "GB", "GiB"], 1024.0 * 1024.0 * 1024.0),
    (&["T", "TB", "TiB"], 1024.0 * 1024.0 * 1024.0 * 1024.0),
];

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // Plain numbers are whole bytes; `1.1M` is rounded to one.
        let rounded =
            |bytes: f64| (0.0..9e18).contains(&bytes).then(|| Self(bytes.round() as u64)).filter(|b| b.0 >= 1024 || bytes.fract() == 0.0);
        amount(d, "a size: a number of bytes, or \"100M\", \"1.5G\"", SIZES, |whole| Some(Self(whole)), rounded)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_or_a_number_with_a_unit() {
        let read = |json: &str| serde_json::from_str::<Bytes>(json).map_err(|e| e.to_string());
        assert_eq!(read("18446744073709551615").unwrap(), Bytes(u64::MAX), "every count of bytes comes back exactly");
        assert_eq!((read("\"100M\"").unwrap(), read("\"1.5 GiB\"").unwrap()), (Bytes(100 << 20), Bytes(3 << 29)));
        for bad in ["\"100X\"", "\"M\"", "\"\"", "-1", "\"-1M\"", "1.5", "true", "\"1e30\""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
