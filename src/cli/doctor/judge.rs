//! What the readings mean for BytePort. Pure.

use std::path::Path;

use crate::cli::client::ClientError;
use crate::config::Problem;
use crate::host::readiness::{AgentProcess, CgroupLayout, Readiness, StateFolder};
use crate::model::{Bytes, Observed};
use crate::report::{Finding, Level};
use crate::wire::actuator::Hello;
use crate::wire::local::Status;

fn ok(what: &'static str, says: impl Into<String>) -> Finding {
    Finding { what, level: Level::Ok, says: says.into(), todo: None }
}

fn warn(what: &'static str, says: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding { what, level: Level::Warn, says: says.into(), todo: Some(todo.into()) }
}

fn fail(what: &'static str, says: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding { what, level: Level::Fail, says: says.into(), todo: Some(todo.into()) }
}

fn unknown(what: &'static str, why: &str) -> Finding {
    warn(what, format!("cannot be told: {why}"), "run this as root, or as a member of group byteport")
}

pub(super) fn host(host: &Readiness, state_dir: &Path) -> Vec<Finding> {
    vec![
        pressure(host),
        cgroup(&host.cgroup),
        there(
            "systemd",
            &host.systemd,
            "runs this host",
            "is not what runs this host",
            "units are neither reloaded nor restarted without it",
        ),
        there("journald", &host.journald, "listens", "does not listen", "the agent writes JSON to stderr instead; start systemd-journald"),
        there(
            "D-Bus",
            &host.dbus,
            "system bus is there",
            "no system bus",
            "deleted files held open cannot be freed without it; start dbus",
        ),
        clock(&host.clock_synchronised),
        capabilities(&host.agents),
        state(state_dir, &host.state, &host.agent_uid),
    ]
}

fn pressure(host: &Readiness) -> Finding {
    let missing: Vec<String> = host.pressure.iter().filter_map(|(what, read)| Some(format!("{what}: {}", read.why()?))).collect();
    if missing.is_empty() {
        return ok("PSI", "cpu, memory and io pressure are measured by the kernel");
    }
    let todo = "boot with psi=1 (needs Linux 4.20 with CONFIG_PSI); until then disk_io_saturation is never raised";
    warn("PSI", format!("not measured: {}", missing.join("; ")), todo)
}

fn cgroup(layout: &Observed<CgroupLayout>) -> Finding {
    let todo = "boot with systemd.unified_cgroup_hierarchy=1, so that units are limited and measured as a whole";
    match layout {
        Observed::Value { value: CgroupLayout::V2, .. } => ok("cgroup", "version 2"),
        Observed::Value { value: CgroupLayout::Hybrid, .. } => warn("cgroup", "hybrid: controllers are those of version 1", todo),
        Observed::Value { value: CgroupLayout::V1, .. } => warn("cgroup", "version 1", todo),
        Observed::Value { value: CgroupLayout::None, .. } => warn("cgroup", "not mounted", "mount cgroup2 at /sys/fs/cgroup"),
        Observed::Unavailable { why } => unknown("cgroup", why),
    }
}

fn there(what: &'static str, read: &Observed<bool>, yes: &str, no: &str, todo: &str) -> Finding {
    match read {
        Observed::Value { value: true, .. } => ok(what, yes),
        Observed::Value { value: false, .. } => warn(what, no, todo),
        Observed::Unavailable { why } => unknown(what, why),
    }
}

fn clock(read: &Observed<bool>) -> Finding {
    match read {
        Observed::Value { value: true, .. } => ok("clock", "synchronised"),
        Observed::Value { value: false, .. } => warn(
            "clock",
            "not synchronised: times in the record may be wrong (cooldowns are not: they count by the boot clock as well)",
            "start chrony or systemd-timesyncd",
        ),
        Observed::Unavailable { why } => unknown("clock", why),
    }
}

/// What the agent reads with, by number and name.
const NEEDED: [(u32, &str); 3] = [(2, "CAP_DAC_READ_SEARCH"), (19, "CAP_SYS_PTRACE"), (34, "CAP_SYSLOG")];

