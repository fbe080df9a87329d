//! The agent's unix socket: what byteportctl asks. The socket belongs to the agent's group (0660); what changes something is
//! also checked against the peer's own credentials and written to the log.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use tokio::net::UnixListener;
use tokio::net::unix::UCred;

use super::shared::{Shared, lock};
use super::{top, views};
use crate::record;
use crate::wire::local::{
    ConfigView, Deployed, Incident, Marked, Pause, PlanAnswer, PlanAsk, Problem, Resume, Status, Top, UndoAnswer, UndoAsk,
};

/// Who is on the other end.
#[derive(Debug, Clone)]
struct Peer(Option<UCred>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok())
    }
}

type Failure = (StatusCode, Json<Problem>);
type Answer<T> = Result<Json<T>, Failure>;

/// Binds the socket, replacing what a dead agent left there.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there and is no socket: remove it", path.display())));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("another agent answers at {}", path.display())));
        }
        Ok(_) => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

pub(super) async fn serve(listener: UnixListener, shared: Arc<Shared>) -> io::Result<()> {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/top", get(newest))
        .route("/v1/incidents", get(incidents))
        .route("/v1/incidents/{id}", get(incident))
        .route("/v1/config", get(config))
        .route("/v1/plan", post(plan))
        .route("/v1/pause", post(pause))
        .route("/v1/resume", post(resume))
        .route("/v1/undo", post(undo))
        .route("/v1/deploys", post(deployed))
        .with_state(shared);
    axum::serve(listener, router.into_make_service_with_connect_info::<Peer>()).await
}

/// Runs a blocking answer off the event loop.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Answer<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(Json(value)),
        Ok(Err(problem)) => Err((StatusCode::UNPROCESSABLE_ENTITY, Json(problem))),
        Err(e) => {
            Err((StatusCode::INTERNAL_SERVER_ERROR, Json(Problem { error: format!("the answer could not be made: {e}"), hint: None })))
        }
    }
}

/// Root, the agent's own user, or a member of its group. The group is what let the peer open the socket; its user is logged.
fn may_change(peer: &Peer, what: &str) -> Result<String, Failure> {
    let Some(cred) = &peer.0 else {
        return Err((StatusCode::FORBIDDEN, Json(Problem { error: "the socket does not tell who you are".into(), hint: None })));
    };
    let name = crate::host::user_name(cred.uid());
    let allowed = cred.uid() == 0
        || cred.uid() == rustix::process::geteuid().as_raw()
        || crate::host::in_group(cred.uid(), cred.gid(), rustix::process::getegid().as_raw());
    if !allowed {
        tracing::warn!("{name} (uid {}) was not allowed to {what}", cred.uid());
        return Err((
            StatusCode::FORBIDDEN,
            Json(Problem { error: format!("{name} may not {what}"), hint: Some("be root, or a member of the agent's group".into()) }),
        ));
    }
    tracing::info!("{name} (uid {}) asked to {what}", cred.uid());
    Ok(name)
}

async fn status(State(shared): State<Arc<Shared>>) -> Answer<Status> {
    blocking(move || Ok(views::status(&shared))).await
}

async fn newest(State(shared): State<Arc<Shared>>) -> Answer<Top> {
    blocking(move || Ok(top::top(&shared))).await
}

async fn incidents(State(shared): State<Arc<Shared>>) -> Answer<Vec<crate::model::IncidentSummary>> {
    blocking(move || views::record(&shared)?.summaries(1000).map_err(|e| Problem { error: e.to_string(), hint: None })).await
}

async fn incident(State(shared): State<Arc<Shared>>, UrlPath(id): UrlPath<String>) -> Answer<Incident> {
    blocking(move || views::incident(&shared, &id)).await
}

async fn config(State(shared): State<Arc<Shared>>) -> Answer<ConfigView> {
    Ok(Json(lock(&shared.loaded).effective()))
}

async fn plan(State(shared): State<Arc<Shared>>, Json(ask): Json<PlanAsk>) -> Answer<PlanAnswer> {
    blocking(move || views::plan(&shared, &ask)).await
}

async fn pause(State(shared): State<Arc<Shared>>, ConnectInfo(peer): ConnectInfo<Peer>, Json(mut ask): Json<Pause>) -> Answer<Status> {
    let who = may_change(&peer, "pause")?;
    blocking(move || {
        let now = shared.host.now();
        ask.by = if ask.by.is_empty() { who } else { format!("{who}: {}", ask.by) };
        ask.since = Some(now.clone());
        views::record(&shared)?.set_pause(&ask, &now).map_err(|e| Problem { error: e.to_string(), hint: None })?;
        shared.uplink.appended();
        Ok(views::status(&shared))
    })
    .await
}

async fn resume(State(shared): State<Arc<Shared>>, ConnectInfo(peer): ConnectInfo<Peer>, Json(ask): Json<Resume>) -> Answer<Status> {
    may_change(&peer, "resume")?;
    blocking(move || {
        let now = shared.host.now();
        views::record(&shared)?.clear_pause(ask.runbook.as_ref(), &now).map_err(|e| Problem { error: e.to_string(), hint: None })?;
        shared.uplink.appended();
        shared.look_again();
        Ok(views::status(&shared))
    })
    .await
}

async fn undo(State(shared): State<Arc<Shared>>, ConnectInfo(peer): ConnectInfo<Peer>, Json(ask): Json<UndoAsk>) -> Answer<UndoAnswer> {
    let who = may_change(&peer, &format!("undo {}", ask.incident))?;
    blocking(move || views::undo(&shared, &ask.incident.0, &who)).await
}

async fn deployed(State(shared): State<Arc<Shared>>, ConnectInfo(peer): ConnectInfo<Peer>, Json(ask): Json<Deployed>) -> Answer<Marked> {
    let problem = |error: String| Problem { error, hint: None };
    if let Some(why) = record::not_a_mark(&ask.name, &ask.version) {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, Json(problem(why))));
    }
    may_change(&peer, &format!("mark {} {} as deployed", ask.name, ask.version))?;
    blocking(move || {
        record::mark_deploy(&shared.config().state_dir, &ask.name, &ask.version).map_err(|e| problem(e.to_string()))?;
        Ok(Marked { at: shared.host.now().wall })
    })
    .await
}
