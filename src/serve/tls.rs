//! The listener's TLS, by the distribution's OpenSSL. Nothing here is touched where none is configured: it costs megabytes.

use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslAcceptor, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslOptions, SslVerifyMode, SslVersion, cipher_name,
};
use openssl::x509::X509Name;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

use crate::config::{ClientAuth, TlsVersion, WebTls};

/// # Errors
/// What cannot be honoured, with the key or the file that asks for it.
pub(super) fn acceptor(config: &WebTls) -> Result<SslAcceptor, String> {
    let broken = |what: &str, e: &ErrorStack| format!("tls_server_config: {what}: {e}");
    let mut ssl = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(|e| broken("OpenSSL", &e))?;
    let of_file = |key: &str, path: &std::path::Path, e: &ErrorStack| broken(&format!("{key} {}", path.display()), e);
    ssl.set_certificate_chain_file(&config.cert_file).map_err(|e| of_file("cert_file", &config.cert_file, &e))?;
    ssl.set_private_key_file(&config.key_file, SslFiletype::PEM).map_err(|e| of_file("key_file", &config.key_file, &e))?;
    ssl.set_min_proto_version(Some(version(config.min_version))).map_err(|e| broken("min_version", &e))?;
    ssl.set_max_proto_version(Some(version(config.max_version))).map_err(|e| broken("max_version", &e))?;
    if config.prefer_server_cipher_suites {
        ssl.set_options(SslOptions::CIPHER_SERVER_PREFERENCE);
    }
    ciphers(&mut ssl, &config.cipher_suites)?;
    if !config.curves.is_empty() {
        ssl.set_groups_list(&config.curves.join(":")).map_err(|e| broken("curve_preferences", &e))?;
    }
    clients(&mut ssl, config)?;
    Ok(ssl.build())
}

const fn version(asked: TlsVersion) -> SslVersion {
    match asked {
        TlsVersion::V10 => SslVersion::TLS1,
        TlsVersion::V11 => SslVersion::TLS1_1,
        TlsVersion::V12 => SslVersion::TLS1_2,
        TlsVersion::V13 => SslVersion::TLS1_3,
    }
}

/// Each suite is tried by itself first: OpenSSL passes over those of a list that it does not have.
fn ciphers(ssl: &mut SslContextBuilder, names: &[String]) -> Result<(), String> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for name in names {
        let refused = || format!("tls_server_config.cipher_suites: OpenSSL here has no {name}");
        let mut alone = SslContext::builder(SslMethod::tls_server()).map_err(|e| e.to_string())?;
        // The suites of TLS 1.3 are the ones that name no key exchange.
        if name.contains("_WITH_") {
            let openssl = cipher_name(name);
            alone.set_cipher_list(openssl).map_err(|_| refused())?;
            old.push(openssl);
        } else {
            alone.set_ciphersuites(name).map_err(|_| refused())?;
            new.push(name.as_str());
        }
    }
    let broken = |e: ErrorStack| format!("tls_server_config.cipher_suites: {e}");
    if !old.is_empty() {
        ssl.set_cipher_list(&old.join(":")).map_err(broken)?;
    }
    if !new.is_empty() {
        ssl.set_ciphersuites(&new.join(":")).map_err(broken)?;
    }
    Ok(())
}

fn clients(ssl: &mut SslContextBuilder, config: &WebTls) -> Result<(), String> {
    if let Some(path) = &config.client_ca_file {
        let broken = |e: ErrorStack| format!("tls_server_config: client_ca_file {}: {e}", path.display());
        ssl.set_ca_file(path).map_err(broken)?;
        ssl.set_client_ca_list(X509Name::load_client_ca_file(path).map_err(broken)?);
    }
    let required = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    match config.client_auth {
        ClientAuth::NoClientCert => ssl.set_verify(SslVerifyMode::NONE),
        ClientAuth::RequestClientCert => ssl.set_verify_callback(SslVerifyMode::PEER, |_, _| true),
        ClientAuth::RequireClientCert => ssl.set_verify_callback(required, |_, _| true),
        ClientAuth::VerifyClientCertIfGiven => ssl.set_verify(SslVerifyMode::PEER),
        ClientAuth::RequireAndVerifyClientCert => ssl.set_verify(required),
    }
    // With client certificates OpenSSL resumes no session that is not told which listener it is of.
    ssl.set_session_id_context(b"byteport").map_err(|e| e.to_string())
}

/// The server's half of a handshake.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    acceptor: &SslAcceptor,
    stream: S,
) -> Result<SslStream<S>, openssl::ssl::Error> {
    let mut stream = SslStream::new(Ssl::new(acceptor.context())?, stream)?;
    Pin::new(&mut stream).accept().await?;
    // A certificate that could not be verified and is let in all the same leaves errors on this thread; the next read would take them for
    // its own, and for the end.
    drop(ErrorStack::get());
    Ok(stream)
}
