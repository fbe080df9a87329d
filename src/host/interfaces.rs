//! Network interfaces as `/sys/class/net` describes them.
//!
//! Duplex is asked of the driver, under a lock of the whole network stack, which a busy host may hold for seconds. So it is asked once for each
//! state of an interface's link, apart from the rest, and waited for only a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Read;
use super::deadline::{Ask, Parking};
use super::root::{Root, if_there};
use crate::model::Interface;

/// Hosts of containers have one for each; beyond this nobody reads a list of them.
const MOST: usize = 1024;
/// `IFF_UP`: somebody wants it up.
const UP: u32 = 1;
const DUPLEX: &str = "duplex of network interfaces";
/// An answer that takes longer is there at the next look.
const MOMENT: Duration = Duration::from_millis(250);

/// What a link's duplex may depend on: it is negotiated anew whenever the carrier comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    operstate: String,
    wanted_up: bool,
    carrier_changes: String,
}

/// Duplex of each device as it was last told, and of which state of its link that was.
#[derive(Debug, Default)]
pub(super) struct Duplexes(Arc<Mutex<Known>>);

type Known = HashMap<Box<str>, (Link, String)>;

impl Duplexes {
    /// Fills in what is known, after asking what is not. Whoever cannot be asked in time is as it was.
    pub(super) fn fill(&self, root: &Arc<Root>, parking: &Arc<Parking>, found: Vec<(Interface, Link)>) -> Vec<Interface> {
        let mut unknown: Vec<(Box<str>, Link)> = Vec::new();
        {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|device, _| found.iter().any(|(i, _)| i.device == *device));
            for (interface, link) in &found {
                if known.get(&interface.device).is_none_or(|(of, _)| of != link) {
                    unknown.push((interface.device.clone(), link.clone()));
                }
            }
        }
        if !unknown.is_empty() {
            let (root, answers) = (Arc::clone(root), Arc::clone(&self.0));
            let ask = move || {
                for (device, link) in unknown {
                    let duplex = read_duplex(&root, &device);
                    answers.lock().unwrap_or_else(PoisonError::into_inner).insert(device, (link, duplex));
                }
            };
            // It goes on without us, and enters what it hears.
            let _in_time = parking.ask(Ask::new(DUPLEX, ask), MOMENT);
        }
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |device: &str| known.get(device).map(|(_, duplex)| duplex.clone()).unwrap_or_default();
        found.into_iter().map(|(interface, _)| Interface { duplex: told(&interface.device), ..interface }).collect()
    }
}

/// Empty: it has none (`lo`), it is down, or it has gone.
fn read_duplex(root: &Root, device: &str) -> String {
    root.read(&format!("/sys/class/net/{device}/duplex")).map(|bytes| one_line(&bytes)).unwrap_or_default()
}

/// In the order of their names, all but duplex. One that goes away while it is read is left out.
pub(super) fn read_interfaces(root: &Root) -> Read<Vec<(Interface, Link)>> {
    let names = root.list("/sys/class/net")?;
    Ok(names.iter().take(MOST).filter_map(|name| read_one(root, &String::from_utf8_lossy(name)).ok().flatten()).collect())
}

/// `None`: it is no interface (`bonding_masters` is a file), or it has gone.
fn read_one(root: &Root, name: &str) -> Read<Option<(Interface, Link)>> {
    let text = |what: &str| Ok(if_there(root.read(&format!("/sys/class/net/{name}/{what}")))?.map(|bytes| one_line(&bytes)));
    let Some(operstate) = text("operstate")? else { return Ok(None) };
    let wanted_up = text("flags")?.and_then(|flags| parse_flags(&flags)).is_some_and(|flags| flags & UP != 0);
    let link = Link { operstate: operstate.clone(), wanted_up, carrier_changes: text("carrier_changes")?.unwrap_or_default() };
    let interface = Interface {
        device: name.into(),
        wanted_up,
        operstate,
        // Some have no address, and some answer with an error for an alias that was never set.
        address: text("address")?.unwrap_or_default(),
        broadcast: text("broadcast")?.unwrap_or_default(),
        alias: text("ifalias").ok().flatten().unwrap_or_default(),
        duplex: String::new(),
    };
    Ok(Some((interface, link)))
}

fn one_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

/// `0x1003`.
pub(super) fn parse_flags(text: &str) -> Option<u32> {
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
        let (eth0, _) = &found[0];
        assert_eq!((&*eth0.device, eth0.operstate.as_str(), eth0.wanted_up), ("eth0", "up", true));
        assert_eq!((eth0.address.as_str(), eth0.broadcast.as_str()), ("02:00:00:00:00:01", ""));
        assert!(read_interfaces(&Root::open(&dir.path().join("sys")).unwrap()).is_err(), "no folder is not no interface");
    }

    #[test]
    fn duplex_is_asked_when_the_link_has_changed_and_nobody_waits_long_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let eth0 = dir.path().join("sys/class/net/eth0");
        std::fs::create_dir_all(&eth0).unwrap();
        let write = |file: &str, text: &str| std::fs::write(eth0.join(file), text).unwrap();
        write("operstate", "up\n");
        write("carrier_changes", "2\n");
        let (root, parking) = (Arc::new(Root::open(dir.path()).unwrap()), Arc::new(Parking::default()));
        let duplexes = Duplexes::default();
        let look = || duplexes.fill(&root, &parking, read_interfaces(&root).unwrap()).pop().unwrap().duplex;
        assert_eq!(look(), "", "a device may have none");
        write("duplex", "full\n");
        assert_eq!(look(), "", "it was asked again, and nothing had changed");
        write("carrier_changes", "4\n");
        assert_eq!(look(), "full");
        write("duplex", "half\n");
        write("operstate", "down\n");
        assert_eq!(look(), "half");
        // While somebody else's question hangs, what was known last is told.
        let (held, hold) = std::sync::mpsc::channel::<()>();
        assert!(parking.ask(Ask::new(DUPLEX, move || hold.recv().is_err()), MOMENT).is_err());
        write("duplex", "full\n");
        write("carrier_changes", "6\n");
        assert_eq!(look(), "half");
        drop(held);
        assert!((0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            look() == "full"
        }));
        std::fs::remove_dir_all(&eth0).unwrap();
        assert!(duplexes.fill(&root, &parking, read_interfaces(&root).unwrap()).is_empty());
        assert!(duplexes.0.lock().unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_flags_are_parsed_or_refused(text: String) {
            let _ = parse_flags(&text);
        }
    }
}
