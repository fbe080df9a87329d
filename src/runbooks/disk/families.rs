//! Which files a rule may speak of: names, and where on this filesystem they may lie.

use super::Params;
use crate::model::{FamilyAsk, FileFamily, HostPath, Mount};

/// In the order of the ladder.
pub(super) const ALL: [FileFamily; 9] = [
    FileFamily::ClosedLogs,
    FileFamily::RotatedLogs,
    FileFamily::WalArchives,
    FileFamily::JournalArchives,
    FileFamily::Tmp,
    FileFamily::PackageCache,
    FileFamily::PipCache,
    FileFamily::NpmCache,
    FileFamily::CoreDumps,
];

const COMPRESSED: [&str; 7] = ["gz", "xz", "zst", "bz2", "lz4", "lzma", "zip"];

/// Globs on the file name. Empty: every file under the root.
fn names(family: FileFamily) -> Vec<String> {
    let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<String>>();
    let plain = ["*.old", "*.[0-9]", "*.[0-9][0-9]", "*.log-20[0-9][0-9]*"];
    match family {
        FileFamily::ClosedLogs => {
            let more = ["*.log", "*.log.*", "*.log-*", "*.out", "*.err", "*.trace", "*.txt", "*.json", "*.csv", "*-20[0-9][0-9]*"];
            list(&[&plain[..], &more].concat())
        }
        FileFamily::RotatedLogs => list(&plain).into_iter().chain(COMPRESSED.map(|c| format!("*.{c}"))).collect(),
        // What PostgreSQL and MySQL name their segments; histories, backup labels and indexes stay.
        FileFamily::WalArchives => {
            let segments = ["[0-9A-F]".repeat(24), format!("*-bin.{}", "[0-9]".repeat(6))];
            let packed = segments.iter().flat_map(|s| COMPRESSED.map(|c| format!("{s}.{c}")));
            packed.chain(segments.iter().cloned()).collect()
        }
        FileFamily::JournalArchives => list(&["*.journal", "*.journal~"]),
        FileFamily::PackageCache => list(&["*.deb", "*.rpm", "*.drpm"]),
        FileFamily::CoreDumps => list(&["core.*", "core"]),
        FileFamily::Tmp | FileFamily::PipCache | FileFamily::NpmCache => Vec::new(),
    }
}

/// Globs on the whole path that are left alone.
fn exclude(family: FileFamily, tmp_exclusions: Option<&[String]>) -> Vec<String> {
    match family {
        FileFamily::Tmp => tmp_exclusions.unwrap_or_default().to_vec(),
        FileFamily::ClosedLogs => COMPRESSED.map(|c| format!("/**/*.{c}")).into(),
        _ => Vec::new(),
    }
}

/// A name that says: compressed already.
pub(super) fn is_compressed(name: &[u8]) -> bool {
    let extension = name.rsplit(|b| *b == b'.').next().unwrap_or_default();
    COMPRESSED.iter().any(|c| extension == c.as_bytes())
}

/// What to look for on `mount`, given everything that is mounted.
///
/// A configured root counts where it really lies: on the filesystem with the longest mount point above it. Where this filesystem is
/// mounted below a root, its mount point is the root.
pub(super) fn asks(mount: &Mount, all: &[Mount], params: &Params, tmp_exclusions: Option<&[String]>) -> Vec<FamilyAsk> {
    let mut out: Vec<FamilyAsk> = Vec::new();
    for family in ALL {
        for root in params.limits.roots(family) {
            let Some(root) = here(root, mount, all) else { continue };
            if family == FileFamily::Tmp && tmp_exclusions.is_none() {
                continue;
            }
            if out.iter().any(|a| a.family == family && root.is_under(&a.root)) {
                continue;
            }
            out.push(FamilyAsk {
                family,
                min_age_s: params.min_age_s(family),
                min_size: if family == FileFamily::ClosedLogs { params.compress_min_size.0 } else { 0 },
                or_age_s: (family == FileFamily::ClosedLogs).then(|| params.compress_any_size_age_s.whole()),
                names: names(family),
                exclude: exclude(family, tmp_exclusions),
                dirs_min_age_s: (family == FileFamily::Tmp).then(|| params.tmp_dir_min_age_s.whole()),
                root,
            });
        }
    }
    out
}

/// Where on `mount` the files of a configured root lie, if any do.
fn here(root: &HostPath, mount: &Mount, all: &[Mount]) -> Option<HostPath> {
    if mount.path.is_under(root) {
        return Some(mount.path.clone());
    }
    carrier(root, all).is_some_and(|m| m.device == mount.device && root.is_under(&mount.path)).then(|| root.clone())
}

/// The filesystem that `path` lies on.
pub(super) fn carrier<'a>(path: &HostPath, all: &'a [Mount]) -> Option<&'a Mount> {
    let places = all.iter().flat_map(|m| std::iter::once(&m.path).chain(&m.also_at).map(move |place| (place, m)));
    places.filter(|(place, _)| path.is_under(place)).max_by_key(|(place, _)| place.as_bytes().len()).map(|(_, m)| m)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FsKind;

    fn mount(path: &str, device: u64) -> Mount {
        Mount {
            path: path.into(),
            device,
            source: "x".into(),
            fs_type: "ext4".into(),
            kind: FsKind::Local,
            read_only: false,
            also_at: vec![],
        }
    }

    #[test]
    fn a_root_counts_on_the_filesystem_that_carries_it() {
        let all = [mount("/", 1), mount("/var/log", 2), mount("/var/log/nginx", 3)];
        let log: HostPath = "/var/log".into();
        assert_eq!(here(&log, &all[0], &all), None);
        assert_eq!(here(&log, &all[1], &all), Some(log.clone()));
        assert_eq!(here(&log, &all[2], &all), Some("/var/log/nginx".into()));
        assert_eq!(here(&"/var/logs".into(), &all[0], &all), Some("/var/logs".into()), "a sibling with a longer name");
    }

    #[test]
    fn without_tmpfiles_exceptions_no_temporary_file_is_asked_for() {
        let all = [mount("/", 1)];
        let families =
            |excluded: Option<&[String]>| asks(&all[0], &all, &Params::default(), excluded).iter().any(|a| a.family == FileFamily::Tmp);
        assert!(families(Some(&[])));
        assert!(!families(None));
    }

    #[test]
    fn compressed_is_told_by_the_last_extension() {
        assert!(is_compressed(b"syslog.2.gz") && !is_compressed(b"app.gz.log") && !is_compressed(b"gz.log.1"));
    }
}
