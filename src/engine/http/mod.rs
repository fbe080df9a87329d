//! What the agent's TCP listener tells: /metrics, /healthz, /readyz. Reads only what is in memory; nothing here can hang on the host.

mod negotiation;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::shared::{Shared, lock};
use crate::metrics::Encoding;
use crate::model::Seconds;
use crate::sense::LONGEST_PAUSE_S;
use crate::serve::{self, Web};

pub(super) fn router(shared: Arc<Shared>, web: Option<Arc<Web>>) -> Router {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(shared);
    match web {
        Some(web) => router.layer(from_fn_with_state(web, serve::guard)),
        None => router,
    }
}

async fn scrape(State(shared): State<Arc<Shared>>, asked: HeaderMap) -> Response {
    let vary = (header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    let Some(encoding) = negotiation::encoding(&asked) else {
        return (StatusCode::NOT_ACCEPTABLE, [vary], "This page is had as identity, gzip or zstd.\n").into_response();
    };
    let format = negotiation::format(&asked);
    shared.sample_for_scrape().await;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    let mut response = ([kind, vary], shared.metrics.page().get(format, encoding)).into_response();
    if encoding != Encoding::Identity {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
    }
    response
}

/// Seconds after which the newest sample is too old: three intervals, as long as they may become for the budget's sake.
fn too_old_s(sample_interval: Seconds) -> f64 {
    3.0 * sample_interval.0.max(LONGEST_PAUSE_S)
}

/// Ready: the newest sample is not too old, and the record can be written.
async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let now = shared.host.now();
    let age = lock(&shared.seen).sample.as_ref().and_then(|s| now.steady_since(&s.at));
    let limit = too_old_s(shared.config().sample_interval);
    let mut why = Vec::new();
    match age {
        Some(age) if age <= limit => {}
        Some(age) => why.push(format!("the newest sample is {age:.0} s old")),
        None => why.push("no sample yet".to_owned()),
    }
    // A record that somebody writes to right now can be written to.
    if let Ok(store) = shared.store.try_lock()
        && let Some(record) = store.health().why()
    {
        why.push(format!("record: {record}"));
    }
    if why.is_empty() { (StatusCode::OK, "ready\n".into()) } else { (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", why.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampler_that_is_stretched_as_far_as_may_be_is_ready() {
        for interval_s in [1.0, 3.0, 5.0, 15.0] {
            assert!(too_old_s(Seconds(interval_s)) >= 2.0 * LONGEST_PAUSE_S.max(interval_s), "{interval_s}");
        }
    }
}