fn capabilities(agents: &Observed<Vec<AgentProcess>>) -> Finding {
    let what = "agent process";
    let agents = match agents {
        Observed::Unavailable { why } => return unknown(what, why),
        Observed::Value { value, .. } => value,
    };
    let [agent] = agents.as_slice() else {
        let pids: Vec<String> = agents.iter().map(|a| a.pid.to_string()).collect();
        return match pids.as_slice() {
            [] => fail(what, "is not running", "systemctl enable --now byteport-agent"),
            _ => warn(
                what,
                format!("runs more than once: pids {}", pids.join(", ")),
                "keep the one that systemd started and stop the others",
            ),
        };
    };
    let lacks: Vec<&str> = NEEDED.iter().filter(|(bit, _)| agent.capabilities >> bit & 1 == 0).map(|(_, name)| *name).collect();
    if lacks.is_empty() {
        return ok(what, format!("pid {}, uid {}, with its read capabilities", agent.pid, agent.uid));
    }
    let todo = "start it by byteport-agent.service, or add AmbientCapabilities= in a drop-in; what it cannot read lowers confidence";
    warn(what, format!("pid {} lacks {}", agent.pid, lacks.join(", ")), todo)
}

/// Enough for the record of a long incident.
const ROOM: u64 = 64 << 20;

fn state(dir: &Path, state: &Observed<Option<StateFolder>>, agent_uid: &Observed<Option<u32>>) -> Finding {
    let what = "state folder";
    let folder = match state {
        Observed::Unavailable { why } => return unknown(what, why),
        Observed::Value { value: None, .. } => {
            return fail(what, format!("{} does not exist", dir.display()), "systemctl start byteport-agent makes it (StateDirectory=)");
        }
        Observed::Value { value: Some(folder), .. } => folder,
    };
    let path = &folder.path;
    if !folder.is_folder {
        return fail(what, format!("{path} is not a folder"), "move it away; the agent makes its own");
    }
    if folder.mode & 0o027 != 0 {
        return fail(
            what,
            format!("{path} has mode {:04o}: others than its owner may change or read the record", folder.mode),
            format!("chmod 0750 {}", crate::model::shell_word(path.as_bytes())),
        );
    }
    if let Observed::Value { value: Some(uid), .. } = agent_uid
        && *uid != folder.uid
    {
        let todo = format!("chown -R byteport: {}", crate::model::shell_word(path.as_bytes()));
        return fail(what, format!("{path} belongs to uid {}, the agent runs as {uid}", folder.uid), todo);
    }
    let room = Bytes(folder.room);
    if folder.room < ROOM || folder.inodes.is_some_and(|n| n < 16) {
        let inodes = folder.inodes.map(|n| format!(" and {n} inodes")).unwrap_or_default();
        return warn(what, format!("{path} has {room}{inodes} left"), "free some there: without room for the record nothing is done");
    }
    match &folder.ballasts {
        Observed::Value { value: 0, .. } => warn(
            what,
            format!("{path} has {room} left, and no ballast yet"),
            "the agent makes one when it starts: is it running, may it write there?",
        ),
        Observed::Value { .. } => ok(what, format!("{path}, {room} left beside its ballast")),
        Observed::Unavailable { why } => unknown(what, why),
    }
}

pub(super) fn config(what: &'static str, path: &Path, problems: &[Problem]) -> Finding {
    let shown = crate::model::HostPath::from(path);
    match problems {
        [] => ok(what, format!("{shown} is understood")),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            let at = first.place.as_ref().map(|p| format!(" line {}", p.line)).unwrap_or_default();
            let todo = first.help.clone().unwrap_or_else(|| format!("byteportctl check {}", crate::model::shell_word(shown.as_bytes())));
            fail(what, format!("{shown}{at}: {}{more}", first.message), todo)
        }
    }
}

