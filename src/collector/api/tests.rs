//! Real requests to a real store: what is taken, what is refused, and that every refusal is one that a program understands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use super::{Plane, router};
use crate::collector::auth::{Credential, Token};
use crate::collector::store::test_agent::{Agent, about, at, break_down, change, open, rows, token};
use crate::collector::store::{AgentState, Store};
use crate::wire::collector::{Code, Enrol, Enrolled, Events, Goodbye, Heard, Leaving, MOST_BYTES, MOST_SENT_BYTES, Problem, Taken, hex};

struct Door {
    dir: TempDir,
    plane: Arc<Plane>,
    router: TowerToHyperService<Router>,
    /// Seconds.
    clock: Arc<AtomicI64>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn read<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        serde_json::from_slice(&self.body).unwrap()
    }

    /// What every refusal must have.
    fn refused(&self) -> (u16, Code) {
        let problem: Problem = serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{}: {e}: {:?}", self.status, self.body));
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(problem.status, self.status.as_u16());
        assert!(problem.kind.ends_with(serde_json::to_value(problem.code).unwrap().as_str().unwrap()), "{problem:?}");
        assert!(!problem.title.is_empty() && !problem.detail.is_empty());
        let after = self.headers.get(header::RETRY_AFTER).map(|v| v.to_str().unwrap().parse().unwrap());
        assert_eq!(after, problem.retry_after_s);
        assert_eq!(problem.retryable, after.is_some(), "{problem:?}");
        assert_eq!(problem.status == 401, self.headers.contains_key(header::WWW_AUTHENTICATE));
        (problem.status, problem.code)
    }
}

impl Door {
    fn new() -> Self {
        Self::with_interval(30.0)
    }

    fn with_interval(interval_s: f64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(100));
        let seconds = Arc::clone(&clock);
        let now = Box::new(move || at(seconds.load(Ordering::Relaxed)));
        let plane = Arc::new(Plane::new(open(dir.path()), now, interval_s));
        let router = TowerToHyperService::new(router(Arc::clone(&plane)));
        Self { dir, plane, router, clock }
    }

    fn store(&self) -> &Store {
        self.plane.store()
    }

    fn waits(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.call(request).await.unwrap().into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    async fn post<T: Serialize>(&self, path: &str, credential: Option<&Credential>, body: &T) -> Answer {
        self.ask(request(path, credential, serde_json::to_vec(body).unwrap().into())).await
    }

    async fn send(&self, credential: &Credential, events: &Events) -> Answer {
        self.post("/v1/agent/events", Some(credential), events).await
    }

    async fn send_packed(&self, credential: &Credential, encoding: &'static str, body: Vec<u8>) -> Answer {
        let mut request = request("/v1/agent/events", Some(credential), body.into());
        request.headers_mut().insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
        self.ask(request).await
    }
}

fn request(path: &str, credential: Option<&Credential>, body: Body) -> Request<Body> {
    let request = Request::builder().method(Method::POST).uri(path);
    match credential {
        Some(credential) => request.header(header::AUTHORIZATION, format!("Bearer {}", credential.expose())),
        None => request,
    }
    .body(body)
    .unwrap()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    // The limit only ends a test that would hang.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await }).expect("ended by itself")
}

fn asks(agent: &Agent, token: &Token) -> Enrol {
    Enrol { token: token.expose(), agent_id: agent.id.clone(), public_key: hex(&agent.public_key()), about: about() }
}

fn noted(n: usize) -> Agent {
    let mut agent = Agent::new(1);
    agent.notes(n);
    agent
}

