//! What the collector is told of this host, put together from what the driver holds.

use std::sync::Arc;

use super::shared::{Shared, lock};
use super::views;
use crate::uplink::{self, Acked, RecordNow, Rows, Running, Standing};
use crate::wire::collector::About;

struct Told(Arc<Shared>);

/// Reports from now on, where this host has a collector or gets one.
pub(super) fn start(shared: &Arc<Shared>) -> Running {
    let host = Arc::new(Told(Arc::clone(shared)));
    uplink::start(host, &shared.config().state_dir, Arc::clone(&shared.uplink), uplink::Pace::default(), uplink::dice())
}

impl uplink::Host for Told {
    fn now(&self) -> jiff::Timestamp {
        self.0.host.now().wall
    }

    fn standing(&self) -> Standing {
        let config = self.0.config();
        // As it answered when it was last asked, some seconds ago.
        let why_observe = views::why_observe(&config, &lock(&self.0.hello));
        Standing {
            about: About {
                hostname: views::host_name(),
                version: env!("CARGO_PKG_VERSION").into(),
                boot_id: self.0.started.boot.0.clone(),
            },
            mode: views::mode(why_observe.as_deref()).into(),
            held_by: why_observe.into_iter().chain(config.in_maintenance(self.now())).collect(),
            signals: lock(&self.0.seen).raised.clone(),
        }
    }

    fn record(&self, acked: Option<&Acked>) -> Result<RecordNow, String> {
        let now = self.0.host.now();
        let store = self.0.read_record()?;
        let stream = store.name().ok_or("it has no name yet: there was no room to write one down")?.to_owned();
        let acked = acked.filter(|acked| acked.stream == stream).map(|acked| acked.through);
        let paused = store.pauses(&now).into_iter().map(|pause| {
            let what = pause.runbook.map_or_else(|| "everything".to_owned(), |runbook| runbook.0.into_owned());
            format!("{what} is paused by {}", pause.by)
        });
        Ok(RecordNow {
            held_by: paused.chain(store.health().why().map(str::to_owned)).collect(),
            head: store.head(),
            open_incidents: store.open_incidents().map_err(|e| e.to_string())?.len() as u64,
            waiting: acked.map_or(0, |through| store.waiting(through)),
            waiting_since: acked.map_or(Ok(None), |through| store.waiting_since(through)).map_err(|e| e.to_string())?,
            stream,
        })
    }

    fn rows(&self, after: u64) -> Result<Rows, String> {
        let store = self.0.read_record()?;
        let stream = store.name().ok_or("it has no name yet")?.to_owned();
        let out = store.after(after).map_err(|e| e.to_string())?;
        Ok(Rows { stream, head: store.head().0, out })
    }
}
