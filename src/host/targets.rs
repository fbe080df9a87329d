//! What a step names, looked at in this moment.

use super::ReadHost;
use crate::model::{Step, Targets};

/// Asked by the agent before it writes an intent, and again by the actuator before it acts.
pub fn targets(host: &dyn ReadHost, step: &Step) -> Targets {
    Targets {
        unit: step.unit().map(|name| host.unit(name).into()),
        processes: step.processes().iter().map(|process| host.process(process.pid).into()).collect(),
    }
}