#[test]
fn a_host_comes_in_speaks_and_goes_over_a_real_connection() {
    run(async {
        let door = Door::new();
        let agent = noted(3);
        let token = token(door.store(), "a", 1);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(crate::serve::serve(listener, router(Arc::clone(&door.plane)), None));
        let enrolled: Enrolled = over(address, "/v1/enroll", None, &asks(&agent, &token)).await.read();
        assert_eq!((enrolled.server_time, enrolled.next_in_s), (at(100), 30.0));
        let credential = Credential::parse(&enrolled.credential).unwrap();
        let heard: Heard = over(address, "/v1/agent/heartbeat", Some(&credential), &agent.heartbeat()).await.read();
        assert_eq!(heard, Heard { server_time: at(100), next_in_s: 30.0, acked_through: 0 });
        let taken: Taken = over(address, "/v1/agent/events", Some(&credential), &agent.batch(1, 3)).await.read();
        assert_eq!(taken, Taken { acked_through: 3, accepted: 3, duplicates: 0 });
        let heard: Heard = over(address, "/v1/agent/heartbeat", Some(&credential), &agent.heartbeat()).await.read();
        assert_eq!(heard.acked_through, 3);
        let gone = over(address, "/v1/agent/goodbye", Some(&credential), &Goodbye { reason: Leaving::Stopped }).await;
        assert_eq!((gone.status, gone.body.len()), (StatusCode::NO_CONTENT, 0));
        assert_eq!(over(address, "/v1/agent/events", None, &agent.batch(1, 3)).await.refused(), (401, Code::CredentialRefused));
        server.abort();
    });
}

async fn over<T: Serialize>(address: SocketAddr, path: &str, credential: Option<&Credential>, body: &T) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let (mut parts, _) = request(path, credential, Body::empty()).into_parts();
    parts.headers.insert(header::HOST, "collector".parse().unwrap());
    let request = Request::from_parts(parts, Full::new(Bytes::from(serde_json::to_vec(body).unwrap())));
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    drop(sender);
    connection.abort();
    Answer { status: parts.status, headers: parts.headers, body }
}

// Coming in.

#[test]
fn a_lost_answer_burns_no_token_and_an_old_credential_ends() {
    run(async {
        let door = Door::new();
        let agent = noted(1);
        let token = token(door.store(), "a", 1);
        let answer = door.post("/v1/enroll", None, &asks(&agent, &token)).await;
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        let lost: Enrolled = answer.read();
        let again: Enrolled = door.post("/v1/enroll", None, &asks(&agent, &token)).await.read();
        let [lost, again] = [lost, again].map(|e| Credential::parse(&e.credential).unwrap());
        assert_eq!(door.post("/v1/agent/heartbeat", Some(&lost), &agent.heartbeat()).await.refused(), (401, Code::CredentialRefused));
        assert_eq!(door.post("/v1/agent/heartbeat", Some(&again), &agent.heartbeat()).await.status, StatusCode::OK);
    });
}

#[test]
fn whoever_is_not_let_in_is_not_told_why() {
    run(async {
        let door = Door::new();
        let (agent, other) = (noted(1), Agent::new(2));
        let used = token(door.store(), "used", 1);
        door.post("/v1/enroll", None, &asks(&other, &used)).await.read::<Enrolled>();
        let expired = token(door.store(), "expired", 1);
        let revoked = token(door.store(), "revoked", 1);
        change(door.store(), "UPDATE tokens SET expires_at = 100000 WHERE id = 'expired'");
        change(door.store(), "UPDATE tokens SET revoked_at = 1 WHERE id = 'revoked'");
        let mut stolen = asks(&other, &used);
        stolen.public_key = hex(&agent.public_key());
        let mut shapeless = asks(&agent, &used);
        shapeless.token = "no token at all".into();
        let unknown = Token::new("unknown").unwrap();
        let wrong = Token::new("used").unwrap();
        let mut bodies = Vec::new();
        for asks in [&used, &expired, &revoked, &unknown, &wrong].map(|t| asks(&agent, t)).into_iter().chain([stolen, shapeless]) {
            let answer = door.post("/v1/enroll", None, &asks).await;
            assert_eq!(answer.refused(), (401, Code::TokenRefused));
            bodies.push(answer.body);
        }
        assert!(bodies.iter().all(|b| *b == bodies[0]), "{bodies:?}");
        assert_eq!(rows(door.store().path(), "SELECT count(*) FROM agents"), ["1"]);
    });
}

