//! One question to the collector and its answer: a POST over HTTP/1.1 that comes to an end, whoever is on the other side.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connect::Way;
use super::identity::{Identity, Setup, SetupError, bearer};
use crate::model::{LinkFailure, is_unprintable};
use crate::wire::collector::{Code, Problem};

/// No answer of a collector is longer.
const MOST_ANSWERED: usize = 64 << 10;
/// For the head of an answer.
const MOST_HEAD: usize = 32 << 10;
/// Of what a collector says of itself, in a log.
const MOST_SAID: usize = 300;
const AGENT: &str = concat!("byteport-agent/", env!("CARGO_PKG_VERSION"));

/// How long it is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub connect: Duration,
    /// From the request's first byte to the answer's last.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(30) }
    }
}

/// Why there is no answer that could be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AskError {
    #[error("{why}")]
    Failed { reason: LinkFailure, why: String, retry_after_s: Option<u64> },
    /// A collector has said no, in the words that are agreed on.
    #[error("{}: {}", said(&.0.title), said(&.0.detail))]
    Refused(Box<Problem>),
}

impl AskError {
    pub fn reason(&self) -> LinkFailure {
        match self {
            Self::Failed { reason, .. } => *reason,
            Self::Refused(problem) if matches!(problem.status, 429 | 503) => LinkFailure::Busy,
            Self::Refused(_) => LinkFailure::Refused,
        }
    }

    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Failed { retry_after_s, .. } => *retry_after_s,
            Self::Refused(problem) => problem.retry_after_s,
        }
    }
}

/// A stranger's words as a log takes them: one line, not long, nothing that a terminal obeys.
fn said(text: &str) -> String {
    let short: String = text.chars().take(MOST_SAID).map(|c| if is_unprintable(c) { ' ' } else { c }).collect();
    if text.chars().nth(MOST_SAID).is_some() { format!("{short}…") } else { short }
}

/// Asks one collector, one question at a time.
#[derive(Debug)]
pub struct Client {
    way: Way,
    patience: Patience,
    bearer: Option<HeaderValue>,
    open: Option<Open>,
}

/// A connection, and what moves its bytes: that ends with it.
#[derive(Debug)]
struct Open {
    sender: http1::SendRequest<Full<Bytes>>,
    _moves: JoinSet<()>,
}

enum Broken {
    /// The connection has ended, and no answer has come.
    Gone(String),
    /// What came is not HTTP.
    Garbage(String),
    TooLarge,
}

struct Answer {
    status: StatusCode,
    problem: bool,
    retry_after_s: Option<u64>,
    body: Bytes,
}

impl Client {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// When the identity is not usable.
    pub fn new(identity: &Identity, patience: Patience) -> Result<Self, SetupError> {
        identity.check()?;
        Ok(Self { bearer: identity.credential.as_ref().and_then(bearer), ..Self::stranger(&identity.setup, patience)? })
    }

    /// One who has no credential.
    ///
    /// # Errors
    /// When the setup is not usable.
    pub fn stranger(setup: &Setup, patience: Patience) -> Result<Self, SetupError> {
        setup.check()?;
        let way = Way::new(setup.address()?, setup.proxy()?, setup.ca_file.clone());
        Ok(Self { way, patience, bearer: None, open: None })
    }

    /// Asks and reads what comes back.
    ///
    /// # Errors
    /// Whatever kept it from being answered.
    pub async fn ask<Q: Serialize, A: DeserializeOwned>(&mut self, path: &str, question: &Q) -> Result<A, AskError> {
        let json = serde_json::to_vec(question).map_err(|e| bad_answer(format!("{path} cannot be asked: {e}")))?;
        read(path, &self.post(path, json.into(), None).await?)
    }

    /// Sends what is packed already.
    ///
    /// # Errors
    /// The same.
    pub async fn send<A: DeserializeOwned>(&mut self, path: &str, zstd: Bytes) -> Result<A, AskError> {
        read(path, &self.post(path, zstd, Some("zstd")).await?)
    }

    /// Tells something that needs no answer.
    ///
    /// # Errors
    /// The same.
    pub async fn tell<Q: Serialize>(&mut self, path: &str, what: &Q) -> Result<(), AskError> {
        let json = serde_json::to_vec(what).map_err(|e| bad_answer(format!("{path} cannot be told: {e}")))?;
        self.post(path, json.into(), None).await.map(drop)
    }

    /// Ends the connection, if there is one: a collector has few places, and many agents that are silent most of the time.
    pub fn hang_up(&mut self) {
        self.open = None;
    }

