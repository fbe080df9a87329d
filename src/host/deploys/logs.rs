//! What package managers write down. All of it takes bytes and is total: a line that is not understood costs itself alone.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::model::HostPath;

/// A package that was installed, under the name in its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host) struct Logged {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) at: Timestamp,
}

/// No name or version is longer.
const LONGEST: usize = 256;
const MOST_UNITS: usize = 50;
const UNIT_FOLDERS: [&str; 3] = ["/lib/systemd/system/", "/usr/lib/systemd/system/", "/etc/systemd/system/"];
const UNIT_KINDS: [&str; 8] = ["service", "socket", "timer", "path", "mount", "target", "slice", "scope"];
/// Of yum's lines, and of dnf's; what dnf calls `Upgraded` is the version that went.
const RPM_CAME: [&str; 7] = ["Installed:", "Install:", "Updated:", "Upgrade:", "Downgrade:", "Reinstall:", "Reinstalled:"];

fn lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    // The last one is being written, perhaps.
    let whole = bytes.iter().rposition(|b| *b == b'\n').and_then(|end| bytes.get(..end)).unwrap_or_default();
    whole.split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
}

/// When the first line was written.
pub(super) fn begins(bytes: &[u8], zone: &TimeZone) -> Option<Timestamp> {
    lines(bytes).find_map(|line| dpkg_time(line, zone)).map(|(at, _)| at)
}

/// `2026-11-27 20:59:43 WHAT …`.
fn dpkg_time<'a>(line: &'a str, zone: &TimeZone) -> Option<(Timestamp, &'a str)> {
    let (time, rest) = line.split_at_checked(19)?;
    let time = strtime::parse("%Y-%m-%d %H:%M:%S", time).ok()?.to_datetime().ok()?;
    Some((in_zone(time, zone)?, rest.strip_prefix(' ')?))
}

fn in_zone(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(time).compatible().ok()
}

/// A package is released when it is installed after it was unpacked. Of one that was only unpacked yet, that counts. `status installed` alone is
/// said of packages that run somebody else's triggers too.
pub(in crate::host) fn parse_dpkg_log(bytes: &[u8], zone: &TimeZone) -> Vec<Logged> {
    let mut unpacked: HashMap<&str, Logged> = HashMap::new();
    let mut found = Vec::new();
    for line in lines(bytes) {
        let mut words = line.get(20..).unwrap_or_default().split(' ');
        let [what, first, second, third] = [(); 4].map(|()| words.next().unwrap_or_default());
        let (package, version) = match what {
            "install" | "upgrade" => (first, third),
            "status" if first == "installed" => (second, third),
            _ => continue,
        };
        let named = |text: &str| !text.is_empty() && text.len() <= LONGEST;
        if !named(package) || !named(version) {
            continue;
        }
        let Some((at, _)) = dpkg_time(line, zone) else { continue };
        if what != "status" {
            let logged = Logged { name: shown(package), version: shown(version), at };
            // Unpacked again before it was installed: the one before never ran.
            unpacked.insert(package, logged);
        } else if let Some(logged) = unpacked.remove(package) {
            found.push(Logged { version: shown(version), at, ..logged });
        }
    }
    found.extend(unpacked.into_values());
    found
}

/// `2026-11-27T20:59:43+0000 SUBDEBUG Upgrade: nginx-1:1.20.1-14.el9.x86_64`.
pub(in crate::host) fn parse_dnf_log(bytes: &[u8]) -> Vec<Logged> {
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (time, _level, what, package) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let time = time.strip_suffix('Z').map_or_else(|| time.to_owned(), |utc| format!("{utc}+0000"));
        let came = RPM_CAME.contains(&what) && words.next().is_none();
        let at = came.then(|| strtime::parse("%Y-%m-%dT%H:%M:%S%z", &time).ok()?.to_timestamp().ok())??;
        logged(package, at)
    };
    lines(bytes).filter_map(parse).collect()
}