#[test]
fn what_a_host_says_of_itself_is_bounded_and_no_secret_comes_back() {
    run(async {
        let door = Door::new();
        let agent = noted(1);
        let token = token(door.store(), "a", 9);
        let changes: [fn(&mut Enrol); 6] = [
            |e| e.agent_id = e.agent_id.replace('0', "A"),
            |e| e.agent_id.clear(),
            |e| e.public_key.truncate(63),
            |e| e.about.hostname = "x".repeat(256),
            |e| e.about.version = "1\u{1b}[2J".into(),
            |e| e.about.boot_id = "a\nb".into(),
        ];
        for change in changes {
            let mut asks = asks(&agent, &token);
            change(&mut asks);
            assert_eq!(door.post("/v1/enroll", None, &asks).await.refused(), (400, Code::Malformed));
        }
        let text = token.expose();
        for body in [format!("\"{text}\""), format!("{{\"token\":\"{text}\"}}"), format!("{{\"token\":[\"{text}\"]}}"), text.clone()] {
            let answer = door.ask(request("/v1/enroll", None, body.into())).await;
            assert_eq!(answer.refused(), (400, Code::Malformed));
            assert!(!String::from_utf8_lossy(&answer.body).contains(&text), "{:?}", answer.body);
        }
        let unknown_field = serde_json::json!({"token": text, "agent_id": agent.id, "public_key": hex(&agent.public_key()),
            "about": {"hostname": "ä", "version": "", "boot_id": "", "more": 1}, "later": {}});
        door.post("/v1/enroll", None, &unknown_field).await.read::<Enrolled>();
    });
}

// Who asks.

#[test]
fn nobody_speaks_for_somebody_else() {
    run(async {
        let door = Door::new();
        let (agent, other) = (noted(1), Agent::new(2));
        let credential = agent.enrol(door.store());
        other.enrol(door.store());
        let heartbeat = serde_json::to_vec(&agent.heartbeat()).unwrap();
        let right = credential.expose();
        let headers = [
            None,
            Some(right.clone()),
            Some(format!("Basic {right}")),
            Some("Bearer".into()),
            Some("Bearer x".into()),
            Some(format!("Bearer {}", Credential::new(&agent.id).unwrap().expose())),
            Some(format!("Bearer {}", Credential::new(&Agent::new(3).id).unwrap().expose())),
            Some(format!("Bearer {}", right.replace(&agent.id, &other.id))),
            Some(format!("Bearer {right}x")),
        ];
        for path in ["/v1/agent/heartbeat", "/v1/agent/events", "/v1/agent/goodbye"] {
            for value in &headers {
                let mut request = request(path, None, heartbeat.clone().into());
                if let Some(value) = value {
                    request.headers_mut().insert(header::AUTHORIZATION, value.parse().unwrap());
                }
                let shown = value.as_ref().map(|v| v.split('_').next());
                assert_eq!(door.ask(request).await.refused(), (401, Code::CredentialRefused), "{path} {shown:?}");
            }
        }
        let mut request = request("/v1/agent/heartbeat", None, heartbeat.into());
        request.headers_mut().insert(header::AUTHORIZATION, format!("bearer {right}").parse().unwrap());
        assert_eq!(door.ask(request).await.status, StatusCode::OK);
    });
}

