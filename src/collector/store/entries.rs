//! The rows of one incident as the entries that they were written from.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::columns::time;
use crate::model::{Body, BootId, Entry, IncidentId, Now};

/// Rows, and bytes of their bodies, that one page shows at most: a host that has gone mad must not take the collector with it.
pub(super) const MOST_ROWS: usize = 5_000;
const MOST_BYTES: usize = 16 << 20;

pub(super) const ROWS: &str = "SELECT r.seq, r.kind, r.at, r.body, r.received_at
     FROM records r JOIN streams s ON s.agent_id = r.agent_id AND s.stream = r.stream
     WHERE r.agent_id = ?1 AND r.incident = ?2 ORDER BY s.first_seen, r.stream, r.seq LIMIT ?3";

#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) entries: Vec<Entry>,
    /// Evidence whose body stays on the host, by number.
    pub(super) on_the_host: Vec<u64>,
}

/// A row as it stands in the table.
#[derive(Debug, Clone)]
struct Written {
    seq: u64,
    kind: String,
    at: String,
    body: Option<String>,
    received_at: Timestamp,
}

pub(super) fn of(conn: &Connection, agent_id: &str, incident: &str) -> rusqlite::Result<Story> {
    let id = IncidentId(incident.to_owned());
    let mut story = Story::default();
    let (mut rows, mut bytes) = (0, 0);
    let mut read = conn.prepare(ROWS)?;
    let mut read = read.query(params![agent_id, incident, MOST_ROWS as i64 + 1])?;
    while let Some(r) = read.next()? {
        let row =
            Written { seq: r.get::<_, i64>(0)?.cast_unsigned(), kind: r.get(1)?, at: r.get(2)?, body: r.get(3)?, received_at: time(r, 4)? };
        rows += 1;
        bytes += row.body.as_ref().map_or(0, String::len);
        if rows > MOST_ROWS || bytes > MOST_BYTES {
            let text = format!("there are more rows of this incident than are shown here: these are the first {}", rows - 1);
            story.entries.push(note(&row, &id, None, text));
            break;
        }
        story.take(row, &id);
    }
    Ok(story)
}

impl Story {
    fn take(&mut self, row: Written, incident: &IncidentId) {
        let at = serde_json::from_str::<Now>(&row.at).ok();
        let (kind, seq) = (&row.kind, row.seq);
        let entry = match (&row.body, at) {
            (None, _) if kind == Body::EVIDENCE => {
                self.on_the_host.push(seq);
                return;
            }
            (None, at) => {
                let text = format!("the {kind} of this moment (row {seq}) is not here: it was too large to send, or dropped to save room");
                note(&row, incident, at, text)
            }
            (Some(_), None) => note(&row, incident, None, format!("the {kind} of row {seq} has no time that can be read")),
            (Some(body), Some(at)) => match serde_json::from_str(body) {
                Ok(body) => Entry { seq, incident: incident.clone(), at, body },
                Err(e) => {
                    let text = format!("the {kind} of row {seq} cannot be read by this version of the collector: {e}");
                    note(&row, incident, Some(at), text)
                }
            },
        };
        self.entries.push(entry);
    }
}

/// In a row's place. Without its own time it stands where it arrived.
fn note(row: &Written, incident: &IncidentId, at: Option<Now>, text: String) -> Entry {
    let at = at.unwrap_or_else(|| Now { wall: row.received_at, boot: BootId(String::new()), uptime_s: 0.0 });
    Entry { seq: row.seq, incident: incident.clone(), at, body: Body::Note { text } }
}

#[cfg(test)]
mod tests {
    use super::super::test_file::{AT, Made, agent};
    use super::*;

    fn texts(story: &Story) -> Vec<(u64, &str)> {
        let text = |e: &Entry| match &e.body {
            Body::Note { text } => (e.seq, text.clone()),
            other => panic!("{other:?}"),
        };
        let texts: Vec<(u64, String)> = story.entries.iter().map(text).collect();
        texts.into_iter().map(|(seq, text)| (seq, &*text.leak())).collect()
    }

    #[test]
    fn rows_are_told_stream_by_stream_in_the_order_of_the_host() {
        let made = Made::new();
        let id = agent("a");
        made.agent("a");
        let note = |n: u64| (n, "note", Some(format!(r#"{{"note":{{"text":"row {n}"}}}}"#)));
        // The newer stream has the smaller name, and its rows arrived first.
        made.rows(&id, "a-new", 2_000, "disk-1", &[note(1), note(2)]);
        made.rows(&id, "b-old", 1_000, "disk-1", &[note(1), note(2)]);
        made.rows(&id, "b-old", 1_000, "disk-2", &[note(3)]);
        made.sql("UPDATE records SET body = replace(body, 'row', 'old') WHERE stream = 'b-old'");
        let conn = made.conn();
        let story = of(&conn, &id, "disk-1").unwrap();
        assert_eq!(texts(&story), [(1, "old 1"), (2, "old 2"), (1, "row 1"), (2, "row 2")]);
        assert!(of(&conn, &id, "disk-9").unwrap().entries.is_empty());
    }

    #[test]
    fn what_is_not_here_or_cannot_be_read_is_said() {
        let made = Made::new();
        let id = agent("a");
        made.agent("a");
        let rows = [
            (1, "evidence", None),
            (2, "decision", None),
            (3, "closed", Some("{\"closed\":7}".into())),
            (4, "note", Some("{\"note\":{\"text\":\"x\"}}".into())),
            (5, "evidence", None),
        ];
        made.rows(&id, "s", 1_000, "disk-1", &rows);
        made.sql("UPDATE records SET at = 'null' WHERE seq = 4");
        let story = of(&made.conn(), &id, "disk-1").unwrap();
        assert_eq!(story.on_the_host, [1, 5]);
        let told = texts(&story);
        assert_eq!(told.iter().map(|t| t.0).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(told[0].1.starts_with("the decision of this moment (row 2) is not here"), "{told:?}");
        assert!(told[1].1.starts_with("the closed of row 3 cannot be read"), "{told:?}");
        assert!(told[2].1.contains("no time that can be read"), "{told:?}");
        assert_eq!(story.entries[0].at, serde_json::from_str(AT).unwrap());
    }

    #[test]
    fn an_incident_without_end_is_shown_as_far_as_a_page_goes() {
        let made = Made::new();
        let id = agent("a");
        made.agent("a");
        let rows: Vec<_> = (1..=MOST_ROWS as u64 + 10).map(|n| (n, "note", Some(r#"{"note":{"text":"x"}}"#.to_owned()))).collect();
        made.rows(&id, "s", 1_000, "disk-1", &rows);
        let story = of(&made.conn(), &id, "disk-1").unwrap();
        assert_eq!(story.entries.len(), MOST_ROWS + 1);
        assert!(texts(&story)[MOST_ROWS].1.contains("first 5000"));
    }
}
