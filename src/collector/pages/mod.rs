//! The people's door: pages that are made here and need no script, and the same data as JSON below `/api/v1`.
//!
//! A page is made in three steps: [`query`] reads the address, [`Views`] reads the store, one module a page turns that into words
//! ([`safe_text::Shown`] is the only text from outside that a template is given), and a template in `templates/` puts them in place.
//! There is nothing here that starts anything on a host.

mod api;
mod assets;
mod badge;
mod entry_parts;
mod fleet;
mod host;
mod host_header;
mod incident;
mod incidents;
mod lanes;
mod layout;
mod mentions;
mod moments;
mod next_steps;
mod outbox;
mod postmortem;
mod query;
mod safe_text;
mod story;
mod trouble;
mod url;

pub use host_header::by_address_only;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::task::spawn_blocking;

use super::view::Views;
use trouble::{AsPage, AsProblem, Trouble};

/// Everything that is read here, of one collector.
pub fn router(views: Arc<dyn Views>) -> Router {
    let pages = Router::new()
        .route("/", get(fleet::show))
        .route("/hosts/{agent_id}", get(host::show))
        .route("/incidents", get(incidents::show))
        .route("/incidents/{agent_id}/{incident}", get(incident::show))
        .route("/incidents/{agent_id}/{incident}/postmortem", get(postmortem::show))
        .route("/incidents/{agent_id}/{incident}/postmortem.md", get(postmortem::markdown))
        .route("/outbox", get(outbox::show));
    api::routes(assets::routes(pages))
        .fallback(|uri: Uri| async move { refused(&uri, Trouble::not_found("page")) })
        .method_not_allowed_fallback(|uri: Uri| async move { refused(&uri, Trouble::method_not_allowed()) })
        .with_state(views)
        .layer(map_response(|response: Response| async move { guarded(response) }))
}

fn refused(uri: &Uri, trouble: Trouble) -> Response {
    if uri.path().starts_with("/api/") { AsProblem(trouble).into_response() } else { AsPage(trouble).into_response() }
}

const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

fn guarded(mut response: Response) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_SECURITY_POLICY, CSP);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    // What the fleet looked like is nobody's to keep; assets have said otherwise already.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Reads the store, and makes what is read into an answer, where it holds nobody up.
async fn read<T: Send + 'static>(
    views: Arc<dyn Views>,
    make: impl FnOnce(&dyn Views) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    match spawn_blocking(move || make(&*views)).await {
        Ok(made) => made,
        Err(e) => {
            tracing::error!("a page could not be made: {e}");
            Err(Trouble::unavailable("what reads it stopped in the middle; the collector's log says where"))
        }
    }
}

/// What was read, or that it could not be, or is not there.
fn found<T>(what: &'static str, read: Result<Option<T>, String>) -> Result<T, Trouble> {
    some(read)?.ok_or_else(|| Trouble::not_found(what))
}

fn some<T>(read: Result<T, String>) -> Result<T, Trouble> {
    read.map_err(|why| {
        tracing::warn!("a page cannot be made: {why}");
        Trouble::unavailable(&why)
    })
}