#[test]
fn a_revoked_agent_and_a_quarantined_one_are_told_so() {
    run(async {
        let door = Door::new();
        let agent = noted(1);
        let credential = agent.enrol(door.store());
        for (change_to, code) in [("revoked_at = 1", Code::AgentRevoked), ("revoked_at = NULL, quarantined_at = 1", Code::AgentQuarantined)]
        {
            change(door.store(), &format!("UPDATE agents SET {change_to}"));
            let start = Instant::now();
            while door.store().credential(&agent.id).unwrap().state.may_speak().map_err(|r| r.code) != Err(code) {
                assert!(start.elapsed() < Duration::from_secs(60));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for path in ["/v1/agent/heartbeat", "/v1/agent/goodbye", "/v1/agent/events"] {
                assert_eq!(door.post(path, Some(&credential), &agent.heartbeat()).await.refused(), (403, code), "{path}");
            }
            let stranger = Credential::new(&agent.id).unwrap();
            assert_eq!(door.send(&stranger, &agent.batch(1, 1)).await.refused(), (401, Code::CredentialRefused), "only its own holder");
        }
    });
}

// Rows.

#[test]
fn rows_are_taken_once_packed_or_not() {
    run(async {
        let door = Door::new();
        let agent = noted(6);
        let credential = agent.enrol(door.store());
        assert_eq!(door.send(&credential, &agent.batch(1, 2)).await.read::<Taken>().accepted, 2);
        let json = serde_json::to_vec(&agent.batch(1, 6)).unwrap();
        let packed = zstd::bulk::compress(&json, 3).unwrap();
        for expected in [(4, 2), (0, 6)] {
            let taken: Taken = door.send_packed(&credential, "ZSTD", packed.clone()).await.read();
            assert_eq!((taken.acked_through, taken.accepted, taken.duplicates), (6, expected.0, expected.1));
        }
        assert_eq!(door.send_packed(&credential, "identity", json).await.read::<Taken>().duplicates, 6);
        assert_eq!(rows(door.store().path(), "SELECT count(*), count(DISTINCT seq) FROM records"), ["6|6"]);
        assert_eq!(rows(door.store().path(), "SELECT DISTINCT received_at FROM records"), ["100000"]);
    });
}

#[test]
fn what_is_forged_changed_or_missing_is_refused() {
    run(async {
        let door = Door::new();
        let agent = noted(6);
        let credential = agent.enrol(door.store());
        let mut forged = agent.batch(1, 2);
        forged.head.signature = Agent::new(2).sign(&forged.stream, 2, &forged.head.hash);
        assert_eq!(door.send(&credential, &forged).await.refused(), (422, Code::NotProven));
        let mut changed = agent.batch(1, 2);
        changed.records[0].body = Some("{\"note\":{\"text\":\"nothing happened\"}}".into());
        assert_eq!(door.send(&credential, &changed).await.refused(), (422, Code::NotProven));
        assert_eq!(door.send(&credential, &agent.batch(3, 4)).await.refused(), (409, Code::Gap));
        assert_eq!(rows(door.store().path(), "SELECT count(*) FROM records"), ["0"]);
        assert_eq!(door.store().credential(&agent.id).unwrap().state, AgentState::Active, "nobody else can quarantine it");
        door.send(&credential, &agent.batch(1, 3)).await.read::<Taken>();
        let mut other = agent.anew(1001);
        other.opens("disk-9");
        other.notes(3);
        assert_eq!(door.send(&credential, &other.batch(1, 4)).await.refused(), (409, Code::SeqConflict));
        assert_eq!(door.send(&credential, &agent.batch(1, 3)).await.refused(), (403, Code::AgentQuarantined));
    });
}

#[test]
fn a_clone_is_refused() {
    run(async {
        let door = Door::new();
        let agent = noted(2);
        let credential = agent.enrol(door.store());
        let mut new = agent.anew(77);
        new.notes(1);
        door.send(&credential, &agent.batch(1, 1)).await.read::<Taken>();
        door.send(&credential, &new.batch(1, 1)).await.read::<Taken>();
        let heard = door.post("/v1/agent/heartbeat", Some(&credential), &agent.heartbeat()).await;
        assert_eq!(heard.refused(), (409, Code::IdentityClone));
        assert_eq!(door.send(&credential, &new.batch(1, 1)).await.refused(), (403, Code::AgentQuarantined));
    });
}

// Size and form.

#[test]
fn too_much_is_refused_however_it_is_sent() {
    run(async {
        let door = Door::new();
        let agent = noted(1);
        let credential = agent.enrol(door.store());
        let send = async |body: Body| door.ask(request("/v1/agent/events", Some(&credential), body)).await.refused();
        assert_eq!(send(vec![b' '; MOST_SENT_BYTES + 1].into()).await, (413, Code::TooLarge));
        // One that does not say how large it is.
        let frames = (0..).map_while(|n| (n < 1000).then(|| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b' '; 1024])))));
        let frames = StreamBody::new(Frames(frames));
        assert_eq!(send(Body::new(frames)).await, (413, Code::TooLarge));
        // One that claims to be larger than anything.
        let mut huge = request("/v1/agent/events", Some(&credential), Body::empty());
        huge.headers_mut().insert(header::CONTENT_LENGTH, "99999999999999".parse().unwrap());
        assert_eq!(door.ask(huge).await.refused(), (413, Code::TooLarge));
        let mut many = agent.batch(1, 1);
        many.records = vec![many.records[0].clone(); 201];
        assert_eq!(send(serde_json::to_vec(&many).unwrap().into()).await, (413, Code::TooLarge));
    });
}

