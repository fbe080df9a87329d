//! How many requests services have answered, by their own word: one counter of each, from where it is exposed to Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Read, ReadError, http};
use crate::model::RequestCount;

/// Of all that are asked: they are asked at the same time.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// In both exposition formats a service is given what it prefers among these; each is lines of `name{labels} value`.
const ACCEPT: &str = "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5";

/// `asked`: by unit, where and what: `http://127.0.0.1:8080/metrics#http_requests_total`. Blocks.
pub(super) fn read_requests(asked: &BTreeMap<String, String>) -> Read<Vec<RequestCount>> {
    // Each has its own deadline, and the whole a little more.
    http::waiting("counters of requests", DEADLINE + Duration::from_secs(1), async {
        let under_way: Vec<_> = asked.values().cloned().map(|at| tokio::spawn(async move { ask(&at).await })).collect();
        let mut counts = Vec::new();
        for ((unit, at), answer) in asked.iter().zip(under_way) {
            let total = answer.await.unwrap_or_else(|e| Err(ReadError::NotHere { what: at.clone(), why: e.to_string() }));
            counts.push(RequestCount { unit: unit.clone(), total: total.into() });
        }
        Ok(counts)
    })
}

async fn ask(at: &str) -> Read<f64> {
    let stuck = || ReadError::Stuck { what: at.to_owned(), for_s: DEADLINE.as_secs_f64() };
    let (url, metric) = at.split_once('#').unwrap_or((at, ""));
    let page = tokio::time::timeout(DEADLINE, http::get(url, ACCEPT)).await.map_err(|_| stuck())??;
    parse_total(&page, metric).ok_or_else(|| ReadError::Parse { what: url.to_owned(), why: format!("there is no counter {metric}") })
}

/// Total. The sum over all labels; `None` when there is none of that name, or one that is no count.
pub(super) fn parse_total(page: &[u8], metric: &str) -> Option<f64> {
    let mut total = None;
    for line in page.split(|b| *b == b'\n') {
        let Some(rest) = line.strip_prefix(metric.as_bytes()).filter(|_| !metric.is_empty()) else { continue };
        let value = match rest.first() {
            Some(b' ' | b'\t') => rest,
            Some(b'{') => after_labels(rest)?,
            // Another name that begins like this one.
            _ => continue,
        };
        let value: f64 = std::str::from_utf8(value).ok()?.split_ascii_whitespace().next()?.parse().ok()?;
        if !value.is_finite() || value < 0.0 {
            return None;
        }
        total = Some(total.unwrap_or(0.0) + value);
    }
    total
}

/// What follows the bracket that closes the labels: in their values, which are quoted, a bracket closes nothing.
fn after_labels(labels: &[u8]) -> Option<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in labels.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return labels.get(at + 1..),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::http::tests::{ok, serve};
    use super::*;
    use proptest::prelude::*;

    const PAGE: &str = "# HELP http_requests_total All.\n# TYPE http_requests_total counter\n\
        http_requests_total{code=\"200\",path=\"/a}b \\\" 7\"} 1027 1395066363000\nhttp_requests_total{code=\"500\"} 3 # {id=\"x\"} 1\n\
        http_requests_total_other 9\nup 1\n";

    #[test]
    fn a_counter_is_summed_over_its_labels() {
        assert_eq!(parse_total(PAGE.as_bytes(), "http_requests_total"), Some(1030.0));
        assert_eq!(parse_total(PAGE.as_bytes(), "up"), Some(1.0));
        assert_eq!(parse_total(b"x_total 1.5e3", "x_total"), Some(1500.0));
        for (page, metric) in
            [(PAGE, "http_requests"), (PAGE, ""), ("x NaN", "x"), ("x -1", "x"), ("x{a=\"} 1", "x"), ("x", "x"), ("x ", "x")]
        {
            assert_eq!(parse_total(page.as_bytes(), metric), None, "{metric}");
        }
    }

    #[test]
    fn each_is_told_for_itself() {
        let (shop, asked) = serve("/metrics", ok(PAGE));
        let (hangs, hung) = serve("/metrics", None);
        let (other, _) = serve("/metrics", ok("up 1\n"));
        let all = [("shop", &shop), ("hangs", &hangs), ("other", &other)];
        let all = all.map(|(name, url)| (format!("{name}.service"), format!("{url}#http_requests_total"))).into();
        let counts = read_requests(&all).unwrap();
        let told: Vec<_> = counts.iter().map(|c| (c.unit.as_str(), c.total.value().copied(), c.total.why().unwrap_or_default())).collect();
        let [("hangs.service", None, hangs), ("other.service", None, other), ("shop.service", Some(1030.0), "")] = &told[..] else {
            panic!("{told:?}")
        };
        assert!(hangs.contains("has not answered") && other.contains("there is no counter http_requests_total"), "{told:?}");
        assert!(asked.join().unwrap().starts_with("GET /metrics HTTP/1.1\r\n"));
        hung.join().unwrap();
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            prop_assert!(parse_total(&bytes, "x").is_none_or(|total| total >= 0.0));
        }
    }
}
