//! A way to the collector: through a proxy or not, by TLS or not. All of it within a deadline that whoever asks keeps.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509VerifyResult};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_openssl::SslStream;

use super::address::Address;
use super::client::AskError;
use crate::model::LinkFailure;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// As delivered the agent's unit reaches nobody but this host; the kernel drops what is sent elsewhere, so that it looks like any silence.
const SANDBOX: &str = "if the agent runs as a service, name the collector's address in a drop-in, and a name server elsewhere as well: \
                       `systemctl edit byteport-agent` with [Service] and IPAddressAllow=";
/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 4;
const MOST_OF_A_PROXY: usize = 8 << 10;

fn failed(reason: LinkFailure, why: String) -> AskError {
    AskError::Failed { reason, why, retry_after_s: None }
}

/// Makes connections to one collector.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) address: Address,
    pub(super) proxy: Option<Address>,
    ca_file: Option<PathBuf>,
    /// Made when it is first needed: it reads the host's certificates and costs megabytes.
    tls: Option<SslConnector>,
    /// A name server may not answer for long; one look-up waits for it, never several.
    lookup: Arc<Semaphore>,
}

impl Way {
    pub(super) fn new(address: Address, proxy: Option<Address>, ca_file: Option<PathBuf>) -> Self {
        Self { address, proxy, ca_file, tls: None, lookup: Arc::new(Semaphore::new(1)) }
    }

    /// A connection that is ready for a request.
    pub(super) async fn connect(&mut self, deadline: Duration) -> Result<Box<dyn Stream>, AskError> {
        let way = async {
            let next = self.proxy.as_ref().unwrap_or(&self.address);
            let mut stream = tcp(next, &self.lookup, deadline).await?;
            if self.proxy.is_some() && self.address.tls {
                tunnel(&mut stream, &self.address).await?;
            }
            Ok::<Box<dyn Stream>, AskError>(if self.address.tls { Box::new(self.secured(stream).await?) } else { Box::new(stream) })
        };
        match timeout(deadline, way).await {
            Ok(done) => done,
            Err(_) => {
                let next = self.proxy.as_ref().unwrap_or(&self.address);
                let hint = if next.is_here() { String::new() } else { format!("; {SANDBOX}") };
                Err(failed(LinkFailure::TimedOut, format!("no connection to {} within {deadline:?}{hint}", next.with_port())))
            }
        }
    }

    /// The client's half of a handshake, with whoever can prove to be the one that was asked for.
    async fn secured(&mut self, stream: TcpStream) -> Result<SslStream<TcpStream>, AskError> {
        let tls = |why: String| failed(LinkFailure::Tls, why);
        let connector = match &self.tls {
            Some(connector) => connector.clone(),
            None => {
                let ca_file = self.ca_file.clone();
                // One at a time: a file that never answers must not take the threads with which the host is healed.
                let turn = Arc::clone(&self.lookup).acquire_owned().await.map_err(|e| tls(e.to_string()))?;
                let made = spawn_blocking(move || {
                    let _turn = turn;
                    connector(ca_file.as_deref())
                });
                let made = made.await.map_err(|e| tls(e.to_string()))?;
                self.tls.insert(made.map_err(tls)?).clone()
            }
        };
        let ssl = connector.configure().and_then(|c| c.into_ssl(&self.address.host)).map_err(|e| tls(e.to_string()))?;
        let mut stream = SslStream::new(ssl, stream).map_err(|e| tls(e.to_string()))?;
        match Pin::new(&mut stream).connect().await {
            Ok(()) => Ok(stream),
            Err(e) => {
                // Certificates may have come meanwhile.
                self.tls = None;
                drop(ErrorStack::get());
                let verified = stream.ssl().verify_result();
                let why = if verified == X509VerifyResult::OK { e.to_string() } else { verified.error_string().to_owned() };
                Err(tls(format!("TLS with {}: {why}", self.address.with_port())))
            }
        }
    }
}

/// Trusts `ca_file` and nobody else, or those that the host trusts.
fn connector(ca_file: Option<&Path>) -> Result<SslConnector, String> {
    let openssl = |e: ErrorStack| format!("OpenSSL: {e}");
    // Verifies the certificate and the name in it unless told otherwise.
    let mut ssl = SslConnector::builder(SslMethod::tls_client()).map_err(openssl)?;
    ssl.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(openssl)?;
    if let Some(path) = ca_file {
        let broken = |why: String| format!("CA file {}: {why}", path.display());
        let pem = std::fs::read(path).map_err(|e| broken(e.to_string()))?;
        let certificates = X509::stack_from_pem(&pem).map_err(|e| broken(e.to_string()))?;
        if certificates.is_empty() {
            return Err(broken("there is no certificate in it".into()));
        }
        let mut store = X509StoreBuilder::new().map_err(openssl)?;
        certificates.into_iter().try_for_each(|certificate| store.add_cert(certificate)).map_err(openssl)?;
        ssl.set_cert_store(store.build());
    }
    Ok(ssl.build())
}

async fn tcp(to: &Address, lookup: &Arc<Semaphore>, deadline: Duration) -> Result<TcpStream, AskError> {
    let addresses = addresses(to, lookup).await?;
    // One that does not answer leaves time for the others.
    let share = deadline / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let mut last = format!("{} has no address", to.host);
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are small, and each is waited for.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::PermissionDenied => last = format!("{address}: {e}: {SANDBOX}"),
            Ok(Err(e)) => last = format!("{address}: {e}"),
            Err(_) if to.is_here() => last = format!("{address} does not answer"),
            Err(_) => last = format!("{address} does not answer; {SANDBOX}"),
        }
    }
    Err(failed(LinkFailure::Unreachable, last))
}

async fn addresses(to: &Address, lookup: &Arc<Semaphore>) -> Result<Vec<SocketAddr>, AskError> {
    if let Ok(ip) = to.host.parse() {
        return Ok(vec![SocketAddr::new(ip, to.port)]);
    }
    let unreachable = |why: String| failed(LinkFailure::Unreachable, why);
    let Ok(turn) = Arc::clone(lookup).try_acquire_owned() else {
        return Err(unreachable(format!("no name server has said where {} is, since it was asked before; {SANDBOX}", to.host)));
    };
    let (host, port) = (to.host.clone(), to.port);
    let looked_up = spawn_blocking(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(|found| found.take(MOST_ADDRESSES).collect());
        drop(turn);
        found
    });
    match looked_up.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(e)) => Err(unreachable(format!("where {} is cannot be told: {e}; {SANDBOX}", to.host))),
        Err(e) => Err(unreachable(e.to_string())),
    }
}

/// Has a proxy pass on what follows.
async fn tunnel(stream: &mut TcpStream, to: &Address) -> Result<(), AskError> {
    let broken = |why: String| failed(LinkFailure::Unreachable, format!("the proxy: {why}"));
    let target = to.with_port();
    let ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.map_err(|e| broken(e.to_string()))?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head is not the proxy's any more.
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(e) => return Err(broken(format!("it hung up ({e})"))),
        }
        if head.len() > MOST_OF_A_PROXY {
            return Err(broken("its answer is none".into()));
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ');
    let http = parts.next().is_some_and(|version| version.starts_with(b"HTTP/1."));
    let status = parts.next().and_then(|status| std::str::from_utf8(status).ok()?.parse::<u16>().ok());
    match status {
        Some(200..=299) if http => Ok(()),
        Some(status) if http => Err(broken(format!("it answered {status} when it was asked for {target}"))),
        _ => Err(broken("its answer is none".into())),
    }
}
