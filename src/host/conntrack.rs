//! Connections that the kernel tracks, of the network namespace that this process is in: a full table drops packets.

use rustix::fs::OFlags;

use super::columns::{lines, not_understood, number};
use super::root::{Root, if_there};
use super::{HotFile, Read, ReadError};
use crate::model::{Conntrack, HostPath};

const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

#[derive(Debug)]
pub(super) struct ConntrackFiles {
    count: HotFile,
    max: HotFile,
}

impl ConntrackFiles {
    pub(super) fn new() -> Self {
        Self { count: HotFile::one_record(COUNT), max: HotFile::one_record(MAX) }
    }

    /// # Errors
    /// `NotHere` where nothing is tracked, and where this process has a network of its own: whoever reads these files reads its own.
    pub(super) fn read(&self, root: &Root) -> Read<Conntrack> {
        if root.is_elsewhere()
            && let (Some(own), Some(hosts)) = (network(root, "self"), network(root, "1"))
            && own != hosts
        {
            let why = "the agent has a network of its own, and the host's can only be read from within it (hostNetwork: true)".to_owned();
            return Err(ReadError::NotHere { what: "connection tracking".to_owned(), why });
        }
        let Some(entries) = if_there(self.count.read(root, |bytes| parse_count(COUNT, bytes)))? else {
            let why = format!("the module nf_conntrack is not loaded ({COUNT} is not there)");
            return Err(ReadError::NotHere { what: "connection tracking".to_owned(), why });
        };
        Ok(Conntrack { entries, limit: self.max.read(root, |bytes| parse_count(MAX, bytes))? })
    }
}

/// By what the network that a process is in is told from others: each has files of its own. (Its namespace's link is not for everybody to read.)
fn network(root: &Root, process: &str) -> Option<u64> {
    let file = root.open_flags(&HostPath::from(format!("/proc/{process}/net/dev").as_str()), OFlags::PATH).ok()?;
    Some(rustix::fs::fstat(&file).ok()?.st_ino)
}

/// One number and nothing else. Total.
pub(super) fn parse_count(what: &str, bytes: &[u8]) -> Read<u64> {
    let line = lines(what, bytes)?.next().unwrap_or_default();
    number(line).ok_or_else(|| not_understood(what, line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_that_tracks_nothing_says_which_module_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (root, files) = (Root::open(dir.path()).unwrap(), ConntrackFiles::new());
        let why = files.read(&root).unwrap_err();
        assert!(matches!(&why, ReadError::NotHere { why, .. } if why.contains("nf_conntrack is not loaded")), "{why}");
        // The module comes later.
        std::fs::create_dir_all(dir.path().join("proc/sys/net/netfilter")).unwrap();
        std::fs::write(dir.path().join(&COUNT[1..]), "12\n").unwrap();
        assert!(files.read(&root).unwrap_err().to_string().contains(MAX));
        std::fs::write(dir.path().join(&MAX[1..]), "262144\n").unwrap();
        assert_eq!(files.read(&root).unwrap(), Conntrack { entries: 12, limit: 262_144 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_count(COUNT, &bytes);
        }
    }
}
