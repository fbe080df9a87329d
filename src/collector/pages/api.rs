//! The same data as JSON, for whoever is no person: what [`Views`] gave, as it stands.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};

use super::super::view::{Delivery, Fleet, Host, Incident, Incidents, Views};
use super::trouble::{AsProblem, Trouble};
use super::{found, query, read, some};

type Stored = State<Arc<dyn Views>>;
type Asked = Query<Vec<(String, String)>>;
type Answer<T> = Result<Json<T>, AsProblem>;

pub(super) fn routes(router: Router<Arc<dyn Views>>) -> Router<Arc<dyn Views>> {
    router
        .route("/api/v1/fleet", get(fleet))
        .route("/api/v1/hosts/{agent_id}", get(host))
        .route("/api/v1/incidents", get(incidents))
        .route("/api/v1/incidents/{agent_id}/{incident}", get(incident))
        .route("/api/v1/outbox", get(outbox))
}

async fn fleet(State(views): Stored, Query(asked): Asked) -> Answer<Fleet> {
    let ask = query::fleet(&asked)?;
    Ok(Json(read(views, move |views| some(views.fleet(&ask))).await?))
}

async fn host(State(views): Stored, path: Result<Path<String>, PathRejection>) -> Answer<Host> {
    let Path(agent_id) = path.map_err(|_| Trouble::not_found("host"))?;
    Ok(Json(read(views, move |views| found("host", views.host(&agent_id))).await?))
}

async fn incidents(State(views): Stored, Query(asked): Asked) -> Answer<Incidents> {
    let ask = query::incidents(&asked)?;
    Ok(Json(read(views, move |views| some(views.incidents(&ask))).await?))
}

async fn incident(State(views): Stored, path: Result<Path<(String, String)>, PathRejection>) -> Answer<Incident> {
    let Path((agent_id, incident)) = path.map_err(|_| Trouble::not_found("incident"))?;
    Ok(Json(read(views, move |views| found("incident", views.incident(&agent_id, &incident))).await?))
}

async fn outbox(State(views): Stored) -> Answer<Vec<Delivery>> {
    Ok(Json(read(views, |views| some(views.outbox())).await?))
}
