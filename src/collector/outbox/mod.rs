//! What goes out: rows that the ingest has written, sent one by one until somebody has taken them or everybody has had enough.
//!
//! [`message`] is what is told, [`worker`] takes what is due, [`sink`] is where it goes, [`retry`] says when it is tried again. Nothing is lost by a crash; what was sent
//! and not written down is sent once more, under the same name.

pub mod message;
pub mod retry;
mod sink;
mod worker;

use jiff::Timestamp;

pub use sink::{File, Sink, Sinks, Stdout, sinks};
pub use worker::{Running, Turn, Worker};

/// One message to one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its row.
    pub id: u64,
    pub destination: String,
    pub agent_id: String,
    pub incident: String,
    /// `escalated` or `closed`.
    pub about: String,
    /// The row of the host's record that it comes from.
    pub stream: String,
    pub seq: u64,
    /// A JSON object.
    pub payload: String,
    /// Tries that were begun, this one included.
    pub tries: u64,
    pub created_at: Timestamp,
}

impl Letter {
    /// The same however often it is sent: of what it tells, not of its row here. Whoever gets two of one name has got one twice.
    pub fn name(&self) -> String {
        format!("{}-{}-{}", self.agent_id, self.stream, self.seq)
    }

    /// The payload as one line of JSON with `id`, which is its name unless the payload has one of its own.
    pub fn line(&self) -> String {
        let one = match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.payload) {
            // As it was written, where that is one line already.
            Ok(map) if map.contains_key("id") && !self.payload.contains('\n') => return format!("{}\n", self.payload.trim()),
            Ok(map) => map,
            Err(_) => [("text".to_owned(), serde_json::Value::from(self.payload.clone()))].into_iter().collect(),
        };
        let mut all = serde_json::Map::from_iter([("id".to_owned(), serde_json::Value::from(self.name()))]);
        all.extend(one);
        format!("{}\n", serde_json::Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letter(payload: &str) -> Letter {
        let [destination, agent_id, incident, about, stream] = ["journal", "a1", "disk-1", "escalated", "s1"].map(String::from);
        let payload = payload.to_owned();
        Letter { id: 7, destination, agent_id, incident, about, stream, seq: 9, payload, tries: 1, created_at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_line_has_a_name_that_does_not_depend_on_the_try() {
        assert_eq!(letter("{\"what\":1}").line(), "{\"id\":\"a1-s1-9\",\"what\":1}\n");
        assert_eq!(Letter { id: 8, tries: 3, ..letter("{}") }.line(), letter("{}").line());
        assert_eq!(letter("{\"z\":1,\"id\":\"own\"}").line(), "{\"z\":1,\"id\":\"own\"}\n");
        assert_eq!(letter("{\n \"id\": \"own\"\n}").line(), "{\"id\":\"own\"}\n");
    }

    proptest! {
        #[test]
        fn whatever_a_payload_is_it_becomes_one_line_of_json(payload: String, text: String) {
            for payload in [payload, serde_json::json!({"text": text}).to_string()] {
                let line = letter(&payload).line();
                prop_assert_eq!(line.matches('\n').count(), 1);
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                prop_assert!(value.get("id").is_some());
            }
        }
    }
}
