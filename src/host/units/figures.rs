//! What is asked of a unit besides its state: which property of which interface that is, and where it belongs. A service's restarts and a timer's
//! elapse are told whenever they change as well.

use crate::model::UnitState;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Type,
    Restarts,
    LastTrigger,
    Accepted,
    Connections,
    Refused,
}

/// A property's value, as far as it is one of those that are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(u64),
}

impl Figure {
    /// What there is to ask of a unit of this name.
    pub(super) fn of(unit: &str) -> &'static [Self] {
        match unit.rsplit_once('.') {
            Some((_, "service")) => &[Self::Type, Self::Restarts],
            Some((_, "timer")) => &[Self::LastTrigger],
            Some((_, "socket")) => &[Self::Accepted, Self::Connections, Self::Refused],
            _ => &[],
        }
    }

    pub(super) const fn interface(self) -> &'static str {
        match self {
            Self::Type | Self::Restarts => "org.freedesktop.systemd1.Service",
            Self::LastTrigger => "org.freedesktop.systemd1.Timer",
            Self::Accepted | Self::Connections | Self::Refused => "org.freedesktop.systemd1.Socket",
        }
    }

    pub(super) const fn property(self) -> &'static str {
        match self {
            Self::Type => "Type",
            Self::Restarts => "NRestarts",
            Self::LastTrigger => "LastTriggerUSec",
            Self::Accepted => "NAccepted",
            Self::Connections => "NConnections",
            Self::Refused => "NRefused",
        }
    }

    /// A value of another kind than the property has is no value.
    pub(super) fn enter(self, value: Value<'_>, unit: &mut UnitState) {
        match (self, value) {
            (Self::Type, Value::Text(text)) => text.clone_into(&mut unit.kind),
            (Self::Restarts, Value::Number(n)) => unit.restarts = u32::try_from(n).ok(),
            (Self::LastTrigger, Value::Number(us)) => unit.last_trigger_us = Some(us),
            (Self::Accepted, Value::Number(n)) => unit.accepted = u32::try_from(n).ok(),
            (Self::Connections, Value::Number(n)) => unit.connections = u32::try_from(n).ok(),
            (Self::Refused, Value::Number(n)) => unit.refused = u32::try_from(n).ok(),
            _ => {}
        }
    }
}
