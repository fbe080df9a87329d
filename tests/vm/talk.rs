//! Questions and answers in lines of JSON on a unix socket, as QEMU's monitor and its guest agent both speak them.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[derive(Debug)]
pub struct Talk {
    socket: UnixStream,
    /// Read, and not yet a whole line.
    rest: Vec<u8>,
    asked: u64,
}

impl Talk {
    pub fn connect(path: &Path, limit: Duration) -> Result<Talk, String> {
        let end = Instant::now() + limit;
        loop {
            match UnixStream::connect(path) {
                Ok(socket) => return Ok(Talk { socket, rest: Vec::new(), asked: 0 }),
                Err(e) if Instant::now() >= end => return Err(format!("{}: {e}", path.display())),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The answer to this question; events and late answers to earlier ones are passed over.
    pub fn ask(&mut self, execute: &str, arguments: Value, limit: Duration) -> Result<Value, String> {
        let end = Instant::now() + limit;
        self.asked += 1;
        let mut question = json!({ "execute": execute, "arguments": arguments, "id": self.asked }).to_string();
        question.push('\n');
        self.socket.set_write_timeout(Some(limit)).map_err(|e| e.to_string())?;
        self.socket.write_all(question.as_bytes()).map_err(|e| format!("{execute}: {e}"))?;
        loop {
            let line = self.line(end).map_err(|why| format!("{execute}: {why}"))?;
            if line["id"] != self.asked {
                continue;
            }
            if let Some(answer) = line.get("return") {
                return Ok(answer.clone());
            }
            if let Some(error) = line.get("error") {
                return Err(format!("{execute}: {error}"));
            }
        }
    }

    fn line(&mut self, end: Instant) -> Result<Value, String> {
        loop {
            if let Some(at) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                if let Ok(value) = serde_json::from_slice(&line) {
                    return Ok(value);
                }
                continue;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("no answer in time".into());
            }
            self.socket.set_read_timeout(Some(left)).map_err(|e| e.to_string())?;
            let mut block = [0; 1 << 16];
            match self.socket.read(&mut block) {
                Ok(0) => return Err("the other side has gone".into()),
                Ok(n) => self.rest.extend_from_slice(&block[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    }
}
