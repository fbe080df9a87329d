//! A host that has no task left to give: no thread can be started, and a look sees as much as before.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use byteport::detect::History;
use byteport::host::{LiveHost, ReadHost};
use byteport::model::{FsKind, Subject};
use byteport::runbooks::{Depth, FocusedAsk, Runbook, cpu, disk, memory};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A user who has no task but those of this test.
const NOBODYS: &str = "64123";
const INSIDE: &str = "BYTEPORT_TEST_AS_USER";

#[test]
fn a_look_sees_as_much_as_before() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    if !support::is_root() {
        return support::missing("a user of its own needs root");
    }
    // It may not reach the folder that this was built in.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut again = Command::new("setpriv");
    again.args(["--reuid", NOBODYS, "--regid", NOBODYS, "--clear-groups"]).arg(copy).args(["--exact", "a_look_sees_as_much_as_before"]);
    assert!(support::output(again.arg("--nocapture").current_dir("/").env(INSIDE, "1")).contains("1 passed"));
}

fn inside() {
    let host = LiveHost::new(Path::new("/"), None, None).unwrap();
    let mounts = host.mounts().unwrap();
    let local = mounts.iter().find(|m| m.kind == FsKind::Local && !m.read_only).expect("a local filesystem");
    let local = Subject::Filesystem { mount: local.path.clone(), device: local.device };
    let before = not_read(&host, &local);
    // What reads with a deadline has one thread by now; from here on there is no second, and none in its place.
    let limit = getrlimit(Resource::Nproc);
    setrlimit(Resource::Nproc, Rlimit { current: Some(0), ..limit }).unwrap();
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "a thread could be had all the same");
    assert_eq!(not_read(&host, &local), before);
    setrlimit(Resource::Nproc, limit).unwrap();
}

/// Which parts of the three looks could not be read, by name.
fn not_read(host: &LiveHost, local: &Subject) -> BTreeSet<String> {
    let history = History::default();
    let ask = FocusedAsk { subject: &Subject::Host, signals: &[], history: &history, sample: None, depth: Depth::Full };
    let memory = memory::MemoryShort::gather(host, &ask, &memory::Params::default());
    assert!(memory.processes.value().is_some_and(|p| !p.is_empty()), "{:?}", memory.processes.why());
    let cpu = cpu::Cpu::gather(host, &ask, &cpu::Params::default());
    assert!(cpu.cron.value().is_some(), "{:?}", cpu.cron.why());
    let disk = disk::Disk::gather(host, &FocusedAsk { subject: local, ..ask }, &disk::Params::default());
    assert!(disk.writers.value().is_some(), "{:?}", disk.writers.why());
    let mut names = BTreeSet::new();
    for (of, look) in [("memory", serde_json::to_value(memory)), ("cpu", serde_json::to_value(cpu)), ("disk", serde_json::to_value(disk))] {
        for (name, part) in look.unwrap().as_object().unwrap() {
            if let Some(why) = part.get("unavailable") {
                names.insert(format!("{of}: {name}: {why}"));
            }
        }
    }
    eprintln!("{names:#?}");
    names
}
