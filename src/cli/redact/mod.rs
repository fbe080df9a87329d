//! Takes names and secrets out of a record before it leaves the host. The same name gets the same mask everywhere, and masks sort
//! as the names did, so that what is decided from masked evidence is the masked decision.
//!
//! Known by form, so never complete: private keys, `password=...` and the like, access keys, addresses, host names, home
//! directories, registries. What is masked is never part of an escape of a path.

mod scan;
mod secrets;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What can be masked. Secrets are removed whatever happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Host,
    User,
    Address,
    Mail,
    Registry,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Self::Host, Self::User, Self::Address, Self::Mail, Self::Registry];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::User => "user",
            Self::Address => "address",
            Self::Mail => "mail",
            Self::Registry => "registry",
        }
    }
}

#[derive(Debug)]
pub struct Redactor {
    /// The host's own names, longest first.
    hosts: Vec<String>,
    kinds: Vec<Kind>,
    names: BTreeMap<Kind, BTreeSet<String>>,
    seen: RefCell<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    names: BTreeMap<Kind, BTreeSet<String>>,
    secrets: u64,
}

/// Whole texts of this form are names of ours (`log_growth`, `compress_logs`) and stay, except where a path or a name is meant.
fn is_identifier(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

const NAMING_KEYS: [&str; 8] = ["path", "root", "mount", "what", "source", "host", "user", "growing"];

impl Redactor {
    /// Learns the names in `record` that are of one of `kinds`; `host` is this host's own name.
    pub fn learn(record: &Value, host: &str, kinds: &[Kind]) -> Self {
        let mut hosts = vec![host.to_owned()];
        hosts.extend(host.split_once('.').map(|(short, _)| short.to_owned()));
        // Names that are words of every record would only make it unreadable.
        hosts.retain(|h| h.len() > 2 && !["localhost", "host", "disk", "root", "home", "var", "log", "tmp"].contains(&h.as_str()));
        let mut learning = Self { hosts, kinds: kinds.to_vec(), names: BTreeMap::new(), seen: RefCell::default() };
        // Twice: a user is known from /home/NAME, and may be named before.
        for _ in 0..2 {
            learning.value("", record);
            let seen = learning.seen.take();
            learning.names = seen.names;
        }
        learning
    }

    /// The same record without those names.
    pub fn value(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if secrets::is_secret_key(key) && !text.is_empty() => self.removed(),
            Value::String(text) if is_identifier(text) && !NAMING_KEYS.contains(&key) => value.clone(),
            Value::String(text) => Value::String(self.text(key, text)),
            Value::Array(list) => Value::Array(list.iter().map(|v| self.value(key, v)).collect()),
            Value::Object(map) => {
                let masked = |k: &String| if is_identifier(k) { k.clone() } else { self.text("", k) };
                Value::Object(map.iter().map(|(k, v)| (masked(k), self.value(k, v))).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// How many names of each kind, and how many secrets, were met since it had learned.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let seen = self.seen.borrow();
        let names = seen.names.iter().map(|(kind, names)| (kind.as_str().to_owned(), names.len() as u64));
        names.chain((seen.secrets > 0).then(|| ("secret".to_owned(), seen.secrets))).collect()
    }

    fn text(&self, key: &str, text: &str) -> String {
        let text = secrets::remove(text, || self.seen.borrow_mut().secrets += 1);
        let text = scan::urls(&text, self);
        let text = scan::remote_source(key, &text, self);
        let text = if matches!(key, "tags" | "digests") { scan::registry(&text, self) } else { text };
        let text = scan::homes(&text, self);
        let text = scan::users(&text, self);
        let text = scan::own_names(&text, self);
        scan::words(&text, self)
    }

    fn removed(&self) -> Value {
        self.seen.borrow_mut().secrets += 1;
        Value::String(secrets::REMOVED.into())
    }

    /// `user-1`, ranked among all names of its kind so that masks sort as names do.
    fn mask(&self, kind: Kind, name: &str) -> String {
        if !self.kinds.contains(&kind) || scan::is_mask(name) {
            return name.to_owned();
        }
        self.seen.borrow_mut().names.entry(kind).or_default().insert(name.to_owned());
        let known = self.names.get(&kind);
        let rank = known.and_then(|names| names.iter().position(|n| n == name)).map_or(0, |at| at + 1);
        let width = known.map_or(1, |names| names.len().to_string().len());
        format!("{}-{rank:0width$}", kind.as_str())
    }

    fn users(&self) -> impl Iterator<Item = &str> {
        self.names.get(&Kind::User).into_iter().flatten().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redacted(record: &Value) -> Value {
        Redactor::learn(record, "db1.prod.example.com", &Kind::ALL).value("", record)
    }

    fn text(text: &str) -> String {
        redacted(&json!([text]))[0].as_str().unwrap().to_owned()
    }

    #[test]
    fn names_and_addresses() {
        assert_eq!(text("db1 is full, db1x is not"), "host-1 is full, db1x is not");
        assert_eq!(
            text("from 10.1.2.3:8080 and fe80::1%eth0 but not 127.0.0.1 at 21:55:06"),
            "from address-1:8080 and address-2 but not 127.0.0.1 at 21:55:06"
        );
        assert_eq!(text("mail ops@example.com about web3.example.com"), "mail mail-1 about host-1");
        assert_eq!(
            text("/var/log/nginx.service.log of getty@tty1.service 6.1.0-25"),
            "/var/log/nginx.service.log of getty@tty1.service 6.1.0-25"
        );
        assert_eq!(text("https://bob:hunter2@git.corp.internal/x"), "https://[removed]@host-1/x");
        assert_eq!(text("see /var/log/www.example.com-access.log.1"), "see /var/log/host-1-access.log.1");
        assert_eq!(text("52:54:00:12:34:56 is up"), "address-1 is up");
    }

    #[test]
    fn secrets_are_removed() {
        assert_eq!(
            text("db_password=hun/ter2 and token: abc, AKIAABCDEFGHIJKLMNOP"),
            "db_password=[removed] and token: [removed], [removed]"
        );
        assert_eq!(text("Authorization: Bearer eyJhbGciOi.x.y end"), "Authorization: [removed] end");
        assert_eq!(text("a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb"), "a [removed]\nb");
        assert_eq!(text("-----BEGIN PRIVATE KEY-----\\x0aMIIE"), "[removed]");
        assert_eq!(redacted(&json!({"api_key": "x"})), json!({"api_key": "[removed]"}));
    }

    #[test]
    fn users_are_masked_alike_in_paths_and_sort_as_before() {
        let record =
            json!({"root": "/home", "files": [{"path": "alice/x"}, {"path": "bob/y"}], "note": "/home/bob/y, /home/alice/z\\x0a.log"});
        let expected = json!({"root": "/home", "files": [{"path": "user-1/x"}, {"path": "user-2/y"}], "note": "/home/user-2/y, /home/user-1/z\\x0a.log"});
        assert_eq!(redacted(&record), expected);
    }

    #[test]
    fn our_own_words_and_times_stay() {
        let record = json!({"class": "log_growth", "at": "2026-11-21T21:55:06.123Z", "id": "sha256:0a1b", "boot": "0c5e7f0e-7a7c-4a70-9d0f-6f3a5b1c2d3e"});
        assert_eq!(redacted(&record), record);
        assert_eq!(Redactor::learn(&json!({"kind": "db1"}), "db1", &Kind::ALL).value("", &json!({"kind": "db1"})), json!({"kind": "db1"}));
    }

    #[test]
    fn private_registries_are_masked_and_public_ones_are_not() {
        let record = json!({"tags": ["registry.corp:5000/team/app:1", "docker.io/library/nginx:1", "app:2"]});
        assert_eq!(redacted(&record), json!({"tags": ["registry-1/team/app:1", "docker.io/library/nginx:1", "app:2"]}));
    }

    #[test]
    fn redacting_twice_changes_nothing_more() {
        let record = json!({"source": "nfs1:/export", "t": "/home/alice/10.0.0.7/db1.log password=x", "tags": ["a.b:1/c"]});
        let once = redacted(&record);
        assert_eq!(
            once,
            json!({"source": "host-2:/export", "t": "/home/user-1/address-1/host-1.log password=[removed]", "tags": ["registry-1/c"]})
        );
        assert_eq!(redacted(&once), once);
    }

    proptest::proptest! {
        /// A path's escapes stay whole, whatever the name holds.
        #[test]
        fn a_path_stays_a_path(bytes: Vec<u8>) {
            let mut path = b"/home/".to_vec();
            path.extend(bytes);
            let path = crate::model::HostPath::from_bytes(path).to_string();
            let masked = redacted(&json!({"path": path}));
            proptest::prop_assert!(crate::model::HostPath::unescape(masked["path"].as_str().unwrap()).is_some());
        }
    }
}
