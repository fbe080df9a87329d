//! Hierarchies made of plain files, and those of the machine that the tests run on.

use std::fs;
use std::path::Path;

use super::*;
use crate::host::ReadError;
use crate::model::CgroupVersion;

struct Made {
    dir: tempfile::TempDir,
    root: Root,
}

impl Made {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sys/fs/cgroup")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let made = Self { dir, root };
        files.iter().for_each(|(path, text)| made.file(path, text));
        made
    }

    /// Below `/sys/fs/cgroup`.
    fn file(&self, path: &str, text: &str) {
        // To join an absolute path would leave the folder.
        let path = self.dir.path().join("sys/fs/cgroup").join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn group_v2(&self, path: &str, memory: u64, usage: u64) {
        self.file(&format!("{path}/memory.current"), &format!("{memory}\n"));
        self.file(&format!("{path}/memory.max"), "max\n");
        self.file(&format!("{path}/cpu.stat"), &format!("usage_usec {usage}\nuser_usec 0\nsystem_usec {usage}\n"));
    }

    fn remove(&self, path: &str) {
        fs::remove_dir_all(self.dir.path().join("sys/fs/cgroup").join(path)).unwrap();
    }

    fn read(&self, top: usize) -> Cgroups {
        Groups::new().read(&self.root, top).unwrap()
    }
}

const V2: &[(&str, &str)] = &[("cgroup.controllers", "cpu memory pids\n")];
const PRESSURE: &str = "some avg10=1.00 avg60=2.00 avg300=0.00 total=9\nfull avg10=0.50 avg60=0.25 avg300=0.00 total=4\n";

fn made_dir(made: &Made, name: &str) {
    fs::create_dir(made.dir.path().join("sys/fs/cgroup").join(name)).unwrap();
}

fn paths(groups: &Cgroups) -> Vec<String> {
    groups.top.iter().map(|g| g.path.to_string()).collect()
}

#[test]
fn all_figures_of_version_2() {
    let made = Made::new(V2);
    made.group_v2("a.slice/b.service", 4096, 1_000_000);
    for (file, text) in [
        ("memory.max", "8192\n"),
        ("memory.high", "6000\n"),
        ("memory.events", "low 0\nhigh 3\nmax 2\noom 1\noom_kill 5\n"),
        ("cpu.stat", "usage_usec 7\nnr_periods 9\nnr_throttled 4\nthrottled_usec 30\n"),
        ("pids.current", "12\n"),
        ("pids.max", "max\n"),
        ("memory.pressure", PRESSURE),
        ("io.pressure", PRESSURE),
    ] {
        made.file(&format!("a.slice/b.service/{file}"), text);
    }
    let groups = made.read(5);
    assert_eq!((groups.version, groups.count, groups.cut, groups.unreadable), (CgroupVersion::V2, 2, 0, 0));
    assert_eq!(paths(&groups), ["/a.slice/b.service"], "a sum without a limit is nobody's use");
    let g = &groups.top[0];
    assert_eq!((g.memory_bytes, g.memory_max_bytes, g.memory_high_bytes, g.oom_kills), (Some(4096), Some(8192), Some(6000), Some(5)));
    assert_eq!((g.cpu_usage_us, g.throttled_us, g.throttled_periods), (Some(7), Some(30), Some(4)));
    assert_eq!((g.pids, g.pids_max, g.cpu_percent), (Some(12), None, None));
    assert_eq!(g.memory_pressure.as_ref().map(|p| p.some_total_us), Some(9));
    assert!(g.io_pressure.is_some() && g.cpu_pressure.is_none());
}

#[test]
fn a_group_above_others_is_told_when_it_has_a_limit() {
    let made = Made::new(V2);
    made.group_v2("pod", 900, 900);
    made.group_v2("pod/container", 800, 800);
    assert_eq!(paths(&made.read(5)), ["/pod/container"]);
    made.file("pod/memory.max", "1000\n");
    assert_eq!(paths(&made.read(5)), ["/pod", "/pod/container"]);
    assert_eq!(paths(&made.read(1)), ["/pod"]);
}

