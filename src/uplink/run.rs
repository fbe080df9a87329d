//! The loop: asks what [`super::link`] says, when it says so, and tells it what came of it. It holds up nobody: the record is read by a thread
//! that may wait, one question at a time, and a collector that is not there costs a try now and then.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use super::batch::{Batch, BatchError, pack};
use super::beat::heartbeat;
use super::board::Board;
use super::client::{AskError, Client, Patience};
use super::identity::{Identity, Key};
use super::kept::{Mark, NAME, load, mark};
use super::link::{Acked, Change, Link, Next, Send};
use super::schedule;
use crate::model::{CollectorLink, LinkFailure, Signal};
use crate::record::Outgoing;
use crate::wire::chain::Hash;
use crate::wire::collector::{About, Goodbye, Heard, Leaving, Taken};

/// How this host is, apart from its record.
#[derive(Debug, Clone)]
pub struct Standing {
    pub about: About,
    /// `observe` or `act`.
    pub mode: String,
    pub held_by: Vec<String>,
    pub signals: Vec<Signal>,
}

/// Its record, without the rows.
#[derive(Debug, Clone)]
pub struct RecordNow {
    pub stream: String,
    /// Of the newest row; 0 where there is none.
    pub head: (u64, Hash),
    pub open_incidents: u64,
    /// What it says that keeps the host from being healed: pauses, and that it is not trusted.
    pub held_by: Vec<String>,
    /// Rows that the collector has not acknowledged.
    pub waiting: u64,
    pub waiting_since: Option<jiff::Timestamp>,
}

/// Its rows.
#[derive(Debug, Clone)]
pub struct Rows {
    pub stream: String,
    pub head: u64,
    /// `None`: none after the one that was asked for.
    pub out: Option<Outgoing>,
}

/// Who knows how this host is.
pub trait Host: std::marker::Send + Sync + 'static {
    fn now(&self) -> jiff::Timestamp;

    /// At once, of what is in memory.
    fn standing(&self) -> Standing;

    /// Blocking. What waits is counted from `acked`; nothing where that is not known.
    ///
    /// # Errors
    /// In words, when the record is not to be had.
    fn record(&self, acked: Option<&Acked>) -> Result<RecordNow, String>;

    /// Blocking: one batch.
    ///
    /// # Errors
    /// The same.
    fn rows(&self, after: u64) -> Result<Rows, String>;
}

/// How quickly it goes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For an identity, or another one.
    pub look_every: Duration,
    /// Between the starts of two batches.
    pub pause: Duration,
    /// In which a host that starts has its place.
    pub first_interval: Duration,
    pub patience: Patience,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(10),
            pause: Duration::from_millis(500),
            first_interval: schedule::FIRST_INTERVAL,
            patience: Patience::default(),
        }
    }
}

/// A number of 0..1 that nobody can foresee.
pub type Dice = Arc<dyn Fn() -> f64 + std::marker::Send + Sync>;

/// OpenSSL's; the middle where it has none.
pub fn dice() -> Dice {
    Arc::new(|| {
        let mut bytes = [0; 4];
        match openssl::rand::rand_bytes(&mut bytes) {
            Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
            Err(_) => 0.5,
        }
    })
}

/// For a goodbye, and for what is to be sent before it.
const GOODBYE: Duration = Duration::from_secs(2);
/// Longer than a record that somebody writes to is waited for.
const FOR_THE_RECORD: Duration = Duration::from_secs(5);
/// A connection that is not needed for longer than this is ended.
const LINGER: Duration = Duration::from_secs(1);

/// The loop, at work.
#[derive(Debug)]
pub struct Running {
    task: JoinHandle<()>,
    leave: oneshot::Sender<Leaving>,
}

