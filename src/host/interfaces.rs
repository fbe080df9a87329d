//! Network interfaces as `/sys/class/net` describes them. What asks the driver and may wait for a lock of the whole network stack (speed, duplex)
//! is not read.

use super::Read;
use super::root::{Root, if_there};
use crate::model::Interface;

/// Hosts of containers have one for each; beyond this nobody reads a list of them.
const MOST: usize = 1024;
/// `IFF_UP`: somebody wants it up.
const UP: u32 = 1;

/// In the order of their names. One that goes away while it is read is left out.
pub(super) fn read_interfaces(root: &Root) -> Read<Vec<Interface>> {
    let names = root.list("/sys/class/net")?;
    Ok(names.iter().take(MOST).filter_map(|name| read_one(root, &String::from_utf8_lossy(name)).ok().flatten()).collect())
}

/// `None`: it is no interface (`bonding_masters` is a file), or it has gone.
fn read_one(root: &Root, name: &str) -> Read<Option<Interface>> {
    let text = |what: &str| Ok(if_there(root.read(&format!("/sys/class/net/{name}/{what}")))?.map(|bytes| one_line(&bytes)));
    let Some(operstate) = text("operstate")? else { return Ok(None) };
    Ok(Some(Interface {
        device: name.into(),
        wanted_up: text("flags")?.and_then(|flags| parse_flags(&flags)).is_some_and(|flags| flags & UP != 0),
        operstate,
        // Some have no address, and some answer with an error for an alias that was never set.
        address: text("address")?.unwrap_or_default(),
        broadcast: text("broadcast")?.unwrap_or_default(),
        alias: text("ifalias").ok().flatten().unwrap_or_default(),
    }))
}

fn one_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

/// `0x1003`.
fn parse_flags(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_interface_or_went_away_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let net = dir.path().join("sys/class/net");
        std::fs::create_dir_all(net.join("eth0")).unwrap();
        std::fs::create_dir_all(net.join("gone")).unwrap();
        std::fs::write(net.join("bonding_masters"), "bond0\n").unwrap();
        for (file, text) in [("operstate", "up\n"), ("flags", "0x1003\n"), ("address", "02:00:00:00:00:01\n")] {
            std::fs::write(net.join("eth0").join(file), text).unwrap();
        }
        let found = read_interfaces(&Root::open(dir.path()).unwrap()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].device, found[0].operstate.as_str(), found[0].wanted_up), ("eth0", "up", true));
        assert_eq!((found[0].address.as_str(), found[0].broadcast.as_str()), ("02:00:00:00:00:01", ""));
        assert!(read_interfaces(&Root::open(&dir.path().join("sys")).unwrap()).is_err(), "no folder is not no interface");
    }

    proptest! {
        #[test]
        fn any_flags_are_parsed_or_refused(text: String) {
            let _ = parse_flags(&text);
        }
    }
}
