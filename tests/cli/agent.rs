//! A socket that answers as told: what the real agent cannot be brought to say.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

pub struct Agent {
    socket: PathBuf,
}

impl Agent {
    /// Each answer is given to one kind of request (`GET /v1/status`), as often as it is asked; anything else is 404.
    pub fn start(dir: &Path, answers: Vec<(&'static str, u16, String)>) -> Self {
        let socket = dir.join("agent.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer(&stream.unwrap(), &answers);
            }
        });
        Self { socket }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

fn answer(mut stream: &UnixStream, answers: &[(&'static str, u16, String)]) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let asked = first.trim_end().trim_end_matches(" HTTP/1.1");
    let (_, status, body) =
        answers.iter().find(|(what, ..)| *what == asked).map_or((asked, 404, String::new()), |(w, s, b)| (*w, *s, b.clone()));
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
