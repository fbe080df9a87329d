//! Every refusal looks the same: RFC 9457, with a `code` that a program can go by.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::collector::store::{Refusal, StoreError};
use crate::wire::collector::{Code, Problem};

/// Seconds after which something that cannot be written is sent again.
const LATER_S: u64 = 5;

#[derive(Debug)]
pub(super) struct Refused {
    code: Code,
    detail: String,
    retry_after_s: Option<u64>,
}

impl Refused {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after_s: (code == Code::Unavailable).then_some(LATER_S) }
    }

    pub(super) fn too_many(retry_after_s: u64) -> Self {
        let detail = format!("too many requests; wait {retry_after_s} s");
        Self { code: Code::TooMany, detail, retry_after_s: Some(retry_after_s) }
    }
}

/// A reason that is for the log only goes there.
impl From<Refusal> for Refused {
    fn from(Refusal { code, why }: Refusal) -> Self {
        if code == Code::TokenRefused {
            tracing::warn!("a host was not let in: {why}");
            return Self::new(code, "this token lets nobody in: ask for a new one; the collector's log says why");
        }
        tracing::info!("a request of an agent was refused: {why}");
        Self::new(code, why)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            // Where the store lies and what is wrong with it is for the log; the store itself has told it, once for all.
            other => {
                tracing::debug!("a request of an agent was not taken: {other}");
                Self::new(Code::Unavailable, "the collector cannot keep anything now; its log says why")
            }
        }
    }
}

const fn status(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::Malformed => (StatusCode::BAD_REQUEST, "not what this address takes"),
        Code::TokenRefused => (StatusCode::UNAUTHORIZED, "the token is refused"),
        Code::CredentialRefused => (StatusCode::UNAUTHORIZED, "the credential is refused"),
        Code::AgentRevoked => (StatusCode::FORBIDDEN, "this agent is revoked"),
        Code::AgentQuarantined => (StatusCode::FORBIDDEN, "this agent is quarantined"),
        Code::SeqConflict => (StatusCode::CONFLICT, "a row is here already, and is another one"),
        Code::IdentityClone => (StatusCode::CONFLICT, "two hosts speak with one credential"),
        Code::Gap => (StatusCode::CONFLICT, "rows are missing"),
        Code::NotProven => (StatusCode::UNPROCESSABLE_ENTITY, "the rows are not proven"),
        Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too large"),
        Code::UnsupportedEncoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "packed in another way"),
        Code::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too many requests"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "not now"),
        Code::NotFound => (StatusCode::NOT_FOUND, "not found"),
        Code::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "another method"),
    }
}

/// As it stands in JSON.
fn name(code: Code) -> String {
    serde_json::to_value(code).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self { code, detail, retry_after_s } = self;
        let (status, title) = status(code);
        let problem = Problem {
            kind: format!("urn:byteport:problem:{}", name(code)),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
            code,
            retryable: matches!(code, Code::TooMany | Code::Unavailable),
            retry_after_s,
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"byteport\""));
        }
        response.extensions_mut().insert(code);
        response
    }
}
