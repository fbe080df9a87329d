//! When there is nothing to show: what is wrong and what to do next, as a page for people and as RFC 9457 for programs.

use askama::Template;
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::layout::{Frame, Here, page};
use super::safe_text::Shown;
use crate::wire::collector::{Code, Problem};

const RETRY_S: u64 = 5;

#[derive(Debug, PartialEq)]
pub(super) struct Trouble {
    status: StatusCode,
    code: Code,
    /// One sentence.
    title: &'static str,
    detail: String,
    /// What to do, in order.
    next: &'static [&'static str],
}

impl Trouble {
    /// `what`: `host`, `incident`, `page`.
    pub(super) fn not_found(what: &'static str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: Code::NotFound,
            title: "Not found",
            detail: format!("There is no {what} at this address."),
            next: &[
                "If the address was typed or copied, see that it is whole.",
                "Look for the host by its name in the fleet, and for the incident in the list of its host.",
                "An incident that was opened a moment ago is here as soon as its host has sent it; on the host itself, byteportctl incidents has it already.",
            ],
        }
    }

    pub(super) fn malformed(key: &str, value: &str, wanted: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: Code::Malformed,
            title: "This address asks for nothing that is known here",
            detail: Shown::prose(format!("{key} is {}; it must be {wanted}.", Shown::name(value))).to_string(),
            next: &["Correct the address, or begin with the list without filters."],
        }
    }

    pub(super) fn unavailable(why: &str) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: Code::Unavailable,
            title: "The collector cannot read its store",
            detail: Shown::prose(why).to_string(),
            next: &[
                "Ask again in a few seconds: nothing is lost, hosts keep what was not taken, and heal without the collector as with it.",
                "If it stays so, read the collector's log and see that its disk has room and is not read-only.",
                "Until then ask the host itself: byteportctl status, byteportctl incidents.",
            ],
        }
    }

    pub(super) fn other_name() -> Self {
        Self {
            status: StatusCode::MISDIRECTED_REQUEST,
            code: Code::NotFound,
            title: "Not under this name",
            detail: "Where nobody is asked for a password, these pages answer to an address or to localhost, and to no other name.".into(),
            next: &[
                "Type the address: http://127.0.0.1:9636/, or through ssh -L 9636:127.0.0.1:9636 COLLECTOR.",
                "For a name of your own, let people_web_config_file in collector.toml name users.",
            ],
        }
    }

    pub(super) fn method_not_allowed() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: Code::MethodNotAllowed,
            title: "Pages can only be read",
            detail: "Only GET and HEAD are answered here; nothing on a host can be started from a page.".into(),
            next: &["What may be done to a host is typed on the host: byteportctl help."],
        }
    }

    fn answer(&self, body: impl IntoResponse) -> Response {
        let mut response = (self.status, body).into_response();
        if self.retryable() {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_S.into());
        }
        response
    }

    fn retryable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }
}

/// What a person gets.
#[derive(Debug)]
pub(super) struct AsPage(pub(super) Trouble);

/// What a program gets.
#[derive(Debug)]
pub(super) struct AsProblem(pub(super) Trouble);

impl From<Trouble> for AsPage {
    fn from(trouble: Trouble) -> Self {
        Self(trouble)
    }
}

impl From<Trouble> for AsProblem {
    fn from(trouble: Trouble) -> Self {
        Self(trouble)
    }
}

#[derive(Debug, Template)]
#[template(path = "trouble.html")]
struct TroublePage<'a> {
    frame: Frame,
    status: u16,
    title: &'static str,
    detail: &'a str,
    next: &'static [&'static str],
}

impl IntoResponse for AsPage {
    fn into_response(self) -> Response {
        let Self(trouble) = self;
        let frame = Frame::new(trouble.title, Here::Elsewhere);
        let (status, title, detail, next) = (trouble.status.as_u16(), trouble.title, trouble.detail.as_str(), trouble.next);
        trouble.answer(page(&TroublePage { frame, status, title, detail, next }))
    }
}

impl IntoResponse for AsProblem {
    fn into_response(self) -> Response {
        let Self(trouble) = self;
        let problem = Problem {
            kind: "about:blank".into(),
            title: trouble.title.into(),
            status: trouble.status.as_u16(),
            detail: format!("{} {}", trouble.detail, trouble.next.first().copied().unwrap_or_default()),
            code: trouble.code,
            retryable: trouble.retryable(),
            retry_after_s: trouble.retryable().then_some(RETRY_S),
        };
        let mut response = trouble.answer(Json(problem));
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        response
    }
}
