//! `web_config_file`: TLS, headers and users of the listener, in the YAML that node_exporter and its kin read (`web.config.file`).
//! What it may hold and this listener cannot honour is refused, never passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What was meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Web {
    pub tls: Option<WebTls>,
    /// Sent with every answer.
    pub headers: BTreeMap<String, String>,
    /// Passwords as bcrypt hashes; nobody is asked when it is empty.
    pub users: BTreeMap<String, PasswordHash>,
}

/// Paths are as they can be opened: what was relative in the file is relative to its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebTls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub client_auth: ClientAuth,
    pub client_ca_file: Option<PathBuf>,
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
    /// By IANA's names; empty: what is in use today.
    pub cipher_suites: Vec<String>,
    /// By OpenSSL's names; empty: what is in use today.
    pub curves: Vec<&'static str>,
    pub prefer_server_cipher_suites: bool,
}

/// A hash is no password, but nothing to show either.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Which certificate a client has to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum ClientAuth {
    #[default]
    #[serde(alias = "")]
    NoClientCert,
    /// Any, or none.
    RequestClientCert,
    /// Any.
    #[serde(alias = "RequireAnyClientCert")]
    RequireClientCert,
    /// One from `client_ca_file`, or none.
    VerifyClientCertIfGiven,
    /// One from `client_ca_file`.
    RequireAndVerifyClientCert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "TLS10")]
    V10,
    #[serde(rename = "TLS11")]
    V11,
    #[serde(rename = "TLS12")]
    V12,
    #[serde(rename = "TLS13")]
    V13,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    tls_server_config: Option<RawTls>,
    http_server_config: RawHttp,
    basic_auth_users: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTls {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_auth_type: ClientAuth,
    client_ca_file: Option<PathBuf>,
    min_version: Option<TlsVersion>,
    max_version: Option<TlsVersion>,
    cipher_suites: Vec<String>,
    curve_preferences: Vec<Curve>,
    prefer_server_cipher_suites: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawHttp {
    http2: bool,
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Curve {
    CurveP256,
    CurveP384,
    CurveP521,
    X25519,
}

impl Curve {
    const fn openssl(self) -> &'static str {
        match self {
            Self::CurveP256 => "P-256",
            Self::CurveP384 => "P-384",
            Self::CurveP521 => "P-521",
            Self::X25519 => "X25519",
        }
    }
}

impl Web {
    /// Reads the file; what it names is not opened.
    ///
    /// # Errors
    /// What is wrong with it and, where it can be told, line and column. Never more of its content than a key.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}"))?;
        parse_web(&text, path.parent().unwrap_or(Path::new("/")))
    }
}

fn parse_web(text: &str, folder: &Path) -> Result<Web, String> {
    // Without the lines around a mistake: there are hashes in them.
    let options = serde_saphyr::options! { with_snippet: false };
    let raw: Option<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())?;
    let raw = raw.unwrap_or_default();
    if raw.http_server_config.http2 {
        return Err("http_server_config.http2: only HTTP/1.1 is spoken here; leave it out or write false".into());
    }
    for (name, hash) in &raw.basic_auth_users {
        if name.contains(':') {
            return Err(format!("basic_auth_users: {name:?} has a colon, with which no user can be named"));
        }
        hash.parse::<bcrypt::HashParts>().map_err(|_| {
            format!("basic_auth_users: what stands for {name:?} is no bcrypt hash; make one with htpasswd -nBC 10 \"\" (without the colon)")
        })?;
    }
    Ok(Web {
        tls: raw.tls_server_config.map(|tls| meant(tls, folder)).transpose()?,
        headers: raw.http_server_config.headers,
        users: raw.basic_auth_users.into_iter().map(|(name, hash)| (name, PasswordHash(hash))).collect(),
    })
}

