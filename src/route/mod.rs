//! From changed signals to episodes. Pure: one episode a subject, however many of its signals are raised, and none twice.

use std::collections::BTreeMap;

use crate::detect::Change;
use crate::model::{RunbookId, Sample, Signal, Subject};
use crate::runbooks;

/// Which episodes there are, and which signals each of them answers.
#[derive(Debug, Default)]
pub struct Router {
    /// By subject: an episode, or the memory of one whose signals are still raised.
    cases: BTreeMap<(RunbookId, Subject), Case>,
}

#[derive(Debug)]
struct Case {
    /// Raised now, in the order they were raised.
    signals: Vec<Signal>,
    /// An episode is running for them.
    open: bool,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Routed {
    /// Start an episode for these signals.
    Open { runbook: RunbookId, subject: Subject, signals: Vec<Signal> },
    /// The running episode has these signals now; none left: everything that opened it has cleared.
    Signals { runbook: RunbookId, subject: Subject, signals: Vec<Signal> },
    /// No runbook answers this signal.
    Unanswered(Signal),
}

impl Router {
    /// A signal that stays raised opens no second episode when the first has ended; one that is new or got worse does.
    ///
    /// Saturation of a disk joins the episode of a filesystem on it, if one is running: what heals a filesystem loads its disk, and
    /// a second episode would only tell of the first. Else it is an episode of the disk itself. In the same way what is said of a process or
    /// a unit joins the episode that its runbook has for the whole host, or is about to have: one runaway is one incident.
    pub fn route(&mut self, changes: Vec<Change>, sample: &Sample) -> Vec<Routed> {
        let mut touched: Vec<(RunbookId, Subject)> = Vec::new();
        let mut out = Vec::new();
        for change in changes {
            let (Change::Raised(signal) | Change::Cleared(signal)) = &change;
            let Some(entry) = runbooks::for_signal(&signal.kind.0) else {
                if matches!(change, Change::Raised(_)) {
                    out.push(Routed::Unanswered(signal.clone()));
                }
                continue;
            };
            let key = match self.holder_of(signal) {
                Some(key) => key,
                None => self.home(entry.id.clone(), signal, sample, &touched),
            };
            let case = match change {
                Change::Raised(signal) => {
                    let case = self.cases.entry(key.clone()).or_insert(Case { signals: Vec::new(), open: false });
                    match case.signals.iter_mut().find(|s| is_same(s, &signal)) {
                        Some(known) => *known = signal,
                        None => case.signals.push(signal),
                    }
                    Some(case)
                }
                Change::Cleared(signal) => {
                    if let Some(case) = self.cases.get_mut(&key) {
                        case.signals.retain(|s| !is_same(s, &signal));
                    }
                    // What clears while nobody works on it is nobody's news.
                    self.cases.get_mut(&key).filter(|case| case.open)
                }
            };
            if case.is_some() && !touched.contains(&key) {
                touched.push(key);
            }
        }
        for (runbook, subject) in touched {
            let Some(case) = self.cases.get_mut(&(runbook.clone(), subject.clone())) else { continue };
            let signals = case.signals.clone();
            if case.open {
                out.push(Routed::Signals { runbook, subject, signals });
            } else if !signals.is_empty() {
                case.open = true;
                out.push(Routed::Open { runbook, subject, signals });
            }
        }
        self.cases.retain(|_, case| case.open || !case.signals.is_empty());
        out
    }

    /// An episode was started otherwise (taken up again after a restart of the agent): its signals join it.
    pub fn opened(&mut self, runbook: RunbookId, subject: Subject, signals: Vec<Signal>) {
        self.cases.insert((runbook, subject), Case { signals, open: true });
    }

