//! What a line of the kernel means. Only its beginning is looked at before anything else: almost every line ends there.
//!
//! Texts are as `/dev/kmsg` gives them, with `\xNN` for what is not printable ASCII. Names that somebody may have chosen (of processes, of
//! cgroups) are taken from the outside in, so that a name which imitates a field moves no other.

use crate::model::{HostPath, KernelEventKind};

/// What one line says. An out-of-memory kill is told in several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Event {
        kind: KernelEventKind,
        subject: String,
        pid: Option<u32>,
    },
    /// Who is about to be killed for want of memory, and in which cgroup.
    Chosen {
        comm: String,
        pid: u32,
        cgroup: Option<HostPath>,
    },
    /// The cgroup of the one that is killed next, or of all that are.
    Doomed {
        cgroup: HostPath,
        all: bool,
    },
    Killed {
        comm: String,
        pid: u32,
    },
}

type Reader = fn(&str) -> Option<Said>;

/// How the lines begin that may mean something, and who reads on. One with its own function is not repeated: a match is final.
const BEGINNINGS: &[(&str, Reader)] = &[
    ("oom-kill:", chosen),
    ("Out of memory", killed),
    ("Memory cgroup out of memory", killed),
    // Linux before 5.2, where the reason is in a line of its own.
    ("Killed process ", killed),
    ("Task in ", doomed),
    ("Tasks in ", doomed),
    ("mce: [Hardware Error]: ", machine_check),
    ("[Hardware Error]: ", machine_check),
    ("{", apei),
    ("EDAC ", edac),
    ("Memory failure: 0x", memory_failure),
    ("INFO: task ", hung_task),
    ("I/O error, dev ", failed_request),
    ("critical ", failed_request),
    ("timeout error, dev ", failed_request),
    ("protection error, dev ", failed_request),
    ("recoverable transport error, dev ", failed_request),
    ("device offline error, dev ", failed_request),
    // The function's name goes before until Linux 5.15.
    ("blk_update_request: ", failed_request),
    ("print_req_error: ", failed_request),
    ("end_request: ", failed_request),
    ("Buffer I/O error on dev", buffer),
    ("Aborting journal on device ", journal),
    ("EXT", ext),
    ("XFS (", xfs),
    ("BTRFS", btrfs),
    ("FAT-fs (", remounted),
    ("F2FS-fs (", remounted),
];

/// The bytes that one of them begins with: most lines end at their first.
const FIRST: [bool; 256] = {
    let mut first = [false; 256];
    let mut n = 0;
    while n < BEGINNINGS.len() {
        first[BEGINNINGS[n].0.as_bytes()[0] as usize] = true;
        n += 1;
    }
    first
};

/// Of the first line. Total, and cheap for lines that mean nothing.
pub(super) fn classify(text: &[u8]) -> Option<Said> {
    text.first().filter(|byte| FIRST.get(usize::from(**byte)) == Some(&true))?;
    let (_, read) = BEGINNINGS.iter().find(|(beginning, _)| text.starts_with(beginning.as_bytes()))?;
    read(&String::from_utf8_lossy(first_line(text)))
}

/// What follows describes the device.
pub(super) fn first_line(text: &[u8]) -> &[u8] {
    text.split(|b| *b == b'\n').next().unwrap_or_default()
}

fn event(kind: KernelEventKind, subject: impl Into<String>) -> Option<Said> {
    Some(Said::Event { kind, subject: subject.into(), pid: None })
}

fn between<'a>(text: &'a str, before: &str, after: &[char]) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split(after).next().filter(|part| !part.is_empty() && part.len() < rest.len())
}

/// `oom-kill:constraint=C,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a,task=name,pid=1,uid=0`; for a limit
/// `oom_memcg=/a` instead of `global_oom`.
fn chosen(text: &str) -> Option<Said> {
    /// The kernel's `TASK_COMM_LEN`, without its end.
    const LONGEST_NAME: usize = 15;
    let (rest, pid) = text.rsplit_once(",pid=")?;
    let pid = pid.split(',').next()?.parse().ok()?;
    let (_, rest) = rest.split_once("task_memcg=")?;
    let short = |name: &str| HostPath::unescape(name).is_some_and(|n| n.as_bytes().len() <= LONGEST_NAME);
    let split = |(at, _)| Some((rest.get(..at)?, rest.get(at..)?.strip_prefix(",task=")?));
    let (cgroup, comm) = rest.match_indices(",task=").filter_map(split).find(|(_, comm)| short(comm))?;
    Some(Said::Chosen { comm: comm.to_owned(), pid, cgroup: HostPath::unescape(cgroup) })
}

