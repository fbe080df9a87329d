//! The one TCP listener: /metrics, /healthz, /readyz. Reads only what is in memory; nothing here can hang on the host.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::shared::{Shared, lock};
use crate::metrics;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/metrics", get(scrape)).route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready)).with_state(shared)
}

async fn scrape(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let format = metrics::Format::Text;
    ([(header::CONTENT_TYPE, format.content_type())], shared.metrics.page().plain(format).clone())
}

/// Ready: a sample was taken within the last three intervals, and the record can be written.
async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let now = shared.host.now();
    let age = lock(&shared.seen).sample.as_ref().and_then(|s| now.steady_since(&s.at));
    let limit = shared.config().sample_interval.0 * 3.0;
    let mut why = Vec::new();
    match age {
        Some(age) if age <= limit => {}
        Some(age) => why.push(format!("the newest sample is {age:.0} s old")),
        None => why.push("no sample yet".to_owned()),
    }
    if let Some(record) = lock(&shared.store).health().why() {
        why.push(format!("record: {record}"));
    }
    if why.is_empty() { (StatusCode::OK, "ready\n".into()) } else { (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", why.join("\n"))) }
}
