//! `/outbox`: what was told to whom, what waits, and what was given up.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::view::{Delivery, DeliveryState, Views};
use super::badge::{self, Badge};
use super::layout::{Frame, Here, page};
use super::mentions::{self, DeliveryBit};
use super::safe_text::{More, first};
use super::trouble::AsPage;
use super::url::Href;
use super::{read, some};
use crate::report::words;

const MOST: usize = 200;

pub(super) async fn show(State(views): State<Arc<dyn Views>>) -> Result<Response, AsPage> {
    Ok(read(views, |views| Ok(page(&OutboxPage::of(&some(views.outbox())?)))).await?)
}

#[derive(Debug, Template)]
#[template(path = "outbox.html")]
struct OutboxPage {
    frame: Frame,
    counts: Vec<(Badge, String)>,
    list: Vec<DeliveryBit>,
    more: More,
}

impl OutboxPage {
    fn of(all: &[Delivery]) -> Self {
        let (list, more) = first(all, MOST);
        let count = |state| words::thousands(all.iter().filter(|d| d.state == state).count() as u64);
        Self {
            frame: Frame::new("Outbox", Here::Outbox).at(Href::from("/outbox"), None),
            counts: [DeliveryState::Dead, DeliveryState::Pending, DeliveryState::Sent].map(|s| (badge::delivery(s), count(s))).into(),
            list: list.iter().map(|one| mentions::delivery(one, None)).collect(),
            more,
        }
    }
}
