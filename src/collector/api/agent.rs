//! What agents say once they are let in: that they are there, what happened, and that they go.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use tokio::task::spawn_blocking;

use super::Plane;
use super::admit::Admitted;
use super::body::{self, Packed};
use super::problem::Refused;
use crate::collector::auth::is_agent_id;
use crate::collector::proof::{Proven, prove};
use crate::wire::collector::{Code, Events, Goodbye, Heard, Heartbeat, Taken};

pub(super) async fn heartbeat(State(plane): State<Arc<Plane>>, request: Request) -> Result<Json<Heard>, Refused> {
    let now = (plane.now)();
    let agent = plane.admit(request.headers())?;
    plane.limits.heartbeats(&agent.id, now).map_err(Refused::too_many)?;
    let heartbeat: Heartbeat = body::json(&plain(request).await?)?;
    let about = &heartbeat.about;
    body::names(&[("hostname", &about.hostname), ("version", &about.version), ("boot_id", &about.boot_id), ("mode", &heartbeat.mode)])?;
    if !is_agent_id(&heartbeat.stream) {
        return Err(Refused::new(Code::Malformed, "`stream` is not 32 lower-case hex digits"));
    }
    let next_in_s = plane.next_in_s();
    let acked_through = plane.store.heard(&agent.id, heartbeat, next_in_s, now)?;
    Ok(Json(Heard { server_time: now, next_in_s, acked_through }))
}

pub(super) async fn events(State(plane): State<Arc<Plane>>, request: Request) -> Result<Json<Taken>, Refused> {
    let agent = plane.admit(request.headers())?;
    plane.limits.events(&agent.id, (plane.now)()).map_err(Refused::too_many)?;
    let packed = Packed::of(request.headers())?;
    let sent = body::sent(request).await?;
    let unpacking = plane.unpacking.acquire().await;
    let (batch, kib) = spawn_blocking(move || proven(&agent, packed, &sent)).await.map_err(|e| {
        tracing::error!("a batch could not be looked at: {e}");
        Refused::new(Code::Unavailable, "this batch could not be looked at; the collector's log says why")
    })??;
    // Until it is written, also when nobody waits for the answer any more: what waits for the store must not fill the memory.
    let in_hand = Arc::clone(&plane.in_hand).acquire_many_owned(kib).await;
    drop(unpacking);
    let now = (plane.now)();
    let taken = plane.asked(|store, reply| {
        store.ingest(
            batch,
            now,
            Box::new(move |result| {
                drop(in_hand);
                reply(result);
            }),
        );
    });
    Ok(Json(taken.await?))
}

pub(super) async fn goodbye(State(plane): State<Arc<Plane>>, request: Request) -> Result<StatusCode, Refused> {
    let now = (plane.now)();
    let agent = plane.admit(request.headers())?;
    plane.limits.heartbeats(&agent.id, now).map_err(Refused::too_many)?;
    let Goodbye { reason } = body::json(&plain(request).await?)?;
    plane.store.goodbye(&agent.id, now)?;
    tracing::info!("agent {} stops: {reason:?}", agent.id);
    Ok(StatusCode::NO_CONTENT)
}

async fn plain(request: Request) -> Result<Bytes, Refused> {
    match Packed::of(request.headers())? {
        Packed::No => body::sent(request).await,
        Packed::Zstd => Err(Refused::new(Code::UnsupportedEncoding, "this address takes plain JSON")),
    }
}

/// Everything that takes a while and needs nobody else, and how many KiB it is.
fn proven(agent: &Admitted, packed: Packed, sent: &[u8]) -> Result<(Proven, u32), Refused> {
    let (events, bytes): (Events, usize) = match packed {
        Packed::No => (body::json(sent)?, sent.len()),
        Packed::Zstd => {
            let unpacked = body::unpacked(sent)?;
            (body::json(&unpacked)?, unpacked.len())
        }
    };
    Ok((prove(&agent.id, &agent.public_key, events)?, u32::try_from(bytes >> 10).unwrap_or(u32::MAX).saturating_add(1)))
}
