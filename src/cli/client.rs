//! HTTP/1 on the agent's socket: one request a connection, every wait bounded.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};

use crate::wire::local::Problem;

/// An incident with the evidence of a very full host stays far below this.
const MAX_ANSWER: usize = 256 << 20;
const CONNECT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach the agent at {socket}: {why}. {next}", socket = .socket.display(), why = bare(.why), next = next_step(.why))]
    Unreachable { socket: PathBuf, why: io::Error },
    #[error("the agent at {socket} has not answered for {for_s} s: `byteportctl doctor` looks without it", socket = .socket.display())]
    Silent { socket: PathBuf, for_s: u64 },
    #[error("{}", said(.0))]
    Refused(Problem),
    #[error("the agent at {socket} gave an answer that is not understood ({why}): is it of the same version?", socket = .socket.display())]
    Garbled { socket: PathBuf, why: String },
}

/// Without the number, which tells a person nothing more.
fn bare(why: &io::Error) -> String {
    let text = why.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn next_step(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::PermissionDenied => "Add yourself to group byteport, or use sudo",
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "Is it running (`systemctl status byteport-agent`)? To read its record without it, add --state-dir /var/lib/byteport"
        }
        _ => "Name another socket with --socket, or see `systemctl status byteport-agent`",
    }
}

fn said(problem: &Problem) -> String {
    let bare = |text: &str| text.replace('`', "");
    match &problem.hint {
        // The error may have told the next step already.
        Some(hint) if bare(&problem.error).contains(&bare(hint)) => problem.error.clone(),
        Some(hint) => format!("{}. {hint}", problem.error.trim_end_matches('.')),
        None => problem.error.clone(),
    }
}

#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// # Errors
    /// See [`ClientError`]; nothing is tried again.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new(), Duration::from_secs(20))
    }

    /// `patience` is how long the agent may take: a plan reads the host, an undo works.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize, patience: Duration) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| self.garbled(e))?;
        self.ask(Method::POST, path, body.into(), patience)
    }

    /// Whose process is on the other side, as the kernel says; `None` when nobody is.
    pub fn agent_pid(&self) -> Option<u32> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().ok()?;
        runtime.block_on(async {
            let stream = tokio::time::timeout(CONNECT, tokio::net::UnixStream::connect(&self.socket)).await.ok()?.ok()?;
            u32::try_from(stream.peer_cred().ok()?.pid()?).ok()
        })
    }

    fn garbled(&self, why: impl ToString) -> ClientError {
        ClientError::Garbled { socket: self.socket.clone(), why: why.to_string() }
    }

    fn unreachable(&self, why: io::Error) -> ClientError {
        ClientError::Unreachable { socket: self.socket.clone(), why }
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes, patience: Duration) -> Result<T, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(|e| self.unreachable(e))?;
        let (status, answer) = runtime.block_on(async {
            let limit = CONNECT + patience;
            let silent = |_| ClientError::Silent { socket: self.socket.clone(), for_s: limit.as_secs() };
            tokio::time::timeout(limit, self.exchange(method, path, body)).await.map_err(silent)?
        })?;
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|e| self.garbled(e));
        }
        Err(match serde_json::from_slice(&answer) {
            Ok(problem) => ClientError::Refused(problem),
            Err(_) => self.garbled(format!("status {status}")),
        })
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        let connect = tokio::time::timeout(CONNECT, tokio::net::UnixStream::connect(&self.socket));
        let stream = match connect.await {
            Ok(connected) => connected.map_err(|e| self.unreachable(e))?,
            Err(_) => return Err(ClientError::Silent { socket: self.socket.clone(), for_s: CONNECT.as_secs() }),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.garbled(e))?;
        // Drives the connection; ends with it, and its errors are the exchange's own.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "byteport")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|e| self.garbled(e))?;
        let response = sender.send_request(request).await.map_err(|e| self.garbled(e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|e| self.garbled(e))?;
        Ok((status, body.to_bytes()))
    }
}

/// One segment of a path, from whatever was typed.
pub fn segment(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"-._~".contains(&b) { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}
