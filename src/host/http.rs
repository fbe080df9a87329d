//! One GET over plain HTTP, of what something on this host or beside it tells.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

use super::{Read, ReadError};

/// A Node object with all its images is some 100 KiB, a page of metrics seldom more than a megabyte.
const MAX_BODY: usize = 4 << 20;

/// Blocks until `work` is done; the deadline is kept here, but for a name that the resolver does not answer.
pub(super) fn waiting<T>(what: &str, deadline: Duration, work: impl Future<Output = Read<T>>) -> Read<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| ReadError::NotHere { what: what.to_owned(), why: e.to_string() })?;
    let done = runtime.block_on(async { tokio::time::timeout(deadline, work).await });
    runtime.shutdown_background();
    done.unwrap_or_else(|_| Err(ReadError::Stuck { what: what.to_owned(), for_s: deadline.as_secs_f64() }))
}

/// The body of a successful answer.
pub(super) async fn get(url: &str, accept: &'static str) -> Read<Bytes> {
    exchange(url, accept).await.map_err(|why| ReadError::NotHere { what: url.to_owned(), why })
}

async fn exchange(url: &str, accept: &'static str) -> Result<Bytes, String> {
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
        .header(hyper::header::ACCEPT, accept)
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

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// A server that reads one request and answers with `answer`, if it answers at all; its address, and what it was asked.
    pub(in crate::host) fn serve(path: &str, answer: Option<String>) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
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

    pub(in crate::host) fn ok(body: &str) -> Option<String> {
        Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }
}