#[test]
fn a_small_group_is_told_when_its_limits_hold_it_back() {
    let made = Made::new(V2);
    (0..9).for_each(|n| made.group_v2(&format!("large-{n}"), 1 << 30, 1_000_000));
    made.group_v2("small", 85, 1);
    made.file("small/memory.max", "100\n");
    made.group_v2("smaller", 84, 1);
    made.file("smaller/memory.max", "100\n");
    made.group_v2("throttled", 1, 1);
    let groups = Groups::new();
    let told = |groups: &Groups| paths(&groups.read(&made.root, 2).unwrap());
    assert_eq!(told(&groups), ["/large-0", "/large-1", "/small"]);
    let held = |periods: u64| {
        let text = format!("usage_usec 1\nnr_periods 900\nnr_throttled {periods}\nthrottled_usec 9\n");
        made.file("throttled/cpu.stat", &text);
    };
    held(40);
    assert_eq!(told(&groups).len(), 3, "what it was held back before it was watched");
    held(50);
    // Nobody has used any CPU time since: nobody is hot.
    assert_eq!(told(&groups), ["/large-0", "/large-1", "/small", "/throttled"]);
    assert_eq!(told(&groups), ["/large-0", "/large-1", "/small"], "not lately");
    // A limit that is set later is seen within some sweeps.
    made.file("smaller/memory.max", "90\n");
    let seen = (0..LIMIT_FOR).find(|_| told(&groups).contains(&"/smaller".to_owned()));
    assert!(seen.is_some(), "{:?}", told(&groups));
}

#[test]
fn heat_is_what_was_used_since_the_sweep_before() {
    let made = Made::new(V2);
    made.group_v2("old", 1, 90_000_000);
    made.group_v2("new", 1, 10);
    let groups = Groups::new();
    assert_eq!(paths(&groups.read(&made.root, 1).unwrap())[0], "/old");
    made.group_v2("new", 1, 50_010);
    std::thread::sleep(Duration::from_secs_f64(SHORTEST_S * 1.2));
    let told = groups.read(&made.root, 1).unwrap();
    let hot = &told.top[0];
    assert_eq!(hot.path.to_string(), "/new");
    let percent = hot.cpu_percent.unwrap();
    assert!(percent > 0.0 && percent <= 5.0 / SHORTEST_S, "{percent}");
    // The same path, another group: its figures have begun anew.
    made.remove("new");
    made_dir(&made, "takes_the_number");
    made.group_v2("new", 1, 70_000);
    std::thread::sleep(Duration::from_secs_f64(SHORTEST_S * 1.2));
    let told = groups.read(&made.root, 1).unwrap();
    assert_eq!((told.top[0].path.to_string().as_str(), told.top[0].cpu_percent), ("/new", None));
}

