//! Every parser of what a host says, under the name of a file that has it. Not in what ships: `fuzz/` makes up input for them, and the
//! tests here damage what was recorded.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::cgroup::figures;
use super::journal::export::{Export, Fields};
use super::{
    KernelLogReader, Read, conntrack, deploys, disks, file_handles, identity, interfaces, journal, loadavg, meminfo, mounts, netdev, node,
    pattern, pkg, process, procs, psi, readiness, requests, root, shutdown, stat, sweep, tmpfiles, units, vmstat,
};

/// Below the root of a host; in `fixtures/hosts/` some host has it, or `fuzz/seeds/` does.
type Path = &'static str;
/// `true`: it was understood.
type Parse = fn(&[u8]) -> bool;

const PARSERS: &[(Path, Parse)] = &[
    ("dev/kmsg", kernel_log),
    ("deploy-marker", |b| !deploys::logs::parse_version(b).is_empty()),
    ("etc/os-release", |b| !identity::parse_os_release(b).is_empty()),
    ("etc/passwd", |b| readiness::parse_uid(b, "byteport").is_some()),
    ("journal", journal_export),
    ("metrics", |b| requests::parse_total(b, "http_requests_total").is_some()),
    ("node.json", |b| node::parse_disk_pressure(b).is_ok()),
    ("proc/1/cgroup", |b| !procs::parse_cgroup(b).is_empty()),
    ("proc/1/environ", |b| !process::heap::parse_settings(b"x", b, b, Some(1 << 30)).is_empty()),
    ("proc/1/cmdline", |b| [b"java".as_slice(), b"node"].iter().any(|p| !process::heap::parse_settings(p, b, b, Some(1 << 30)).is_empty())),
    ("proc/1/io", |b| procs::parse_io(b).is_some()),
    ("proc/1/mountinfo", |b| mounts::parse_mountinfo(b).map(mounts::fold).is_ok()),
    ("proc/1/smaps_rollup", |b| process::lines::parse_pss(b).is_some()),
    ("proc/1/stat", |b| process::lines::parse_stat(b).is_some()),
    ("proc/1/stat", |b| sweep::line::parse_line(b).is_some()),
    ("proc/1/status", |b| process::lines::parse_status(b).is_some()),
    ("proc/1/status", |b| readiness::parse_agent(b).is_some()),
    ("proc/diskstats", |b| disks::parse_diskstats(b).is_ok()),
    ("proc/loadavg", |b| loadavg::parse_loadavg(b).is_ok()),
    ("proc/locks", |b| pkg::parse_locks(b).is_ok_and(|locks| !locks.is_empty())),
    ("proc/meminfo", |b| meminfo::parse_meminfo(b).is_ok()),
    ("proc/net/dev", |b| netdev::parse_netdev(b).is_ok()),
    ("proc/pressure/cpu", |b| psi::parse_cpu_pressure(b).is_ok()),
    ("proc/pressure/irq", |b| psi::parse_irq_stalled_us(b).is_ok()),
    ("proc/pressure/io", |b| psi::parse_pressure(b).is_ok()),
    ("proc/stat", |b| stat::parse_stat(b).is_ok()),
    ("proc/sys/fs/file-nr", |b| file_handles::parse_file_nr(b).is_ok()),
    ("proc/sys/kernel/pid_max", |b| root::parse_number(b).is_some()),
    ("proc/sys/net/netfilter/nf_conntrack_count", |b| conntrack::parse_count("", b).is_ok()),
    ("proc/vmstat", |b| vmstat::parse_vmstat(b).is_ok()),
    ("run/systemd/shutdown/scheduled", |b| shutdown::parse_scheduled(b).is_some()),
    ("sys/class/net/eth0/flags", |b| interfaces::parse_flags(&String::from_utf8_lossy(b.trim_ascii())).is_some()),
    ("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", |b| figures::parse_usage_v1(b).is_some()),
    ("sys/fs/cgroup/cpu,cpuacct/cpu.stat", |b| figures::parse_throttling_v1(b).is_some_and(|cpu| cpu.throttled_us.is_some())),
    ("sys/fs/cgroup/memory/memory.limit_in_bytes", |b| figures::parse_limit_v1(b).is_some()),
    ("sys/fs/cgroup/system.slice/cpu.pressure", |b| figures::parse_cpu_pressure(b).is_some()),
    ("sys/fs/cgroup/system.slice/cgroup.procs", |b| figures::parse_processes(b).is_some_and(|pids| !pids.is_empty())),
    ("sys/fs/cgroup/system.slice/cpu.stat", |b| figures::parse_cpu(b).is_some()),
    ("sys/fs/cgroup/system.slice/memory.current", |b| figures::parse_count(b).is_some()),
    ("sys/fs/cgroup/system.slice/memory.events", |b| figures::parse_key(b, "oom_kill").flatten().is_some()),
    ("sys/fs/cgroup/system.slice/memory.events", |b| figures::parse_events(b).is_some_and(|events| events.high.is_some())),
    ("sys/fs/cgroup/system.slice/memory.max", |b| figures::parse_limit(b).is_some()),
    ("unit-path", |b| units::table::parse_unit_path(&String::from_utf8_lossy(b.trim_ascii())).is_some()),
    ("usr/lib/systemd/system/x.service", |b| units::consent::parse_consent(b, false)),
    ("usr/lib/tmpfiles.d/x.conf", exclusions),
    ("var/lib/dpkg/info/x.list", |b| !deploys::logs::parse_package_units(b).is_empty()),
    ("var/log/dnf.rpm.log", |b| !deploys::logs::parse_dnf_log(b).is_empty()),
    ("var/log/dpkg.log", |b| !deploys::logs::parse_dpkg_log(b, &TimeZone::UTC).is_empty()),
    ("var/log/yum.log", |b| !deploys::logs::parse_yum_log(b, &TimeZone::UTC, Timestamp::MAX).is_empty()),
];