/// `Out of memory: Killed process 1 (name) total-vm:1kB, …`, and what older kernels make of it. `Kill process`, which they say before, only
/// announces it.
fn killed(text: &str) -> Option<Said> {
    let (_, rest) = text.split_once("Killed process ")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let pid = rest.get(..digits)?.parse().ok()?;
    let (who, _) = rest.rsplit_once("total-vm:")?;
    let comm = who.get(who.find('(')?.checked_add(1)?..who.rfind(')')?)?;
    Some(Said::Killed { comm: comm.to_owned(), pid })
}

/// `Task in /a/b killed as a result of limit of /a` (before Linux 4.20), `Tasks in /a are going to be killed due to memory.oom.group set`.
fn doomed(text: &str) -> Option<Said> {
    let (_, rest) = text.split_once(" in ")?;
    let all = rest.rfind(" are going to be killed due to memory.oom.group");
    let end = all.or_else(|| rest.rfind(" killed as a result of limit of "))?;
    Some(Said::Doomed { cgroup: HostPath::unescape(rest.get(..end)?)?, all: all.is_some() })
}

/// One machine check is told in many lines: only those with which a report begins, or which say that there is one, count.
fn machine_check(text: &str) -> Option<Said> {
    let cpu = between(text, "CPU ", &[':', ' ']).map_or("hardware".to_owned(), |n| format!("CPU {n}"));
    let begins = text.contains("Machine check events logged") || text.contains(": Machine Check");
    if begins { event(KernelEventKind::MachineCheck, cpu) } else { apei(text) }
}

/// `{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 0`
fn apei(text: &str) -> Option<Said> {
    text.contains("[Hardware Error]: Hardware error from APEI").then(|| event(KernelEventKind::MachineCheck, "firmware"))?
}

/// `EDAC MC0: 1 CE memory read error on …`: corrected and uncorrected errors, not what the drivers say of themselves.
fn edac(text: &str) -> Option<Said> {
    let (controller, rest) = text.strip_prefix("EDAC ")?.split_once(": ")?;
    (rest.contains("CE ") || rest.contains("UE ")).then(|| event(KernelEventKind::MachineCheck, controller))?
}

/// `Memory failure: 0x1f: Sending SIGBUS to name:1 due to hardware memory corruption`
fn memory_failure(text: &str) -> Option<Said> {
    text.contains("hardware memory corruption").then(|| event(KernelEventKind::MachineCheck, "memory"))?
}

/// `INFO: task name:1 blocked for more than 120 seconds.`
fn hung_task(text: &str) -> Option<Said> {
    let (who, rest) = text.strip_prefix("INFO: task ")?.rsplit_once(" blocked ")?;
    let (comm, pid) = who.rsplit_once(':')?;
    let pid = Some(pid.parse().ok()?);
    let long = rest.contains("for more than ");
    long.then(|| Said::Event { kind: KernelEventKind::HungTask, subject: comm.to_owned(), pid })
}

/// `blk_update_request: critical medium error, dev sda, sector 1 op 0x0:(READ) …`. What a device does not know or was busy for is no error.
fn failed_request(text: &str) -> Option<Said> {
    const FAILED: &[&str] = &[
        "I/O",
        "critical medium",
        "critical target",
        "critical space allocation",
        "timeout",
        "protection",
        "recoverable transport",
        "device offline",
    ];
    let (what, rest) = text.split_once(" error, dev ")?;
    let what = what.rsplit(": ").next()?;
    let (device, _) = rest.split_once(", sector ")?;
    FAILED.contains(&what).then(|| event(KernelEventKind::IoError, device))?
}

/// `Buffer I/O error on dev sda1, logical block 0, lost async page write`, `on device` before Linux 4.0.
fn buffer(text: &str) -> Option<Said> {
    event(KernelEventKind::IoError, between(text, "on dev", &[','])?.trim_start_matches("ice").trim_start())
}