const V1: &[(&str, &str)] = &[
    ("memory/memory.usage_in_bytes", "99999999999\n"),
    ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
    ("memory/release_agent", "\n"),
    ("memory/app/memory.usage_in_bytes", "5000\n"),
    ("memory/app/memory.limit_in_bytes", "9223372036854771712\n"),
    ("memory/app/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
    ("cpu,cpuacct/cpuacct.usage", "7000000\n"),
    ("cpu,cpuacct/cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n"),
    ("cpu,cpuacct/release_agent", "\n"),
    ("cpu,cpuacct/app/cpuacct.usage", "6000000\n"),
    ("cpu,cpuacct/app/cpu.stat", "nr_periods 5\nnr_throttled 3\nthrottled_time 2000\n"),
    ("pids/cgroup.procs", "1\n"),
    ("pids/release_agent", "\n"),
    ("pids/app/pids.current", "4\n"),
    ("pids/app/pids.max", "100\n"),
    ("pids/only_counted_here/pids.current", "1\n"),
];

#[test]
fn all_figures_of_version_1_and_not_those_of_the_whole_host() {
    let groups = Made::new(V1).read(5);
    assert_eq!((groups.version, groups.count), (CgroupVersion::V1, 2));
    assert_eq!(paths(&groups), ["/app"], "the root's figures are the host's");
    let g = &groups.top[0];
    assert_eq!((g.memory_bytes, g.memory_max_bytes, g.memory_high_bytes, g.oom_kills), (Some(5000), None, None, Some(2)));
    assert_eq!((g.cpu_usage_us, g.throttled_us, g.throttled_periods), (Some(6000), Some(2), Some(3)));
    assert_eq!((g.pids, g.pids_max), (Some(4), Some(100)));
    assert!(g.memory_pressure.is_none());
}

#[test]
fn a_unified_hierarchy_without_controllers_takes_nothing_from_version_1() {
    let made = Made::new(V1);
    made.file("unified/cgroup.controllers", "\n");
    made.file("unified/app/cpu.pressure", PRESSURE);
    made.file("unified/app/cpu.stat", "usage_usec 1\n");
    made.file("unified/elsewhere/cgroup.procs", "");
    let groups = made.read(5);
    assert_eq!((groups.version, groups.count), (CgroupVersion::Hybrid, 2));
    let g = &groups.top[0];
    assert_eq!((g.memory_bytes, g.cpu_usage_us), (Some(5000), Some(6000)));
    assert_eq!(g.cpu_pressure.as_ref().map(|p| p.full_total_us), Some(4));
}

#[test]
fn what_version_1_does_not_have_is_taken_from_the_unified_hierarchy() {
    let made = Made::new(&V1[..6]);
    made.file("unified/cgroup.controllers", "cpu pids\n");
    made.file("unified/app/cpu.stat", "usage_usec 44\nnr_throttled 2\nthrottled_usec 3\n");
    made.file("unified/app/pids.current", "8\n");
    let groups = made.read(5);
    let g = &groups.top[0];
    assert_eq!((g.memory_bytes, g.cpu_usage_us, g.throttled_us, g.pids), (Some(5000), Some(44), Some(3), Some(8)));
}

#[test]
fn the_root_of_a_namespace_is_a_group() {
    let made = Made::new(V2);
    made.group_v2("", 300, 1);
    made.file("cgroup.events", "populated 1\nfrozen 0\n");
    let groups = made.read(5);
    assert_eq!((groups.count, paths(&groups)), (1, vec!["/".to_owned()]));
    let made = Made::new(V1);
    fs::remove_file(made.dir.path().join("sys/fs/cgroup/memory/release_agent")).unwrap();
    made.file("memory/memory.limit_in_bytes", "200000000000\n");
    assert_eq!(paths(&made.read(5)), ["/", "/app"]);
}

#[test]
fn a_group_called_like_a_controller_is_no_version_1() {
    let made = Made::new(V2);
    made.group_v2("memory", 5, 5);
    made.file("memory/memory.usage_in_bytes", "1\n");
    assert_eq!(made.read(1).version, CgroupVersion::V2);
    // Mount points of hierarchies that are not mounted.
    let bare = Made::new(&[]);
    for name in ["memory", "cpu", "unified"] {
        made_dir(&bare, name);
    }
    let error = Groups::new().read(&bare.root, 1).unwrap_err();
    assert!(matches!(error, ReadError::NotHere { .. }), "{error}");
}

#[test]
fn damage_is_counted_and_costs_one_figure() {
    let made = Made::new(V2);
    made.group_v2("a", 10, 10);
    made.file("a/memory.current", "ten\n");
    made.group_v2("b", 20, 20);
    made.file("b/pids.current", &"9".repeat(2 * FILE));
    made.group_v2("c", 30, 30);
    let groups = made.read(5);
    assert_eq!((groups.count, groups.unreadable), (3, 2));
    let figure = |path: &str| groups.top.iter().find(|g| g.path == path.into()).map(|g| (g.memory_bytes, g.cpu_usage_us));
    assert_eq!((figure("/a"), figure("/b")), (Some((None, Some(10))), Some((Some(20), Some(20)))));
}

#[test]
fn no_walk_is_without_end() {
    let made = Made::new(V2);
    let deep = "d/".repeat(walk::MAX_DEPTH + 3);
    made.file(&format!("{deep}cpu.stat"), "usage_usec 1\n");
    let groups = made.read(1);
    assert_eq!((groups.count, groups.cut), (walk::MAX_DEPTH as u64, 1));

    let wide = Made::new(V2);
    for name in ["a", "b", "c", "d", "e"] {
        made_dir(&wide, name);
    }
    let tree = &Layout::find(&wide.root).unwrap().trees[0];
    let mut walk = Walk::new(3);
    walk.add(tree, Instant::now() + DEADLINE).unwrap();
    assert_eq!((walk.groups.len(), walk.cut), (3, 2));
    // The same groups in another hierarchy are no more of them.
    walk.add(tree, Instant::now() + DEADLINE).unwrap();
    assert_eq!(walk.groups.len(), 3);

    let mut late = Walk::new(walk::MAX_GROUPS);
    late.add(&Layout::find(&made.root).unwrap().trees[0], Instant::now()).unwrap();
    assert_eq!((late.groups.len(), late.cut), (0, 1));
}

#[test]
fn groups_that_come_and_go_are_no_error_and_leave_no_descriptor_behind() {
    let made = Made::new(V2);
    let groups = Groups::new();
    for round in 0..3 {
        for number in 0..KEPT + 10 {
            made.group_v2(&format!("r{round}-{number}"), 1, 1);
        }
        assert_eq!(groups.read(&made.root, 2).unwrap().count, KEPT as u64 + 10);
        let open = groups.0.lock().unwrap().rows.iter().map(|r| u32::from(r.memory.is_some()) + u32::from(r.cpu.is_some())).sum::<u32>();
        assert_eq!(open, 2 * KEPT as u32);
        for number in 0..KEPT + 10 {
            made.remove(&format!("r{round}-{number}"));
        }
    }
    let told = groups.read(&made.root, 2).unwrap();
    assert_eq!((told.count, groups.0.lock().unwrap().rows.len()), (0, 0));
}

#[test]
fn a_real_group_is_found_read_again_and_missed_when_it_has_gone() {
    let root = Root::open(Path::new("/")).unwrap();
    let layout = match Layout::find(&root) {
        Ok(layout) => layout,
        Err(e) => return assert!(std::env::var_os("CI").is_none(), "needs control groups: {e}"),
    };
    let name = format!("byteport-test-{}", std::process::id());
    let mut places: Vec<_> = ["", "memory/", "pids/"].map(|tree| Path::new("/sys/fs/cgroup").join(tree).join(&name)).into();
    // Where hierarchies are mounted side by side, the place beside them is no group.
    if layout.version != CgroupVersion::V2 {
        places.remove(0);
    } else {
        places.truncate(1);
    }
    for place in &places {
        if let Err(e) = fs::create_dir(place) {
            return assert!(std::env::var_os("CI").is_none(), "needs the right to make groups: {e}");
        }
    }
    let groups = Groups::new();
    let has = |groups: &Groups| groups.0.lock().unwrap().rows.iter().any(|r| r.path.ends_with(name.as_bytes()));
    let told = groups.read(&root, 5).map(|told| (told.unreadable, has(&groups)));
    let again = groups.read(&root, 5).map(|_| has(&groups));
    places.iter().for_each(|place| fs::remove_dir(place).unwrap());
    let after = groups.read(&root, 5).map(|_| has(&groups));
    assert_eq!((told.unwrap(), again.unwrap(), after.unwrap()), ((0, true), true, false));
}

const STAT: &str = "anon 3000\nfile 1100\ninactive_file 1000\nactive_file 100\n";

#[test]
fn one_group_is_told_with_its_working_set_and_in_a_sweep_only_near_its_limit() {
    let made = Made::new(V2);
    made.group_v2("a.slice/b.service", 4096, 1_000_000);
    for (file, text) in [
        ("memory.max", "9000\n"),
        ("memory.events", "low 0\nhigh 3\nmax 2\noom 1\noom_kill 5\n"),
        ("cpu.stat", "usage_usec 7\nnr_periods 9\nnr_throttled 4\nthrottled_usec 30\n"),
        ("memory.swap.current", "512\n"),
        ("memory.stat", STAT),
    ] {
        made.file(&format!("a.slice/b.service/{file}"), text);
    }
    let path = HostPath::from("/a.slice/b.service");
    let asked = read_group(&made.root, &path).unwrap();
    assert_eq!(
        (asked.path.clone(), asked.memory_bytes, asked.memory_max_bytes, asked.cpu_usage_us),
        (path, Some(4096), Some(9000), Some(7))
    );
    assert_eq!((asked.working_set_bytes, asked.swap_bytes, asked.periods), (Some(3096), Some(512), Some(9)));
    assert_eq!((asked.high_events, asked.max_events, asked.oom_kills, asked.throttled_periods), (Some(3), Some(2), Some(5), Some(4)));
    let swept = |made: &Made| made.read(5).top[0].clone();
    assert_eq!(swept(&made), CgroupUse { working_set_bytes: None, ..asked.clone() });
    made.file("a.slice/b.service/memory.max", "4818\n");
    assert_eq!(swept(&made).working_set_bytes, Some(3096));
    made.file("a.slice/b.service/memory.max", "4820\n");
    assert_eq!(swept(&made).working_set_bytes, None);
    // The nearer of two limits counts.
    made.file("a.slice/b.service/memory.high", "4100\n");
    assert_eq!(swept(&made).working_set_bytes, Some(3096));
    made.file("a.slice/b.service/memory.events", "damaged\n");
    assert!(read_group(&made.root, &asked.path).is_err(), "a limit that could not be read is not taken for none");
}

#[test]
fn version_1_is_asked_for_the_same_under_its_own_names() {
    let made = Made::new(V1);
    made.file("memory/app/memory.memsw.usage_in_bytes", "5700\n");
    made.file("memory/app/memory.stat", "cache 900\ninactive_file 1\ntotal_inactive_file 800\n");
    let asked = read_group(&made.root, &"/app".into()).unwrap();
    assert_eq!((asked.memory_bytes, asked.swap_bytes, asked.working_set_bytes), (Some(5000), Some(700), Some(4200)));
    assert_eq!((asked.periods, asked.throttled_us, asked.pids), (Some(5), Some(2), Some(4)));
    // In one hierarchy only.
    let part = read_group(&made.root, &"/only_counted_here".into()).unwrap();
    assert_eq!((part.pids, part.memory_bytes, part.cpu_usage_us), (Some(1), None, None));
}

#[test]
fn what_leads_out_of_the_hierarchy_is_no_group() {
    let made = Made::new(V2);
    made.group_v2("a/b", 1, 1);
    made.file("a/b/cgroup.procs", "7\n");
    let outside = made.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("memory.current"), "1\n").unwrap();
    fs::write(outside.join("cgroup.procs"), "1\n").unwrap();
    let top = made.dir.path().join("sys/fs/cgroup");
    std::os::unix::fs::symlink(&outside, top.join("a/link")).unwrap();
    fs::write(top.join("a/file"), "").unwrap();
    assert!(read_group(&made.root, &"/a/b".into()).is_ok());
    let deep = "/d".repeat(walk::MAX_DEPTH + 1);
    for bad in ["/a/link", "/a/link/", "/a/../../../outside", "/a/./b", "/a/file", "/gone", deep.as_str()] {
        let error = read_group(&made.root, &bad.into()).unwrap_err();
        assert!(matches!(error, ReadError::NotHere { .. }), "{bad}: {error}");
        assert!(read_processes(&made.root, &bad.into()).is_err(), "{bad}");
        assert!(read_limit(&made.root, &bad.into()).is_err(), "{bad}");
    }
}

