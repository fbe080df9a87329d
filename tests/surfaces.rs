//! What the host's plain files and its mount table say, compared with what others say of the same host.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use byteport::host::{Clock, LiveHost, ReadError, ReadHost};
use byteport::model::{HostPath, Mount};
use support::loops::LoopDisk;
use support::namespaces::{Mounted, inside};
use support::output;

fn host() -> LiveHost {
    LiveHost::new(Path::new("/"), None, None).unwrap()
}

fn find(host: &LiveHost, path: &Path) -> Option<Mount> {
    host.mounts().unwrap().into_iter().find(|m| m.path == HostPath::from(path))
}

fn first_word(command: &str, args: &[&str]) -> String {
    output(Command::new(command).args(args)).split_whitespace().next().unwrap_or_default().to_owned()
}

fn devices(host: &LiveHost) -> Vec<String> {
    let mut names: Vec<String> = host.network().unwrap().into_iter().map(|d| d.device.into()).collect();
    names.sort();
    names
}

#[test]
fn every_plain_file_of_this_host_says_what_others_say() {
    let host = host();
    let system = rustix::system::sysinfo();
    let cpu = host.cpu_stat().unwrap();
    assert_eq!(cpu.cpus.len().to_string(), first_word("getconf", &["_NPROCESSORS_ONLN"]));
    let uptime_s = host.now().wall.as_second() as u64 - cpu.boot_time_s;
    assert!(uptime_s.abs_diff(system.uptime as u64) <= 5, "{uptime_s} {}", system.uptime);
    let memory = host.memory().unwrap();
    let total = memory.iter().find(|c| &*c.name == "MemTotal").unwrap();
    assert_eq!((total.value, total.is_bytes), (system.totalram * u64::from(system.mem_unit), true));
    assert!(host.vmstat().unwrap().iter().any(|c| &*c.name == "pgfault" && c.value > 0));
    assert!(host.load().unwrap().fifteen >= 0.0);
    assert!(host.file_handles().unwrap().allocated > 0);
    assert!(host.clock_sync().unwrap().max_error_s >= 0.0);
    let identity = host.identity().unwrap();
    let uname = |what| first_word("uname", &[what]);
    assert_eq!(
        [identity.sysname, identity.nodename, identity.release, identity.machine],
        [uname("-s"), uname("-n"), uname("-r"), uname("-m")]
    );
    // What a kernel may be without.
    for (read, path) in [
        (host.irq_stalled_us().is_ok(), "/proc/pressure/irq"),
        (host.cpu_pressure().is_ok(), "/proc/pressure/cpu"),
        (host.memory_pressure().is_ok(), "/proc/pressure/memory"),
        (host.conntrack().is_ok(), "/proc/sys/net/netfilter/nf_conntrack_count"),
    ] {
        assert_eq!(read, fs::read(path).is_ok(), "{path}");
    }
}

#[test]
fn network_devices_are_those_of_sysfs() {
    let is_device = |name: &String| Path::new("/sys/class/net").join(name).join("ifindex").exists();
    let listed = || {
        let mut known: Vec<String> =
            fs::read_dir("/sys/class/net").unwrap().filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
        known.retain(is_device);
        known.sort();
        known
    };
    // Other tests make devices and take them away.
    support::agent::wait("two looks at the same devices", || devices(&host()) == listed());
}

#[test]
fn no_disk_is_missing_however_many_partitions_those_before_it_have() {
    // A disk and all its partitions are one record to the kernel, and two such records do not fit a page.
    let (Some(one), Some(other)) = (LoopDisk::partitioned(40), LoopDisk::partitioned(40)) else { return };
    let known: Vec<String> = host().disk_io().unwrap().into_iter().map(|d| d.name.to_string()).collect();
    for disk in [&one, &other] {
        let name = disk.device.file_name().unwrap().to_str().unwrap();
        for wanted in [name.to_owned(), format!("{name}p1"), format!("{name}p40")] {
            assert!(known.contains(&wanted), "{wanted} is not among {known:?}");
        }
    }
}

