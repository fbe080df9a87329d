//! What `web_config_file` asks for, read again when it or a file that it names has changed: certificates are renewed while an agent runs.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use openssl::ssl::SslAcceptor;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::tls;
use super::users::Users;
use crate::config::{self, PasswordHash};

/// What may be set; others are part of how an answer is sent.
const HEADERS: [&str; 5] =
    ["Content-Security-Policy", "Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options", "X-XSS-Protection"];
/// Files that do not answer must not hold up a scrape: what was read before still holds.
const LOOK: Duration = Duration::from_secs(2);

pub struct Web {
    path: PathBuf,
    current: RwLock<Arc<Current>>,
    /// One looks at a time; who comes meanwhile goes on with what there is.
    looking: Mutex<()>,
    users: Users,
}

/// What holds for one connection or request.
#[derive(Clone)]
pub(super) struct Current {
    files: Files,
    pub(super) tls: Option<SslAcceptor>,
    headers: HeaderMap,
    users: BTreeMap<String, PasswordHash>,
}

/// A file that was replaced or rewritten has another one.
type Stamp = (u64, i64, i64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().map(|m| (m.ino(), m.mtime(), m.mtime_nsec(), m.size()))
}

/// The files that decide, as they were before they were read: what changes in between is seen the next time.
type Files = Vec<(PathBuf, Option<Stamp>)>;

impl Current {
    /// `files` are those that were looked at, also where they cannot be honoured: that may change with any of them.
    fn read(path: &Path, files: &mut Files) -> Result<Self, String> {
        files.push((path.to_owned(), stamp(path)));
        let in_file = |e: String| format!("{}: {e}", path.display());
        let web = config::Web::read(path).map_err(in_file)?;
        if let Some(tls) = &web.tls {
            let named = [Some(&tls.cert_file), Some(&tls.key_file), tls.client_ca_file.as_ref()];
            files.extend(named.into_iter().flatten().map(|f| (f.clone(), stamp(f))));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &web.headers {
            if !HEADERS.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)) {
                return Err(in_file(format!("http_server_config.headers: {name} is none of {}", HEADERS.join(", "))));
            }
            let refused = || in_file(format!("http_server_config.headers: {name} cannot be sent"));
            headers.insert(HeaderName::try_from(name).map_err(|_| refused())?, HeaderValue::try_from(value).map_err(|_| refused())?);
        }
        let tls = web.tls.as_ref().map(tls::acceptor).transpose().map_err(in_file)?;
        Ok(Self { files: files.clone(), tls, headers, users: web.users })
    }

    /// What was locked stays locked while the agent runs: a file that is empty for a moment, or for want of room, must not open it to everybody.
    fn instead_of(self, known: &Self) -> Result<Self, String> {
        let lost = match (known.tls.is_some() && self.tls.is_none(), !known.users.is_empty() && self.users.is_empty()) {
            (true, true) => "tls_server_config and basic_auth_users are",
            (true, false) => "tls_server_config is",
            (false, true) => "basic_auth_users is",
            (false, false) => return Ok(self),
        };
        Err(format!("{lost} not in it any more; restart the agent if that is meant"))
    }

    fn is_stale(&self) -> bool {
        self.files.iter().any(|(path, was)| stamp(path) != *was)
    }
}

impl Web {
    /// # Errors
    /// What cannot be honoured, with the file and the key.
    pub fn open(path: &Path) -> Result<Self, String> {
        let current = RwLock::new(Arc::new(Current::read(path, &mut Files::new())?));
        Ok(Self { path: path.to_owned(), current, looking: Mutex::new(()), users: Users::default() })
    }

    fn known(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As the files are now, or as they were when they could last be honoured.
    pub(super) async fn current(self: &Arc<Self>) -> Arc<Current> {
        let web = self.clone();
        // Late or broken: what is known still holds.
        drop(timeout(LOOK, spawn_blocking(move || web.look())).await);
        self.known()
    }

    fn look(&self) {
        let Ok(_looking) = self.looking.try_lock() else { return };
        let known = self.known();
        if !known.is_stale() {
            return;
        }
        let mut files = Files::new();
        let read = Current::read(&self.path, &mut files)
            .and_then(|new| new.instead_of(&known).map_err(|e| format!("{}: {e}", self.path.display())));
        let new = match read {
            Ok(new) => {
                tracing::info!("{} or a file that it names has changed, and was read again", self.path.display());
                new
            }
            Err(why) => {
                tracing::error!("what was read before stays in force: {why}");
                // Told once, until something changes again.
                Current { files, ..(*known).clone() }
            }
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    }
}

/// Around every route: who may ask, and what is sent with the answer.
pub async fn guard(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let current = web.current().await;
    let admitted = current.users.is_empty() || web.users.admit(&current.users, request.headers().get(header::AUTHORIZATION)).await;
    let mut response = if admitted {
        next.run(request).await
    } else {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"byteport\", charset=\"UTF-8\"")];
        (StatusCode::UNAUTHORIZED, challenge, "Unauthorized\n").into_response()
    };
    response.headers_mut().extend(current.headers.clone());
    response
}