#[test]
fn the_least_limit_above_holds() {
    let made = Made::new(V2);
    made.group_v2("pod/container", 1, 1);
    made.group_v2("pod", 1, 1);
    let limit = || read_limit(&made.root, &"/pod/container".into()).unwrap();
    assert_eq!(limit(), None);
    made.file("pod/container/memory.max", "900\n");
    assert_eq!(limit(), Some(900));
    made.file("pod/memory.max", "700\n");
    assert_eq!(limit(), Some(700));
}

#[test]
fn processes_are_those_of_a_group_and_of_all_below_it_and_not_without_end() {
    let made = Made::new(V2);
    made.file("cgroup.procs", "1\n0\n");
    made.file("a/cgroup.procs", "30\n10\n");
    made.file("a/b/cgroup.procs", "20\n");
    made.file("ab/cgroup.procs", "99\n");
    let of = |path: &str| read_processes(&made.root, &path.into()).unwrap();
    assert_eq!((of("/a"), of("/a/b"), of("/")), (vec![10, 20, 30], vec![20], vec![1, 10, 20, 30, 99]));
    let many: String = (1..=1500).map(|pid| format!("{pid}\n")).collect();
    made.file("a/b/cgroup.procs", &many);
    made.file("ab/cgroup.procs", &"4194304\n".repeat(1200));
    assert_eq!((of("/a/b").len(), of("/ab")), (1000, vec![4_194_304]));
}