/// A body that comes in pieces.
struct Frames<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    run(async {
        let door = Door::new();
        let agent = noted(1);
        let credential = agent.enrol(door.store());
        let bomb = zstd::bulk::compress(&vec![b' '; 64 << 20], 3).unwrap();
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        assert_eq!(door.send_packed(&credential, "zstd", bomb).await.refused(), (413, Code::TooLarge));
        let small = zstd::bulk::compress(&vec![b' '; MOST_BYTES], 3).unwrap();
        let many: Vec<u8> = std::iter::repeat_n(small, 40).flatten().collect();
        assert_eq!(door.send_packed(&credential, "zstd", many).await.refused(), (413, Code::TooLarge), "in many frames");
        let json = serde_json::to_vec(&agent.batch(1, 1)).unwrap();
        let windowed = |log| {
            let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
            encoder.window_log(log).unwrap();
            std::io::Write::write_all(&mut encoder, &json).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(door.send_packed(&credential, "zstd", windowed(27)).await.refused(), (400, Code::Malformed), "a window of 128 MiB");
        let whole = windowed(21);
        assert_eq!(door.send_packed(&credential, "zstd", whole[..whole.len() - 3].to_vec()).await.refused(), (400, Code::Malformed));
        assert_eq!(door.send_packed(&credential, "zstd", json.clone()).await.refused(), (400, Code::Malformed));
        assert_eq!(door.send_packed(&credential, "zstd", whole).await.status, StatusCode::OK);
    });
}

#[test]
fn other_encodings_other_addresses_and_other_methods_are_refused_alike() {
    run(async {
        let door = Door::new();
        let agent = noted(1);
        let credential = agent.enrol(door.store());
        let json = serde_json::to_vec(&agent.batch(1, 1)).unwrap();
        for encoding in ["gzip", "br", "zstd, zstd", ""] {
            let refused = door.send_packed(&credential, encoding, json.clone()).await.refused();
            assert_eq!(refused, (415, Code::UnsupportedEncoding), "{encoding}");
        }
        let mut heartbeat = request("/v1/agent/heartbeat", Some(&credential), Body::empty());
        heartbeat.headers_mut().insert(header::CONTENT_ENCODING, "zstd".parse().unwrap());
        assert_eq!(door.ask(heartbeat).await.refused(), (415, Code::UnsupportedEncoding));
        for path in ["/", "/v1", "/v1/enroll/", "/v1/agent/%2e%2e", "/v2/enroll", "/v1/metrics"] {
            assert_eq!(door.ask(request(path, None, Body::empty())).await.refused(), (404, Code::NotFound), "{path}");
        }
        for (method, path) in [(Method::GET, "/v1/enroll"), (Method::DELETE, "/v1/agent/events"), (Method::POST, "/healthz")] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let answer = door.ask(request).await;
            assert_eq!(answer.refused(), (405, Code::MethodNotAllowed), "{path}");
            assert!(answer.headers.contains_key(header::ALLOW), "{path}");
        }
        door.waits(60);
        for body in ["", "{", "[]", "{\"stream\":\"\"}", "\u{0}"] {
            for path in ["/v1/agent/heartbeat", "/v1/agent/events", "/v1/agent/goodbye"] {
                door.waits(1);
                let answer = door.ask(request(path, Some(&credential), body.into())).await;
                assert_eq!(answer.refused(), (400, Code::Malformed), "{path} {body}");
            }
        }
        let deep = "[".repeat(100_000);
        assert_eq!(door.ask(request("/v1/agent/events", Some(&credential), deep.into())).await.refused(), (400, Code::Malformed));
        let mut odd = agent.heartbeat();
        odd.stream.push('0');
        door.waits(60);
        assert_eq!(door.post("/v1/agent/heartbeat", Some(&credential), &odd).await.refused(), (400, Code::Malformed));
        odd = agent.heartbeat();
        odd.about.hostname = "a\rb".into();
        assert_eq!(door.post("/v1/agent/heartbeat", Some(&credential), &odd).await.refused(), (400, Code::Malformed));
    });
}

// How much.

