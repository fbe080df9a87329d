//! Under which name a browser may ask. Pages that only this host can reach are still read by any page that a browser on it has open, once that has
//! had its own name lead here (DNS rebinding); the name that was asked for gives it away.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::trouble::{AsPage, Trouble};

/// For a listener that asks nobody for a password.
pub async fn by_address_only(request: Request, next: Next) -> Response {
    if is_by_address(request.headers()) { next.run(request).await } else { AsPage(Trouble::other_name()).into_response() }
}

/// By an address or `localhost`; old clients name nothing, and are no browsers.
fn is_by_address(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else { return true };
    let Some(host) = host.to_str().ok().filter(|_| hosts.next().is_none()) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn addresses_and_localhost_and_no_other_name() {
        let asked = |host: &'static str| is_by_address(&HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]));
        for good in ["127.0.0.1:9636", "127.0.0.1", "localhost:1", "LocalHost", "[::1]:9636", "[::1]", "192.0.2.1:80"] {
            assert!(asked(good), "{good}");
        }
        for bad in ["evil.example:9636", "127.0.0.1.evil.example", "localhost.evil.example", "", "[evil]:1", ":9636"] {
            assert!(!asked(bad), "{bad}");
        }
        assert!(is_by_address(&HeaderMap::new()));
        let mut two = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("127.0.0.1"))]);
        two.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(!is_by_address(&two));
    }
}
