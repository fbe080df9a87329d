//! What systemd last said of a few units, for the moment in which it answers nobody: where memory is gone, its answers wait for pages.
//!
//! It is believed while it is young and nothing speaks against it. The unit is in the same run: systemd (from 236 on) keeps a link with its
//! InvocationID for journald as long as the unit is up. systemd has not read its units anew: that touches a file, and makes the folders of the
//! generators anew. And no folder has changed in which a file of the unit lies or a drop-in of it may come to lie. Consent itself is not kept, it is
//! read from the files each time. Where any of that cannot be looked at, nothing is proved, and systemd is asked.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

use super::consent::read_consent;
use super::facts::Said;
use crate::host::Read;
use crate::host::clock;
use crate::host::root::{Root, if_there, io_error};
use crate::model::{HostPath, UnitFacts};

/// Units that are kept; the one that was asked about longest ago goes first.
const MOST: usize = 16;
/// What was said longer ago is not believed.
const LASTS_S: f64 = 90.0;
/// What changes whenever systemd reads its units anew: the folder that has the generators' folders, and (from 246 on) a file of that purpose.
const READ_ANEW: [&str; 2] = ["/run/systemd", "/run/systemd/systemd-units-load"];

/// Which file or folder is there and when it, or what is in it, last changed; `None`: there is none.
type Mark = Option<(u64, u64, i64, u64)>;

/// The state of the host before systemd is asked, by which its answer is dated: a change in between counts as one after it.
#[derive(Debug, Clone)]
pub(in crate::host) struct Before {
    at_s: f64,
    marks: Option<Vec<(String, Mark)>>,
}

impl Before {
    pub(in crate::host) fn now(root: &Root) -> Self {
        Self { at_s: clock::uptime_s(), marks: marks(root, READ_ANEW.map(str::to_owned)).ok() }
    }
}

#[derive(Debug, Default)]
pub(in crate::host) struct Kept {
    /// The one asked about last at the end.
    units: Mutex<Vec<Known>>,
}

/// One unit as systemd described it.
#[derive(Debug, Clone)]
pub(in crate::host) struct Known {
    /// By which it was asked about; `facts` has systemd's own.
    name: String,
    at_s: f64,
    facts: UnitFacts,
    files: Vec<String>,
    marks: Vec<(String, Mark)>,
}

impl Kept {
    /// Looks at the folders from which `said` may change, and keeps it instead of what was kept of that unit.
    pub(in crate::host) fn keep(&self, root: &Root, before: &Before, name: &str, said: &Said) {
        let (facts, files) = said;
        let known = before.marks.clone().zip(marks(root, folders(&facts.name, files)).ok()).map(|(mut all, own)| {
            all.extend(own);
            Known { name: name.to_owned(), at_s: before.at_s, facts: facts.clone(), files: files.clone(), marks: all }
        });
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        units.retain(|unit| unit.name != name);
        units.extend(known);
        let over = units.len().saturating_sub(MOST);
        units.drain(..over);
    }

    /// What is kept of a unit and still young at `now_s` of the boot clock; to be [proved](Known::proved).
    pub(in crate::host) fn find(&self, name: &str, now_s: f64) -> Option<Known> {
        let units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        units.iter().find(|unit| unit.name == name && (0.0..=LASTS_S).contains(&(now_s - unit.at_s))).cloned()
    }
}

impl Known {
    /// What was said, with consent as the files have it now; `None` when systemd may say something else by now.
    pub(in crate::host) fn proved(self, root: &Root, now_s: f64) -> Option<UnitFacts> {
        let steady = self.facts.active == "active" && !self.facts.job_queued && !self.facts.invocation.is_empty();
        let run = root.read_link(&format!("/run/systemd/units/invocation:{}", self.facts.name)).ok()?;
        let same_run = run.as_bytes() == self.facts.invocation.as_bytes();
        let restart_safe = read_consent(root, &self.files);
        // Looked at last: what the files say is what they say together with no file beside them.
        let same_files = self.marks.iter().all(|(path, before)| mark(root, path).is_ok_and(|now| now == *before));
        let active_for_s = self.facts.active_for_s + (now_s - self.at_s);
        (steady && same_run && same_files).then_some(UnitFacts { restart_safe, active_for_s, ..self.facts })
    }
}