/// `Nov 27 20:59:43 Updated: 1:nginx-1.20.1-9.el7.x86_64`. The year is the last one in which that was not later than `now`.
pub(in crate::host) fn parse_yum_log(bytes: &[u8], zone: &TimeZone, now: Timestamp) -> Vec<Logged> {
    let year = now.to_zoned(zone.clone()).year();
    let parse = |line: &str| {
        let (time, rest) = line.split_at_checked(15)?;
        let (what, package) = rest.trim_start().split_once(' ')?;
        let in_year = |year: i16| {
            let time = strtime::parse("%Y %b %d %H:%M:%S", format!("{year} {time}")).ok()?.to_datetime().ok()?;
            in_zone(time, zone).filter(|at| *at <= now)
        };
        let at = RPM_CAME.contains(&what).then(|| in_year(year).or_else(|| in_year(year.checked_sub(1)?)))??;
        logged(package.trim(), at)
    };
    lines(bytes).filter_map(parse).collect()
}

/// `NAME-VERSION-RELEASE.ARCHITECTURE`, with `EPOCH:` before the version or before all of it.
fn logged(package: &str, at: Timestamp) -> Option<Logged> {
    if package.len() > LONGEST {
        return None;
    }
    let package = match package.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => package,
    };
    let (package, _architecture) = package.rsplit_once('.')?;
    let (package, release) = package.rsplit_once('-')?;
    let (name, version) = package.rsplit_once('-')?;
    let named = !name.is_empty() && !version.is_empty() && !release.is_empty();
    named.then(|| Logged { name: shown(name), version: format!("{}-{}", shown(version), shown(release)), at })
}

/// `/var/lib/dpkg/info/PACKAGE.list`: the unit files in it, by name, at most fifty.
pub(in crate::host) fn parse_package_units(bytes: &[u8]) -> Vec<String> {
    let unit = |path: &str| {
        let name = UNIT_FOLDERS.iter().find_map(|folder| path.strip_prefix(folder))?;
        let (stem, kind) = name.rsplit_once('.')?;
        let is_unit = !stem.is_empty() && name.len() <= LONGEST && !name.contains('/') && UNIT_KINDS.contains(&kind);
        is_unit.then(|| shown(name))
    };
    let mut units: Vec<String> = lines(bytes).filter_map(unit).take(MOST_UNITS).collect();
    units.sort_unstable();
    units.dedup();
    units
}

/// The first line of a marker.
pub(in crate::host) fn parse_version(bytes: &[u8]) -> String {
    let first = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    HostPath::from_bytes(first.trim_ascii()).to_string()
}

