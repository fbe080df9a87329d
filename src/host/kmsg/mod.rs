//! The kernel's own log, `/dev/kmsg`: one record a read, from the place where the last one ended, without waiting.
//!
//! Everybody who may write there (services, anything that forwards a log) can write any text. What comes from the kernel itself has facility
//! 0, which nobody else can give; only that is believed.

mod lines;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use self::lines::Said;
use super::Read;
use super::columns::number;
use super::root::{Root, io_error};
use crate::model::{HostPath, KernelEvent, KernelEventKind, KernelLog};

const PATH: &str = "/dev/kmsg";
/// The kernel's `CONSOLE_EXT_LOG_MAX`: no record is longer.
const LONGEST_RECORD: usize = 8192;
/// Records of one drain: a storm costs a bounded time, and what the kernel overwrites meanwhile is counted.
const MOST_RECORDS: usize = 1024;
/// Kept of each kind, so that a storm of one hides no other.
const MOST_RECENT: usize = 32;
const LONGEST_TEXT: usize = 256;
/// The lines about one kill are written at once, and come apart only while a slow console is waited for.
const SAME_KILL_US: u64 = 10_000_000;

/// Reads new records when asked to. Never blocks.
#[derive(Debug)]
pub struct KernelLogReader {
    fd: OwnedFd,
    buffer: Box<[u8]>,
    last_seq: Option<u64>,
    lines: u64,
    dropped: u64,
    counts: [u64; KernelEventKind::ALL.len()],
    recent: [VecDeque<KernelEvent>; KernelEventKind::ALL.len()],
    kill: Kill,
}

/// What is known of the kill that is being told.
#[derive(Debug, Default)]
struct Kill {
    /// Chosen, and not yet said to be killed.
    chosen: Option<KernelEvent>,
    /// The cgroup of the one that is killed next, or of all that are, and when that was said.
    doomed: Option<Doomed>,
    /// Pid and time of the last one told.
    told: Option<(u32, u64)>,
}

#[derive(Debug)]
struct Doomed {
    cgroup: HostPath,
    all: bool,
    at_us: u64,
}

impl KernelLogReader {
    /// `after`: sequence number of the last record that was seen in this same boot; what was said since then is read first. Without one,
    /// reading begins with what is said from now on.
    ///
    /// # Errors
    /// Where there is no `/dev/kmsg`, or `CAP_SYSLOG` is missing on a kernel with `dmesg_restrict`.
    pub fn open(root: &Path, after: Option<u64>) -> Read<Self> {
        let path = HostPath::from(PATH);
        let file = Root::open(root)?.open_file(&path)?;
        if after.is_none() {
            rustix::fs::seek(&file, SeekFrom::End(0)).map_err(|e| io_error(&path, e))?;
        }
        Ok(Self::over(file, after))
    }

    pub(super) fn over(file: impl Into<OwnedFd>, last_seq: Option<u64>) -> Self {
        Self {
            fd: file.into(),
            buffer: vec![0; LONGEST_RECORD].into(),
            last_seq,
            lines: 0,
            dropped: 0,
            counts: [0; _],
            recent: [const { VecDeque::new() }; _],
            kill: Kill::default(),
        }
    }

