//! A heartbeat: how the host is, in the size that a collector takes. Pure.

use openssl::error::ErrorStack;

use super::identity::Key;
use super::run::{RecordNow, Standing};
use crate::model::Severity;
use crate::wire::collector::Heartbeat;

/// As JSON; a host with a thousand mounts that are all full says so of the first ones.
const MOST_BYTES: usize = 48 << 10;
const MOST_HELD_BY: usize = 16;
const LONGEST_HELD_BY: usize = 500;

/// # Errors
/// When OpenSSL cannot sign.
pub(super) fn heartbeat(standing: Standing, record: &RecordNow, key: &Key, sent_at: jiff::Timestamp) -> Result<Heartbeat, ErrorStack> {
    let Standing { about, mode, mut held_by, mut signals } = standing;
    held_by.extend(record.held_by.iter().cloned());
    held_by.truncate(MOST_HELD_BY);
    for why in &mut held_by {
        if let Some((end, _)) = why.char_indices().nth(LONGEST_HELD_BY) {
            why.truncate(end);
        }
    }
    signals.sort_by_key(|signal| signal.severity != Severity::Critical);
    let (seq, hash) = record.head;
    let mut beat = Heartbeat {
        about,
        stream: record.stream.clone(),
        sent_at,
        mode,
        held_by,
        signals,
        open_incidents: record.open_incidents,
        waiting: record.waiting,
        waiting_since: record.waiting_since,
        head: (seq > 0).then(|| key.sign(&record.stream, seq, &hash)).transpose()?,
    };
    while !beat.signals.is_empty() && serde_json::to_vec(&beat).is_ok_and(|json| json.len() > MOST_BYTES) {
        let half = beat.signals.len() / 2;
        beat.signals.truncate(half);
    }
    Ok(beat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, Now, Signal, SignalKind, Subject};
    use crate::uplink::{Identity, Secret, Setup};
    use crate::wire::collector::About;

    fn key() -> Key {
        let setup = Setup { collector: "https://c.example".into(), ca_file: None, proxy: None, insecure_plain_http: false };
        Identity::new(setup, &Secret::new("t")).unwrap().key().unwrap()
    }

    fn signal(n: usize, severity: Severity, detail: usize) -> Signal {
        let since = Now { wall: jiff::Timestamp::UNIX_EPOCH, boot: BootId("b".into()), uptime_s: 0.0 };
        Signal { kind: SignalKind(format!("kind_{n}").into()), subject: Subject::Host, severity, since, detail: "x".repeat(detail) }
    }

    fn made(signals: Vec<Signal>, held_by: Vec<String>, head: u64) -> Heartbeat {
        let about = About { hostname: "h".into(), version: "0".into(), boot_id: "b".into() };
        let standing = Standing { about, mode: "observe".into(), held_by, signals };
        let record = RecordNow {
            stream: "s".into(),
            head: (head, [1; 32]),
            open_incidents: 2,
            held_by: vec!["paused".into()],
            waiting: 3,
            waiting_since: None,
        };
        heartbeat(standing, &record, &key(), jiff::Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn the_head_is_signed_where_there_is_one() {
        assert_eq!(made(Vec::new(), Vec::new(), 0).head, None);
        let head = made(Vec::new(), Vec::new(), 9).head.expect("a head");
        assert_eq!((head.seq, head.signature.len()), (9, 128));
    }

    #[test]
    fn what_is_critical_is_said_first_and_the_rest_as_far_as_it_fits() {
        let signals = (0..1000).map(|n| signal(n, if n == 900 { Severity::Critical } else { Severity::Warning }, 300)).collect();
        let beat = made(signals, vec!["ä".repeat(90_000); 40], 1);
        assert!(serde_json::to_vec(&beat).unwrap().len() <= MOST_BYTES);
        assert!(beat.signals.len() > 10 && beat.signals[0].kind.0 == "kind_900");
        assert_eq!((beat.held_by.len(), beat.held_by[0].chars().count()), (MOST_HELD_BY, LONGEST_HELD_BY));
        let few = made(vec![signal(1, Severity::Warning, 9), signal(2, Severity::Warning, 9)], vec!["why".into()], 1);
        assert_eq!((few.signals.len(), few.held_by), (2, vec!["why".to_owned(), "paused".to_owned()]));
    }
}