fn meant(raw: RawTls, folder: &Path) -> Result<WebTls, String> {
    let file = |path: Option<PathBuf>, key: &str| match path {
        Some(path) if !path.as_os_str().is_empty() => Ok(folder.join(path)),
        _ => Err(format!("tls_server_config.{key} is missing")),
    };
    let (min_version, max_version) = (raw.min_version.unwrap_or(TlsVersion::V12), raw.max_version.unwrap_or(TlsVersion::V13));
    if min_version < TlsVersion::V12 || max_version < TlsVersion::V12 {
        return Err("tls_server_config: TLS10 and TLS11 are broken, and OpenSSL refuses them; write TLS12 or TLS13".into());
    }
    if min_version > max_version {
        return Err("tls_server_config: min_version is above max_version".into());
    }
    let verifies = matches!(raw.client_auth_type, ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert);
    let client_ca_file = raw.client_ca_file.map(|path| file(Some(path), "client_ca_file")).transpose()?;
    match (&client_ca_file, raw.client_auth_type) {
        (None, _) if verifies => return Err("tls_server_config.client_ca_file is missing: client_auth_type verifies against it".into()),
        (Some(_), ClientAuth::NoClientCert) => {
            return Err("tls_server_config.client_ca_file has no effect without a client_auth_type that asks for a certificate".into());
        }
        _ => {}
    }
    Ok(WebTls {
        cert_file: file(raw.cert_file, "cert_file")?,
        key_file: file(raw.key_file, "key_file")?,
        client_auth: raw.client_auth_type,
        client_ca_file,
        min_version,
        max_version,
        cipher_suites: raw.cipher_suites,
        curves: raw.curve_preferences.into_iter().map(Curve::openssl).collect(),
        prefer_server_cipher_suites: raw.prefer_server_cipher_suites.unwrap_or(true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Web, String> {
        parse_web(text, Path::new("/etc/byteport"))
    }

    #[test]
    fn nothing_written_is_nothing_asked() {
        for empty in ["", "# nothing\n", "---\n", "tls_server_config:\n", "http_server_config: {}\n"] {
            assert_eq!(parsed(empty), Ok(Web::default()), "{empty:?}");
        }
    }

    #[test]
    fn every_key_has_its_meaning() {
        let text = "tls_server_config:\n  cert_file: tls/cert.pem\n  key_file: /k.pem\n  client_auth_type: RequireAndVerifyClientCert\n  \
                    client_ca_file: ca.pem\n  min_version: TLS12\n  max_version: TLS13\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  \
                    curve_preferences: [CurveP256, X25519]\n  prefer_server_cipher_suites: false\nhttp_server_config:\n  http2: false\n  headers:\n    \
                    X-Frame-Options: deny\nbasic_auth_users:\n  prometheus: ";
        let text = format!("{text}{}\n", bcrypt::hash("x", 4).expect("a hash"));
        let web = parsed(&text).expect("good");
        let tls = web.tls.clone().expect("TLS");
        assert_eq!((tls.cert_file, tls.key_file), ("/etc/byteport/tls/cert.pem".into(), "/k.pem".into()));
        assert_eq!((tls.client_auth, tls.client_ca_file), (ClientAuth::RequireAndVerifyClientCert, Some("/etc/byteport/ca.pem".into())));
        assert_eq!((tls.curves, tls.prefer_server_cipher_suites), (vec!["P-256", "X25519"], false));
        assert_eq!(web.headers["X-Frame-Options"], "deny");
        assert!(!format!("{web:?}").contains("$2b$"), "a hash is not shown");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let tls = "tls_server_config:\n  cert_file: c\n  key_file: k\n";
        for (text, says) in [
            (format!("{tls}  min_version: TLS10\n"), "TLS10"),
            (format!("{tls}  min_version: TLS14\n"), "TLS14"),
            (format!("{tls}  min_version: TLS13\n  max_version: TLS12\n"), "min_version is above"),
            (format!("{tls}  client_auth_type: Sometimes\n"), "Sometimes"),
            (format!("{tls}  client_auth_type: RequireAndVerifyClientCert\n"), "client_ca_file is missing"),
            (format!("{tls}  client_ca_file: ca\n"), "client_ca_file has no effect"),
            (format!("{tls}  curve_preferences: [CurveP224]\n"), "CurveP224"),
            (format!("{tls}  client_allowed_sans: [a]\n"), "client_allowed_sans"),
            ("tls_server_config:\n  key_file: k\n".into(), "cert_file is missing"),
            ("tls_server_config:\n  cert_file: c\n  key_file: ''\n".into(), "key_file is missing"),
            ("http_server_config:\n  http2: true\n".into(), "HTTP/1.1"),
            ("rate_limit:\n  burst: 1\n".into(), "rate_limit"),
            ("basic_auth_users:\n  a: secret\n".into(), "no bcrypt hash"),
            ("basic_auth_users:\n  'a:b': secret\n".into(), "colon"),
            ("basic_auth_users: [\n".into(), "line"),
        ] {
            let why = parsed(&text).expect_err(&text);
            assert!(why.contains(says) && !why.contains("secret"), "{text}: {why}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            drop(parsed(&text));
        }
    }
}
