//! On real files: what is acknowledged is there, once, whatever came in which order, and whoever ended when.

mod beats;
mod beside;
mod durable;
mod enrol;
mod rows;

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rusqlite::{Error, ffi};
use tempfile::TempDir;

use super::ingest::{Answer, ingest};
use super::memory::MOST_STREAMS;
use super::test_agent::{Agent, all, asked, at, change, code, open, rows, token};
use super::writer::QUEUE;
use super::{AgentState, Store, StoreError};
use crate::collector::auth::Token;
use crate::model::{Body, Outcome};
use crate::wire::collector::{Code, Record, Taken};

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Waits for what comes by itself.
fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn state(store: &Store, agent: &Agent) -> Option<AgentState> {
    store.credential(&agent.id).map(|auth| auth.state)
}

/// Three incidents: one that a person is called for, one that heals, one that goes on.
fn story() -> Agent {
    let mut agent = Agent::new(1);
    agent.push("", "dropped", "{\"seqs\":[]}");
    agent.opens("disk-1");
    agent.opens("disk-2");
    agent.decides("disk-1", "log_growth");
    agent.escalates("disk-1");
    agent.closes("disk-2", Outcome::Healed);
    agent.closes("disk-1", Outcome::Escalated);
    agent.opens("disk-3");
    agent.push("disk-3", "of_a_later_version", "{\"of_a_later_version\":{}}");
    agent.escalates("disk-3");
    agent.notes(2);
    agent
}

/// What a power cut would leave now: the files as they are, without a word to the program.
fn crashed(store: &Store) -> TempDir {
    let copy = dir();
    for file in ["collector.db", "collector.db-wal"] {
        std::fs::copy(store.path().with_file_name(file), copy.path().join(file)).unwrap();
    }
    copy
}

/// The writer waits until it is released; the receiver gets its answer.
fn block(store: &Store) -> (mpsc::Receiver<Result<(), StoreError>>, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    let wait = move |_: &rusqlite::Connection| {
        begun.send(()).unwrap();
        released.recv().map_err(|e| StoreError::Sqlite(e.to_string()))
    };
    store.submit(wait, Box::new(move |result| drop(tell.send(result))));
    begins.recv().unwrap();
    (told, release)
}
