//! The host's system bus, and waiting for what comes over it.

use std::path::Path;
use std::time::Duration;

use zbus::{Connection, connection};

const SOCKET: &str = "run/dbus/system_bus_socket";

/// Whether there is one: without systemd there is none as a rule.
pub(crate) fn is_here(root: &Path) -> bool {
    std::fs::symlink_metadata(root.join(SOCKET)).is_ok()
}

/// # Errors
/// Naming the socket: where there is no systemd there is no bus either.
pub(crate) async fn system_bus(root: &Path) -> Result<Connection, String> {
    let socket = root.join(SOCKET);
    let failed = |e: zbus::Error| format!("system bus at {}: {e}", socket.display());
    connection::Builder::address(format!("unix:path={}", socket.display()).as_str()).build().await.map_err(failed)
}

/// The next item; `None` once the connection is closed.
pub(crate) async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

/// Waits for something asynchronous with an end, on this thread alone: no thread is made, so a host without free pids is served too.
///
/// # Errors
/// The future's own, or that it took longer than `limit`.
pub(crate) fn wait_for<T, E: From<String>>(limit: Duration, what: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("{what}: {e}"))?;
    runtime.block_on(async {
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(E::from(format!("{what} has not answered within {:.0} s", limit.as_secs_f64()))),
        }
    })
}