#[test]
fn through_another_root_the_network_is_the_hosts_and_not_ours() {
    if !inside("through_another_root_the_network_is_the_hosts_and_not_ours", &["--net"]) {
        return;
    }
    assert_eq!(devices(&host()), ["lo"]);
    let through = LiveHost::new(Path::new("/proc/self/root"), None, None).unwrap();
    let of_the_first = fs::read_to_string("/proc/1/net/dev").unwrap();
    assert_eq!(devices(&through).len(), of_the_first.lines().count() - 2, "{of_the_first}");
    // Whose connections are tracked is decided by who reads.
    let why = through.conntrack().unwrap_err().to_string();
    assert!(why.contains("a network of its own"), "{why}");
}

#[test]
fn what_is_mounted_and_unmounted_is_seen_at_the_next_look() {
    if !inside("what_is_mounted_and_unmounted_is_seen_at_the_next_look", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("at");
    fs::create_dir(&at).unwrap();
    let host = host();
    assert!(find(&host, &at).is_none());
    for _ in 0..20 {
        let mounted = Mounted::tmpfs(&at);
        let mount = find(&host, &at).expect("mounted");
        for _ in 0..3 {
            host.fs_usage(&mount).unwrap();
        }
        // Not lazily: whoever looked at it has let go of it.
        output(Command::new("umount").arg(&at));
        assert!(find(&host, &at).is_none(), "unmounted");
        drop(mounted);
    }
}

#[test]
fn what_is_mounted_over_it_is_not_taken_for_it() {
    if !inside("what_is_mounted_over_it_is_not_taken_for_it", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let _first = Mounted::tmpfs(dir.path());
    output(Command::new("mount").args(["-o", "remount,size=1m"]).arg(dir.path()));
    let host = host();
    let mount = find(&host, dir.path()).unwrap();
    assert_eq!(host.fs_usage(&mount).unwrap().total, 1 << 20);
    assert_eq!(host.fs_usage(&mount).unwrap().total, 1 << 20);
    let _second = Mounted::tmpfs(dir.path());
    // Nobody has looked at the table since.
    assert!(matches!(host.fs_usage(&mount), Err(ReadError::NotHere { why, .. }) if why.contains("another filesystem")));
    let now = find(&host, dir.path()).unwrap();
    assert!(host.fs_usage(&now).unwrap().total > 1 << 20);
}

#[test]
fn a_directory_above_a_mount_may_be_renamed() {
    if !inside("a_directory_above_a_mount_may_be_renamed", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::create_dir_all(old.join("at")).unwrap();
    let _mounted = Mounted::tmpfs(&old.join("at"));
    let _renamed = MountedBelow(new.join("at"));
    let host = host();
    let mount = find(&host, &old.join("at")).unwrap();
    host.fs_usage(&mount).unwrap();
    fs::rename(&old, &new).unwrap();
    // The kernel does not tell of this; that nothing is found there does.
    assert!(host.fs_usage(&mount).is_err());
    assert!(find(&host, &old.join("at")).is_none());
    host.fs_usage(&find(&host, &new.join("at")).unwrap()).unwrap();
}

/// Takes away what is mounted here by then.
struct MountedBelow(std::path::PathBuf);

impl Drop for MountedBelow {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_filesystem_that_turns_read_only_after_an_error_is_seen() {
    if !inside("a_filesystem_that_turns_read_only_after_an_error_is_seen", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mut disk) = LoopDisk::ext4(64 << 20, &["-e", "remount-ro"]) else { return };
    disk.mount(dir.path());
    let host = host();
    let look = || {
        let mount = find(&host, dir.path()).unwrap();
        (host.fs_usage(&mount).is_ok(), host.ext4_errors(&mount).unwrap(), mount.read_only)
    };
    for _ in 0..3 {
        assert_eq!(look(), (true, 0, false));
    }
    let name = disk.device.file_name().unwrap().to_str().unwrap();
    fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "on purpose").unwrap();
    let begun = Instant::now();
    while !look().2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", look());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(look(), (true, 1, true));
}