    /// The episode has ended. Signals that are still raised are remembered, so that they do not start it over and over. `answered`: those that it
    /// knew of. What was raised, or got worse, while it was ending was told to nobody, and gets an episode now: that of its own subject, where
    /// what is said of a unit had joined the host's.
    pub fn closed(&mut self, runbook: &RunbookId, subject: &Subject, answered: &[Signal]) -> Vec<Routed> {
        let key = (runbook.clone(), subject.clone());
        let Some(case) = self.cases.get_mut(&key) else { return Vec::new() };
        let missed = |raised: &Signal| {
            !answered.iter().any(|known| is_same(known, raised) && known.severity >= raised.severity && known.since == raised.since)
        };
        let of_a_unit = |signal: &Signal| matches!(signal.subject, Subject::Unit { .. }) && signal.subject != *subject;
        let (moved, kept): (Vec<Signal>, Vec<Signal>) =
            std::mem::take(&mut case.signals).into_iter().partition(|s| of_a_unit(s) && missed(s));
        case.open = kept.iter().any(missed);
        case.signals = kept;
        let mut touched: Vec<(RunbookId, Subject)> = case.open.then(|| key.clone()).into_iter().collect();
        for signal in moved {
            let own = (runbook.clone(), signal.subject.clone());
            self.cases.entry(own.clone()).or_insert(Case { signals: Vec::new(), open: false }).signals.push(signal);
            if !touched.contains(&own) {
                touched.push(own);
            }
        }
        let mut out = Vec::new();
        for (runbook, subject) in touched {
            let Some(case) = self.cases.get_mut(&(runbook.clone(), subject.clone())) else { continue };
            let (signals, joins) = (case.signals.clone(), case.open && (&runbook, &subject) != (&key.0, &key.1));
            case.open = true;
            out.push(if joins { Routed::Signals { runbook, subject, signals } } else { Routed::Open { runbook, subject, signals } });
        }
        self.cases.retain(|_, case| case.open || !case.signals.is_empty());
        out
    }

    /// It ended by a defect: starting it again for the same signals would end in the same way.
    pub fn lost(&mut self, runbook: &RunbookId, subject: &Subject) {
        if let Some(case) = self.cases.get_mut(&(runbook.clone(), subject.clone())) {
            case.open = false;
        }
        self.cases.retain(|_, case| case.open || !case.signals.is_empty());
    }

    /// Circumstances have changed (a pause ended, new configuration, a cooldown is over): what is still raised gets another episode.
    pub fn afresh(&mut self) -> Vec<Routed> {
        let waiting = self.cases.iter_mut().filter(|(_, case)| !case.open && !case.signals.is_empty());
        waiting
            .map(|((runbook, subject), case)| {
                case.open = true;
                Routed::Open { runbook: runbook.clone(), subject: subject.clone(), signals: case.signals.clone() }
            })
            .collect()
    }

    /// Where this very signal was put when it was raised.
    fn holder_of(&self, signal: &Signal) -> Option<(RunbookId, Subject)> {
        self.cases.iter().find(|(_, case)| case.signals.iter().any(|s| is_same(s, signal))).map(|(key, _)| key.clone())
    }

    /// `touched`: what this very change has begun, and will be open when it is done.
    fn home(&self, runbook: RunbookId, signal: &Signal, sample: &Sample, touched: &[(RunbookId, Subject)]) -> (RunbookId, Subject) {
        let open = |key: &(RunbookId, Subject)| self.cases.get(key).is_some_and(|case| case.open);
        match &signal.subject {
            Subject::Disk { name } => {
                let on_it = sample.filesystems.value().into_iter().flatten().filter(|f| f.disks.contains(name));
                for fs in on_it {
                    let key = (runbook.clone(), Subject::Filesystem { mount: fs.mount.path.clone(), device: fs.mount.device });
                    if open(&key) {
                        return key;
                    }
                }
            }
            Subject::Process { .. } | Subject::Unit { .. } => {
                let key = (runbook.clone(), Subject::Host);
                if open(&key) || touched.contains(&key) {
                    return key;
                }
            }
            Subject::Filesystem { .. } | Subject::Host => {}
        }
        (runbook, signal.subject.clone())
    }
}

fn is_same(a: &Signal, b: &Signal) -> bool {
    a.kind == b.kind && a.subject == b.subject
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, FsKind, FsSample, Mount, Now, Observed, Severity, SignalKind};

