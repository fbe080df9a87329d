//! A host with a real record, an identity and the loop at work.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use byteport::model::{Body, BootId, CollectorLink, IncidentId, LinkFailure, Now, RunbookId, Subject};
use byteport::record::Store;
use byteport::uplink::{self, Acked, Board, Enrolment, Host, Pace, Patience, RecordNow, Rows, Running, Secret, Setup, Standing};
use byteport::wire::collector::{About, Leaving};

pub const QUICK: Pace = Pace {
    look_every: Duration::from_millis(100),
    pause: Duration::from_millis(1),
    first_interval: Duration::from_millis(50),
    patience: Patience { connect: Duration::from_secs(5), answer: Duration::from_secs(5) },
};

pub fn about() -> About {
    About { hostname: "here".into(), version: "0".into(), boot_id: "b".into() }
}

pub fn setup(collector: &str) -> Setup {
    Setup { collector: collector.into(), ca_file: None, proxy: None, insecure_plain_http: false }
}

pub fn now() -> Now {
    Now { wall: jiff::Timestamp::now(), boot: BootId("b".into()), uptime_s: 1.0 }
}

/// Until it is there; a minute is for machines that are busy elsewhere.
pub fn wait(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !there() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

pub fn enrol(dir: &Path, setup: Setup, token: &str, again: bool) -> Result<String, uplink::EnrolError> {
    let asked = Enrolment { state_dir: dir, setup, token: Secret::new(token), about: about(), again };
    // A person waits, and this machine may be busy.
    runtime().block_on(uplink::enrol(asked, Patience::default()))
}

pub struct Recorder {
    store: Mutex<Store>,
    incident: IncidentId,
    /// The disk below the record does not answer.
    pub hangs: AtomicBool,
}

impl Recorder {
    pub fn open(dir: &Path) -> Self {
        let (mut store, _) = Store::open(dir, &now()).expect("a record");
        let incident = IncidentId(format!("disk-{}", store.head().0));
        let opened = Body::Opened { runbook: RunbookId::new("disk"), subject: Subject::Host, signals: Vec::new() };
        store.append(&incident, &now(), &opened).expect("opened");
        Self { store: Mutex::new(store), incident, hangs: AtomicBool::new(false) }
    }

    pub fn note(&self, text: &str) {
        self.store.lock().unwrap().append(&self.incident, &now(), &Body::Note { text: text.into() }).expect("written");
    }

    pub fn head(&self) -> u64 {
        self.store.lock().unwrap().head().0
    }

    fn answers(&self) {
        while self.hangs.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Host for Recorder {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn standing(&self) -> Standing {
        Standing { about: about(), mode: "observe".into(), held_by: Vec::new(), signals: Vec::new() }
    }

    fn record(&self, acked: Option<&Acked>) -> Result<RecordNow, String> {
        self.answers();
        let store = self.store.lock().unwrap();
        Ok(RecordNow {
            stream: store.name().expect("a name").to_owned(),
            head: store.head(),
            open_incidents: 1,
            held_by: Vec::new(),
            waiting: acked.map_or(0, |acked| store.waiting(acked.through)),
            waiting_since: None,
        })
    }

    fn rows(&self, after: u64) -> Result<Rows, String> {
        self.answers();
        let store = self.store.lock().unwrap();
        let out = store.after(after).map_err(|e| e.to_string())?;
        Ok(Rows { stream: store.name().expect("a name").to_owned(), head: store.head().0, out })
    }
}

/// The loop beside a record, in a state folder.
pub struct Reporting {
    pub recorder: Arc<Recorder>,
    pub board: Arc<Board>,
    running: Option<Running>,
    runtime: tokio::runtime::Runtime,
}

impl Reporting {
    /// Waits no longer than it must: whatever may be put off is put off as little as possible.
    pub fn start(dir: &Path) -> Self {
        Self::paced(dir, QUICK, 0.0)
    }

    pub fn paced(dir: &Path, pace: Pace, die: f64) -> Self {
        let (recorder, board, runtime) = (Arc::new(Recorder::open(dir)), Arc::<Board>::default(), runtime());
        let running = runtime.block_on(async { uplink::start(recorder.clone(), dir, board.clone(), pace, Arc::new(move || die)) });
        Self { recorder, board, running: Some(running), runtime }
    }

    pub fn note(&self, text: &str) {
        self.recorder.note(text);
        self.board.appended();
    }

    pub fn link(&self) -> CollectorLink {
        self.board.link().expect("a collector")
    }

    pub fn failures(&self, why: LinkFailure) -> u64 {
        self.board.link().map_or(0, |link| link.failures[&why])
    }

    pub fn leave(mut self) {
        let running = self.running.take().expect("at work");
        self.runtime.block_on(running.leave(Leaving::Stopped));
    }
}
