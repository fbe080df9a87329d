//! The host's system bus.

use std::path::Path;

use zbus::{Connection, connection};

const SOCKET: &str = "run/dbus/system_bus_socket";

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
