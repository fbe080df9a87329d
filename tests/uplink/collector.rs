//! A collector as small as it can be: a real HTTP server that checks what it is sent as a real one does, and misbehaves when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use byteport::wire::chain::Hash;
use byteport::wire::collector::{Code, Enrol, Events, Heartbeat, MOST_BYTES, MOST_SENT_BYTES, Record, SignedHead, hex, unhex};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use openssl::pkey::{Id, PKey};
use openssl::sign::Verifier;
use openssl::ssl::{Ssl, SslAcceptor};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub at: Instant,
    pub uri: String,
    pub path: String,
    pub headers: HeaderMap,
    pub json: Value,
}

/// Instead of a good answer.
#[derive(Debug, Clone)]
pub enum Reply {
    Problem {
        status: u16,
        code: Code,
        retry_after_s: Option<u64>,
    },
    Plain {
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
        body: &'static str,
    },
    /// Never.
    Hang,
    /// The connection ends; what was asked for is done before.
    HangUp,
    /// A gigabyte.
    Flood,
}

#[derive(Debug, Default)]
pub struct State {
    pub asked: Mutex<Vec<Asked>>,
    /// Next replies to a path, each used once.
    pub next: Mutex<VecDeque<(&'static str, Reply)>>,
    /// To every request of this path; the empty one is every path.
    pub always: Mutex<Option<(&'static str, Reply)>>,
    pub streams: Mutex<BTreeMap<String, Stream>>,
    /// By agent: public key and credential.
    pub agents: Mutex<BTreeMap<String, (String, String)>>,
    /// Who used which token.
    tokens: Mutex<BTreeMap<String, String>>,
    pub flooded: AtomicU64,
}

/// The rows of one record, and the hash of the last one.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    pub rows: Vec<Record>,
    pub acked: u64,
    hash: Hash,
    pub duplicates: u64,
}

pub struct Collector {
    pub at: SocketAddr,
    pub state: Arc<State>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    pub fn start() -> Self {
        Self::bound(SocketAddr::from(([127, 0, 0, 1], 0)), None)
    }

    pub fn with_tls(tls: SslAcceptor) -> Self {
        Self::bound(SocketAddr::from(([127, 0, 0, 1], 0)), Some(tls))
    }

    /// Where one was before, with what that one had.
    pub fn again(at: SocketAddr, state: Arc<State>) -> Self {
        let mut new = Self::bound(at, None);
        new.state.take_over(&state);
        new.at = at;
        new
    }

    fn bound(at: SocketAddr, tls: Option<SslAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(at)).expect("a port");
        let at = listener.local_addr().expect("its number");
        let state = Arc::<State>::default();
        runtime.spawn(serve(listener, Arc::clone(&state), tls));
        Self { at, state, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// What was asked of this path.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.state.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }

    pub fn next(&self, path: &'static str, reply: Reply) {
        self.state.next.lock().unwrap().push_back((path, reply));
    }

    pub fn always(&self, path: &'static str, reply: Reply) {
        *self.state.always.lock().unwrap() = Some((path, reply));
    }

    pub fn well_again(&self) {
        *self.state.always.lock().unwrap() = None;
    }

    /// The rows of its only record.
    pub fn rows(&self) -> Vec<Record> {
        let streams = self.state.streams.lock().unwrap();
        assert!(streams.len() <= 1, "{:?}", streams.keys());
        streams.values().next().map(|stream| stream.rows.clone()).unwrap_or_default()
    }

    pub fn acked(&self) -> u64 {
        self.state.streams.lock().unwrap().values().map(|stream| stream.acked).max().unwrap_or(0)
    }
}

impl State {
    fn take_over(&self, old: &Self) {
        *self.streams.lock().unwrap() = old.streams.lock().unwrap().clone();
        *self.agents.lock().unwrap() = old.agents.lock().unwrap().clone();
    }

    fn reply(&self, path: &str) -> Option<Reply> {
        let mut next = self.next.lock().unwrap();
        if let Some(at) = next.iter().position(|(of, _)| *of == path) {
            return next.remove(at).map(|(_, reply)| reply);
        }
        let always = self.always.lock().unwrap();
        always.as_ref().filter(|(of, _)| of.is_empty() || *of == path).map(|(_, reply)| reply.clone())
    }

    /// What a good collector answers.
    fn well(&self, asked: &Asked) -> (u16, Value) {
        if asked.path == "/v1/enroll" {
            return self.enrol(&serde_json::from_value(asked.json.clone()).expect("an Enrol"));
        }
        let bearer = asked.headers.get("authorization").and_then(|h| h.to_str().ok()).and_then(|h| h.strip_prefix("Bearer "));
        let agents = self.agents.lock().unwrap();
        let Some((agent, (key, _))) = agents.iter().find(|(_, (_, credential))| Some(credential.as_str()) == bearer) else {
            return problem(401, Code::CredentialRefused, None);
        };
        match asked.path.as_str() {
            "/v1/agent/heartbeat" => {
                let beat: Heartbeat = serde_json::from_value(asked.json.clone()).expect("a Heartbeat");
                if let Some(head) = &beat.head {
                    check(agent, key, &beat.stream, head);
                }
                let acked = self.streams.lock().unwrap().get(&beat.stream).map_or(0, |stream| stream.acked);
                (200, json!({"server_time": "2026-11-28T00:00:00Z", "next_in_s": 1.0, "acked_through": acked}))
            }
            "/v1/agent/events" => {
                let events: Events = serde_json::from_value(asked.json.clone()).expect("Events");
                check(agent, key, &events.stream, &events.head);
                self.take(events)
            }
            "/v1/agent/goodbye" => (204, Value::Null),
            _ => problem(404, Code::NotFound, None),
        }
    }