impl Running {
    /// Ends it, and says goodbye where somebody listens: two seconds at most.
    pub async fn leave(self, reason: Leaving) {
        let Self { mut task, leave } = self;
        if leave.send(reason).is_ok() && timeout(GOODBYE + LINGER, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Begins to look for an identity in `state_dir`, and to report once there is one.
pub fn start<H: Host>(host: Arc<H>, state_dir: &Path, board: Arc<Board>, pace: Pace, dice: Dice) -> Running {
    let (leave, left) = oneshot::channel();
    let mut uplink = Uplink {
        host,
        file: state_dir.join(NAME),
        state_dir: state_dir.to_owned(),
        board,
        pace,
        dice,
        began: Instant::now(),
        look_at: Duration::ZERO,
        seen: Seen::Nothing,
        served: None,
        looking: Questions::default(),
        record: Questions::default(),
        last: None,
    };
    let task = tokio::spawn(async move {
        tokio::select! {
            () = uplink.work() => {}
            reason = left => if let Ok(reason) = reason {
                uplink.goodbye(reason).await;
            }
        }
    });
    Running { task, leave }
}

/// Questions that block, one at a time: a disk that hangs costs one thread.
#[derive(Debug, Default)]
struct Questions {
    under_way: Option<JoinHandle<()>>,
}

impl Questions {
    async fn ask<T: std::marker::Send + 'static>(
        &mut self,
        patience: Duration,
        question: impl FnOnce() -> T + std::marker::Send + 'static,
    ) -> Result<T, String> {
        if self.under_way.as_ref().is_some_and(|before| !before.is_finished()) {
            return Err("it has not answered since it was asked before: its disk may hang".to_owned());
        }
        let (tell, told) = oneshot::channel();
        self.under_way = Some(spawn_blocking(move || drop(tell.send(question()))));
        match timeout(patience, told).await {
            Ok(answer) => answer.map_err(|_| "whoever was asked ended by a defect".to_owned()),
            Err(_) => Err(format!("it has not answered for {patience:?}: its disk may hang")),
        }
    }
}

/// What was last found where the identity is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It was not looked for yet.
    Nothing,
    File(Option<Mark>),
    /// It could not be read, and is read again.
    Unread,
}

/// With whom there is a link.
struct Served {
    collector: String,
    key: Key,
    client: Client,
    link: Link,
}

struct Uplink<H> {
    host: Arc<H>,
    state_dir: PathBuf,
    file: PathBuf,
    board: Arc<Board>,
    pace: Pace,
    dice: Dice,
    began: Instant,
    look_at: Duration,
    seen: Seen,
    served: Option<Served>,
    looking: Questions,
    record: Questions,
    /// What a heartbeat says of a record that cannot be read.
    last: Option<RecordNow>,
}

impl<H: Host> Uplink<H> {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn die(&self) -> f64 {
        (self.dice)()
    }

    async fn work(&mut self) {
        loop {
            let now = self.now();
            if now >= self.look_at {
                self.look_at = now + self.pace.look_every;
                self.look().await;
            }
            let now = self.now();
            let look_in = self.look_at.saturating_sub(now);
            let Some(served) = &mut self.served else {
                sleep(look_in).await;
                continue;
            };
            match served.link.next(now) {
                Next::Beat => self.beat().await,
                Next::Send(send) => self.send(&send).await,
                Next::Wait(until) => {
                    let wait = until.saturating_sub(now).min(look_in);
                    if wait > LINGER {
                        served.client.hang_up();
                    }
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = self.board.rung() => served.link.appended(),
                    }
                }
            }
        }
    }

    /// Takes an identity up that is new or another one.
    async fn look(&mut self) {
        let (file, dir, before) = (self.file.clone(), self.state_dir.clone(), self.seen);
        let looked = self.looking.ask(FOR_THE_RECORD, move || {
            let seen = Seen::File(mark(&file));
            (seen != before).then(|| (seen, load(&dir).map_err(|e| e.to_string())))
        });
        // The same as before, or a disk that hangs: who is served is served.
        let Ok(Some((seen, found))) = looked.await else { return };
        let before = std::mem::replace(&mut self.seen, seen);
        let first = before == Seen::Nothing;
        let found = found.and_then(|identity| identity.map(|identity| self.serve(&identity, first)).transpose());
        match found {
            Ok(served) => self.served = served,
            Err(why) => {
                if before != Seen::Unread {
                    tracing::error!("this host reports to no collector: {why}");
                }
                self.served = None;
                // What is wrong may pass without the file being touched.
                self.seen = Seen::Unread;
            }
        }
        if self.served.is_none() {
            self.board.begin(None);
        }
    }

    /// `first`: it was there when the agent started, as on all hosts that start now.
    fn serve(&self, identity: &Identity, first: bool) -> Result<Served, String> {
        let client = Client::new(identity, self.pace.patience).map_err(|e| e.to_string())?;
        let key = identity.key().map_err(|e| e.to_string())?;
        let wait = if first { schedule::phase(&identity.agent_id, self.pace.first_interval) } else { Duration::ZERO };
        let link = Link::new(self.now() + wait, self.pace.pause);
        let collector = identity.setup.collector.clone();
        self.board.begin(Some(CollectorLink::new(&collector, &identity.agent_id)));
        Ok(Served { collector, key, client, link })
    }

