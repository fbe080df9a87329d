//! A host's folders, made for the test.

use std::fs;
use std::time::{Duration, SystemTime};

use super::*;

struct Made {
    dir: tempfile::TempDir,
}

impl Made {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        // To join an absolute path would leave the folder.
        let path = self.dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn markers(&self) -> std::path::PathBuf {
        self.dir.path().join("state/deploys")
    }

    fn told(&self, from: &str, to: &str) -> Read<Vec<Deploy>> {
        let within = Within { from: from.parse().unwrap(), to: to.parse().unwrap() };
        read_deploys(&Root::open(self.dir.path()).unwrap(), Some(&self.markers()), within)
    }
}

fn names(deploys: &[Deploy]) -> Vec<&str> {
    deploys.iter().map(|deploy| deploy.name.as_str()).collect()
}

#[test]
fn a_host_without_any_of_it_has_released_nothing() {
    assert_eq!(Made::new().told("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z").unwrap(), []);
}

#[test]
fn packages_are_told_newest_first_with_their_units_and_by_the_hosts_own_zone() {
    let made = Made::new();
    // As `TZif` version 1: one kind of local time, two hours ahead.
    let zone = [b"TZif\0".as_slice(), &[0; 15], &[0; 12], &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4], &7200i32.to_be_bytes(), &[0, 0], b"CAT\0"]
        .concat();
    made.file("/etc/localtime", zone);
    made.file("/var/log/dpkg.log", "2026-11-27 12:00:00 install app:all <none> 3.0\n2026-11-27 12:30:00 upgrade nginx:amd64 1 2\n");
    made.file("/var/lib/dpkg/info/nginx.list", "/lib/systemd/system/nginx.service\n");
    made.file("/var/lib/dpkg/info/app:all.list", "/usr/lib/systemd/system/app@.service\n");
    let told = made.told("2026-11-27T09:45:00Z", "2026-11-27T10:45:00Z").unwrap();
    assert_eq!(names(&told), ["nginx", "app"]);
    assert_eq!((told[0].version.as_str(), told[0].at.to_string().as_str()), ("2", "2026-11-27T10:30:00Z"));
    assert!(told[0].is_of("nginx.service") && told[1].is_of("app@7.service") && !told[1].is_of("nginx.service"));
    assert_eq!(names(&made.told("2026-11-27T09:45:00Z", "2026-11-27T10:15:00Z").unwrap()), ["app"]);
    made.file("/etc/localtime", "damaged");
    assert!(made.told("2026-11-27T09:45:00Z", "2026-11-27T10:45:00Z").is_err());
}

#[test]
fn what_was_unpacked_before_the_log_was_rotated_is_found() {
    let made = Made::new();
    made.file("/var/log/dpkg.log.1", "2026-11-27 09:59:00 upgrade a:all 1 2\n2026-11-27 09:59:30 install b:all <none> 1\n");
    made.file("/var/log/dpkg.log", "2026-11-27 10:00:30 status installed a:all 2\n");
    let told = made.told("2026-11-27T09:30:00Z", "2026-11-27T11:00:00Z").unwrap();
    assert_eq!(
        told.iter().map(|d| (d.name.as_str(), d.at.to_string())).collect::<Vec<_>>(),
        [("a", "2026-11-27T10:00:30Z".to_owned()), ("b", "2026-11-27T09:59:30Z".to_owned())]
    );
    // An empty one is what rotating leaves.
    made.file("/var/log/dpkg.log", "");
    assert_eq!(names(&made.told("2026-11-27T09:30:00Z", "2026-11-27T11:00:00Z").unwrap()), ["b", "a"]);
}

#[test]
fn of_a_log_without_end_the_end_is_read_and_no_more_than_a_hundred_are_told() {
    let made = Made::new();
    let line = |n: u32| format!("2026-11-27 {:02}:{:02}:{:02} install p{n}:all <none> 1\n", n / 3600 % 24, n / 60 % 60, n % 60);
    let log: String = (0..86_400).map(line).chain((86_300..86_400).map(|n| format!("#{}\n", "x".repeat(500 + n % 7)))).collect();
    assert!(log.len() as u64 > LOG_END / 2);
    made.file("/var/log/dpkg.log", [log.as_str(), &log].concat());
    let told = made.told("2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z").unwrap();
    assert_eq!((told.len(), told[0].name.as_str(), told[99].name.as_str()), (100, "p86399", "p86300"));
}

#[test]
fn what_a_log_says_leads_to_no_other_file() {
    let made = Made::new();
    made.file("/var/lib/dpkg/secret.list", "/lib/systemd/system/secret.service\n");
    made.file("/var/lib/dpkg/info/x.list", "");
    made.file("/var/log/dpkg.log", "2026-11-27 10:00:00 install ../secret <none> 1\n2026-11-27 10:00:00 install \u{1b}[31m <none> 1\n");
    let told = made.told("2026-11-27T09:00:00Z", "2026-11-27T11:00:00Z").unwrap();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|deploy| deploy.units.is_empty() && !deploy.name.contains('\u{1b}')), "{told:?}");
}

#[test]
fn markers_are_files_by_whatever_name_and_nothing_else_is_one() {
    let made = Made::new();
    let now = SystemTime::now();
    let write = |name: &[u8], text: &[u8], age_s: u64| {
        use std::os::unix::ffi::OsStrExt as _;
        fs::create_dir_all(made.markers()).unwrap();
        let path = made.markers().join(std::ffi::OsStr::from_bytes(name));
        fs::write(&path, text).unwrap();
        let at = now - Duration::from_secs(age_s);
        fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    };
    write(b"shop", b"v12\nby somebody\n", 60);
    write(b"line\nbreak\xff\x1b[0m", b"v\x1b[31m", 120);
    write(b".shop.new", b"v13", 60);
    write(b"old", b"v1", 7200);
    write(b"tomorrow", b"v1", 0);
    fs::File::options().write(true).open(made.markers().join("tomorrow")).unwrap().set_modified(now + Duration::from_secs(86_400)).unwrap();
    write(b"long", "9".repeat(1 << 20).as_bytes(), 180);
    made.file("/etc/passwd", "root:x:0:0\n");
    std::os::unix::fs::symlink("../../etc/passwd", made.markers().join("link")).unwrap();
    nix::unistd::mkfifo(&made.markers().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(made.markers().join("folder")).unwrap();
    let from_now = |s: i64| (Timestamp::try_from(now).unwrap() + jiff::SignedDuration::from_secs(s)).to_string();
    let told = made.told(&from_now(-3600), &from_now(60)).unwrap();
    assert_eq!(names(&told), ["shop", "line\\x0abreak\\xff\\x1b[0m", "long"]);
    assert_eq!((told[0].version.as_str(), told[1].version.as_str(), told[2].version.len()), ("v12", "v\\x1b[31m", 256));
    assert!(told[0].is_of("shop.service") && told[0].source == DeploySource::Marker);
}
