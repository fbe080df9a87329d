//! What a scraper can read, from its `Accept` and `Accept-Encoding`. Pure.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};

use crate::metrics::{Encoding, Format};

/// OpenMetrics where it is asked for by name and liked no less than text; text for everybody else.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let (mut openmetrics, mut text) = (0.0_f64, None);
    let mut closest = 0;
    each(headers, &ACCEPT, |range, parameters, q| {
        let version = parameters.iter().find_map(|(name, value)| name.eq_ignore_ascii_case("version").then_some(*value));
        let closeness = match range.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => return openmetrics = openmetrics.max(q),
            "text/plain" if matches!(version, None | Some("0.0.4")) => 3,
            "text/*" => 2,
            "*/*" => 1,
            _ => return,
        };
        if closeness > closest {
            (closest, text) = (closeness, Some(q));
        }
    });
    if openmetrics > 0.0 && openmetrics >= text.unwrap_or(0.0) { Format::OpenMetrics } else { Format::Text }
}

/// The encoding that is liked best; `None` when the scraper refuses all there are. Packed only where it is asked for by name.
pub(super) fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let (mut zstd, mut gzip, mut identity, mut any) = (0.0, 0.0, None, None);
    each(headers, &ACCEPT_ENCODING, |coding, _, q| match coding.to_ascii_lowercase().as_str() {
        "zstd" => zstd = q,
        "gzip" | "x-gzip" => gzip = q,
        "identity" => identity = Some(q),
        "*" => any = Some(q),
        _ => {}
    });
    // Not named it is as good as any other answer is not at all.
    let identity = identity.or(any).unwrap_or(f64::MIN_POSITIVE);
    let mut best = None;
    for (encoding, q) in [(Encoding::Zstd, zstd), (Encoding::Gzip, gzip), (Encoding::Identity, identity)] {
        if q > 0.0 && best.is_none_or(|(_, than)| q > than) {
            best = Some((encoding, q));
        }
    }
    best.map(|(encoding, _)| encoding)
}

/// Every member of a list header with its parameters and its weight; one whose weight is no number is not asked for.
fn each<'a>(headers: &'a HeaderMap, name: &HeaderName, mut told: impl FnMut(&'a str, &[(&'a str, &'a str)], f64)) {
    for member in headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let mut parts = member.split(';').map(str::trim);
        let Some(what) = parts.next().filter(|what| !what.is_empty()) else { continue };
        let parameters: Vec<(&str, &str)> =
            parts.filter_map(|p| p.split_once('=')).map(|(n, v)| (n.trim(), v.trim().trim_matches('"'))).collect();
        let q = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("q"));
        let q = q.map_or(1.0, |(_, value)| value.parse::<f64>().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0));
        told(what, &parameters, q);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn asking(name: HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_str(line).expect("a header"))).collect()
    }

    #[test]
    fn openmetrics_only_when_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (&[][..], Format::Text),
            (&["*/*"], Format::Text),
            (&["text/html, */*;q=0.8"], Format::Text),
            (&["application/json"], Format::Text),
            (&[prometheus], Format::OpenMetrics),
            (&["application/openmetrics-text"], Format::OpenMetrics),
            (&["Application/OpenMetrics-Text; version=\"1.0.0\"; charset=utf-8"], Format::OpenMetrics),
            (&["application/openmetrics-text;q=0"], Format::Text),
            (&["application/openmetrics-text;version=2.0.0"], Format::Text),
            (&["application/openmetrics-text;q=0.4, text/plain"], Format::Text),
            (&["application/openmetrics-text;q=0.4, text/plain;q=0.1, */*"], Format::OpenMetrics),
            (&["text/plain;q=0.2", "application/openmetrics-text;q=0.3"], Format::OpenMetrics),
            (&["application/openmetrics-text;q=much"], Format::Text),
        ] {
            assert_eq!(super::format(&asking(ACCEPT, accept)), format, "{accept:?}");
        }
    }

    #[test]
    fn encodings_only_when_asked_for_and_never_when_refused() {
        for (accept, encoding) in [
            (&[][..], Some(Encoding::Identity)),
            (&[""], Some(Encoding::Identity)),
            (&["gzip"], Some(Encoding::Gzip)),
            (&["gzip, zstd"], Some(Encoding::Zstd)),
            (&["gzip;q=1.0, zstd;q=0.5"], Some(Encoding::Gzip)),
            (&["gzip;q=0"], Some(Encoding::Identity)),
            (&["gzip;q=0, zstd"], Some(Encoding::Zstd)),
            (&["br, deflate"], Some(Encoding::Identity)),
            (&["*"], Some(Encoding::Identity)),
            (&["gzip;q=0.001"], Some(Encoding::Gzip)),
            (&["identity, gzip;q=0.5"], Some(Encoding::Identity)),
            (&["identity;q=0, gzip;q=0.5"], Some(Encoding::Gzip)),
            (&["*;q=0, X-GZIP"], Some(Encoding::Gzip)),
            (&["identity;q=0"], None),
            (&["*;q=0"], None),
            (&["gzip;q=0", "identity;q=0"], None),
        ] {
            assert_eq!(super::encoding(&asking(ACCEPT_ENCODING, accept)), encoding, "{accept:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_gets_an_answer(value in "[ -~]{0,60}") {
            super::format(&asking(ACCEPT, &[&value]));
            super::encoding(&asking(ACCEPT_ENCODING, &[&value]));
        }
    }
}
