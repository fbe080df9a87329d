//! What was released lately: by a package manager, as its log says, or by whoever left a marker.
//!
//! dpkg and yum write local time without saying which: it is read in the zone that the host has now (`/etc/localtime`, through the same root as
//! the log), whatever zone this process was given. In the hour that a clock goes through twice the earlier one is taken, so that a release is
//! rather a little too old than too young.

pub(super) mod logs;

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use self::logs::{Logged, parse_dnf_log, parse_dpkg_log, parse_package_units, parse_version, parse_yum_log};
use super::root::{Root, if_there, io_error};
use super::{Read, ReadError};
use crate::model::{Deploy, DeploySource, HostPath};

const MOST: usize = 100;
const DPKG_LOG: &str = "/var/log/dpkg.log";
const DPKG_INFO: &str = "/var/lib/dpkg/info";
/// Of a log only its end is read: an upgrade of two thousand packages writes less.
const LOG_END: u64 = 4 << 20;
const MOST_MARKERS: usize = 1000;
const MARKER: u64 = 256;

/// A moment and what lies before it that counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Within {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Within {
    fn has(&self, at: Timestamp) -> bool {
        self.from <= at && at <= self.to
    }
}

/// `markers`: a folder as this process finds it; none where there is no such folder. Newest first, at most a hundred.
///
/// # Errors
/// When a log or the folder is there and cannot be read.
pub(super) fn read_deploys(root: &Root, markers: Option<&Path>, within: Within) -> Read<Vec<Deploy>> {
    let zone = zone(root)?;
    let mut found = packages(root, &zone, within)?;
    if let Some(folder) = markers {
        found.extend(marked(folder, within)?);
    }
    found.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.name.cmp(&b.name)));
    found.truncate(MOST);
    for deploy in found.iter_mut().filter(|deploy| deploy.source == DeploySource::Dpkg) {
        deploy.units = units_of(root, &deploy.name)?;
        // `nginx:amd64` is nginx to everybody else.
        deploy.name = deploy.name.split(':').next().unwrap_or_default().to_owned();
    }
    Ok(found)
}

/// UTC where the host has none.
fn zone(root: &Root) -> Read<TimeZone> {
    let path = "/etc/localtime";
    let Some(bytes) = if_there(root.read(path))? else { return Ok(TimeZone::UTC) };
    TimeZone::tzif("host", &bytes).map_err(|e| ReadError::Parse { what: path.to_owned(), why: e.to_string() })
}

fn packages(root: &Root, zone: &TimeZone, within: Within) -> Read<Vec<Deploy>> {
    let mut dpkg = if_there(end_of(root, DPKG_LOG))?.unwrap_or_default();
    // Rotated lately: what is missing is at the end of the log before.
    if logs::begins(&dpkg, zone).is_none_or(|begins| within.from < begins) {
        let mut before = if_there(end_of(root, &format!("{DPKG_LOG}.1")))?.unwrap_or_default();
        before.append(&mut dpkg);
        dpkg = before;
    }
    let dnf = if_there(end_of(root, "/var/log/dnf.rpm.log"))?.unwrap_or_default();
    let yum = if_there(end_of(root, "/var/log/yum.log"))?.unwrap_or_default();
    let rpm = parse_dnf_log(&dnf).into_iter().chain(parse_yum_log(&yum, zone, within.to));
    let logged = parse_dpkg_log(&dpkg, zone).into_iter().map(|l| (DeploySource::Dpkg, l)).chain(rpm.map(|l| (DeploySource::Rpm, l)));
    let deploy = |(source, Logged { name, version, at })| Deploy { name, version, at, source, units: Vec::new() };
    Ok(logged.map(deploy).filter(|deploy: &Deploy| within.has(deploy.at)).collect())
}

fn end_of(root: &Root, path: &str) -> Read<Vec<u8>> {
    let host = HostPath::from(path);
    let failed = |e| io_error(&host, e);
    let mut file = root.open_file(&host)?;
    let there = file.metadata().map_err(failed)?;
    if !there.is_file() {
        return Err(ReadError::Parse { what: path.to_owned(), why: "not a regular file".to_owned() });
    }
    let begin = there.len().saturating_sub(LOG_END);
    file.seek(SeekFrom::Start(begin)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LOG_END).read_to_end(&mut bytes).map_err(failed)?;
    if begin > 0 {
        let first_whole = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..first_whole);
    }
    Ok(bytes)
}

/// The unit files of a package, by the list of its files.
fn units_of(root: &Root, package: &str) -> Read<Vec<String>> {
    // What the log says is a name and no path; still, it is made part of one.
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b':'));
    if !is_name(package) {
        return Ok(Vec::new());
    }
    // Only where several architectures may be installed at once the list carries its own.
    let names = [package, package.split(':').next().unwrap_or_default()];
    for name in names {
        if let Some(list) = if_there(root.read(&format!("{DPKG_INFO}/{name}.list")))? {
            return Ok(parse_package_units(&list));
        }
    }
    Ok(Vec::new())
}

/// One marker a file: its name is what was released, its first line the version, and when it was written is when.
fn marked(folder: &Path, within: Within) -> Read<Vec<Deploy>> {
    let host = HostPath::from(folder);
    let failed = |e: Errno| io_error(&host, e);
    let opened = match rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in Dir::read_from(&opened).map_err(failed)?.take(MOST_MARKERS) {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        // What begins with a dot is about to get its name.
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        // A link, a pipe or what has gone is no marker.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&opened, name, flags, Mode::empty()).map(std::fs::File::from) else { continue };
        let Ok(there) = file.metadata() else { continue };
        let at = u32::try_from(there.mtime_nsec()).ok().and_then(|ns| Timestamp::new(there.mtime(), ns.cast_signed()).ok());
        let Some(at) = at.filter(|at| there.is_file() && within.has(*at)) else { continue };
        let mut text = Vec::new();
        if file.take(MARKER).read_to_end(&mut text).is_err() {
            continue;
        }
        let name = HostPath::from_bytes(name.to_bytes()).to_string();
        found.push(Deploy { name, version: parse_version(&text), at, source: DeploySource::Marker, units: Vec::new() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
