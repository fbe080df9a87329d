//! What the disk runbook sees of a real filesystem: ext4 on a loop device, with one of each thing in it.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use byteport::detect::History;
use byteport::guard::Limits;
use byteport::host::{Clock, LiveHost, ReadHost};
use byteport::model::{BootId, FileFamily, HostPath, Now, Observed, Subject};
use byteport::runbooks::disk::{Disk, Evidence, Params};
use byteport::runbooks::{Depth, FocusedAsk, Runbook};
use support::loops::LoopDisk;

const MIB: usize = 1 << 20;
const INSIDE: &str = "BYTEPORT_TEST_IN_NAMESPACE";

fn write(at: &Path, text: &[u8], times: usize) -> File {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    let mut file = File::create(at).unwrap();
    (0..times).for_each(|_| file.write_all(text).unwrap());
    file.sync_all().unwrap();
    file
}

fn params(mount: &Path) -> Params {
    let root = |name: &str| vec![HostPath::from(mount.join(name))];
    let limits = Limits {
        log_roots: root("log"),
        tmp_roots: root("tmp"),
        journal_roots: root("journal"),
        wal_archive_roots: root("wal"),
        ..Limits::default()
    };
    Params { limits, ..Params::default() }
}

fn look(host: &dyn ReadHost, subject: &Subject, params: &Params, depth: Depth) -> Evidence {
    Disk::gather(host, &FocusedAsk { subject, signals: &[], history: &History::default(), sample: None, depth }, params)
}

fn names(evidence: &Evidence, family: FileFamily) -> Vec<String> {
    let scan = evidence.scan.value().unwrap_or_else(|| panic!("{:?}", evidence.scan.why()));
    let found = scan.candidates.iter().filter(|c| c.family == family);
    found.flat_map(|c| c.files.iter().map(|f| f.path.to_string())).collect()
}