/// `Aborting journal on device sda1-8.`
fn journal(text: &str) -> Option<Said> {
    event(KernelEventKind::FilesystemError, text.strip_prefix("Aborting journal on device ")?.trim_end_matches('.'))
}

/// `EXT4-fs error (device sda1): …`, and of ext2 and ext3.
fn ext(text: &str) -> Option<Said> {
    let (name, rest) = text.split_once("-fs ")?;
    if name.len() == "EXT4".len() && rest.starts_with("error (device ") { of_device(text) } else { remounted(text) }
}

fn of_device(text: &str) -> Option<Said> {
    event(KernelEventKind::FilesystemError, between(text, "(device ", &[')', ':'])?)
}

/// `EXT4-fs (sda1): Remounting filesystem read-only`, `FAT-fs (sda1): Filesystem has been set read-only`
fn remounted(text: &str) -> Option<Said> {
    let read_only = text.ends_with("Remounting filesystem read-only") || text.ends_with("Filesystem has been set read-only");
    read_only.then(|| event(KernelEventKind::FilesystemError, between(text, "(", &[')'])?))?
}

/// Everything between the first bad block and the shutdown: XFS has many words for it.
fn xfs(text: &str) -> Option<Said> {
    const BAD: &[&str] = &[
        "orruption",
        "CORRUPT",
        "hutting down",
        "shut down due to",
        "force_shutdown",
        "Internal error",
        "metadata I/O error",
        "Log I/O Error",
        "log I/O error",
    ];
    let (device, rest) = text.strip_prefix("XFS (")?.split_once("): ")?;
    BAD.iter().any(|words| rest.contains(words)).then(|| event(KernelEventKind::FilesystemError, device))?
}