/// The group that a process is in, as the kernel lists it, in a hierarchy that counts something.
#[test]
fn a_process_is_found_in_a_real_group() {
    let root = Root::open(Path::new("/")).unwrap();
    let found = Layout::find(&root).map(|layout| layout.version);
    let Ok(version) = found else { return assert!(std::env::var_os("CI").is_none(), "needs control groups") };
    let tree = if version == CgroupVersion::V2 { "" } else { "memory/" };
    let name = format!("byteport-who-{}", std::process::id());
    let place = Path::new("/sys/fs/cgroup").join(tree).join(&name);
    if let Err(e) = fs::create_dir_all(place.join("below")) {
        return assert!(std::env::var_os("CI").is_none(), "needs the right to make groups: {e}");
    }
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let moved = fs::write(place.join("below/cgroup.procs"), child.id().to_string());
    let listed = read_processes(&root, &format!("/{name}").as_str().into());
    let group = read_group(&root, &format!("/{name}/below").as_str().into());
    child.kill().unwrap();
    child.wait().unwrap();
    let mut removed = fs::remove_dir(place.join("below"));
    // The kernel takes a moment to let go of who has ended.
    for _ in 0..100 {
        if removed.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        removed = fs::remove_dir(place.join("below"));
    }
    fs::remove_dir(&place).unwrap();
    moved.unwrap();
    assert_eq!(listed.unwrap(), [child.id()]);
    let group = group.unwrap();
    assert_eq!(group.path.as_bytes(), format!("/{name}/below").as_bytes());
    assert!(read_group(&root, &format!("/{name}").as_str().into()).is_err(), "it has gone");
}
