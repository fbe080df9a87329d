//! A scraper that keeps its connection, and the least that can answer it: a process that sends a body it has ready.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

/// Names the file with the body, for a process that is to serve it.
pub const READY_BODY: &str = "BYTEPORT_BENCH_READY_BODY";
pub const READY_BODY_PORT: &str = "BYTEPORT_BENCH_READY_BODY_PORT";
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: here\r\nAccept: text/plain;version=0.0.4\r\nAccept-Encoding: identity\r\n\r\n";
const CHUNKS_END: &[u8] = b"\r\n0\r\n\r\n";

pub struct Scraper {
    socket: TcpStream,
    answer: Vec<u8>,
}

impl Scraper {
    pub fn connect(port: u16, patience: Duration) -> Result<Self> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Self { socket, answer: vec![0; 1 << 18] })
    }

    /// A page, as it was sent.
    pub fn scrape(&mut self) -> Result<&[u8]> {
        self.socket.write_all(REQUEST)?;
        let mut length = 0;
        loop {
            if length == self.answer.len() {
                self.answer.resize(length * 2, 0);
            }
            length += match self.socket.read(&mut self.answer[length..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                more => more,
            };
            if let Some(body) = body(&self.answer[..length])? {
                return Ok(&self.answer[body..length]);
            }
        }
    }
}

/// Where the body of a whole answer begins; nothing while more is to come.
fn body(answer: &[u8]) -> Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        return Err(Error::other(head));
    }
    let whole = match head.lines().find_map(|line| line.strip_prefix("content-length:")) {
        Some(length) => length.trim().parse().is_ok_and(|length: usize| answer.len() == end + 4 + length),
        None => answer.ends_with(CHUNKS_END),
    };
    Ok(whole.then_some(end + 4))
}

/// Answers whoever asks with `body`, one connection after the other, until it is killed.
pub fn serve(body: &[u8]) -> ! {
    let port = std::env::var(READY_BODY_PORT).ok().and_then(|port| port.parse().ok()).expect("a port");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = [head.as_bytes(), body].concat();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port");
    let mut request = [0; 8192];
    loop {
        let Ok((mut socket, _)) = listener.accept() else { continue };
        drop(socket.set_nodelay(true));
        while socket.read(&mut request).is_ok_and(|n| n > 0) && socket.write_all(&answer).is_ok() {}
    }
}
