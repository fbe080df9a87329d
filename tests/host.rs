//! The host as it really is: mounts that hang, filesystems on loop devices, files that processes hold and write.

mod support;

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use byteport::host::{Clock, LiveHost, ReadError, ReadHost, Scan, ScanAsk};
use byteport::model::{FsKind, HostPath, Mount};
use byteport::sense::{Sampler, Want};
use support::hang_fuse::HangFuse;
use support::loops::LoopDisk;
use support::namespaces::{Mounted, inside};
use support::output;

fn host() -> LiveHost {
    LiveHost::new(Path::new("/"), None, None).unwrap()
}

fn mount_at(host: &LiveHost, path: &Path) -> Mount {
    host.mounts()
        .unwrap()
        .into_iter()
        .find(|m| m.path == HostPath::from(path))
        .unwrap_or_else(|| panic!("{} is not in the mount table", path.display()))
}

fn scan(host: &LiveHost, dir: &Path) -> Scan {
    host.scan(&ScanAsk {
        mount: dir.into(),
        device: dir.metadata().unwrap().dev(),
        families: Vec::new(),
        top: 10,
        keep: 10,
        deadline: Duration::from_secs(120),
        now: host.now(),
    })
    .unwrap()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits for what must come, and fails only when it has not come in a minute.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_mount_that_hangs_costs_one_thread_and_delays_nobody() {
    if !inside("a_mount_that_hangs_costs_one_thread_and_delays_nobody", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut fuse = HangFuse::mount(dir.path());
    let at = HostPath::from(dir.path());
    let mut sampler = Sampler::new(Arc::new(host()), 5.0);

    let threads_before = threads();
    let first = sampler.sample(Want::Host);
    let hung = first.filesystem(&at).unwrap();
    assert_eq!(hung.mount.kind, FsKind::Remote);
    assert!(hung.stuck_for_s.is_some_and(|s| s >= 2.0), "{hung:?}");
    assert!(first.filesystem(&"/".into()).unwrap().usage.value().is_some(), "the root filesystem answers all the same");
    wait_for("the threads that answered to end", || threads() == threads_before + 1);

    let descriptors_before = descriptors();
    for tick in 0..10_000 {
        let sample = sampler.sample(Want::Host);
        assert!(sample.filesystem(&at).unwrap().stuck_for_s.is_some(), "tick {tick}");
        assert!(sample.filesystem(&"/".into()).unwrap().usage.value().is_some(), "tick {tick}");
    }
    wait_for("the threads that answered to end", || threads() <= threads_before + 1);
    assert_eq!(descriptors(), descriptors_before);
    assert!(sampler.stuck().contains_key(&format!("mount {at}")), "{:?}", sampler.stuck());

    // It was asked once in all that time; when it answers it is found again, by itself.
    fuse.wake();
    wait_for("the mount to be found again", || {
        let sample = sampler.sample(Want::Host);
        let found = sample.filesystem(&at).unwrap();
        found.stuck_for_s.is_none() && found.usage.value().is_some_and(|u| (u.total, u.free, u.inodes_free) == (4_096_000, 2_048_000, 50))
    });
    assert!(sampler.stuck().is_empty());
}

#[test]
fn what_is_mounted_where_something_hangs_is_asked_all_the_same() {
    if !inside("what_is_mounted_where_something_hangs_is_asked_all_the_same", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let _fuse = HangFuse::mount(dir.path());
    let at = HostPath::from(dir.path());
    let mut sampler = Sampler::new(Arc::new(host()), 5.0);
    assert!(sampler.sample(Want::Host).filesystem(&at).unwrap().stuck_for_s.is_some());
    // As people do who want to go on: the call that hangs goes on hanging.
    nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    let _instead = Mounted::tmpfs(dir.path());
    let sample = sampler.sample(Want::Host);
    let found = sample.filesystem(&at).unwrap();
    assert!(found.stuck_for_s.is_none() && found.usage.value().is_some(), "{found:?}");
}

#[test]
fn a_daemon_that_dies_is_an_error_and_no_longer_stuck() {
    if !inside("a_daemon_that_dies_is_an_error_and_no_longer_stuck", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let fuse = HangFuse::mount(dir.path());
    let host = host();
    let mount = mount_at(&host, dir.path());
    assert!(matches!(host.fs_usage(&mount), Err(ReadError::Stuck { .. })));
    drop(fuse);
    wait_for("the parked thread to come back", || !matches!(host.fs_usage(&mount), Err(ReadError::Stuck { .. })));
}

#[test]
fn a_dozen_dead_mounts_park_at_most_eight_threads() {
    if !inside("a_dozen_dead_mounts_park_at_most_eight_threads", &[]) {
        return;
    }
    let dirs: Vec<_> = (0..12).map(|_| tempfile::tempdir().unwrap()).collect();
    let host = host();
    let root = mount_at(&host, Path::new("/"));
    host.fs_usage(&root).unwrap();
    let fuses: Vec<_> = dirs.iter().map(|d| HangFuse::mount(d.path())).collect();
    let mounts = host.mounts().unwrap();
    let before = threads();
    let usages = host.fs_usages(&mounts);
    let stuck = usages.iter().filter(|u| matches!(u, Err(ReadError::Stuck { .. }))).count();
    assert!((1..=8).contains(&stuck), "{stuck}");
    assert!(threads() <= before + 8);
    assert!(host.fs_usage(&root).is_ok(), "what answered before has its place");
    drop(fuses);
}

#[test]
fn a_walk_stays_out_of_what_is_mounted_below_it() {
    if !inside("a_walk_stays_out_of_what_is_mounted_below_it", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for sub in ["dead", "other", "again", "real"] {
        fs::create_dir(dir.path().join(sub)).unwrap();
    }
    fs::write(dir.path().join("real/file"), vec![1u8; 8192]).unwrap();
    fs::write(dir.path().join("over"), "").unwrap();
    let _other = Mounted::tmpfs(&dir.path().join("other"));
    fs::write(dir.path().join("other/elsewhere"), vec![1u8; 100_000]).unwrap();
    let _again = Mounted::bind(&dir.path().join("real"), &dir.path().join("again"));
    let _over = Mounted::bind(&dir.path().join("real/file"), &dir.path().join("over"));
    let _fuse = HangFuse::mount(&dir.path().join("dead"));
    let host = host();
    let scan = scan(&host, dir.path());
    assert!(scan.complete && scan.not_seen.is_empty(), "{:?}", scan.not_seen);
    assert_eq!((scan.files, scan.dirs), (1, 2), "{scan:?}");
}

#[test]
fn a_container_is_not_taken_for_the_host() {
    if !inside("a_container_is_not_taken_for_the_host", &["--pid", "--fork", "--mount-proc"]) {
        return;
    }
    assert!(!host().host_view().unwrap());
}

#[test]
fn the_host_is_known_from_a_private_mount_namespace() {
    // Where the tests themselves run in a container that is nobody's whole host, there is no host to be known.
    if !host().host_view().unwrap() {
        return support::missing("the machine's first pid namespace, or one that systemd runs");
    }
    if !inside("the_host_is_known_from_a_private_mount_namespace", &[]) {
        return;
    }
    assert!(host().host_view().unwrap());
}

#[test]
fn another_root_shows_the_same_host() {
    // Only a way to "/" by another name: nothing is mounted for this, so nothing that tidies up can come upon the real root.
    let through = LiveHost::new(Path::new("/proc/self/root"), None, None).unwrap();
    assert!(through.fs_usage(&mount_at(&through, Path::new("/"))).is_ok());
    assert_eq!(through.now().boot, host().now().boot);
    assert!(!through.host_view().unwrap(), "a root that nobody mounted there on purpose is no consent");
}

#[test]
fn a_filesystem_that_refuses_writes_is_found_out_though_it_is_listed_as_writable() {
    if !inside("a_filesystem_that_refuses_writes_is_found_out_though_it_is_listed_as_writable", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mut disk) = LoopDisk::xfs(300 << 20, &[]) else { return };
    disk.mount(dir.path());
    let host = Arc::new(host().trying_writes_in(dir.path()).unwrap());
    let takes_writes = || {
        let sample = Sampler::new(host.clone(), 5.0).sample(Want::Everything);
        let fs = sample.filesystem(&HostPath::from(dir.path())).expect("is mounted").clone();
        (fs.mount.read_only, fs.takes_writes.value().copied())
    };
    assert_eq!(takes_writes(), (false, Some(true)));
    output(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(dir.path()));
    assert_eq!(takes_writes(), (false, Some(false)), "the mount flags still say rw");
    disk.unmount();
}

#[test]
fn a_btrfs_filesystem_is_one_device_for_mounts_files_and_candidates() {
    if !inside("a_btrfs_filesystem_is_one_device_for_mounts_files_and_candidates", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mut disk) = LoopDisk::btrfs(256 << 20) else { return };
    disk.mount(dir.path());
    fs::write(dir.path().join("data"), vec![1u8; 8 << 20]).unwrap();
    rustix::fs::sync();
    let host = host();
    let mount = mount_at(&host, dir.path());
    assert_eq!((mount.kind, mount.device), (FsKind::Local, dir.path().metadata().unwrap().dev()));
    let usage = host.fs_usage(&mount).unwrap();
    assert_eq!(usage.inodes_free_percent(), None, "btrfs counts no inodes");
    assert!(usage.used() >= 8 << 20, "{usage:?}");
    let scan = scan(&host, dir.path());
    assert_eq!((scan.files, scan.complete), (1, true), "{scan:?}");
    assert!(scan.on_disk >= 8 << 20, "{scan:?}");
    let device = disk.device.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(host.disks_under(&mount).unwrap(), [device]);
    disk.unmount();
}

#[test]
fn what_lies_over_a_btrfs_is_not_taken_for_it() {
    if !inside("what_lies_over_a_btrfs_is_not_taken_for_it", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("at");
    fs::create_dir(&at).unwrap();
    let Some(mut disk) = LoopDisk::btrfs(256 << 20) else { return };
    disk.mount(&at);
    let _over = Mounted::tmpfs(dir.path());
    fs::create_dir(&at).unwrap();
    let host = host();
    let mount = mount_at(&host, &at);
    assert_eq!(mount.fs_type, "btrfs");
    assert_ne!(mount.device, at.metadata().unwrap().dev());
    let usage = host.fs_usage(&mount);
    assert!(matches!(usage, Err(ReadError::NotHere { .. })), "{usage:?}");
}

#[test]
fn an_ext4_filesystem_is_read_as_df_reads_it() {
    if !inside("an_ext4_filesystem_is_read_as_df_reads_it", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mut disk) = LoopDisk::ext4(64 << 20, &["-N", "256", "-m", "10"]) else { return };
    let at = dir.path().join(std::ffi::OsStr::from_bytes(b"new\nline \xff"));
    fs::create_dir(&at).unwrap();
    disk.mount(&at);
    let again = dir.path().join("a longer name for the same device, which is a bind mount");
    fs::create_dir(&again).unwrap();
    let _again = Mounted::bind(&at, &again);
    fs::write(at.join("data"), vec![1u8; 10 << 20]).unwrap();
    File::create(at.join("sparse")).unwrap().set_len(1 << 30).unwrap();
    rustix::fs::sync();

    let host = host();
    let mount = mount_at(&host, &at);
    assert_eq!((mount.kind, mount.fs_type.as_str(), mount.read_only), (FsKind::Local, "ext4", false));
    assert_eq!(mount.also_at, [HostPath::from(again.as_path())]);
    assert_eq!(mount.device, at.metadata().unwrap().dev());
    let device = disk.device.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(host.disks_under(&mount).unwrap(), std::slice::from_ref(&device));
    assert!(host.disk_io().unwrap().iter().any(|d| d.name == device && d.written_bytes > 0));

    // Reserved blocks: what df says to non-root is what counts.
    let usage = host.fs_usage(&mount).unwrap();
    let df = output(Command::new("df").args(["--block-size=1", "--output=used,avail,pcent"]).arg(&at));
    let df: Vec<u64> = df.lines().nth(1).unwrap().split_whitespace().map(|w| w.trim_end_matches('%').parse().unwrap()).collect();
    assert_eq!([usage.used(), usage.available, usage.used_percent().unwrap().0.ceil() as u64], df[..]);
    assert!(usage.free > usage.available, "10 % are reserved");

    // A sparse file is on disk what it is on disk.
    let scan = scan(&host, &at);
    assert_eq!(scan.largest_files[0].path, HostPath::from(at.as_path()).join(&"data".into()));
    assert!(scan.on_disk < 12 << 20 && scan.apparent > 1 << 30, "{scan:?}");

    // Inodes run out while there is room.
    let before = host.fs_usage(&mount).unwrap().inodes_free;
    let made = (0..).take_while(|i| File::create(at.join(format!("inode-{i}"))).is_ok()).count();
    let after = host.fs_usage(&mount).unwrap();
    assert_eq!((before, after.inodes_free), (made as u64, 0));
    assert!(after.available > 1 << 20);

    // An error that ext4 counts although the mount goes on saying `rw`.
    assert_eq!(host.ext4_errors(&mount).unwrap(), 0);
    fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "on purpose").unwrap();
    // The kernel counts in its own time.
    wait_for("the error to be counted", || host.ext4_errors(&mount).unwrap() == 1);
    assert!(!mount_at(&host, &at).read_only);
    output(Command::new("mount").args(["-o", "remount,ro"]).arg(&at));
    let now = mount_at(&host, &at);
    assert_eq!((now.read_only, now.kind), (true, FsKind::Local), "read-only now, but not an image that always was");
}

#[test]
fn what_may_not_be_read_is_said() {
    if !support::is_root() {
        return support::missing("becoming another user needs root");
    }
    let dir = tempfile::tempdir().unwrap();
    for sub in ["open", "closed"] {
        fs::create_dir(dir.path().join(sub)).unwrap();
        fs::write(dir.path().join(sub).join("file"), "text").unwrap();
    }
    let mode = |path: &Path, mode| fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(dir.path(), 0o755);
    mode(&dir.path().join("closed"), 0o700);
    // Only this thread, and the threads that it starts, become nobody.
    let scan = std::thread::scope(|scope| {
        let as_nobody = scope.spawn(|| {
            let nobody = rustix::thread::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            scan(&host(), dir.path())
        });
        as_nobody.join().unwrap()
    });
    assert_eq!((scan.files, scan.dirs, scan.complete), (1, 2, true));
    let closed = &scan.not_seen[0];
    assert_eq!((closed.why.as_str(), closed.count), ("not allowed to read it", 1));
    assert_eq!(closed.examples, [HostPath::from(dir.path().join("closed"))]);
}

#[test]
fn deleted_files_are_found_with_their_bytes_and_everybody_who_holds_them() {
    if !inside("deleted_files_are_found_with_their_bytes_and_everybody_who_holds_them", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mut disk) = LoopDisk::ext4(64 << 20, &[]) else { return };
    disk.mount(dir.path());
    let device = dir.path().metadata().unwrap().dev();
    let host = host();
    assert_eq!(host.deleted_open(device).unwrap().files, []);

    let gone = dir.path().join("gone (deleted)");
    let mut file = File::options().read(true).write(true).create_new(true).open(&gone).unwrap();
    file.write_all(&vec![1u8; 3 << 20]).unwrap();
    file.sync_all().unwrap();
    let second_descriptor = file.try_clone().unwrap();
    // Another name is left, and a file that is there but is called as if it were not: neither frees anything.
    let linked = File::create(dir.path().join("linked")).unwrap();
    fs::hard_link(dir.path().join("linked"), dir.path().join("other name")).unwrap();
    fs::remove_file(dir.path().join("linked")).unwrap();
    assert_eq!(host.deleted_open(device).unwrap().files, []);

    let mut child = Command::new("sleep").arg("600").stdin(Stdio::from(file.try_clone().unwrap())).spawn().unwrap();
    fs::remove_file(&gone).unwrap();
    let held = host.deleted_open(device).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let (before, me) = (file.metadata().unwrap(), std::process::id());
    let mut holders: Vec<u32> = held.files.iter().map(|f| f.pid).collect();
    holders.sort_unstable();
    let mut expected = [me, child.id()];
    expected.sort_unstable();
    assert_eq!(holders, expected, "{held:?}");
    assert_eq!(held.files.iter().map(|f| f.on_disk).sum::<u64>(), before.blocks() * 512, "counted once");
    assert!(held.files.iter().all(|f| f.ino == before.ino() && f.path == HostPath::from(gone.as_path())), "{held:?}");
    assert_eq!(held.files.iter().find(|f| f.pid == child.id()).unwrap().comm, "sleep");

    drop((file, second_descriptor, linked));
    assert_eq!(host.deleted_open(device).unwrap().files, []);
}

#[test]
fn a_writer_is_found_with_the_file_that_grows() {
    if !inside("a_writer_is_found_with_the_file_that_grows", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mut disk) = LoopDisk::ext4(256 << 20, &[]) else { return };
    disk.mount(dir.path());
    let log = dir.path().join("runaway.log");
    // The shell itself writes, through a descriptor that it keeps.
    let script =
        r#"exec 7>>"$1" 8>>"$1.other"; block=$(head -c 16384 /dev/zero | tr '\0' x); while :; do printf %s "$block" >&7; sleep 0.02; done"#;
    let mut writer = Command::new("sh").args(["-c", script, "sh"]).arg(&log).spawn().unwrap();
    wait_for("the first lines", || log.metadata().is_ok_and(|m| m.len() > 0));
    let device = dir.path().metadata().unwrap().dev();
    let found = host().writers(device, Duration::from_secs(2));
    let elsewhere = host().writers(Path::new("/dev/shm").metadata().unwrap().dev(), Duration::from_millis(400));
    writer.kill().unwrap();
    writer.wait().unwrap();
    let found = found.unwrap();
    assert_eq!(found.iter().map(|w| w.pid).collect::<Vec<_>>(), [writer.id()], "{found:?}");
    assert_eq!(found[0].growing, Some(HostPath::from(log.as_path())));
    assert!(found[0].growing_bytes_per_s > 10_000.0 && found[0].bytes_per_s > 10_000.0, "{found:?}");
    assert_eq!(found[0].comm, "sh");
    assert!(elsewhere.unwrap().iter().all(|w| w.pid != writer.id()), "it writes to another device");
}

#[test]
fn a_sample_of_this_host_has_all_its_parts() {
    let mut sampler = Sampler::new(Arc::new(host()), 5.0);
    let mut answered = None;
    // What is asked beside the sampler may need a moment.
    wait_for("an answer of what is asked beside the sampler", || {
        let sample = sampler.sample(Want::Host);
        answered = Some(sample).filter(|s| s.node_disk_pressure.why() != Some("not answered yet"));
        answered.is_some()
    });
    let sample = answered.unwrap();
    assert!(sample.disks.value().is_some(), "{:?}", sample.disks);
    assert_eq!(sample.io_pressure.value().is_some(), Path::new("/proc/pressure/io").exists(), "{:?}", sample.io_pressure);
    let root = sample.filesystem(&"/".into()).unwrap();
    assert!(root.usage.value().is_some_and(|u| u.total > 0), "{root:?}");
    assert_eq!(sample.node_disk_pressure.why(), Some("DiskPressure: no kubelet URL configured"));
    assert!(sampler.stuck().is_empty(), "{:?}", sampler.stuck());
}

#[test]
fn reading_leaves_no_trace() {
    // The walk must not touch the times by which it judges.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sub");
    fs::create_dir(&path).unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(90 * 86_400);
    let mut file = File::create(path.join("file")).unwrap();
    file.write_all(b"text").unwrap();
    file.rewind().unwrap();
    file.set_times(fs::FileTimes::new().set_accessed(old).set_modified(old)).unwrap();
    File::open(&path).unwrap().set_times(fs::FileTimes::new().set_accessed(old).set_modified(old)).unwrap();
    let atimes = || (path.metadata().unwrap().atime(), path.join("file").metadata().unwrap().atime());
    let before = atimes();
    let host = host();
    scan(&host, dir.path());
    host.compress_ratio(&HostPath::from(path.join("file"))).unwrap();
    assert_eq!(atimes(), before);
    drop(file.read(&mut [0]));
}
