//! The journal, followed: one `journalctl` beside the agent, for the units and words that somebody asked for.
//!
//! The journal's files have a format of their own, and only systemd's own library reads all of its versions; its program does it in another
//! process, with its own memory. It reads only, dies with the thread that started it, and goes on where it was when it is started again.
#![expect(
    clippy::disallowed_methods,
    reason = "journalctl reads and changes nothing; as a transient service it would need systemd and root"
)]

pub(super) mod export;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use self::export::{Export, Fields};
use super::{Read, ReadError, sys};
use crate::model::JournalEntry;

const PLACES: &[&str] = &["/usr/bin/journalctl", "/bin/journalctl"];
const FIELDS: &str = "--output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,MESSAGE_ID";
/// Where PID 1 lives: only it may say what unit a message of another is about.
const INIT: &[u8] = b"init.scope";
/// Entries that nobody has taken yet.
const MOST_QUEUED: usize = 256;
/// A storm is read at most this fast, so that journalctl does not become the load; it waits meanwhile, and goes on where it was.
const PIECE: usize = 64 << 10;
const PIECES_BEFORE_A_PAUSE: u32 = 4;
const PAUSE: Duration = Duration::from_millis(50);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// A place in the journal with which nothing works so often is given up.
const MOST_FAILURES: u32 = 3;
const LONGEST_CURSOR: usize = 512;

/// What is to be followed. An entry is told when it is of one of the units and has one of the words in it; an empty list asks for nothing
/// special. With both empty nothing is followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalAsk {
    /// Whole names. journalctl resolves a pattern once, at its start, and would miss units that come later.
    pub units: Vec<String>,
    pub markers: Vec<String>,
}

/// What was told since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    pub entries: Vec<JournalEntry>,
    /// Asked for, and not kept because nobody took what was there. Since the start, as the next two.
    pub dropped: u64,
    /// All that were asked for.
    pub told: u64,
    /// How often a place in the journal had to be given up: what was missed then is not known.
    pub gaps: u64,
}

/// Follows the journal, and keeps what was told until it is taken.
#[derive(Debug)]
pub struct JournalWatch {
    root: PathBuf,
    ask: JournalAsk,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<JournalEntry>,
    totals: Journal,
    cursor: Option<String>,
    /// Wall clock, seconds: from when on to read where there is no cursor.
    since_s: i64,
    lost: Option<String>,
}

impl JournalWatch {
    /// `after`: the cursor up to which everything is known, from a run before.
    pub fn new(root: impl Into<PathBuf>, ask: JournalAsk, after: Option<String>) -> Self {
        let lost = ask.unfit().unwrap_or_else(|| "not begun yet".to_owned());
        let state = State {
            queue: VecDeque::new(),
            totals: Journal::default(),
            cursor: after.filter(|c| is_cursor(c.as_bytes())),
            since_s: wall_s(),
            lost: Some(lost),
        };
        Self { root: root.into(), ask, state: Mutex::new(state) }
    }

    /// What was told since the last time.
    ///
    /// # Errors
    /// When nothing is followed, and while nothing is kept of before that.
    pub fn take(&self) -> Read<Journal> {
        let mut state = self.state();
        match &state.lost {
            Some(why) if state.queue.is_empty() => {
                let (what, why) = ("journal".to_owned(), why.clone());
                // Nothing is followed unless somebody asked for it; whoever did is owed it.
                Err(if self.ask.unfit().is_some() { ReadError::NotHere { what, why } } else { ReadError::Parse { what, why } })
            }
            _ => Ok(Journal { entries: std::mem::take(&mut state.queue).into(), ..state.totals.clone() }),
        }
    }

    /// Up to where it has read.
    pub fn cursor(&self) -> Option<String> {
        self.state().cursor.clone()
    }

