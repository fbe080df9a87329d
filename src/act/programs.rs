//! Outside programs, run as transient systemd services: a deadline, limits, a cap on what they say, and an argv from a closed list.
//! They are never our children, so nothing is forked where memory or pids are gone, and systemd cleans up behind them.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use zbus::{Fd, Variant};

use super::systemd::{ManagerProxy, finish_job};
use crate::host::bus::system_bus;

/// What a program may say; `lvs` on a host with a thousand volumes stays below it.
const MAX_OUTPUT: u64 = 4 << 20;
const MAX_MEMORY: u64 = 512 << 20;
const MAX_TASKS: u64 = 64;

/// Everything that can ever be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Lvs,
    Lvextend,
    Resize2fs,
    XfsGrowfs,
    Jcmd,
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Self::Lvs => "lvs",
            Self::Lvextend => "lvextend",
            Self::Resize2fs => "resize2fs",
            Self::XfsGrowfs => "xfs_growfs",
            Self::Jcmd => "jcmd",
        }
    }

    /// Where distributions put it; the search path of the environment is not asked.
    fn path(self, root: &Path) -> Result<String, String> {
        let places = ["/usr/sbin", "/sbin", "/usr/bin"].map(|dir| format!("{dir}/{}", self.name()));
        let found = places.into_iter().find(|p| root.join(p.trim_start_matches('/')).is_file());
        found.ok_or_else(|| format!("{} is not installed", self.name()))
    }
}

/// Whom a program runs as; without one it is root.
#[derive(Debug, Clone, Copy)]
pub(super) struct User {
    pub uid: u32,
    pub gid: u32,
}

/// Runs to the end and gives what it wrote to standard output.
///
/// # Errors
/// When it is not installed, cannot be started, fails, or takes longer than `limit`; with what it wrote to standard error.
pub(super) async fn run(
    root: &Path,
    program: Program,
    arguments: &[String],
    user: Option<User>,
    limit: Duration,
) -> Result<Vec<u8>, String> {
    let path = program.path(root)?;
    let bus = system_bus(root).await?;
    let manager = ManagerProxy::new(&bus).await.map_err(|e| e.to_string())?;
    let unit = unit_name(program);
    let (out, out_there) = pipe()?;
    let (err, err_there) = pipe()?;
    let argv: Vec<String> = std::iter::once(path.clone()).chain(arguments.iter().cloned()).collect();
    let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    let mut properties = vec![
        ("Description", Variant::from(format!("{} for byteport-actuator", program.name()))),
        // A oneshot's job ends when the program does, with the job's result telling whether it failed.
        ("Type", Variant::from("oneshot")),
        ("ExecStart", Variant::new(vec![(path, argv, false)])),
        ("Environment", Variant::new(vec!["LC_ALL=C".to_owned()])),
        ("TimeoutStartUSec", Variant::from(micros)),
        ("CollectMode", Variant::from("inactive-or-failed")),
        ("NoNewPrivileges", Variant::from(true)),
        ("MemoryMax", Variant::from(MAX_MEMORY)),
        ("TasksMax", Variant::from(MAX_TASKS)),
        ("StandardInput", Variant::from("null")),
        ("StandardOutputFileDescriptor", Variant::Fd(Fd::from(out_there))),
        ("StandardErrorFileDescriptor", Variant::Fd(Fd::from(err_there))),
    ];
    if let Some(user) = user {
        properties.push(("User", Variant::from(user.uid.to_string())));
        properties.push(("Group", Variant::from(user.gid.to_string())));
    }
    let ended = finish_job(&manager, program.name(), async {
        let job = manager.start_transient_unit(&unit, "fail", &properties, &[]).await;
        // Our own ends of the pipes close with them, or reading would never come to an end.
        drop(properties);
        job
    });
    let work = async { tokio::join!(ended, read(out), read(err)) };
    match tokio::time::timeout(limit, work).await {
        Ok((Ok(()), out, _)) => out,
        Ok((Err(why), _, err)) => {
            let said = String::from_utf8_lossy(&err.unwrap_or_default()).trim().chars().take(500).collect::<String>();
            Err(if said.is_empty() { why } else { format!("{why}: {}", said.escape_debug()) })
        }
        Err(_) => {
            // Stopped, not only forgotten: what it was doing must not go on behind our back.
            let stopped = tokio::time::timeout(Duration::from_secs(5), manager.stop_unit(&unit, "replace")).await;
            let how = if matches!(stopped, Ok(Ok(_))) { "and was stopped" } else { "and could not be stopped" };
            Err(format!("{} took longer than {:.0} s {how}", program.name(), limit.as_secs_f64()))
        }
    }
}

/// Unique for this process and moment, so that a leftover of a crash is not in the way.
fn unit_name(program: Program) -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    format!("byteport-{}-{}-{}{:09}.service", program.name().replace('_', "-"), std::process::id(), now.tv_sec, now.tv_nsec)
}

fn pipe() -> Result<(Receiver, OwnedFd), String> {
    let (ours, theirs) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
    Ok((Receiver::from_owned_fd(ours.into()).map_err(|e| format!("pipe: {e}"))?, theirs.into()))
}

async fn read(from: Receiver) -> Result<Vec<u8>, String> {
    let mut said = Vec::new();
    from.take(MAX_OUTPUT + 1).read_to_end(&mut said).await.map_err(|e| e.to_string())?;
    if said.len() as u64 > MAX_OUTPUT { Err(format!("it wrote more than {MAX_OUTPUT} bytes")) } else { Ok(said) }
}
