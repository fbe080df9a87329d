//! Heap snapshots of real runtimes: a JVM, asked through systemd in a container, and a Node.js process.

mod acting;
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use acting::{DISK, Later, Stand, admitted, facts};
use byteport::act::client::Performed;
use byteport::model::{Bytes, Effect, EffectState, HeapSnapshot, HostPath, SkipReason, SnapshotBy, Step};
use support::nspawn::INSIDE;
use support::{missing, on_path, output};

struct Running(Child);

impl Running {
    fn of(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self(child)
    }

    fn alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A folder where there is room, however full this machine's disk is.
fn roomy() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a folder in memory")
}

fn asked(pid: u32, by: SnapshotBy, folder: &Path, room: u64) -> Effect {
    let stand = Stand::on(tempfile::tempdir().unwrap(), Later::new(), |s| {
        let limits = &mut s.policies.get_mut(&DISK).unwrap().limits;
        limits.processes.extend(["node", "java"].map(str::to_owned));
        limits.heap_snapshot_roots = vec![HostPath::from(folder)];
    });
    let step = Step::SnapshotHeap(HeapSnapshot { process: facts::target(pid), by, folder: HostPath::from(folder), room: Bytes(room) });
    let perform = stand.asking("one", 1, step);
    match stand.client.perform(&admitted(&stand.policy, &perform), perform).expect("an answer") {
        Performed::Effect(effect) => effect,
        other => panic!("{other:?}"),
    }
}

fn snapshots(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e != "js" && e != "java")).collect()
}

fn skipped(effect: &Effect, reason: SkipReason) -> bool {
    effect.done == 0 && effect.skipped.get(&reason) == Some(&1)
}

#[test]
fn node_writes_its_heap_when_it_was_told_of_the_signal_and_is_not_ended_by_it_else() {
    if !on_path("node") {
        return missing("node: apt-get install nodejs");
    }
    let dir = roomy();
    let (here, big) = (dir.path(), 1 << 60);
    let program = "globalThis.kept = 'x'.repeat(1 << 20); setInterval(() => {}, 1000); console.log('ready');";
    let node = |options: &[&str]| Running::of(Command::new("node").args(options).args(["-e", program]).current_dir(here));

    let mut told = node(&["--heapsnapshot-signal=SIGUSR2"]);
    assert!(skipped(&asked(told.0.id(), SnapshotBy::Usr2, here, big), SkipReason::NoSpace));
    assert!(snapshots(here).is_empty());
    let effect = asked(told.0.id(), SnapshotBy::Usr2, here, 1 << 20);
    assert_eq!((effect.state, effect.done), (EffectState::Done, 1), "{effect:?}");
    let [file] = &snapshots(here)[..] else { panic!("{:?}", snapshots(here)) };
    // Whole: it is JSON to its last bracket.
    let text = fs::read_to_string(file).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().get("snapshot").is_some());
    assert!(effect.notes[0].contains(&Bytes(text.len() as u64).to_string()), "{effect:?}");
    assert!(told.alive());

    // Where it works, and so would write, nobody has looked whether there is room.
    let elsewhere = roomy();
    let effect = asked(told.0.id(), SnapshotBy::Usr2, elsewhere.path(), 1);
    assert!(skipped(&effect, SkipReason::Protected) && effect.notes[0].contains("does not work in"), "{effect:?}");

    let mut deaf = node(&[]);
    let effect = asked(deaf.0.id(), SnapshotBy::Usr2, here, 1);
    assert!(skipped(&effect, SkipReason::Protected) && effect.notes[0].contains("would end it"), "{effect:?}");
    assert!(deaf.alive());

    // Where everybody may exchange files nothing is written, and through a link neither.
    fs::set_permissions(here, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(skipped(&asked(told.0.id(), SnapshotBy::Usr2, here, 1), SkipReason::Protected));
    fs::set_permissions(here, fs::Permissions::from_mode(0o700)).unwrap();
    let beside = tempfile::tempdir().unwrap();
    let link = beside.path().join("link");
    std::os::unix::fs::symlink(here, &link).unwrap();
    assert!(skipped(&asked(told.0.id(), SnapshotBy::Usr2, &link, 1), SkipReason::Outside));
    assert_eq!(snapshots(here).len(), 1);
}

#[test]
fn a_tenth_of_the_filesystem_stays_free() {
    let dir = roomy();
    let deaf = Running::of(Command::new("bash").args(["-c", "echo ready; sleep 1000"]));
    let stat = rustix::fs::statvfs(dir.path()).unwrap();
    let (available, size) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
    // It would fit in, and leave a twentieth.
    let effect = asked(deaf.0.id(), SnapshotBy::Usr2, dir.path(), available.checked_sub(size / 20).expect("a twentieth is free"));
    assert!(skipped(&effect, SkipReason::NoSpace) && effect.notes[0].contains("a tenth"), "{effect:?}");
}