    /// Follows for ever; `told` is called when there is something to take. To be run on a thread that lives as long as the program:
    /// journalctl ends with the thread that started it.
    pub async fn follow(&self, told: impl Fn()) {
        if self.ask.unfit().is_some() {
            return;
        }
        let (mut pause, mut failures) = (FIRST_RETRY, 0_u32);
        loop {
            let before = self.cursor();
            let why = self.run(&told).await;
            let went_on = self.cursor() != before;
            pause = if went_on { FIRST_RETRY } else { (pause * 2).min(LAST_RETRY) };
            failures = if went_on { 0 } else { failures.saturating_add(1) };
            if self.state().ended(why, failures >= MOST_FAILURES) {
                failures = 0;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One journalctl from its start to its end: why it ended.
    async fn run(&self, told: &impl Fn()) -> String {
        let Some(program) = PLACES.iter().find(|p| Path::new(p).is_file()) else { return "journalctl is not installed".to_owned() };
        let spawned = self.command(program).spawn();
        let mut running = match spawned {
            Ok(child) => Running(child),
            Err(e) => return format!("{program} cannot be started: {e}"),
        };
        let pipes = (running.0.stdout.take().map(OwnedFd::from), running.0.stderr.take().map(OwnedFd::from));
        let (Some(out), Some(err)) = pipes else { return format!("{program} has no pipes") };
        let (out, err) = match (Receiver::from_owned_fd(out), Receiver::from_owned_fd(err)) {
            (Ok(out), Ok(err)) => (out, err),
            (Err(e), _) | (_, Err(e)) => return format!("{program}: its pipe cannot be read: {e}"),
        };
        self.state().lost = None;
        let (read, said) = tokio::join!(self.read(out, told), said(err));
        let how = match read {
            Ok(()) => running.ended().await,
            Err(e) => e.to_string(),
        };
        if said.is_empty() { format!("{program} ended: {how}") } else { format!("{program} ended: {how}: {said}") }
    }

    fn command(&self, program: &str) -> Command {
        let state = self.state();
        let mut command = Command::new(program);
        command.args(["--follow", "--output=export", FIELDS, "--quiet", "--no-pager"]);
        match &state.cursor {
            Some(cursor) => command.arg(format!("--after-cursor={cursor}")).arg("--no-tail"),
            None => command.arg(format!("--since=@{}", state.since_s)),
        };
        if self.root != Path::new("/") {
            command.arg(format!("--root={}", self.root.display()));
        }
        command.args(self.ask.units.iter().map(|unit| format!("--unit={unit}")));
        command.env_clear().env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        sys::end_with_this_thread(&mut command);
        command
    }

    async fn read(&self, mut from: Receiver, told: &impl Fn()) -> std::io::Result<()> {
        let (mut export, mut piece) = (Export::default(), vec![0; PIECE]);
        let mut busy = 0;
        loop {
            let length = from.read(&mut piece).await?;
            if length == 0 {
                return Ok(());
            }
            let mut any = false;
            {
                let mut state = self.state();
                state.since_s = wall_s();
                export.feed(piece.get(..length).unwrap_or_default(), |fields| any |= state.hear(&self.ask, fields));
            }
            if any {
                told();
            }
            busy = if length == PIECE { busy + 1 } else { 0 };
            if busy >= PIECES_BEFORE_A_PAUSE {
                busy = 0;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JournalAsk {
    /// Why nothing can be followed.
    fn unfit(&self) -> Option<String> {
        if self.units.is_empty() && self.markers.is_empty() {
            return Some("nothing is to be followed: no units and no markers configured".to_owned());
        }
        let pattern = self.units.iter().find(|unit| unit.is_empty() || unit.contains(['*', '?', '[']))?;
        Some(format!("unit {pattern:?} is no whole name: name each unit that is to be followed"))
    }

    fn wants(&self, message: &[u8]) -> bool {
        let has = |marker: &String| !marker.is_empty() && message.windows(marker.len()).any(|w| w == marker.as_bytes());
        self.markers.is_empty() || self.markers.iter().any(has)
    }
}

impl State {
    /// Nothing is followed for now. `true`: the place from which it would have gone on was given up.
    fn ended(&mut self, why: String, give_up: bool) -> bool {
        self.lost = Some(why);
        let gap = give_up && self.cursor.take().is_some();
        self.totals.gaps = self.totals.gaps.saturating_add(gap.into());
        gap
    }

    /// Whether it was one to be told.
    fn hear(&mut self, ask: &JournalAsk, fields: &Fields) -> bool {
        if is_cursor(&fields.cursor) {
            self.cursor = String::from_utf8(fields.cursor.clone()).ok();
        }
        if !ask.wants(&fields.message) {
            return false;
        }
        self.totals.told = self.totals.told.saturating_add(1);
        if self.queue.len() >= MOST_QUEUED {
            self.totals.dropped = self.totals.dropped.saturating_add(1);
            return false;
        }
        self.queue.push_back(parse_entry(fields));
        true
    }
}

pub(super) fn parse_entry(fields: &Fields) -> JournalEntry {
    let about_another = fields.systemd_unit == INIT && !fields.unit.is_empty();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let priority = match fields.priority.as_slice() {
        [digit @ b'0'..=b'7'] => digit.checked_sub(b'0'),
        _ => None,
    };
    let micros = std::str::from_utf8(&fields.realtime).ok().and_then(|digits| digits.parse().ok());
    JournalEntry {
        at: micros.and_then(|us| jiff::Timestamp::from_microsecond(us).ok()),
        unit: text(if about_another { &fields.unit } else { &fields.systemd_unit }),
        priority,
        message: text(&fields.message),
        message_id: text(&fields.message_id),
    }
}

/// `s=…;i=…;b=…`: what is not a cursor is not handed to a program.
pub(super) fn is_cursor(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() <= LONGEST_CURSOR && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"=;".contains(b))
}

fn wall_s() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec
}

/// The beginning of what it says, all of which is read so that it is never held up.
async fn said(mut from: Receiver) -> String {
    const LONGEST: usize = 500;
    let (mut kept, mut piece) = (Vec::new(), [0; 1024]);
    while let Ok(length) = from.read(&mut piece).await
        && length > 0
    {
        let room = LONGEST.saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(piece.get(..room).unwrap_or_default());
    }
    String::from_utf8_lossy(&kept).trim().escape_debug().to_string()
}

/// A program of ours, ended with us.
struct Running(Child);

impl Running {
    /// It has closed its output, so it is about to end.
    async fn ended(&mut self) -> String {
        for _ in 0..50 {
            match self.0.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(e) => return e.to_string(),
            }
        }
        "it closed its output and went on".to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already cannot be ended, which is fine.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(unit: &str, about: &str, message: &str) -> Fields {
        let bytes = |s: &str| s.as_bytes().to_vec();
        Fields {
            cursor: bytes("s=1;i=2"),
            realtime: bytes("1763762106000000"),
            message: bytes(message),
            priority: bytes("3"),
            systemd_unit: bytes(unit),
            unit: bytes(about),
            message_id: vec![],
        }
    }

    #[test]
    fn only_pid_1_may_say_what_another_unit_does() {
        assert_eq!(parse_entry(&fields("init.scope", "a.service", "x")).unit, "a.service");
        assert_eq!(parse_entry(&fields("evil.service", "a.service", "x")).unit, "evil.service");
        let odd = |priority: &[u8]| parse_entry(&Fields { priority: priority.to_vec(), ..fields("a", "", "x") }).priority;
        assert_eq!((odd(b"3"), odd(b"8"), odd(b""), odd(b"33")), (Some(3), None, None, None));
    }

    #[test]
    fn an_entry_is_as_old_as_journald_says() {
        let at = |us: &[u8]| parse_entry(&Fields { realtime: us.to_vec(), ..fields("a", "", "x") }).at.map(|at| at.to_string());
        assert_eq!(at(b"1763762106000000").as_deref(), Some("2025-11-21T21:55:06Z"));
        assert_eq!((at(b""), at(b"now"), at(b"9223372036854775807"), at(b"\xff")), (None, None, None, None));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_place_is_kept() {
        let ask = JournalAsk { units: vec![], markers: vec!["disk".into(), "oom".into()] };
        let watch = JournalWatch::new("/", ask.clone(), Some("s=1;i=1".into()));
        for n in 0..MOST_QUEUED as u64 + 7 {
            watch.state().hear(&ask, &Fields { cursor: format!("s=1;i={n}").into(), ..fields("a", "", "the disk is full") });
            watch.state().hear(&ask, &fields("a", "", "nothing of interest"));
        }
        let journal = watch.take().unwrap();
        assert_eq!((journal.entries.len(), journal.dropped, journal.told), (MOST_QUEUED, 7, MOST_QUEUED as u64 + 7));
        assert_eq!(watch.cursor().as_deref(), Some("s=1;i=2"));
        assert!(watch.take().unwrap_err().to_string().contains("not begun"));
    }

    #[test]
    fn what_cannot_be_followed_says_why() {
        let why = |units: &[&str]| {
            let units = units.iter().map(ToString::to_string).collect();
            JournalWatch::new("/", JournalAsk { units, markers: vec![] }, None).take().unwrap_err().to_string()
        };
        assert!(why(&[]).contains("no units and no markers"));
        assert!(why(&["a.service", "b*.service"]).contains("b*.service"));
    }

    #[test]
    fn only_a_cursor_is_a_cursor() {
        assert!(is_cursor(b"s=6f8;i=1a;b=0e;m=2;t=63;x=9c"));
        assert!(!is_cursor(b"") && !is_cursor(b"s=1 --vacuum") && !is_cursor(&[b'a'; LONGEST_CURSOR + 1]));
    }

    proptest! {
        #[test]
        fn any_fields_are_an_entry(message: Vec<u8>, priority: Vec<u8>, unit: Vec<u8>, marker in ".{0,3}") {
            let (cursor, realtime, systemd_unit) = (unit.clone(), priority.clone(), unit.clone());
            let fields = Fields { cursor, realtime, message, priority, systemd_unit, unit: unit.clone(), message_id: unit };
            let ask = JournalAsk { units: vec![], markers: vec![marker] };
            let _ = (ask.wants(&fields.message), parse_entry(&fields), is_cursor(&fields.cursor));
        }
    }
}