#[test]
fn everything_that_a_decision_needs_is_seen() {
    if !support::is_root() {
        return support::missing("a mount namespace needs root");
    }
    // The mount table is that of the process, so the whole of it goes into a namespace of its own.
    if std::env::var_os(INSIDE).is_none() {
        let own = std::env::current_exe().unwrap();
        let mut again = Command::new("unshare");
        again.args(["--mount", "--propagation", "private"]).arg(own).args([
            "--exact",
            "everything_that_a_decision_needs_is_seen",
            "--nocapture",
        ]);
        assert!(support::output(again.env(INSIDE, "1")).contains("1 passed"));
        return;
    }
    let Some(mut disk) = LoopDisk::ext4(64 << 20, &[]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("fs");
    fs::create_dir(&at).unwrap();
    disk.mount(&at);
    let line = b"the same line over and over, as logs are\n".repeat(1000);
    write(&at.join("log/app.log.1"), &line, 50);
    write(&at.join("log/app.log.2.gz"), &[7; MIB], 2);
    write(&at.join("log/linked.log.3.gz"), &[7; MIB], 1);
    fs::hard_link(at.join("log/linked.log.3.gz"), at.join("log/linked.again")).unwrap();
    write(&at.join("journal/0f/system.journal"), &[1; MIB], 3);
    write(&at.join("journal/0f/system@1.journal"), &[1; MIB], 4);
    write(&at.join("tmp/old"), &[2; MIB], 1);
    write(&at.join("wal/00000001000000A0000000FE"), &[4; MIB], 1);
    write(&at.join("wal/00000001000000A0000000FE.gz"), &[4; MIB], 1);
    write(&at.join("wal/00000002.history"), &[4; 9], 1);
    let old = [
        "/log/app.log.1",
        "/log/app.log.2.gz",
        "/log/linked.log.3.gz",
        "/journal/0f/system@1.journal",
        "/tmp/old",
        "/wal/00000001000000A0000000FE",
        "/wal/00000001000000A0000000FE.gz",
        "/wal/00000002.history",
    ]
    .map(str::to_owned);
    disk.unmount();
    disk.age(&old, 30);
    disk.mount(&at);
    write(&at.join("log/live.log"), &line, 10);
    let gone = write(&at.join("held"), &[3; MIB], 6);
    fs::remove_file(at.join("held")).unwrap();

    let host = LiveHost::new(Path::new("/"), None, None).unwrap();
    let mount = host.mounts().unwrap().into_iter().find(|m| m.path == HostPath::from(at.as_path())).expect("the mount is listed");
    let subject = Subject::Filesystem { mount: mount.path.clone(), device: mount.device };
    let params = params(&at);
    let full = look(&host, &subject, &params, Depth::Full);

    assert_eq!(full.mount.value(), Some(&mount));
    assert!(full.usage.value().unwrap().used_percent().unwrap().0 > 20.0);
    assert_eq!(names(&full, FileFamily::ClosedLogs), ["app.log.1"], "compressed, live and young ones are no closed logs");
    assert_eq!(names(&full, FileFamily::RotatedLogs), ["app.log.1", "app.log.2.gz"]);
    assert_eq!(names(&full, FileFamily::JournalArchives), ["0f/system@1.journal"]);
    assert_eq!(names(&full, FileFamily::Tmp), ["old"]);
    assert_eq!(names(&full, FileFamily::WalArchives), ["00000001000000A0000000FE", "00000001000000A0000000FE.gz"]);
    let hard_linked = full.scan.value().unwrap().candidates.iter().find(|c| c.family == FileFamily::RotatedLogs).map(|c| c.hard_linked);
    assert_eq!(hard_linked, Some(1));
    let active = full.journal_active.value().unwrap().expect("a journal");
    assert!((active.0 as i64 - 3 * MIB as i64).abs() <= 8192, "{active:?}");
    let ratio = full.compress_ratios.iter().find(|r| r.path.file_name() == b"app.log.1").and_then(|r| r.ratio.value()).copied();
    assert!(ratio.is_some_and(|r| r < 0.1), "{ratio:?}");
    let held = full.held.value().unwrap();
    let held = held.files.iter().find(|f| f.pid == std::process::id()).expect("our own deleted file");
    assert!((held.on_disk as i64 - 6 * MIB as i64).abs() <= 8192, "{held:?}");
    assert_eq!(full.holder_units.first().map(|h| h.pid), Some(std::process::id()));
    assert!(full.holder_units[0].unit.why().is_some(), "without an actuator nobody knows its unit");
    assert!(full.images.why().is_some() && full.volume.why().is_some());
    drop(gone);

    let quick = look(&host, &subject, &params, Depth::Quick);
    assert!(quick.usage.value().is_some() && quick.held.value().is_some() && quick.writers.value().is_some());
    assert!(quick.scan.why().is_some() && quick.tmp_exclusions.why().is_some() && quick.compress_ratios.is_empty());

    let other = Subject::Filesystem { mount: mount.path.clone(), device: mount.device + 1 };
    let stale = look(&host, &other, &params, Depth::Full);
    assert!(stale.mount.why().is_some_and(|why| why.contains("another filesystem")), "{:?}", stale.mount);
    disk.unmount();
    let unmounted = look(&host, &subject, &params, Depth::Full);
    assert!(unmounted.mount.why().is_some_and(|why| why.contains("not mounted")), "{:?}", unmounted.mount);
    assert!([unmounted.usage.why(), unmounted.scan.why(), unmounted.held.why()].iter().all(Option::is_some));
    let now = Now { wall: unmounted.taken.wall, boot: BootId(unmounted.taken.boot.0.clone()), uptime_s: unmounted.taken.uptime_s };
    let diagnosis = Disk::classify(&unmounted, &params, &now);
    assert_eq!(diagnosis.confidence.get(), 0.0, "{}", diagnosis.summary);
    assert!(Disk::plan(&unmounted, &diagnosis, &params, &host.now()).steps.is_empty());
    assert!(matches!(unmounted.growth, Observed::Unavailable { .. }));
}
