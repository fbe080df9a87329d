//! A host comes in, by its token.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::IntoResponse;

use super::Plane;
use super::body::{self, Packed};
use super::problem::Refused;
use crate::collector::auth::{Credential, Token, is_agent_id};
use crate::collector::store::{Entrant, Refusal};
use crate::wire::collector::{Code, Enrol, Enrolled, unhex};

pub(super) async fn enrol(State(plane): State<Arc<Plane>>, request: Request) -> Result<impl IntoResponse, Refused> {
    let now = (plane.now)();
    plane.limits.enrol(now).map_err(Refused::too_many)?;
    if Packed::of(request.headers())? != Packed::No {
        return Err(Refused::new(Code::UnsupportedEncoding, "this address takes plain JSON"));
    }
    let Enrol { token, agent_id, public_key, about } = body::json(&body::sent(request).await?)?;
    body::names(&[("hostname", &about.hostname), ("version", &about.version), ("boot_id", &about.boot_id)])?;
    if !is_agent_id(&agent_id) {
        return Err(Refused::new(Code::Malformed, "`agent_id` is not 32 lower-case hex digits"));
    }
    let public_key = unhex(&public_key).ok_or_else(|| Refused::new(Code::Malformed, "`public_key` is not 64 lower-case hex digits"))?;
    let token = Token::parse(&token)
        .ok_or_else(|| Refusal { code: Code::TokenRefused, why: format!("agent {agent_id}: what it sent has not the shape of a token") })?;
    let credential = Credential::new(&agent_id).map_err(|e| {
        tracing::error!("no credential can be made: {e}");
        Refused::new(Code::Unavailable, "no credential can be made now; the collector's log says why")
    })?;
    let credential_sha256 = credential.secret_sha256();
    let hostname = about.hostname.clone();
    let entrant = Entrant { token, agent_id, public_key, about, credential_sha256 };
    plane.asked(|store, reply| store.enrol(entrant, now, reply)).await?;
    tracing::info!("agent {} ({hostname}) was let in", credential.agent_id());
    let enrolled = Enrolled { credential: credential.expose(), server_time: now, next_in_s: plane.next_in_s() };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(enrolled)))
}
