//! Steps that go through somebody else: a private docker engine, and a container with a real systemd, D-Bus and journald.

mod acting;
mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use acting::{DISK, Later, Stand, batch, write};
use byteport::host::{LiveHost, PrivilegedReads, ReadHost};
use byteport::model::{
    Answer, Bytes, Effect, EffectState, FileFamily, GrowVolume, Holder, HolderAction, HolderUnit, HostPath, ImageInfo, ImageStore,
    ImageTarget, Observed, Query, SkipReason, Step, VolumeInfo,
};
use support::loops::LoopDisk;
use support::nspawn::INSIDE;
use support::{missing, on_path, output};

/// A docker engine of our own: own sockets, own folders, no network.
struct Docker {
    dir: tempfile::TempDir,
    children: Vec<Child>,
}

impl Docker {
    fn start() -> Option<Docker> {
        if !support::is_root() {
            missing("a docker engine needs root");
            return None;
        }
        if let Some(program) = ["containerd", "dockerd", "docker"].into_iter().find(|p| !on_path(p)) {
            missing(&format!("{program}: apt-get install docker.io containerd"));
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n[grpc]\naddress = \"{}\"\n",
            at("ctd-root"),
            at("ctd-state"),
            at("ctd.sock")
        );
        fs::write(dir.path().join("ctd.toml"), config).unwrap();
        let spawn = |program: &str, args: &[String]| {
            let log = fs::File::create(dir.path().join(format!("{program}.log"))).unwrap();
            Command::new(program).args(args).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
        };
        let containerd = spawn("containerd", &["-c".into(), at("ctd.toml")]);
        let mut docker = Docker { children: vec![containerd], dir };
        docker.wait_until("containerd", |d| d.dir.path().join("ctd.sock").exists());
        let at = |name: &str| docker.dir.path().join(name).display().to_string();
        let args = [
            format!("--data-root={}", at("data")),
            format!("--exec-root={}", at("exec")),
            format!("--host=unix://{}", at("d.sock")),
            format!("--pidfile={}", at("d.pid")),
            format!("--containerd={}", at("ctd.sock")),
            "--bridge=none".into(),
            "--iptables=false".into(),
            "--ip6tables=false".into(),
        ];
        let log = fs::File::create(docker.dir.path().join("dockerd.log")).unwrap();
        let dockerd = Command::new("dockerd").args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        docker.children.push(dockerd);
        docker.wait_until("dockerd", |d| d.command(&["info"]).output().is_ok_and(|o| o.status.success()));
        Some(docker)
    }