    /// Whatever is posted may be posted twice: a collector takes it once.
    async fn post(&mut self, path: &str, body: Bytes, encoding: Option<&'static str>) -> Result<Bytes, AskError> {
        let late = |patience: Duration| {
            let why = format!("{path} was not answered within {patience:?}");
            AskError::Failed { reason: LinkFailure::TimedOut, why, retry_after_s: None }
        };
        if let Some(mut open) = self.open.take().filter(|open| !open.sender.is_closed()) {
            match timeout(self.patience.answer, open.exchange(self.request(path, body.clone(), encoding)?)).await {
                Ok(Ok(answer)) => return self.judge(path, open, answer),
                // It was closed in this very moment, for having been idle.
                Ok(Err(Broken::Gone(_))) => {}
                Ok(Err(broken)) => return Err(broken.of(path)),
                Err(_) => return Err(late(self.patience.answer)),
            }
        }
        let stream = self.way.connect(self.patience.connect).await?;
        let request = self.request(path, body, encoding)?;
        let asked = async {
            let handshake = http1::Builder::new().max_buf_size(MOST_HEAD).handshake(TokioIo::new(stream)).await;
            let (sender, connection) = handshake.map_err(Broken::from)?;
            let mut moves = JoinSet::new();
            moves.spawn(async move { drop(connection.await) });
            let mut open = Open { sender, _moves: moves };
            let answer = open.exchange(request).await?;
            Ok::<_, Broken>((open, answer))
        };
        match timeout(self.patience.answer, asked).await {
            Ok(Ok((open, answer))) => self.judge(path, open, answer),
            Ok(Err(broken)) => Err(broken.of(path)),
            Err(_) => Err(late(self.patience.answer)),
        }
    }

    fn request(&self, path: &str, body: Bytes, encoding: Option<&'static str>) -> Result<Request<Full<Bytes>>, AskError> {
        let address = &self.way.address;
        // A proxy that is to read along is given the whole address.
        let uri = if self.way.proxy.is_some() && !address.tls { address.absolute(path) } else { address.path(path) };
        let json = HeaderValue::from_static("application/json");
        let mut request = Request::post(uri)
            .header(HOST, address.authority())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, &json)
            .header(CONTENT_TYPE, &json);
        if let Some(encoding) = encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        request.body(Full::new(body)).map_err(|e| bad_answer(format!("{path} cannot be asked: {e}")))
    }

    fn judge(&mut self, path: &str, open: Open, answer: Answer) -> Result<Bytes, AskError> {
        self.open = Some(open);
        let Answer { status, problem, retry_after_s, body } = answer;
        if status.is_success() {
            return Ok(body);
        }
        if let Some(mut problem) = problem.then(|| serde_json::from_slice::<Problem>(&body).ok()).flatten() {
            // What counts is how it was answered, not what the answer says of that.
            problem.status = status.as_u16();
            problem.retry_after_s = problem.retry_after_s.or(retry_after_s);
            return Err(AskError::Refused(Box::new(problem)));
        }
        // Something on the way has said it in its own words.
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return Err(AskError::Refused(Box::new(Problem {
                kind: "about:blank".into(),
                title: "too large".into(),
                status: status.as_u16(),
                detail: format!("{path} was answered with 413"),
                code: Code::TooLarge,
                retryable: false,
                retry_after_s,
            })));
        }
        let reason = match status.as_u16() {
            429 | 503 => LinkFailure::Busy,
            _ => LinkFailure::Refused,
        };
        let hint = if status.is_redirection() { ": give the address that it leads to, it is not followed" } else { "" };
        Err(AskError::Failed { reason, why: format!("{path} was answered with {}{hint}", status.as_u16()), retry_after_s })
    }
}

impl Open {
    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Broken> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let header = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::trim);
        let problem = header(CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/problem+json"));
        let retry_after_s = header(RETRY_AFTER).and_then(|s| s.parse().ok());
        let body = match Limited::new(body, MOST_ANSWERED).collect().await {
            Ok(body) => body.to_bytes(),
            Err(e) if e.is::<LengthLimitError>() => return Err(Broken::TooLarge),
            Err(e) => return Err(Broken::Gone(e.to_string())),
        };
        Ok(Answer { status: head.status, problem, retry_after_s, body })
    }
}

impl From<hyper::Error> for Broken {
    fn from(e: hyper::Error) -> Self {
        if e.is_parse() || e.is_parse_too_large() { Self::Garbage(chain(&e)) } else { Self::Gone(chain(&e)) }
    }
}

impl Broken {
    fn of(self, path: &str) -> AskError {
        match self {
            Self::Gone(why) => {
                let why = format!("{path} was not answered: {why}");
                AskError::Failed { reason: LinkFailure::Unreachable, why, retry_after_s: None }
            }
            Self::Garbage(why) => bad_answer(format!("{path} was answered with what is not HTTP: {why}")),
            Self::TooLarge => bad_answer(format!("{path} was answered with more than {MOST_ANSWERED} bytes: this is no collector")),
        }
    }
}

fn bad_answer(why: String) -> AskError {
    AskError::Failed { reason: LinkFailure::BadAnswer, why, retry_after_s: None }
}

/// With what is behind it: hyper's own words are few.
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(e) = next {
        text = format!("{text}: {e}");
        next = e.source();
    }
    text
}

fn read<A: DeserializeOwned>(path: &str, body: &[u8]) -> Result<A, AskError> {
    // Nothing of a stranger's body goes into a log.
    serde_json::from_slice(body)
        .map_err(|e| bad_answer(format!("{path} was answered with something else than agreed (line {} column {})", e.line(), e.column())))
}
