//! Waiting for something asynchronous with an end, on this thread alone: no thread is made, so a host without free pids is served too.

use std::time::Duration;

/// # Errors
/// The future's own, or that it took longer than `limit`.
pub(super) fn wait_for<T, E: From<String>>(limit: Duration, what: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("{what}: {e}"))?;
    runtime.block_on(async {
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(E::from(format!("{what} has not answered within {:.0} s", limit.as_secs_f64()))),
        }
    })
}
