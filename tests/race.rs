//! Attackers that own the directories race against the deletion, and the same attackers against a deleter that trusts paths.

mod acting;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use acting::{Later, Stand, admitted, asking, batch, mount_of, write};
use byteport::act::client::Performed;
use byteport::model::{FileFamily, HostPath, SkipReason, Step};
use rustix::fs::{CWD, RenameFlags, fstat, renameat_with};

const TRIES: u64 = 100_000;
const DIRS: usize = 6;
const FILES: usize = 60;
/// Never reached on a machine that works; a test must end.
const LIMIT: Duration = Duration::from_secs(240);

/// The scene of the crime: directories full of old files, and the same names outside the root, which nobody may touch.
struct Field {
    root: PathBuf,
    outside: PathBuf,
    aside: PathBuf,
}

/// What attackers did and saw.
#[derive(Default)]
struct Attacks {
    over: AtomicBool,
    count: AtomicU64,
    /// A file was deleted while somebody had it open.
    removed_while_open: AtomicU64,
    moved_out: AtomicU64,
}

impl Field {
    fn new(root: &Path, dir: &Path) -> Self {
        let field = Self { root: root.to_owned(), outside: dir.join("outside"), aside: dir.join("aside") };
        fs::create_dir_all(&field.aside).unwrap();
        for d in 0..DIRS {
            for f in 0..FILES {
                // As large as the victims, so that a look at the size does not tell them apart.
                write(&field.outside.join(format!("d{d}/f{f}")), 64);
            }
        }
        field
    }

    /// Fills the root anew.
    fn fill(&self) -> Vec<HostPath> {
        let mut names = Vec::new();
        for d in 0..DIRS {
            for f in 0..FILES {
                let name = format!("d{d}/f{f}");
                write(&self.root.join(&name), 64);
                names.push(HostPath::from(name.as_str()));
            }
        }
        names
    }

    /// Inode and content of everything outside.
    fn canaries(&self) -> BTreeMap<PathBuf, (u64, Vec<u8>)> {
        let mut all = BTreeMap::new();
        for d in 0..DIRS {
            for entry in fs::read_dir(self.outside.join(format!("d{d}"))).unwrap() {
                let path = entry.unwrap().path();
                let there = (fs::symlink_metadata(&path).unwrap().ino(), fs::read(&path).unwrap());
                all.insert(path, there);
            }
        }
        all
    }

    /// Every attacker has its own files and directories, so that what one does is not mistaken for the deleter's work.
    fn attack(&self, kind: u64, attacks: &Attacks) {
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(kind + 1);
        let mut next = |below: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            usize::try_from(dice % below as u64).unwrap()
        };
        while !attacks.over.load(Ordering::Relaxed) {
            attacks.count.fetch_add(1, Ordering::Relaxed);
            let file = |d: usize, f: usize| format!("d{d}/f{}", f * 5 % FILES + usize::try_from(kind).unwrap() % 5);
            match kind {
                0 => self.hold_open(&file(2 + next(2), next(FILES / 5)), attacks),
                1 => self.replace_by_symlink(&file(2 + next(2), next(FILES / 5))),
                2 => self.hard_link(&file(2 + next(2), next(FILES / 5))),
                3 => self.move_out(&file(2 + next(2), next(FILES / 5)), attacks),
                4 => self.swap_names(&file(2 + next(2), next(FILES / 5)), &file(2 + next(2), next(FILES / 5))),
                5 => self.directory_to_symlink("d0"),
                6 => self.directory_to_symlink("d1"),
                7 => self.exchange_directory("d4"),
                _ => self.exchange_directory("d5"),
            }
        }
    }

    /// If it had a name when it was opened, it has one for as long as it is open.
    fn hold_open(&self, name: &str, attacks: &Attacks) {
        let Ok(file) = fs::File::open(self.root.join(name)) else { return };
        if fstat(file.as_fd()).unwrap().st_nlink == 0 {
            return;
        }
        std::thread::yield_now();
        if fstat(file.as_fd()).unwrap().st_nlink == 0 {
            attacks.removed_while_open.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn replace_by_symlink(&self, name: &str) {
        let (here, hidden) = (self.root.join(name), self.aside.join(format!("link-{}", name.replace('/', "-"))));
        if fs::rename(&here, &hidden).is_ok() {
            let _ = std::os::unix::fs::symlink(self.outside.join(name), &here);
            std::thread::yield_now();
            let _ = fs::rename(&hidden, &here);
        }
    }

    fn hard_link(&self, name: &str) {
        let second = self.aside.join(format!("hard-{}", name.replace('/', "-")));
        if fs::hard_link(self.root.join(name), &second).is_ok() {
            std::thread::yield_now();
            fs::remove_file(second).unwrap();
        }
    }

    /// Out of the root: from then on it is nobody's to delete.
    fn move_out(&self, name: &str, attacks: &Attacks) {
        let to = self.aside.join(format!("out-{}", attacks.moved_out.load(Ordering::Relaxed)));
        if fs::rename(self.root.join(name), to).is_ok() {
            attacks.moved_out.fetch_add(1, Ordering::Relaxed);
        }
        // Rarely enough that there is something left to delete.
        std::thread::sleep(Duration::from_millis(1));
    }

    fn swap_names(&self, a: &str, b: &str) {
        let _ = renameat_with(CWD, self.root.join(a), CWD, self.root.join(b), RenameFlags::EXCHANGE);
    }

    fn directory_to_symlink(&self, name: &str) {
        let (here, hidden) = (self.root.join(name), self.aside.join(name));
        if fs::rename(&here, &hidden).is_ok() {
            std::os::unix::fs::symlink(self.outside.join(name), &here).unwrap();
            std::thread::yield_now();
            fs::remove_file(&here).unwrap();
            fs::rename(&hidden, &here).unwrap();
        }
    }

    /// Twice, so that at the end everything is where it was.
    fn exchange_directory(&self, name: &str) {
        let (here, there) = (self.root.join(name), self.outside.join(name));
        for _ in 0..2 {
            renameat_with(CWD, &here, CWD, &there, RenameFlags::EXCHANGE).unwrap();
            std::thread::yield_now();
        }
    }
}

/// In memory the race is as fast as it can be; on a busy disk the attackers would wait for it most of the time.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Also when the deleter panics: a scope waits for its threads.
struct CallOff<'a>(&'a AtomicBool);

