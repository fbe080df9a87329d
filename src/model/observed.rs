//! Unknown is a value, and it is never zero.

use serde::{Deserialize, Serialize};

/// What a read of the host gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed<T> {
    /// Read successfully; `age_s` is how old it was, in seconds, when the evidence was put together.
    Value { value: T, age_s: f64 },
    /// Could not be read. `why` names the thing (path, unit, socket) and what went wrong.
    Unavailable { why: String },
}

impl<T> Observed<T> {
    /// Read this moment.
    pub fn fresh(value: T) -> Self {
        Self::Value { value, age_s: 0.0 }
    }

    /// Not read, and why.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into() }
    }

    /// The value, if there is one. There is no `unwrap_or_default` on purpose.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value { value, .. } => Some(value),
            Self::Unavailable { .. } => None,
        }
    }

    /// Why there is no value.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Value { .. } => None,
            Self::Unavailable { why } => Some(why),
        }
    }

    /// Same age or same reason, another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Self::Value { value, age_s } => Observed::Value { value: f(value), age_s },
            Self::Unavailable { why } => Observed::Unavailable { why },
        }
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Observed<T> {
    fn from(read: Result<T, E>) -> Self {
        match read {
            Ok(value) => Self::fresh(value),
            Err(e) => Self::unavailable(e.to_string()),
        }
    }
}