/// The first byte says which parser is given the others.
#[cfg(fuzzing)]
pub fn feed(bytes: &[u8]) {
    if let Some((&which, bytes)) = bytes.split_first()
        && let Some((_, parse)) = PARSERS.get(usize::from(which) % PARSERS.len())
    {
        parse(bytes);
    }
}

/// What to begin with: the first byte for [`feed`], and the path of what may have been recorded for it.
#[cfg(fuzzing)]
pub fn fed() -> impl Iterator<Item = (u8, Path)> {
    (0..=u8::MAX).zip(PARSERS.iter().map(|(path, _)| *path))
}

/// A record a line, as the log is read.
fn kernel_log(bytes: &[u8]) -> bool {
    let Ok(mut reader) = nobody_writes() else { return false };
    let records = bytes.split(|b| *b == b'\n');
    let (mut events, mut lines) = (0, 0);
    for record in records {
        lines += 1;
        reader.take(record, &mut |_| events += 1);
    }
    let log = reader.log();
    assert!(log.lines <= lines && log.recent.len() <= events);
    events > 0
}

fn nobody_writes() -> Read<KernelLogReader> {
    Ok(KernelLogReader::over(root::Root::open("/".as_ref())?.open_file(&"/dev/null".into())?, None))
}

/// However the stream is cut, it says the same.
fn journal_export(bytes: &[u8]) -> bool {
    let read = |piece| {
        let (mut export, mut entries) = (Export::default(), Vec::new());
        bytes.chunks(piece).for_each(|part| export.feed(part, |fields: &Fields| entries.push(fields.clone())));
        entries
    };
    let entries = read(bytes.len().max(1));
    assert_eq!(entries, read(7));
    entries.iter().map(journal::parse_entry).any(|e| !e.message.is_empty()) && entries.iter().any(|f| journal::is_cursor(&f.cursor))
}

