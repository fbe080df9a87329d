//! The node's DiskPressure condition, from a Node object served over plain HTTP on this host (`kubectl proxy`).

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use super::{Read, ReadError};

pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// A Node object with all its images is some 100 KiB.
const MAX_BODY: usize = 4 << 20;

/// One GET. Blocks; the deadline is kept here, but for a name that the resolver does not answer.
pub(super) fn read_disk_pressure(url: &str) -> Read<bool> {
    let failed = |why: String| ReadError::NotHere { what: url.to_owned(), why };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failed(e.to_string()))?;
    let body = runtime.block_on(async { tokio::time::timeout(DEADLINE, get(url)).await });
    runtime.shutdown_background();
    match body {
        Err(_) => Err(ReadError::Stuck { what: url.to_owned(), for_s: DEADLINE.as_secs_f64() }),
        Ok(Err(why)) => Err(failed(why)),
        Ok(Ok(body)) => parse_disk_pressure(&body),
    }
}

async fn get(url: &str) -> Result<Bytes, String> {
    let uri: hyper::Uri = url.parse().map_err(|e| format!("not an address: {e}"))?;
    let host =
        uri.host().filter(|_| uri.scheme_str() == Some("http")).ok_or("give a plain http:// address, such as kubectl proxy serves")?;
    let stream =
        tokio::net::TcpStream::connect((host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80))).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = uri.authority().map_or(host, |a| a.as_str());
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, authority)
        .header(hyper::header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    // It ends when the other side closes, also before the answer is read to its end; what failed then fails the exchange.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    if !response.status().is_success() {
        return Err(format!("answered {}", response.status()));
    }
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|e| e.to_string())?;
    Ok(body.to_bytes())
}

#[derive(Deserialize)]
struct Node {
    status: Status,
}
#[derive(Deserialize)]
struct Status {
    conditions: Vec<Condition>,
}
#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

/// Total. A condition that is absent or `Unknown` is an error, not false.
pub(super) fn parse_disk_pressure(bytes: &[u8]) -> Read<bool> {
    let damaged = |why: String| ReadError::Parse { what: "Node object".to_owned(), why };
    let node: Node = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
    let condition = node.status.conditions.iter().find(|c| c.r#type == "DiskPressure");
    match condition.map(|c| c.status.as_str()) {
        Some("True") => Ok(true),
        Some("False") => Ok(false),
        Some(other) => Err(damaged(format!("DiskPressure is {other}"))),
        None => Err(damaged("no DiskPressure condition".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    fn node(status: &str) -> String {
        format!(
            r#"{{"kind":"Node","status":{{"conditions":[{{"type":"Ready","status":"True"}},{{"type":"DiskPressure","status":"{status}"}}]}}}}"#
        )
    }

    /// A server that reads one request and answers with `answer`, if it answers at all.
    fn serve(answer: Option<String>) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api/v1/nodes/n1", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).unwrap();
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                // Until the client has given up.
                None => while stream.read(&mut request).is_ok_and(|n| n > 0) {},
            }
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        (url, served)
    }

    #[test]
    fn the_condition_is_read_over_http() {
        for (status, expected) in [("True", true), ("False", false)] {
            let body = node(status);
            let (url, served) = serve(Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())));
            assert_eq!(read_disk_pressure(&url).unwrap(), expected);
            assert!(served.join().unwrap().starts_with("GET /api/v1/nodes/n1 HTTP/1.1\r\n"));
        }
    }

    #[test]
    fn no_answer_is_not_no_pressure() {
        let (url, served) = serve(None);
        assert!(matches!(read_disk_pressure(&url), Err(ReadError::Stuck { .. })));
        served.join().unwrap();
        let (url, _served) = serve(Some("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".into()));
        assert!(read_disk_pressure(&url).unwrap_err().to_string().contains("403"));
        assert!(read_disk_pressure("https://127.0.0.1:1/").unwrap_err().to_string().contains("plain http"));
        assert!(parse_disk_pressure(node("Unknown").as_bytes()).is_err());
        assert!(parse_disk_pressure(br#"{"status":{"conditions":[]}}"#).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_disk_pressure(&bytes);
        }
    }
}
