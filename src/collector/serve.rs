//! The collector at work: two doors, one store, and what goes out; until it is told to stop.
//!
//! People have threads of their own, so that a flood of agents never locks them out.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::outbox::{Running, Worker, sinks};
use super::store::{Outbox, Reader, Store};
use super::{api, clock, pages};
use crate::config::Collector;
use crate::serve::{self, Web, guard};

/// Of the watchdog's minute.
const STILL_HERE: Duration = Duration::from_secs(15);
/// For answers that are under way when it is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Store(#[from] super::store::StoreError),
    #[error(transparent)]
    Read(#[from] super::store::Failure),
    #[error("{0}")]
    Web(String),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

fn io_of(what: impl Into<String>) -> impl FnOnce(io::Error) -> ServeError {
    let what = what.into();
    move |source| ServeError::Io { what, source }
}

/// A listener with threads of its own, gone when it is dropped.
struct Door {
    runtime: Runtime,
}

impl Door {
    fn open(name: &str, threads: usize, at: SocketAddr, web: Option<&Path>, router: Router) -> Result<Self, ServeError> {
        let runtime = Builder::new_multi_thread().worker_threads(threads).max_blocking_threads(8).thread_name(name).enable_all().build();
        let runtime = runtime.map_err(io_of(format!("threads for {name}")))?;
        let web = web.map(Web::open).transpose().map_err(ServeError::Web)?.map(Arc::new);
        let router = match &web {
            Some(web) => router.layer(from_fn_with_state(Arc::clone(web), guard)),
            None => router,
        };
        let listener = runtime.block_on(TcpListener::bind(at)).map_err(io_of(format!("{name} cannot listen on {at}")))?;
        tracing::info!("{name} are served on {at}");
        runtime.spawn(serve::serve(listener, router, web));
        Ok(Self { runtime })
    }

    fn close(self) {
        self.runtime.shutdown_timeout(FAREWELL);
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start: another collector has the store, an address is taken, a certificate cannot be read.
pub fn run(config: &Collector) -> Result<(), ServeError> {
    let names = config.sinks.iter().map(|sink| sink.name.clone()).collect();
    let store = Store::open(&config.state_dir, names)?;
    let reader = Reader::open(store.path(), Box::new(clock::wall))?;
    let worker = Running::start(Worker::new(Outbox::open(store.path())?, sinks(&config.sinks), Box::new(clock::wall)));
    let worker = worker.map_err(io_of("a thread for the outbox"))?;
    let plane = Arc::new(api::Plane::new(store.clone(), Box::new(clock::wall), config.heartbeat_interval.0));
    // The people's first: whoever cannot come in looks there for why.
    let shown = pages::router(Arc::new(reader));
    let shown = match &config.people_web_config_file {
        Some(_) => shown,
        None => shown.layer(from_fn(pages::by_address_only)),
    };
    let people = Door::open("people", 1, config.people_listen, config.people_web_config_file.as_deref(), shown)?;
    let agents = Door::open("agents", 2, config.agents_listen, config.agents_web_config_file.as_deref(), api::router(Arc::clone(&plane)))?;
    people.runtime.block_on(until_told(&store)).map_err(io_of("signals"))?;
    // Nobody new is taken; what was acknowledged is written by then, and what was not is sent again.
    agents.close();
    drop(worker);
    people.close();
    drop((plane, store));
    Ok(())
}

async fn until_told(store: &Store) -> io::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    notify(sd_notify::NotifyState::Ready);
    let still_here = async {
        loop {
            // A store that has stopped does not come back by itself: systemd starts it anew.
            if let Some(why) = store.health().stopped {
                tracing::error!("nothing is taken any more, and the watchdog is not told: {why}");
            } else {
                notify(sd_notify::NotifyState::Watchdog);
            }
            tokio::time::sleep(STILL_HERE).await;
        }
    };
    first_of(still_here, async {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
    .await;
    notify(sd_notify::NotifyState::Stopping);
    Ok(())
}

async fn first_of(for_ever: impl Future<Output = ()>, end: impl Future<Output = ()>) {
    tokio::select! {
        () = for_ever => {}
        () = end => {}
    }
}

/// Where there is no systemd, there is nobody to tell.
fn notify(state: sd_notify::NotifyState<'_>) {
    drop(sd_notify::notify(&[state]));
}