    fn enrol(&self, enrol: &Enrol) -> (u16, Value) {
        assert!(unhex::<16>(&enrol.agent_id).is_some() && unhex::<32>(&enrol.public_key).is_some(), "{enrol:?}");
        let mut tokens = self.tokens.lock().unwrap();
        let who = format!("{} {}", enrol.agent_id, enrol.public_key);
        if enrol.token == "refused" || *tokens.entry(enrol.token.clone()).or_insert_with(|| who.clone()) != who {
            return problem(403, Code::TokenRefused, None);
        }
        let mut agents = self.agents.lock().unwrap();
        let credential = format!("ca1_{}_{}", enrol.agent_id, agents.len() + self.asked.lock().unwrap().len());
        agents.insert(enrol.agent_id.clone(), (enrol.public_key.clone(), credential.clone()));
        (200, json!({"credential": credential, "server_time": "2026-11-28T00:00:00Z", "next_in_s": 1.0}))
    }

    fn take(&self, events: Events) -> (u16, Value) {
        let mut streams = self.streams.lock().unwrap();
        let stream = streams.entry(events.stream).or_default();
        let first = events.records.first().expect("a row").seq;
        if first > stream.acked + 1 && events.first_kept <= stream.acked + 1 {
            return problem(409, Code::Gap, None);
        }
        let mut hash: Hash = unhex(&events.before).expect("hex");
        let (mut accepted, mut duplicates) = (0, 0);
        for row in events.records {
            hash = row.follows(&hash).expect("it follows from the one before it");
            if row.seq <= stream.acked {
                duplicates += 1;
                continue;
            }
            assert_eq!(row.seq, stream.acked + 1, "in order");
            (stream.acked, stream.hash, accepted) = (row.seq, hash, accepted + 1);
            stream.rows.push(row);
        }
        assert_eq!(events.head.hash, hex(&hash), "the last row is the one that was signed");
        stream.duplicates += duplicates;
        (200, json!({"acked_through": stream.acked, "accepted": accepted, "duplicates": duplicates}))
    }
}

fn check(agent: &str, key: &str, stream: &str, head: &SignedHead) {
    let key = PKey::public_key_from_raw_bytes(&unhex::<32>(key).expect("hex"), Id::ED25519).expect("a key");
    let text = SignedHead::text(agent, stream, head.seq, &head.hash);
    let signature = unhex::<64>(&head.signature).expect("hex");
    let verified = Verifier::new_without_digest(&key).and_then(|mut v| v.verify_oneshot(&signature, text.as_bytes()));
    assert!(verified.expect("verified"), "{head:?} is not in this agent's hand");
}

fn problem(status: u16, code: Code, retry_after_s: Option<u64>) -> (u16, Value) {
    let mut problem = json!({"type": "about:blank", "title": "no", "status": status, "detail": "as told", "code": code, "retryable": true});
    if let Some(s) = retry_after_s {
        problem["retry_after_s"] = s.into();
    }
    (status, problem)
}

async fn serve(listener: TcpListener, state: Arc<State>, tls: Option<SslAcceptor>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (state, tls) = (Arc::clone(&state), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(stream, state).await,
                Some(tls) => {
                    let mut stream = tokio_openssl::SslStream::new(Ssl::new(tls.context()).unwrap(), stream).unwrap();
                    if Pin::new(&mut stream).accept().await.is_ok() {
                        connection(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, state: Arc<State>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // A client that goes away in the middle is part of what is tried here.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

/// An error ends the connection.
async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<BoxBody<Bytes, Infallible>>, std::io::Error> {
    let gone = |e: hyper::Error| std::io::Error::other(e);
    let (head, body) = request.into_parts();
    assert_eq!(head.method, "POST");
    let mut body = body.collect().await.map_err(gone)?.to_bytes().to_vec();
    if head.headers.get("content-encoding").is_some_and(|e| e == "zstd") {
        assert!(body.len() <= MOST_SENT_BYTES);
        body = zstd::bulk::decompress(&body, MOST_BYTES).expect("zstd");
    }
    let path = head.uri.path().to_owned();
    let json = serde_json::from_slice(&body).expect("JSON");
    let asked = Asked { at: Instant::now(), uri: head.uri.to_string(), path, headers: head.headers, json };
    state.asked.lock().unwrap().push(asked.clone());
    let (status, json) = match state.reply(&asked.path) {
        None => state.well(&asked),
        Some(Reply::Problem { status, code, retry_after_s }) => problem(status, code, retry_after_s),
        Some(Reply::Plain { status, headers, body }) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            return Ok(response.body(full(body.as_bytes().to_vec())).unwrap());
        }
        Some(Reply::Hang) => loop {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        },
        Some(Reply::HangUp) => {
            state.well(&asked);
            return Err(std::io::Error::other("as told"));
        }
        Some(Reply::Flood) => {
            let flood = Flood { state, left: 1 << 30 };
            return Ok(Response::new(BoxBody::new(flood)));
        }
    };
    let kind = if status < 300 { "application/json" } else { "application/problem+json" };
    let body = if status == 204 { Vec::new() } else { serde_json::to_vec(&json).unwrap() };
    Ok(Response::builder().status(status).header("content-type", kind).body(full(body)).unwrap())
}

fn full(body: Vec<u8>) -> BoxBody<Bytes, Infallible> {
    BoxBody::new(http_body_util::Full::new(Bytes::from(body)))
}

struct Flood {
    state: Arc<State>,
    left: u64,
}

impl Body for Flood {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PIECE: u64 = 64 << 10;
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= PIECE;
        self.state.flooded.fetch_add(PIECE, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b' '; 64 << 10])))))
    }
}
