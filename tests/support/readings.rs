//! This host, read again in the plainest way: for comparing what is rendered with what somebody else renders.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use byteport::host::LiveHost;
use byteport::model::{
    Conntrack, Counter, CpuStat, CpuTimes, Discards, DiskIo, FileHandles, Flushes, Identity, LoadAverage, NetIo, Observed, Pressure,
    Processes, Sample,
};
use byteport::sense::{Sampler, Want};

/// A sample of this host with every part that `node_*` is made of, but for units and the clock.
pub fn sample() -> Sample {
    let host = Arc::new(LiveHost::new(Path::new("/"), None, None).expect("this host"));
    let mut sample = Sample::clone(&Sampler::new(host, 5.0).sample(Want::Everything));
    sample.disks = Observed::fresh(disks());
    sample.io_pressure = pressure("io");
    let readings = &mut sample.readings;
    readings.cpu = Observed::fresh(cpu());
    readings.load = Observed::fresh(load());
    readings.memory = Observed::fresh(memory());
    readings.vmstat = Observed::fresh(vmstat());
    readings.cpu_pressure = pressure("cpu");
    readings.memory_pressure = pressure("memory");
    readings.network = Observed::fresh(network());
    let files = numbers(&text("/proc/sys/fs/file-nr"));
    readings.file_handles = Observed::fresh(FileHandles { allocated: files[0], maximum: files[2] });
    if let Ok(entries) = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count") {
        let limit = numbers(&text("/proc/sys/net/netfilter/nf_conntrack_max"))[0];
        readings.conntrack = Observed::fresh(Conntrack { entries: numbers(&entries)[0], limit });
    }
    readings.identity = Observed::fresh(identity());
    readings.processes = Observed::fresh(processes());
    sample
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Whatever of the words are numbers.
fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn cpu() -> CpuStat {
    let mut stat = CpuStat::default();
    for line in text("/proc/stat").lines() {
        let (key, rest) = line.split_once(' ').expect("a key and its values");
        let values = numbers(rest);
        match key {
            "ctxt" => stat.context_switches = values[0],
            "btime" => stat.boot_time_s = values[0],
            "processes" => stat.forks = values[0],
            "intr" => stat.interrupts = values[0],
            "procs_running" => stat.running = values[0],
            "procs_blocked" => stat.blocked = values[0],
            cpu => {
                let Some(cpu) = cpu.strip_prefix("cpu").and_then(|n| n.parse().ok()) else { continue };
                let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = values[..] else { panic!("{line}") };
                stat.cpus.push(CpuTimes { cpu, user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice });
            }
        }
    }
    stat
}

fn load() -> LoadAverage {
    let text = text("/proc/loadavg");
    let values: Vec<f64> = text.split(' ').take(3).map(|v| v.parse().expect("a load")).collect();
    LoadAverage { one: values[0], five: values[1], fifteen: values[2] }
}

fn memory() -> Vec<Counter> {
    let field = |line: &str| {
        let (name, value) = line.split_once(':').expect("a field");
        let is_bytes = value.ends_with("kB");
        Counter { name: name.into(), value: numbers(value)[0] * if is_bytes { 1024 } else { 1 }, is_bytes }
    };
    text("/proc/meminfo").lines().map(field).collect()
}

fn vmstat() -> Vec<Counter> {
    let text = text("/proc/vmstat");
    let fields = text.lines().filter_map(|line| line.split_once(' '));
    let shown = |name: &str| {
        name.starts_with("oom_kill")
            || name.starts_with("pgpg")
            || name.starts_with("pswp")
            || name.starts_with("pg") && name.contains("fault")
    };
    fields.filter(|(n, _)| shown(n)).map(|(name, value)| Counter { name: name.into(), value: numbers(value)[0], is_bytes: false }).collect()
}

fn pressure(of: &str) -> Observed<Pressure> {
    let Ok(text) = fs::read_to_string(format!("/proc/pressure/{of}")) else { return Observed::unavailable("no PSI") };
    let totals: Vec<u64> = text.lines().filter_map(|l| l.rsplit_once("total=")?.1.parse().ok()).collect();
    let [some_total_us, full_total_us] = totals[..] else { panic!("{text}") };
    Observed::fresh(Pressure { some_avg10: 0.0, some_avg60: 0.0, full_avg10: 0.0, full_avg60: 0.0, some_total_us, full_total_us })
}

fn network() -> Vec<NetIo> {
    let device = |line: &str| {
        let (name, values) = line.split_once(':').expect("a device");
        let v = numbers(values);
        NetIo {
            device: name.trim().into(),
            receive_bytes: v[0],
            receive_packets: v[1],
            receive_errs: v[2],
            receive_drop: v[3],
            receive_fifo: v[4],
            receive_frame: v[5],
            receive_compressed: v[6],
            receive_multicast: v[7],
            transmit_bytes: v[8],
            transmit_packets: v[9],
            transmit_errs: v[10],
            transmit_drop: v[11],
            transmit_fifo: v[12],
            transmit_colls: v[13],
            transmit_carrier: v[14],
            transmit_compressed: v[15],
        }
    };
    text("/proc/net/dev").lines().skip(2).map(device).collect()
}

fn disks() -> Vec<DiskIo> {
    let disk = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let v = numbers(&words[3..].join(" "));
        DiskIo {
            name: words[2].into(),
            major: words[0].parse().expect("major"),
            minor: words[1].parse().expect("minor"),
            reads: v[0],
            reads_merged: v[1],
            read_bytes: v[2] * 512,
            read_ms: v[3],
            writes: v[4],
            writes_merged: v[5],
            written_bytes: v[6] * 512,
            write_ms: v[7],
            in_flight: v[8],
            busy_ms: v[9],
            weighted_ms: v[10],
            discards: v.get(14).map(|_| Discards { completed: v[11], merged: v[12], sectors: v[13], ms: v[14] }),
            flushes: v.get(16).map(|_| Flushes { completed: v[15], ms: v[16] }),
        }
    };
    text("/proc/diskstats").lines().map(disk).collect()
}

fn identity() -> Identity {
    let name = rustix::system::uname();
    let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()));
    Identity {
        sysname: word(name.sysname()),
        release: word(name.release()),
        version: word(name.version()),
        machine: word(name.machine()),
        nodename: word(name.nodename()),
        domainname: word(name.domainname()),
        os: os.lines().filter_map(pair).collect(),
    }
}

fn processes() -> Processes {
    let mut processes = Processes {
        max_processes: numbers(&text("/proc/sys/kernel/pid_max"))[0],
        max_threads: numbers(&text("/proc/sys/kernel/threads-max"))[0],
        ..Processes::default()
    };
    for entry in fs::read_dir("/proc").expect("/proc").filter_map(Result::ok) {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(") ").filter(|_| entry.file_name().to_string_lossy().parse::<u32>().is_ok()) else {
            continue;
        };
        let fields: Vec<&str> = rest.split(' ').collect();
        let state = fields[0].chars().next().expect("a state");
        processes.count += 1;
        processes.threads += fields[17].parse::<u64>().expect("threads");
        match processes.states.iter_mut().find(|(s, _)| *s == state) {
            Some((_, count)) => *count += 1,
            None => processes.states.push((state, 1)),
        }
    }
    processes
}
