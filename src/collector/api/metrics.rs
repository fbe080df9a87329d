//! What a Prometheus is told of the collector. It says how many, and never who: whoever reaches this door may read it.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Plane;
use crate::wire::collector::Code;

pub(super) async fn page(State(plane): State<Arc<Plane>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text(&plane))
}

/// Every series from the start, at 0 where nothing has happened.
pub(super) fn text(plane: &Plane) -> String {
    let (health, counts) = (plane.store.health(), plane.counts());
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, lines: &[(String, u64)]| {
        let _ = write!(out, "# HELP byteport_collector_{name} {help}\n# TYPE byteport_collector_{name} {kind}\n");
        for (labels, value) in lines {
            let _ = writeln!(out, "byteport_collector_{name}{labels} {value}");
        }
    };
    let one = |value: u64| [(String::new(), value)];
    let requests: Vec<(String, u64)> = std::iter::once(("taken", None))
        .chain(Code::ALL.map(|code| (code.as_str(), Some(code))))
        .map(|(answer, code)| (format!("{{answer=\"{answer}\"}}"), counts.get(&code).copied().unwrap_or(0)))
        .collect();
    family("requests_total", "counter", "Requests of agents, by what they were answered.", &requests);
    family("agents", "gauge", "Agents that may speak.", &one(health.agents as u64));
    family("commits_total", "counter", "Transactions that were made durable.", &one(health.commits));
    family(
        "takes_rows",
        "gauge",
        "1 while rows are taken, 0 once the store has stopped by itself.",
        &one(u64::from(health.stopped.is_none())),
    );
    family("free_bytes", "gauge", "Free on the filesystem of the store; under 64 MiB no rows are taken.", &one(health.free_bytes));
    out
}