    fn now() -> Now {
        Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId("a".into()), uptime_s: 1.0 }
    }

    fn root() -> Subject {
        Subject::Filesystem { mount: "/".into(), device: 1 }
    }

    fn vda() -> Subject {
        Subject::Disk { name: "vda".into() }
    }

    fn signal(kind: &'static str, subject: Subject, severity: Severity) -> Signal {
        Signal { kind: SignalKind::new(kind), subject, severity, since: now(), detail: String::new() }
    }

    fn high() -> Signal {
        signal("disk_usage_high", root(), Severity::Warning)
    }

    fn busy() -> Signal {
        signal("disk_io_saturation", vda(), Severity::Warning)
    }

    fn sample() -> Sample {
        let mount = Mount {
            path: "/".into(),
            device: 1,
            source: "/dev/vda1".into(),
            fs_type: "ext4".into(),
            kind: FsKind::Local,
            read_only: false,
            also_at: vec![],
        };
        let usage = Observed::unavailable("not asked");
        let takes_writes = Observed::unavailable("not tried");
        let disks = vec!["vda1".into(), "vda".into()];
        let fs = FsSample { mount, usage, stuck_for_s: None, ext4_errors: Observed::fresh(0), takes_writes, disks };
        Sample {
            at: now(),
            filesystems: Observed::fresh(vec![fs]),
            disks: Observed::unavailable("not asked"),
            io_pressure: Observed::unavailable("not asked"),
            node_disk_pressure: Observed::unavailable("not asked"),
            stall: None,
            readings: crate::model::Readings::none("not asked"),
        }
    }

    /// `open / 2`, `signals / 0`, ...
    fn told(router: &mut Router, changes: Vec<Change>) -> Vec<String> {
        let told = router.route(changes, &sample()).into_iter();
        told.map(|r| match r {
            Routed::Open { subject, signals, .. } => format!("open {subject} {}", signals.len()),
            Routed::Signals { subject, signals, .. } => format!("signals {subject} {}", signals.len()),
            Routed::Unanswered(signal) => format!("unanswered {}", signal.kind),
        })
        .collect()
    }

    fn disk() -> RunbookId {
        RunbookId::new("disk")
    }

    #[test]
    fn signals_of_one_subject_are_one_episode() {
        let mut router = Router::default();
        let filling = signal("disk_filling", root(), Severity::Warning);
        assert_eq!(told(&mut router, vec![Change::Raised(high()), Change::Raised(filling.clone())]), ["open / 2"]);
        assert_eq!(told(&mut router, vec![Change::Raised(high())]), ["signals / 2"], "the same signal is not counted twice");
        assert_eq!(told(&mut router, vec![Change::Cleared(filling)]), ["signals / 1"]);
        assert_eq!(told(&mut router, vec![Change::Cleared(high())]), ["signals / 0"]);
    }

    #[test]
    fn what_stays_raised_opens_nothing_again_until_it_changes() {
        let mut router = Router::default();
        told(&mut router, vec![Change::Raised(high())]);
        assert_eq!(router.closed(&disk(), &root(), &[high()]), []);
        assert_eq!(told(&mut router, vec![]), [""; 0]);
        let worse = Signal { severity: Severity::Critical, ..high() };
        assert_eq!(told(&mut router, vec![Change::Raised(worse.clone())]), ["open / 1"]);
        router.closed(&disk(), &root(), &[worse]);
        assert_eq!(told(&mut router, vec![Change::Cleared(high())]), [""; 0]);
        assert_eq!(told(&mut router, vec![Change::Raised(high())]), ["open / 1"]);
    }

    /// The episode has made up its mind and writes down its end; what is told to it meanwhile is told to nobody.
    #[test]
    fn what_was_raised_while_the_episode_ended_gets_one_of_its_own() {
        let mut router = Router::default();
        told(&mut router, vec![Change::Raised(high())]);
        let filling = signal("disk_filling", root(), Severity::Warning);
        assert_eq!(told(&mut router, vec![Change::Raised(filling.clone())]), ["signals / 2"]);
        let again = router.closed(&disk(), &root(), &[high()]);
        let [Routed::Open { signals, .. }] = &again[..] else { panic!("it is lost") };
        assert_eq!(*signals, [high(), filling.clone()]);
        assert_eq!(told(&mut router, vec![Change::Raised(filling.clone())]), ["signals / 2"], "it is open");
        assert_eq!(router.closed(&disk(), &root(), &[high(), filling.clone()]), [], "now it was answered");

        let worse = Signal { severity: Severity::Critical, ..high() };
        assert_eq!(told(&mut router, vec![Change::Raised(worse)]), ["open / 2"]);
        assert_eq!(router.closed(&disk(), &root(), &[high(), filling]).len(), 1, "it knew of less");
        router.lost(&disk(), &root());
        assert_eq!(told(&mut router, vec![]), [""; 0], "a defect is not repeated");
        assert_eq!(router.afresh().len(), 1, "and not forgotten");
    }

    #[test]
    fn changed_circumstances_open_what_is_still_raised() {
        let mut router = Router::default();
        told(&mut router, vec![Change::Raised(high())]);
        assert_eq!(router.afresh(), [], "it is open");
        router.closed(&disk(), &root(), &[high()]);
        assert!(matches!(&router.afresh()[..], [Routed::Open { .. }]));
        assert_eq!(router.afresh(), []);
    }

    #[test]
    fn a_saturated_disk_joins_the_filesystem_that_is_being_healed_on_it() {
        let mut router = Router::default();
        told(&mut router, vec![Change::Raised(high())]);
        assert_eq!(told(&mut router, vec![Change::Raised(busy())]), ["signals / 2"]);
        assert_eq!(told(&mut router, vec![Change::Cleared(busy())]), ["signals / 1"]);
        assert_eq!(told(&mut Router::default(), vec![Change::Raised(busy())]), ["open disk vda 1"]);
    }

    fn saturated() -> Signal {
        signal("cpu_saturation", Subject::Host, Severity::Warning)
    }

    fn flat_out() -> Signal {
        signal("process_cpu_saturation", Subject::Process { pid: 7, start_ticks: 9, comm: "spin".into() }, Severity::Warning)
    }

    fn throttled() -> Signal {
        signal("cpu_throttle_high", Subject::Unit { name: "spin.service".into() }, Severity::Warning)
    }

    #[test]
    fn a_process_and_a_unit_join_the_host_that_is_being_healed() {
        let mut router = Router::default();
        assert_eq!(told(&mut router, vec![Change::Raised(saturated())]), ["open this host 1"]);
        assert_eq!(told(&mut router, vec![Change::Raised(flat_out()), Change::Raised(throttled())]), ["signals this host 3"]);
        assert_eq!(told(&mut router, vec![Change::Cleared(flat_out())]), ["signals this host 2"]);
        // The host's own first, in the same sample.
        assert_eq!(told(&mut Router::default(), vec![Change::Raised(saturated()), Change::Raised(flat_out())]), ["open this host 2"]);
    }

    /// The host was healed; what its diagnosis did not look at is each unit's own affair.
    #[test]
    fn a_unit_that_was_not_answered_gets_an_episode_of_its_own() {
        let cpu = RunbookId::new("cpu");
        let other = Signal { subject: Subject::Unit { name: "other.service".into() }, ..throttled() };
        let mut router = Router::default();
        told(&mut router, vec![Change::Raised(saturated()), Change::Raised(throttled()), Change::Raised(other.clone())]);
        let again = router.closed(&cpu, &Subject::Host, &[saturated(), throttled()]);
        let open = Routed::Open { runbook: cpu.clone(), subject: other.subject.clone(), signals: vec![other.clone()] };
        assert_eq!(again, [open]);
        assert_eq!(told(&mut router, vec![Change::Cleared(other.clone())]), ["signals other.service 0"], "it is told what becomes of it");
        assert_eq!(router.closed(&cpu, &other.subject, &[]), []);
        // What stays raised and was answered opens nothing, neither here nor there.
        assert_eq!(told(&mut router, vec![Change::Cleared(throttled()), Change::Cleared(saturated())]), [""; 0]);
    }

    #[test]
    fn a_process_is_an_episode_of_its_own_where_the_host_has_none_of_the_same_runbook() {
        let mut router = Router::default();
        assert_eq!(told(&mut router, vec![Change::Raised(flat_out())]), ["open spin (pid 7) 1"]);
        let other = signal("disk_pressure", Subject::Host, Severity::Critical);
        assert_eq!(
            told(&mut router, vec![Change::Raised(other), Change::Raised(throttled())]),
            ["open this host 1", "open spin.service 1"]
        );
        // An episode that has ended takes nobody in any more, though its signal is still raised.
        let mut ended = Router::default();
        told(&mut ended, vec![Change::Raised(saturated())]);
        ended.closed(&RunbookId::new("cpu"), &Subject::Host, &[saturated()]);
        assert_eq!(told(&mut ended, vec![Change::Raised(flat_out())]), ["open spin (pid 7) 1"]);
    }

    #[test]
    fn a_signal_without_a_runbook_is_told_and_not_lost() {
        let mut router = Router::default();
        assert_eq!(
            told(&mut router, vec![Change::Raised(signal("toothache", Subject::Host, Severity::Warning))]),
            ["unanswered toothache"]
        );
        assert!(router.cases.is_empty());
    }

    #[test]
    fn nothing_is_kept_of_what_is_over() {
        let mut router = Router::default();
        told(&mut router, vec![Change::Raised(high())]);
        told(&mut router, vec![Change::Cleared(high())]);
        router.closed(&disk(), &root(), &[high()]);
        assert!(router.cases.is_empty());
    }
}