pub(super) fn agent(status: &Result<Status, ClientError>) -> Vec<Finding> {
    let status = match status {
        Ok(status) => status,
        Err(e @ ClientError::Unreachable { why, .. }) if why.kind() == std::io::ErrorKind::PermissionDenied => {
            return vec![warn("agent", e.to_string(), "what only the agent knows is left out here")];
        }
        Err(e) => return vec![fail("agent", e.to_string(), "systemctl status byteport-agent; journalctl -u byteport-agent")],
    };
    let mut all = vec![ok("agent", format!("version {}, mode {}, pressure {}", status.version, status.mode, status.psi_mode))];
    all.push(actuator(status));
    all.push(match &status.record {
        Observed::Value { value, .. } => ok("record", format!("whole, {value} entries")),
        Observed::Unavailable { why } => {
            fail("record", format!("not to be trusted: {why}"), "nothing is done until it is; the reason says what helps")
        }
    });
    if let Some(refused) = &status.refused_config {
        all.push(fail(
            "config",
            format!("the file on disk was refused, the old one is in force: {refused}"),
            "byteportctl check /etc/byteport/agent.toml",
        ));
    }
    for (sampler, for_s) in &status.stuck {
        all.push(warn(
            "sampler",
            format!("{sampler} has not answered for {}", crate::model::Seconds(*for_s)),
            "see what hangs; other readings go on",
        ));
    }
    all
}

fn actuator(status: &Status) -> Finding {
    match &status.actuator {
        Observed::Value { value: Hello { ledger: Observed::Unavailable { why }, .. }, .. } => fail(
            "actuator",
            format!("its ledger cannot be trusted: {why}"),
            "look at what was set aside, then start it once with --trust-new-ledger",
        ),
        Observed::Value { value: hello, .. } => {
            let allowed = if hello.runbooks.is_empty() { "no runbook".into() } else { hello.runbooks.join(", ") };
            ok("actuator", format!("answers, allows {allowed}"))
        }
        // A host that observes needs none: that is what the word means.
        Observed::Unavailable { why } if status.mode == "observe" => {
            ok("actuator", format!("not there, so nothing can be changed here ({why})"))
        }
        Observed::Unavailable { why } => {
            fail("actuator", format!("not there, but the mode is {}: {why}", status.mode), "systemctl enable --now byteport-actuator")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostPath;

    fn folder() -> StateFolder {
        StateFolder {
            path: HostPath::from("/var/lib/byteport"),
            is_folder: true,
            uid: 997,
            mode: 0o750,
            room: 1 << 30,
            inodes: Some(1000),
            ballasts: Observed::fresh(1),
        }
    }

    fn level(change: impl FnOnce(&mut StateFolder)) -> Level {
        let mut folder = folder();
        change(&mut folder);
        state(Path::new("/var/lib/byteport"), &Observed::fresh(Some(folder)), &Observed::fresh(Some(997))).level
    }

    #[test]
    fn a_state_folder_is_judged_by_owner_mode_and_room() {
        assert_eq!(level(|_| ()), Level::Ok);
        assert_eq!(level(|f| f.mode = 0o755), Level::Fail);
        assert_eq!(level(|f| f.uid = 0), Level::Fail);
        assert_eq!(level(|f| f.is_folder = false), Level::Fail);
        assert_eq!(level(|f| f.room = 1 << 20), Level::Warn);
        assert_eq!(level(|f| f.inodes = Some(3)), Level::Warn);
        assert_eq!(level(|f| f.ballasts = Observed::fresh(0)), Level::Warn);
        assert_eq!(level(|f| f.ballasts = Observed::unavailable("denied")), Level::Warn);
        assert_eq!(state(Path::new("/var/lib/byteport"), &Observed::fresh(None), &Observed::fresh(None)).level, Level::Fail);
    }

    #[test]
    fn capabilities_are_named() {
        let found = |capabilities| capabilities_of(vec![AgentProcess { pid: 7, uid: 997, capabilities }]);
        assert_eq!(found(1 << 34 | 1 << 19 | 1 << 2).level, Level::Ok);
        assert!(found(1 << 34 | 1 << 19).says.ends_with("lacks CAP_DAC_READ_SEARCH"));
        assert_eq!(capabilities_of(vec![]).level, Level::Fail);
    }

    fn capabilities_of(agents: Vec<AgentProcess>) -> Finding {
        capabilities(&Observed::fresh(agents))
    }

    #[test]
    fn what_is_unknown_is_neither_ok_nor_a_failure() {
        assert_eq!(cgroup(&Observed::unavailable("x")).level, Level::Warn);
        assert_eq!(clock(&Observed::unavailable("x")).level, Level::Warn);
        assert_eq!(capabilities(&Observed::unavailable("x")).level, Level::Warn);
    }
}
