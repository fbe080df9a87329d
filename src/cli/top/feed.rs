//! Asks the agent again and again, on a thread of its own: an agent that is slow to answer does not hold up a key.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::cli::client::{Client, ClientError};
use crate::wire::local::Top;

/// Answers, the next one `interval` after the last. Ends with the receiver, or with the program.
pub(super) fn start(client: Client, interval: Duration) -> io::Result<Receiver<Result<Top, ClientError>>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("feed".into()).spawn(move || {
        loop {
            std::thread::sleep(interval);
            if sender.send(client.get("/v1/top")).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}