/// Whatever is written there, a walk can be told of it.
fn exclusions(bytes: &[u8]) -> bool {
    let patterns = tmpfiles::parse_exclusions(bytes);
    assert!(patterns.iter().all(|p| pattern::compile(p).is_ok()));
    !patterns.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What was recorded of a surface, on every host that has it.
    fn recorded(path: &str) -> Vec<Vec<u8>> {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let hosts = fs::read_dir(here.join("fixtures/hosts")).unwrap().map(|host| host.unwrap().path());
        hosts.chain([here.join("fuzz/seeds")]).filter_map(|at| fs::read(at.join(path)).ok()).collect()
    }

    /// Of a small file after every byte, of a large one at as many places.
    fn cuts(whole: &[u8]) -> impl Iterator<Item = &[u8]> {
        let step = whole.len() / 512 + 1;
        (0..whole.len()).step_by(step).map(|end| &whole[..end])
    }

    /// What is no such file any more, in as many ways.
    fn damaged(whole: &[u8]) -> Vec<Vec<u8>> {
        let each = |change: fn(u8) -> u8| whole.iter().map(|b| change(*b)).collect::<Vec<u8>>();
        let digits =
            |to: &'static [u8]| whole.iter().flat_map(move |b| if b.is_ascii_digit() { to } else { std::slice::from_ref(b) }.to_vec());
        vec![
            whole.iter().rev().copied().collect(),
            each(|_| 0),
            each(|_| 0xff),
            each(|b| b.rotate_left(1)),
            each(|b| if b.is_ascii_whitespace() { b'\n' } else { b }),
            each(|b| if b == b'\n' { b' ' } else { b }),
            digits(b"-1").collect(),
            digits(b"99999999999999999999999").collect(),
            digits(b"").collect(),
            digits(b"\xc3\xa9").collect(),
        ]
    }

    fn huge(whole: &[u8]) -> Vec<Vec<u8>> {
        const LENGTH: usize = (1 << 20) + 1;
        let repeated = |piece: &[u8]| piece.iter().copied().cycle().take(LENGTH).collect::<Vec<u8>>();
        let one_line: Vec<u8> = whole.iter().map(|b| if *b == b'\n' { b' ' } else { *b }).collect();
        [whole, &one_line, b"9", b" ", b"\n", b"(", b"\\", b"\xff"].into_iter().map(repeated).collect()
    }

    #[test]
    fn damaged_files_are_parsed_or_refused_and_empty_ones_are_refused() {
        let understood = PARSERS.iter().filter(|(_, parse)| parse(b"") || parse(b"\n")).map(|(path, _)| path);
        // A host without disks has an empty one.
        assert_eq!(understood.collect::<Vec<_>>(), [&"proc/diskstats"]);
        for (path, parse) in PARSERS {
            let files = recorded(path);
            assert!(files.iter().any(|file| parse(file)), "{path}: of {} recorded ones none was understood", files.len());
            for whole in &files {
                cuts(whole).for_each(|cut| _ = parse(cut));
                damaged(whole).iter().for_each(|bytes| _ = parse(bytes));
            }
            huge(&files[0]).iter().for_each(|bytes| _ = parse(bytes));
        }
    }

    /// A parser that is not in the list is not fuzzed.
    #[test]
    fn every_parser_is_listed() {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/host");
        let listed = fs::read_to_string(here.join("parsers.rs")).unwrap();
        let declared = [") fn ", "parse_"].concat();
        let mut folders = vec![here];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                // What only its own file can call is reached through what others call.
                for (at, _) in text.match_indices(&declared) {
                    let name = text[at + ") fn ".len()..].split('(').next().unwrap();
                    let is_listed = ["(", ")"].iter().any(|after| listed.contains(&format!("::{name}{after}")));
                    assert!(is_listed, "{}: {name} is not in parsers.rs", path.display());
                    found += 1;
                }
            }
        }
        assert!(found > 30, "{found}: looked in the wrong place");
    }
}
