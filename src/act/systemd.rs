//! The few of systemd's D-Bus methods that are needed, and waiting for a job's result.

use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, Variant};

use crate::host::bus::next;

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    #[zbus(name = "GetUnitByPID")]
    fn get_unit_by_pid(&self, pid: u32) -> zbus::Result<OwnedObjectPath>;
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    /// Unlike `GetUnit` it also finds a unit that is not loaded now, and that what was set at runtime waits for.
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn set_unit_properties(&self, name: &str, runtime: bool, properties: &[(&str, Variant<'_>)]) -> zbus::Result<()>;
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    fn reload_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    /// Unlike `RestartUnit` it starts nothing that somebody has stopped.
    fn try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        aux: &[(&str, &[(&str, Variant<'_>)])],
    ) -> zbus::Result<OwnedObjectPath>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
pub(super) trait Unit {
    #[zbus(property)]
    fn id(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
    /// Another one for each start; empty while it does not run.
    #[zbus(property, name = "InvocationID")]
    fn invocation_id(&self) -> zbus::Result<Vec<u8>>;
    #[zbus(property)]
    fn can_reload(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn fragment_path(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn drop_in_paths(&self) -> zbus::Result<Vec<String>>;
    /// Id 0: no job is queued.
    #[zbus(property)]
    fn job(&self) -> zbus::Result<(u32, OwnedObjectPath)>;
    #[zbus(property)]
    fn active_enter_timestamp_monotonic(&self) -> zbus::Result<u64>;
    #[zbus(property, name = "StartLimitIntervalUSec")]
    fn start_limit_interval_usec(&self) -> zbus::Result<u64>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
pub(super) trait Service {
    #[zbus(property, name = "NRestarts")]
    fn n_restarts(&self) -> zbus::Result<u32>;
    /// Of this and the next two `u64::MAX` means that none is set.
    #[zbus(property)]
    fn memory_high(&self) -> zbus::Result<u64>;
    #[zbus(property, name = "CPUWeight")]
    fn cpu_weight(&self) -> zbus::Result<u64>;
    #[zbus(property, name = "CPUQuotaPerSecUSec")]
    fn cpu_quota_per_sec_usec(&self) -> zbus::Result<u64>;
}

/// A unit whose properties are read anew each time they are asked for.
pub(super) async fn unit_at(bus: &Connection, path: OwnedObjectPath) -> zbus::Result<UnitProxy<'static>> {
    UnitProxy::builder(bus).path(path).cache_properties(CacheProperties::No).build().await
}

/// The same for what only services have.
pub(super) async fn service_at(bus: &Connection, path: OwnedObjectPath) -> zbus::Result<ServiceProxy<'static>> {
    ServiceProxy::builder(bus).path(path).cache_properties(CacheProperties::No).build().await
}

/// Queues a job and waits for its result. Who waits listens before he asks, or a fast job is over before he hears of it.
///
/// # Errors
/// When the job is not accepted or does not end with `done`.
pub(super) async fn finish_job<F>(manager: &ManagerProxy<'_>, what: &str, ask: F) -> Result<(), String>
where
    F: Future<Output = zbus::Result<OwnedObjectPath>>,
{
    manager.subscribe().await.map_err(|e| format!("{what}: {e}"))?;
    let mut ended = manager.receive_job_removed().await.map_err(|e| format!("{what}: {e}"))?;
    let job = ask.await.map_err(|e| format!("{what}: {e}"))?;
    loop {
        let signal = next(&mut ended).await.ok_or_else(|| format!("{what}: the bus went away while the job ran"))?;
        let args = signal.args().map_err(|e| format!("{what}: {e}"))?;
        if args.job == job {
            return if args.result == "done" { Ok(()) } else { Err(format!("{what}: the job ended with {}", args.result)) };
        }
    }
}
