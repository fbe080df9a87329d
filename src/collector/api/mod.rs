//! The agents' door: everything is asked by them, and nothing that they are answered is a command.
//!
//! [`body`] reads what was sent, [`admit`] says who sent it, [`limits`] how often; [`agent`] and [`enrol`] answer, or [`problem`] does; [`metrics`] says how often.

mod admit;
mod agent;
mod body;
mod enrol;
mod health;
mod limits;
mod metrics;
mod problem;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::store::{Reply, Store, StoreError};
use crate::wire::collector::Code;
use limits::Limits;
use problem::Refused;

use super::clock::Clock;

/// With more agents than this for each second of the interval, each waits longer.
const HEARTBEATS_PER_S: f64 = 300.0;
/// For the store to answer. What was asked may still be done after that, and once only.
const PATIENCE: Duration = Duration::from_secs(20);
/// Batches that are unpacked and proven at the same time.
const UNPACKING: usize = 4;
/// KiB of batches that are unpacked and wait to be written.
const IN_HAND_KIB: usize = 32 << 10;

/// What all requests of agents share.
pub struct Plane {
    store: Store,
    now: Clock,
    interval_s: f64,
    limits: Limits,
    unpacking: Semaphore,
    in_hand: Arc<Semaphore>,
    counts: Mutex<BTreeMap<Option<Code>, u64>>,
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane").field("store", &self.store).field("interval_s", &self.interval_s).finish_non_exhaustive()
    }
}

impl Plane {
    /// `interval_s` is what agents are told to wait between two heartbeats.
    pub fn new(store: Store, now: Clock, interval_s: f64) -> Self {
        let limits = Limits::new(now());
        let (unpacking, in_hand) = (Semaphore::new(UNPACKING), Arc::new(Semaphore::new(IN_HAND_KIB)));
        Self { store, now, interval_s, limits, unpacking, in_hand, counts: Mutex::default() }
    }

    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Requests since the start: refused ones by why, the others by `None`.
    pub fn counts(&self) -> BTreeMap<Option<Code>, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn next_in_s(&self) -> f64 {
        self.interval_s.max(self.store.health().agents as f64 / HEARTBEATS_PER_S)
    }

    /// Asks the store and waits for its answer.
    async fn asked<T: Send + 'static>(&self, ask: impl FnOnce(&Store, Reply<T>)) -> Result<T, Refused> {
        let (tell, told) = oneshot::channel();
        // Nobody may wait any more.
        ask(&self.store, Box::new(move |result| drop(tell.send(result))));
        match timeout(PATIENCE, told).await {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(_)) => Err(StoreError::Stopped("the thread that writes has ended".into()).into()),
            Err(_) => Err(StoreError::Unavailable(format!("the store has not answered for {} s", PATIENCE.as_secs())).into()),
        }
    }
}

pub fn router(plane: Arc<Plane>) -> Router {
    Router::new()
        .route("/v1/enroll", post(enrol::enrol))
        .route("/v1/agent/heartbeat", post(agent::heartbeat))
        .route("/v1/agent/events", post(agent::events))
        .route("/v1/agent/goodbye", post(agent::goodbye))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::page))
        .fallback(|| async { Refused::new(Code::NotFound, "there is nothing here; look at the address") })
        .method_not_allowed_fallback(|| async { Refused::new(Code::MethodNotAllowed, "this address takes another method") })
        .layer(from_fn_with_state(Arc::clone(&plane), count))
        .with_state(plane)
}

async fn count(State(plane): State<Arc<Plane>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let code = response.extensions().get::<Code>().copied();
    *plane.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    response
}
