//! What network devices carried: `/proc/net/dev`.

use super::Read;
use super::columns::{Words, damaged, keep_latest, lines, not_understood};
use crate::model::NetIo;

const WHAT: &str = "/proc/net/dev";

/// Total. Two lines of headings, then a device a line; a device that is not understood makes the table unreadable, because one that is
/// overlooked looks like one that was taken away.
pub(super) fn parse_netdev(bytes: &[u8]) -> Read<Vec<NetIo>> {
    let mut table = lines(WHAT, bytes)?;
    if table.by_ref().take(2).filter(|line| line.contains(&b'|')).count() != 2 {
        return Err(damaged(WHAT, "no headings"));
    }
    let mut devices = Vec::with_capacity(8);
    for line in table.filter(|l| !l.is_empty()) {
        devices.push(parse_device(line).ok_or_else(|| not_understood(WHAT, line))?);
    }
    keep_latest(&mut devices, |d| &d.device);
    Ok(devices)
}

/// `  eth0: 1 2 …`, sixteen numbers. Old kernels leave no blank behind the colon, and allow one in a name.
fn parse_device(line: &[u8]) -> Option<NetIo> {
    let (name, rest) = line.split_at_checked(line.iter().rposition(|b| *b == b':')?)?;
    let name = name.trim_ascii();
    let [
        receive_bytes,
        receive_packets,
        receive_errs,
        receive_drop,
        receive_fifo,
        receive_frame,
        receive_compressed,
        receive_multicast,
        transmit_bytes,
        transmit_packets,
        transmit_errs,
        transmit_drop,
        transmit_fifo,
        transmit_colls,
        transmit_carrier,
        transmit_compressed,
    ] = Words(rest.get(1..)?).numbers()?;
    (!name.is_empty()).then(|| NetIo {
        device: String::from_utf8_lossy(name).into(),
        receive_bytes,
        receive_packets,
        receive_errs,
        receive_drop,
        receive_fifo,
        receive_frame,
        receive_compressed,
        receive_multicast,
        transmit_bytes,
        transmit_packets,
        transmit_errs,
        transmit_drop,
        transmit_fifo,
        transmit_colls,
        transmit_carrier,
        transmit_compressed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "Inter-|   Receive                                                |  Transmit\n \
                        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    fn parse(lines: &str) -> Read<Vec<NetIo>> {
        parse_netdev(format!("{HEAD}{lines}").as_bytes())
    }

    #[test]
    fn every_column_has_its_place() {
        let devices = parse("    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n").unwrap();
        let lo = NetIo {
            device: "lo".into(),
            receive_bytes: 1,
            receive_packets: 2,
            receive_errs: 3,
            receive_drop: 4,
            receive_fifo: 5,
            receive_frame: 6,
            receive_compressed: 7,
            receive_multicast: 8,
            transmit_bytes: 9,
            transmit_packets: 10,
            transmit_errs: 11,
            transmit_drop: 12,
            transmit_fifo: 13,
            transmit_colls: 14,
            transmit_carrier: 15,
            transmit_compressed: 16,
        };
        assert_eq!(devices, [lo]);
    }

    #[test]
    fn odd_names_and_old_formats() {
        let zeroes = " 0".repeat(15);
        let devices = parse(&format!("eth0:123{zeroes}\n a|b: 1{zeroes}\nbr0:1: 2{zeroes}\n")).unwrap();
        let read: Vec<_> = devices.iter().map(|d| (&*d.device, d.receive_bytes)).collect();
        assert_eq!(read, [("eth0", 123), ("a|b", 1), ("br0:1", 2)]);
    }

    #[test]
    fn a_device_that_appears_twice_is_one() {
        let zeroes = " 0".repeat(15);
        let devices = parse(&format!("veth1: 1{zeroes}\nlo: 5{zeroes}\nveth1: 2{zeroes}\n")).unwrap();
        assert_eq!(devices.iter().map(|d| (&*d.device, d.receive_bytes)).collect::<Vec<_>>(), [("lo", 5), ("veth1", 2)]);
    }

    #[test]
    fn half_a_device_is_an_error_not_a_missing_one() {
        assert_eq!(parse("").unwrap(), []);
        for bad in
            ["lo: 1 2 3\n", "lo 1 2 3\n", "lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 x\n", ": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 1").is_err(), "cut off");
        assert!(parse_netdev(b"").is_err());
        assert!(parse_netdev(b"lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n").is_err(), "no headings");
    }

    #[test]
    fn this_hosts_has_a_loopback() {
        let devices = parse_netdev(&std::fs::read("/proc/net/dev").unwrap()).unwrap();
        assert!(devices.iter().any(|d| &*d.device == "lo"), "{devices:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = parse_netdev(&bytes);
            let _ = parse_netdev(&[HEAD.as_bytes(), &bytes].concat());
        }

        #[test]
        fn any_numbers_come_back(numbers: [u64; 16]) {
            let text = numbers.map(|n| n.to_string()).join(" ");
            let read = parse(&format!("x: {text}\n")).unwrap();
            prop_assert_eq!((read[0].receive_bytes, read[0].transmit_compressed), (numbers[0], numbers[15]));
        }
    }
}