/// `BTRFS error (device sda1): …`, `BTRFS critical (device sda1: state EA): …`, `BTRFS: error (device sda1) in …`
fn btrfs(text: &str) -> Option<Said> {
    let rest = text.strip_prefix("BTRFS")?.trim_start_matches(':').trim_start();
    let bad = rest.starts_with("error (device ") || rest.starts_with("critical (device ");
    bad.then(|| of_device(text))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use KernelEventKind::{FilesystemError, HungTask, IoError, MachineCheck};
    use proptest::prelude::*;

    /// Lines as kernels print them: release, text, what it is about.
    const EVENTS: &[(&str, &str, KernelEventKind, &str)] = &[
        ("3.10", "end_request: I/O error, dev sdb, sector 2048", IoError, "sdb"),
        ("3.10", "Buffer I/O error on device sdb1, logical block 12", IoError, "sdb1"),
        ("3.10", "[Hardware Error]: Machine check events logged", MachineCheck, "hardware"),
        ("4.4", "blk_update_request: critical medium error, dev sda, sector 1953525160", IoError, "sda"),
        ("4.15", "print_req_error: I/O error, dev loop3, sector 0", IoError, "loop3"),
        ("4.18", "Buffer I/O error on dev dm-2, logical block 0, async page read", IoError, "dm-2"),
        ("4.19", "mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 8: 8c00004000010091", MachineCheck, "CPU 3"),
        (
            "4.19",
            "EDAC MC1: 1 CE memory read error on CPU_SrcID#1_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x3d0 offset:0x0 grain:32 syndrome:0x0 -  err_code:0x0101:0x0091 socket:1 imc:0 rank:1 bg:3 ba:3 row:0x8f col:0x2d0)",
            MachineCheck,
            "MC1",
        ),
        ("4.19", "INFO: task jbd2/sda1-8:312 blocked for more than 120 seconds.", HungTask, "jbd2/sda1-8"),
        (
            "5.4",
            "blk_update_request: I/O error, dev nvme0n1, sector 501248 op 0x1:(WRITE) flags 0x800 phys_seg 4 prio class 0",
            IoError,
            "nvme0n1",
        ),
        ("5.4", "EXT4-fs error (device sda1): ext4_lookup:1706: inode #12: comm ls: iget: checksum invalid", FilesystemError, "sda1"),
        ("5.4", "EXT4-fs error (device dm-0) in ext4_reserve_inode_write:5759: Journal has aborted", FilesystemError, "dm-0"),
        ("5.4", "EXT4-fs (sda1): Remounting filesystem read-only", FilesystemError, "sda1"),
        ("5.4", "Aborting journal on device sda1-8.", FilesystemError, "sda1-8"),
        ("5.4", "XFS (dm-1): metadata I/O error in \"xfs_trans_read_buf_map\" at daddr 0x2 len 1 error 5", FilesystemError, "dm-1"),
        ("5.10", "XFS (sdc): Corruption of in-memory data detected.  Shutting down filesystem", FilesystemError, "sdc"),
        (
            "5.10",
            "XFS (sdc): xfs_do_force_shutdown(0x8) called from line 461 of file fs/xfs/xfs_trans.c. Return address = 000000001f8a5b1c",
            FilesystemError,
            "sdc",
        ),
        (
            "5.10",
            "BTRFS: error (device sdd) in btrfs_commit_transaction:2323: errno=-5 IO failure (Error while writing out transaction)",
            FilesystemError,
            "sdd",
        ),
        ("5.10", "BTRFS critical (device sdd): corrupt leaf: root=5 block=30408704 slot=6, bad key order", FilesystemError, "sdd"),
        ("5.15", "FAT-fs (sdb1): Filesystem has been set read-only", FilesystemError, "sdb1"),
        ("5.15", "{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 1", MachineCheck, "firmware"),
        ("5.15", "Memory failure: 0x1f2e00: Sending SIGBUS to qemu-kvm:4211 due to hardware memory corruption", MachineCheck, "memory"),
        ("6.1", "I/O error, dev sda, sector 2056 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2", IoError, "sda"),
        ("6.1", "critical medium error, dev sda, sector 7814037160 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2", IoError, "sda"),
        ("6.1", "device offline error, dev sdb, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2", IoError, "sdb"),
        ("6.1", "BTRFS error (device sdd: state EA): bdev /dev/sdd errs: wr 1, rd 0, flush 0, corrupt 0, gen 0", FilesystemError, "sdd"),
        ("6.1", "XFS (nvme1n1p2): Filesystem has been shut down due to log error (0x2).", FilesystemError, "nvme1n1p2"),
        ("6.8", "mce: [Hardware Error]: Machine check events logged", MachineCheck, "hardware"),
        ("6.18", "EXT4-fs error (device loop1): trigger_test_error:129: comm an_ext4_filesys: on purpose", FilesystemError, "loop1"),
        ("6.19", "INFO: task postgres: main:77 blocked in I/O wait for more than 241 seconds.", HungTask, "postgres: main"),
    ];

    /// Lines that only look like it.
    const NOTHING: &[&str] = &[
        "EXT4-fs (sda1): mounted filesystem with ordered data mode. Quota mode: none.",
        "EXT4-fs (loop1): re-mounted 3cd5750e-a366-410d-b559-5916ed2e516f ro.",
        "XFS (sdc): Ending clean mount",
        "XFS (sdc): Unmounting Filesystem",
        "BTRFS info (device sdd): using crc32c (crc32c-intel) checksum algorithm",
        "BTRFS warning (device sdd): space cache v1 is being deprecated",
        "EDAC MC: Ver: 3.0.0",
        "EDAC MC0: Giving out device to module skx_edac controller Skylake Socket#0 IMC#0: DEV 0000:64:0a.0 (INTERRUPT)",
        "mce: CPU1: Core temperature above threshold, cpu clock throttled (total events = 1)",
        "mce: [Hardware Error]: TSC 0 ADDR 12d6fd80 MISC 9040000008a0c86",
        "[Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD",
        "operation not supported error, dev loop0, sector 2056 op 0x9:(WRITE_ZEROES) flags 0x800 phys_seg 0 prio class 2",
        "critical nexus error, dev sdb, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
        "Out of memory: Kill process 2592 (mysqld) score 901 or sacrifice child",
        "oom_reaper: reaped process 4211 (stress), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
        "INFO: lockdep is turned off.",
        "INFO: task kworker/1:2:88 is blocked on a mutex likely owned by task mount:99.",
        "stress invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    ];

    #[test]
    fn lines_of_many_kernels_are_told_apart() {
        for (release, line, kind, about) in EVENTS {
            match classify(line.as_bytes()) {
                Some(Said::Event { kind: k, subject, .. }) => assert_eq!((k, subject.as_str()), (*kind, *about), "{release}: {line}"),
                other => panic!("{release}: {line}: {other:?}"),
            }
        }
        for line in NOTHING {
            assert_eq!(classify(line.as_bytes()), None, "{line}");
        }
        // A line counts by how it begins: what a program wrote about a line is not the line.
        assert_eq!(classify(b"systemd[1]: I/O error, dev sda, sector 1"), None);
    }

    #[test]
    fn kills_are_read_in_every_form() {
        let killed = |comm: &str, pid| Some(Said::Killed { comm: comm.into(), pid });
        let rest = "total-vm:11kB, anon-rss:7kB, file-rss:0kB";
        for (release, line, said) in [
            ("3.10", format!("Killed process 4321 (mysqld) {rest}"), killed("mysqld", 4321)),
            ("3.10 of RHEL 7", format!("Killed process 4321 (mysqld), UID 27, {rest}"), killed("mysqld", 4321)),
            (
                "5.4",
                format!("Out of memory: Killed process 7 (a) b (c)) {rest}, UID:0 pgtables:52kB oom_score_adj:0"),
                killed("a) b (c)", 7),
            ),
            ("6.1", format!("Memory cgroup out of memory: Killed process 7 (python3) {rest}"), killed("python3", 7)),
            ("6.1", format!("Out of memory (oom_kill_allocating_task): Killed process 7 (x) {rest}"), killed("x", 7)),
            (
                "4.9",
                "Task in /docker/ab12 killed as a result of limit of /docker".into(),
                Some(Said::Doomed { cgroup: "/docker/ab12".into(), all: false }),
            ),
            (
                "6.1",
                "Tasks in /system.slice/a b.service are going to be killed due to memory.oom.group set".into(),
                Some(Said::Doomed { cgroup: "/system.slice/a b.service".into(), all: true }),
            ),
        ] {
            assert_eq!(classify(line.as_bytes()), said, "{release}: {line}");
        }
    }

    #[test]
    fn a_name_that_imitates_a_field_moves_none() {
        let head = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/x";
        let chosen = |tail: &str| classify(format!("{head},{tail}").as_bytes());
        let is = |comm: &str, pid, cgroup: &str| Some(Said::Chosen { comm: comm.into(), pid, cgroup: HostPath::unescape(cgroup) });
        assert_eq!(chosen("task_memcg=/x/y,task=stress,pid=12,uid=0"), is("stress", 12, "/x/y"));
        assert_eq!(chosen("task_memcg=/x/y,task=a,task=b,pid=1,pid=12,uid=0"), is("a,task=b,pid=1", 12, "/x/y"));
        let cgroup = "/x,task=somebody_harmless";
        assert_eq!(chosen(&format!("task_memcg={cgroup},task=b,pid=12,uid=0")), is("b", 12, cgroup));
        assert_eq!(chosen("task_memcg=/d\\xc3\\xa9,task=caf\\xc3\\xa9,pid=12,uid=0"), is("caf\\xc3\\xa9", 12, "/d\\xc3\\xa9"));
        assert_eq!(chosen("task_memcg=/x/y,task=stress,pid=,uid=0"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_mean_something_or_nothing(beginning in prop::sample::select(BEGINNINGS), bytes: Vec<u8>) {
            let _ = classify(&bytes);
            let _ = classify(&[beginning.0.as_bytes(), &bytes].concat());
        }

        #[test]
        fn damaged_lines_mean_something_or_nothing(line in prop::sample::select(EVENTS), cut in 0..80_usize, tail in "[a-z(),:=.\\\\ 0-9é]{0,20}") {
            let kept = line.1.get(..cut).unwrap_or(line.1);
            let _ = classify(format!("{kept}{tail}").as_bytes());
        }

        #[test]
        fn damaged_kills_are_read_or_left(text in "(oom-kill:|Killed process |Tasks? in )(.{0,4}(task_memcg=|,task=|,pid=|\\(|\\)|total-vm:| killed as a result of limit of )){0,6}[0-9]{0,12}") {
            let _ = classify(text.as_bytes());
        }
    }
}