#[test]
fn whoever_asks_too_often_is_told_when_to_ask_again() {
    run(async {
        let door = Door::new();
        let (agent, other) = (noted(1), Agent::new(2));
        let (credential, of_other) = (agent.enrol(door.store()), other.enrol(door.store()));
        let heartbeat =
            async |credential: &Credential, agent: &Agent| door.post("/v1/agent/heartbeat", Some(credential), &agent.heartbeat()).await;
        for _ in 0..10 {
            assert_eq!(heartbeat(&credential, &agent).await.status, StatusCode::OK);
        }
        assert_eq!(heartbeat(&credential, &agent).await.refused(), (429, Code::TooMany));
        assert_eq!(heartbeat(&of_other, &other).await.status, StatusCode::OK, "not for somebody else's sake");
        for _ in 0..20 {
            assert_eq!(door.send(&credential, &agent.batch(1, 1)).await.status, StatusCode::OK);
        }
        let refused = door.send(&credential, &agent.batch(1, 1)).await;
        assert_eq!((refused.refused(), &refused.headers[header::RETRY_AFTER]), ((429, Code::TooMany), &"1".parse().unwrap()));
        door.waits(1);
        assert_eq!(door.send(&credential, &agent.batch(1, 1)).await.status, StatusCode::OK);
        assert_eq!(heartbeat(&credential, &agent).await.status, StatusCode::OK);
        for _ in 0..100 {
            assert_eq!(door.post("/v1/enroll", None, &0).await.refused(), (400, Code::Malformed));
        }
        assert_eq!(door.post("/v1/enroll", None, &0).await.refused(), (429, Code::TooMany));
        let counts = door.plane.counts();
        assert_eq!((counts[&None], counts[&Some(Code::TooMany)], counts[&Some(Code::Malformed)]), (33, 3, 100));
        let page = super::metrics::text(&door.plane);
        for line in [
            "byteport_collector_requests_total{answer=\"taken\"} 33",
            "byteport_collector_requests_total{answer=\"malformed\"} 100",
            "byteport_collector_requests_total{answer=\"seq-conflict\"} 0",
            "byteport_collector_agents 2",
            "byteport_collector_takes_rows 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in {page}");
        }
        assert!(!page.contains(&agent.id), "how many, and never who");
    });
}

#[test]
fn many_agents_are_told_to_come_less_often() {
    run(async {
        let door = Door::with_interval(2.0);
        let agent = noted(1);
        let credential = agent.enrol(door.store());
        let many = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 899)
                    INSERT INTO agents SELECT 'x' || i, zeroblob(32), zeroblob(32), '', '', '', 1, NULL, NULL, NULL FROM n";
        let heard = async || door.post("/v1/agent/heartbeat", Some(&credential), &agent.heartbeat()).await.read::<Heard>().next_in_s;
        assert!((heard().await - 2.0).abs() < 1e-9);
        change(door.store(), many);
        let start = Instant::now();
        while door.store().health().agents < 900 {
            assert!(start.elapsed() < Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!((heard().await - 3.0).abs() < 1e-9);
    });
}

#[test]
fn a_store_that_has_stopped_takes_nothing_and_is_not_ready() {
    run(async {
        let door = Door::new();
        let agent = noted(1);
        let token = token(door.store(), "a", 9);
        let credential = agent.enrol(door.store());
        let get = async |path: &str| door.ask(Request::builder().uri(path).body(Body::empty()).unwrap()).await;
        assert_eq!((get("/healthz").await.status, get("/readyz").await.status), (StatusCode::OK, StatusCode::OK));
        break_down(door.store());
        for answer in [
            door.send(&credential, &agent.batch(1, 1)).await,
            door.post("/v1/agent/heartbeat", Some(&credential), &agent.heartbeat()).await,
            door.post("/v1/agent/goodbye", Some(&credential), &Goodbye { reason: Leaving::HostGoesDown }).await,
            door.post("/v1/enroll", None, &asks(&Agent::new(2), &token)).await,
            get("/readyz").await,
        ] {
            assert_eq!(answer.refused(), (503, Code::Unavailable));
        }
        assert_eq!(get("/healthz").await.status, StatusCode::OK);
        assert!(door.dir.path().exists());
    });
}