impl Drop for CallOff<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Again and again: `look` sees a full root in peace, then `delete` works on what it saw while the attackers do; until `enough` says so,
/// in peace again.
fn race<T>(field: &Field, look: impl Fn(Vec<HostPath>) -> T, mut delete: impl FnMut(T), enough: impl Fn() -> bool) -> Attacks {
    let attacks = Attacks::default();
    let (mut tried, until) = (0, Instant::now() + LIMIT);
    while tried < TRIES || attacks.count.load(Ordering::Relaxed) < TRIES {
        assert!(Instant::now() < until, "{tried} tries only, against {} attacks", attacks.count.load(Ordering::Relaxed));
        let names = field.fill();
        tried += names.len() as u64;
        let seen = look(names);
        attacks.over.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for kind in 0..9 {
                let attacks = &attacks;
                scope.spawn(move || field.attack(kind, attacks));
            }
            let _call_off = CallOff(&attacks.over);
            delete(seen);
        });
        if enough() {
            break;
        }
    }
    attacks
}

#[test]
fn nothing_outside_and_nothing_open_is_ever_removed() {
    let stand = Stand::on(in_memory(), Later::new(), |_| {});
    let field = Field::new(&stand.root, stand.dir.path());
    let before = field.canaries();
    let mount = mount_of(&Later::new(), &stand.root);
    let (mut seen, mut removed, mut round) = (BTreeMap::<SkipReason, u64>::new(), 0, 0);
    let look = |names| batch(&stand.root, FileFamily::Tmp, names);
    let delete = |files| {
        round += 1;
        let perform = asking(&mount, &format!("race-{round}"), 1, Step::DeleteFiles(files));
        match stand.client.perform(&admitted(&stand.policy, &perform), perform).unwrap() {
            Performed::Effect(effect) => {
                removed += effect.done;
                effect.skipped.into_iter().for_each(|(reason, n)| *seen.entry(reason).or_default() += n);
            }
            other => panic!("{other:?}"),
        }
    };
    let attacks = race(&field, look, delete, || false);
    let out = attacks.moved_out.load(Ordering::Relaxed);
    eprintln!("{removed} removed, kept: {seen:?}; {} attacks, {out} files moved out", attacks.count.load(Ordering::Relaxed));
    assert_eq!(field.canaries(), before, "something outside the root was touched");
    assert_eq!(attacks.removed_while_open.load(Ordering::Relaxed), 0, "a file went while somebody had it open");
    for n in 0..out {
        assert!(field.aside.join(format!("out-{n}")).exists(), "a file went that had been moved out of the root");
    }
    // Otherwise the attackers did not get between look and deletion, and this proved nothing.
    assert!(removed > 1_000);
    for reason in [SkipReason::Gone, SkipReason::Changed, SkipReason::InUse, SkipReason::HardLinked, SkipReason::Outside] {
        assert!(seen.get(&reason).is_some_and(|n| *n > 0), "no file was ever kept as {reason:?}: {seen:?}");
    }
}

/// The same race against what everybody writes first: look at the path, then remove the path. It has to lose.
#[test]
fn a_deleter_that_trusts_paths_loses_the_same_race() {
    let dir = in_memory();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let field = Field::new(&root, dir.path());
    let before = field.canaries();
    let delete = |names: Vec<HostPath>| {
        for name in names {
            let path = root.join(name.as_path());
            if fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() == 64) {
                let _ = fs::remove_file(&path);
            }
        }
    };
    let attacks = race(&field, |names| names, delete, || field.canaries() != before);
    let open = attacks.removed_while_open.load(Ordering::Relaxed);
    eprintln!("{} attacks until something outside was gone; {open} files went while open", attacks.count.load(Ordering::Relaxed));
    assert_ne!(field.canaries(), before, "a deleter without any protection won: these attackers prove nothing");
}