/// Anybody may have chosen it: what would not print is escaped.
fn shown(text: &str) -> String {
    HostPath::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(logged: Vec<Logged>) -> Vec<(String, String, String)> {
        let mut told: Vec<_> = logged.into_iter().map(|l| (l.at.to_string(), l.name, l.version)).collect();
        told.sort();
        told
    }

    fn is(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
        expected.iter().map(|(at, name, version)| ((*at).to_owned(), (*name).to_owned(), (*version).to_owned())).collect()
    }

    fn east() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn a_package_is_released_when_it_is_installed_and_a_trigger_releases_nothing() {
        let log = b"2026-11-27 10:00:00 startup archives unpack\n\
            2026-11-27 10:00:01 upgrade nginx:amd64 1.22.1-9 1.22.1-10\n\
            2026-11-27 10:00:01 status half-installed nginx:amd64 1.22.1-9\n\
            2026-11-27 10:00:05 configure nginx:amd64 1.22.1-10 <none>\n\
            2026-11-27 10:00:06 status installed nginx:amd64 1.22.1-10\n\
            2026-11-27 10:00:07 trigproc man-db:amd64 2.11.2-2 <none>\n\
            2026-11-27 10:00:08 status installed man-db:amd64 2.11.2-2\n\
            2026-11-27 10:00:09 install app:all <none> 3.0\n\
            2026-11-27 10:00:10 remove old:all 1.0 <none>\n\
            2026-11-27 10:00:11 install half";
        let expected = is(&[("2026-11-27T09:00:06Z", "nginx:amd64", "1.22.1-10"), ("2026-11-27T09:00:09Z", "app:all", "3.0")]);
        assert_eq!(told(parse_dpkg_log(log, &east())), expected);
        assert_eq!(begins(log, &east()).unwrap().to_string(), "2026-11-27T09:00:00Z");
        // Summer, and the hour that is there twice.
        let log = b"2026-07-01 10:00:00 install a:all <none> 1\n2026-10-25 02:30:00 install b:all <none> 1\n";
        let expected = is(&[("2026-07-01T08:00:00Z", "a:all", "1"), ("2026-10-25T00:30:00Z", "b:all", "1")]);
        assert_eq!(told(parse_dpkg_log(log, &east())), expected);
    }

    #[test]
    fn dnf_says_its_zone_and_which_version_came() {
        let log = b"2026-11-27T10:00:00+0100 INFO --- logging initialized ---\n\
            2026-11-27T10:00:01+0100 SUBDEBUG Upgrade: nginx-core-1:1.20.1-14.el9.x86_64\n\
            2026-11-27T10:00:02+0100 SUBDEBUG Upgraded: nginx-core-1:1.20.1-13.el9.x86_64\n\
            2026-11-27T10:00:03Z SUBDEBUG Installed: app-2-3.noarch\n\
            2026-11-27T10:00:04Z SUBDEBUG Erase: old-1-1.noarch\n\
            2026-11-27T10:00:05Z SUBDEBUG Installed: nothing\n";
        let expected = is(&[("2026-11-27T09:00:01Z", "nginx-core", "1:1.20.1-14.el9"), ("2026-11-27T10:00:03Z", "app", "2-3")]);
        assert_eq!(told(parse_dnf_log(log)), expected);
    }

    #[test]
    fn yum_says_no_year_and_it_was_the_last_one() {
        let log = b"Dec 31 23:59:59 Updated: 1:nginx-1.20.1-9.el7.x86_64\nJan 01 00:30:00 Installed: app-1-1.noarch\nJan 01 00:40:00 Erased: app\n";
        let now: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        let expected = is(&[("2026-12-31T22:59:59Z", "nginx", "1.20.1-9.el7"), ("2026-12-31T23:30:00Z", "app", "1-1")]);
        assert_eq!(told(parse_yum_log(log, &east(), now)), expected);
        // On the last day of the year before, the second line is a year old.
        let before: Timestamp = "2026-12-31T23:00:00Z".parse().unwrap();
        assert_eq!(told(parse_yum_log(log, &east(), before))[0].0, "2025-12-31T23:30:00Z");
    }

    #[test]
    fn only_unit_files_are_units() {
        let list = b"/.\n/lib\n/lib/systemd/system\n/lib/systemd/system/a.service\n/usr/lib/systemd/system/b@.service\n\
            /usr/lib/systemd/system/x.service.d/c.service\n/usr/lib/systemd/system/README.txt\n/etc/systemd/system/a.service\n/usr/share/d.service\n";
        assert_eq!(parse_package_units(list), ["a.service", "b@.service"]);
    }

    #[test]
    fn a_version_is_a_first_line_that_prints() {
        assert_eq!(parse_version(b" 1.2.3 \nmore\n"), "1.2.3");
        assert_eq!(parse_version(b"\x1b[31m\xff"), "\\x1b[31m\\xff");
        assert_eq!(parse_version(b""), "");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_left_out(bytes: Vec<u8>) {
            let _ = (parse_dpkg_log(&bytes, &east()), parse_dnf_log(&bytes), parse_yum_log(&bytes, &east(), Timestamp::MAX));
            let _ = (parse_package_units(&bytes), parse_version(&bytes), begins(&bytes, &east()));
        }

        #[test]
        fn damaged_lines_are_parsed_or_left_out(
            text in "(-?[0-9]{0,4}-?[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([+-][0-9]{4}|Z)? (SUBDEBUG |status )?(install(ed)?|Upgrade:) [a-zé:.-]{0,9} [0-9-]{0,4} ?[0-9]{0,3}\n?){0,4}",
            year in -9999i64..9999,
        ) {
            let bytes = text.as_bytes();
            let now = Timestamp::from_second(year * 31_000_000).unwrap_or(Timestamp::MIN);
            let _ = (parse_dpkg_log(bytes, &east()), parse_dnf_log(bytes), parse_yum_log(bytes, &east(), now));
        }
    }
}
