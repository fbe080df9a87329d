//! Where pages lie. Whatever is put into an address is encoded here, and filters live in the address alone.

use std::fmt;

use super::super::view::{FleetAsk, IncidentsAsk};

/// A part of a path that is longer than this is nobody's id.
const MOST: usize = 200;

/// An address on this listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Href(String);

impl fmt::Display for Href {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&'static str> for Href {
    fn from(path: &'static str) -> Self {
        Self(path.to_owned())
    }
}

impl Href {
    /// `/incidents/a/b` + `/postmortem`.
    pub(super) fn below(&self, rest: &'static str) -> Self {
        Self(format!("{}{rest}", self.0))
    }

    /// The same as JSON.
    pub(super) fn json(&self) -> Self {
        match self.0.strip_prefix("/?") {
            Some(query) => Self(format!("/api/v1/fleet?{query}")),
            None if self.0 == "/" => Self("/api/v1/fleet".into()),
            None => Self(format!("/api/v1{}", self.0)),
        }
    }
}

/// All but unreserved letters as `%XX`.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
        out
    })
}

/// `None` where a browser would make another path of it: these two mean folders, however they are written.
fn segment(id: &str) -> Option<String> {
    (!matches!(id, "" | "." | "..") && id.len() <= MOST).then(|| encoded(id))
}

pub(super) fn host(agent_id: &str) -> Option<Href> {
    Some(Href(format!("/hosts/{}", segment(agent_id)?)))
}

pub(super) fn incident(agent_id: &str, incident: &str) -> Option<Href> {
    Some(Href(format!("/incidents/{}/{}", segment(agent_id)?, segment(incident)?)))
}

pub(super) fn fleet(ask: &FleetAsk) -> Href {
    let page = page(ask.page);
    with("/", &[("name", ask.name.as_deref()), ("standing", ask.standing.map(|s| s.as_str())), ("page", page.as_deref())])
}

pub(super) fn incidents(ask: &IncidentsAsk) -> Href {
    let page = page(ask.page);
    let flag = |set: bool| set.then_some("1");
    with(
        "/incidents",
        &[
            ("open", flag(ask.open)),
            ("escalated", flag(ask.escalated)),
            ("runbook", ask.runbook.as_deref()),
            ("host", ask.agent_id.as_deref()),
            ("page", page.as_deref()),
        ],
    )
}

/// The first page has no number, so that one list has one address.
fn page(number: u64) -> Option<String> {
    (number > 1).then(|| number.to_string())
}

fn with(path: &str, query: &[(&str, Option<&str>)]) -> Href {
    let pairs: Vec<String> = query.iter().filter_map(|(key, value)| Some(format!("{key}={}", encoded((*value)?)))).collect();
    Href(if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::view::Standing;

    #[test]
    fn an_id_stays_one_part_of_a_path() {
        assert_eq!(incident("a/b", "x?y#z ä").map(|h| h.to_string()), Some("/incidents/a%2Fb/x%3Fy%23z%20%C3%A4".into()));
        for lost in ["", ".", "..", &"x".repeat(MOST + 1)] {
            assert_eq!((host(lost), incident("a", lost)), (None, None), "{lost:?}");
        }
    }

    #[test]
    fn one_list_has_one_address() {
        assert_eq!(fleet(&FleetAsk { page: 1, ..FleetAsk::default() }).to_string(), "/");
        let ask = FleetAsk { name: Some("a&b".into()), standing: Some(Standing::Silent), page: 3 };
        assert_eq!(fleet(&ask).to_string(), "/?name=a%26b&standing=silent&page=3");
        assert_eq!(fleet(&ask).json().to_string(), "/api/v1/fleet?name=a%26b&standing=silent&page=3");
        let ask = IncidentsAsk { open: true, runbook: Some("disk".into()), ..IncidentsAsk::default() };
        assert_eq!(incidents(&ask).json().to_string(), "/api/v1/incidents?open=1&runbook=disk");
    }
}
