//! What a step names, looked at in this moment.

use super::ReadHost;
use crate::model::{Step, Targets};

/// Asked by the agent before it writes an intent, and again by the actuator before it acts.
pub fn targets(host: &dyn ReadHost, step: &Step) -> Targets {
    // A preference is set without systemd, counts for nothing until the kernel has to choose, and is taken back: it need not wait for systemd,
    // which answers nobody when it is needed most.
    let at_once = matches!(step, Step::PreferVictims(_));
    let unit = |name| if at_once { host.unit_at_once(name) } else { host.unit(name) };
    Targets {
        unit: step.unit().map(|name| unit(name).into()),
        processes: step.processes().iter().map(|process| host.process(process.pid).into()).collect(),
    }
}
