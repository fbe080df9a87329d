//! Every folder under `fixtures/hosts` is the part of a host that the agent reads; `ORIGIN.md` says where it came from, `expect.txt`
//! what is understood of it, and `exposition.txt` how that reads in /metrics. `UPDATE_EXPECT=1 cargo test --test fixtures_hosts` writes that anew; read the difference before it is committed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use byteport::host::{LiveHost, ReadHost};
use byteport::metrics::{Format, Metrics, Own};
use byteport::model::{CgroupUse, CgroupVersion, Cgroups, Pressure, Processes};
use byteport::sense::{Sampler, Want};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts").join(name)
}

fn host(name: &str) -> LiveHost {
    LiveHost::new(&folder(name), None, None).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn names() -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder("")).unwrap().map(|e| e.unwrap().file_name().into_string().expect("names here are plain")).collect();
    names.sort();
    names
}

fn known<T: std::fmt::Display>(figure: Option<T>) -> String {
    figure.map_or_else(|| "-".to_owned(), |f| f.to_string())
}

/// What is told of the host, without what depends on the machine that reads it: the size of pages, and the device of btrfs, which is asked of
/// the filesystem and not of the table.
fn told(name: &str) -> String {
    let host = host(name);
    let mut out = String::new();
    match host.mounts() {
        Err(e) => writeln!(out, "mounts: {e}").unwrap(),
        Ok(mounts) => {
            for m in mounts {
                let device = match m.fs_type.as_str() {
                    "btrfs" => "-".to_owned(),
                    _ => format!("{}:{}", rustix::fs::major(m.device), rustix::fs::minor(m.device)),
                };
                let access = if m.read_only { "ro" } else { "rw" };
                writeln!(out, "mount {} {device} {} {access} {:?} from {}", m.path, m.fs_type, m.kind, m.source).unwrap();
                m.also_at.iter().for_each(|also| writeln!(out, "  also {also}").unwrap());
            }
        }
    }
    match host.processes(10) {
        Err(e) => writeln!(out, "processes: {e}").unwrap(),
        Ok(p) => {
            writeln!(out, "processes {} of {}, threads {} of {}", p.count, p.max_processes, p.threads, p.max_threads).unwrap();
            let states: Vec<String> = p.states.iter().map(|(state, count)| format!("{state} {count}")).collect();
            writeln!(out, "  states {}; vanished {}, unreadable {}", states.join(", "), p.vanished, p.unreadable).unwrap();
            for t in &p.top {
                let pages = t.rss_bytes / rustix::param::page_size() as u64;
                write!(out, "  {}@{} {} {}", t.pid, t.start_ticks, t.state, t.comm).unwrap();
                writeln!(out, ": {} ticks, {} %, {pages} pages, {} threads", t.cpu_ticks, known(t.cpu_percent), t.threads).unwrap();
            }
        }
    }
    match host.cgroups(10) {
        Err(e) => writeln!(out, "cgroups: {e}").unwrap(),
        Ok(groups) => {
            writeln!(out, "cgroups {:?}: {}; cut {}, unreadable {}", groups.version, groups.count, groups.cut, groups.unreadable).unwrap();
            groups.top.iter().for_each(|group| tell(&mut out, group));
        }
    }
    out
}

fn tell(out: &mut String, g: &CgroupUse) {
    writeln!(out, "  {}", g.path).unwrap();
    let limits = (known(g.memory_max_bytes), known(g.memory_high_bytes));
    write!(out, "    memory {} of {}, high {}, oom kills {}", known(g.memory_bytes), limits.0, limits.1, known(g.oom_kills)).unwrap();
    writeln!(out, "; pids {} of {}", known(g.pids), known(g.pids_max)).unwrap();
    let throttled = (known(g.throttled_us), known(g.throttled_periods));
    write!(out, "    cpu {} us, {} %", known(g.cpu_usage_us), known(g.cpu_percent)).unwrap();
    writeln!(out, ", throttled {} us in {} periods", throttled.0, throttled.1).unwrap();
    let stalls = |p: &Option<Pressure>| known(p.as_ref().map(|p| format!("{}/{}", p.some_total_us, p.full_total_us)));
    let (memory, cpu, io) = (stalls(&g.memory_pressure), stalls(&g.cpu_pressure), stalls(&g.io_pressure));
    writeln!(out, "    stalls memory {memory}, cpu {cpu}, io {io}").unwrap();
}

/// `node_*` as a scraper is given it, without what depends on the machine that reads the tree: its clock, how long it took, and the filesystems
/// that are found under the tree's paths instead of those of its mount table.
fn exposed(name: &str) -> String {
    let mut sampler = Sampler::new(Arc::new(host(name)), 5.0);
    let sample = sampler.sample(Want::Everything);
    let metrics = Metrics::new("test");
    let sources = sampler.sources();
    let own = Own {
        raised: &[],
        sources: &sources,
        stretch: 1.0,
        cooldowns: 0,
        psi_mode: "polling",
        state_bytes: 0,
        kernel_log: None,
        journal: None,
        acting: false,
        collector: None,
    };
    metrics.sample(&sample, &own, true);
    let text = String::from_utf8(metrics.page().plain(Format::Text).to_vec()).unwrap();
    let of_the_reader = ["node_time_seconds", "node_timex_", "node_scrape_collector_duration_seconds", "node_filesystem_"];
    let lines = text.lines().filter(|l| l.starts_with("node_") && !of_the_reader.iter().any(|name| l.starts_with(name)));
    lines.fold(String::new(), |out, line| out + line + "\n")
}

