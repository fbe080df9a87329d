//! Which kernel and which distribution this is, and what the host is called.

use super::Read;
use super::root::{Root, if_there};
use crate::model::Identity;

/// Names are those of the namespace that this process is in: a container with a name of its own tells that. No `os-release` is an empty
/// list: there are hosts without.
pub(super) fn read_identity(root: &Root) -> Read<Identity> {
    let kernel = |name: &str| root.read(&format!("/proc/sys/kernel/{name}")).map(|bytes| one_line(&bytes));
    Ok(Identity {
        sysname: kernel("ostype")?,
        release: kernel("osrelease")?,
        version: kernel("version")?,
        // Since 6.1; whatever root is looked through, the kernel below it is the one that runs us.
        machine: match if_there(kernel("arch"))? {
            Some(machine) => machine,
            None => rustix::system::uname().machine().to_string_lossy().into_owned(),
        },
        nodename: kernel("hostname")?,
        domainname: kernel("domainname")?,
        os: match if_there(root.read("/etc/os-release"))? {
            Some(bytes) => parse_os_release(&bytes),
            None => if_there(root.read("/usr/lib/os-release"))?.map(|bytes| parse_os_release(&bytes)).unwrap_or_default(),
        },
    })
}

fn one_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned()
}

/// `KEY=value`, quoted as a shell would. Total: a line that is none is left out, as `os-release(5)` asks.
pub(super) fn parse_os_release(bytes: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(bytes);
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .filter(|(key, _)| is_key(key))
        .map(|(k, v)| (k.into(), unquote(v)))
        .collect()
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn unquote(value: &str) -> String {
    let inside = |quote: char| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
    if let Some(literal) = inside('\'') {
        return literal.to_owned();
    }
    let mut chars = inside('"').unwrap_or(value).chars();
    let mut out = String::with_capacity(value.len());
    while let Some(c) = chars.next() {
        // A backslash stands for what follows it.
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_are_taken_off_and_the_order_stays() {
        let text = b"# a comment\nNAME=\"Debian GNU/Linux\"\nID=debian\n\nVERSION='12 \"bookworm\"'\nODD=\"a \\\"b\\\" \\$c\"\nEMPTY=\nno line\n=x\nBAD KEY=1\nHALF=\"\n";
        let expected = [
            ("NAME", "Debian GNU/Linux"),
            ("ID", "debian"),
            ("VERSION", "12 \"bookworm\""),
            ("ODD", "a \"b\" $c"),
            ("EMPTY", ""),
            ("HALF", "\""),
        ];
        assert_eq!(parse_os_release(text), expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_tree_tells_its_own_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let at = dir.path().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, text).unwrap();
        };
        let root = Root::open(dir.path()).unwrap();
        assert!(read_identity(&root).unwrap_err().to_string().contains("/proc/sys/kernel/ostype"));
        let names = [("ostype", "Linux"), ("osrelease", "6.1.0"), ("version", "#1 SMP"), ("hostname", "db7"), ("domainname", "(none)")];
        for (name, value) in names {
            write(&format!("proc/sys/kernel/{name}"), &format!("{value}\n"));
        }
        write("usr/lib/os-release", "ID=second\n");
        let identity = read_identity(&root).unwrap();
        assert_eq!((identity.sysname, identity.release, identity.version), ("Linux".into(), "6.1.0".into(), "#1 SMP".into()));
        assert_eq!((identity.nodename, identity.domainname), ("db7".into(), "(none)".into()));
        assert_eq!(identity.machine, std::env::consts::ARCH, "this kernel's");
        assert_eq!(identity.os, [("ID".to_owned(), "second".to_owned())]);
        write("proc/sys/kernel/arch", "riscv64\n");
        write("etc/os-release", "ID=first\n");
        let identity = read_identity(&root).unwrap();
        assert_eq!((identity.machine.as_str(), identity.os[0].1.as_str()), ("riscv64", "first"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(bytes: Vec<u8>) {
            parse_os_release(&bytes);
        }
    }
}