    /// Reads what is there, at most a thousand records, and hands on each event. `true`: there is more.
    ///
    /// # Errors
    /// When reading fails for good; being overtaken by the kernel is not an error but counted.
    pub fn drain(&mut self, mut told: impl FnMut(&KernelEvent)) -> Read<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut outcome = Ok(true);
        for _ in 0..MOST_RECORDS {
            match rustix::io::read(&self.fd, &mut buffer[..]) {
                Ok(0) | Err(Errno::AGAIN) => {
                    outcome = Ok(false);
                    break;
                }
                Ok(length) => self.take(&buffer[..length], &mut told),
                // Overwritten before it was read, or longer than the kernel's own longest: the next sequence number says how many are gone.
                Err(Errno::PIPE | Errno::INVAL | Errno::INTR) => {}
                Err(e) => {
                    outcome = Err(io_error(&PATH.into(), e));
                    break;
                }
            }
        }
        self.buffer = buffer;
        if outcome.as_ref().is_ok_and(|more| !more) {
            self.tell_chosen(&mut told);
        }
        outcome
    }

    /// Of the last record that was read: where to go on after a restart in the same boot.
    pub fn last_seq(&self) -> Option<u64> {
        self.last_seq
    }

    pub fn log(&self) -> KernelLog {
        let mut recent: Vec<KernelEvent> = self.recent.iter().flatten().cloned().collect();
        recent.sort_by_key(|e| e.seq);
        KernelLog { lines: self.lines, dropped: self.dropped, counts: KernelEventKind::ALL.into_iter().zip(self.counts).collect(), recent }
    }

    pub(super) fn take(&mut self, bytes: &[u8], told: &mut impl FnMut(&KernelEvent)) {
        let Some(record) = parse_record(bytes) else {
            self.lines = self.lines.saturating_add(1);
            return;
        };
        if let Some(last) = self.last_seq {
            if record.seq <= last {
                return;
            }
            let missing = record.seq - last - 1;
            self.dropped = self.dropped.saturating_add(missing);
            if missing > 0 {
                self.tell_chosen(told);
            }
        }
        self.last_seq = Some(record.seq);
        self.lines = self.lines.saturating_add(1);
        if record.facility == 0
            && let Some(said) = lines::classify(record.text)
        {
            self.heard(said, &record, told);
        }
    }

    fn heard(&mut self, said: Said, record: &Record<'_>, told: &mut impl FnMut(&KernelEvent)) {
        let text = lines::first_line(record.text);
        let event = |kind, subject, pid, cgroup| KernelEvent {
            kind,
            seq: record.seq,
            at_us: record.at_us,
            subject,
            pid,
            cgroup,
            text: String::from_utf8_lossy(text.get(..LONGEST_TEXT).unwrap_or(text)).into_owned(),
        };
        let oom = KernelEventKind::OomKill;
        match said {
            Said::Event { kind, subject, pid } => self.tell(event(kind, subject, pid, None), told),
            Said::Chosen { comm, pid, cgroup } => {
                self.tell_chosen(told);
                self.kill.doomed = None;
                self.kill.chosen = Some(event(oom, comm, Some(pid), cgroup));
            }
            Said::Doomed { cgroup, all } => self.kill.doomed = Some(Doomed { cgroup, all, at_us: record.at_us }),
            Said::Killed { comm, pid } => {
                let just_now = |then: u64| record.at_us.saturating_sub(then) < SAME_KILL_US;
                if self.kill.told.is_some_and(|(who, then)| who == pid && just_now(then)) {
                    return;
                }
                // A child may die in the place of the one chosen (before Linux 5.2): then the choice was no kill.
                let chosen = self.kill.chosen.take().filter(|c| c.pid == Some(pid)).and_then(|c| c.cgroup);
                let doomed = self.kill.doomed.take().filter(|d| just_now(d.at_us));
                let cgroup = chosen.or_else(|| doomed.as_ref().map(|d| d.cgroup.clone()));
                self.kill.doomed = doomed.filter(|d| d.all);
                self.tell(event(oom, comm, Some(pid), cgroup), told);
            }
        }
    }

    /// Nothing more is heard of a kill that was announced, because the line is lost or not written yet.
    fn tell_chosen(&mut self, told: &mut impl FnMut(&KernelEvent)) {
        if let Some(event) = self.kill.chosen.take() {
            self.tell(event, told);
        }
    }

    fn tell(&mut self, event: KernelEvent, told: &mut impl FnMut(&KernelEvent)) {
        if event.kind == KernelEventKind::OomKill {
            self.kill.told = event.pid.map(|pid| (pid, event.at_us));
        }
        let slots = KernelEventKind::ALL.into_iter().zip(&mut self.counts).zip(&mut self.recent);
        for ((_, count), recent) in slots.filter(|((kind, _), _)| *kind == event.kind) {
            *count = count.saturating_add(1);
            if recent.len() >= MOST_RECENT {
                recent.pop_front();
            }
            recent.push_back(event.clone());
        }
        told(&event);
    }
}

impl AsFd for KernelLogReader {
    /// Readable when there are new records.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Record<'a> {
    facility: u32,
    seq: u64,
    at_us: u64,
    /// All of it: only who reads on looks for the end of the line.
    text: &'a [u8],
}

