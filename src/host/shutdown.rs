//! Is the host going down? Told from the files that systemd leaves for everybody.

use std::os::unix::fs::MetadataExt;

use super::Read;
use super::root::{Root, if_there, io_error};
use crate::model::{HostPath, Now};

/// A shutdown that is planned for later than this is none yet.
const SOON_S: f64 = 600.0;
/// systemd-tmpfiles makes `/run/nologin` while booting and takes it away when logins are allowed. One that was made this early and is still
/// there after as long a time was forgotten; it says nothing about a shutdown.
const BOOTING_S: f64 = 300.0;

/// True from the moment that a shutdown is due within ten minutes, or logins are closed because it has begun. False where there is no
/// systemd to say so.
pub(super) fn read_shutting_down(root: &Root, now: &Now) -> Read<bool> {
    if let Some(bytes) = if_there(root.read("/run/systemd/shutdown/scheduled"))?
        && parse_scheduled(&bytes).is_none_or(|at_s| at_s - wall_s(now) < SOON_S)
    {
        return Ok(true);
    }
    let path = HostPath::from("/run/nologin");
    let Some(file) = if_there(root.open_file(&path))? else { return Ok(false) };
    let made_s = file.metadata().map_err(|e| io_error(&path, e))?.ctime() as f64;
    let booted_s = wall_s(now) - now.uptime_s;
    Ok(now.uptime_s < BOOTING_S || made_s - booted_s > BOOTING_S)
}

fn wall_s(now: &Now) -> f64 {
    now.wall.as_millisecond() as f64 / 1000.0
}

/// `USEC=` of the plan, as seconds of the wall clock; infinitely late for a rehearsal. `None` when it cannot be told: then it counts as due.
pub(super) fn parse_scheduled(bytes: &[u8]) -> Option<f64> {
    let text = String::from_utf8_lossy(bytes);
    let value = |key: &str| text.lines().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix('='));
    if value("MODE").is_some_and(|mode| mode.starts_with("dry-")) {
        return Some(f64::INFINITY);
    }
    Some(value("USEC")?.parse::<u64>().ok()? as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BootId;
    use proptest::prelude::*;

    fn now(uptime_s: f64) -> Now {
        Now { wall: jiff::Timestamp::now(), boot: BootId("b".into()), uptime_s }
    }

    #[test]
    fn a_shutdown_counts_when_it_is_near() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(!read_shutting_down(&root, &now(5000.0)).unwrap());
        std::fs::create_dir_all(dir.path().join("run/systemd/shutdown")).unwrap();
        let plan = |text: String| std::fs::write(dir.path().join("run/systemd/shutdown/scheduled"), text).unwrap();
        let in_s = |s: i64| (jiff::Timestamp::now().as_second() + s) * 1_000_000;
        plan(format!("USEC={}\nWARN_WALL=1\nMODE=poweroff\n", in_s(7200)));
        assert!(!read_shutting_down(&root, &now(5000.0)).unwrap());
        plan(format!("USEC={}\nMODE=poweroff\n", in_s(60)));
        assert!(read_shutting_down(&root, &now(5000.0)).unwrap());
        plan(format!("USEC={}\nMODE=dry-poweroff\n", in_s(60)));
        assert!(!read_shutting_down(&root, &now(5000.0)).unwrap());
        plan("damaged".into());
        assert!(read_shutting_down(&root, &now(5000.0)).unwrap(), "what cannot be read is not taken for no");
    }

    #[test]
    fn closed_logins_count_unless_they_were_forgotten_at_boot() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        std::fs::write(dir.path().join("run/nologin"), "").unwrap();
        let root = Root::open(dir.path()).unwrap();
        // The file is made now: long after a boot that was 5000 s ago ...
        assert!(read_shutting_down(&root, &now(5000.0)).unwrap());
        // ... and while booting when that was 20 s ago.
        assert!(read_shutting_down(&root, &now(20.0)).unwrap());
        let later = Now { wall: jiff::Timestamp::now() + std::time::Duration::from_secs(4980), ..now(5000.0) };
        assert!(!read_shutting_down(&root, &later).unwrap(), "made 20 s after boot, and it is still there");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_scheduled(&bytes);
        }
    }
}
