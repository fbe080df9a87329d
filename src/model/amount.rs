//! Numbers with a unit, as people write them in a configuration.

use std::fmt;

use serde::{Deserializer, de};

/// Names of a unit (the first is empty for the plain number) and how much one of it is.
pub(super) type Unit = (&'static [&'static str], f64);

/// Reads a whole number, a fraction or a text of both.
pub(super) fn amount<'de, T, D: Deserializer<'de>>(
    d: D,
    what: &'static str,
    units: &'static [Unit],
    whole: fn(u64) -> Option<T>,
    fraction: fn(f64) -> Option<T>,
) -> Result<T, D::Error> {
    d.deserialize_any(Amount { what, units, whole, fraction })
}

struct Amount<T> {
    what: &'static str,
    units: &'static [Unit],
    whole: fn(u64) -> Option<T>,
    fraction: fn(f64) -> Option<T>,
}

impl<T> Amount<T> {
    fn text(&self, text: &str) -> Option<T> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = (text[..split].parse::<f64>().ok()?, text[split..].trim());
        let (_, factor) = self.units.iter().find(|(names, _)| names.contains(&unit))?;
        (self.fraction)(number * factor)
    }
}

impl<T> de::Visitor<'_> for Amount<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<T, E> {
        (self.whole)(v).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(v), &self))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<T, E> {
        match u64::try_from(v) {
            Ok(v) => self.visit_u64(v),
            Err(_) => self.visit_f64(v as f64),
        }
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<T, E> {
        (self.fraction)(v).ok_or_else(|| E::invalid_value(de::Unexpected::Float(v), &self))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<T, E> {
        self.text(v).ok_or_else(|| E::invalid_value(de::Unexpected::Str(v), &self))
    }
}
