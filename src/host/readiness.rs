//! What BytePort itself needs of a host: for `byteportctl doctor`. Reads; judges nothing.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType};

use super::root::{Root, if_there, io_error};
use super::{Read, timex};
use crate::model::{HostPath, Observed};

/// Everything looked at once; each part by itself may be unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    pub host: String,
    /// Pressure files that are there and can be read: of `cpu`, `memory` and `io`.
    pub pressure: Vec<(&'static str, Observed<()>)>,
    pub cgroup: Observed<CgroupLayout>,
    /// journald's socket is there.
    pub journald: Observed<bool>,
    /// The system bus's socket is there.
    pub dbus: Observed<bool>,
    /// systemd is what runs this host.
    pub systemd: Observed<bool>,
    /// The kernel believes that the clock is disciplined by something.
    pub clock_synchronised: Observed<bool>,
    /// Processes of the agent, with their effective capabilities.
    pub agents: Observed<Vec<AgentProcess>>,
    /// Uid of the user `byteport`; `None`: there is no such user.
    pub agent_uid: Observed<Option<u32>>,
    /// `None`: the folder does not exist.
    pub state: Observed<Option<StateFolder>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupLayout {
    V2,
    /// Version 1 controllers, and a version 2 tree without them at `unified`.
    Hybrid,
    V1,
    None,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentProcess {
    pub pid: u32,
    pub uid: u32,
    /// The mask of `CapEff`.
    pub capabilities: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StateFolder {
    pub path: HostPath,
    pub is_folder: bool,
    pub uid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Bytes and inodes free to its owner.
    pub room: u64,
    pub inodes: Option<u64>,
    /// Files that hold room for the record's next entries; unknown where the folder may not be listed.
    pub ballasts: Observed<u64>,
}

/// `state_dir` is the host's path of the agent's state folder.
///
/// # Errors
/// When `root` is no folder.
pub fn read_readiness(root: &Path, state_dir: &Path) -> Read<Readiness> {
    let root = Root::open(root)?;
    Ok(Readiness {
        host: host_name(),
        pressure: ["cpu", "memory", "io"].map(|what| (what, Observed::from(read_pressure_file(&root, what)))).to_vec(),
        cgroup: read_cgroup(&root).into(),
        journald: is_there(&root, "/run/systemd/journal/socket", FileType::Socket).into(),
        dbus: is_there(&root, "/run/dbus/system_bus_socket", FileType::Socket).into(),
        systemd: is_there(&root, "/run/systemd/system", FileType::Directory).into(),
        clock_synchronised: timex::read_clock_sync().map(|c| c.synchronised).into(),
        agents: read_agents(&root).into(),
        agent_uid: root.read("/etc/passwd").map(|bytes| parse_uid(&bytes, "byteport")).into(),
        state: read_state(&root, &HostPath::from(state_dir)).into(),
    })
}

/// As the kernel has it.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn read_pressure_file(root: &Root, what: &str) -> Read<()> {
    // Where the kernel was started with psi=0 the files are there and reading them fails.
    root.read(&format!("/proc/pressure/{what}")).map(drop)
}

fn stat(root: &Root, path: &HostPath) -> Read<Option<rustix::fs::Stat>> {
    let found = rustix::fs::statat(CWD, root.join(path), AtFlags::empty()).map_err(|e| io_error(path, e));
    if_there(found)
}

fn is_there(root: &Root, path: &str, kind: FileType) -> Read<bool> {
    Ok(stat(root, &path.into())?.is_some_and(|s| FileType::from_raw_mode(s.st_mode) == kind))
}

fn read_cgroup(root: &Root) -> Read<CgroupLayout> {
    let has = |path: &str| stat(root, &path.into()).map(|s| s.is_some());
    if has("/sys/fs/cgroup/cgroup.controllers")? {
        return Ok(CgroupLayout::V2);
    }
    if has("/sys/fs/cgroup/unified/cgroup.controllers")? {
        return Ok(CgroupLayout::Hybrid);
    }
    let v1 = ["memory", "cpu", "pids", "systemd", "blkio"].into_iter().map(|c| has(&format!("/sys/fs/cgroup/{c}")));
    Ok(if v1.collect::<Read<Vec<bool>>>()?.contains(&true) { CgroupLayout::V1 } else { CgroupLayout::None })
}

fn read_agents(root: &Root) -> Read<Vec<AgentProcess>> {
    let mut found = Vec::new();
    for name in root.list("/proc")? {
        let Some(pid) = std::str::from_utf8(&name).ok().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // A process that ends meanwhile is none.
        let Ok(status) = root.read(&format!("/proc/{pid}/status")) else { continue };
        if let Some((uid, capabilities)) = parse_agent(&status) {
            found.push(AgentProcess { pid, uid, capabilities });
        }
    }
    Ok(found)
}

/// Effective uid and capabilities of `/proc/PID/status`, if it is the agent's main thread.
pub(super) fn parse_agent(status: &[u8]) -> Option<(u32, u64)> {
    let text = String::from_utf8_lossy(status);
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    if field("Name:")? != "byteport-agent" {
        return None;
    }
    let uid = field("Uid:")?.split_whitespace().nth(1)?.parse().ok()?;
    Some((uid, u64::from_str_radix(field("CapEff:")?, 16).ok()?))
}

pub(super) fn parse_uid(passwd: &[u8], user: &str) -> Option<u32> {
    let text = String::from_utf8_lossy(passwd);
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

fn read_state(root: &Root, path: &HostPath) -> Read<Option<StateFolder>> {
    let Some(found) = stat(root, path)? else { return Ok(None) };
    let space = rustix::fs::statvfs(root.join(path)).map_err(|e| io_error(path, e))?;
    let ballasts =
        root.list(&path.as_path().to_string_lossy()).map(|names| names.iter().filter(|n| n.ends_with(b".ballast")).count() as u64);
    Ok(Some(StateFolder {
        path: path.clone(),
        is_folder: FileType::from_raw_mode(found.st_mode) == FileType::Directory,
        uid: found.st_uid,
        mode: found.st_mode & 0o7777,
        room: space.f_bavail.saturating_mul(space.f_frsize),
        inodes: (space.f_files > 0).then_some(space.f_favail),
        ballasts: ballasts.into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agent_is_the_agent() {
        let status = b"Name:\tbyteport-agent\nUid:\t998\t997\t998\t998\nCapEff:\t0000000400080004\n";
        assert_eq!(parse_agent(status), Some((997, 1 << 34 | 1 << 19 | 1 << 2)));
        assert_eq!(parse_agent(b"Name:\tbyteport-agent2\nUid:\t0\t0\t0\t0\nCapEff:\t0\n"), None);
        assert_eq!(parse_agent(b"Name:\tbyteport-agent\n"), None);
    }

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = b"byteport2:x:1:1::/:\nbyteport:x:997:996::/nonexistent:/usr/sbin/nologin\n";
        assert_eq!((parse_uid(passwd, "byteport"), parse_uid(b"", "byteport")), (Some(997), None));
    }

    #[test]
    fn layouts_are_told_apart_below_a_root() {
        let layout = |make: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            for path in make {
                std::fs::create_dir_all(dir.path().join(path)).unwrap();
            }
            read_cgroup(&Root::open(dir.path()).unwrap()).unwrap()
        };
        assert_eq!(layout(&["sys/fs/cgroup/cgroup.controllers"]), CgroupLayout::V2);
        assert_eq!(layout(&["sys/fs/cgroup/unified/cgroup.controllers", "sys/fs/cgroup/memory"]), CgroupLayout::Hybrid);
        assert_eq!(layout(&["sys/fs/cgroup/memory"]), CgroupLayout::V1);
        assert_eq!(layout(&["sys/fs/cgroup"]), CgroupLayout::None);
    }

    #[test]
    fn this_host_is_read_and_a_missing_folder_is_none() {
        let ready = read_readiness(Path::new("/"), Path::new("/nonexistent/byteport")).unwrap();
        assert_eq!(ready.state, Observed::fresh(None));
        assert!(!ready.host.is_empty() && ready.clock_synchronised.value().is_some());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.ballast"), "").unwrap();
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o750)).unwrap();
        let state = read_readiness(Path::new("/"), dir.path()).unwrap().state.value().cloned().flatten().unwrap();
        assert_eq!((state.is_folder, state.mode, state.ballasts), (true, 0o750, Observed::fresh(1)));
    }
}