/// Where the unit's files lie, and where people and systemd put drop-ins for it. A drop-in anywhere else is none before the units are read anew.
fn folders(name: &str, files: &[String]) -> BTreeSet<String> {
    let own = files.iter().filter_map(|file| file.rsplit_once('/')).map(|(folder, _)| folder.to_owned());
    let dropins = ["/etc/systemd/system", "/run/systemd/system", "/run/systemd/system.control"].map(|folder| format!("{folder}/{name}.d"));
    own.filter(|folder| !folder.is_empty()).chain(dropins).collect()
}

fn marks(root: &Root, paths: impl IntoIterator<Item = String>) -> Read<Vec<(String, Mark)>> {
    paths.into_iter().map(|path| mark(root, &path).map(|mark| (path, mark))).collect()
}

fn mark(root: &Root, path: &str) -> Read<Mark> {
    let host = HostPath::from(path);
    let Some(there) = if_there(root.open_flags(&host, OFlags::PATH))? else { return Ok(None) };
    let stat = rustix::fs::fstat(&there).map_err(|e| io_error(&host, e))?;
    Ok(Some((stat.st_dev, stat.st_ino, stat.st_ctime, stat.st_ctime_nsec)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A host on which `app.service` runs, and what systemd said of it at second 1000.
    struct Host {
        dir: tempfile::TempDir,
        root: Root,
        kept: Kept,
    }

    const RUN: &str = "1f2e3d4c5b6a79881f2e3d4c5b6a7988";
    const UNIT: &str = "/usr/lib/systemd/system/app.service";
    const DROPIN: &str = "/etc/systemd/system/app.service.d/byteport.conf";

    fn facts(name: &str) -> UnitFacts {
        UnitFacts {
            name: name.into(),
            active: "active".into(),
            invocation: RUN.into(),
            active_for_s: 500.0,
            restarts: 0,
            start_limit_s: 10.0,
            job_queued: false,
            restart_safe: false,
            main_pid: Some(700),
            cgroup: HostPath::from("/system.slice/app.service"),
            memory_high: None,
            memory_max: None,
            cpu_weight: None,
            cpu_quota_percent: None,
            restarts_too: Vec::new(),
        }
    }

    impl Host {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for folder in ["usr/lib/systemd/system", "etc/systemd/system/app.service.d", "run/systemd/units", "run/systemd/system"] {
                fs::create_dir_all(dir.path().join(folder)).unwrap();
            }
            let host = Self { root: Root::open(dir.path()).unwrap(), dir, kept: Kept::default() };
            fs::write(host.at(UNIT), "[Service]\n").unwrap();
            fs::write(host.at(DROPIN), "[X-Byteport]\nRestart=safe\n").unwrap();
            fs::write(host.at("/run/systemd/systemd-units-load"), "").unwrap();
            symlink(RUN, host.at("/run/systemd/units/invocation:app.service")).unwrap();
            host.keep(facts("app.service"));
            host
        }

        fn at(&self, path: &str) -> std::path::PathBuf {
            self.dir.path().join(Path::new(path).strip_prefix("/").unwrap())
        }

        fn keep(&self, facts: UnitFacts) {
            let name = facts.name.clone();
            let before = Before { at_s: 1000.0, ..Before::now(&self.root) };
            self.kept.keep(&self.root, &before, &name, &(facts, vec![UNIT.to_owned(), DROPIN.to_owned()]));
        }

        fn says(&self, now_s: f64) -> Option<UnitFacts> {
            self.kept.find("app.service", now_s).and_then(|known| known.proved(&self.root, now_s))
        }
    }

    /// A change that must be told from none needs another moment of the clock by which files are dated.
    fn a_moment_later() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }

    #[test]
    fn what_nothing_speaks_against_is_told_again_as_long_as_it_is_young() {
        let host = Host::new();
        let told = host.says(1030.0).unwrap();
        assert_eq!(told, UnitFacts { restart_safe: true, active_for_s: 530.0, ..facts("app.service") });
        assert!(host.says(1090.0).is_some() && host.says(1090.1).is_none());
        assert!(host.says(999.0).is_none(), "a clock that went back dates nothing");
        assert!(host.kept.find("other.service", 1030.0).is_none());
    }

    #[test]
    fn another_run_is_not_the_one_that_was_told_of() {
        let host = Host::new();
        let link = host.at("/run/systemd/units/invocation:app.service");
        fs::remove_file(&link).unwrap();
        assert!(host.says(1030.0).is_none(), "it has ended");
        symlink(RUN.replace("1f", "20"), &link).unwrap();
        assert!(host.says(1030.0).is_none(), "it was started anew");
        fs::remove_file(&link).unwrap();
        symlink(RUN, &link).unwrap();
        assert!(host.says(1030.0).is_some());
    }

    #[test]
    fn consent_is_what_the_files_say_now() {
        let host = Host::new();
        // Overwritten in place, which its folder does not know of.
        fs::write(host.at(DROPIN), "[X-Byteport]\nRestart=no\n").unwrap();
        assert!(!host.says(1030.0).unwrap().restart_safe);
        fs::write(host.at(DROPIN), "[X-Byteport]\nRestart=safe\n").unwrap();
        assert!(host.says(1030.0).unwrap().restart_safe);
    }

    #[test]
    fn a_file_that_came_or_went_is_a_matter_for_systemd() {
        type Change = fn(&Host);
        let changes: [(&str, Change); 7] = [
            ("a drop-in beside ours", |h| fs::write(h.at("/etc/systemd/system/app.service.d/z.conf"), "").unwrap()),
            ("one at run time", |h| fs::create_dir(h.at("/run/systemd/system/app.service.d")).unwrap()),
            ("one of systemd's own", |h| fs::create_dir_all(h.at("/run/systemd/system.control/app.service.d")).unwrap()),
            ("a unit beside it", |h| fs::write(h.at("/usr/lib/systemd/system/b.service"), "").unwrap()),
            ("ours is gone", |h| fs::remove_file(h.at(DROPIN)).unwrap()),
            ("generators ran", |h| fs::create_dir(h.at("/run/systemd/generator")).unwrap()),
            ("units were read anew", |h| fs::write(h.at("/run/systemd/systemd-units-load"), "now").unwrap()),
        ];
        for (what, change) in changes {
            let host = Host::new();
            a_moment_later();
            change(&host);
            assert!(host.says(1030.0).is_none(), "{what}");
            host.keep(facts("app.service"));
            assert!(host.says(1030.0).is_some(), "{what}, and systemd was asked since");
        }
    }

    #[test]
    fn a_change_while_systemd_was_asked_is_one_after_it() {
        let host = Host::new();
        let before = Before { at_s: 1000.0, ..Before::now(&host.root) };
        a_moment_later();
        fs::write(host.at("/run/systemd/systemd-units-load"), "now").unwrap();
        host.kept.keep(&host.root, &before, "app.service", &(facts("app.service"), vec![UNIT.to_owned()]));
        assert!(host.says(1030.0).is_none());
    }

    #[test]
    fn what_will_not_stay_so_is_asked_again() {
        let host = Host::new();
        for unsteady in [
            UnitFacts { active: "activating".into(), ..facts("app.service") },
            UnitFacts { job_queued: true, ..facts("app.service") },
            UnitFacts { invocation: String::new(), ..facts("app.service") },
        ] {
            host.keep(unsteady.clone());
            assert!(host.says(1030.0).is_none(), "{unsteady:?}");
        }
    }

    #[test]
    fn of_many_the_oldest_go() {
        let host = Host::new();
        (0..MOST).for_each(|n| host.keep(facts(&format!("{n}.service"))));
        let units: Vec<String> = host.kept.units.lock().unwrap().iter().map(|unit| unit.name.clone()).collect();
        assert_eq!(units, (0..MOST).map(|n| format!("{n}.service")).collect::<Vec<_>>());
        host.keep(facts("0.service"));
        assert_eq!(host.kept.units.lock().unwrap().len(), MOST);
    }
}