const JDKS: &str = "/usr/lib/jvm";
const PROGRAM: &str = "public class Main { static byte[] kept = new byte[1 << 20]; public static void main(String[] a) throws Exception \
                       { System.out.println(\"ready\"); Thread.sleep(1000000); } }";

#[test]
fn a_jvm_writes_its_heap_as_its_own_user() {
    let Ok(jcmd) = fs::canonicalize("/usr/bin/jcmd") else { return missing("jcmd: apt-get install default-jdk-headless") };
    let Some(machine) = support::nspawn::Machine::ready() else { return };
    // The JDK lies in the container where it lies here, with what of its configuration Debian keeps in /etc.
    let jdk = jcmd.ancestors().nth(2).unwrap().to_owned();
    let share = support::nspawn::SHARE;
    let script = format!(
        "ln -s {0}/bin/jcmd {0}/bin/java /usr/bin/; mkdir -p /srv/heaps; mount -t tmpfs heaps /srv/heaps; {INSIDE}={0} exec {share}/heap --exact inside_the_container --nocapture",
        jdk.display()
    );
    let mut boot = support::nspawn::Boot::of(script).with(std::env::current_exe().unwrap(), "heap").with_device(JDKS);
    for etc in fs::read_dir("/etc").unwrap().map(|e| e.unwrap()).filter(|e| e.file_name().to_string_lossy().starts_with("java-")) {
        boot = boot.with_device(etc.path());
    }
    let told = machine.boot(&boot);
    eprintln!("{}{}", told.stdout, told.stderr);
    told.succeeded();
    assert!(told.stdout.contains("1 passed"));
}

/// A service of nobody's, once it has said that it is ready.
fn service(name: &str, program: &str) -> u32 {
    let said = format!("/run/{name}.said");
    let unit = format!("[Service]\nUser=nobody\nExecStart={program}\nStandardOutput=file:{said}\n[X-Byteport]\nRestart=safe\n");
    fs::write(format!("/run/systemd/system/{name}.service"), unit).unwrap();
    output(Command::new("systemctl").arg("daemon-reload"));
    output(Command::new("systemctl").args(["start", name]));
    let until = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(&said).is_ok_and(|text| text == "ready\n") {
        assert!(Instant::now() < until, "{name} does not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
    main_pid(name)
}

fn main_pid(name: &str) -> u32 {
    output(Command::new("systemctl").args(["show", "-P", "MainPID", name])).trim().parse().unwrap()
}

#[test]
fn inside_the_container() {
    if support::nspawn::inside().is_none() {
        return;
    }
    let heaps = Path::new("/srv/heaps");
    let nobody = 65534;
    std::os::unix::fs::chown(heaps, Some(nobody), Some(nobody)).unwrap();
    fs::write("/srv/Main.java", PROGRAM).unwrap();
    let pid = service("jvm", "/usr/bin/java /srv/Main.java");
    let effect = asked(pid, SnapshotBy::Jcmd, heaps, 1 << 20);
    assert_eq!((effect.state, effect.done), (EffectState::Done, 1), "{effect:?}");
    let [file] = &snapshots(heaps)[..] else { panic!("{:?}", snapshots(heaps)) };
    assert_eq!(file, &heaps.join(format!("heap-{pid}-{}.hprof", facts::target(pid).start_ticks)));
    let bytes = fs::read(file).unwrap();
    assert!(bytes.starts_with(b"JAVA PROFILE") && bytes.len() > 1 << 20);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(file).unwrap()), nobody);
    assert!(effect.notes[0].contains(&Bytes(bytes.len() as u64).to_string()), "{effect:?}");

    // What is there is not overwritten.
    let effect = asked(pid, SnapshotBy::Jcmd, heaps, 1);
    assert!(skipped(&effect, SkipReason::Changed), "{effect:?}");
    assert_eq!(fs::read(file).unwrap().len(), bytes.len());

    // What is no JVM would be ended by what jcmd sends first.
    let other = service("other", "/bin/bash -c 'echo ready; exec sleep 1000'");
    let effect = asked(other, SnapshotBy::Jcmd, heaps, 1);
    assert!(skipped(&effect, SkipReason::Protected), "{effect:?}");
    assert_eq!((main_pid("jvm"), main_pid("other")), (pid, other));
    // Nothing of ours goes on running.
    assert_eq!(output(Command::new("systemctl").args(["list-units", "--all", "--no-legend", "byteport-jcmd-*"])), "");
}
