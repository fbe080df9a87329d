//! The node's DiskPressure condition, from a Node object served over plain HTTP on this host (`kubectl proxy`).

use std::time::Duration;

use serde::Deserialize;

use super::{Read, ReadError, http};

pub(super) const DEADLINE: Duration = Duration::from_secs(2);

/// Blocks.
pub(super) fn read_disk_pressure(url: &str) -> Read<bool> {
    http::waiting(url, DEADLINE, async { parse_disk_pressure(&http::get(url, "application/json").await?) })
}

#[derive(Deserialize)]
struct Node {
    status: Status,
}
#[derive(Deserialize)]
struct Status {
    conditions: Vec<Condition>,
}
#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

/// Total. A condition that is absent or `Unknown` is an error, not false.
pub(super) fn parse_disk_pressure(bytes: &[u8]) -> Read<bool> {
    let damaged = |why: String| ReadError::Parse { what: "Node object".to_owned(), why };
    let node: Node = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
    let condition = node.status.conditions.iter().find(|c| c.r#type == "DiskPressure");
    match condition.map(|c| c.status.as_str()) {
        Some("True") => Ok(true),
        Some("False") => Ok(false),
        Some(other) => Err(damaged(format!("DiskPressure is {other}"))),
        None => Err(damaged("no DiskPressure condition".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::http::tests::{ok, serve};
    use super::*;
    use proptest::prelude::*;

    const PATH: &str = "/api/v1/nodes/n1";

    fn node(status: &str) -> String {
        format!(
            r#"{{"kind":"Node","status":{{"conditions":[{{"type":"Ready","status":"True"}},{{"type":"DiskPressure","status":"{status}"}}]}}}}"#
        )
    }

    #[test]
    fn the_condition_is_read_over_http() {
        for (status, expected) in [("True", true), ("False", false)] {
            let (url, served) = serve(PATH, ok(&node(status)));
            assert_eq!(read_disk_pressure(&url).unwrap(), expected);
            assert!(served.join().unwrap().starts_with("GET /api/v1/nodes/n1 HTTP/1.1\r\n"));
        }
    }

    #[test]
    fn no_answer_is_not_no_pressure() {
        let (url, served) = serve(PATH, None);
        assert!(matches!(read_disk_pressure(&url), Err(ReadError::Stuck { .. })));
        served.join().unwrap();
        let (url, _served) = serve(PATH, Some("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".into()));
        assert!(read_disk_pressure(&url).unwrap_err().to_string().contains("403"));
        assert!(read_disk_pressure("https://127.0.0.1:1/").unwrap_err().to_string().contains("plain http"));
        assert!(parse_disk_pressure(node("Unknown").as_bytes()).is_err());
        assert!(parse_disk_pressure(br#"{"status":{"conditions":[]}}"#).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_disk_pressure(&bytes);
        }
    }
}
