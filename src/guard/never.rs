//! What is never touched, whatever any configuration says.

use crate::model::{FileFamily, HostPath};

/// Directories that may not be a root of anything, with the reason.
const ROOTS: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/usr",
    "/var",
    "/var/lib",
    "/var/cache",
];

/// Homes of databases, volumes and other data: a path with one of these in it is nobody's cache.
const DATA_HOMES: &[&str] = &[
    "/var/lib/postgresql",
    "/var/lib/pgsql",
    "/var/lib/mysql",
    "/var/lib/mariadb",
    "/var/lib/mongodb",
    "/var/lib/mongo",
    "/var/lib/redis",
    "/var/lib/etcd",
    "/var/lib/elasticsearch",
    "/var/lib/opensearch",
    "/var/lib/cassandra",
    "/var/lib/clickhouse",
    "/var/lib/influxdb",
    "/var/lib/prometheus",
    "/var/lib/kafka",
    "/var/lib/rabbitmq",
    "/var/lib/zookeeper",
    "/var/lib/neo4j",
    "/var/lib/couchdb",
    "/var/lib/ldap",
    "/var/lib/kubelet",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/rook",
    "/var/lib/ceph",
    "/var/lib/longhorn",
    "/var/lib/libvirt",
    "/var/lib/lxd",
    "/var/lib/byteport",
    "/var/lib/byteport-actuator",
];

/// Login records and the live logs that people and auditors read first.
const LOG_NAMES: &[&str] = &[
    "lastlog",
    "wtmp",
    "btmp",
    "faillog",
    "tallylog",
    "wtmp.db",
    "lastlog2.db",
    "syslog",
    "messages",
    "secure",
    "auth.log",
    "access.log",
    "access_log",
    "error.log",
    "error_log",
    "kern.log",
    "daemon.log",
    "audit.log",
    "maillog",
    "mail.log",
    "cron",
    "cron.log",
    "user.log",
    "debug",
];

/// Directories under a log root that belong to audit.
const AUDIT_DIRS: &[&[u8]] = &[b"audit", b"auditd"];

/// Names in a temporary directory that other programs rely on.
const TMP_NAMES: &[&str] = &[".X11-unix", ".ICE-unix", ".XIM-unix", ".font-unix", ".Test-unix"];

/// Images without which a node cannot start any pod.
const IMAGE_NAMES: &[&str] = &["/pause", "pause:", "/pause-amd64", "mirrored-pause", "/infra:", "/sandbox"];

/// Units whose restart takes the host, its network, its logins or ourselves down.
const UNITS: &[&str] = &[
    "init.scope",
    "systemd-journald.service",
    "systemd-logind.service",
    "systemd-udevd.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "NetworkManager.service",
    "dbus.service",
    "dbus-broker.service",
    "polkit.service",
    "ssh.service",
    "ssh@.service",
    "sshd.service",
    "sshd@.service",
    "getty@.service",
    "containerd.service",
    "docker.service",
    "crio.service",
    "cri-docker.service",
    "podman.service",
    "snap.docker.dockerd.service",
    "kubelet.service",
    "k3s.service",
    "k3s-agent.service",
    "rke2-server.service",
    "rke2-agent.service",
    "multipathd.service",
    "iscsid.service",
    "auditd.service",
    "byteport-agent.service",
    "byteport-actuator.service",
];

/// Programs whose end takes the host, its network, its logins, its containers or ourselves down, by the kernel's name for them.
const PROGRAMS: &[&str] = &[
    "init",
    "systemd",
    "systemd-journal",
    "systemd-logind",
    "systemd-udevd",
    "systemd-network",
    "systemd-resolve",
    "systemd-timesyn",
    "(sd-pam)",
    "NetworkManager",
    "dbus-daemon",
    "dbus-broker",
    "dbus-broker-lau",
    "polkitd",
    "sshd",
    "sshd-session",
    "sshd-auth",
    "login",
    "agetty",
    "containerd",
    "containerd-shim",
    "dockerd",
    "crio",
    "cri-dockerd",
    "podman",
    "conmon",
    "kubelet",
    "k3s",
    "k3s-server",
    "k3s-agent",
    "rke2",
    "kube-apiserver",
    "kube-controller",
    "kube-scheduler",
    "etcd",
    "multipathd",
    "iscsid",
    "auditd",
    "chronyd",
    "byteport-agent",
    "byteport-actuat",
];

/// Parts of unit names that say: this one keeps state.
const STATEFUL: &[&str] = &[
    "postgres",
    "mysql",
    "mariadb",
    "mongo",
    "redis",
    "etcd",
    "elastic",
    "opensearch",
    "cassandra",
    "clickhouse",
    "influx",
    "kafka",
    "rabbitmq",
    "zookeeper",
    "ceph",
    "minio",
    "libvirt",
    "qemu",
    "oracle",
    "db2",
    "couch",
    "neo4j",
    "vault",
    "consul",
    "nfs",
    "smb",
    "slapd",
    "valkey",
    "mssql",
    "scylla",
    "cockroach",
    "victoria",
    "nats",
    "pulsar",
    "solr",
    "gluster",
    "zfs",
];

