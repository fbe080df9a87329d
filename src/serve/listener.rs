//! Takes connections and serves them, each in a task of its own: nobody who is slow to shake hands, to ask or to read holds up anybody
//! else, and there are never more of them than there are places.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::patience::Patient;
use super::tls;
use super::web::Web;

/// Connections at once; who comes then waits in the kernel's queue.
const PLACES: usize = 512;
/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For a request's head to come, and so for a connection to idle: longer than scrapers pause, so that they need not shake hands anew.
const HEAD: Duration = Duration::from_secs(75);
/// For an answer to be taken, once it does not go by itself.
const TAKEN: Duration = Duration::from_secs(30);
/// After a connection that could not be taken: descriptors or memory may come back.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs as long as its program does. `web` is what the configuration asks for beyond plain HTTP.
pub async fn serve(listener: TcpListener, router: Router, web: Option<Arc<Web>>) {
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        // Never closed, so there is always a place some time.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (router, web) = (router.clone(), web.clone());
                tokio::spawn(async move {
                    if let Err(e) = connection(stream, router, web).await {
                        tracing::debug!("a connection ended: {e}");
                    }
                    drop(place);
                });
            }
            Err(e) => {
                tracing::warn!("the listener cannot take a connection: {e}");
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, web: Option<Arc<Web>>) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let stream = Patient::new(stream, TAKEN);
    let tls = match web {
        Some(web) => web.current().await.tls.clone(),
        None => None,
    };
    match tls {
        Some(acceptor) => requests(timeout(HANDSHAKE, tls::accept(&acceptor, stream)).await??, router).await,
        None => requests(stream, router).await,
    }
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, router: Router) -> Result<(), Failure> {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
    Ok(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await?)
}
