use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::*;
use crate::host::FamilyAsk;
use crate::model::{BootId, FileFamily, HostPath, Now};

const DAY: u64 = 86_400;

/// A walk over a scratch directory, seen `days` from now.
fn ask(dir: &Path, days: u64, families: Vec<FamilyAsk>) -> ScanAsk {
    let wall = jiff::Timestamp::now() + std::time::Duration::from_secs(days * DAY + 60);
    ScanAsk {
        mount: HostPath::from(dir),
        device: dir.metadata().unwrap().dev(),
        families,
        top: 5,
        keep: 1000,
        deadline: Duration::from_secs(60),
        now: Now { wall, boot: BootId("b".into()), uptime_s: 1.0 },
    }
}

fn family(root: &Path) -> FamilyAsk {
    FamilyAsk {
        family: FileFamily::Tmp,
        root: HostPath::from(root),
        min_age_s: DAY,
        min_size: 0,
        or_age_s: None,
        names: Vec::new(),
        exclude: Vec::new(),
        dirs_min_age_s: Some(2 * DAY),
    }
}

fn run(ask: &ScanAsk) -> Scan {
    scan(&Arc::new(Root::open(Path::new("/")).unwrap()), &Arc::new(Parking::default()), ask).unwrap()
}

fn write(dir: &Path, name: &str, size: usize) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, vec![7u8; size]).unwrap();
}

fn names(files: &[crate::model::FileTarget]) -> Vec<String> {
    files.iter().map(|f| f.path.to_string()).collect()
}

fn du(dir: &Path, apparent: bool) -> u64 {
    let mut du = std::process::Command::new("du");
    du.args(["-sx", "--block-size=1"]).args(apparent.then_some("--apparent-size")).arg(dir);
    String::from_utf8(du.output().unwrap().stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn sums_are_those_of_du() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a/large", 100_000);
    write(dir.path(), "a/b/small", 10);
    std::fs::hard_link(dir.path().join("a/large"), dir.path().join("a/b/again")).unwrap();
    let sparse = std::fs::File::create(dir.path().join("sparse")).unwrap();
    sparse.set_len(50 << 20).unwrap();
    symlink("/usr", dir.path().join("link")).unwrap();
    let scan = run(&ask(dir.path(), 0, Vec::new()));
    assert!(scan.complete && scan.not_seen.is_empty(), "{:?}", scan.not_seen);
    assert_eq!(scan.on_disk, du(dir.path(), false));
    assert_eq!(scan.apparent, du(dir.path(), true));
    assert_eq!((scan.files, scan.dirs), (5, 3));
    assert_eq!(scan.largest_files[0].path, HostPath::from(dir.path()).join(&"a/large".into()), "a sparse file is small, whatever it says");
    let dirs: Vec<_> = scan.largest_dirs.iter().map(|d| d.path.strip(&HostPath::from(dir.path())).unwrap().to_string()).collect();
    assert_eq!(dirs, ["", "a", "a/b"]);
    assert_eq!(scan.largest_dirs[1].on_disk, du(&dir.path().join("a"), false));
}

#[test]
fn only_what_is_old_matches_and_is_not_excluded_is_a_candidate() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["old.gz", "keep.gz", "old.txt", "spared/x.gz", "sub/y.gz", "sub/deep/z.gz", "stays/note", "stays/x.gz"] {
        write(dir.path(), name, 5000);
    }
    let in_dir = |p: &str| format!("{}/{p}", dir.path().display());
    let ask_for = |days| {
        let names = vec!["*.gz".to_owned()];
        let exclude = vec![in_dir("keep*"), in_dir("spared"), in_dir("spared/**")];
        ask(dir.path(), days, vec![FamilyAsk { names, exclude, ..family(dir.path()) }])
    };
    let young = run(&ask_for(0));
    assert_eq!((young.candidates[0].total_files, names(&young.candidates[0].files)), (0, Vec::new()));

    let old = run(&ask_for(1));
    assert_eq!(names(&old.candidates[0].files), ["old.gz", "stays/x.gz", "sub/deep/z.gz", "sub/y.gz"]);
    assert_eq!(names(&old.candidates[0].dirs), Vec::<String>::new(), "directories are given twice the time");

    let older = run(&ask_for(3));
    assert_eq!(names(&older.candidates[0].dirs), ["sub/deep", "sub"], "deepest first; not where something stays");
    assert_eq!(older.candidates[0].total_on_disk, older.candidates[0].files.iter().map(|f| f.on_disk).sum::<u64>());
}