/// `priority,sequence,microseconds,flags[,…];text`, and lines beginning with a blank, which describe the device. Total; `None` for what
/// is no record.
fn parse_record(bytes: &[u8]) -> Option<Record<'_>> {
    let head = bytes.iter().position(|b| *b == b';')?;
    let mut fields = bytes.get(..head)?.split(|b| *b == b',').map(number);
    let (priority, seq, at_us) = (fields.next()??, fields.next()??, fields.next()??);
    let text = bytes.get(head.checked_add(1)?..)?;
    Some(Record { facility: u32::try_from(priority >> 3).ok()?, seq, at_us, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

    /// A socket that keeps records apart gives one a read, and `EAGAIN` when there is none, as `/dev/kmsg` does.
    fn stand_in(last_seq: Option<u64>) -> (OwnedFd, KernelLogReader) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        (ours, KernelLogReader::over(theirs, last_seq))
    }

    fn say(kernel: &OwnedFd, record: &str) -> bool {
        rustix::net::send(kernel, record.as_bytes(), SendFlags::empty()).is_ok()
    }

    /// All that is told of these texts, each a kernel's record a millisecond after the one before; `|` ends a drain.
    fn told(texts: &[&str]) -> Vec<(String, Option<u32>, Option<String>)> {
        let (kernel, mut reader) = stand_in(None);
        let mut events = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            assert!(*text == "|" || say(&kernel, &format!("6,{n},{n}000,-;{text}\n")));
            if *text == "|" {
                while reader.drain(|e| events.push(e.clone())).unwrap() {}
                reader.last_seq = reader.last_seq.map(|seq| seq + 1);
            }
        }
        while reader.drain(|e| events.push(e.clone())).unwrap() {}
        assert_eq!(reader.log().recent, events);
        events.into_iter().map(|e| (e.subject, e.pid, e.cgroup.map(|c| c.to_string()))).collect()
    }

    const CHOSEN: &str =
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a,task=x,pid=7,uid=0";

    fn killed(pid: u32) -> String {
        format!("Memory cgroup out of memory: Killed process {pid} (x) total-vm:1kB, anon-rss:1kB")
    }

    #[test]
    fn a_kill_is_one_event() {
        let one = |cgroup: Option<&str>| ("x".to_owned(), Some(7), cgroup.map(str::to_owned));
        assert_eq!(told(&[CHOSEN, &killed(7)]), [one(Some("/a"))]);
        assert_eq!(told(&[&killed(7)]), [one(None)]);
        // The second line has not been written yet, or never comes.
        assert_eq!(told(&[CHOSEN, "|", &killed(7)]), [one(Some("/a"))]);
        assert_eq!(told(&[CHOSEN]), [one(Some("/a"))]);
        assert_eq!(told(&[CHOSEN, CHOSEN]), [one(Some("/a")), one(Some("/a"))]);
        // Somebody else died in its place.
        assert_eq!(told(&[CHOSEN, &killed(8)]), [("x".into(), Some(8), None)]);
    }

    #[test]
    fn the_cgroup_is_taken_from_where_the_kernel_says_it() {
        let in_group = |pid, cgroup: &str| ("x".to_owned(), Some(pid), Some(cgroup.to_owned()));
        let group = "Tasks in /g are going to be killed due to memory.oom.group set";
        let all = told(&[CHOSEN, &killed(7), group, &killed(8), &killed(9), CHOSEN]);
        assert_eq!(all, [in_group(7, "/a"), in_group(8, "/g"), in_group(9, "/g"), in_group(7, "/a")]);
        let before = "Task in /old killed as a result of limit of /";
        assert_eq!(told(&[before, &killed(7), &killed(8)]), [in_group(7, "/old"), ("x".into(), Some(8), None)]);
    }

    #[test]
    fn only_the_kernel_is_believed() {
        let (kernel, mut reader) = stand_in(None);
        for (n, facility) in [0, 1, 3].into_iter().enumerate() {
            assert!(say(&kernel, &format!("{},{n},5,-;I/O error, dev sda, sector 1\n SUBSYSTEM=block\n", facility << 3 | 3)));
        }
        let mut texts = Vec::new();
        assert!(!reader.drain(|e| texts.push(e.text.clone())).unwrap());
        assert_eq!((texts.as_slice(), reader.log().lines), (&["I/O error, dev sda, sector 1".to_owned()][..], 3));
    }

    #[test]
    fn records_of_all_kernels_are_read() {
        let record = |facility, seq, at_us, text: &'static [u8]| Some(Record { facility, seq, at_us, text });
        assert_eq!(parse_record(b"30,9,12,-;hello\n"), record(3, 9, 12, b"hello\n"));
        assert_eq!(parse_record(b"6,9,12,c,caller=T1;a;b\n K=v\n"), record(0, 9, 12, b"a;b\n K=v\n"));
        assert_eq!(parse_record(b"6,9,12;"), record(0, 9, 12, b""));
        for damaged in [&b""[..], b"6,9", b"6,9,-;x", b"-6,9,1,-;x", b"6,99999999999999999999,1,-;x", b"\xff,1,1;x"] {
            assert_eq!(parse_record(damaged), None, "{damaged:?}");
        }
    }

    /// 100,000 records a second for ten seconds, to a reader that rests between two looks and now and then longer than it should.
    #[test]
    fn a_storm_is_read_in_bounded_steps_and_nothing_is_lost_uncounted() {
        const ALL: u64 = 1_000_000;
        const AT_ONCE: u64 = 1_000;
        const KILL_EVERY: u64 = 199;
        const PAUSE: Duration = Duration::from_millis(10);
        let (kernel, mut reader) = stand_in(Some(0));
        let writer = std::thread::spawn(move || {
            let mut overwritten = BTreeSet::new();
            for seq in 1..=ALL {
                let text = match seq % KILL_EVERY {
                    0 => CHOSEN.replace("task_memcg=/a,task=x,pid=7", &format!("task_memcg=/a/{seq},task=victim,pid={seq}")),
                    1 if seq > 1 => killed(u32::try_from(seq - 1).unwrap()),
                    _ => format!("net_ratelimit: {seq} callbacks suppressed, and some words to make it as long as others"),
                };
                if !say(&kernel, &format!("4,{seq},{},-;{text}\n", seq * 10)) {
                    overwritten.insert(seq);
                }
                if seq % AT_ONCE == 0 {
                    std::thread::sleep(PAUSE);
                }
            }
            // The last one is heard, so that what went missing before it is known.
            while !say(&kernel, &format!("6,{},1,-;the end\n", ALL + 1)) {
                std::thread::yield_now();
            }
            (overwritten, kernel)
        });
        let mut found = Vec::new();
        for look in 1.. {
            let before = reader.log().lines;
            reader.drain(|e| found.push((u64::from(e.pid.unwrap()), e.cgroup.as_ref().map(HostPath::to_string)))).unwrap();
            let log = reader.log();
            assert!(log.lines - before <= MOST_RECORDS as u64);
            assert!(log.recent.len() <= MOST_RECENT && log.recent.iter().all(|e| e.text.len() <= LONGEST_TEXT));
            if reader.last_seq() == Some(ALL + 1) {
                break;
            }
            std::thread::sleep(if look % 100 == 0 { 20 * PAUSE } else { PAUSE });
        }
        let (overwritten, _kernel) = writer.join().unwrap();
        let log = reader.log();
        assert_eq!((log.dropped, log.lines), (overwritten.len() as u64, ALL + 1 - overwritten.len() as u64));
        assert!(log.dropped > 0, "a storm that loses nothing proves nothing about counting");
        // Either of its two lines tells of a kill; only the first one tells where.
        let heard = |seq: u64| seq <= ALL && !overwritten.contains(&seq);
        let kills = (KILL_EVERY..=ALL).step_by(KILL_EVERY as usize).filter(|seq| heard(*seq) || heard(seq + 1));
        assert_eq!(found, kills.map(|seq| (seq, heard(seq).then(|| format!("/a/{seq}")))).collect::<Vec<_>>());
        assert!(found.iter().any(|(_, cgroup)| cgroup.is_some()));
        let told = [(KernelEventKind::OomKill, found.len() as u64)].into_iter();
        assert_eq!(log.counts, told.chain(KernelEventKind::ALL.into_iter().skip(1).map(|k| (k, 0))).collect::<Vec<_>>());
    }

    #[test]
    fn the_kernel_can_be_followed_and_taken_up_again() {
        let missing = || assert!(std::env::var_os("CI").is_none(), "no /dev/kmsg that can be read and written");
        let Ok(mut reader) = KernelLogReader::open(Path::new("/"), None) else { return missing() };
        let who = format!("byteport test {}", std::process::id());
        let mark = format!("{who}: I/O error, dev sda, sector 1\n");
        // Only root may write there.
        if std::fs::write(PATH, &mark).is_err() {
            return missing();
        }
        // The kernel may have something to tell of its own.
        let mut events = 0;
        let mut count = |e: &KernelEvent| events += usize::from(e.text.contains(&who));
        while reader.drain(&mut count).unwrap() {}
        assert!(reader.log().lines >= 1);
        let last = reader.last_seq().unwrap();
        let mut again = KernelLogReader::open(Path::new("/"), Some(last.saturating_sub(3))).unwrap();
        while again.drain(&mut count).unwrap() {}
        assert!(again.log().lines >= 1 && again.last_seq() >= Some(last));
        assert_eq!(events, 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(bytes: Vec<u8>) {
            let _ = parse_record(&bytes);
        }

        #[test]
        fn any_records_are_taken(records in prop::collection::vec("([0-9]{1,2},[0-9]{1,20},[0-9]{1,20},-;)?(oom-kill:.{0,9},task_memcg=/a,task=b,pid=[0-9]{1,11},|Killed process [0-9] \\(x\\) total-vm:|Tasks in /b are going to be killed due to memory.oom.group set|.{0,20})", 0..20)) {
            let (_kernel, mut reader) = stand_in(None);
            for record in &records {
                reader.take(record.as_bytes(), &mut |_: &KernelEvent| {});
            }
            reader.tell_chosen(&mut |_: &KernelEvent| {});
            let log = reader.log();
            prop_assert!(log.lines <= records.len() as u64);
        }
    }
}
