//! Where messages go. Each is one line of JSON, durable when it is said to be taken.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Letter;
use crate::config;

/// By the name of the destination.
pub type Sinks = BTreeMap<String, Box<dyn Sink>>;

/// As they are configured.
pub fn sinks(configured: &[config::Sink]) -> Sinks {
    let sink = |one: &config::Sink| -> Box<dyn Sink> {
        match &one.file {
            Some(path) => Box::new(File::new(path)),
            None => Box::new(Stdout),
        }
    };
    configured.iter().map(|one| (one.name.clone(), sink(one))).collect()
}

pub trait Sink: Send {
    /// # Errors
    /// Why it was not taken, in words.
    fn deliver(&mut self, letter: &Letter) -> Result<(), String>;
}

/// Appended to a file, which is opened for each message: it may be rotated in between.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
}

impl File {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn append(&self, line: &str) -> io::Result<()> {
        // Never waits for a reader: what is no file is refused below.
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let is_new = fs::symlink_metadata(&self.path).is_err();
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).custom_flags(nonblocking).open(&self.path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_char_device() {
            return file.write_all(line.as_bytes());
        }
        if !kind.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let end = file.seek(SeekFrom::End(0))?;
        let mut text = String::new();
        if end > 0 {
            let mut last = [0];
            file.seek(SeekFrom::Start(end - 1))?;
            file.read_exact(&mut last)?;
            // Somebody died in the middle of a line: that one is broken, this one must not be.
            if last != *b"\n" {
                text.push('\n');
            }
        }
        text.push_str(line);
        if let Err(e) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()) {
            // Half a line on a full disk: taken back, so that the next try does not leave it behind.
            let _ = file.set_len(end);
            return Err(e);
        }
        match self.path.parent().filter(|_| is_new) {
            Some(folder) => fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Sink for File {
    fn deliver(&mut self, letter: &Letter) -> Result<(), String> {
        self.append(&letter.line()).map_err(|e| format!("{}: {e}", self.path.display()))
    }
}

/// Under systemd this is the journal.
#[derive(Debug, Default)]
pub struct Stdout;

impl Sink for Stdout {
    fn deliver(&mut self, letter: &Letter) -> Result<(), String> {
        let mut out = io::stdout().lock();
        out.write_all(letter.line().as_bytes()).and_then(|()| out.flush()).map_err(|e| format!("stdout: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(seq: u64) -> Letter {
        let [destination, agent_id, incident, about, stream] = ["file", "a", "disk-1", "escalated", "s"].map(String::from);
        let payload = "{}".to_owned();
        let created_at = jiff::Timestamp::UNIX_EPOCH;
        Letter { id: seq, destination, agent_id, incident, about, stream, seq, payload, tries: 1, created_at }
    }

    #[test]
    fn lines_are_appended_and_a_rotated_file_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("told.jsonl");
        let mut sink = File::new(&path);
        sink.deliver(&letter(1)).unwrap();
        sink.deliver(&letter(2)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"a-s-1\"}\n{\"id\":\"a-s-2\"}\n");
        fs::rename(&path, dir.path().join("told.jsonl.1")).unwrap();
        sink.deliver(&letter(3)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"a-s-3\"}\n");
    }

    #[test]
    fn each_configured_sink_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("told.jsonl");
        let file = config::Sink { name: "file".into(), file: Some(path.clone()) };
        let mut sinks = sinks(&[file, config::Sink { name: "journal".into(), file: None }]);
        assert!(sinks.keys().eq(["file", "journal"]));
        sinks.get_mut("file").unwrap().deliver(&letter(1)).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn half_a_line_is_ended_before_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("told.jsonl");
        fs::write(&path, "{\"id\":\"a-s").unwrap();
        File::new(&path).deliver(&letter(1)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"a-s\n{\"id\":\"a-s-1\"}\n");
    }

    #[test]
    fn what_cannot_be_written_is_said_with_its_file() {
        let why = File::new(Path::new("/dev/full")).deliver(&letter(1)).unwrap_err();
        assert!(why.starts_with("/dev/full: No space left"), "{why}");
        let dir = tempfile::tempdir().unwrap();
        let why = File::new(&dir.path().join("none/told")).deliver(&letter(1)).unwrap_err();
        assert!(why.contains("No such file"), "{why}");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(File::new(&fifo).deliver(&letter(1)).unwrap_err().ends_with("it is no file"), "and nobody waits for a reader");
    }
}