    async fn beat(&mut self) {
        let Some(served) = &self.served else { return };
        let (host, acked) = (Arc::clone(&self.host), served.link.acked().cloned());
        let record = self.record.ask(FOR_THE_RECORD, move || host.record(acked.as_ref())).await.and_then(|record| record);
        let mut standing = self.host.standing();
        match record {
            Ok(record) => self.last = Some(record),
            Err(why) => standing.held_by.insert(0, format!("the record cannot be read: {why}")),
        }
        let (now, sent_at) = (self.now(), self.host.now());
        let Some(served) = &mut self.served else { return };
        let Some(record) = &self.last else {
            served.link.no_beat(now);
            return self.board.no_record(standing.held_by.swap_remove(0));
        };
        let question = match heartbeat(standing, record, &served.key, sent_at) {
            Ok(question) => question,
            Err(e) => {
                served.link.no_beat(now);
                return self.board.no_record(format!("OpenSSL cannot sign: {e}"));
            }
        };
        let (stream, head) = (record.stream.clone(), record.head.0);
        let answer: Result<Heard, AskError> = served.client.ask("/v1/agent/heartbeat", &question).await;
        let (now, die) = (self.began.elapsed(), (self.dice)());
        match answer {
            Ok(heard) => {
                let change = served.link.heard(now, &stream, head, &heard, die);
                self.board.heard(self.host.now(), served.link.acked(), head);
                served.say(change, "");
            }
            Err(e) => {
                let change = served.link.beat_failed(now, &e, die);
                self.board.failed(served.link.is_up(), &e);
                served.say(change, &e.to_string());
            }
        }
    }

    async fn send(&mut self, send: &Send) {
        let Some(served) = &self.served else { return };
        let (host, key, sent_at) = (Arc::clone(&self.host), served.key.clone(), self.host.now());
        let Send { after, most, bare } = *send;
        let packed = self.record.ask(FOR_THE_RECORD, move || {
            let Rows { stream, head, out } = host.rows(after)?;
            let batch: Option<Result<Batch, BatchError>> = out.map(|out| pack(out, &key, &stream, sent_at, most, bare));
            Ok::<_, String>((stream, head, batch))
        });
        let packed = packed.await.and_then(|packed| packed);
        let (now, die) = (self.now(), self.die());
        let Some(served) = &mut self.served else { return };
        let (head, batch) = match packed {
            // Somebody writes to it, or its disk hangs.
            Err(_) => return served.link.no_record(now),
            Ok((stream, ..)) if served.link.acked().is_none_or(|acked| acked.stream != stream) => return served.link.another_record(now),
            Ok((_, _, None)) => return served.link.nothing_waits(),
            Ok((_, _, Some(Err(e)))) => {
                served.link.not_sendable(now, die);
                return self.board.no_record(e.to_string());
            }
            Ok((_, head, Some(Ok(batch)))) => (head, batch),
        };
        let answer: Result<Taken, AskError> = served.client.send("/v1/agent/events", batch.sent.into()).await;
        let (now, die) = (self.began.elapsed(), (self.dice)());
        match answer {
            Ok(taken) => match served.link.taken(now, head, &taken, die) {
                Some(rows) => self.board.sent(rows, served.link.acked(), head),
                None => {
                    let why = format!("it acknowledged rows up to {} when it was sent those after {after}", taken.acked_through);
                    self.board.failed(true, &AskError::Failed { reason: LinkFailure::BadAnswer, why, retry_after_s: None });
                }
            },
            Err(e) => {
                let change = served.link.rows_failed(now, batch.rows, &e, die);
                self.board.failed(served.link.is_up(), &e);
                served.say(change, &e.to_string());
            }
        }
    }

    /// What was recorded last, if that is still to be sent, and that silence from now on is no fault.
    async fn goodbye(&mut self, reason: Leaving) {
        let farewell = async {
            let Some(served) = self.served.as_mut().filter(|served| served.link.is_up()) else { return };
            served.link.appended();
            if let Some(send) = served.link.last() {
                self.send(&send).await;
            }
            if let Some(served) = &mut self.served {
                drop(served.client.tell("/v1/agent/goodbye", &Goodbye { reason }).await);
            }
        };
        // Whoever does not listen by then is told by the silence.
        let _late = timeout(GOODBYE, farewell).await;
    }
}

impl Served {
    fn say(&self, change: Option<Change>, why: &str) {
        let collector = &self.collector;
        match change {
            None => {}
            Some(Change::Found) => tracing::info!("reports to the collector {collector}"),
            Some(Change::Lost) => {
                tracing::warn!("the collector {collector} is lost: {why}. What happens is kept in the record and sent when it is back");
            }
            Some(Change::ShutOut) => tracing::warn!(
                "the collector {collector} takes nothing more from this host: {why}. It is asked again every 15 to 30 minutes; \
                 `byteport-agent enroll --again` makes this host a new one"
            ),
            Some(Change::Back) => tracing::info!("the collector {collector} is back"),
            Some(Change::Ahead) => tracing::error!(
                "the collector {collector} has more rows of this record than there are: this host was set back to a copy of itself, or is one. \
                 Nothing is sent until the record has outgrown that, and then it is refused; `byteport-agent enroll --again` makes this host a \
                 new one"
            ),
        }
    }
}
