//! What systemd says of one unit, and the kernel of its processes and its group: a real systemd in a container, and one that never answers.

mod support;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use byteport::host::{LiveHost, ReadError, ReadHost};
use byteport::model::{Bytes, HostPath, UnitFacts};
use support::nspawn::INSIDE;
use support::output;

#[test]
fn a_unit_is_told_as_systemd_and_its_files_have_it() {
    let Some(machine) = support::nspawn::Machine::ready() else { return };
    let share = support::nspawn::SHARE;
    let script = format!("{INSIDE}=1 exec {share}/units --exact inside_the_container --nocapture");
    let told = machine.boot(&support::nspawn::Boot::of(script).with(std::env::current_exe().unwrap(), "units"));
    eprintln!("{}{}", told.stdout, told.stderr);
    told.succeeded();
    assert!(told.stdout.contains("1 passed"));
}

#[test]
fn a_systemd_that_never_answers_is_not_waited_for_without_end() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["proc/sys/kernel/random", "run/dbus"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    fs::write(dir.path().join("proc/sys/kernel/random/boot_id"), "a\n").unwrap();
    let host = LiveHost::new(dir.path(), None, None).unwrap();
    let nobody = host.unit("a.service").unwrap_err().to_string();
    assert!(nobody.contains("a.service") && nobody.contains("system_bus_socket"), "{nobody}");
    // It takes connections, and that is all.
    let _bus = UnixListener::bind(dir.path().join("run/dbus/system_bus_socket")).unwrap();
    let error = host.unit("a.service").unwrap_err();
    assert!(matches!(&error, ReadError::NoAnswer { why, .. } if why.contains("has not answered within 10 s")), "{error}");
}

fn run(program: &str, args: &[&str]) -> String {
    output(Command::new(program).args(args)).trim().to_owned()
}

fn shown(unit: &str, property: &str) -> String {
    run("systemctl", &["show", "-P", property, unit])
}

/// Until it is so, or a minute has passed.
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn inside_the_container() {
    if support::nspawn::inside().is_none() {
        return;
    }

    let host = LiveHost::new(Path::new("/"), None, None).unwrap();
    let unit = |name: &str| host.unit(name);
    let write = |path: &str, text: &str| {
        let path = Path::new("/run/systemd/system").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        run("systemctl", &["daemon-reload"]);
    };
    let service = "[Unit]\nAfter=ghost.service\nStartLimitIntervalSec=90\n[Service]\nExecStart=/bin/sleep infinity\nRestart=always\n\
        MemoryHigh=50M\nMemoryMax=60M\nCPUWeight=50\nCPUQuota=20%\nNice=5\n[X-Byteport]\nRestart=safe\n";
    write("told.service", service);

    // What is not loaded stays so.
    for name in ["told.service", "nothing.service", "../told.service", ""] {
        let error = unit(name).unwrap_err();
        assert!(matches!(error, ReadError::NotHere { .. }), "{name}: {error}");
    }
    assert!(!run("systemctl", &["list-units", "--all", "--no-legend"]).contains("told.service"));

    run("systemctl", &["start", "told"]);
    let pid: u32 = shown("told", "MainPID").parse().unwrap();
    let facts = unit("told.service").unwrap();
    let expected = UnitFacts {
        name: "told.service".into(),
        active: "active".into(),
        invocation: shown("told", "InvocationID"),
        active_for_s: facts.active_for_s,
        restarts: 0,
        start_limit_s: 90.0,
        job_queued: false,
        restart_safe: true,
        main_pid: Some(pid),
        cgroup: HostPath::from("/system.slice/told.service"),
        memory_high: Some(Bytes(50 << 20)),
        memory_max: Some(Bytes(60 << 20)),
        cpu_weight: Some(50),
        cpu_quota_percent: Some(20),
        restarts_too: Vec::new(),
    };
    assert_eq!(facts, expected);
    assert_eq!(facts.invocation.len(), 32);
    let monotonic: f64 = shown("told", "ActiveEnterTimestampMonotonic").parse().unwrap();
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    let at_most = now.tv_sec() as f64 + 1.0 - monotonic / 1e6;
    assert!(facts.active_for_s > 0.0 && facts.active_for_s <= at_most, "{} of {at_most}", facts.active_for_s);
    // It is referred to, and is not installed.
    assert!(unit("ghost.service").unwrap_err().to_string().contains("not-found"));

    // The kernel says the same of its process and its group.
    let process = host.process(pid).unwrap();
    assert_eq!((process.unit.as_deref(), process.nice, process.parent), (Some("told.service"), 5, 1));
    assert!(process.cgroup.as_bytes().ends_with(b"/system.slice/told.service"), "{process:?}");
    if let Ok(group) = host.group(&process.cgroup) {
        assert_eq!(host.group_processes(&process.cgroup).unwrap(), [pid]);
        if group.memory_bytes.is_some() {
            assert_eq!((group.memory_high_bytes, group.memory_max_bytes), (Some(50 << 20), Some(60 << 20)));
            assert!(group.working_set_bytes.is_some_and(|set| set <= group.memory_bytes.unwrap() + (1 << 20)), "{group:?}");
        }
    } else {
        assert!(std::env::var_os("CI").is_none(), "its group cannot be seen");
    }

    // A drop-in takes consent back, and one that cannot be read may do so.
    write("told.service.d/10-no.conf", "[X-Byteport]\nRestart=never\n");
    assert!(!unit("told.service").unwrap().restart_safe);
    write("told.service.d/20-yes.conf", "[X-Byteport]\nRestart=safe\n");
    assert!(unit("told.service").unwrap().restart_safe);
    fs::remove_file("/run/systemd/system/told.service.d/10-no.conf").unwrap();
    assert!(!unit("told.service").unwrap().restart_safe, "systemd still names a file that is not there");
    run("systemctl", &["daemon-reload"]);
    assert!(unit("told.service").unwrap().restart_safe);

    // Limits in force, not those of the files.
    run("systemctl", &["set-property", "--runtime", "told.service", "MemoryHigh=infinity", "CPUQuota=150%", "CPUWeight="]);
    let facts = unit("told.service").unwrap();
    assert_eq!((facts.memory_high, facts.cpu_quota_percent, facts.cpu_weight), (None, Some(150), None));
    assert!(facts.restart_safe && facts.memory_max == Some(Bytes(60 << 20)), "{facts:?}");

    // systemd has started it again: another run of the same unit.
    run("systemctl", &["kill", "--signal=SIGKILL", "told"]);
    let again = until("it is not started again", || unit("told.service").ok().filter(|u| u.active == "active" && u.restarts == 1));
    assert!(again.invocation != facts.invocation && again.main_pid != Some(pid), "{again:?}");
    assert!(host.process(pid).is_err());

    // Its start takes as long as its first command.
    write("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 600\n");
    run("systemctl", &["start", "--no-block", "slow"]);
    let slow = until("its job is not to be seen", || unit("slow.service").ok().filter(|u| u.active == "activating"));
    assert!(slow.job_queued && !slow.restart_safe && slow.active_for_s == 0.0, "{slow:?}");
    run("systemctl", &["stop", "slow", "told"]);

    // What is no service has no counters.
    let slice = unit("system.slice").unwrap();
    assert_eq!((slice.restarts, slice.main_pid, slice.active.as_str()), (0, None, "active"));
}
