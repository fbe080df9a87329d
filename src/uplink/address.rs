//! Where a collector is, or a proxy on the way to it. Pure.

use std::net::{IpAddr, Ipv6Addr};

/// `https://HOST[:PORT][/PREFIX]`; plain HTTP only where nobody else can listen, or somebody has said that he accepts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whoever answers proves who he is, and nobody reads along.
    pub tls: bool,
    /// A name, or a number without brackets.
    pub host: String,
    pub port: u16,
    /// Before every path: empty, or `/` and more, without one at its end.
    prefix: String,
}

/// The text names what is wrong and never repeats the address: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("is no address: write https://HOST[:PORT][/PREFIX]")]
    NoAddress,
    #[error("has a user or a password in it: the token and the credential are all that a collector asks for")]
    Password,
    #[error(
        "is plain HTTP to another host: give an https:// address, or say --insecure-plain-http if everybody on the way may read and change it"
    )]
    Plain,
    #[error("is no proxy's address: write http://HOST:PORT, without user and password")]
    NoProxy,
}

impl Address {
    /// A collector's. `plain` says that everybody on the way may read and change what is sent.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with its name.
    pub fn of_collector(url: &str, plain: bool) -> Result<Self, AddressError> {
        let address = Self::parse(url, AddressError::NoAddress)?;
        if !address.tls && !plain && !address.is_here() {
            return Err(AddressError::Plain);
        }
        Ok(address)
    }

    /// A proxy's: plain HTTP, with its port.
    ///
    /// # Errors
    /// The same.
    pub fn of_proxy(url: &str) -> Result<Self, AddressError> {
        let address = Self::parse(url, AddressError::NoProxy)?;
        let says_its_port = url.trim_end_matches('/').ends_with(&format!(":{}", address.port));
        if address.tls || !address.prefix.is_empty() || !says_its_port {
            return Err(AddressError::NoProxy);
        }
        Ok(address)
    }

    /// By hand: Uri takes a port that is none for no port, and drops what follows a `#`.
    fn parse(url: &str, broken: AddressError) -> Result<Self, AddressError> {
        if url.contains('@') {
            return Err(AddressError::Password);
        }
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(broken),
        };
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or(broken.clone())?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let is_host = if authority.starts_with('[') {
            host.parse::<Ipv6Addr>().is_ok()
        } else {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => Some(if tls { 443 } else { 80 }),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().filter(|port| *port > 0),
            _ => None,
        };
        let is_prefix = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_' | b'~'));
        match port {
            Some(port) if is_host && is_prefix => {
                Ok(Self { tls, host: host.to_ascii_lowercase(), port, prefix: prefix.trim_end_matches('/').to_owned() })
            }
            _ => Err(broken),
        }
    }

    /// Nobody but this host sees what is sent there.
    pub fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// As a request names the host: with its port, where that is not the usual one.
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { self.bracketed() } else { self.with_port() }
    }

    pub fn with_port(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// `path` begins with a slash.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The whole address of `path`, as a proxy is given it.
    pub fn absolute(&self, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Uri;
    use proptest::prelude::*;

    fn collector(url: &str) -> Result<Address, AddressError> {
        Address::of_collector(url, false)
    }

    #[test]
    fn host_port_and_prefix_are_told_apart() {
        for (url, tls, host, port, asked, absolute) in [
            ("https://c.example", true, "c.example", 443, "/v1/x", "https://c.example/v1/x"),
            ("https://C.example:8443/", true, "c.example", 8443, "/v1/x", "https://c.example:8443/v1/x"),
            ("https://c.example/a/b/", true, "c.example", 443, "/a/b/v1/x", "https://c.example/a/b/v1/x"),
            ("https://[2001:db8::1]:1", true, "2001:db8::1", 1, "/v1/x", "https://[2001:db8::1]:1/v1/x"),
            ("http://[::1]:80", false, "::1", 80, "/v1/x", "http://[::1]/v1/x"),
            ("http://localhost:9", false, "localhost", 9, "/v1/x", "http://localhost:9/v1/x"),
            ("http://127.8.9.1", false, "127.8.9.1", 80, "/v1/x", "http://127.8.9.1/v1/x"),
        ] {
            let address = collector(url).unwrap_or_else(|e| panic!("{url} {e}"));
            assert_eq!((address.tls, address.host.as_str(), address.port), (tls, host, port), "{url}");
            assert_eq!((address.path("/v1/x").as_str(), address.absolute("/v1/x").as_str()), (asked, absolute));
        }
    }

    #[test]
    fn plain_http_leaves_this_host_only_when_somebody_says_so() {
        for url in
            ["http://c.example", "http://192.0.2.1:80", "http://localhost.example", "http://[2001:db8::1]", "http://127.0.0.1.example"]
        {
            assert_eq!(collector(url), Err(AddressError::Plain), "{url}");
            assert!(Address::of_collector(url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_password_is_repeated() {
        for url in [
            "",
            "c.example",
            "ftp://c",
            "https://",
            "https://c:0",
            "https://c:",
            "https://c:70000",
            "https://c/?a",
            "https://c/#a",
            "https://a b",
            "https://[::1",
            "https://[c]",
            "https://::1",
            "https://c:+1",
            "HTTPS://c",
        ] {
            assert_eq!(collector(url), Err(AddressError::NoAddress), "{url}");
        }
        for url in ["https://me:geheim@c.example", "https://geheim@c", "http://me:geheim@localhost", "geheim@"] {
            let why = Address::of_collector(url, true).expect_err(url);
            assert_eq!(why, AddressError::Password);
            assert!(!format!("{why} {why:?}").contains("geheim"));
            assert!(Address::of_proxy(url).is_err());
        }
    }

    #[test]
    fn a_proxy_is_plain_and_says_its_port() {
        assert_eq!(Address::of_proxy("http://proxy.example:3128").map(|p| p.with_port()), Ok("proxy.example:3128".into()));
        assert!(Address::of_proxy("http://proxy.example:80/").is_ok());
        for url in ["http://proxy.example", "https://proxy.example:3128", "http://proxy.example:3128/x", "socks5://p:1", "proxy:3128"] {
            assert_eq!(Address::of_proxy(url), Err(AddressError::NoProxy), "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_taken_can_be_sent(url in "(https?://)?[a-z0-9.:\\[\\]/@#?%-]{0,30}") {
            if let Ok(address) = Address::of_collector(&url, true) {
                prop_assert!(address.absolute("/v1/x").parse::<Uri>().is_ok(), "{address:?}");
                prop_assert!(address.port > 0);
            }
        }
    }
}
