//! What was sent, read within bounds: of size, of time, and of what it may become when it is unpacked.

use std::io::Read;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Refused;
use crate::wire::collector::{Code, MOST_BYTES, MOST_SENT_BYTES};

/// For a whole body to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Unpacked: a batch within its bound, and all that JSON may need around it.
const MOST_UNPACKED: usize = 2 * MOST_BYTES;
/// Base 2 logarithm: no more memory than that is needed to unpack.
const MOST_WINDOW: u32 = MOST_UNPACKED.ilog2();
/// Of a name that a host gives itself.
const MOST_NAME: usize = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packed {
    No,
    Zstd,
}

impl Packed {
    /// # Errors
    /// `UnsupportedEncoding` for what is neither nothing nor zstd.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refused> {
        let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
        let packed = match (all.next().map(|v| v.as_bytes().to_ascii_lowercase()), all.next()) {
            (None, _) => Some(Self::No),
            (Some(one), None) if one == b"identity" => Some(Self::No),
            (Some(one), None) if one == b"zstd" => Some(Self::Zstd),
            _ => None,
        };
        packed.ok_or_else(|| Refused::new(Code::UnsupportedEncoding, "Content-Encoding may be `zstd` for events, and is nothing otherwise"))
    }
}

/// # Errors
/// `TooLarge`, or `Malformed` where it does not come.
pub(super) async fn sent(request: Request) -> Result<Bytes, Refused> {
    let too_large =
        || Refused::new(Code::TooLarge, format!("more than {MOST_SENT_BYTES} bytes were sent: send fewer rows at once, or pack them"));
    let said = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|bytes| bytes > MOST_SENT_BYTES as u64) {
        return Err(too_large());
    }
    match timeout(PATIENCE, Limited::new(request.into_body(), MOST_SENT_BYTES).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refused::new(Code::Malformed, "the request ended before its body did")),
        Err(_) => Err(Refused::new(Code::Malformed, format!("the body did not come within {} s", PATIENCE.as_secs()))),
    }
}

/// Stops as soon as there is too much: what says that it is small need not be.
///
/// # Errors
/// `TooLarge`, or `Malformed` where it is no zstd or needs too much memory.
pub(super) fn unpacked(sent: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut unpacked = Vec::new();
    let read = zstd::stream::read::Decoder::with_buffer(sent).and_then(|mut zstd| {
        zstd.window_log_max(MOST_WINDOW)?;
        zstd.take(MOST_UNPACKED as u64 + 1).read_to_end(&mut unpacked)
    });
    match read {
        Ok(bytes) if bytes > MOST_UNPACKED => {
            Err(Refused::new(Code::TooLarge, format!("more than {MOST_UNPACKED} bytes when it is unpacked: send fewer rows at once")))
        }
        Ok(_) => Ok(unpacked),
        Err(_) => Err(Refused::new(Code::Malformed, format!("no zstd, or with a window of more than {MOST_UNPACKED} bytes"))),
    }
}

/// # Errors
/// `Malformed`, with what is wrong where, but nothing of what was sent: that may be secret.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(bytes).map_err(|e| {
        let text = e.to_string();
        // Names of ours.
        let what = if text.starts_with("missing field") { text } else { format!("line {} column {}", e.line(), e.column()) };
        Refused::new(Code::Malformed, format!("not the JSON that this address takes: {what}"))
    })
}

/// Short enough to be shown, and nothing that a terminal would take for a command.
///
/// # Errors
/// `Malformed` with the first one that is not.
pub(super) fn names(all: &[(&str, &str)]) -> Result<(), Refused> {
    match all.iter().find(|(_, text)| text.len() > MOST_NAME || text.chars().any(char::is_control)) {
        Some((name, _)) => Err(Refused::new(Code::Malformed, format!("`{name}` has control characters, or more than {MOST_NAME} bytes"))),
        None => Ok(()),
    }
}