/// Why this directory may not be a root, if it may not.
pub fn root(path: &HostPath) -> Option<&'static str> {
    if ROOTS.iter().any(|r| path == &HostPath::from(*r)) {
        return Some("far too much lies under it");
    }
    data_home(path)
}

/// Why this file (absolute path) may not be touched as one of `family`, if it may not.
pub fn file(family: FileFamily, path: &HostPath) -> Option<&'static str> {
    if family != FileFamily::WalArchives
        && let Some(why) = data_home(path)
    {
        return Some(why);
    }
    let name = path.file_name();
    match family {
        FileFamily::ClosedLogs | FileFamily::RotatedLogs => {
            if path.as_bytes().split(|b| *b == b'/').any(|part| AUDIT_DIRS.contains(&part)) || name.starts_with(b"audit") {
                return Some("audit logs stay");
            }
            // `syslog` and `auth.log` themselves; their rotated copies (`syslog.2.gz`) are fair, login records are not in any form.
            if LOG_NAMES.iter().any(|n| name == n.as_bytes()) {
                return Some("a live system log");
            }
            if ["lastlog", "wtmp", "btmp", "faillog", "tallylog"].iter().any(|n| name.starts_with(n.as_bytes())) {
                return Some("login records stay");
            }
            // journald's own files are journald's to archive; only the vacuum step knows which are.
            if name.ends_with(b".journal") || name.ends_with(b".journal~") {
                return Some("a journal file: only the vacuum step may judge it");
            }
            None
        }
        FileFamily::JournalArchives => {
            let archived = name.ends_with(b".journal~") || (name.ends_with(b".journal") && name.contains(&b'@'));
            (!archived).then_some("not an archived journal file")
        }
        FileFamily::Tmp => {
            let foreign = path.as_bytes().split(|b| *b == b'/').any(|part| {
                part.starts_with(b"systemd-private-")
                    || part.starts_with(b"snap-private-tmp")
                    || TMP_NAMES.iter().any(|n| part == n.as_bytes())
            });
            foreign.then_some("another program's private folder")
        }
        FileFamily::WalArchives | FileFamily::PackageCache | FileFamily::PipCache | FileFamily::NpmCache | FileFamily::CoreDumps => None,
    }
}

/// Asked of every file of a plan, on both sides of the socket and once more before it goes: nothing is allocated here.
fn data_home(path: &HostPath) -> Option<&'static str> {
    let bytes = path.as_bytes();
    // `/var//lib` and `/var/./lib` are `/var/lib` as well; only a path that has such parts is taken to pieces.
    let odd = bytes.windows(2).any(|w| w == b"//" || w == b"/.");
    let inside = DATA_HOMES.iter().any(|home| {
        let whole_parts = |rest: &[u8]| rest.is_empty() || rest.starts_with(b"/");
        bytes.strip_prefix(home.as_bytes()).is_some_and(whole_parts) || (odd && path.as_path().starts_with(home))
    });
    let volume = bytes.windows(b"/kubernetes.io~".len()).any(|w| w == b"/kubernetes.io~");
    (inside || volume).then_some("a database's, a volume's or a runtime's own directory")
}

/// Why this unit may never be reloaded or restarted.
pub fn unit(name: &str) -> Option<&'static str> {
    if !name.ends_with(".service") {
        return Some("only services are restarted");
    }
    let template = name.split_once('@').map(|(stem, _)| format!("{stem}@.service"));
    if UNITS.contains(&name) || template.is_some_and(|t| UNITS.contains(&t.as_str()) || t == "user@.service") {
        return Some("the host, its network, its logins or its healer hang on it");
    }
    None
}

/// Why this process may never be slowed down or ended. Its name is what it calls itself: one that lies is caught by its unit or its kind.
pub fn process(pid: u32, comm: &[u8]) -> Option<&'static str> {
    if pid <= 2 {
        return Some("the first process, and the kernel's own");
    }
    PROGRAMS.iter().any(|name| comm == name.as_bytes()).then_some("the host, its network, its logins or its healer hang on it")
}

/// A unit that by its name keeps state, or that `more` names: refused unless allow-listed.
pub fn stateful_unit(name: &str, more: &[String]) -> bool {
    let name = name.to_ascii_lowercase();
    STATEFUL.iter().copied().chain(more.iter().map(String::as_str)).any(|part| name.contains(&part.to_ascii_lowercase()))
}

/// An image that must stay whatever the engine says of its use.
pub fn image(tags: &[String]) -> bool {
    tags.iter().any(|tag| IMAGE_NAMES.iter().any(|n| tag.contains(n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_home_is_known_however_it_is_written_and_its_neighbours_are_not() {
        for inside in ["/var/lib/mysql", "/var/lib/mysql/ibdata1", "/var//lib/mysql/x", "/var/./lib/mysql/x", "/x/kubernetes.io~nfs/y"] {
            assert!(file(FileFamily::Tmp, &inside.into()).is_some(), "{inside}");
        }
        for outside in ["/var/lib/mysql-archive/x", "/srv/var/lib/mysql/x", "/tmp/.hidden/x"] {
            assert_eq!(file(FileFamily::Tmp, &outside.into()), None, "{outside}");
        }
    }
}