#[test]
fn a_root_inside_of_what_is_excluded_is_excluded() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "spared/root/sub/file", 10);
    for (pattern, expected) in
        [("other/**", 1), ("spared/**", 0), ("spared/ro*/**", 0), ("spared/root", 1), ("spared/root/sub/**", 0), ("*/*/*/fi*", 0)]
    {
        let exclude = vec![format!("{}/{pattern}", dir.path().display())];
        let scan = run(&ask(dir.path(), 3, vec![FamilyAsk { exclude, ..family(&dir.path().join("spared/root")) }]));
        assert_eq!(scan.candidates[0].total_files, expected, "{pattern}");
    }
}

#[test]
fn a_file_with_another_name_frees_nothing_and_is_only_counted() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "t/one", 5000);
    std::fs::hard_link(dir.path().join("t/one"), dir.path().join("t/two")).unwrap();
    let scan = run(&ask(dir.path(), 3, vec![family(dir.path())]));
    assert_eq!((scan.candidates[0].hard_linked, scan.candidates[0].total_files), (2, 0));
    assert!(scan.candidates[0].dirs.is_empty());
}

#[test]
fn beyond_the_limit_the_largest_are_kept_and_the_rest_counted() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..50 {
        write(dir.path(), &format!("d{}/f{i:02}", i % 5), 4096 * (1 + usize::from(i % 10 == 3)));
    }
    let scan = run(&ScanAsk { keep: 7, ..ask(dir.path(), 3, vec![family(dir.path())]) });
    let found = &scan.candidates[0];
    assert_eq!((found.total_files, found.files.len()), (50, 7));
    assert_eq!(names(&found.files), ["d0/f00", "d0/f05", "d3/f03", "d3/f13", "d3/f23", "d3/f33", "d3/f43"]);
    assert!(found.dirs.is_empty(), "a directory with a file that is not among those kept does not become empty: {:?}", found.dirs);
}

#[test]
fn a_large_file_waits_less_than_a_small_one() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "large.log", 200_000);
    write(dir.path(), "small.log", 100);
    let logs = FamilyAsk { family: FileFamily::ClosedLogs, min_size: 100_000, or_age_s: Some(7 * DAY), ..family(dir.path()) };
    assert_eq!(names(&run(&ask(dir.path(), 1, vec![logs.clone()])).candidates[0].files), ["large.log"]);
    assert_eq!(names(&run(&ask(dir.path(), 8, vec![logs])).candidates[0].files), ["large.log", "small.log"]);
}

#[test]
fn links_are_not_followed_not_even_to_a_root() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "prey", 5000);
    symlink(outside.path(), dir.path().join("link")).unwrap();
    let scan = run(&ask(dir.path(), 3, vec![family(&dir.path().join("link"))]));
    assert_eq!((scan.dirs, scan.candidates[0].total_files), (1, 0));
    assert_eq!(scan.not_seen.iter().map(|n| n.why.as_str()).collect::<Vec<_>>(), ["a symlink lies on the way, or it is no directory"]);
}

#[test]
fn out_of_time_is_said_with_what_was_left() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..100 {
        write(dir.path(), &format!("d{i}/f"), 10);
    }
    let scan = run(&ScanAsk { deadline: Duration::ZERO, ..ask(dir.path(), 3, vec![family(dir.path())]) });
    assert!(!scan.complete);
    let missed = scan.not_seen.iter().find(|n| n.why == "out of time").unwrap();
    assert!(missed.count > 1 && missed.examples.len() > 1, "{missed:?}");
    assert!(scan.candidates[0].dirs.is_empty(), "what was not seen may not be taken for empty");
}

#[test]
fn a_tree_deeper_than_handles_and_paths_allow_is_walked_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut at = rustix::fs::open(dir.path(), rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    const DEPTH: u64 = 3000;
    for _ in 0..DEPTH {
        for name in ["sub", "side"] {
            rustix::fs::mkdirat(&at, name, 0o755.into()).unwrap();
        }
        at = rustix::fs::openat(&at, "sub", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    drop(rustix::fs::openat(&at, "bottom", rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY, 0o644.into()).unwrap());
    let scan = run(&ask(dir.path(), 0, Vec::new()));
    assert_eq!((scan.complete, scan.files, scan.dirs, scan.not_seen.len()), (true, 1, 2 * DEPTH + 1, 0), "{:?}", scan.not_seen);
}
