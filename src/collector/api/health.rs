//! Whether this collector takes what agents send.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use tokio::time::timeout;

use super::Plane;
use super::problem::Refused;
use crate::collector::store::LEAST_FREE_BYTES;
use crate::wire::collector::Code;

/// For everything that waits to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ready: the writer writes, and there is room. `/healthz` says only that the process turns.
pub(super) async fn ready(State(plane): State<Arc<Plane>>) -> Result<&'static str, Refused> {
    let health = plane.store.health();
    if let Some(why) = health.stopped {
        return Err(Refused::new(Code::Unavailable, format!("the store has stopped: {why}")));
    }
    if health.free_bytes < LEAST_FREE_BYTES {
        let (free, least) = (health.free_bytes >> 20, LEAST_FREE_BYTES >> 20);
        return Err(Refused::new(Code::Unavailable, format!("{free} MiB are free on the store's filesystem: make that {least}")));
    }
    match timeout(PATIENCE, plane.asked(|store, reply| store.probe(reply))).await {
        Ok(probed) => probed.map(|()| "ready\n"),
        Err(_) => Err(Refused::new(Code::Unavailable, format!("the store has not written for {} s", PATIENCE.as_secs()))),
    }
}
