//! What every page has around it.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::assets;
use super::moments::Stamp;
use super::safe_text::Shown;
use super::url::Href;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    Fleet,
    Incidents,
    Outbox,
    Elsewhere,
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) title: Shown,
    pub(super) here: Here,
    /// Of what moment it is.
    pub(super) now: Option<Stamp>,
    /// Its own address, to look again.
    pub(super) this: Option<Href>,
    pub(super) json: Option<Href>,
    pub(super) css: &'static str,
    pub(super) icon: &'static str,
}

impl Frame {
    pub(super) fn new(title: impl AsRef<str>, here: Here) -> Self {
        let (css, icon) = (assets::CSS.path(), assets::ICON.path());
        Self { title: Shown::name(title), here, now: None, this: None, json: None, css, icon }
    }

    pub(super) fn at(self, this: Href, now: Option<jiff::Timestamp>) -> Self {
        Self { json: Some(this.json()), this: Some(this), now: now.map(|now| Stamp::of(now, None)), ..self }
    }
}

pub(super) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => ([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], html).into_response(),
        // Only a formatter that fails comes here, and none of ours does.
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("this page cannot be written: {e}\n")).into_response(),
    }
}