fn check(file: &str, told: impl Fn(&str) -> String) {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    for name in names() {
        let (expect, got) = (folder(&name).join(file), told(&name));
        let bad = got.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(bad, None, "{name}: an unescaped control character");
        if update {
            fs::write(&expect, got).unwrap();
        } else if fs::read_to_string(&expect).unwrap_or_default() != got {
            wrong.push(format!("--- {}\n{got}", expect.display()));
        }
    }
    assert!(wrong.is_empty(), "understood otherwise; UPDATE_EXPECT=1 writes it anew:\n{}", wrong.join("\n"));
}

#[test]
fn every_host_is_understood_as_it_was() {
    check("expect.txt", told);
}

#[test]
fn every_host_is_exposed_as_it_was() {
    check("exposition.txt", exposed);
}

#[test]
fn every_host_says_where_it_came_from() {
    assert!(names().len() >= 9);
    for name in names() {
        let origin = fs::read_to_string(folder(&name).join("ORIGIN.md")).unwrap_or_default();
        assert!(origin.len() > 40 && origin.trim_end().ends_with('.'), "{name}: ORIGIN.md is no sentence");
    }
}

fn groups(name: &str) -> Cgroups {
    host(name).cgroups(100).unwrap()
}

fn group<'a>(groups: &'a Cgroups, end: &str) -> &'a CgroupUse {
    groups.top.iter().find(|g| g.path.to_string().ends_with(end)).unwrap_or_else(|| panic!("no {end} in {groups:#?}"))
}

fn processes(name: &str) -> Processes {
    host(name).processes(100).unwrap()
}

// What each host is there for, so that an `expect.txt` that was written anew without being read is noticed.

#[test]
fn hierarchies_are_told_apart_and_each_figure_comes_from_the_one_that_counts_it() {
    let v2 = groups("v2-server");
    assert_eq!(v2.version, CgroupVersion::V2);
    assert_eq!(group(&v2, "nginx.service").memory_high_bytes, Some(483_183_820));
    assert_eq!(group(&v2, "app.service").memory_max_bytes, None);

    let v1 = groups("v1-server");
    assert_eq!(v1.version, CgroupVersion::V1);
    assert_eq!((group(&v1, "app.service").memory_max_bytes, group(&v1, "mysql.service").memory_max_bytes), (Some(1 << 30), None));
    let uncounted = group(&v1, "rsyslog.service");
    assert_eq!((uncounted.memory_bytes, uncounted.cpu_usage_us, uncounted.pids), (None, Some(310_000), Some(4)));
    assert!(v1.top.iter().all(|g| g.path.as_bytes() != b"/"), "the host's own figures are no group's");

    let hybrid = groups("hybrid-server");
    assert_eq!(hybrid.version, CgroupVersion::Hybrid);
    let redis = group(&hybrid, "redis-server.service");
    assert_eq!((redis.memory_bytes, redis.cpu_usage_us), (Some(164_331_520), Some(492_400_000)));
    assert!(redis.memory_pressure.is_some() && redis.cpu_pressure.is_none());
    assert_eq!(hybrid.unreadable, 0);

    let inside = groups("hostile-names");
    assert_eq!((group(&inside, "/").memory_max_bytes, inside.unreadable), (Some(536_870_912), 1));
    assert!(host("odd-kernel").cgroups(10).unwrap_err().to_string().contains("/sys/fs/cgroup"));
}

#[test]
fn a_node_has_its_pods_and_their_volumes() {
    let node = groups("kubernetes-node");
    let pods = node.top.iter().filter(|g| g.path.to_string().contains("-pod") && g.path.to_string().ends_with(".slice"));
    assert_eq!(pods.filter(|g| g.memory_max_bytes.is_some()).count(), 3, "pods of which every container has a limit");
    assert_eq!(group(&node, "/kubepods.slice").memory_max_bytes, Some(15_944_245_248));
    let mounts = host("kubernetes-node").mounts().unwrap();
    let volume = mounts.iter().find(|m| m.device == rustix::fs::makedev(259, 3)).unwrap();
    assert_eq!(volume.also_at.len(), 1, "{volume:?}");
    assert_eq!(mounts.iter().filter(|m| m.fs_type == "overlay").count(), 11);
}

#[test]
fn names_of_any_bytes_are_told_as_they_are() {
    let found = processes("hostile-names");
    assert_eq!((found.count, found.vanished, found.unreadable), (11, 1, 1));
    for comm in [b"a) R 1 1".as_slice(), b"x\ny\n", b"\xff\xfe\x01", b"", b"42 (sh) S 1", b")))"] {
        assert!(found.top.iter().any(|p| p.comm.as_bytes() == comm && p.state == 'S'), "{}", comm.escape_ascii());
    }
    let mounts = host("hostile-names").mounts().unwrap();
    for path in [b"/srv/with blank".as_slice(), b"/srv/line\nbreak\ttab\\slash", b"/srv/caf\xe9\xff"] {
        assert!(mounts.iter().any(|m| m.path.as_bytes() == path), "{}", path.escape_ascii());
    }
}

#[test]
fn odd_kernels_and_large_machines() {
    let odd = processes("odd-kernel");
    assert_eq!((odd.count, odd.max_processes, odd.max_threads), (5, 4096, 900));
    let large = processes("many-cpus");
    assert!(large.states.contains(&('R', 16)) && large.threads > large.count);
    assert_eq!(large.top.iter().take(16).filter(|p| p.comm.as_bytes() == b"mpi-rank").count(), 16);
}