    fn wait_until(&self, what: &str, ready: impl Fn(&Docker) -> bool) {
        let until = Instant::now() + Duration::from_secs(90);
        while !ready(self) {
            let log = || fs::read_to_string(self.dir.path().join(format!("{what}.log"))).unwrap_or_default();
            assert!(Instant::now() < until, "{what} does not come up:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.socket().display())).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> String {
        output(&mut self.command(args)).trim().to_owned()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("d.sock")
    }

    /// An image with one file of a megabyte that no other image has.
    fn import(&self, name: &str, seed: u8) -> String {
        let files = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect();
        fs::write(files.path().join("file"), bytes).unwrap();
        let mut tar = Command::new("tar").arg("-C").arg(files.path()).args(["-c", "."]).stdout(Stdio::piped()).spawn().unwrap();
        let id = output(self.command(&["import", "-c", "CMD [\"/file\"]", "-", name]).stdin(tar.stdout.take().unwrap()));
        tar.wait().unwrap();
        id.trim().to_owned()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // dockerd first, asked politely: it has mounts to take down.
        while let Some(mut child) = self.children.pop() {
            let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM);
            let until = Instant::now() + Duration::from_secs(20);
            while child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(50));
            }
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn images(stand: &Stand) -> ImageStore {
    match stand.client.look(&Query::Images) {
        Observed::Value { value: Answer::Images(store), .. } => store,
        other => panic!("{other:?}"),
    }
}

fn as_target(image: &ImageInfo) -> ImageTarget {
    ImageTarget { id: image.id.clone(), tags: image.tags.clone(), digests: image.digests.clone(), size: image.unique }
}

#[test]
fn images_that_nobody_uses_go_and_all_others_stay() {
    let Some(docker) = Docker::start() else { return };
    let ids = ["unused:1", "used:1", "many:1", "retagged:1", "pause:3.9"].iter().zip(1..).map(|(name, n)| docker.import(name, n));
    let ids: Vec<String> = ids.collect();
    docker.run(&["tag", "many:1", "many:2"]);
    docker.run(&["tag", "many:1", "elsewhere/many:1"]);
    let container = docker.run(&["create", "--network", "none", "used:1"]);

    let socket = docker.socket();
    let young = Stand::on(tempfile::tempdir().unwrap(), Later { days: 0, ..Later::new() }, |s| s.docker_socket = socket.clone());
    let store = images(&young);
    assert_eq!(store.root, HostPath::from(docker.dir.path().join("data").as_path()));
    assert_eq!(store.images.len(), 5);
    let of = |id: &str| store.images.iter().find(|i| i.id == id).unwrap();
    assert!(of(&ids[1]).in_use && !of(&ids[0]).in_use);
    assert!(of(&ids[0]).age_s < 600 && of(&ids[0]).unique >= Bytes(1 << 20));
    let all = |wanted: &[usize]| Step::PruneImages { images: wanted.iter().map(|n| as_target(of(&ids[*n]))).collect(), min_age_s: 600 };
    let effect = young.effect(all(&[0, 1, 2]));
    assert_eq!((effect.done, effect.skipped.get(&SkipReason::TooYoung)), (0, Some(&3)), "{effect:?}");

    let stand = Stand::on(tempfile::tempdir().unwrap(), Later::new(), |s| s.docker_socket = socket.clone());
    docker.run(&["tag", "retagged:1", "kept:1"]);
    let effect = stand.effect(all(&[0, 1, 2, 3]));
    assert_eq!(effect.done, 2, "{effect:?}");
    assert!(effect.freed >= Bytes(2 << 20));
    let left = docker.run(&["images", "-q", "--no-trunc"]);
    assert!(!left.contains(&ids[0]) && !left.contains(&ids[2]), "{left}");
    assert!(left.contains(&ids[1]) && left.contains(&ids[3]) && left.contains(&ids[4]), "{left}");
    assert_eq!((effect.skipped.get(&SkipReason::InUse), effect.skipped.get(&SkipReason::Changed)), (Some(&1), Some(&1)));
    // The container that was stopped all the time can still be looked into.
    assert_eq!(docker.run(&["inspect", "-f", "{{.Image}}", &container]), ids[1]);
}

/// The size of the ext4 filesystem's device; the one with XFS is twice that.
const GROWN: u64 = 256 << 20;

#[test]
fn systemd_journald_and_programs_do_what_they_are_asked() {
    let Some(machine) = support::nspawn::Machine::ready() else { return };
    // Filesystems that are smaller than their device: what is left when a logical volume has grown and its filesystem has not yet.
    let Some(ext4) = LoopDisk::ext4(GROWN, &[]) else { return };
    let Some(xfs) = LoopDisk::xfs(2 * GROWN, &["-d", "size=320m"]) else { return };
    output(Command::new("resize2fs").arg(&ext4.device).arg("64M"));
    let share = support::nspawn::SHARE;
    let (e, x) = (ext4.device.display(), xfs.device.display());
    let script = format!("{INSIDE}='{e} {x}' exec {share}/services --exact inside_the_container --nocapture");
    let boot = support::nspawn::Boot::of(script).with(std::env::current_exe().unwrap(), "services");
    let told = machine.boot(&boot.with_device(&ext4.device).with_device(&xfs.device));
    eprintln!("{}{}", told.stdout, told.stderr);
    told.succeeded();
    assert!(told.stdout.contains("1 passed"));
}

#[test]
fn inside_the_container() {
    let Some(devices) = support::nspawn::inside() else { return };

    host_through_a_mount();
    holders();
    programs_and_volumes();
    let (ext4, xfs) = devices.split_once(' ').unwrap();
    growing("ext4", ext4, GROWN);
    growing("xfs", xfs, 2 * GROWN);
    journal();
}

fn holder_unit(name: &str, consent: &str) -> u32 {
    // One file where room is needed, and one in memory, which is no part of that filesystem's need.
    let script = format!(
        "exec 3>/var/tmp/{name} 4>/dev/shm/{name}; head -c 8388608 /dev/zero >&3; head -c 4194304 /dev/zero >&4; sync; \
         rm /var/tmp/{name} /dev/shm/{name}; systemd-notify --ready; exec sleep infinity"
    );
    let unit = format!("[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/bash -c '{script}'\nExecReload=/bin/true\n{consent}");
    fs::write(format!("/run/systemd/system/{name}.service"), unit).unwrap();
    output(Command::new("systemctl").arg("daemon-reload"));
    output(Command::new("systemctl").args(["start", name]));
    main_pid(name)
}

fn main_pid(name: &str) -> u32 {
    output(Command::new("systemctl").args(["show", "-P", "MainPID", name])).trim().parse().unwrap()
}

fn holder(name: &str, pid: u32, action: HolderAction) -> Step {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start_ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    // Of the file itself: on an overlay it lies on another device than its folder.
    let device = fs::metadata(format!("/proc/{pid}/fd/3")).unwrap().dev();
    Step::RestartHolder(Holder { unit: format!("{name}.service"), pid, start_ticks, action, device, held: Bytes(8 << 20) })
}

fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn acted(step: Step) -> Effect {
    Stand::on(in_memory(), Later::new(), |_| {}).effect(step)
}

fn holders() {
    let safe = holder_unit("keeper", "[X-Byteport]\nRestart=safe\n");
    let unsafe_one = holder_unit("stranger", "");
    let stand = Stand::on(in_memory(), Later::new(), |_| {});
    let look = |pid| match stand.client.look(&Query::HolderUnit { pid }) {
        Observed::Value { value: Answer::HolderUnit(unit), .. } => unit,
        other => panic!("{other:?}"),
    };
    let expected = HolderUnit { unit: "keeper.service".into(), active_state: "active".into(), restart_safe: true, can_reload: true };
    assert_eq!(look(safe), expected);
    assert!(!look(unsafe_one).restart_safe);

    let effect = acted(holder("stranger", unsafe_one, HolderAction::Restart));
    assert_eq!((effect.done, effect.skipped.get(&SkipReason::Protected)), (0, Some(&1)), "{effect:?}");
    assert_eq!(main_pid("stranger"), unsafe_one);

    // A reload that lets nothing go is not told as success.
    let effect = acted(holder("keeper", safe, HolderAction::Reload));
    assert_eq!((effect.done, effect.freed), (1, Bytes(0)), "{effect:?}");
    assert_eq!(main_pid("keeper"), safe);

    let step = holder("keeper", safe, HolderAction::Restart);
    let effect = acted(step.clone());
    assert_eq!((effect.done, effect.freed, effect.state), (1, Bytes(8 << 20), EffectState::Done), "{effect:?}");
    let next = main_pid("keeper");
    assert!(next != safe && next != 0);
    // The pid of the plan is gone; whoever has it later is another.
    assert_eq!(acted(step).skipped.get(&SkipReason::Gone), Some(&1));

    let wrong = match holder("keeper", next, HolderAction::Restart) {
        Step::RestartHolder(holder) => Step::RestartHolder(Holder { unit: "stranger.service".into(), ..holder }),
        other => other,
    };
    assert_eq!(acted(wrong).skipped.get(&SkipReason::Changed), Some(&1));
    assert_eq!((main_pid("keeper"), main_pid("stranger")), (next, unsafe_one));

    // Falls over on its second start: told as what it is.
    let once =
        "[X-Byteport]\nRestart=safe\n[Service]\nExecStartPre=/bin/bash -c '! test -e /run/started-once && touch /run/started-once'\n";
    let pid = holder_unit("once", once);
    let effect = acted(holder("once", pid, HolderAction::Restart));
    assert_eq!(effect.state, EffectState::Partial, "{effect:?}");
    assert!(effect.notes[0].contains("once.service"), "{effect:?}");
}

/// A program under the name and in the place of a real one: what is tried is how it is run.
fn program(name: &str, script: &str) {
    let path = format!("/usr/sbin/{name}");
    let mut file = fs::File::create(&path).unwrap();
    write!(file, "#!/bin/bash\n{script}\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn programs_and_volumes() {
    let dir = in_memory();
    let stand = Stand::on(dir, Later::new(), |_| {});
    let mount = acting::mount_of(&Later::new(), &stand.root);
    let look = || stand.client.look(&Query::Volume { mount: mount.path.clone() });
    let why = || look().why().unwrap_or("a value").to_owned();
    assert!(why().contains("lvs is not installed"), "{}", why());
    program("lvs", "echo '{\"report\":[{\"lv\":[]}]}'");
    assert!(why().contains("is not on a logical volume"), "{}", why());
    program("lvs", "echo 'no volumes for you' >&2; exit 5");
    assert!(why().contains("no volumes for you"), "{}", why());
    program("lvs", "head -c 8388608 /dev/zero");
    assert!(why().contains("wrote more than") || why().contains("failed"), "{}", why());

    let (major, minor) = (rustix::fs::major(mount.device), rustix::fs::minor(mount.device));
    let line = format!(
        "{{\"vg_name\":\"vg\",\"lv_name\":\"lv\",\"lv_size\":\"1048576\",\"vg_free\":\"1048576\",\"vg_extent_size\":\"4096\",\"lv_kernel_major\":\"{major}\",\"lv_kernel_minor\":\"{minor}\"}}"
    );
    program("lvs", &format!("echo '{{\"report\":[{{\"lv\":[{line}]}}]}}'"));
    let info = VolumeInfo { vg: "vg".into(), lv: "lv".into(), size: Bytes(1 << 20), vg_free: Bytes(1 << 20), extent: Bytes(4096) };
    assert_eq!(look(), Observed::fresh(Answer::Volume(info)));
    program("lvextend", "echo lvextend \"$@\" >>/run/said");
    let real = fs::read("/usr/sbin/resize2fs").unwrap();
    program("resize2fs", "echo resize2fs \"$@\" >>/run/said; echo 'it will not' >&2; exit 1");
    let grow = |to| {
        let grow = GrowVolume {
            vg: "vg".into(),
            lv: "lv".into(),
            mount: mount.path.clone(),
            fs_type: mount.fs_type.clone(),
            from: Bytes(1 << 20),
            to: Bytes(to),
        };
        acted(Step::GrowVolume(grow))
    };
    // tmpfs is nothing that is grown; nothing was run for it.
    let effect = grow(2 << 20);
    assert_eq!((effect.done, effect.skipped.get(&SkipReason::Error)), (0, Some(&1)), "{effect:?}");
    assert!(!Path::new("/run/said").exists());
    fs::write("/usr/sbin/resize2fs", real).unwrap();

    program("lvs", "sleep 1000");
    let began = Instant::now();
    assert!(why().contains("has not answered") || why().contains("took longer"), "{}", why());
    assert!(began.elapsed() < Duration::from_secs(120));
    let until = Instant::now() + Duration::from_secs(60);
    while output(Command::new("systemctl").args(["list-units", "--all", "--no-legend", "byteport-lvs-*"])).contains("lvs") {
        assert!(Instant::now() < until, "a program that was given up goes on running");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// As a DaemonSet sees its node: the whole host, mounted below a folder of ours. A part of it is not the host.
fn host_through_a_mount() {
    for dir in ["/host", "/elsewhere", "/srv/part/proc"] {
        fs::create_dir_all(dir).unwrap();
    }
    let bind = |from: &str, to: &str| output(Command::new("mount").args(["--rbind", "--make-rslave", from, to]));
    bind("/", "/host");
    let through = LiveHost::new(Path::new("/host"), None, None).unwrap();
    assert!(through.host_view().unwrap());
    assert!(through.mounts().unwrap().iter().any(|m| m.path == HostPath::from("/")));
    bind("/proc", "/srv/part/proc");
    bind("/srv/part", "/elsewhere");
    assert!(!LiveHost::new(Path::new("/elsewhere"), None, None).unwrap().host_view().unwrap(), "a part of the host passes for the host");
    for at in ["/elsewhere", "/srv/part/proc", "/host"] {
        output(Command::new("umount").args(["--lazy", at]));
    }
}

fn capable(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(mask, 16).unwrap() >> capability & 1 == 1
}

/// The volume manager is a stand-in, for want of a device mapper; the filesystem and the program that enlarges it are the real ones.
fn growing(fs_type: &str, device: &str, size: u64) {
    let at = PathBuf::from(format!("/srv/{fs_type}"));
    fs::create_dir_all(&at).unwrap();
    output(Command::new("mount").arg(device).arg(&at));
    fs::create_dir_all("/dev/vg").unwrap();
    std::os::unix::fs::symlink(device, format!("/dev/vg/{fs_type}")).unwrap();
    let there = rustix::fs::stat(&at).unwrap().st_dev;
    let (major, minor) = (rustix::fs::major(there), rustix::fs::minor(there));
    let from = size / 4;
    let line = format!(
        "{{\"vg_name\":\"vg\",\"lv_name\":\"{fs_type}\",\"lv_size\":\"{from}\",\"vg_free\":\"{size}\",\"vg_extent_size\":\"4096\",\"lv_kernel_major\":\"{major}\",\"lv_kernel_minor\":\"{minor}\"}}"
    );
    program("lvs", &format!("echo '{{\"report\":[{{\"lv\":[{line}]}}]}}'"));
    program("lvextend", "echo \"$@\" >>/run/lvextend-said");
    let total = || rustix::fs::statvfs(&at).map(|s| s.f_blocks * s.f_frsize).unwrap();
    let before = total();
    fs::write(at.join("kept"), vec![7_u8; 1 << 20]).unwrap();
    let grow = GrowVolume {
        vg: "vg".into(),
        lv: fs_type.into(),
        mount: HostPath::from(at.as_path()),
        fs_type: fs_type.into(),
        from: Bytes(from),
        to: Bytes(size),
    };
    let effect = acted(Step::GrowVolume(grow));
    // The kernel enlarges an ext4 in use for CAP_SYS_RESOURCE alone. Where nobody has that, what is left half done is told as that.
    if fs_type == "ext4" && !capable(24) {
        assert_eq!((effect.done, effect.state), (1, EffectState::Partial), "{effect:?}");
        assert!(effect.notes[0].contains("resize2fs") && effect.notes[0].contains("finish it by hand"), "{effect:?}");
        output(Command::new("umount").arg(&at));
        return;
    }
    assert_eq!((effect.done, effect.state), (1, EffectState::Done), "{effect:?}");
    assert!(total() > before + size / 4, "{fs_type} was {before} and is {}: {effect:?}", total());
    let grown = effect.available_delta.and_then(|d| u64::try_from(d).ok()).unwrap();
    assert!(grown.abs_diff(total() - before) < size / 20, "told {grown}, grew by {}", total() - before);
    assert_eq!(fs::read(at.join("kept")).unwrap(), vec![7_u8; 1 << 20]);
    assert!(fs::read_to_string("/run/lvextend-said").unwrap().contains(&format!("--size {size}B vg/{fs_type}")));
    output(Command::new("umount").arg(&at));
}

fn journal() {
    let root = PathBuf::from("/var/log/journal");
    // A filesystem of its own: the container's is an overlay, whose files lie on another device than their folder. Large, because
    // journald takes a tenth.
    output(Command::new("journalctl").arg("--relinquish-var"));
    output(Command::new("mount").args(["-t", "tmpfs", "-o", "size=2G", "tmpfs"]).arg(&root));
    output(Command::new("journalctl").arg("--flush"));
    for round in 0..4 {
        for n in 0..2000 {
            println!("a line for the journal, {round} {n}");
        }
        output(Command::new("logger").arg(format!("round {round}")));
        output(Command::new("journalctl").args(["--sync", "--rotate"]));
    }
    let machine = fs::read_dir(&root).unwrap().next().unwrap().unwrap().file_name();
    let archived = || {
        let mut all: Vec<(i64, HostPath)> = fs::read_dir(root.join(&machine))
            .unwrap()
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().contains('@'))
            .map(|e| (e.metadata().unwrap().mtime(), HostPath::from(Path::new(&machine).join(e.file_name()).as_path())))
            .collect();
        all.sort();
        all
    };
    // journald goes on writing to a file for a moment after it has archived it; what changes after the plan is left alone.
    let mut before = archived();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let now = archived();
        if now == before || Instant::now() >= until {
            break;
        }
        before = now;
    }
    assert!(before.len() >= 4, "{before:?}");
    // One of them is damaged, and one is what journald makes of a file that was not closed: both are archives like the others.
    let damaged = root.join(before[0].1.as_path());
    let file = fs::OpenOptions::new().write(true).open(&damaged).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 4096], 512).unwrap();
    drop(file);
    fs::copy(root.join(before[1].1.as_path()), root.join(&machine).join("system@0005f00000000000-0000000000000000.journal~")).unwrap();
    let before = archived();
    let files = batch(&root, FileFamily::JournalArchives, before.iter().map(|(_, name)| name.clone()).collect());
    let active = |name: &str| root.join(&machine).join(name).exists();
    assert!(active("system.journal"));
    let dir = in_memory();
    let elsewhere = write(&dir.path().join("marker"), 1);
    let stand = Stand::over(dir, root.clone(), Later::new(), |s| {
        s.policies.get_mut(&DISK).unwrap().limits.journal_roots = vec![HostPath::from(Path::new("/var/log/journal"))];
    });
    let effect = stand.effect(Step::VacuumJournal { keep: Bytes(0), files });
    assert!(effect.notes.iter().any(|n| n.contains("journald rotated")), "{effect:?}");
    assert_eq!(effect.done, before.len() as u64, "{effect:?}");
    // What the rotation of this very step archived was not in the plan, so it stays.
    assert!(!archived().is_empty() && active("system.journal") && elsewhere.exists());
    output(Command::new("logger").arg("still alive"));
    output(Command::new("journalctl").arg("--sync"));
    assert!(output(Command::new("journalctl").args(["-q", "-n", "50"])).contains("still alive"));

    // With room enough nothing goes.
    let files = batch(&root, FileFamily::JournalArchives, archived().into_iter().map(|(_, name)| name).collect());
    let perform = stand.asking("again", 1, Step::VacuumJournal { keep: Bytes(1 << 40), files });
    match stand.client.perform(&acting::admitted(&stand.policy, &perform), perform).unwrap() {
        byteport::act::client::Performed::Effect(effect) => assert_eq!(effect.done, 0, "{effect:?}"),
        other => panic!("{other:?}"),
    }
}
